"""Truth of a synthetic recording as a file outside the PROX root."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from pipelines.artifacts import read_npz, write_npz
from pipelines.errors import DataInvalid, DataMissing
from pipelines.records import Gender, SmplxParameters, SyntheticTruth

_PARAMETER = "smplx_"
_TEXT = ("recording", "gender", "motion_family", "frame_names")


def truth_path(truth_root: Path, recording: str) -> Path:
    """Where the truth of a recording lies."""
    return truth_root / f"{recording}.npz"


def write_truth(truth_root: Path, truth: SyntheticTruth) -> Path:
    """Write one npz; returns its path. Names and units are those of `SyntheticTruth`."""
    arrays: dict[str, Any] = {name: np.array(getattr(truth, name)) for name in _TEXT}
    for field in fields(SmplxParameters):
        arrays[_PARAMETER + field.name] = getattr(truth.parameters, field.name)
    for name in _array_names():
        arrays[name] = getattr(truth, name)
    path = truth_path(truth_root, truth.recording)
    write_npz(path, arrays)
    return path


def read_truth(truth_root: Path, recording: str) -> SyntheticTruth:
    """Read back what `write_truth` wrote.

    Raises:
        DataMissing: no truth for this recording (a real one has none).
        DataInvalid: a key is missing.
    """
    path = truth_path(truth_root, recording)
    if not path.is_file():
        raise DataMissing(
            f"no truth for recording {recording}",
            where=path,
            fix="only synthetic recordings have truth; write the tree again if this is one",
        )
    arrays = read_npz(path)
    wanted = [*_TEXT, *_array_names(), *(_PARAMETER + f.name for f in fields(SmplxParameters))]
    missing = sorted(set(wanted) - set(arrays))
    if missing:
        raise DataInvalid(
            "truth file lacks keys", where=path, expected=missing, fix="write the tree again"
        )
    gender = str(arrays["gender"])
    if gender not in get_args(Gender):
        raise DataInvalid("unknown gender", where=path, expected=get_args(Gender), found=gender)
    return SyntheticTruth(
        recording=str(arrays["recording"]),
        gender=cast(Gender, gender),
        motion_family=str(arrays["motion_family"]),
        frame_names=tuple(str(name) for name in arrays["frame_names"]),
        parameters=SmplxParameters(
            **{f.name: arrays[_PARAMETER + f.name] for f in fields(SmplxParameters)}
        ),
        **{name: arrays[name] for name in _array_names()},
    )


def _array_names() -> list[str]:
    skipped = {*_TEXT, "parameters"}
    return [field.name for field in fields(SyntheticTruth) if field.name not in skipped]
