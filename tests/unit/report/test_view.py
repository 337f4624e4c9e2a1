from __future__ import annotations

import base64
import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.bodies.downsample import read_mesh_pyramid
from pipelines.bodies.files import resolve_body_files
from pipelines.bodies.model import load_smplh
from pipelines.errors import BackendMissing
from pipelines.records import BodyTrack, SceneScan, SequenceObservations
from pipelines.report import view as module
from pipelines.report.meshes import CoarseBody, coarse_body, thin_out_scan
from pipelines.report.settings import ViewSettings
from pipelines.report.view import (
    choose_frames,
    drawing_library,
    packed_bodies,
    read_view,
    view_bodies,
    write_view,
)


def unpack(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(gzip.decompress(base64.b64decode(text)), dtype)


def grid_scan(steps: int) -> SceneScan:
    """A square metre of steps x steps vertices."""
    x, y = np.meshgrid(np.linspace(0, 1, steps), np.linspace(0, 1, steps), indexing="ij")
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(steps * steps)], axis=1)
    corner = (np.arange(steps - 1)[:, None] * steps + np.arange(steps - 1)).ravel()
    lower = np.stack([corner, corner + steps, corner + 1], axis=1)
    upper = np.stack([corner + 1, corner + steps, corner + steps + 1], axis=1)
    sdf = np.zeros((2, 2, 2), np.float32)
    return SceneScan("Room", vertices, np.concatenate([lower, upper]), sdf, np.zeros(3), np.ones(3))


def test_a_thinned_scan_keeps_its_shape() -> None:
    light = thin_out_scan(grid_scan(80), 900)
    assert len(light.vertices) <= 900
    assert light.faces.max() < len(light.vertices)
    assert np.ptp(light.vertices[:, :2], axis=0) == pytest.approx([1, 1], abs=0.06)
    a, b, c = (light.vertices[light.faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    assert area == pytest.approx(1.0, abs=0.08)  # no hole, nothing twice


def test_a_thin_plate_is_seen_from_both_sides() -> None:
    top = grid_scan(40)
    below = top.vertices_world - np.array([0, 0, 0.004])
    plate = replace(
        top,
        vertices_world=np.concatenate([top.vertices_world, below]),
        faces=np.concatenate([top.faces, top.faces[:, ::-1] + len(below)]),
    )
    light = thin_out_scan(plate, 400)
    a, b, c = (light.vertices[light.faces[:, k]] for k in range(3))
    up = np.cross(b - a, c - a)[:, 2]
    assert up[up > 0].sum() / 2 == pytest.approx(1.0, abs=0.1)
    assert up[up < 0].sum() / 2 == pytest.approx(-1.0, abs=0.1)


def test_a_small_scan_is_left_as_it_is() -> None:
    scan = grid_scan(5)
    light = thin_out_scan(scan, 100)
    np.testing.assert_array_equal(light.vertices, scan.vertices_world)
    assert len(light.faces) == len(scan.faces)


@pytest.fixture(scope="module")
def body() -> CoarseBody:
    files = resolve_body_files(None)
    model = load_smplh(files, "male")
    zeros = [torch.zeros(1, size) for size in (10, 3, 63, 3)]
    rest = model(*zeros).vertices[0].numpy().astype(np.float64)
    return coarse_body(read_mesh_pyramid(files.downsampling), model.faces.numpy(), rest, 1723)


def test_a_coarse_body_is_nearly_closed(body: CoarseBody) -> None:
    assert len(body.picked) == 1723
    assert set(np.unique(body.faces)) <= set(range(1723))
    edges = np.sort(
        np.concatenate([body.faces[:, [0, 1]], body.faces[:, [1, 2]], body.faces[:, [2, 0]]]), axis=1
    )
    _, uses = np.unique(edges, axis=0, return_counts=True)
    assert (uses == 2).mean() > 0.97
    assert body.nearest[body.picked].tolist() == list(range(1723))


def test_a_thin_deep_spot_survives_coarsening(body: CoarseBody) -> None:
    distances = np.ones(6890)
    hidden = int(np.setdiff1d(np.arange(6890), body.picked)[100])
    distances[hidden] = -0.05
    assert body.smallest(distances).min() == -0.05


def test_packed_bodies_come_back(
    track: BodyTrack,
    observations: SequenceObservations,
    scene: SceneScan,
    body: CoarseBody,
    tmp_path: Path,
) -> None:
    settings = ViewSettings(frame_step=2)
    made = view_bodies({"refined": track}, observations, scene, body, settings)
    shown = read_view(write_view(tmp_path / "view.npz", made))
    packed = packed_bodies(shown, {"refined": "Result"}, {})
    method = packed["methods"][0]
    steps = unpack(method["positions"], "<i2").reshape(3, 1723, 3)
    metres = np.cumsum(steps, axis=0, dtype=np.int16) * settings.unit_m
    wanted = track.vertices_camera[[0, 2, 4]][:, body.picked]
    np.testing.assert_allclose(metres, wanted, atol=settings.unit_m / 2 + 1e-6)
    assert unpack(method["distances"], "i1").min() == -60
    assert packed["frames"] == [0, 2, 4]
    assert method["valid"] == [1, 1, 1]
    assert (method["title"], len(unpack(packed["faces"], "<u4"))) == ("Result", body.faces.size)


def test_long_recordings_take_larger_steps() -> None:
    assert choose_frames(10, ViewSettings(frame_step=3)).tolist() == [0, 3, 6, 9]
    assert len(choose_frames(1000, ViewSettings(frame_step=1, max_frames=120))) <= 120


def test_the_drawing_library_is_there_and_can_stand_in_a_page() -> None:
    source = drawing_library()
    assert "THREE" in source
    assert "</script" not in source


def test_another_trimesh_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "files", lambda name: tmp_path)
    with pytest.raises(BackendMissing, match=r"three\.js.*not found"):
        drawing_library()
