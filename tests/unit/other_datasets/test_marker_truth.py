"""PJE and V2V: facts by hand, and a fit of the fixture against its MoSH bodies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from pipelines.bodies.files import BodyFiles
from pipelines.errors import DataInvalid
from pipelines.marker_truth import compare_with_markers, track_errors
from pipelines.other_datasets.prox_quantitative import ProxQuantitative
from pipelines.records import BodyTrack


def track(joints: np.ndarray, vertices: np.ndarray) -> BodyTrack:
    """One frame; joints and vertices repeated to the sizes of a body."""
    return BodyTrack(
        method="test",
        vertices_camera=np.resize(vertices, (1, 6890, 3)).astype(np.float32),
        joints_camera=np.resize(joints, (1, 22, 3)).astype(np.float32),
        keypoint_joints_camera=np.zeros((1, 25, 3), np.float32),
        valid=np.ones(1, dtype=bool),
    )


def test_the_values_of_the_metrics_page() -> None:
    true, found = np.array([[0, 0, 0], [0, 0, 1.0]]), np.array([[0.3, 0, 0], [0.3, 0, 1.1]])
    errors = track_errors(track(found, found), track(true, true), np.ones(1, dtype=bool))
    assert errors.global_v2v_mm == pytest.approx(308.1139, rel=1e-4)
    assert errors.pje_mm == pytest.approx(50.0, rel=1e-4)
    assert errors.v2v_mm == pytest.approx(50.0, rel=1e-4)
    assert errors.p_v2v_mm == pytest.approx(0.0, abs=1e-3)  # a scale


def test_procrustes_hides_turn_scale_and_shift_and_the_pelvis_only_the_shift() -> None:
    points = np.random.default_rng(0).standard_normal((22 * 5, 3))
    turn = cv2.Rodrigues(np.array([0.0, 0.4, 0.0]))[0]
    moved, turned = points + np.array([1.0, -2, 3]), 2 * points @ turn + 1
    true = track(points[:22], points)
    for found, aligned in ((moved, True), (turned, False)):
        errors = track_errors(track(found[:22], found), true, np.ones(1, dtype=bool))
        assert errors.p_pje_mm < 1e-3
        assert errors.p_v2v_mm < 1e-3
        assert (errors.pje_mm < 1e-3) is aligned
        assert (errors.v2v_mm < 1e-3) is aligned


def test_a_shifted_fit_of_the_fixture(quantitative: Any, files: BodyFiles) -> None:
    truth = ProxQuantitative(quantitative.root, files).truth("vicon_03301_01")
    moved = truth.parameters.transl + np.array([0.03, 0, 0.04], np.float32)
    shifted = replace(truth.parameters, transl=moved)
    status = ("no_person", *truth.status[1:])
    fitted = replace(truth, method="test", parameters=shifted, status=status)
    errors = compare_with_markers(fitted, replace(truth, status=("",) * 8 + ("fit_missing",)), files)
    assert errors.global_v2v_mm == pytest.approx(50.0, rel=1e-3)
    assert errors.pje_mm == pytest.approx(0.0, abs=0.01)
    assert errors.frames == 5
    assert errors.left_out == {
        "fit_missing": 1,
        "fit_not_finite": 1,
        "no_person": 1,
        "truth_fit_missing": 1,
    }
    with pytest.raises(DataInvalid, match="different frames"):
        compare_with_markers(replace(fitted, frame_names=fitted.frame_names[::-1]), truth, files)


def test_no_frame_gives_no_number() -> None:
    one = track(np.ones((1, 3)), np.ones((1, 3)))
    errors = track_errors(one, one, np.zeros(1, dtype=bool))
    assert np.isnan(errors.pje_mm)
    assert errors.frames == 0
