"""NumPy arrays in the object store: whole, or some rows only, read by ranges.

Files are plain ``.npy`` (format version 1.0, C order), so that anything can read them.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from shared.errors import Permanent
from shared.store.base import Store

_HEADER_BYTES = 256  # more than a version 1.0 header of a simple dtype takes
_GAP_BYTES = 1 << 20  # reading a gap of this size costs less than another request


def save(store: Store, key: str, array: NDArray[Any]) -> None:
    """Write ``array`` under ``key``."""
    buffer = io.BytesIO()
    npy.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    length = buffer.tell()
    buffer.seek(0)
    store.put(key, buffer, length)


def load(store: Store, key: str) -> NDArray[Any]:
    """The whole array. Raises ``NotFound``, ``Permanent`` for a file that is no array."""
    try:
        array: NDArray[Any] = npy.read_array(io.BytesIO(store.get(key)), allow_pickle=False)
    except ValueError as error:
        raise Permanent(f"{key} is not a NumPy array: {error}") from error
    return array


def load_rows(store: Store, key: str, rows: Sequence[int]) -> NDArray[Any]:
    """Rows of the array's first axis, in the order asked, shape ``(len(rows), *rest)``.

    Neighbouring rows are read with one request. Raises ``NotFound``, ``Permanent`` for a file that is no array,
    ``IndexError`` for a row that isn't there.
    """
    shape, dtype, start = _header(store, key)
    wanted = np.asarray(rows, dtype=np.int64)
    out = np.empty((len(wanted), *shape[1:]), dtype)
    if not len(wanted):
        return out
    if wanted.min() < 0 or wanted.max() >= shape[0]:
        raise IndexError(f"{key} has {shape[0]} rows")
    row_bytes = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
    order = np.argsort(wanted, kind="stable")
    gaps = np.diff(wanted[order]) * row_bytes > max(_GAP_BYTES, row_bytes)
    for group in np.split(order, np.flatnonzero(gaps) + 1):
        first, last = int(wanted[group[0]]), int(wanted[group[-1]])
        count = last - first + 1
        body = store.get_range(key, start + first * row_bytes, count * row_bytes)
        block = np.frombuffer(body, dtype).reshape(count, *shape[1:])
        out[group] = block[wanted[group] - first]
    return out


def _header(store: Store, key: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, dtype and the offset of the first byte of data."""
    head = io.BytesIO(store.get_range(key, 0, _HEADER_BYTES))
    try:
        version = npy.read_magic(head)
        shape, fortran, dtype = npy.read_array_header_1_0(head)
    except ValueError as error:
        raise Permanent(f"{key} is not a NumPy array: {error}") from error
    if version != (1, 0) or fortran or dtype.hasobject:
        raise Permanent(f"{key} is not a plain array in C order")
    return shape, dtype, head.tell()
