"""The figures of the scores as text, JSON and a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from pipelines.artifacts import write_bytes, write_json, write_text
from pipelines.quality.error_model import ErrorModel
from pipelines.quality.evaluation import (
    EvaluationSettings,
    Figure,
    QualityReport,
    auroc,
    gain_of_dropping,
    rank_correlation,
)
from pipelines.quality.known import KnownFrames

_LISTED = 12
Ablation = Mapping[str, tuple[float, float, float]]
"""Model -> AUROC, rank correlation, gain on the test recordings."""


def report_text(
    report: QualityReport,
    test: KnownFrames,
    expected_mm: Float[np.ndarray, " frames"],
    model: ErrorModel,
    ablation: Ablation,
    settings: EvaluationSettings,
) -> str:
    """Everything that was found, as Markdown."""
    parts = [
        f"Test: {report.recordings} recordings, {report.frames} frames, {report.bad_frames} of them above "
        f"{settings.bad_mm:g} mm; calibrated on {len(model.provenance['recordings'])} recordings, "
        f"{model.provenance['frames']} frames. In brackets 95 % intervals over recordings.",
        _headline(report, settings),
        "Calibration, bins of equally many frames:",
        _curve(report),
        "By recording:",
        _by_recording(test, expected_mm, settings),
        "Which observables matter (test recordings; the model is made anew for each line):",
        _ablation(ablation),
        "Heaviest observables of the formula:",
        _heaviest(model),
    ]
    return "\n\n".join(parts) + "\n"


def write_report(
    folder: Path,
    text: str,
    report: QualityReport,
    test: KnownFrames,
    expected_mm: Float[np.ndarray, " frames"],
    settings: EvaluationSettings,
) -> None:
    """Write `quality.md`, `quality.json` and `quality.png` into a folder."""
    write_text(folder / "quality.md", text)
    write_json(folder / "quality.json", asdict(report))
    _draw(folder / "quality.png", report, test, expected_mm, settings)


def _headline(report: QualityReport, settings: EvaluationSettings) -> str:
    rows = [
        (f"AUROC for V2V above {settings.bad_mm:g} mm", _figure(report.auroc, ".3f"), ">= 0.9"),
        ("Spearman, expected and true error", _figure(report.spearman, ".3f"), ">= 0.6"),
        (
            f"gain of dropping the worst-scored {100 * settings.dropped_share:g} %, share of the best "
            "possible",
            _figure(report.gain, ".0%"),
            ">= 60 %",
        ),
        ("mean true error (mm)", f"{report.mean_true_mm:.1f}", ""),
        ("mean expected error (mm)", _figure(report.mean_expected_mm, ".1f"), ""),
    ]
    return _table(("figure", "value", "wanted"), rows)


def _curve(report: QualityReport) -> str:
    rows = []
    for entry in report.bins:
        true = Figure(entry.true_mm, entry.true_interval_mm)
        rows.append((str(entry.frames), f"{entry.expected_mm:.1f}", _figure(true, ".1f")))
    return _table(("frames", "expected (mm)", "true (mm)"), rows)


def _by_recording(
    test: KnownFrames, expected_mm: Float[np.ndarray, " frames"], settings: EvaluationSettings
) -> str:
    rows = []
    for number, name in enumerate(test.recordings):
        own = test.of_recording(number)
        true, expected = test.error_mm[own], expected_mm[own]
        if len(true) == 0:
            continue
        rows.append(
            (
                name,
                test.families[number],
                str(len(true)),
                str(int((true > settings.bad_mm).sum())),
                f"{true.mean():.1f}",
                f"{expected.mean():.1f}",
                f"{rank_correlation(expected, true):.2f}",
            )
        )
    header = ("recording", "motion", "frames", "bad", "true (mm)", "expected (mm)", "Spearman inside")
    return _table(header, rows)


def _ablation(ablation: Ablation) -> str:
    rows = [
        (name, f"{area:.3f}", f"{rank:.3f}", f"{gain:.0%}")
        for name, (area, rank, gain) in ablation.items()
    ]
    return _table(("observables", "AUROC", "Spearman", "gain"), rows)


def _heaviest(model: ErrorModel) -> str:
    ordered = sorted(model.terms.items(), key=lambda item: -item[1].weight)[:_LISTED]
    rows = [(f"`{name}`", term.group, f"{model.slope * term.weight:.4f}") for name, term in ordered]
    return _table(("observable", "group", "log error per deviation"), rows)


def three_figures(
    expected_mm: Float[np.ndarray, " frames"],
    error_mm: Float[np.ndarray, " frames"],
    settings: EvaluationSettings,
) -> tuple[float, float, float]:
    """AUROC, rank correlation and gain."""
    return (
        auroc(expected_mm, error_mm > settings.bad_mm),
        rank_correlation(expected_mm, error_mm),
        gain_of_dropping(expected_mm, error_mm, settings.dropped_share),
    )


def _figure(figure: Figure, form: str) -> str:
    text = format(figure.value, form)
    if figure.interval is None:
        return text
    low, high = (format(end, form) for end in figure.interval)
    return f"{text} [{low}, {high}]"


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _draw(
    path: Path,
    report: QualityReport,
    test: KnownFrames,
    expected_mm: Float[np.ndarray, " frames"],
    settings: EvaluationSettings,
) -> None:
    """Expected against true error, and the mean error left when the worst-scored frames are dropped."""
    canvas = Canvas(figsize=(9.5, 4.2), layout="constrained")
    left, right = canvas.subplots(1, 2)
    true = test.error_mm
    limits = (0.8 * min(true.min(), expected_mm.min()), 1.2 * max(true.max(), expected_mm.max()))
    left.plot(limits, limits, color="black", linewidth=0.8, label="expected = true")
    left.scatter(expected_mm, true, s=5, color="#56B4E9", alpha=0.5, linewidths=0, label="frame")
    x = [entry.expected_mm for entry in report.bins]
    left.plot(x, [entry.true_mm for entry in report.bins], "o", color="#D55E00", label="mean of a bin")
    for entry in report.bins:
        if entry.true_interval_mm is not None:
            left.plot([entry.expected_mm] * 2, entry.true_interval_mm, color="#D55E00", linewidth=1.2)
    left.axhline(settings.bad_mm, color="#999999", linestyle=":", linewidth=1)
    left.set(xscale="log", yscale="log", xlim=limits, ylim=limits)
    left.set_xlabel("expected error (mm)")
    left.set_ylabel("true V2V error (mm)")
    left.legend(fontsize=8)
    dropped = np.arange(len(true) - 1)
    for label, order, color in (
        ("by expected error", np.argsort(expected_mm, kind="stable"), "#D55E00"),
        ("by true error (best possible)", np.argsort(true, kind="stable"), "#009E73"),
    ):
        kept = np.cumsum(true[order]) / np.arange(1, len(true) + 1)
        right.plot(100 * dropped / len(true), kept[::-1][: len(dropped)], color=color, label=label)
    right.axhline(true.mean(), color="#999999", linestyle=":", linewidth=1, label="none dropped")
    right.axvline(100 * settings.dropped_share, color="#999999", linestyle=":", linewidth=1)
    right.set(xlim=(0, 60), ylim=(0, None))
    right.set_xlabel("frames dropped (%)")
    right.set_ylabel("mean true error of the rest (mm)")
    right.legend(fontsize=8)
    FigureCanvasAgg(canvas)
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())
