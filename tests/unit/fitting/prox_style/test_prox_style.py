"""The PROX-style fit of a recording: statuses, checkpoints, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.artifacts import read_npz
from pipelines.errors import DataInvalid
from pipelines.fitting.prox_style import baseline
from pipelines.fitting.prox_style.baseline import fit_prox_style
from pipelines.fitting.prox_style.objective import Objective
from pipelines.fitting.prox_style.settings import ProxStyleSettings, ProxStyleSolverSettings
from pipelines.fitting.prox_style.starts import FramesFit
from pipelines.records import FittedSequence, SmplxParameters


class Stub:
    """Stands in for the minimisation: counts calls, returns recognisable parameters."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.finite = True

    def __call__(self, objective: Objective) -> FramesFit:
        count = len(objective.data)
        self.calls.append(count)
        parameters = np.zeros((count, 91), np.float32)
        parameters[:, 88:] = objective.data.initial_transl.numpy()
        finite = np.full(count, self.finite)
        if not self.finite:
            parameters[:] = np.nan
        return FramesFit(parameters, finite, {"total": np.arange(count, dtype=np.float64)})


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    stub = Stub()
    monkeypatch.setattr(baseline, "fit_frames", stub)
    return stub


def fit(prox_stage, observations=None, settings=None, **kwargs) -> FittedSequence:
    return fit_prox_style(
        observations or prox_stage.observations,
        prox_stage.scene,
        prox_stage.files,
        prox_stage.segments,
        prox_stage.prior,
        settings or ProxStyleSettings(frames_per_chunk=2),
        **kwargs,
    )


def test_every_frame_has_a_result_or_a_reason(prox_stage, stub: Stub) -> None:
    seen = prox_stage.observations
    confidence = seen.keypoints_confidence.copy()
    confidence[1] = 0.0
    num_points = seen.num_points.copy()
    num_points[2] = 0
    status = ("", "", "", "mask_missing")
    broken = replace(seen, keypoints_confidence=confidence, num_points=num_points, status=status)
    fitted = fit(prox_stage, broken)
    assert fitted.status == ("", "no_keypoints", "no_depth", "mask_missing")
    assert fitted.method == "prox_style"
    assert isinstance(fitted.parameters, SmplxParameters)
    assert fitted.parameters.body_pose.shape == (4, 63)
    assert np.isfinite(fitted.parameters.transl).all()
    assert np.isnan(fitted.energies["total"]).tolist() == [False, True, True, True]
    np.testing.assert_array_equal(fitted.window_id, np.arange(4))


def test_frames_without_any_usable_one_give_an_empty_fit(prox_stage, stub: Stub) -> None:
    nobody = replace(prox_stage.observations, status=("no_person",) * 4)
    fitted = fit(prox_stage, nobody)
    assert stub.calls == []
    assert not fitted.valid.any()


def test_a_fit_that_is_not_a_number_is_flagged_and_stored_as_zero(prox_stage, stub: Stub) -> None:
    stub.finite = False
    fitted = fit(prox_stage)
    assert fitted.status == ("fit_not_finite",) * 4
    assert np.isfinite(fitted.parameters.global_orient).all()


def test_a_rerun_takes_up_finished_groups(prox_stage, stub: Stub, tmp_path: Path) -> None:
    first = fit(prox_stage, checkpoint=tmp_path)
    assert stub.calls == [2, 2]
    files = sorted(tmp_path.glob("*.npz"))
    files[1].unlink()
    again = fit(prox_stage, checkpoint=tmp_path)
    assert stub.calls == [2, 2, 2]
    for name in ("transl", "body_pose"):
        np.testing.assert_array_equal(getattr(first.parameters, name), getattr(again.parameters, name))


def test_a_checkpoint_of_other_inputs_is_not_used(prox_stage, stub: Stub, tmp_path: Path) -> None:
    fit(prox_stage, checkpoint=tmp_path)
    fit(prox_stage, settings=ProxStyleSettings(frames_per_chunk=2, num_points=7), checkpoint=tmp_path)
    assert len(stub.calls) == 4
    seen = prox_stage.observations
    moved = replace(
        seen, keypoints_px=seen.keypoints_px + np.array([[[1.0]], [[0.0]], [[0.0]], [[0.0]]])
    )
    fit(prox_stage, moved, checkpoint=tmp_path)
    assert len(stub.calls) == 6


def test_a_damaged_checkpoint_is_made_again(prox_stage, stub: Stub, tmp_path: Path) -> None:
    fit(prox_stage, checkpoint=tmp_path)
    damaged = sorted(tmp_path.glob("*.npz"))[0]
    damaged.write_bytes(damaged.read_bytes()[:100])
    fit(prox_stage, checkpoint=tmp_path)
    assert len(stub.calls) == 3
    assert "parameters" in read_npz(damaged)


def test_a_missing_contact_part_is_refused(prox_stage) -> None:
    segments = {name: ids for name, ids in prox_stage.segments.items() if name != "gluteus"}
    with pytest.raises(DataInvalid, match="contact parts are missing"):
        fit_prox_style(
            prox_stage.observations,
            prox_stage.scene,
            prox_stage.files,
            segments,
            prox_stage.prior,
            ProxStyleSettings(),
        )


def test_points_are_counted_once_and_stand_for_the_full_scan(prox_stage) -> None:
    seen = prox_stage.observations
    num_points = np.array([5, 4000, 4000, 4000])
    points = seen.points_camera.copy()
    points[0] = np.resize(points[0, :5], points[0].shape)  # the reader repeats few points
    record = replace(seen, num_points=num_points, points_camera=points)
    data = baseline._frame_data(record, np.array([0, 1]), num_points=100)
    assert [len(scan.points_camera) for scan in data.scans] == [5, 100]
    assert [scan.weight for scan in data.scans] == [1.0, 40.0]
    torch.testing.assert_close(
        data.initial_transl[0], torch.as_tensor(points[0, :5].mean(axis=0)), rtol=0, atol=1e-5
    )


def test_the_same_fit_twice_gives_the_same_numbers(prox_stage) -> None:
    one = prox_stage.observations.select(slice(0, 1))
    solver = ProxStyleSolverSettings(last_tolerance=1e-2)
    settings = ProxStyleSettings(
        stages=ProxStyleSettings().stages[:3],
        screening_stages=2,
        orientation_stages=3,
        starts=2,
        num_points=200,
        solver=solver,
    )
    first, second = (fit(prox_stage, one, settings) for _ in range(2))
    for name in ("transl", "global_orient", "body_pose", "betas"):
        np.testing.assert_array_equal(getattr(first.parameters, name), getattr(second.parameters, name))
