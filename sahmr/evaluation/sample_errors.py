"""Every metric of every sample of every row, as arrays and as a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from pipelines.artifacts import read_npz, write_npz
from pipelines.errors import DataInvalid, DataMissing

_ID_FIELDS: Final = ("sample_id", "recording", "scene", "subject")


@dataclass(frozen=True, slots=True)
class SampleIds:
    """What was measured: one entry per sample in each."""

    sample_id: tuple[str, ...]
    recording: tuple[str, ...]
    scene: tuple[str, ...]
    subject: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sample_id)

    def content_hash(self) -> str:
        """SHA-256 of the names of the samples, whatever their order."""
        return sha256("\n".join(sorted(self.sample_id)).encode()).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class RowErrors:
    """One row of the table, sample by sample."""

    values: Mapping[str, Float[np.ndarray, " samples"]]
    """By definition id, internal unit (metres, shares); NaN where a sample has no such value."""
    finite: Bool[np.ndarray, " samples"]
    """False where the prediction was not finite."""
    notes: Mapping[str, int]
    """Counts worth telling, e.g. bodies that could not be placed."""


def write_sample_errors(path: Path, samples: SampleIds, rows: Mapping[str, RowErrors]) -> None:
    """Write an npz: `sample_id`, `recording`, `scene`, `subject`, and `<row>/<metric>` for each."""
    arrays: dict[str, np.ndarray] = {
        name: np.array(getattr(samples, name), dtype=np.str_) for name in _ID_FIELDS
    }
    for row, errors in rows.items():
        arrays[f"{row}/finite"] = errors.finite
        arrays |= {f"{row}/{key}": values for key, values in errors.values.items()}
    write_npz(path, arrays)


def read_sample_errors(path: Path) -> tuple[SampleIds, dict[str, RowErrors]]:
    """Read what `write_sample_errors` wrote; the notes are not in it.

    Raises:
        DataMissing: no such file.
        DataInvalid: not such a file.
    """
    if not path.is_file():
        raise DataMissing("errors of an evaluation not found", where=path, fix="run `make evaluate`")
    arrays = read_npz(path)
    absent = [name for name in _ID_FIELDS if name not in arrays]
    if absent:
        raise DataInvalid("no errors of an evaluation", where=path, expected=_ID_FIELDS, found=[*arrays])
    ids = SampleIds(*(tuple(arrays.pop(name).tolist()) for name in _ID_FIELDS))
    rows = dict.fromkeys(name.partition("/")[0] for name in arrays)
    return ids, {
        row: RowErrors(
            {
                name.partition("/")[2]: array
                for name, array in arrays.items()
                if name.startswith(f"{row}/") and not name.endswith("/finite")
            },
            arrays[f"{row}/finite"],
            {},
        )
        for row in rows
    }
