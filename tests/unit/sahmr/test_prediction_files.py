from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
import trimesh

from pipelines.artifacts import read_npz
from pipelines.config import load_settings
from pipelines.errors import DataInvalid, DataMissing, SettingsInvalid
from pipelines.geometry.transforms import rigid
from sahmr.networks.checkpoint import Loaded, save_checkpoint
from sahmr.networks.official_names import SAHMR
from sahmr.networks.sahmr import Sahmr
from sahmr.prediction_files import PredictionSettings, predict_files, read_camera, read_image

K = [[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]]
T = rigid(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]), np.array([0.0, 0.0, 1.2]))


@pytest.fixture
def files(tmp_path):
    """An image, a camera and a floor on disk, and the settings that name them."""
    image = np.full((480, 640, 3), 90, np.uint8)
    image[:, :100] = (255, 0, 0)  # BGR: the left of the file is blue
    cv2.imwrite(str(tmp_path / "frame_7.png"), image)
    (tmp_path / "camera.json").write_text(json.dumps({"K": K, "T_world_from_camera": T.tolist()}))
    corners = np.array([[-2.0, 0.5, 0.0], [2.0, 0.5, 0.0], [2.0, 6.0, 0.0], [-2.0, 6.0, 0.0]])
    trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], process=False).export(tmp_path / "scan.ply")
    return PredictionSettings(
        checkpoint=tmp_path / "none.pth",
        image=tmp_path / "frame_7.png",
        box_px=(220.0, 140.0, 420.0, 340.0),
        camera=tmp_path / "camera.json",
        scene=tmp_path / "scan.ply",
        out=tmp_path / "out",
    )


@pytest.fixture
def checkpoint(small_sahmr, tmp_path):
    """A reduced network in SA-HMR's own file form."""
    torch.manual_seed(0)
    network = Sahmr(small_sahmr)
    with torch.no_grad():
        network.rcnet.root_net.maps.weight[1] = 0
        network.rcnet.root_net.maps.bias[1] = 3.0 * 230 / 500
    save_checkpoint(tmp_path / "small.pth", Loaded(network, SAHMR, epoch=1))
    return tmp_path / "small.pth"


def test_results_are_written_in_both_frames(small_sahmr, files, checkpoint):
    out = predict_files(files.model_copy(update={"checkpoint": checkpoint, "network": small_sahmr}))
    assert sorted(path.name for path in out.iterdir()) == ["body.glb", "overlay.png", "prediction.npz"]
    arrays = read_npz(out / "prediction.npz")
    assert arrays["vertices_camera"].shape == (6890, 3)
    expected = arrays["vertices_camera"] @ T[:3, :3].T + T[:3, 3]
    np.testing.assert_allclose(arrays["vertices_world"], expected, atol=1e-5)
    assert len(arrays["contact_points_camera"]) == len(arrays["contact_category"])
    assert arrays["faces"].shape == (13776, 3)
    assert cv2.imread(str(out / "overlay.png")).shape == (480, 640, 3)


def test_mirrored_image_files_are_turned_back(files):
    assert read_image(files.image, mirrored=False)[0, 0].tolist() == [0, 0, 255]
    assert read_image(files.image, mirrored=True)[0, -1].tolist() == [0, 0, 255]


def test_missing_and_broken_images_are_named(files, tmp_path):
    with pytest.raises(DataMissing, match="image not found"):
        read_image(tmp_path / "nowhere.png", mirrored=False)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataInvalid, match=r"not an image[\s\S]*text.png"):
        read_image(tmp_path / "text.png", mirrored=False)


@pytest.mark.parametrize("content", [{"K": K}, {"K": [1, 2], "T_world_from_camera": T.tolist()}])
def test_wrong_camera_files_are_named(tmp_path, content):
    (tmp_path / "camera.json").write_text(json.dumps(content))
    with pytest.raises(DataInvalid, match=r"camera file is wrong[\s\S]*T_world_from_camera \(4x4\)"):
        read_camera(tmp_path / "camera.json")


def test_missing_checkpoint_is_named(files):
    with pytest.raises(DataMissing, match="checkpoint not found"):
        predict_files(files)


def test_settings_that_are_needed_are_named():
    with pytest.raises(SettingsInvalid, match="checkpoint"):
        load_settings(PredictionSettings, None, ["image=a.png"])
    settings = load_settings(
        PredictionSettings,
        None,
        ["checkpoint=a", "image=b", "camera=c", "scene=d", "box_px=[1, 2, 3, 4]"],
    )
    assert settings.box_px == (1.0, 2.0, 3.0, 4.0)
