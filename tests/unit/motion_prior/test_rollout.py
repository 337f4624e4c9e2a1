from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipelines.motion_prior.canonical import heading_rotmat, pelvis_offset, planar_shift, to_local_frame
from pipelines.motion_prior.rollout import (
    infer_latents,
    roll_out,
    roll_out_anywhere,
    roll_out_prior_mean,
    transitions,
)
from pipelines.motion_prior.state import pack, unpack

OFFICIAL_NAMES = {
    "trans": "transl",
    "trans_vel": "transl_velocity",
    "root_orient": "root_rotmat",
    "root_orient_vel": "root_angular_velocity",
    "pose_body": "body_rotmats",
    "joints": "joints",
    "joints_vel": "joints_velocity",
}


def relative(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual.reshape(expected.shape) - expected).abs().max() / expected.abs().max())


def test_official_mode_agrees_on_every_output(goldens, golden_motion_prior):
    first = goldens.state("rollout", "init_")[:, 0]
    result = roll_out(golden_motion_prior, first, goldens.given("rollout/z_seq"), mode="acos")
    for official, ours in OFFICIAL_NAMES.items():
        value = getattr(result.states, ours)
        assert relative(value, goldens.recorded(f"rollout/{official}")) < 1e-7, official
    assert relative(result.contact_logits, goldens.recorded("rollout/contacts")) < 1e-7
    assert relative(result.prior_mean, goldens.recorded("rollout/prior_mean")) < 1e-7
    assert relative(result.prior_variance, goldens.recorded("rollout/prior_var")) < 1e-7


def test_smooth_mode_agrees_with_the_official_one_to_its_known_difference(goldens, golden_motion_prior):
    first = goldens.state("rollout", "init_")[:, 0]
    result = roll_out(golden_motion_prior, first, goldens.given("rollout/z_seq"), mode="atan2")
    for official, ours in OFFICIAL_NAMES.items():
        value = getattr(result.states, ours)
        assert relative(value, goldens.recorded(f"rollout/{official}")) < 5e-3, official


def test_single_precision(goldens, golden_motion_prior):
    model = golden_motion_prior
    single = type(model)()
    single.requires_grad_(False).load_state_dict(model.state_dict())
    first = goldens.state("rollout", "init_")[:, 0].to(torch.float32)
    result = roll_out(single, first, goldens.given("rollout/z_seq").float(), mode="acos")
    assert relative(result.states.joints, goldens.recorded("rollout/joints", torch.float32)) < 1e-4


def test_prior_mean_roll_out_agrees(goldens, golden_motion_prior):
    first = goldens.state("rollout", "init_")[:, 0]
    result = roll_out_prior_mean(golden_motion_prior, first, 10, mode="acos")
    assert relative(result.latents, goldens.recorded("rollout_mean/z")) < 1e-7
    assert relative(result.states.transl, goldens.recorded("rollout_mean/trans")) < 1e-7
    assert relative(result.contact_logits, goldens.recorded("rollout_mean/contacts")) < 1e-7


def test_roll_out_from_anywhere_agrees(goldens, golden_motion_prior):
    first = goldens.state("rollout_canon", "init_")[:, 0]
    z = goldens.given("rollout/z_seq")
    canonical, carried = roll_out_anywhere(golden_motion_prior, first, z, mode="acos")
    for group, result in (("rollout_canon", canonical), ("rollout_uncanon", carried)):
        assert relative(result.states.joints, goldens.recorded(f"{group}/joints")) < 1e-7, group
        assert relative(result.states.transl, goldens.recorded(f"{group}/trans")) < 1e-7, group


def test_inferred_latents_agree(goldens, golden_motion_prior):
    states = goldens.state("infer")
    mean, variance = infer_latents(golden_motion_prior, states, mode="acos")
    assert relative(mean, goldens.recorded("infer/posterior_mean")) < 1e-7
    assert relative(variance, goldens.recorded("infer/posterior_var")) < 1e-7
    past, _ = transitions(states, mode="acos")
    prior_mean, prior_variance = golden_motion_prior.prior(past)
    assert relative(prior_mean, goldens.recorded("infer/prior_mean")) < 1e-7
    assert relative(prior_variance, goldens.recorded("infer/prior_var")) < 1e-7


