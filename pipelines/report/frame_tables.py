"""Tables about frames: which counted, which were lost and why, and how windows meet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.metrics.tables import format_value
from pipelines.quality.files import FILE_NAME, read_quality
from pipelines.records import FittedSequence
from pipelines.report.content import TextCell, TextRow, TextTable
from pipelines.report.measures import STEP_MM, FrameMeasures
from pipelines.report.run import FinishedRun, title_of


def status_table(fits: Mapping[str, Mapping[str, FittedSequence]]) -> TextTable:
    """Frames of each recording and method by status: recording -> method -> fit."""
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for recording, methods in fits.items():
        for method, fit in methods.items():
            row = counts.setdefault((recording, method), {})
            for status in fit.status:
                row[status or "valid"] = row.get(status or "valid", 0) + 1
    reasons = sorted({reason for row in counts.values() for reason in row} - {"valid"})
    faulty = {key: row for key, row in counts.items() if set(row) != {"valid"}}
    rows = tuple(
        TextRow(
            f"{recording}, {title_of(method)}",
            tuple(TextCell(str(row.get(reason, 0))) for reason in ("valid", *reasons)),
        )
        for (recording, method), row in faulty.items()
    )
    total = sum(sum(row.values()) for row in counts.values())
    good = sum(row.get("valid", 0) for row in counts.values())
    note = f"{good} of {total} fitted frames (all methods together) are valid."
    if not faulty:
        note += " No method lost a frame."
    return TextTable("Frame status", ("recording, method", "valid", *reasons), rows, note)


def exclusion_table(run: FinishedRun, order: Sequence[str]) -> TextTable:
    """Frames that no metric ran over, by the first reason that applies."""
    selections = {name: run.metrics[name].frames for name in order}
    reasons = sorted({reason for frames in selections.values() for reason in frames.excluded})
    rows = tuple(
        TextRow(
            name,
            tuple(
                TextCell(str(value))
                for value in (
                    frames.num_frames,
                    frames.num_person_seen,
                    len(frames.names),
                    *(frames.excluded.get(reason, 0) for reason in reasons),
                )
            ),
        )
        for name, frames in selections.items()
    )
    header = ("recording", "frames", "person seen", "measured", *(f"left out: {r}" for r in reasons))
    return TextTable("Frames measured", header, rows)


def quality_table(run: FinishedRun, order: Sequence[str]) -> TextTable | None:
    """Reject reasons of the quality scores, where recordings have them."""
    rows, reasons = [], set()
    counted: dict[str, tuple[dict[str, int], float]] = {}
    for name in order:
        path = run.job(name).folder / FILE_NAME
        if not path.is_file():
            continue
        scores = read_quality(path)
        found, numbers = np.unique(scores.reject_reason, return_counts=True)
        row = {str(r) or "kept": int(n) for r, n in zip(found, numbers, strict=True)}
        expected = np.asarray(scores.expected_error_mm)
        seen = expected[np.isfinite(expected)]
        counted[name] = (row, float(seen.mean()) if len(seen) else math.nan)
        reasons |= set(row) - {"kept"}
    for name, (row, expected_mm) in counted.items():
        cells = [format_value(expected_mm), str(row.get("kept", 0))]
        cells += [str(row.get(reason, 0)) for reason in sorted(reasons)]
        rows.append(TextRow(name, tuple(TextCell(cell) for cell in cells)))
    header = ("recording", "expected error (mm)", "kept", *sorted(reasons))
    return TextTable("Rejected frames", header, tuple(rows)) if rows else None


def seam_table(
    run: FinishedRun, measures: Mapping[str, FrameMeasures], order: Sequence[str]
) -> TextTable:
    """Where windows of the result meet, and the largest step there."""
    rows = []
    for name in order:
        m, tallies = measures[name], run.metrics[name].methods[run.result]
        seams = np.flatnonzero(m.seams)
        steps = m.methods[run.result][STEP_MM]
        at_seams = steps[seams]
        inside = np.delete(steps, seams)
        largest, where = "–", "–"
        if np.isfinite(at_seams).any():
            place = int(seams[np.nanargmax(at_seams)])
            largest, where = f"{steps[place]:.1f}", f"{place} ({m.time_s[place]:.2f} s)"
        typical = f"{np.nanmedian(inside):.1f}" if np.isfinite(inside).any() else "–"
        ratios = [
            format_value(tallies[key].value) if key in tallies else "–"
            for key in ("seam_jump_v1", "seam_jump_local_v1")
        ]
        cells = (str(len(seams)), *ratios, typical, largest, where)
        rows.append(TextRow(name, tuple(TextCell(cell) for cell in cells)))
    header = (
        "recording",
        "seams",
        "step across / inside windows",
        "across / beside the seam",
        "median step inside (mm)",
        "largest step at a seam (mm)",
        "at frame",
    )
    note = "Mean step of the 22 body joints from frame to frame. A ratio of 1 means that seams are not felt."
    return TextTable("Window seams", header, tuple(rows), note)
