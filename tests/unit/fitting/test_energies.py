"""Every energy alone: the official numbers, facts by hand, invariances, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.bodies.joints import BODY25_FROM_SMPLH, IGNORED_BODY25
from pipelines.fitting import energies
from pipelines.geometry.cameras import project_pinhole
from pipelines.geometry.robust import bisquare_weights

Goldens = dict[str, np.ndarray]
COLOUR_K = (
    (1060.531764702488, 0, 951.2999547224418),
    (0, 1060.3856705041237, 536.7703598373467),
    (0, 0, 1),
)


@pytest.fixture(scope="module")
def given_e(fit_goldens: Goldens) -> dict[str, torch.Tensor]:
    """Inputs of group E in float64 (indices stay integers)."""
    prefix = "in/E/"
    return {
        name.removeprefix(prefix): torch.as_tensor(value).double()
        for name, value in fit_goldens.items()
        if name.startswith(prefix)
    }


def _frames(windows: int = 2, frames: int = 5) -> torch.Tensor:
    return torch.ones(windows, frames, dtype=torch.float64)


def _recorded(goldens: Goldens, name: str) -> float:
    return float(goldens[f"out/E/{name}"])


def test_keypoint_energy_and_gradient_agree(
    fit_goldens: Goldens, given_e: dict[str, torch.Tensor]
) -> None:
    joints = given_e["joints73"].clone().requires_grad_(True)
    observed = given_e["joints2d_obs"]
    confidence = observed[..., 2].clone()
    confidence[..., list(IGNORED_BODY25)] = 0
    projected = project_pinhole(joints[:, :, list(BODY25_FROM_SMPLH)], torch.tensor(COLOUR_K).double())
    total = energies.joints2d(projected, observed[..., :2], confidence).sum()
    assert total.item() == pytest.approx(_recorded(fit_goldens, "joints2d"), rel=1e-7)
    (gradient,) = torch.autograd.grad(total, joints)
    stored = fit_goldens["out/E/joints2d_grad"]
    np.testing.assert_allclose(gradient.numpy(), stored, atol=1e-6 * np.abs(stored).max())


def test_point_energy_weights_and_gradient_agree(
    fit_goldens: Goldens, given_e: dict[str, torch.Tensor]
) -> None:
    vertices = given_e["points_pred"].clone().requires_grad_(True)
    offsets = given_e["points_obs"][:, :, :, None] - vertices[:, :, None]
    squared = offsets.square().sum(-1).min(-1).values.flatten(1)
    weights = bisquare_weights(squared.detach().sqrt())
    np.testing.assert_allclose(weights.numpy(), fit_goldens["out/E/bisquare_w"], atol=1e-12)
    total = energies.points3d(squared, weights).sum()
    assert total.item() == pytest.approx(_recorded(fit_goldens, "points3d_bisquare"), rel=1e-7)
    unweighted = energies.points3d(squared, torch.ones_like(squared)).sum().item()
    assert unweighted == pytest.approx(_recorded(fit_goldens, "points3d_none"), rel=1e-7)
    (gradient,) = torch.autograd.grad(total, vertices)
    stored = fit_goldens["out/E/points3d_bisquare_grad"]
    np.testing.assert_allclose(gradient.numpy(), stored, atol=1e-7 * np.abs(stored).max())


def test_remaining_terms_agree(fit_goldens: Goldens, given_e: dict[str, torch.Tensor]) -> None:
    e, used = given_e, _frames()
    smpl, rollout = e["joints73"][:, :, :22], e["joints_rollout"]
    in_prior, contact = e["joints_prior_frame"], e["contacts_conf"]
    observed_floor = e["floor4_obs"][:, :3] * e["floor4_obs"][:, 3:]
    one = torch.ones(2, dtype=torch.float64)
    found = {
        "pose_prior": energies.pose_prior(e["latent_pose"], used),
        "shape_prior": energies.shape_prior(e["betas"], one),
        "joints3d_smooth": energies.joints3d_smooth(smpl, used),
        "motion_prior_cond": energies.motion_prior(
            e["latent_motion"], e["prior_mean"], e["prior_var"], used[:, 1:]
        ),
        "motion_prior_std": energies.standard_motion_prior(e["latent_motion"]),
        "joint_consistency": energies.joint_consistency(smpl, rollout, used),
        "bone_length": energies.bone_length(rollout, used),
        "contact_vel": energies.contact_vel(in_prior, contact, used),
        "contact_height": energies.contact_height(in_prior, contact, used),
        "floor_reg": energies.floor_reg(e["floor3_pred"], observed_floor, one),
        "joints3d": energies.observed_positions(smpl, e["joints3d_obs"]),
        "verts3d": energies.observed_positions(e["verts43_pred"], e["verts43_obs"]),
    }
    for name, value in found.items():
        assert value.sum().item() == pytest.approx(_recorded(fit_goldens, name), rel=1e-7), name


def test_overlap_energy_agrees(fit_goldens: Goldens, given_e: dict[str, torch.Tensor]) -> None:
    starts = fit_goldens["in/E/ov_seq_interval"]
    overlaps = torch.tensor([0, *(starts[:-1, 1] - starts[1:, 0]).tolist()])
    lengths = torch.tensor(starts[:, 1] - starts[:, 0])
    positions, changes = energies.rgb_overlap_consist(given_e["ov_verts43"], overlaps, lengths)
    found = {
        "verts3d_pos": positions,
        "verts3d_vel": changes,
        "betas": energies.neighbour_gap(given_e["ov_betas"], overlaps),
        "floor": energies.neighbour_gap(given_e["ov_floor3"], overlaps),
    }
    for name, value in found.items():
        stored = _recorded(fit_goldens, f"rgb_overlap_consist_{name}")
        assert value.sum().item() == pytest.approx(stored, rel=1e-7), name


def test_constant_neighbour_agrees_with_the_window_before_the_batch(
    fit_goldens: Goldens, given_e: dict[str, torch.Tensor]
) -> None:
    """HuMoR's cross-batch form: the last window of the batch before, kept constant."""
    start, end = fit_goldens["in/E/ov_seq_interval"][0]
    overlap = int(fit_goldens["in/E/ov_prev_seq_interval"][1] - start)
    keys = given_e["ov_verts43"][:1]
    targets = torch.zeros(1, 2, *keys.shape[1:]).double()
    shared = torch.zeros(1, 2, int(end - start)).double()
    targets[0, 0, :overlap] = given_e["ov_prev_verts43"][-overlap:]
    shared[0, 0, :overlap] = 1
    stored = sum(_recorded(fit_goldens, f"rgb_overlap_xbatch_verts3d_{kind}") for kind in ("pos", "vel"))
    found = energies.constant_overlap(keys, targets, shared).sum().item()
    assert found == pytest.approx(stored, rel=1e-7)


