"""A reduced network with random weights: where things go, not how good they are."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import trimesh

from pipelines.errors import DataInvalid, DataMissing
from pipelines.geometry.transforms import rigid, transform_points
from pipelines.records import SceneScan
from sahmr.data.crop import PersonView
from sahmr.export import contact_dots, overlay, save_glb, save_overlay
from sahmr.inference import SahmrPredictor
from sahmr.networks.sahmr import Sahmr
from sahmr.networks.weights_file import write_network

K = np.array([[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]])
# Level camera 1.2 m above the floor of a z-up room, looking along +y.
T = rigid(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]), np.array([0.0, 0.0, 1.2]))


@pytest.fixture(scope="module")
def predictor(small_sahmr):
    """Root depth fixed at 3 m; vertices spread over some decimetres."""
    torch.manual_seed(0)
    network = Sahmr(small_sahmr)
    with torch.no_grad():
        network.rcnet.root_net.maps.weight[1] = 0
        network.rcnet.root_net.maps.bias[1] = 3.0 * 230 / 500
        network.mesh_recovery.upsampling.to_full.weight *= 2
    return SahmrPredictor.from_network(network)


@pytest.fixture
def view():
    image = np.full((480, 640, 3), 90, np.uint8)
    return PersonView(image, (220.0, 140.0, 420.0, 340.0), K, T, "frame_7")


@pytest.fixture(scope="module")
def room():
    floor = np.array([[-2.0, 0.5, 0.0], [2.0, 0.5, 0.0], [2.0, 6.0, 0.0], [-2.0, 6.0, 0.0]])
    wall = np.array([[-2.0, 3.6, 0.0], [2.0, 3.6, 0.0], [2.0, 3.6, 2.5], [-2.0, 3.6, 2.5]])
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    grid = np.ones((2, 2, 2), np.float32)
    return SceneScan(
        "room", np.concatenate([floor, wall]), faces, grid, np.full(3, -3.0), np.full(3, 7.0)
    )


def test_prediction_lies_in_the_camera_frame_at_the_root(predictor, view, room):
    body = predictor.predict(view, room)
    assert body.vertices_camera.shape == (1, 6890, 3)
    assert bool(body.vertices_camera.isfinite().all())
    assert float(body.root_contact.root_camera[0, 2]) == pytest.approx(3.0, abs=1e-4)
    torch.testing.assert_close(body.vertices_camera, body.mesh.vertices_root + body.root_camera[:, None])
    nearby = body.root_contact.voxels.nearby.points_camera
    assert len(nearby) > 1000
    wall = nearby[(nearby[:, 2] - 3.6).abs() < 0.02]
    assert len(wall) > 100  # the wall 3.6 m ahead in the world is 3.6 m ahead of the camera


def test_equal_keys_give_equal_results(predictor, view, room):
    bodies = [predictor.predict(replace(view, key=key), room) for key in ("a", "a", "b")]
    assert torch.equal(bodies[0].vertices_camera, bodies[1].vertices_camera)
    assert torch.equal(bodies[0].root_camera, bodies[2].root_camera)
    if int(bodies[0].contact_points.in_contact.sum()) == 500:
        assert not torch.equal(bodies[0].contact_points.points, bodies[2].contact_points.points)


def test_a_network_trained_here_is_read_from_its_own_file(predictor, view, room, tmp_path):
    write_network(tmp_path / "best.safetensors", predictor.network, {"stage": "mesh"})
    again = SahmrPredictor.from_checkpoint(tmp_path / "best.safetensors")
    torch.testing.assert_close(
        again.predict(view, room).vertices_camera, predictor.predict(view, room).vertices_camera
    )


def test_moving_the_world_moves_nothing_in_the_camera(predictor, view, room):
    """With points given, so that the cells of the cloud do not move against the scene."""
    rng = np.random.default_rng(0)
    points = np.stack([rng.uniform(-1, 1, 3000), rng.uniform(2, 4, 3000), np.zeros(3000)], axis=1)
    motion = rigid(
        np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), np.array([4.0, -2.0, 0.5])
    )
    moved = replace(view, T_world_from_camera=motion @ T)
    a = predictor.predict(view, points)
    b = predictor.predict(moved, transform_points(motion, points))
    torch.testing.assert_close(a.root_camera, b.root_camera, atol=2e-3, rtol=0)


def test_scene_in_another_frame_keeps_the_root_and_warns(predictor, view, room, caplog):
    elsewhere = replace(room, vertices_world=room.vertices_world - np.array([0.0, 50.0, 0.0]))
    with caplog.at_level(logging.WARNING):
        body = predictor.predict(view, elsewhere)
    assert "1 of 1 samples see no scene point" in caplog.text
    assert torch.equal(body.root_camera, body.root_contact.root_camera)
    assert bool(body.vertices_camera.isfinite().all())


def test_box_outside_the_image_is_refused(predictor, view, room):
    with pytest.raises(DataInvalid, match="outside the image"):
        predictor.predict(replace(view, box_px=(700.0, 0.0, 800.0, 90.0)), room)


def test_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(DataMissing, match=r"checkpoint not found[\s\S]*none.pth"):
        SahmrPredictor.from_checkpoint(tmp_path / "none.pth")


def test_overlay_changes_the_image_only_where_the_body_is(predictor, view, room, tmp_path):
    body = predictor.predict(view, room)
    no_dots = replace(
        body, contact_points=replace(body.contact_points, category=0 * body.contact_points.category)
    )
    picture = overlay(view, no_dots, predictor.faces)
    changed = (picture != view.image).any(axis=2)
    vertices = body.vertices_camera[0].double().numpy()
    pixels = vertices[:, :2] / vertices[:, 2:] * 500 + [320, 240]
    rows, columns = np.nonzero(changed)
    assert changed.sum() > 100
    assert columns.min() >= np.floor(pixels[:, 0].min())
    assert columns.max() <= np.ceil(pixels[:, 0].max())
    assert rows.min() >= np.floor(pixels[:, 1].min())
    assert rows.max() <= np.ceil(pixels[:, 1].max())
    save_overlay(tmp_path / "overlay.png", view, no_dots, predictor.faces)
    assert np.array_equal(cv2.imread(str(tmp_path / "overlay.png"))[..., ::-1], picture)


def test_a_body_behind_the_camera_cannot_be_drawn(predictor, view, room):
    body = predictor.predict(view, room)
    behind = replace(body, vertices_camera=body.vertices_camera - torch.tensor([0.0, 0.0, 20.0]))
    with pytest.raises(DataInvalid, match=r"outside the image: there is nothing to draw[\s\S]*frame_7"):
        overlay(view, behind, predictor.faces)


@pytest.mark.parametrize("up_axis", ["y", "z"])
def test_glb_holds_body_contact_and_scene_in_the_world(predictor, view, room, tmp_path, up_axis):
    body = predictor.predict(view, room)
    category = body.contact_points.category.clone()
    category[0, 0] = 3
    body = replace(body, contact_points=replace(body.contact_points, category=category))
    save_glb(tmp_path / "body.glb", view, body, predictor.faces, room, up_axis)
    parts = trimesh.load(tmp_path / "body.glb").geometry
    assert set(parts) == {"body", "contact", "scene"}
    world = transform_points(T, body.vertices_camera[0].double().numpy())
    expected = world if up_axis == "y" else world[:, [0, 2, 1]] * [1, 1, -1]
    np.testing.assert_allclose(parts["body"].vertices, expected, atol=1e-5)
    assert len(contact_dots(body)[0]) == len(parts["contact"].vertices)
    save_glb(tmp_path / "alone.glb", view, body, predictor.faces)
    assert "scene" not in trimesh.load(tmp_path / "alone.glb").geometry


@pytest.mark.slow
def test_official_key_list_predicts_at_full_size(tmp_path, view, room, goldens_folder):
    """A file with every official name, all weights 0 but the norms': the released architecture runs whole."""
    shapes = json.loads((goldens_folder / "sahmr.json").read_text())
    state = {}
    for name, shape in shapes.items():
        counted = name.endswith("num_batches_tracked")
        value = 1.0 if name.endswith("running_var") else 0.0
        state["net." + name] = torch.tensor(0) if counted else torch.full(shape, value)
    state["net.rcnet.root_net.out_conv.bias"] = torch.zeros(41).index_fill(
        0, torch.tensor([1]), 3 * 230 / 500
    )
    torch.save({"network": state, "epoch": 30}, tmp_path / "official.pth")
    predictor = SahmrPredictor.from_checkpoint(tmp_path / "official.pth")
    body = predictor.predict(view, room)
    assert float(body.root_contact.root_camera[0, 2]) == pytest.approx(3.0, abs=1e-4)
    voxels = body.root_contact.voxels
    expected = voxels.centres_camera.mean(dim=0)  # equal votes, no offsets
    torch.testing.assert_close(body.root_camera[0], expected, atol=1e-4, rtol=1e-4)
    assert not body.contact_points.in_contact.any()  # equal logits: the first class wins
    torch.testing.assert_close(body.vertices_camera, body.root_camera[:, None].expand(1, 6890, 3))
