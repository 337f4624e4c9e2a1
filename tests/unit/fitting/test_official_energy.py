"""The yardstick of solvers against the official optimiser's own last stage (goldens, group D)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipelines.fitting.official_energy import last_stage, official_energy
from pipelines.fitting.prediction import FitModels
from pipelines.fitting.window_data import WindowData

Goldens = dict[str, np.ndarray]
Variables = Callable[[str], dict[str, torch.Tensor]]
LEADING = 4
"""Frames of stage 3a in the golden run."""


def test_total_and_terms_are_the_official_ones(
    fit_goldens: Goldens,
    golden_windows: WindowData,
    golden_variables: Variables,
    toy_models: FitModels,
) -> None:
    smooth = replace(toy_models, heading="atan2")  # must not matter: the yardstick is official
    found = official_energy(smooth, golden_windows, golden_variables("3c"), LEADING)
    assert found.total == pytest.approx(float(fit_goldens["out/D/s3c/total"]), rel=1e-7)
    stage = last_stage(6, LEADING)
    factors = {"shape_prior": 6.0, "floor_reg": 6.0, "init_motion_prior": 6 / 4}
    for term, values in found.terms.items():
        logged = float(fit_goldens[f"out/D/s3c/term_{term}"])
        expected = stage.weights[term] * factors.get(term, 1.0) * logged
        assert values.sum().item() == pytest.approx(expected, rel=1e-7), term
    torch.testing.assert_close(sum(found.terms.values()), found.per_window)


def test_every_positive_official_weight_is_in(
    golden_windows: WindowData, golden_variables: Variables, toy_models: FitModels
) -> None:
    found = official_energy(toy_models, golden_windows, golden_variables("3c"), LEADING)
    assert set(found.terms) == {
        "points3d",
        "joints2d",
        "shape_prior",
        "motion_prior",
        "init_motion_prior",
        "joint_consistency",
        "bone_length",
        "contact_vel",
        "contact_height",
        "floor_reg",
    }


def test_points_are_all_counted_and_far_ones_have_no_weight(
    golden_windows: WindowData, golden_variables: Variables, toy_models: FitModels
) -> None:
    points = golden_windows.points_camera.clone()
    count = points.shape[1] * points.shape[2]
    near = official_energy(toy_models, golden_windows, golden_variables("3c"), LEADING)
    assert near.points_observed.tolist() == [count, count]
    points[0, 2, :3] += 50.0
    moved = replace(golden_windows, points_camera=points)
    far = official_energy(toy_models, moved, golden_variables("3c"), LEADING)
    assert far.points_weighted[0] <= count - 3
    assert far.points_weighted[1] == near.points_weighted[1]


def test_frames_without_points_count_no_points(
    golden_windows: WindowData, golden_variables: Variables, toy_models: FitModels
) -> None:
    has_points = golden_windows.has_points.clone()
    has_points[0, 1] = 0
    data = replace(golden_windows, has_points=has_points)
    found = official_energy(toy_models, data, golden_variables("3c"), LEADING)
    per_frame = golden_windows.points_camera.shape[2]
    assert found.points_observed.tolist() == [5 * per_frame, 6 * per_frame]
    assert found.points_weighted[0] <= 5 * per_frame


def test_single_precision_data_are_judged_in_the_precision_of_the_models(
    golden_windows: WindowData, golden_variables: Variables, toy_models: FitModels
) -> None:
    single = replace(golden_windows, points_camera=golden_windows.points_camera.float())
    variables = {name: value.float() for name, value in golden_variables("3c").items()}
    found = official_energy(toy_models, single, variables, LEADING)
    whole = official_energy(toy_models, golden_windows, golden_variables("3c"), LEADING)
    assert found.per_window.dtype == torch.float64
    assert found.total == pytest.approx(whole.total, rel=1e-4)


def test_short_windows_have_no_factor_on_the_first_state() -> None:
    assert last_stage(60).init_motion_scale == 4
    assert last_stage(12).init_motion_scale == 1
