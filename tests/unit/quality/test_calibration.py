"""A planted relation is found again, and the figures are what libraries and hands say they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from pipelines.errors import DataInvalid
from pipelines.quality.calibrate import CalibrateQualitySettings, calibrate_and_test
from pipelines.quality.calibration import CalibrationSettings, calibrate
from pipelines.quality.error_model import read_error_model
from pipelines.quality.evaluation import (
    EvaluationSettings,
    auroc,
    evaluate_scores,
    gain_of_dropping,
    rank_correlation,
)
from pipelines.quality.known import KnownFrames
from pipelines.quality.recordings import synthetic_set
from pipelines.quality.settings import ObservableSettings

OBSERVABLES = ObservableSettings()
GROUPS = ("depth", "image", "motion", "priors", "contact", "agreement")


def _known(seed: int, recordings: int = 8, frames: int = 40) -> KnownFrames:
    """Error = 10 mm x (1 + trouble), with noise; one observable tells of it, the others do not."""
    rng = np.random.default_rng(seed)
    total = recordings * frames
    trouble = rng.exponential(1.5, total)
    values = {
        "telling_mm": 40 * trouble * np.exp(0.1 * rng.standard_normal(total)),
        "still": np.zeros(total),
        "opposite": 1 / (0.1 + trouble),
        **{f"noise_{group}": rng.exponential(1, total) for group in GROUPS},
    }
    values["telling_mm"][::17] = np.nan
    group = {"telling_mm": "depth", "still": "depth", "opposite": "image"}
    group |= {f"noise_{name}": name for name in GROUPS}
    return KnownFrames(
        values,
        group,
        10 * (1 + trouble) * np.exp(0.1 * rng.standard_normal(total)),
        np.repeat(np.arange(recordings), frames),
        tuple(f"Room{seed}_{number}" for number in range(recordings)),
        ("walk",) * recordings,
    )


def test_a_planted_relation_is_found_on_other_recordings() -> None:
    model = calibrate(_known(0), OBSERVABLES, CalibrationSettings(), {})
    other = _known(1)
    expected = model.expected_error_mm(other.values)
    report = evaluate_scores(other, expected, EvaluationSettings(bootstrap_samples=200))
    assert report.auroc.value > 0.95
    assert report.spearman.value > 0.85
    assert report.gain.value > 0.5
    assert report.mean_expected_mm.value == pytest.approx(report.mean_true_mm, rel=0.08)
    assert report.auroc.interval is not None
    assert report.auroc.interval[0] <= report.auroc.value <= report.auroc.interval[1]


def test_weights_are_never_negative_and_still_observables_have_none() -> None:
    model = calibrate(_known(0), OBSERVABLES, CalibrationSettings(), {})
    assert "still" not in model.terms
    assert min(term.weight for term in model.terms.values()) >= 0
    assert model.terms["opposite"].weight == 0
    heaviest = max(model.terms, key=lambda name: model.terms[name].weight)
    assert heaviest == "telling_mm"


def test_the_same_frames_give_the_same_model() -> None:
    first, second = (calibrate(_known(0), OBSERVABLES, CalibrationSettings(), {}) for _ in range(2))
    assert first == second


def test_too_few_recordings_are_refused() -> None:
    with pytest.raises(DataInvalid, match="recordings to leave out"):
        calibrate(_known(0, recordings=2), OBSERVABLES, CalibrationSettings(), {})


def test_figures_agree_with_the_libraries() -> None:
    rng = np.random.default_rng(3)
    score = np.round(rng.standard_normal(200), 1)  # with ties
    error = score + rng.standard_normal(200)
    assert auroc(score, error > 1) == pytest.approx(roc_auc_score(error > 1, score))
    assert rank_correlation(score, error) == pytest.approx(spearmanr(score, error)[0])
    assert np.isnan(auroc(score, np.zeros(200, bool)))
    assert np.isnan(rank_correlation(np.ones(200), error))


def test_gain_of_dropping_by_hand() -> None:
    error = np.array([10.0, 20, 30, 40, 100, 100, 10, 10, 10, 10])  # mean 34
    # The truly worst is one of 100: the rest has mean 240/9. The worst-scored is the one of 40: 300/9.
    score = np.array([0, 0, 0, 9, 1, 1, 0, 0, 0, 0.0])
    assert gain_of_dropping(score, error, 0.1) == pytest.approx((34 - 300 / 9) / (34 - 240 / 9))
    assert gain_of_dropping(error, error, 0.1) == pytest.approx(1)


def test_bins_hold_all_frames_in_order_of_expected_error() -> None:
    known = _known(5)
    report = evaluate_scores(known, known.error_mm, EvaluationSettings(bootstrap_samples=50))
    assert sum(entry.frames for entry in report.bins) == len(known)
    expected = [entry.expected_mm for entry in report.bins]
    assert expected == sorted(expected)
    assert [entry.true_mm for entry in report.bins] == pytest.approx(expected)


def test_the_report_is_written_beside_the_model(tmp_path: Path) -> None:
    settings = CalibrateQualitySettings(
        out_dir=tmp_path / "out",
        model=tmp_path / "model.json",
        evaluation=EvaluationSettings(bootstrap_samples=50),
    )
    text = calibrate_and_test(_known(0), _known(1), settings, {"note": "test"})
    assert (tmp_path / "out" / "quality.md").read_text() == text
    assert (tmp_path / "out" / "quality.png").stat().st_size > 10_000
    for line in ("AUROC for V2V above 50 mm", "without depth", "agreement alone", "`telling_mm`"):
        assert line in text
    assert read_error_model(settings.model, OBSERVABLES).provenance["note"] == "test"


def test_a_run_without_truth_calibrates_nothing() -> None:
    run = {"prox": {"root": "somewhere"}}
    with pytest.raises(ValidationError, match="recordings without truth"):
        CalibrateQualitySettings.model_validate({"finished_run": run})
    assert CalibrateQualitySettings.model_validate({"finished_run": {"preset": "benchmark"}})


def test_the_two_sets_share_no_room_no_seed_and_no_subject() -> None:
    calibration, test = synthetic_set("calibration"), synthetic_set("test")
    assert calibration.seed != test.seed
    assert calibration.detector == test.detector == type(test.detector)()
    for field in ("scene", "seed", "subject"):
        mine = {getattr(spec, field) for spec in calibration.recordings}
        assert not mine & {getattr(spec, field) for spec in test.recordings}, field
    assert len(test.recordings) >= 20
    assert not any(spec.defects for spec in (*calibration.recordings, *test.recordings))
