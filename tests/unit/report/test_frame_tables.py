from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.quality.files import FILE_NAME, write_quality
from pipelines.quality.score import QualityScores
from pipelines.records import FittedSequence, SmplhParameters
from pipelines.report.frame_tables import quality_table, status_table
from pipelines.report.run import FinishedRun


@pytest.fixture
def fit() -> FittedSequence:
    """Four frames, one of them lost."""
    zeros = np.zeros((4, 3))
    return FittedSequence(
        "refined",
        "Room_00001_01",
        "male",
        ("a", "b", "c", "d"),
        SmplhParameters(np.zeros((4, 10)), zeros, np.zeros((4, 63)), zeros),
        ("", "", "no_person", ""),
        np.zeros(4, dtype=np.int64),
        np.eye(4),
        np.array([0.0, -1.0, 0.0, -1.0]),
    )


def test_lost_frames_are_counted_by_reason(fit: FittedSequence) -> None:
    whole = replace(fit, method="humor", status=("",) * 4)
    table = status_table({"Room_00001_01": {"refined": fit, "humor": whole}})
    assert table.header == ("recording, method", "valid", "no_person")
    (row,) = table.rows  # a fit that lost nothing needs no line
    assert [cell.text for cell in row.cells] == ["3", "1"]
    assert table.note.startswith("7 of 8 fitted frames")


def test_reject_reasons_are_shown_where_recordings_were_scored(tmp_path: Path) -> None:
    run = FinishedRun(PseudoGtSettings(out_dir=tmp_path), ("R_1_01", "S_1_01"), ())
    assert quality_table(run, run.recordings) is None
    scores = QualityScores(
        "R_1_01",
        ("a", "b", "c"),
        np.array([10.0, 30.0, np.nan]),
        np.array([1.0, 0.5, 0.0]),
        ("", "", "no fit"),
        {"depth_residual": np.zeros(3)},
    )
    write_quality(run.job("R_1_01").folder / FILE_NAME, scores)
    table = quality_table(run, run.recordings)
    assert table is not None
    assert table.header == ("recording", "expected error (mm)", "kept", "no fit")
    (row,) = table.rows
    assert [cell.text for cell in row.cells] == ["20.00", "2", "1"]
