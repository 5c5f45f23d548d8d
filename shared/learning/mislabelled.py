"""Which labels are likely wrong: confident learning over predictions by models that had not seen them. NumPy only.

A person's label against the model's is a picture with a diagonal on which both agree; this ranks what lies off it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from shared.errors import Invalid


def likely_mislabelled(probabilities: npt.NDArray[Any], labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Rows whose label is likely wrong, int64 (m,), the likeliest first; ties by row.

    Confident learning (Northcutt, Jiang and Chuang 2021, section 3): a class is confidently said of an image where its
    probability reaches the mean of that among the images labelled so; of several such classes the likeliest counts. A
    label is in doubt where another class than its own is said confidently, and the doubtful are ranked by their
    normalised margin, the probability of the label less that of the likeliest other class.

    Parameters
    ----------
    probabilities : float (n, C), each row by a model that was not trained on it: out of fold, or left out.
    labels : integers (n,), columns.

    Raises ``Invalid`` for arrays that don't fit together.
    """
    said, given = np.asarray(probabilities, np.float64), np.asarray(labels, np.int64)
    if (
        said.ndim != 2
        or given.shape != (len(said),)
        or (len(given) and not 0 <= given.min() <= given.max() < said.shape[1])
    ):
        raise Invalid(f"labels of shape {given.shape} don't fit probabilities of shape {said.shape}")
    rows, columns = np.arange(len(said)), np.arange(said.shape[1])
    counts = np.bincount(given, minlength=said.shape[1])
    own = said[rows, given]
    expected = np.bincount(given, weights=own, minlength=said.shape[1]) / np.maximum(counts, 1)
    # A class that nobody was labelled with has no mean to reach.
    confident = (said >= expected) & (counts > 0)
    likeliest = np.where(confident, said, -1.0).argmax(axis=1)
    doubtful = np.flatnonzero(confident.any(axis=1) & (likeliest != given))
    others = np.where(columns == given[:, None], -1.0, said).max(axis=1)
    return doubtful[np.argsort((own - others)[doubtful], kind="stable")]
