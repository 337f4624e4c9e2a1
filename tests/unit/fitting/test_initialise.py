"""Where stage 1 starts, against persons whose place and heading are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.bodies.model import load_smplh
from pipelines.fitting.initialise import start_variables
from pipelines.fitting.prediction import FitModels
from pipelines.fitting.window_data import WindowData, gather_windows
from pipelines.fitting.windows import Window
from pipelines.geometry.rotations import rotvec_to_rotmat
from pipelines.records import SequenceObservations


@pytest.fixture(scope="module")
def models(person: Any) -> FitModels:
    priors = person.priors
    return FitModels(
        body=load_smplh(person.files, "female"),
        pose=priors.pose,
        motion=priors.motion,
        initial_state=priors.initial_state,
        heading="atan2",
    )


def _windows(observations: SequenceObservations) -> WindowData:
    return gather_windows(observations, [Window(0, len(observations.status), 0)], torch.float32)


def _angle_deg(found: torch.Tensor, true: torch.Tensor) -> float:
    cosine = ((found @ true.mT).diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return float(torch.rad2deg(cosine.clamp(-1, 1).acos()).max())


@pytest.mark.parametrize("yaw_deg", [0, 60, 135, 180, 270])
def test_torso_start_finds_heading_and_place(
    yaw_deg: int, stage_person: Callable[..., Any], models: FitModels
) -> None:
    person = stage_person(2, math.radians(yaw_deg))
    start = start_variables(models, _windows(person.observations), "torso")
    root = rotvec_to_rotmat(start["root_orient"][0])
    assert _angle_deg(root, person.root_rotmat.float()) < 25
    pelvis = start["trans"][0] + models.body.rest_pelvis(start["betas"])
    assert (pelvis - person.joints[:, 0].float()).norm(dim=-1).max() < 0.16


def test_torso_start_bridges_frames_in_which_nothing_is_seen(
    stage_person: Callable[..., Any], models: FitModels
) -> None:
    person = stage_person(5, math.radians(200))
    seen = person.observations
    confidence, counts = seen.keypoints_confidence.copy(), seen.num_points.copy()
    confidence[2], counts[2] = 0, 0
    hidden = replace(seen, keypoints_confidence=confidence, num_points=counts)
    start = start_variables(models, _windows(hidden), "torso")
    assert all(value.isfinite().all() for value in start.values())
    pelvis = start["trans"][0] + models.body.rest_pelvis(start["betas"])
    assert (pelvis[2] - person.joints[2, 0].float()).norm() < 0.5


def test_official_start_is_the_mean_point_upright_and_facing(person: Any, models: FitModels) -> None:
    start = start_variables(models, _windows(person.observations), "official")
    expected = person.observations.points_camera.mean(axis=1)
    np.testing.assert_allclose(start["trans"][0].numpy(), expected, atol=1e-5)
    assert start["root_orient"][0].tolist() == [pytest.approx([math.pi, 0, 0])] * 6
    assert not start["latent_pose"].any()
    assert not start["betas"].any()


def test_starts_have_the_shapes_of_stage_1(person: Any, models: FitModels) -> None:
    shapes = {"trans": (1, 6, 3), "root_orient": (1, 6, 3), "latent_pose": (1, 6, 32), "betas": (1, 10)}
    for method in ("official", "torso"):
        start = start_variables(models, _windows(person.observations), method)
        assert {name: tuple(start[name].shape) for name in shapes} == shapes
