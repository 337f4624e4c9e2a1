"""METRO's targets and losses by hand."""

from dataclasses import replace

import pytest
import torch

from pipelines.bodies.files import resolve_body_files
from sahmr.data.metro_targets import load_coarse_levels, metro_targets
from sahmr.data.targets import mesh_targets
from sahmr.losses.metro import MetroLossSettings, metro_terms
from sahmr.networks.metro import MetroPrediction, crop_projection
from sahmr.types import CropCameras


@pytest.fixture(scope="module")
def levels():
    return load_coarse_levels(resolve_body_files(None))


@pytest.fixture(scope="module")
def case(levels):
    """Bodies far away, so that METRO's camera without perspective is nearly the true one."""
    draw = torch.Generator().manual_seed(0)
    vertices = 0.3 * torch.randn(2, 6890, 3, generator=draw) + torch.tensor([0.5, -0.3, 3000.0])
    regressor = torch.rand(17, 6890, generator=draw).square()
    regressor = regressor / regressor.sum(dim=1, keepdim=True)
    K = torch.tensor([[6e5, 0.0, 640.0], [0.0, 6e5, 360.0], [0.0, 0.0, 1.0]]).repeat(2, 1, 1)
    cameras = CropCameras(torch.tensor([[540.0, 150.0, 940.0, 550.0]]).repeat(2, 1), K)
    mesh = mesh_targets(vertices, regressor)
    return mesh, cameras, regressor, metro_targets(mesh, cameras, levels)


def perfect(case):
    _, _, _, targets = case
    # 200 px per metre in a box of 400 px: a metre is 1 of the crop's 2, less 1/224 for its pixels.
    scale = 223 / 224
    pelvis = targets.crop - scale * targets.joints[..., :2]
    camera = torch.cat([torch.full((2, 1), scale), pelvis.mean(dim=1) / scale], dim=1)
    return MetroPrediction(targets.joints, targets.coarse, targets.middle, targets.full, camera)


def test_a_perfect_prediction_has_no_loss(case):
    terms = metro_terms(perfect(case), case[3], case[2])
    assert set(terms) == set(MetroLossSettings().weights())
    for name, values in terms.items():
        assert values.max() < 1e-5, name


def test_joints_in_the_crop_lie_where_crop_projection_says(case):
    prediction = perfect(case)
    pixels = crop_projection(prediction.joints, prediction.camera, 224)
    torch.testing.assert_close(pixels / 112 - 1, case[3].crop, atol=2e-3, rtol=0)


def test_losses_by_hand(case):
    prediction, targets, regressor = perfect(case), case[3], case[2]
    moved = replace(prediction, full=prediction.full + torch.tensor([0.3, 0.0, 0.0]))
    terms = metro_terms(moved, targets, regressor)
    assert terms["full"].tolist() == pytest.approx([0.1, 0.1], rel=1e-4)  # a mean over coordinates
    assert terms["mesh_joints"].max() < 1e-4  # around the middle of the hips
    assert terms["mesh_projection"].tolist() == pytest.approx([0.3**2 / 2] * 2, rel=2e-2)
    wide = replace(prediction, joints=2 * prediction.joints)
    hips = targets.joints[:, [2, 3]].mean(dim=1, keepdim=True)
    expected = (targets.joints - hips).square().mean(dim=(1, 2))
    torch.testing.assert_close(metro_terms(wide, targets, regressor)["joint_tokens"], expected)


def test_levels_pick_and_interpolate(levels):
    assert levels.middle_rows.shape == (1723,)
    assert set(levels.coarse_rows.tolist()) <= set(levels.middle_rows.tolist())
    assert levels.to_full.shape == (6890, 1723)
    assert levels.to_middle.shape == (1723, 431)
    torch.testing.assert_close(levels.to_full.sum(dim=1), torch.ones(6890), atol=1e-4, rtol=0)