def _plain_roll_out(prior, first, latents, mode):
    """Section 4.5 word by word, without any of the shortcuts."""
    pivot = pelvis_offset(first)
    past, G, g = first, torch.eye(3, dtype=latents.dtype).expand(len(latents), 3, 3), first.transl * 0
    outputs, means = [], []
    for step in range(latents.shape[1]):
        vector = pack(past)
        means.append(prior.prior(vector)[0])
        local = unpack(prior.decode(latents[:, step], vector)[..., :339])
        turn = lambda v, G=G: (v[:, None] @ G)[:, 0]  # noqa: E731
        world = replace(
            local,
            transl=turn(local.transl) - g,
            transl_velocity=turn(local.transl_velocity),
            root_rotmat=G.mT @ local.root_rotmat,
            root_angular_velocity=turn(local.root_angular_velocity),
            joints=(local.joints + pivot[:, None]) @ G - pivot[:, None] - g[:, None],
            joints_velocity=local.joints_velocity @ G,
        )
        outputs.append(pack(world))
        g = planar_shift(world.transl)
        A = heading_rotmat(local.root_rotmat, mode)
        past = to_local_frame(local, A, planar_shift(local.transl), pivot)
        G = A @ G
    return torch.stack(outputs, dim=1), torch.stack(means, dim=1)


@pytest.mark.parametrize("mode", ["acos", "atan2"])
def test_values_and_gradients_equal_the_plain_loop(mode, goldens, golden_motion_prior):
    results = []
    for plain in (True, False):
        vector = pack(goldens.state("rollout", "init_")[:, 0]).requires_grad_()
        z = goldens.given("rollout/z_seq").requires_grad_()
        if plain:
            states, mean = _plain_roll_out(golden_motion_prior, unpack(vector), z, mode)
        else:
            result = roll_out(golden_motion_prior, unpack(vector), z, mode=mode)
            states, mean = pack(result.states), result.prior_mean
        scalar = (
            states.sin() * torch.linspace(0.5, 1.5, 339, dtype=z.dtype)
        ).sum() + mean.square().sum()
        gradients = torch.autograd.grad(scalar, [vector, z])
        results.append((states.detach(), mean.detach(), *gradients))
    for plain_value, fast_value in zip(*results, strict=True):
        assert relative(fast_value, plain_value) < 1e-9


def test_windows_do_not_influence_each_other(goldens, golden_motion_prior):
    first, z = goldens.state("rollout", "init_")[:, 0], goldens.given("rollout/z_seq")
    both = roll_out(golden_motion_prior, first, z)
    alone = roll_out(golden_motion_prior, first[1:], z[1:])
    torch.testing.assert_close(both.states.joints[1:], alone.states.joints, rtol=0, atol=1e-10)


def test_latents_do_not_depend_on_place_or_direction(goldens, golden_motion_prior):
    states = goldens.state("infer")
    # A body whose pelvis joint is its translation, so that the pivot is zero and turns into itself.
    states = replace(
        states, joints=states.joints - (states.joints[:, :, :1] - states.transl[:, :, None])
    )
    angle, shift = torch.tensor(0.7).double(), torch.tensor([0.3, -2.0, 0.0]).double()
    c, s, o, i = angle.cos(), angle.sin(), torch.zeros(()).double(), torch.ones(()).double()
    R = torch.stack([c, -s, o, s, c, o, o, o, i]).reshape(3, 3).expand(2, 6, 3, 3)
    moved = to_local_frame(states, R, shift.expand(2, 6, 3), pelvis_offset(states))
    expected, _ = infer_latents(golden_motion_prior, states)
    found, _ = infer_latents(golden_motion_prior, moved)
    torch.testing.assert_close(found, expected)
