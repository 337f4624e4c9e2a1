from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.datasets.calibration import (
    parse_rig_camera,
    read_calibration,
    read_cam2world,
    read_rig_camera,
)
from pipelines.datasets.layout import ProxLayout
from pipelines.errors import DataInvalid, DataMissing

SIZES = ((1920, 1080), (512, 424))


def spoil(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_both_cameras_are_read(pristine):
    calibration = read_calibration(ProxLayout(pristine.base), *SIZES)
    assert calibration.color.K[0, 0] == 1060.5
    assert calibration.infrared.distortion.tolist() == [0.09, -0.27, 0, 0, 0.09]
    assert (calibration.infrared.width_px, calibration.infrared.height_px) == (512, 424)
    assert calibration.color.T_camera_from_rig[0, 3] == -0.052


@pytest.mark.parametrize("key", ["camera_mtx", "k", "f", "c", "R", "T", "view_mtx"])
def test_every_key_is_demanded(tree, key):
    path = tree.base / "calibration" / "IR.json"
    spoil(path, **{key: None})
    with pytest.raises(DataInvalid, match=rf"lacks the key {key}[\s\S]*IR\.json"):
        read_rig_camera(path, SIZES[1])


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("camera_mtx", [1, 2, 3], r"shape \(3,\)"),
        ("k", [0.1, 0.2], r"shape \(2,\)"),
        ("k", [0.1, 0, 0, 0, float("nan")], "NaN"),
        ("T", "far away", r"shape \(0,\)"),
        ("view_mtx", np.eye(4).tolist(), r"shape \(4, 4\)"),
    ],
)
def test_every_shape_is_demanded(tree, key, value, found):
    path = tree.base / "calibration" / "Color.json"
    spoil(path, **{key: value})
    with pytest.raises(DataInvalid, match=rf"key {key} is wrong[\s\S]*{found}"):
        read_rig_camera(path, SIZES[0])


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"f": [1000.0, 1000.0]}, "f and camera_mtx"),
        ({"c": [960.0, 540.0]}, "c and camera_mtx"),
        ({"T": [0.052, 0, 0]}, "R, T and view_mtx"),
        ({"R": [0.1, 0, 0]}, "R, T and view_mtx"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(tree, change, names):
    path = tree.base / "calibration" / "Color.json"
    spoil(path, **change)
    with pytest.raises(DataInvalid, match=f"{names} contradict"):
        read_rig_camera(path, SIZES[0])


def test_column_vectors_are_as_good(tree):
    path = tree.base / "calibration" / "Color.json"
    k = json.loads(path.read_text())["k"]
    spoil(path, k=[[value] for value in k])
    assert read_rig_camera(path, SIZES[0]).distortion.tolist() == k


def test_the_recorded_rig_is_accepted(goldens_folder):
    with np.load(goldens_folder / "humor_fitting.npz") as golden:
        for key in ("depth", "color"):
            content = json.loads(str(golden[f"in/prox/depth/{key}_cam_json"]))
            parse_rig_camera(content, (52, 42), source=key)


def test_a_list_is_no_calibration():
    with pytest.raises(DataInvalid, match="not a mapping"):
        parse_rig_camera([], SIZES[0], source="Color.json")


def test_the_camera_pose_is_read(pristine):
    T = read_cam2world(ProxLayout(pristine.base), "Boxroom")
    np.testing.assert_allclose(T[:3, 3], [0.1, -1.8, 0.2])


@pytest.mark.parametrize(
    "matrix",
    [
        np.eye(3),
        np.diag([1, 1, -1, 1]),
        2 * np.eye(4),
        np.full((4, 4), np.nan),
        {"trans": np.eye(4).tolist()},
        [[1, 2], [3]],
    ],
)
def test_a_pose_that_is_not_rigid_is_refused(tree, matrix):
    path = tree.base / "cam2world" / "Boxroom.json"
    path.write_text(json.dumps(matrix.tolist() if isinstance(matrix, np.ndarray) else matrix))
    with pytest.raises(DataInvalid, match=r"Boxroom\.json"):
        read_cam2world(ProxLayout(tree.base), "Boxroom")


def test_absent_and_broken_files_are_named(tree):
    layout = ProxLayout(tree.base)
    with pytest.raises(DataMissing, match=r"Elsewhere\.json"):
        read_cam2world(layout, "Elsewhere")
    layout.calibration("IR").write_text('{"k": [')
    with pytest.raises(DataInvalid, match=r"IR\.json"):
        read_calibration(layout, *SIZES)
