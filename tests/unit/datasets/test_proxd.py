from __future__ import annotations

import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest

from pipelines.datasets.layout import ProxLayout
from pipelines.datasets.proxd import (
    BODY_KEYS,
    PROXD_SHAPES,
    read_proxd,
    read_released_fit,
    write_proxd,
    write_proxd_recording,
)
from pipelines.errors import DataInvalid, DataMissing
from pipelines.records import FittedSequence, SmplhParameters, SmplxParameters

FRAME = "s001_frame_00001__00.00.00.029"
FLOOR = np.array([0.0, -1.0, 0.0, -1.0])


def parameters(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {key: rng.standard_normal(PROXD_SHAPES[key]) for key in BODY_KEYS}


def fitted(frames: int = 3, status=("", "fit_failed", "")) -> FittedSequence:
    rng = np.random.default_rng(1)
    values = {key: rng.standard_normal((frames, *PROXD_SHAPES[key])) for key in BODY_KEYS}
    return FittedSequence(
        method="ours",
        recording="Room_00001_01",
        gender="male",
        frame_names=tuple(f"s001_frame_0000{i}__00.00.00.0{i}0" for i in range(frames)),
        parameters=SmplxParameters(**values),
        status=tuple(status),
        window_id=np.arange(frames),
        T_world_from_camera=np.eye(4),
        floor_camera=FLOOR,
    )


def test_what_is_written_is_read(tmp_path):
    values = parameters()
    path = write_proxd(tmp_path, "Room_00001_01", FRAME, values)
    assert path == tmp_path / "Room_00001_01" / "results" / FRAME / "000.pkl"
    back = read_proxd(path)
    assert set(back) == set(PROXD_SHAPES)
    for key, value in values.items():
        np.testing.assert_array_equal(back[key], value.astype(np.float32))
    np.testing.assert_array_equal(back["camera_rotation"], np.eye(3))
    assert (back["pose_embedding"] == 0).all()


def test_the_file_is_what_proxs_own_tools_expect(tmp_path):
    path = write_proxd(tmp_path, "Room_00001_01", FRAME, parameters())
    content = pickle.loads(path.read_bytes(), encoding="latin1")  # noqa: S301
    assert list(content) == list(PROXD_SHAPES)
    for key, shape in PROXD_SHAPES.items():
        assert content[key].shape == (1, *shape)
        assert content[key].dtype == np.float32
    names = {
        str(argument) for op, argument, _ in pickletools.genops(path.read_bytes()) if op.name == "GLOBAL"
    }
    assert not any("numpy._core" in name for name in names)  # unknown to NumPy 1
    assert path.read_bytes()[:2] == b"\x80\x02"


def test_equal_parameters_give_equal_bytes(tmp_path):
    one = write_proxd(tmp_path / "a", "Room_00001_01", FRAME, parameters())
    with_axis = {key: value[None].copy() for key, value in parameters().items()}
    two = write_proxd(tmp_path / "b", "Room_00001_01", FRAME, with_axis)
    assert one.read_bytes() == two.read_bytes()


def test_wrong_parameters_are_not_written(tmp_path):
    with pytest.raises(DataInvalid, match=r"betas is wrong[\s\S]*shape \(16,\)"):
        write_proxd(tmp_path, "r", FRAME, parameters() | {"betas": np.zeros(16)})
    with pytest.raises(DataInvalid, match=r"transl is wrong[\s\S]*nothing"):
        write_proxd(tmp_path, "r", FRAME, {k: v for k, v in parameters().items() if k != "transl"})
    with pytest.raises(DataInvalid, match=r"unknown PROXD parameters[\s\S]*gender"):
        write_proxd(tmp_path, "r", FRAME, parameters() | {"gender": np.zeros(1)})
    assert not list(tmp_path.rglob("*.pkl"))


def test_a_recording_is_written_without_its_invalid_frames(tmp_path):
    fit = fitted()
    paths = write_proxd_recording(tmp_path, fit)
    assert [path.parent.name for path in paths] == [fit.frame_names[0], fit.frame_names[2]]
    assert isinstance(fit.parameters, SmplxParameters)
    np.testing.assert_allclose(read_proxd(paths[1])["transl"], fit.parameters.transl[2], rtol=1e-6)


def test_smplh_parameters_are_not_proxd(tmp_path):
    zeros = {"betas": 10, "global_orient": 3, "body_pose": 63, "transl": 3}
    fit = fitted()
    other = FittedSequence(
        method="humor",
        recording=fit.recording,
        gender="male",
        frame_names=fit.frame_names,
        parameters=SmplhParameters(**{key: np.zeros((3, size)) for key, size in zeros.items()}),
        status=fit.status,
        window_id=fit.window_id,
        T_world_from_camera=np.eye(4),
        floor_camera=FLOOR,
    )
    with pytest.raises(DataInvalid, match=r"SmplhParameters[\s\S]*transfer"):
        write_proxd_recording(tmp_path, other)


def write_raw(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path


def raw(**changes: object) -> dict[str, object]:
    values: dict[str, object] = {k: v[None].astype(np.float32) for k, v in parameters().items()}
    return values | changes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "not a mapping"),
        (raw(betas=np.zeros((1, 16), np.float32)), "betas is wrong"),
        (raw(betas=np.zeros(10, np.float32)), "betas is wrong"),
        (raw(transl=np.zeros((1, 3), np.int32)), "transl is wrong"),
        (raw(transl=[0.0, 0.0, 0.0]), "transl is wrong"),
        (raw(transl=None), "transl is wrong"),
        (raw(pose_embedding=np.zeros((1, 33), np.float32)), "pose_embedding is wrong"),
    ],
)
def test_other_content_is_refused_by_name(tmp_path, content, message):
    with pytest.raises(DataInvalid, match=rf"{message}[\s\S]*000\.pkl"):
        read_proxd(write_raw(tmp_path / "000.pkl", content))


