"""Rasterisation against ray casting: on a GPU by pytorch3d, here by a stand-in of its conventions."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh

from pipelines.geometry import pytorch3d_backend
from pipelines.geometry.meshes import RayCaster
from pipelines.geometry.pytorch3d_backend import PixelWindow, WindowCaster
from pipelines.metrics.raster import pinhole_rays

K = np.array([[90.0, 0.0, 41.0], [0.0, 110.0, 27.0], [0.0, 0.0, 1.0]])
WINDOW = PixelWindow(left=7, up=3, width=60, height=44)


def ball():
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=0.4)
    return mesh.vertices + np.array([0.1, -0.05, 1.7]), np.asarray(mesh.faces)


def documented_rasterizer(mesh, image_size, blur_radius, faces_per_pixel, perspective_correct):
    """Pixel by pixel, as pytorch3d's notes on cameras say: +x left, +y up, the shorter side from -1 to 1."""
    assert (blur_radius, faces_per_pixel, perspective_correct) == (0.0, 1, True)
    (vertices,), (faces,) = mesh
    height, width = image_size
    nearest, depth = torch.full((height, width), -1), torch.full((height, width), -1.0)
    corners = vertices[faces].double()  # (faces, 3, 3)
    for row in range(height):
        for column in range(width):
            x = ((width - 1) / 2 - column) * 2 / min(image_size)
            y = ((height - 1) / 2 - row) * 2 / min(image_size)
            matrix = torch.cat([corners[..., :2], torch.ones(len(faces), 3, 1)], dim=2).transpose(1, 2)
            weights = torch.linalg.solve(
                matrix, torch.tensor([x, y, 1.0]).double().expand(len(faces), 3)
            )
            z = 1 / (weights / corners[..., 2]).sum(dim=1)
            z[(weights < 0).any(dim=1)] = torch.inf
            if bool(z.isfinite().any()):
                nearest[row, column], depth[row, column] = int(z.argmin()), float(z.min())
    return nearest[None, ..., None], depth[None, ..., None], None, None


def expected(vertices, faces):
    rays = pinhole_rays(K, (float(WINDOW.left), float(WINDOW.up)), 1.0, (WINDOW.width, WINDOW.height))
    return rays, RayCaster(vertices, faces).first_hit(rays.origins, rays.directions)


def check(found, wanted):
    same = found[1] == wanted[1]
    assert same.mean() > 0.995  # float32 decides otherwise on a few edges
    assert (wanted[1] >= 0).mean() > 0.2
    hit = same & (wanted[1] >= 0)
    np.testing.assert_allclose(found[0][hit], wanted[0][hit], atol=1e-4)
    assert np.isinf(found[0][found[1] < 0]).all()


def test_window_is_drawn_where_the_rays_go(monkeypatch):
    modules = {
        "pytorch3d.structures": SimpleNamespace(Meshes=lambda vertices, faces: (vertices, faces)),
        "pytorch3d.renderer.mesh.rasterize_meshes": SimpleNamespace(
            rasterize_meshes=documented_rasterizer
        ),
    }
    monkeypatch.setattr(pytorch3d_backend, "import_module", modules.__getitem__)
    vertices, faces = ball()
    behind = np.array([[-1.0, -1.0, -1.0], [1.0, -1.0, 1.0], [0.0, 1.0, -1.0]])  # must not be drawn
    all_vertices = np.concatenate([behind, vertices])
    all_faces = np.concatenate([[[0, 1, 2]], faces + 3])
    rays, wanted = expected(vertices, faces)
    caster = WindowCaster(all_vertices, all_faces, K, WINDOW, device="cpu")
    distance, face = caster.first_hit(rays.origins, rays.directions)
    check((distance, np.where(face >= 0, face - 1, -1)), wanted)


def test_nothing_before_the_camera_is_no_hit(monkeypatch):
    monkeypatch.setattr(pytorch3d_backend, "import_module", lambda name: None)
    vertices, faces = ball()
    vertices[:, 2] *= -1
    distance, face = WindowCaster(vertices, faces, K, WINDOW, device="cpu").first_hit(
        np.zeros((2640, 3)), np.zeros((2640, 3))
    )
    assert np.isinf(distance).all()
    assert (face == -1).all()


@pytest.mark.gpu
@pytest.mark.pytorch3d
@pytest.mark.skipif(
    not (torch.cuda.is_available() and pytorch3d_backend.is_installed()),
    reason="needs a GPU and a pytorch3d built for this torch (github.com/facebookresearch/pytorch3d)",
)
def test_pytorch3d_draws_what_rays_see():
    vertices, faces = ball()
    rays, wanted = expected(vertices, faces)
    check(WindowCaster(vertices, faces, K, WINDOW).first_hit(rays.origins, rays.directions), wanted)
