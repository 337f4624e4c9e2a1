"""The verb `marker-errors`: every fit of a run against marker capture, or against a data set's own bodies.

    make pseudo-gt SET="prox.root=/data/prox/quantitative prox.split=quantitative prox.frame_rate_hz=5"
    make marker-errors SET="run=outputs/pseudo-gt/quantitative"

On PROX quantitative the truth is read from its tree; else it is a file with one recording's bodies (the verb
`egobody-capture` writes one). Writes `marker_errors.json` and `marker_errors.md` into the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from pipelines.artifacts import write_json, write_text
from pipelines.bodies.files import BodyFiles
from pipelines.config import Settings
from pipelines.errors import DataInvalid, DataMissing, SettingsInvalid
from pipelines.fitting.humor import rows_of
from pipelines.fitting.result import read_fit
from pipelines.marker_truth import MarkerErrors, compare_with_markers
from pipelines.metrics.tables import format_value
from pipelines.other_datasets.prox_quantitative import ProxQuantitative
from pipelines.pseudo_gt.data import body_files, data_source, list_recordings
from pipelines.pseudo_gt.fit import RecordingJob, baseline_name
from pipelines.pseudo_gt.settings import RUN_FIRST, PseudoGtSettings, read_run
from pipelines.records import FRAME_OK, FittedSequence, FrameStatus

COLUMNS: Final = {
    "pje_mm": "PJE",
    "v2v_mm": "V2V",
    "p_pje_mm": "p.PJE",
    "p_v2v_mm": "p.V2V",
    "global_v2v_mm": "V2V, not aligned",
}
PUBLISHED: Final = {
    "RGB only": (220.27, 218.06, 73.24, 60.80),
    "PROX": (167.08, 166.51, 71.97, 61.14),
    "POSA": (154.33, 154.84, 73.17, 63.23),
}
"""In the order of `COLUMNS`. Source: POSA, table 5, as told in the metrics page, section 3."""
RESULT: Final = "marker_errors.json"
REPORT: Final = "marker_errors.md"
_NOTES: Final = """\
Millimetres, mean over the frames that every row and the true bodies have. PJE and V2V: after the pelvis
is put on the true one; p.: after a similarity. Bodies are compared on the 22 joints and 6890 vertices that
all methods share."""
_PUBLISHED_NOTE: Final = "The published figures are on SMPL-X; which joints they take is not stated."
_STANDIN: Final = "Bodies are the stand-in's: these figures and published ones have nothing in common."


class MarkerErrorSettings(Settings):
    """Which run is measured."""

    run: Path
    """Folder of a pseudo-gt run."""
    truth: Path | None = None
    """A fit file (npz) with the bodies to compare with, of one recording of the run; empty = the marker
    capture of PROX quantitative."""


def measure_marker_errors(settings: MarkerErrorSettings) -> str:
    """Measure every row of every recording, write the table into the run, and return it.

    Raises:
        DataMissing: no run, no truth, or none of the recordings is fitted.
        DataInvalid: truth and fits have other frames, or the truth is of no recording of the run.
        SettingsInvalid: no truth is given, and the run is not on PROX quantitative.
    """
    run = read_run(settings.run)
    data, files = data_source(run), body_files(run)
    names, truth_of = _truth_of(settings, run, list_recordings(run, data))
    found, unfitted = {}, []
    for name in names:
        job = RecordingJob(run, data, name)
        rows = (baseline_name(job), *rows_of(run.humor))
        if all(job.fit_path(row).is_file() for row in rows):
            fits = {row: read_fit(job.fit_path(row)) for row in rows}
            found[name] = recording_errors(fits, truth_of(name), files)
        else:
            unfitted.append(name)
    if not found:
        raise DataMissing(
            "no recording of the run is fitted",
            where=settings.run,
            found=", ".join(unfitted[:5]),
            fix=RUN_FIRST,
        )
    pooled = pool_errors(list(found.values()))
    published = PUBLISHED if settings.truth is None else {}
    text = _markdown(pooled, published, unfitted, files)
    write_json(settings.run / RESULT, _content(pooled, found, published, unfitted, files))
    write_text(settings.run / REPORT, text)
    return text


def recording_errors(
    fits: Mapping[str, FittedSequence], truth: FittedSequence, files: BodyFiles
) -> dict[str, MarkerErrors]:
    """Errors of each row on the frames that all rows have."""
    statuses = zip(*(fitted.status for fitted in fits.values()), strict=True)
    common: tuple[FrameStatus, ...] = tuple(
        next((reason for reason in reasons if reason), FRAME_OK) for reasons in statuses
    )
    return {
        row: compare_with_markers(replace(fitted, status=common), truth, files)
        for row, fitted in fits.items()
    }


def pool_errors(recordings: Sequence[Mapping[str, MarkerErrors]]) -> dict[str, MarkerErrors]:
    """Each row over several recordings; all frames count alike."""
    pooled = {}
    for row in recordings[0]:
        parts = [rows[row] for rows in recordings if rows[row].frames]
        frames = sum(part.frames for part in parts)
        left_out: Counter[str] = Counter()
        for rows in recordings:
            left_out.update(rows[row].left_out)
        means = {
            name: sum(getattr(part, name) * part.frames for part in parts) / frames
            if frames
            else float("nan")
            for name in COLUMNS
        }
        pooled[row] = MarkerErrors(**means, frames=frames, left_out=dict(sorted(left_out.items())))
    return pooled


def _truth_of(
    settings: MarkerErrorSettings, run: PseudoGtSettings, names: Sequence[str]
) -> tuple[Sequence[str], Callable[[str], FittedSequence]]:
    """Recordings that have true bodies, and the way to them; camera frame."""
    if settings.truth is not None:
        stored = read_fit(settings.truth)
        if stored.recording not in names:
            raise DataInvalid(
                "the truth is of no recording of the run",
                where=settings.truth,
                expected=", ".join(names[:5]),
                found=stored.recording,
            )
        return (stored.recording,), lambda _: stored
    if run.prox.root is None or run.prox.split != "quantitative":
        raise SettingsInvalid(
            "the run is not on PROX quantitative, so it has no marker capture",
            found="embedded data" if run.prox.root is None else f"prox.split: {run.prox.split}",
            fix="give truth=<fit file with the bodies to compare with>",
        )
    return names, ProxQuantitative(run.prox.root, body_files(run), run.prox).truth


def _content(
    pooled: Mapping[str, MarkerErrors],
    found: Mapping[str, Mapping[str, MarkerErrors]],
    published: Mapping[str, Sequence[float]],
    unfitted: Sequence[str],
    files: BodyFiles,
) -> dict[str, Any]:
    return {
        "rows": {row: asdict(errors) for row, errors in pooled.items()},
        "recordings": {
            name: {row: asdict(e) for row, e in rows.items()} for name, rows in found.items()
        },
        # No published figure is without alignment, the last column.
        "published": {
            row: dict(zip(COLUMNS, figures, strict=False)) for row, figures in published.items()
        },
        "not_fitted": list(unfitted),
        "bodies": "stand-in" if files.is_standin else "licensed",
    }


def _markdown(
    pooled: Mapping[str, MarkerErrors],
    published_rows: Mapping[str, Sequence[float]],
    unfitted: Sequence[str],
    files: BodyFiles,
) -> str:
    against = "marker capture, PROX quantitative" if published_rows else "the data set's own bodies"
    lines = [f"# Fits against {against}", ""]
    lines += [_row(["row", *COLUMNS.values(), "frames"]), _row(["---"] * (len(COLUMNS) + 2))]
    for row, errors in pooled.items():
        figures = [format_value(getattr(errors, name)) for name in COLUMNS]
        lines.append(_row([row, *figures, str(errors.frames)]))
    for row, published in published_rows.items():
        lines.append(_row([f"*{row}, published*", *(f"*{value}*" for value in published), "", "*180*"]))
    first = next(iter(pooled.values()))
    left_out = ", ".join(f"{count} {reason}" for reason, count in first.left_out.items())
    lines += ["", _NOTES, *([_PUBLISHED_NOTE] if published_rows else []), ""]
    lines += [f"Frames left out: {left_out or 'none'}."]
    lines += [f"Recordings that are not fitted: {', '.join(unfitted)}."] if unfitted else []
    return "\n".join([*lines, *([_STANDIN] if files.is_standin else []), ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