def test_the_unused_keys_may_be_absent(tmp_path):
    assert set(read_proxd(write_raw(tmp_path / "000.pkl", raw()))) == set(BODY_KEYS)


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(DataMissing, match=r"000\.pkl"):
        read_proxd(tmp_path / "000.pkl")


class Code:
    def __reduce__(self):
        return (print, ("run",))


def test_every_frame_gets_a_row_and_a_reason(tmp_path, capsys):
    layout, recording = ProxLayout(tmp_path), "Room_00001_01"
    names = [f"s001_frame_{i:05d}__00.00.00.{i:03d}" for i in range(7)]
    contents = [
        raw(),
        None,
        raw(body_pose=np.full((1, 63), np.nan, np.float32)),
        raw(transl=np.array([[0, 0, 40.0]], np.float32)),
        raw(betas=np.zeros((1, 3), np.float32)),
        raw(jaw_pose=Code()),
        raw(),
    ]
    for name, content in zip(names, contents, strict=True):
        if content is not None:
            write_raw(layout.file(recording, "fit", name), content)
    fit = read_released_fit(
        layout,
        recording,
        names,
        gender="female",
        max_transl_m=10.0,
        T_world_from_camera=np.eye(4),
        floor_camera=FLOOR,
    )
    assert fit is not None
    bad = ("fit_missing", "fit_not_finite", "fit_not_finite", "fit_invalid", "fit_invalid")
    assert fit.status == ("", *bad, "")
    assert fit.valid.tolist() == [True, *[False] * 5, True]
    assert fit.gender == "female"
    assert isinstance(fit.parameters, SmplxParameters)
    np.testing.assert_allclose(fit.parameters.transl[6], parameters()["transl"], rtol=1e-6)
    assert all(np.isfinite(getattr(fit.parameters, key)).all() for key in BODY_KEYS)
    assert (fit.parameters.transl[1:6] == 0).all()
    assert capsys.readouterr().out == ""


def test_a_recording_without_fits_has_none(tmp_path):
    assert (
        read_released_fit(
            ProxLayout(tmp_path),
            "Room_00001_01",
            [FRAME],
            gender="male",
            max_transl_m=10.0,
            T_world_from_camera=np.eye(4),
            floor_camera=FLOOR,
        )
        is None
    )
