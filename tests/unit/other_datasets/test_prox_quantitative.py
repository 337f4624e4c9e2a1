"""PROX quantitative: clips, MoSH truth through vicon2scene, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.bodies.files import BodyFiles
from pipelines.datasets.proxd import BODY_KEYS
from pipelines.datasets.settings import ProxSettings
from pipelines.errors import DataInvalid, DataMissing, SettingsInvalid
from pipelines.other_datasets.prox_quantitative import ProxQuantitative
from pipelines.other_trees.pickles import python2_pickled
from pipelines.records import SmplxParameters
from pipelines.safe_pickle import load_pickle, loads
from pipelines.synthetic.truth import read_truth

RECORDING = "vicon_03301_01"


@pytest.fixture
def data(quantitative: Any, files: BodyFiles) -> ProxQuantitative:
    return ProxQuantitative(quantitative.root, files)


def test_clips_that_start_again_at_frame_one_stay_apart(data: ProxQuantitative) -> None:
    assert data.clips(RECORDING) == {1: slice(0, 3), 4: slice(3, 6), 7: slice(6, 9)}
    table = data.prox.frames(RECORDING)
    assert table.index.tolist() == [1, 2, 3] * 3
    assert table.segment_id.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_truth_is_the_mosh_body_moved_by_the_two_matrices(
    data: ProxQuantitative, smplx_vertices: Callable[..., np.ndarray]
) -> None:
    base = data.prox.layout.base
    truth = data.truth(RECORDING)
    stored = load_pickle(base / f"fittings/mosh/{RECORDING}/results/{truth.frame_names[3]}/000.pkl")
    vicon = smplx_vertices(SmplxParameters(**{key: stored[key] for key in BODY_KEYS}), "male")[0]
    to_scene = np.array(json.loads((base / "vicon2scene.json").read_text()))
    cam2world = np.array(json.loads((base / "cam2world/vicon.json").read_text()))
    homogeneous = np.column_stack([vicon, np.ones(len(vicon))])
    expected = (np.linalg.inv(cam2world) @ to_scene @ homogeneous.T).T[:, :3]
    assert truth.gender == "male"
    assert np.abs(smplx_vertices(truth.parameters, "male")[3] - expected).max() < 1e-5


def test_truth_is_the_filmed_body_and_spoilt_fits_say_so(
    data: ProxQuantitative, quantitative: Any
) -> None:
    truth = data.truth(RECORDING)
    assert truth.status == ("", "", "fit_missing", "", "", "fit_not_finite", "", "", "")
    filmed = read_truth(quantitative.truth, RECORDING)
    assert filmed.frame_names == truth.frame_names
    for key in ("transl", "global_orient", "body_pose", "betas"):
        read, true = getattr(truth.parameters, key), getattr(filmed.parameters, key)
        assert np.abs(read[truth.valid] - true[truth.valid]).max() < 1e-5


def test_the_person_comes_with_camera_and_images(data: ProxQuantitative) -> None:
    person = data.person(RECORDING)
    assert (person.scene, person.subject, person.frame_rate_hz) == ("vicon", "03301", 5.0)
    assert person.view.image_size_px == (1920, 1080)
    assert person.has_image.all()
    assert person.contact is None


def test_observations_can_be_fitted(data: ProxQuantitative) -> None:
    seen = data.prox.observations(RECORDING)
    assert seen.usable.all()
    assert seen.frame_rate_hz == 5.0
    truth = data.truth(RECORDING)
    pelvis = truth.parameters.transl[truth.valid]
    middle = seen.points_camera[truth.valid].mean(axis=1)
    assert np.abs(middle - pelvis)[:, (0, 2)].max() < 0.3


def test_a_python_2_pickle_is_read_as_latin1() -> None:
    stored = {"transl": np.array([[1.5, -2, 200.25]], np.float32), "empty": np.zeros((0, 3), np.float32)}
    read = loads(python2_pickled(stored), source="test")
    assert list(read) == ["transl", "empty"]
    assert np.array_equal(read["transl"], stored["transl"])
    assert read["empty"].shape == (0, 3)


def test_the_qualitative_half_is_refused(
    quantitative: Any, files: BodyFiles, copied: Callable[[Path], Path]
) -> None:
    root = copied(quantitative.root)
    base = (root / "quantitative").rename(root / "qualitative")
    (base / "vicon2scene.json").unlink()
    (base / "fittings").rename(base / "PROXD")
    with pytest.raises(DataMissing, match="a tree of PROX qualitative"):
        ProxQuantitative(root, files)
    with pytest.raises(SettingsInvalid, match="qualitative"):
        ProxQuantitative(root, files, ProxSettings())


def test_a_skewed_vicon2scene_and_absent_fits_are_refused(
    quantitative: Any, files: BodyFiles, copied: Callable[[Path], Path]
) -> None:
    root = copied(quantitative.root)
    base = root / "quantitative"
    (base / "vicon2scene.json").write_text(json.dumps((2 * np.eye(4)).tolist()))
    with pytest.raises(DataInvalid, match="vicon2scene is not a rigid transform"):
        ProxQuantitative(root, files).truth(RECORDING)
    (base / "fittings" / "mosh" / RECORDING).rename(base / "fittings" / "mosh" / "vicon_03301_02")
    with pytest.raises(DataMissing, match=f"{RECORDING}: no MoSH fits"):
        ProxQuantitative(root, files).truth(RECORDING)
