"""AMASS: floor and contacts of motions whose truth is known, and why motions are left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.bodies.files import BodyFiles
from pipelines.errors import DataInvalid, DataMissing
from pipelines.motion_prior.state import CONTACT_JOINTS
from pipelines.motion_prior.training_data import TrainingClip
from pipelines.other_datasets.amass.dataset import AmassDataset
from pipelines.other_datasets.amass.floor import find_floor, label_contacts
from pipelines.other_datasets.amass.motions import left_out, read_motion
from pipelines.other_datasets.settings import AmassSettings
from pipelines.other_trees.amass import STAND_SLIDE_STAND


@pytest.fixture(scope="session")
def data(amass_root: Path, files: BodyFiles) -> AmassDataset:
    return AmassDataset(amass_root, files)


def test_a_clip_stands_on_the_floor_and_slides_without_contact(data: AmassDataset) -> None:
    clip = data.clip(STAND_SLIDE_STAND)
    assert isinstance(clip, TrainingClip)
    assert clip.contacts is not None
    # 300 frames at 120 Hz: the middle 80 % are frames 30 to 269, of which 60 are picked.
    assert len(clip.transl) == 60
    source = np.linspace(0, 239, 60).astype(int) + 30
    slides = (source >= 100) & (source < 200)
    toes = [CONTACT_JOINTS.index(joint) for joint in (10, 11)]
    assert (clip.contacts[:, toes] == ~slides[:, None]).all()
    assert not clip.contacts[:, CONTACT_JOINTS.index(0)].any()
    assert not clip.contacts[:, [CONTACT_JOINTS.index(joint) for joint in (4, 5, 20, 21)]].any()
    assert np.allclose(clip.transl[:, 0], np.clip(source - 100, 0, 100) * 0.01)
    joints = data._joints(data.motion(STAND_SLIDE_STAND), source)
    shift = joints[:, 0, 2] - data.motion(STAND_SLIDE_STAND).transl[source, 2]
    toe_m = joints[:, 10, 2] - joints[:, 0, 2] + shift + clip.transl[:, 2]
    assert np.allclose(toe_m, 0.01, atol=2e-3)


def test_every_motion_left_out_says_why(data: AmassDataset) -> None:
    train = data.clips("train")
    assert [clip.name for clip in train.clips] == ["ACCAD/f/bytes", STAND_SLIDE_STAND]
    assert train.clips[0].gender == "female"
    assert train.skipped == {
        "subset_missing": 5,
        "terrain": 1,
        "too_short": 1,
        "too_slow": 1,
        "treadmill": 1,
        "unreadable": 1,
    }
    assert [clip.name for clip in data.clips("val").clips] == ["SFU/0005/walk"]
    with pytest.raises(DataMissing, match="AMASS test: no motion to train on"):
        data.clips("test")


def test_named_motions_and_rates_are_mended(data: AmassDataset) -> None:
    assert left_out("MPI_HDM05/dg/HDM_dg_07-01_01_120") == "skating"
    assert left_out("BioMotionLab_NTroje/rub001/0001_normal_walk1") == "treadmill"
    assert left_out("KIT/3/normal_walk") is None
    assert data.motion("BMLhandball/S01/throw").frame_rate_hz == 240


def standing(heights: list[float], roots: list[float]) -> np.ndarray:
    """Joints whose toes and root are at given heights, the same for both feet."""
    joints = np.ones((len(heights), 22, 3))
    joints[:, (10, 11), 2] = np.array(heights)[:, None]
    joints[:, 0, 2] = roots
    return joints


def test_the_floor_is_the_lowest_cluster_of_standing_toes() -> None:
    settings = AmassSettings()
    # Two samples at -0.2 (one frame, both toes) are too few for a cluster.
    floor = find_floor(standing([0.1] * 40 + [-0.2] + [0.1] * 2, [1.0] * 43), 120.0, settings)
    assert (floor.toe_height_m, floor.height_m) == pytest.approx((0.1, 0.09))
    assert not floor.is_terrain


@pytest.mark.parametrize(
    ("toe", "root", "frames", "terrain"),
    [(0.15, 1.15, 40, True), (0.13, 1.15, 40, False), (0.15, 1.03, 40, False), (0.15, 1.15, 10, False)],
)
def test_terrain_needs_toes_and_root_higher_for_long(
    toe: float, root: float, frames: int, terrain: bool
) -> None:
    joints = standing([0.1] * 60 + [toe] * frames, [1.0] * 60 + [root] * frames)
    assert find_floor(joints, 120.0, AmassSettings()).is_terrain is terrain


def test_toes_that_never_stand_take_their_lowest_height() -> None:
    joints = standing((0.1 + 0.02 * np.arange(30)).tolist(), [1.0] * 30)
    floor = find_floor(joints, 120.0, AmassSettings())
    assert floor.toe_height_m == pytest.approx(0.1)


def test_contact_heights_differ_for_toes() -> None:
    joints = np.zeros((3, 22, 3))
    joints[:, (7, 10), 2] = 0.05  # left ankle and toe 5 cm up
    joints[1:, 8, 0] = 0.01  # the right ankle moves between the first two frames
    contact = label_contacts(joints, 0.0, AmassSettings())
    row = {joint: CONTACT_JOINTS.index(joint) for joint in CONTACT_JOINTS}
    assert contact[:, row[7]].all()
    assert not contact[:, row[10]].any()
    assert contact[:, row[8]].tolist() == [False, True, True]
    assert not contact[:, row[0]].any()


def test_wrong_files_are_refused(tmp_path: Path, files: BodyFiles) -> None:
    path = tmp_path / "walk_poses.npz"
    with pytest.raises(DataMissing, match="not found"):
        read_motion(path, "walk")
    np.savez(path, poses=np.zeros((4, 165)), trans=np.zeros((4, 3)))
    with pytest.raises(DataInvalid, match="lacks betas, gender, mocap_framerate"):
        read_motion(path, "walk")
    rest = {"trans": np.zeros((4, 3)), "betas": np.zeros(16), "mocap_framerate": 60.0}
    np.savez(path, poses=np.zeros((4, 165)), gender="male", **rest)
    with pytest.raises(DataInvalid, match="is not SMPL"):
        read_motion(path, "walk")
    np.savez(path, poses=np.zeros((4, 156)), gender="unknown", **rest)
    with pytest.raises(DataInvalid, match="unknown gender"):
        read_motion(path, "walk")
    with pytest.raises(DataMissing, match="not a tree of AMASS"):
        AmassDataset(tmp_path, files)
