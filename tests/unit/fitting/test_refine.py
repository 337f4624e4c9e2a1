"""Poses free of the roll-out: start and reference, the energies that tie them, the solver's curvature."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.bodies.model import load_smplh
from pipelines.fitting import energies
from pipelines.fitting.frame_curvature import FrameCurvature
from pipelines.fitting.objective import StageObjective
from pipelines.fitting.prediction import FitModels, predict_poses
from pipelines.fitting.refine import pose_data, pose_variables
from pipelines.fitting.settings import HumorSettings, StageSettings
from pipelines.fitting.solver import minimise
from pipelines.fitting.window_data import WindowData, gather_windows
from pipelines.fitting.windows import Window, frame_rows
from pipelines.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from pipelines.records import FittedSequence, SmplhParameters

WINDOWS = (Window(0, 6, 0),)
STAGE = HumorSettings().pose_stages[0].without_scene()


@pytest.fixture(scope="module")
def models(person: Any) -> FitModels:
    priors = person.priors.to(torch.float64)
    return FitModels(
        body=load_smplh(person.files, "female", dtype=torch.float64),
        pose=priors.pose,
        motion=priors.motion,
        initial_state=priors.initial_state,
        heading="atan2",
    )


@pytest.fixture(scope="module")
def truth(person: Any) -> FittedSequence:
    """The staged person as if a roll-out had found it exactly."""
    frames = 6
    sway = torch.linspace(0, 0.2, frames, dtype=torch.float64)[:, None]
    generator = torch.Generator().manual_seed(2)
    latent = 0.3 * torch.randn(1, 32, generator=generator, dtype=torch.float64)
    pose = person.priors.to(torch.float64).pose.decode(latent * (1 + sway))
    seen = person.observations
    return FittedSequence(
        method="refined",
        recording=seen.recording,
        gender="female",
        frame_names=seen.frame_names,
        parameters=SmplhParameters(
            betas=np.repeat(person.betas.numpy(), frames, axis=0),
            global_orient=np.tile(rotmat_to_rotvec(person.root_rotmat).numpy(), (frames, 1)),
            body_pose=rotmat_to_rotvec(pose).flatten(1).numpy(),
            transl=person.transl.numpy(),
        ),
        status=("",) * frames,
        window_id=np.zeros(frames, np.int64),
        T_world_from_camera=np.eye(4),
        floor_camera=seen.floor_camera,
        contacts=np.zeros((frames, 22)),
    )


def _prepared(
    person: Any, models: FitModels, fitted: FittedSequence
) -> tuple[dict[str, torch.Tensor], WindowData]:
    variables = pose_variables(fitted, WINDOWS, torch.float64)
    data = gather_windows(person.observations, WINDOWS, torch.float64)
    return variables, pose_data(models, data, fitted, variables, WINDOWS)


def _moved(fitted: FittedSequence, shift_m: float) -> FittedSequence:
    transl = fitted.parameters.transl + np.array([shift_m, 0.0, 0.0])
    return replace(fitted, parameters=replace(fitted.parameters, transl=transl))


def _v2v_mm(person: Any, models: FitModels, variables: dict[str, torch.Tensor]) -> float:
    vertices = predict_poses(models, variables).vertices
    assert vertices is not None
    return 1000 * float((vertices[0] - person.vertices).norm(dim=-1).mean())


def test_start_and_reference_are_the_motion_itself(
    person: Any, models: FitModels, truth: FittedSequence
) -> None:
    variables, data = _prepared(person, models, truth)
    assert _v2v_mm(person, models, variables) < 1e-3
    assert data.reference is not None
    torch.testing.assert_close(data.reference.joints_camera[0], person.joints[:, :22], atol=1e-6, rtol=0)
    objective = StageObjective(models, data, None, STAGE, HumorSettings())
    terms = objective.evaluate(variables).terms
    for name in ("follow_velocity", "follow_place", "follow_turns"):
        assert float(terms[name]) == pytest.approx(0, abs=1e-12), name


def test_a_motion_that_is_off_is_drawn_to_what_was_seen(
    person: Any, models: FitModels, truth: FittedSequence
) -> None:
    variables, data = _prepared(person, models, _moved(truth, 0.03))
    objective = StageObjective(models, data, None, STAGE, HumorSettings())
    result = minimise(objective, variables, FrameCurvature.build)
    assert _v2v_mm(person, models, variables) == pytest.approx(30, abs=0.1)
    assert _v2v_mm(person, models, result.variables) < 6


def test_frames_without_a_motion_do_not_count(
    person: Any, models: FitModels, truth: FittedSequence
) -> None:
    lost = replace(truth, status=("", "", "fit_failed", "", "", ""))
    _, data = _prepared(person, models, lost)
    counts = [1, 1, 0, 1, 1, 1]
    assert data.frames_used[0].tolist() == counts
    assert data.has_points[0].tolist() == counts
    assert (data.confidence[0].sum(1) > 0).tolist() == [bool(count) for count in counts]


def test_betas_leave_out_frames_without_a_motion(truth: FittedSequence) -> None:
    betas = truth.parameters.betas.copy()
    betas[2] = 100.0
    lost = replace(
        truth,
        parameters=replace(truth.parameters, betas=betas),
        status=("", "", "fit_failed", "", "", ""),
    )
    found = pose_variables(lost, WINDOWS, torch.float64)["betas"][0]
    torch.testing.assert_close(found, torch.as_tensor(truth.parameters.betas[0]))


def test_short_runs_repeat_their_last_frame() -> None:
    rows = frame_rows((Window(0, 4, 0), Window(4, 2, 0)))
    assert rows.tolist() == [[0, 1, 2, 3], [4, 5, 5, 5]]


def test_turn_energy_is_the_squared_angle_for_small_turns() -> None:
    angle = 0.01
    turned = rotvec_to_rotmat(torch.tensor([[[[angle, 0.0, 0.0]]]]).double())
    still = torch.eye(3).double().expand(1, 1, 1, 3, 3)
    energy = energies.follow_turns(turned, still, torch.ones(1, 1).double())
    assert float(energy) == pytest.approx(angle**2, rel=1e-4)


def test_curvature_foretells_the_ties_exactly(
    person: Any, models: FitModels, truth: FittedSequence
) -> None:
    """Near the reference the tying terms are quadratic; their curvature has no approximation."""
    variables, data = _prepared(person, models, truth)
    stage = StageSettings(
        name="ties",
        kind="poses",
        free=("trans", "root_orient", "body_pose"),
        weights={"follow_velocity": 300.0, "follow_place": 1.0, "follow_turns": 1.0, "contact_vel": 1.0},
    )
    objective = StageObjective(models, data, None, stage, HumorSettings())
    curvature = FrameCurvature.build(objective, variables, objective.evaluate(variables))
    generator = torch.Generator().manual_seed(0)
    size = curvature.diagonal.shape[-1]
    step = 1e-4 * torch.randn(1, 6, size, generator=generator, dtype=torch.float64)
    parts = dict(zip(curvature.per_frame, step.split([3, 3, 63], dim=-1), strict=True))
    there = {name: value + parts.get(name, 0.0) for name, value in variables.items()}
    gain = objective.evaluate(there).total - objective.evaluate(variables).total
    along = (step[..., None, :] @ curvature.diagonal @ step[..., None]).sum()
    across = (step[:, 1:, None] @ curvature.coupling @ step[:, :-1, :, None]).sum()
    assert float(gain) == pytest.approx(float(0.5 * along + across), rel=2e-3)


def test_terms_of_other_stages_are_refused() -> None:
    with pytest.raises(ValueError, match=r"pose_prior.*do not belong to a stage of kind 'poses'"):
        StageSettings(name="x", kind="poses", free=("trans",), weights={"pose_prior": 1.0})
