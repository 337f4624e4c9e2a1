"""Keypoints put on the depth seen at them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipelines.bodies.joints import BODY25_FROM_SMPLH, BODY25_NAMES
from pipelines.fitting.lifting import NEAR_PX, lift_keypoints

K = torch.tensor([[1000.0, 0, 960], [0, 1000.0, 540], [0, 0, 1]])


def _lift(
    pixel: list[float], points: list[list[float]], name: str = "left_knee", confidence: float = 0.8
):
    keypoints, weights = torch.zeros(1, 25, 2), torch.zeros(1, 25)
    joint = BODY25_NAMES.index(name)
    keypoints[0, joint], weights[0, joint] = torch.tensor(pixel), confidence
    lifted = lift_keypoints(keypoints, weights, torch.tensor([points]), torch.ones(1), K)
    return lifted.joints_camera[0, joint], lifted.weights[0, joint]


def test_joint_lies_on_its_ray_behind_the_surface() -> None:
    place, weight = _lift([1060.0, 540.0], [[0.2, 0.0, 2.0]] * 9)
    depth = float(place[2])
    assert depth == pytest.approx(2.0 + 0.055)
    assert place[:2].tolist() == pytest.approx([0.1 * depth, 0.0])
    assert float(weight) == pytest.approx(0.8)


def test_a_few_stray_points_do_not_move_the_joint() -> None:
    points = [[0.0, 0.0, 2.0]] * 6 + [[0.0, 0.0, 5.0]] * 3
    assert float(_lift([960.0, 540.0], points)[0][2]) == pytest.approx(2.055)


def test_without_points_near_it_in_the_image_a_keypoint_has_no_weight() -> None:
    away = (NEAR_PX + 1) * 2.0 / 1000
    assert float(_lift([960.0, 540.0], [[away, 0.0, 2.0]] * 9)[1]) == 0


def test_frames_without_points_have_no_weight() -> None:
    lifted = lift_keypoints(
        torch.full((2, 25, 2), 500.0), torch.ones(2, 25), torch.zeros(2, 9, 3), torch.zeros(2), K
    )
    assert not lifted.weights.any()
    assert lifted.joints_camera.isfinite().all()


def test_lifted_joints_of_a_person_are_near_the_true_ones(person: Any) -> None:
    seen = person.observations
    lifted = lift_keypoints(
        torch.as_tensor(seen.keypoints_px[:, :25]).float(),
        torch.as_tensor(seen.keypoints_confidence[:, :25]).float(),
        torch.as_tensor(seen.points_camera),
        torch.ones(len(seen.status)),
        torch.as_tensor(seen.K).float(),
    )
    true = person.joints[:, list(BODY25_FROM_SMPLH)].float()
    gap = (lifted.joints_camera - true).norm(dim=-1)[lifted.weights > 0]
    assert len(gap) > 100
    assert float(gap.median()) < 0.04
