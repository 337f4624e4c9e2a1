from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from pipelines.artifacts import write_npz
from pipelines.errors import DataInvalid, DataMissing
from pipelines.records import SmplxParameters, SyntheticTruth
from pipelines.synthetic.truth import read_truth, truth_path, write_truth

_SIZES = {
    "betas": 10, "expression": 10, "global_orient": 3, "body_pose": 63, "jaw_pose": 3, "leye_pose": 3,
    "reye_pose": 3, "left_hand_pose": 12, "right_hand_pose": 12, "transl": 3,
}  # fmt: skip


def some_truth(frames: int = 3) -> SyntheticTruth:
    rng = np.random.default_rng(0)
    return SyntheticTruth(
        recording="Room_00159_01",
        gender="female",
        motion_family="walk",
        frame_names=tuple(f"s001_frame_{k:05d}__00.00.00.029" for k in range(1, frames + 1)),
        parameters=SmplxParameters(**{k: rng.standard_normal((frames, n)) for k, n in _SIZES.items()}),
        person_present=np.array([True, False, True]),
        joint_hidden=rng.random((frames, 22)) > 0.5,
        foot_contact=rng.random((frames, 4)) > 0.5,
        vertex_contact=rng.random((frames, 6890)) > 0.5,
        floor_camera=np.array([0.0, -1, 0, -1.7]),
        T_world_from_camera=np.eye(4),
    )


def test_round_trip_returns_everything(tmp_path: Path) -> None:
    truth = some_truth()
    write_truth(tmp_path, truth)
    read = read_truth(tmp_path, truth.recording)
    for field in fields(SyntheticTruth):
        if field.name == "parameters":
            continue
        np.testing.assert_array_equal(getattr(read, field.name), getattr(truth, field.name))
    for field in fields(SmplxParameters):
        expected = getattr(truth.parameters, field.name)
        np.testing.assert_array_equal(getattr(read.parameters, field.name), expected)


def test_a_recording_without_truth_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="no truth for recording N3OpenArea_00157_01"):
        read_truth(tmp_path, "N3OpenArea_00157_01")


def test_a_truncated_or_incomplete_file_is_refused(tmp_path: Path) -> None:
    path = write_truth(tmp_path, some_truth())
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataInvalid, match="cannot be read"):
        read_truth(tmp_path, "Room_00159_01")
    write_npz(truth_path(tmp_path, "Room_00159_01"), {"recording": np.array("Room_00159_01")})
    with pytest.raises(DataInvalid, match="lacks keys"):
        read_truth(tmp_path, "Room_00159_01")
