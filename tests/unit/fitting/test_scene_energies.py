"""PROX's scene terms: the official numbers and facts by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pipelines.fitting.scene_energies import facing_pairs, prox_contact, prox_penetration
from pipelines.geometry.meshes import vertex_normals
from pipelines.geometry.nearest import nearest_indices
from pipelines.geometry.signed_distance import SdfGrid

Goldens = dict[str, np.ndarray]
ONE = torch.ones(1, 1, dtype=torch.float64)


@pytest.fixture(scope="module")
def prox(fit_goldens: Goldens) -> dict[str, torch.Tensor]:
    prefix = "in/prox/"
    return {
        name.removeprefix(prefix): torch.as_tensor(value)
        for name, value in fit_goldens.items()
        if name.startswith(prefix) and value.dtype.kind in "fi"
    }


def _world(prox: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    T = prox["cam2world"].double()
    camera = prox["verts_cam"].double().clone().requires_grad_(True)
    return camera, camera @ T[:3, :3].T + T[:3, 3]


def test_penetration_agrees(fit_goldens: Goldens, prox: dict[str, torch.Tensor]) -> None:
    grid = SdfGrid(prox["sdf"].double(), prox["grid_min"].double(), prox["grid_max"].double())
    camera, world = _world(prox)
    total = prox_penetration(world[None], grid, ONE).sum()
    stored = float(fit_goldens["out/prox/sdf_penetration_unitnormals_aligncorners1"])
    assert total.item() == pytest.approx(stored, rel=1e-7)
    (gradient,) = torch.autograd.grad(total, camera)
    recorded = fit_goldens["out/prox/sdf_penetration_grad_aligncorners1"]
    np.testing.assert_allclose(gradient.numpy(), recorded, atol=1e-7 * np.abs(recorded).max())


def test_stored_normals_of_length_07_scale_the_depth(
    fit_goldens: Goldens, prox: dict[str, torch.Tensor]
) -> None:
    grid = SdfGrid(prox["sdf"].double(), prox["grid_min"].double(), prox["grid_max"].double())
    _, world = _world(prox)
    lengths = torch.full(world[None].shape[:3], 0.7, dtype=torch.float64)
    total = prox_penetration(world[None], grid, ONE, lengths).item()
    stored = float(fit_goldens["out/prox/sdf_penetration_storednormals_aligncorners1"])
    assert total == pytest.approx(stored, rel=1e-7)


def test_contact_pairs_energy_and_gradient_agree(
    fit_goldens: Goldens, prox: dict[str, torch.Tensor]
) -> None:
    camera, world = _world(prox)
    ids = prox["contact_verts_ids"]
    normals = vertex_normals(world.detach(), prox["faces"], area_weighted=False)[0, ids]
    scene, scene_normals = prox["scene_v"][0].double(), prox["scene_vn"][0].double()
    nearest = torch.as_tensor(nearest_indices(world[0, ids].detach().numpy(), scene.numpy()))
    np.testing.assert_array_equal(nearest.numpy(), fit_goldens["out/prox/contact_nearest"])
    kept = facing_pairs(normals, scene_normals[nearest])
    np.testing.assert_array_equal(kept.numpy(), fit_goldens["out/prox/contact_valid_mask"])
    total = prox_contact(world[None, :, ids], scene[nearest][None, None], kept[None, None], ONE).sum()
    assert total.item() == pytest.approx(float(fit_goldens["out/prox/contact"]), rel=1e-7)
    (gradient,) = torch.autograd.grad(total, camera)
    recorded = fit_goldens["out/prox/contact_grad"]
    np.testing.assert_allclose(gradient.numpy(), recorded, atol=1e-7 * np.abs(recorded).max())


def test_no_kept_pair_costs_nothing() -> None:
    apart = torch.rand(1, 2, 4, 3)
    kept = torch.zeros(1, 2, 4, dtype=torch.bool)
    assert prox_contact(apart, torch.zeros_like(apart), kept, torch.ones(1, 2)).item() == 0


def test_contact_five_centimetres_away_costs_one_half() -> None:
    vertices = torch.tensor([0.0, 0.0, 0.05]).double().expand(1, 1, 3, 3)
    kept = torch.ones(1, 1, 3, dtype=torch.bool)
    assert prox_contact(vertices, torch.zeros_like(vertices), kept, ONE).item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("degrees", "facing"), [(0, True), (44, True), (46, False), (134, False), (180, True)]
)
def test_normals_face_within_45_degrees_either_way(degrees: float, facing: bool) -> None:
    angle = math.radians(degrees)
    tilted = torch.tensor([0.0, math.sin(angle), math.cos(angle)])
    assert bool(facing_pairs(torch.tensor([0.0, 0.0, 1.0]), tilted)) is facing


def test_frames_that_do_not_count_cost_nothing() -> None:
    grid = SdfGrid(torch.full((3, 3, 3), -1.0), torch.zeros(3), torch.full((3,), 2.0))
    inside = torch.ones(1, 2, 5, 3)
    assert prox_penetration(inside, grid, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(5.0)
