"""Every stage's energy, terms and gradients against the official optimiser (goldens, group D)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from pipelines.fitting.objective import StageObjective
from pipelines.fitting.prediction import FitModels, first_state, start_motion
from pipelines.fitting.settings import HumorSettings, StageSettings
from pipelines.fitting.window_data import WindowData

Goldens = dict[str, np.ndarray]
Variables = Callable[[str], dict[str, torch.Tensor]]
STAGES = ("1", "2", "3a", "3b", "3c")


def _stage(name: str) -> StageSettings:
    """The golden run's schedule: 3a sees four frames, so the later init scale is 6/4."""
    stage = {s.name: s for s in HumorSettings.reference().stages}[name].without_scene()
    changes: dict[str, object] = {"weights": {**stage.weights, "rgb_overlap_consist": 0.0}}
    if name == "3a":
        changes["num_frames"] = 4
    elif name in ("3b", "3c"):
        changes["init_motion_scale"] = 6 / 4
    return stage.model_copy(update=changes)


@pytest.mark.parametrize("name", STAGES)
def test_stage_agrees_with_the_official_objective(
    name: str,
    fit_goldens: Goldens,
    golden_windows: WindowData,
    golden_variables: Variables,
    toy_models: FitModels,
) -> None:
    stage = _stage(name)
    objective = StageObjective(toy_models, golden_windows, None, stage, HumorSettings.reference())
    variables = golden_variables(name)
    for free in stage.free:
        variables[free].requires_grad_(True)
    evaluation = objective.evaluate(variables)
    expected = f"out/D/s{name}/"
    assert evaluation.total.item() == pytest.approx(float(fit_goldens[f"{expected}total"]), rel=1e-7)
    for term, values in evaluation.terms.items():
        # The official log leaves out the factor "frames in use" that its total has.
        frames = objective.num_frames if term in ("shape_prior", "floor_reg") else 1
        stored = frames * float(fit_goldens[f"{expected}term_{term}"])
        assert values.sum().item() == pytest.approx(stored, rel=1e-7), term
    gradients = torch.autograd.grad(evaluation.total, [variables[free] for free in stage.free])
    for free, gradient in zip(stage.free, gradients, strict=True):
        stored_gradient = fit_goldens[f"{expected}grad_{free}"]
        error = np.abs(gradient.numpy() - stored_gradient).max() / np.abs(stored_gradient).max()
        assert error < 1e-6, free


def test_smooth_heading_changes_totals_by_little(
    fit_goldens: Goldens,
    golden_windows: WindowData,
    golden_variables: Variables,
    toy_models: FitModels,
) -> None:
    from dataclasses import replace

    models = replace(toy_models, heading="atan2")
    objective = StageObjective(models, golden_windows, None, _stage("3c"), HumorSettings())
    total = objective.evaluate(golden_variables("3c")).total.item()
    assert total == pytest.approx(float(fit_goldens["out/D/s3c/total"]), rel=2e-5)


def test_hand_over_to_stage_3_agrees(
    fit_goldens: Goldens,
    golden_windows: WindowData,
    golden_variables: Variables,
    toy_models: FitModels,
) -> None:
    """The recorded frame is that of stage 2's variables; the other recorded values are 3a's inputs."""
    variables = golden_variables("2")
    started = start_motion(toy_models, variables, golden_windows.floor_camera, [6, 6])
    frame, first = first_state(toy_models, started)
    stored = {name: fit_goldens[f"out/D/s3_init/cam2prior_{name}"] for name in ("R", "t", "root_height")}
    np.testing.assert_allclose(frame.R_prior_from_camera.numpy(), stored["R"], atol=1e-7)
    np.testing.assert_allclose(-frame.origin_camera.numpy(), stored["t"], atol=1e-7)
    np.testing.assert_allclose(frame.pelvis_height_m.numpy(), stored["root_height"][:, 0], atol=1e-7)
    assert first.transl[..., :2].abs().max() < 1e-12
    assert {name: value.shape for name, value in started.items()} == {
        name: value.shape for name, value in golden_variables("3a").items()
    }


def test_hand_over_keeps_a_motion_the_prior_can_follow(
    toy_models: FitModels, golden_windows: WindowData
) -> None:
    """Velocities handed over are those of the motion: a body carried along at 0.6 m/s."""
    frames = 6
    step = torch.tensor([0.02, 0.0, 0.0]).double()
    variables = {
        "trans": torch.tensor([0.1, 0.2, 2.5]).double() + torch.arange(frames)[:, None] * step,
        "root_orient": torch.tensor([3.1, 0.0, 0.0]).double().expand(frames, 3),
        "latent_pose": torch.zeros(frames, 32).double(),
    }
    variables = {name: value.expand(2, *value.shape).clone() for name, value in variables.items()}
    variables["betas"] = torch.zeros(2, 10).double()
    started = start_motion(toy_models, variables, golden_windows.floor_camera, [frames, frames])
    speed = torch.linalg.vector_norm(started["trans_vel"], dim=-1)
    torch.testing.assert_close(speed, torch.full_like(speed, 0.6))
    joint_speed = torch.linalg.vector_norm(started["joints_vel"], dim=-1)
    torch.testing.assert_close(joint_speed, torch.full_like(joint_speed, 0.6))
    assert started["root_orient_vel"].abs().max() < 1e-9


def test_final_bodies_agree(
    fit_goldens: Goldens,
    golden_windows: WindowData,
    golden_variables: Variables,
    toy_models: FitModels,
) -> None:
    objective = StageObjective(toy_models, golden_windows, None, _stage("3c"), HumorSettings.reference())
    prediction = objective.predict(golden_variables("3c"), mesh=True)
    motion = prediction.motion
    assert motion is not None
    stored = fit_goldens["out/D/final/joints73"]
    np.testing.assert_allclose(prediction.joints.numpy(), stored, atol=1e-7 * np.abs(stored).max())
    np.testing.assert_allclose(prediction.transl.numpy(), fit_goldens["out/D/final/trans"], atol=1e-6)
    in_contact = (motion.contacts > 0.5).numpy()
    np.testing.assert_array_equal(in_contact, fit_goldens["out/D/final/contacts"])
