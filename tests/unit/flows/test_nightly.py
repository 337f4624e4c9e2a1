"""A night in which recordings fail: the page over the others is written, and the reasons are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import flows.nightly as module
from flows.nightly import NightlySettings, nightly
from pipelines.errors import DataMissing, FittingFailed, PipelineError

FITS = FittingFailed("2 of 2 recordings failed", found="a: no keypoints; b: no depth")
NO_RUN = DataMissing("no finished pseudo-gt run")


def night(
    monkeypatch: pytest.MonkeyPatch, fits: PipelineError | None, report: PipelineError | None
) -> tuple[Any, list[str]]:
    """Run it with flows that end so; returns what it raised or returned, and the flows it began."""
    ends, began = {"pseudo-gt": fits, "report": report}, []

    def run_flow(flow: Any, settings: Any) -> Path:
        began.append(flow.name)
        error = ends[flow.name]
        if error is not None:
            raise error
        return Path("report.html")

    monkeypatch.setattr(module, "run_flow", run_flow)
    try:
        return nightly.fn(NightlySettings()), began
    except PipelineError as error:
        return error, began


@pytest.mark.parametrize(
    ("fits", "report", "end"),
    [
        (None, None, Path("report.html")),
        (FITS, None, FITS),
        (FITS, NO_RUN, FITS),
        (None, NO_RUN, NO_RUN),
    ],
)
def test_the_report_is_tried_and_the_first_cause_is_told(
    monkeypatch: pytest.MonkeyPatch, fits: Any, report: Any, end: Any
) -> None:
    assert night(monkeypatch, fits, report) == (end, ["pseudo-gt", "report"])
