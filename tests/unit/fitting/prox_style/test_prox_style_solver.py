"""Curvature, steps, searches and starts of the PROX-style solver."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.artifacts import read_npz
from pipelines.fitting.prox_style import camera
from pipelines.fitting.prox_style.body import COLUMNS, NUM_PARAMETERS, pose_frames
from pipelines.fitting.prox_style.curvature import (
    AnchorPoints,
    joint_turns,
    left_jacobian,
    point_jacobian,
)
from pipelines.fitting.prox_style.lbfgs import FrameByFrame, minimise_lbfgs
from pipelines.fitting.prox_style.objective import Objective
from pipelines.fitting.prox_style.pairs import ContactScene, NearestInScene
from pipelines.fitting.prox_style.settings import ProxStyleSettings, proxd_stages
from pipelines.fitting.prox_style.solver import GaussNewton, _damped_step, _secant_update, _unwound
from pipelines.fitting.prox_style.starts import _Tries, fit_frames
from pipelines.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from pipelines.records import SceneScan


@pytest.fixture(scope="module")
def problem(prox_stage) -> SimpleNamespace:
    """Two frames seen in full, in float64, and parameters near the truth."""
    objective = prox_stage.objective(frames=[0, 1], dtype=torch.float64, num_points=300)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(2, NUM_PARAMETERS, dtype=torch.float64, generator=generator)
    parameters = prox_stage.true_parameters[:2].double() + 0.03 * noise
    frames = np.arange(2)
    objective.update_visibility(parameters, frames)
    return SimpleNamespace(objective=objective, parameters=parameters, frames=frames)


def test_gradient_is_the_derivative_of_the_energy(problem: SimpleNamespace) -> None:
    stage = proxd_stages()[6]
    found = problem.objective.evaluate(problem.parameters, problem.frames, stage)
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        direction = torch.randn(2, NUM_PARAMETERS, dtype=torch.float64, generator=generator)
        ahead, behind = (
            problem.objective.evaluate(problem.parameters + h * direction, problem.frames, stage).energy
            for h in (1e-7, -1e-7)
        )
        expected = (found.gradient * direction).sum(1)
        torch.testing.assert_close((ahead - behind) / 2e-7, expected, rtol=2e-3, atol=1.0)


def test_a_frame_alone_equals_the_frame_in_a_batch(problem: SimpleNamespace) -> None:
    stage = proxd_stages()[6]
    together = problem.objective.evaluate(problem.parameters, problem.frames, stage)
    for frame in (0, 1):
        rows = slice(frame, frame + 1)
        alone = problem.objective.evaluate(problem.parameters[rows], problem.frames[rows], stage)
        torch.testing.assert_close(alone.energy, together.energy[rows], rtol=1e-6, atol=0)
        torch.testing.assert_close(alone.gradient, together.gradient[rows], rtol=1e-6, atol=1e-6)


def test_points_move_with_the_parameters_as_the_jacobian_says(problem: SimpleNamespace) -> None:
    """Exact for shape, root and translation; pose correctives are left out of the rest."""
    objective, x = problem.objective, problem.parameters
    points = AnchorPoints.build(objective.body, 60)

    def places(parameters: torch.Tensor) -> torch.Tensor:
        posed = pose_frames(parameters, objective.body, objective.prior)
        return torch.cat([posed.places_camera, posed.vertices_camera[:, points.vertex_ids]], dim=1)

    posed = pose_frames(x, objective.body, objective.prior)
    turns = joint_turns(x, posed, objective.body, objective.prior)
    jacobian = point_jacobian(points, posed, objective.body, turns)
    steps = 1e-6 * torch.eye(NUM_PARAMETERS, dtype=torch.float64)
    expected = torch.stack([(places(x + h) - places(x - h)) / 2e-6 for h in steps], dim=-1)
    for name in ("global_orient", "betas", "expression", "leye_pose", "transl"):
        columns = COLUMNS[name]
        torch.testing.assert_close(jacobian[..., columns], expected[..., columns], rtol=0, atol=1e-6)
    for name in ("latent", "left_hand_pose"):
        error = (jacobian - expected)[..., COLUMNS[name]].norm()
        assert error < 0.1 * expected[..., COLUMNS[name]].norm()


def test_left_jacobian_is_the_turn_per_change_of_the_rotation_vector() -> None:
    rotvec = torch.tensor([[2.9, 0.4, -0.3], [1e-7, 0.0, 0.0]], dtype=torch.float64)
    change = 1e-6 * torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64)
    turned = rotvec_to_rotmat(rotvec + change) @ rotvec_to_rotmat(rotvec - change).mT
    expected = rotmat_to_rotvec(turned) / 2e-6
    found = (left_jacobian(rotvec) @ (change / 1e-6)[:, None])[..., 0]
    torch.testing.assert_close(found[:1], expected[:1], rtol=0, atol=1e-6)
    torch.testing.assert_close(found[1], change / 1e-6, rtol=0, atol=1e-6)


def test_corrected_curvature_answers_the_last_step_and_stays_positive() -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(2, NUM_PARAMETERS, NUM_PARAMETERS, generator=generator, dtype=torch.float64)
    matrix = root @ root.mT + torch.eye(NUM_PARAMETERS, dtype=torch.float64)
    step = torch.randn(2, NUM_PARAMETERS, generator=generator, dtype=torch.float64)
    change = 1.5 * (matrix @ step[..., None])[..., 0]
    change[1] = -change[1]  # a gradient that fell: negative curvature
    updated = _secant_update(matrix, step, change)
    torch.testing.assert_close((updated[0] @ step[0]), change[0])
    assert torch.linalg.eigvalsh(updated).min() > 0


def test_held_translation_does_not_move() -> None:
    matrix = torch.eye(NUM_PARAMETERS)[None]
    damping = torch.full((1,), 1e-9)
    step, predicted = _damped_step(matrix, torch.ones(1, NUM_PARAMETERS), damping, False)
    assert (step[0, COLUMNS["transl"]] == 0).all()
    assert step[0, : COLUMNS["transl"].start].numpy() == pytest.approx(-1)
    assert predicted.item() == pytest.approx(0.5 * (NUM_PARAMETERS - 3))


def test_unwinding_keeps_the_body_and_shortens_far_turns_without_a_prior() -> None:
    parameters = torch.zeros(3, NUM_PARAMETERS, dtype=torch.float64)
    orient, eye, jaw = (COLUMNS[name] for name in ("global_orient", "leye_pose", "jaw_pose"))
    parameters[0, orient] = torch.tensor([41.8, 6.9, -33.1], dtype=torch.float64)
    parameters[1, orient] = torch.tensor([3.9, 0.4, -0.4], dtype=torch.float64)
    parameters[2, eye] = torch.tensor([0.0, 6.0, 0.0], dtype=torch.float64)
    parameters[2, jaw] = torch.tensor([0.0, 6.0, 0.0], dtype=torch.float64)
    found = _unwound(parameters)
    for columns in (orient, eye, jaw):
        before, after = (rotvec_to_rotmat(rows[:, columns]) for rows in (parameters, found))
        torch.testing.assert_close(after, before, rtol=0, atol=1e-7)
    assert found[0, orient].norm() <= np.pi + 1e-9
    torch.testing.assert_close(found[1], parameters[1])
    assert found[2, eye].norm() == pytest.approx(2 * np.pi - 6)
    torch.testing.assert_close(found[2, jaw], parameters[2, jaw])


def _one_stage(prox_stage, **solver: object) -> tuple[torch.Tensor, GaussNewton, Objective]:
    objective: Objective = prox_stage.objective(frames=[0], num_points=300)
    settings = objective.settings.solver.model_copy(update=solver)
    found = GaussNewton(objective, settings)
    start = camera.camera_stage(
        objective.data, camera.upright(0.0), objective.body, objective.prior, 100.0
    )
    return found.minimise(start, np.arange(1), proxd_stages()[2], last=False), found, objective


def test_twice_the_limits_change_nothing_once_a_frame_ends_by_itself(prox_stage) -> None:
    once, solver, objective = _one_stage(prox_stage)
    twice, _, _ = _one_stage(
        prox_stage,
        iterations=2 * objective.settings.solver.iterations,
        rounds=2 * objective.settings.solver.rounds,
    )
    assert not solver.at_limit.any()
    torch.testing.assert_close(twice, once, rtol=0, atol=0)


@pytest.mark.parametrize("limit", [{"iterations": 3}, {"rounds": 1}])
def test_a_frame_cut_short_is_marked(prox_stage, limit: dict[str, int]) -> None:
    _, solver, _ = _one_stage(prox_stage, **limit)
    assert solver.at_limit.tolist() == [True]


def test_reference_optimiser_solves_rosenbrock_and_survives_infinity() -> None:
    def rosenbrock(x: torch.Tensor) -> tuple[float, torch.Tensor]:
        leaf = x.detach().requires_grad_()
        energy = (100 * (leaf[1:] - leaf[:-1] ** 2) ** 2 + (1 - leaf[:-1]) ** 2).sum()
        (gradient,) = torch.autograd.grad(energy, leaf)
        return energy.item(), gradient

    start = torch.tensor([-1.2, 1.0, 0.5], dtype=torch.float64)
    torch.testing.assert_close(
        minimise_lbfgs(start, rosenbrock), torch.ones_like(start), atol=1e-4, rtol=0
    )

    def broken(x: torch.Tensor) -> tuple[float, torch.Tensor]:
        return float("nan"), torch.full_like(x, torch.nan)

    assert torch.equal(minimise_lbfgs(start, broken), start)


def _scene(vertices: np.ndarray) -> ContactScene:
    faces = np.array([[0, 1, 2]])
    grid = np.zeros((2, 2, 2), np.float32)
    return ContactScene(SceneScan("s", vertices, faces, grid, np.zeros(3), np.ones(3)))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), share=st.sampled_from([0.0, 0.05]))
def test_remembered_neighbours_are_as_near_as_promised(seed: int, share: float) -> None:
    generator = np.random.default_rng(seed)
    vertices = generator.random((200, 3))
    search = NearestInScene(_scene(vertices), share)
    points = 2 * generator.random((40, 3))
    for _ in range(4):
        found = np.linalg.norm(vertices[search.query(points)] - points, axis=1)
        nearest = np.linalg.norm(vertices[None] - points[:, None], axis=2).min(axis=1)
        assert (found <= nearest * (1 + share) ** 3 + 1e-12).all()
        points = points + 0.01 * generator.standard_normal(points.shape)


def test_half_turn_about_the_body_axis_agrees_with_prox(goldens_folder) -> None:
    golden = read_npz(goldens_folder / "prox_fitting.npz")
    for frame in (0, 1):
        orient = torch.as_tensor(golden[f"in/camera_stage/frame{frame}/orient"]).double()[None]
        expected = torch.as_tensor(golden[f"out/camera_stage/frame{frame}/orient_flipped"])[None]
        found = rotvec_to_rotmat(camera.turned_about_body_axis(orient))
        torch.testing.assert_close(found, rotvec_to_rotmat(expected), rtol=0, atol=1e-6)


def test_camera_stage_turns_the_body_the_right_way(prox_stage) -> None:
    """From both half turns: near the true orientation for a body that faces, or turns its back."""
    objective = prox_stage.objective(frames=[0, 1])
    truth = rotvec_to_rotmat(prox_stage.true_parameters[:2, COLUMNS["global_orient"]])
    for frame, start in ((0, camera.upright(0.0)), (1, camera.upright(0.5))):
        found = camera.camera_stage(objective.data, start, objective.body, objective.prior, 100.0)
        apart = rotvec_to_rotmat(found[:, COLUMNS["global_orient"]]) @ truth.mT
        assert rotmat_to_rotvec(apart)[frame].norm() < np.radians(25)
        pelvis_depth = found[frame, COLUMNS["transl"]][2]
        assert abs(pelvis_depth - objective.data.initial_transl[frame, 2]) < 0.05


def test_too_few_torso_keypoints_leave_the_start(prox_stage) -> None:
    objective = prox_stage.objective(frames=[0])
    objective.data.confidence[:, [9, 12]] = 0.0
    found = camera.camera_stage(
        objective.data, camera.upright(0.0), objective.body, objective.prior, 100.0
    )
    torch.testing.assert_close(found[0, COLUMNS["global_orient"]], torch.tensor(camera.upright(0.0)))
    torch.testing.assert_close(found[:, COLUMNS["transl"]], objective.data.initial_transl)


@pytest.mark.parametrize("turn", [0.0, 0.25, 0.5, 0.75])
def test_starts_are_upright_and_turned_about_the_bodys_axis(turn: float) -> None:
    rotation = rotvec_to_rotmat(torch.tensor(camera.upright(turn), dtype=torch.float64)[None])[0]
    up, ahead = rotation[:, 1], rotation[:, 2]
    angle = 2 * np.pi * turn
    expected = torch.tensor([[0.0, -1.0, 0.0], [np.sin(angle), 0.0, -np.cos(angle)]]).to(up)
    torch.testing.assert_close(torch.stack([up, ahead]), expected, rtol=0, atol=1e-7)


def test_side_views_are_recognised_by_close_shoulders(prox_stage) -> None:
    data = prox_stage.objective(frames=[0, 1]).data
    data.keypoints_px[0, 2] = data.keypoints_px[0, 5] + 10.0
    assert camera.shoulders_close(data, 25.0).tolist() == [True, False]
    data.confidence[0, 2] = 0.0
    assert camera.shoulders_close(data, 25.0).tolist() == [False, False]


@pytest.mark.slow
def test_energy_ends_as_low_as_with_the_reference_optimiser(prox_stage) -> None:
    """From the same start through all stages, the total over frames is not above by more than 1 %."""
    totals = {}
    for method in ("gauss_newton", "lbfgs"):
        objective: Objective = prox_stage.objective(frames=[0, 2], num_points=300)
        solver = (
            GaussNewton(objective, objective.settings.solver)
            if method == "gauss_newton"
            else FrameByFrame(objective)
        )
        frames = np.arange(2)
        parameters = camera.camera_stage(
            objective.data, camera.upright(0.0), objective.body, objective.prior, 100.0
        )
        for number, stage in enumerate(objective.settings.stages, start=1):
            parameters = solver.minimise(parameters, frames, stage, last=number == 7)
        objective.update_visibility(parameters, frames)
        found = objective.evaluate(parameters, frames, objective.settings.stages[-1])
        totals[method] = found.energy.sum().item()
    assert totals["gauss_newton"] <= 1.01 * totals["lbfgs"]


def test_both_starts_find_a_person_who_faces_and_one_who_does_not(prox_stage) -> None:
    fit = fit_frames(prox_stage.objective(frames=[0, 1]))
    assert fit.finite.all()
    error_m = prox_stage.vertex_error_m(torch.as_tensor(fit.parameters), frames=[0, 1])
    assert (error_m < 0.03).all()
    assert set(fit.values) >= {"data", "s2m", "total", "num_visible", "num_contact", "num_evaluations"}
    assert (fit.values["num_visible"] > 2000).all()


class _Untouched:
    """A solver that leaves every start where it is."""

    def __init__(self, frames: int) -> None:
        self.at_limit = np.zeros(frames, dtype=bool)

    def minimise(self, parameters, frames, stage, *, last):
        return parameters


def test_copies_of_a_start_are_dropped_and_the_lowest_energies_go_on(prox_stage) -> None:
    objective = prox_stage.objective(frames=[0, 1])
    tries = _Tries(objective, _Untouched(2))
    tries.start(official=False)
    given = objective.settings.model_copy(update={"finalists": 1})
    tries.screen(given)
    assert np.sum(tries._alive, axis=0).tolist() == [1, 1]
    parameters, won = tries.best(given.stages[2])
    energies = []
    for number in range(len(tries._parameters)):
        rows = tries._parameters[number]
        objective.update_visibility(rows, np.arange(2))
        energies.append(objective.evaluate(rows, np.arange(2), given.stages[2]).energy)
    lowest = torch.stack(energies).min(dim=0).values
    objective.update_visibility(parameters, np.arange(2))
    found = objective.evaluate(parameters, np.arange(2), given.stages[2]).energy
    torch.testing.assert_close(found, lowest, rtol=1e-3, atol=0)
    assert all(tries._alive[k][frame] for frame, k in enumerate(won))


def test_screening_cannot_come_after_the_choice_of_orientation() -> None:
    with pytest.raises(ValueError, match="screening_stages <= orientation_stages"):
        ProxStyleSettings(screening_stages=5, orientation_stages=4)
