"""What a model says of the images that people have labelled, a row each: the labels held against it. NumPy only.

People's labels against the model's are a picture with a diagonal, on which both agree. ``doubt`` ranks what lies off it
by confident learning, see ``shared.learning.mislabelled``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from shared.errors import Invalid
from shared.learning.mislabelled import likely_mislabelled

OPINION = np.dtype(
    [
        ("image", "<i8"),
        ("given", "<i4"),
        ("said", "<i4"),
        ("confidence", "<f4"),
        ("own", "<f4"),
        ("other", "<i4"),
        ("unseen", "?"),
        ("doubt", "<i4"),
    ]
)
"""``image``: its id. ``given``: the column of the label that it had. ``said``: the likeliest column, ``confidence`` its
probability. ``own``: the probability of the label's column; ``other``: the likeliest of the other columns. ``unseen``:
whether the model that said so had not been trained on the image. ``doubt``: 0 for the label that is likeliest wrong, 1
for the next; -1 where nothing speaks against it."""
Opinions = npt.NDArray[np.void]


def opinions(
    images: npt.NDArray[Any],
    probabilities: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    unseen: npt.NDArray[np.bool_],
) -> Opinions:
    """The rows of ``OPINION``, in the order given.

    Parameters
    ----------
    images : integers (n,), ids.
    probabilities : float (n, C), C at least 2.
    labels : integers (n,), columns.
    unseen : bool (n,). Only these are ranked: a network remembers what it was trained on, right or wrong.

    Raises ``Invalid`` for arrays that don't fit together.
    """
    said, given = np.asarray(probabilities, np.float32), np.asarray(labels, np.int64)
    if said.ndim != 2 or said.shape[1] < 2 or not len(images) == len(given) == len(unseen) == len(said):
        raise Invalid(f"{len(images)} images and labels of shape {given.shape} don't fit {said.shape} probabilities")
    ranked = np.flatnonzero(unseen)
    doubtful = ranked[likely_mislabelled(said[ranked], given[ranked])]
    rows = np.arange(len(said))
    found = np.zeros(len(said), OPINION)
    found["image"], found["given"], found["unseen"] = images, given, unseen
    found["said"], found["confidence"] = said.argmax(axis=1), said.max(axis=1, initial=0)
    found["own"] = said[rows, given]
    others = said.copy()
    others[rows, given] = -1
    found["other"] = others.argmax(axis=1)
    found["doubt"] = -1
    found["doubt"][doubtful] = np.arange(len(doubtful))
    return found