def test_still_body_has_no_smoothness_bone_or_contact_energy() -> None:
    joints = torch.rand(1, 1, 22, 3).expand(1, 4, 22, 3).double()
    contact, used = torch.ones(1, 4, 22).double(), _frames(1, 4)
    assert energies.joints3d_smooth(joints, used).item() == 0
    assert energies.bone_length(joints, used).item() == pytest.approx(0, abs=1e-20)
    assert energies.contact_vel(joints, contact, used).item() == 0


def test_one_joint_moving_two_centimetres_in_contact() -> None:
    joints = torch.zeros(1, 2, 22, 3).double()
    joints[0, 1, 7, 0] = 0.02
    contact = torch.zeros(1, 2, 22).double()
    contact[0, 1, 7] = 0.5
    moved = energies.contact_vel(joints, contact, _frames(1, 2)).item()
    assert moved == pytest.approx(0.5 * 0.5 * 0.02**2)


def test_joint_28_cm_above_the_floor_pays_20_cm() -> None:
    joints = torch.zeros(1, 1, 22, 3).double()
    joints[0, 0, 10, 2] = 0.28
    contact = torch.ones(1, 1, 22).double()
    assert energies.contact_height(joints, contact, _frames(1, 1)).item() == pytest.approx(0.20)


def test_point_on_a_vertex_has_a_finite_gradient() -> None:
    vertex = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    squared = (torch.zeros(1, 1, 3).double() - vertex).square().sum(-1)
    (gradient,) = torch.autograd.grad(energies.points3d(squared, torch.ones(1, 1)).sum(), vertex)
    assert gradient.tolist() == [0, 0, 0]


def test_missing_keypoint_with_a_wild_place_costs_nothing() -> None:
    projected = torch.zeros(1, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    observed = torch.tensor([[[[3.0, 4.0], [float("inf"), float("nan")]]]]).double()
    confidence = torch.tensor([[[1.0, 0.0]]]).double()
    total = energies.joints2d(projected, observed, confidence).sum()
    sigma = energies.JOINTS2D_SIGMA_PX**2
    assert total.item() == pytest.approx(sigma * 9 / (sigma + 9) + sigma * 16 / (sigma + 16))
    (gradient,) = torch.autograd.grad(total, projected)
    assert gradient.isfinite().all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_padding_frames_change_no_energy(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    joints, other, contact = random(1, 6, 22, 3), random(1, 6, 22, 3), random(1, 6, 22)
    used = torch.tensor([[1.0, 1, 1, 1, 0, 0]]).double()
    short = slice(0, 4)
    pairs = [
        (
            energies.joints3d_smooth(joints, used),
            energies.joints3d_smooth(joints[:, short], _frames(1, 4)),
        ),
        (energies.bone_length(joints, used), energies.bone_length(joints[:, short], _frames(1, 4))),
        (
            energies.joint_consistency(joints, other, used),
            energies.joint_consistency(joints[:, short], other[:, short], _frames(1, 4)),
        ),
        (
            energies.contact_vel(joints, contact, used),
            energies.contact_vel(joints[:, short], contact[:, short], _frames(1, 4)),
        ),
        (
            energies.contact_height(joints, contact, used),
            energies.contact_height(joints[:, short], contact[:, short], _frames(1, 4)),
        ),
    ]
    for padded, cut in pairs:
        torch.testing.assert_close(padded, cut)


def test_every_smooth_energy_passes_gradcheck() -> None:
    generator = torch.Generator().manual_seed(0)
    joints = torch.rand(1, 3, 22, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    contact = torch.rand(1, 3, 22, generator=generator, dtype=torch.float64, requires_grad=True)
    used = _frames(1, 3)
    assert torch.autograd.gradcheck(lambda j: energies.bone_length(j, used), (joints,))
    assert torch.autograd.gradcheck(lambda j: energies.joints3d_smooth(j, used), (joints,))
    assert torch.autograd.gradcheck(lambda j, c: energies.contact_vel(j, c, used), (joints, contact))
