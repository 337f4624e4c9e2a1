"""From expected errors to weights and reasons, and the file they are kept in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.artifacts import read_npz, write_npz
from pipelines.errors import DataInvalid, DataMissing
from pipelines.quality.error_model import ErrorModel, Term
from pipelines.quality.files import read_quality, write_quality
from pipelines.quality.observables import Observables
from pipelines.quality.score import QualityScores, score_frames, weights
from pipelines.quality.settings import QualitySettings, WeightSettings

# expected error = 10 mm x (1 + a)
MODEL = ErrorModel({"a": Term(1.0, 0.0, 1.0, 2.0, 1.0, "depth")}, np.log(10.0), 1.0, "")


def _scores(**columns: list[float]) -> QualityScores:
    values = {
        "a": [0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        "surface_hidden_share": [0.0] * 6,
        "surface_uncovered_share": [0.0] * 6,
        "penetration_mm": [0.0] * 6,
    } | columns
    arrays = {name: np.array(column, dtype=np.float64) for name, column in values.items()}
    observed = Observables(arrays, dict.fromkeys(arrays, "depth"), np.array([1, 1, 1, 1, 1, 0], bool))
    names = tuple(f"frame {number}" for number in range(6))
    status = ("", "", "", "", "", "no_person")
    return score_frames("Room_1", names, status, observed, MODEL, QualitySettings())


def test_the_weight_falls_with_the_square_of_the_error() -> None:
    settings = WeightSettings(full_mm=20, none_mm=80)
    error = np.array([0, 10, 20, 40, 79.9, 80, 200, np.nan])
    assert weights(error, settings) == pytest.approx([1, 1, 1, 0.25, (20 / 79.9) ** 2, 0, 0, 0])


def test_a_weight_that_never_falls_is_refused() -> None:
    with pytest.raises(ValidationError, match="must exceed full_mm"):
        WeightSettings(full_mm=50, none_mm=40)


def test_every_reason_is_named_and_its_frame_weighs_nothing() -> None:
    scores = _scores(
        a=[0, 1, 5, 0, 0, 0],
        surface_hidden_share=[0, 0, 0, 0.95, 0, 0],
        surface_uncovered_share=[0, 0, 0, 0, 0.7, 0],
    )
    assert scores.reject_reason == (
        "",
        "",
        "expected_error",
        "body_hidden",
        "surface_uncovered",
        "no_person",
    )
    assert scores.expected_error_mm[:3] == pytest.approx([10, 20, 60])
    assert np.isnan(scores.expected_error_mm[5])
    assert scores.weight == pytest.approx([1, 1, 0, 0, 0, 0])


def test_deep_penetration_rejects() -> None:
    assert _scores(penetration_mm=[200, 0, 0, 0, 0, 0]).reject_reason[0] == "penetration"


def test_reasons_fit_the_shards_column() -> None:
    scores = _scores(penetration_mm=[200, 0, 0, 0, 0, 0])
    assert all(reason.isascii() and len(reason) <= 32 for reason in scores.reject_reason)


def test_scores_are_read_back_and_equal_ones_give_equal_bytes(tmp_path: Path) -> None:
    scores = _scores()
    for name in ("first.npz", "second.npz"):
        write_quality(tmp_path / name, scores)
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()
    back = read_quality(tmp_path / "first.npz")
    assert (back.recording, back.frame_names) == (scores.recording, scores.frame_names)
    assert back.reject_reason == scores.reject_reason
    np.testing.assert_array_equal(back.expected_error_mm, scores.expected_error_mm)
    np.testing.assert_array_equal(back.weight, scores.weight)
    assert set(back.observables) == set(scores.observables)
    np.testing.assert_array_equal(back.observables["a"], scores.observables["a"])


def test_what_is_not_a_quality_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "quality.npz"
    with pytest.raises(DataMissing, match="no scores"):
        read_quality(path)
    write_npz(path, {"schema": "another"})
    with pytest.raises(DataInvalid, match="not a quality file"):
        read_quality(path)
    write_quality(path, _scores())
    arrays = read_npz(path)
    write_npz(path, {name: value for name, value in arrays.items() if name != "weight"})
    with pytest.raises(DataInvalid, match="incomplete"):
        read_quality(path)
    write_quality(path, _scores())
    write_npz(path, read_npz(path) | {"reject_reason": np.array([""])})
    with pytest.raises(DataInvalid, match="differ in length"):
        read_quality(path)
