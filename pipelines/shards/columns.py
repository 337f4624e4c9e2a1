"""A shard's columns: one row read from the file, or a whole table held ready for reads in random order.

HDF5 takes some 0.1 ms for each dataset it is asked about, far more than a row's bytes need, and unpacks 256
rows to give one. So small columns and offsets are kept in memory, about a kilobyte a sample; only crops,
labelled vertices and contact rows are read from the file, through handles that stay open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from pipelines.shards.schema import DIGEST, OFFSETS, Column, Record, columns_of

DAMAGE = (OSError, ValueError, TypeError, RuntimeError, OverflowError)
"""What reading damaged bytes raises."""

_Reader = Callable[[int], Any]


def read_cell(group: h5py.Group, column: Column, row: int) -> np.ndarray:
    """One row of a column as it is stored, straight from the file.

    Raises:
        OSError, ValueError and others of `DAMAGE`: the bytes are damaged.
    """
    if not column.ragged:
        return np.asarray(group[column.name][row], dtype=column.dtype)
    start, end = (int(bound) for bound in group[column.name + OFFSETS][row : row + 2])
    flat = group[column.name]
    return _span(flat, start, end, len(flat))


def decode_cell(array: np.ndarray, column: Column) -> Any:
    """What a record's field holds: text, number or array."""
    if column.is_text:
        return bytes(array.item()).decode("ascii", "replace")
    return array if column.ragged or column.shape else array[()]


class HeldTable:
    """One table of an open shard, made ready for random reads."""

    def __init__(self, group: h5py.Group, record: type[Record]) -> None:
        self._count = len(group[DIGEST])
        self._cells: dict[str, _Reader] = {
            column.name: _reader(group, column) for column in columns_of(record)
        }

    def __len__(self) -> int:
        return self._count

    def cell(self, name: str, row: int) -> Any:
        """One field of a row."""
        return self._cells[name](row)

    def row(self, row: int) -> dict[str, Any]:
        """All fields of a row.

        Raises:
            OSError, ValueError and others of `DAMAGE`: the row's bytes are damaged.
        """
        return {name: cell(row) for name, cell in self._cells.items()}


def _reader(group: h5py.Group, column: Column) -> _Reader:
    """How a column is read; where some of it is damaged, row by row, so that the other rows stay usable."""
    try:
        if column.ragged:
            offsets, flat = group[column.name + OFFSETS][()].tolist(), group[column.name]
            total = len(flat)
            return lambda row: _span(flat, offsets[row], offsets[row + 1], total)
        if column.rows_per_chunk == 1:
            rows = group[column.name]
            return lambda row: rows[row]
        if column.is_text:
            values, codes = np.unique(group[column.name][()], return_inverse=True)
            texts = [bytes(value).decode("ascii", "replace") for value in values]
            return lambda row: texts[codes[row]]
        held = group[column.name][()]
    except DAMAGE:
        return lambda row: decode_cell(read_cell(group, column, row), column)
    return (lambda row: held[row].copy()) if column.shape else (lambda row: held[row])


def _span(flat: h5py.Dataset, start: int, end: int, total: int) -> np.ndarray:
    if not 0 <= start <= end <= total:
        raise ValueError(f"offsets of {flat.name} are {start}, {end}")
    return np.asarray(flat[start:end])
