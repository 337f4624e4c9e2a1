"""Fits as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.artifacts import write_npz
from pipelines.errors import DataInvalid
from pipelines.fitting.result import read_fit, write_fit
from pipelines.records import FittedSequence, SmplhParameters


def _fit(**changes: object) -> FittedSequence:
    rng = np.random.default_rng(0)
    frames = 3
    values: dict[str, object] = {
        "method": "humor",
        "recording": "N3Office_00034_01",
        "gender": "male",
        "frame_names": ("a", "b", "c"),
        "parameters": SmplhParameters(*(rng.standard_normal((frames, size)) for size in (10, 3, 63, 3))),
        "status": ("", "no_person", "fit_failed"),
        "window_id": np.array([0, 0, 1]),
        "T_world_from_camera": np.eye(4),
        "floor_camera": np.array([0, -1, 0, -1.2]),
        "contacts": rng.random((frames, 22)),
        "energies": {"3c.points3d": np.array([1.0, 2.0])},
    }
    return FittedSequence(**{**values, **changes})  # type: ignore[arg-type]


def test_round_trip_returns_the_same_fit(tmp_path: Path) -> None:
    fit = _fit()
    back = read_fit(write_fit(tmp_path / "fit.npz", fit))
    assert (back.method, back.recording, back.gender) == (fit.method, fit.recording, fit.gender)
    assert back.status == fit.status
    assert back.frame_names == fit.frame_names
    for name in ("betas", "global_orient", "body_pose", "transl"):
        np.testing.assert_array_equal(getattr(back.parameters, name), getattr(fit.parameters, name))
    np.testing.assert_array_equal(back.contacts, fit.contacts)
    np.testing.assert_array_equal(back.energies["3c.points3d"], [1, 2])


def test_fit_without_contacts_comes_back_without(tmp_path: Path) -> None:
    assert read_fit(write_fit(tmp_path / "fit.npz", _fit(contacts=None))).contacts is None


def test_equal_fits_give_equal_bytes(tmp_path: Path) -> None:
    first = write_fit(tmp_path / "one.npz", _fit()).read_bytes()
    assert write_fit(tmp_path / "two.npz", _fit()).read_bytes() == first


def test_other_files_are_refused(tmp_path: Path) -> None:
    write_npz(tmp_path / "x.npz", {"schema": "something else"})
    with pytest.raises(DataInvalid, match="not a fit file"):
        read_fit(tmp_path / "x.npz")


def test_incomplete_file_is_refused(tmp_path: Path) -> None:
    path = write_fit(tmp_path / "fit.npz", _fit())
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files if name != "parameters_betas"}
    write_npz(path, arrays)
    with pytest.raises(DataInvalid, match="incomplete"):
        read_fit(path)
