from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.errors import DataInvalid
from pipelines.geometry.transforms import rigid
from sahmr.data.crop import PersonView, normalise, prepare_crop

K = np.array([[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]])
TURN = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
T = rigid(TURN, np.array([1.0, 2.0, 3.0]))


def view(**changes):
    given = {
        "image": np.zeros((480, 640, 3), np.uint8),
        "box_px": (220.0, 140.0, 420.0, 340.0),
        "K": K,
        "T_world_from_camera": T,
        "key": "frame_7",
    }
    return PersonView(**(given | changes))


def test_normalised_by_hand():
    pixel = normalise(np.full((1, 1, 3), 51, np.uint8))[:, 0, 0]
    expected = [(0.2 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    torch.testing.assert_close(pixel, torch.tensor(expected))


def test_scene_is_carried_to_the_camera_and_cut_to_the_frustum():
    camera = np.array([[0.0, 0.0, 2.0], [0.45, 0.0, 2.0], [0.47, 0.0, 2.0], [0.0, 0.0, -2.0]])
    crop = prepare_crop(view(), camera @ TURN.T + T[:3, 3])
    torch.testing.assert_close(crop.scene.points_camera, torch.tensor(camera[:2], dtype=torch.float32))
    assert crop.images.shape == (1, 3, 224, 224)
    torch.testing.assert_close(crop.cameras.boxes_px, torch.tensor([[205.0, 125.0, 435.0, 355.0]]))


def test_no_scene_points_give_an_empty_frustum():
    assert prepare_crop(view(), np.zeros((0, 3))).scene.points_camera.shape == (0, 3)


@pytest.mark.parametrize(
    "box", [(700.0, 10.0, 800.0, 90.0), (-90.0, 0.0, 0.0, 90.0), (0.0, 480.0, 9.0, 500.0)]
)
def test_box_outside_the_image_is_refused(box):
    with pytest.raises(DataInvalid, match=r"outside the image[\s\S]*frame_7[\s\S]*640 x 480"):
        prepare_crop(view(box_px=box), np.zeros((0, 3)))


@pytest.mark.parametrize("box", [(5.0, 5.0, 5.0, 9.0), (0.0, 0.0, float("nan"), 9.0)])
def test_empty_box_is_refused(box):
    with pytest.raises(DataInvalid, match="person box is empty"):
        prepare_crop(view(box_px=box), np.zeros((0, 3)))


def test_box_partly_outside_is_allowed():
    assert bool(
        prepare_crop(view(box_px=(-50.0, -50.0, 90.0, 90.0)), np.zeros((0, 3))).images.isfinite().all()
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"K": np.diag([0.0, 500.0, 1.0])}, "no positive, finite focal length"),
        ({"K": np.full((3, 3), np.nan)}, "no positive, finite focal length"),
        ({"T_world_from_camera": np.diag([1.0, 1.0, -1.0, 1.0])}, "no rigid transform"),
        ({"T_world_from_camera": np.full((4, 4), np.nan)}, "no rigid transform"),
    ],
)
def test_impossible_cameras_are_refused(changes, message):
    with pytest.raises(DataInvalid, match=message):
        prepare_crop(view(**changes), np.zeros((0, 3)))
