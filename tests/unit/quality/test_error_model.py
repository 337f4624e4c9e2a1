"""The formula from observables to millimetres: by hand, monotone, whole as a file, refused when wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import DataInvalid, DataMissing
from pipelines.quality.error_model import ErrorModel, Term, read_error_model, write_error_model
from pipelines.quality.settings import ObservableSettings, QualitySettings

SETTINGS = ObservableSettings()
TERMS = {
    "a_mm": Term(scale=10.0, mean=0.5, deviation=0.25, missing=1.5, weight=0.2, group="depth"),
    "b_share": Term(scale=0.1, mean=0.0, deviation=1.0, missing=2.0, weight=0.1, group="image"),
}
MODEL = ErrorModel(TERMS, 3.0, 1.2, SETTINGS.content_hash(), {"note": "by hand"})


def test_the_formula_by_hand() -> None:
    z_a = (np.log(1 + 20 / 10) - 0.5) / 0.25
    z_b = np.log(1 + 0.3 / 0.1)
    expected = np.exp(3.0 + 1.2 * (0.2 * z_a + 0.1 * z_b))
    values = {"a_mm": np.array([20.0]), "b_share": np.array([0.3]), "not asked for": np.array([9.0])}
    assert MODEL.expected_error_mm(values) == pytest.approx([expected])


def test_what_a_frame_lacks_counts_as_bad() -> None:
    error = MODEL.expected_error_mm({"a_mm": np.array([np.nan]), "b_share": np.array([0.0])})
    assert error == pytest.approx([np.exp(3.0 + 1.2 * 0.2 * 1.5)])


@given(
    st.tuples(st.floats(0, 1e4), st.floats(0, 1)),
    st.tuples(st.floats(0, 1e4), st.floats(0, 1)),
)
def test_more_trouble_never_lowers_the_expected_error(first, more) -> None:
    values = {"a_mm": np.array([first[0], first[0] + more[0]]), "b_share": np.array([first[1]] * 2)}
    values["b_share"][1] += more[1]
    low, high = MODEL.expected_error_mm(values)
    assert high >= low * (1 - 1e-12)
    assert np.isfinite([low, high]).all()


def test_an_observable_that_was_not_measured_is_named() -> None:
    with pytest.raises(DataInvalid, match=r"not measured(.|\n)*b_share(.|\n)*all rows of HuMoR"):
        MODEL.expected_error_mm({"a_mm": np.zeros(2)})


def test_a_written_model_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    write_error_model(path, MODEL)
    assert read_error_model(path, SETTINGS) == MODEL
    first = path.read_bytes()
    write_error_model(path, read_error_model(path, SETTINGS))
    assert path.read_bytes() == first


def test_a_missing_model_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="calibrate-quality"):
        read_error_model(tmp_path / "none.json", SETTINGS)


def test_a_model_of_other_observables_is_refused(tmp_path: Path) -> None:
    write_error_model(tmp_path / "model.json", MODEL)
    with pytest.raises(DataInvalid, match="calibrated for other observable settings"):
        read_error_model(tmp_path / "model.json", ObservableSettings(points=100))


NEGATIVE = {"scale": 1, "mean": 0, "deviation": 1, "missing": 0, "weight": -1, "group": "depth"}


@pytest.mark.parametrize(
    "damage",
    [
        {"schema": "another"},
        {"slope": None},
        {"terms": {}},
        {"terms": {"a_mm": {"scale": 1.0}}},
        {"terms": {"a_mm": NEGATIVE}},
    ],
)
def test_a_damaged_model_is_refused(damage: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    write_error_model(path, MODEL)
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(DataInvalid, match="not an error model"):
        read_error_model(path, SETTINGS)
    path.write_text("{")
    with pytest.raises(DataInvalid, match="not an error model"):
        read_error_model(path, SETTINGS)


def test_the_shipped_model_fits_the_default_settings() -> None:
    model = read_error_model(None, QualitySettings().observables)
    assert len(model.terms) > 20
    assert "/" not in json.dumps(model.provenance).replace("calibrate-quality", "")
