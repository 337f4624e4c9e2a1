"""First-order responses against automatic differentiation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import SmplhBody, load_smplh
from pipelines.fitting.block_tridiagonal import safe_cholesky, solve_bordered_chain
from pipelines.fitting.jacobians import BodyResponse, latent_pose_turns, rotvec_turns
from pipelines.fitting.network_jacobian import perceptron_jacobian
from pipelines.fitting.prediction import FitModels, predict_motion
from pipelines.fitting.rollout_response import TANGENT, start_response, step_response
from pipelines.geometry.rotations import rotvec_to_rotmat
from pipelines.motion_prior.canonical import pelvis_offset
from pipelines.motion_prior.state import MotionState


@pytest.fixture(scope="module")
def body(toy_files: BodyFiles) -> SmplhBody:
    return load_smplh(toy_files, "neutral", dtype=torch.float64)


def _pose(rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    turns = 0.5 * torch.randn(rows, 22, 3, generator=generator, dtype=torch.float64)
    betas = torch.randn(rows, 10, generator=generator, dtype=torch.float64)
    return betas, rotvec_to_rotmat(turns), torch.randn(rows, 3, generator=generator).double()


def test_joint_columns_are_exact(body: SmplhBody) -> None:
    betas, rotmats, transl = _pose(1)

    def moved(tangent: torch.Tensor) -> torch.Tensor:
        turned = rotvec_to_rotmat(tangent[3:69].unflatten(0, (22, 3)))[None] @ rotmats
        return body.joints_from_rotmats(betas + tangent[69:], turned, transl + tangent[:3])[0]

    expected = torch.autograd.functional.jacobian(moved, torch.zeros(79).double())
    found = BodyResponse.of(body, betas, rotmats, transl).joints()[0]
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=0)


def test_vertex_columns_are_close_and_exact_for_shape(body: SmplhBody) -> None:
    betas, rotmats, transl = _pose(1)
    ids = torch.arange(0, 6890, 301)

    def moved(tangent: torch.Tensor) -> torch.Tensor:
        turned = rotvec_to_rotmat(tangent[3:69].unflatten(0, (22, 3)))[None] @ rotmats
        posed = body.from_rotmats(betas + tangent[69:], turned, transl + tangent[:3])
        return posed.vertices[0, ids]

    expected = torch.autograd.functional.jacobian(moved, torch.zeros(79).double())
    response = BodyResponse.of(body, betas, rotmats, transl)
    positions = body.from_rotmats(betas, rotmats, transl).vertices[:, ids]
    found = response.vertices(ids[None], positions)[0]
    torch.testing.assert_close(found[..., :3], expected[..., :3], atol=1e-9, rtol=0)
    torch.testing.assert_close(found[..., 69:], expected[..., 69:], atol=1e-9, rtol=0)
    turns = slice(3, 69)
    assert (found - expected)[..., turns].norm() < 0.1 * expected[..., turns].norm()


def test_rotation_vectors_turn_as_their_derivative_says() -> None:
    rotvec = torch.tensor([[0.3, -2.0, 0.9]]).double()
    step = 1e-5 * torch.tensor([[0.5, 0.2, -1.0]]).double()
    turn = rotvec_to_rotmat(rotvec + step) @ rotvec_to_rotmat(rotvec).mT
    turn = 0.5 * (turn - turn.mT)
    found = torch.stack([turn[:, 2, 1], turn[:, 0, 2], turn[:, 1, 0]], dim=-1)
    expected = (rotvec_turns(rotvec) @ step[..., None])[..., 0]
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-4)


def test_latent_pose_turns_joints_as_its_derivative_says(toy_models: FitModels) -> None:
    latent = torch.linspace(-1, 1, 32).double()[None]
    step = 1e-6 * torch.linspace(1, -1, 32).double()[None]
    turn = toy_models.pose.decode(latent + step) @ toy_models.pose.decode(latent).mT
    found = torch.stack([turn[..., 2, 1], turn[..., 0, 2], turn[..., 1, 0]], dim=-1).flatten(1)
    expected = (latent_pose_turns(toy_models.pose, latent) @ step[..., None])[..., 0]
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-3)


def test_perceptron_jacobian_equals_autodiff(toy_models: FitModels) -> None:
    network = toy_models.motion.decoder
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, 387, generator=generator, dtype=torch.float64)
    outputs, found = perceptron_jacobian(network, inputs, 20)
    torch.testing.assert_close(outputs, network(inputs))
    for row in range(2):
        expected = torch.autograd.functional.jacobian(lambda x: network(x[None])[0, :20], inputs[row])
        torch.testing.assert_close(found[row], expected, atol=1e-9, rtol=1e-7)


def _variables(windows: int, frames: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)

    def random(*shape: int) -> torch.Tensor:
        return 0.3 * torch.randn(*shape, generator=generator, dtype=torch.float64)

    return {
        "trans": random(windows, 1, 3) + torch.tensor([0.0, 0.0, 3.0]).double(),
        "root_orient": random(windows, 1, 3) + torch.tensor([3.0, 0.0, 0.0]).double(),
        "latent_pose": random(windows, 1, 32),
        "betas": random(windows, 10),
        "latent_motion": random(windows, frames - 1, 48),
        "trans_vel": random(windows, 1, 3),
        "joints_vel": random(windows, 1, 22, 3),
        "root_orient_vel": random(windows, 1, 3),
        "floor_plane": random(windows, 3) + torch.tensor([0.0, -1.5, 0.0]).double(),
    }


def _tangent(states: MotionState, reference: MotionState) -> torch.Tensor:
    def turn(new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
        spin = new @ old.mT
        spin = 0.5 * (spin - spin.mT)  # Rodrigues with its 1e-8 is orthonormal to 1e-8 only
        return torch.stack([spin[..., 2, 1], spin[..., 0, 2], spin[..., 1, 0]], dim=-1)

    return torch.cat(
        [
            states.transl - reference.transl,
            turn(states.root_rotmat, reference.root_rotmat),
            turn(states.body_rotmats, reference.body_rotmats).flatten(-2),
            states.transl_velocity - reference.transl_velocity,
            states.root_angular_velocity - reference.root_angular_velocity,
            (states.joints - reference.joints).flatten(-2),
            (states.joints_velocity - reference.joints_velocity).flatten(-2),
        ],
        dim=-1,
    )


def test_chained_step_responses_foretell_the_roll_out(toy_models: FitModels) -> None:
    """Exact first order: the step is so short that no unit of the networks crosses its kink.

    With steps ten times longer a few of the thousands of units do, and one moves an output's change by
    as much as 2 %; that is the networks' piecewise nature, not an error of the response.
    """
    size = 1e-6
    models, frames = replace(toy_models, heading="atan2"), 4
    variables = _variables(2, frames)
    generator = torch.Generator().manual_seed(5)
    step = {
        name: size * torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for name, value in variables.items()
    }
    step["betas"].zero_()  # they also shift the roll-out's pivot, which the response leaves out
    before = predict_motion(models, variables, frames, mesh=False).motion
    ahead, behind = (
        predict_motion(
            models,
            {name: value + sign * step[name] for name, value in variables.items()},
            frames,
            mesh=False,
        ).motion
        for sign in (1, -1)
    )
    assert before is not None
    assert ahead is not None
    assert behind is not None
    found = 0.5 * _tangent(ahead.states, behind.states)
    names = [name for name in variables if name != "latent_motion"]
    start = start_response(models, variables, names)
    flat = torch.cat([step[name].flatten(1) for name in names], dim=1)
    state = (start.first_state @ flat[..., None])[..., 0]
    assert state.shape == (2, TANGENT)
    torch.testing.assert_close(state, found[:, 0], atol=1e-6 * size, rtol=0)
    response = step_response(
        models.motion, before.states, before.latents, pelvis_offset(before.states[:, 0])
    )
    for index in range(frames - 1):
        mean_change = (response.prior_by_state[:, index] @ state[..., None])[..., 0]
        expected_mean = 0.5 * (ahead.prior_mean - behind.prior_mean)[:, index]
        torch.testing.assert_close(mean_change, expected_mean, atol=1e-6 * size, rtol=0)
        latent = step["latent_motion"][:, index, :, None]
        state = (response.by_state[:, index] @ state[..., None] + response.by_latent[:, index] @ latent)[
            ..., 0
        ]
        torch.testing.assert_close(state, found[:, index + 1], atol=1e-6 * size, rtol=0)


def test_bordered_chain_equals_a_dense_solve() -> None:
    generator = torch.Generator().manual_seed(2)
    frames, size, shared = 4, 3, 2
    total = frames * size + shared
    half = torch.randn(1, total, total, generator=generator, dtype=torch.float64)
    matrix = half @ half.mT + total * torch.eye(total).double()
    for a in range(frames):
        for b in range(frames):
            if abs(a - b) > 1:
                matrix[:, a * size : (a + 1) * size, b * size : (b + 1) * size] = 0
    right = torch.randn(1, total, generator=generator, dtype=torch.float64)
    chain = frames * size
    blocks = matrix[:, :chain, :chain].reshape(1, frames, size, frames, size)
    diagonal = torch.stack([blocks[:, t, :, t] for t in range(frames)], dim=1)
    coupling = torch.stack([blocks[:, t + 1, :, t] for t in range(frames - 1)], dim=1)
    moved, corner = solve_bordered_chain(
        diagonal,
        coupling,
        matrix[:, :chain, chain:].reshape(1, frames, size, shared),
        matrix[:, chain:, chain:],
        right[:, :chain].reshape(1, frames, size),
        right[:, chain:],
    )
    found = torch.cat([moved.flatten(1), corner], dim=1)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, right))


def test_cholesky_of_hopeless_matrices_stays_finite() -> None:
    matrices = torch.stack(
        [torch.full((2, 2), torch.nan), torch.tensor([[1.0, 2.0], [2.0, 1.0]]), 4 * torch.eye(2)]
    )
    factor = safe_cholesky(matrices)
    assert factor.isfinite().all()
    torch.testing.assert_close(factor[2], 2 * torch.eye(2))
