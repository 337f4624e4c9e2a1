"""The page and its Markdown twin, from what was measured of each recording."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipelines.artifacts import write_text
from pipelines.config import settings_yaml
from pipelines.fitting.result import read_fit
from pipelines.metrics.charts import save_headline_chart
from pipelines.metrics.evaluate import TRUTH
from pipelines.metrics.overlay import METHOD_COLORS
from pipelines.metrics.tables import format_value, markdown
from pipelines.metrics.targets import check_targets
from pipelines.records import FittedSequence
from pipelines.report import charts, content, frame_tables
from pipelines.report.measures import FrameMeasures, read_measures
from pipelines.report.meshes import thin_out_scan
from pipelines.report.produce import MEASURES, VIEW
from pipelines.report.rerun_export import SUFFIX, write_rerun
from pipelines.report.run import FinishedRun, title_of
from pipelines.report.settings import ReportSettings
from pipelines.report.view import drawing_library, packed_bodies, packed_scene, read_view
from pipelines.report.worst import Verdict, rank_recordings, worst_frames

_log = logging.getLogger(__name__)

PAGE, MARKDOWN, HEADLINE = "report.html", "report.md", "headline.png"
"""Files of the report."""
_STALE = "the metrics were not made from these fits; run `make pseudo-gt` again"
_TIMELINE = (
    "Over time. Dashed: seams of fitting windows; grey: share of the joints hidden, where known; triangles: "
    "the frames pictured below. Spikes of the baseline may be cut off."
)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the page."""

    source: str
    """A data address."""
    text: str
    """Said of it; also its alternative text."""


@dataclass(frozen=True, slots=True)
class RecordingPage:
    """The section on one recording."""

    verdict: Verdict
    why: str
    timeline: Picture
    worst: tuple[Picture, ...]
    energies: Picture | None


def write_report(settings: ReportSettings, recordings: Sequence[str]) -> Path:
    """Write `report.html` and `report.md` over the recordings that were reported on.

    Raises:
        BackendMissing: there is a 3D view but no library to draw it, or rerun is asked for but not there.
    """
    run = FinishedRun.open(settings.run, settings.recordings)
    run = FinishedRun(
        run.settings, tuple(n for n in run.recordings if n in set(recordings)), run.unmeasured
    )
    report = _Report(settings, run)
    templates = page_templates()
    context = report.context()
    page = templates.get_template("report.html.j2").render(context)
    write_text(settings.folder / PAGE, page)
    write_text(settings.folder / MARKDOWN, templates.get_template("report.md.j2").render(context))
    size_mb = len(page.encode()) / 1e6
    _log.info("report: %s (%.1f MB)", settings.folder / PAGE, size_mb)
    if settings.rerun:
        report.write_rerun()
    return settings.folder / PAGE


def page_templates() -> Environment:
    """The templates; whatever they put into HTML is escaped, and a missing value is an error."""
    environment = Environment(
        loader=PackageLoader("pipelines.report"),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _markdown_cell
    return environment


@dataclass(frozen=True)
class _Report:
    settings: ReportSettings
    run: FinishedRun

    def context(self) -> dict[str, Any]:
        """What the templates lay out."""
        run, table, order = self.run, self.run.table, self.order
        tables = content.metric_tables(table, run.result)
        with_markers = {n: (run.job(n).folder, self.settings.folder / n) for n in order}
        return {
            "name": run.settings.name,
            "kind": table.data.kind,
            "has_truth": run.has_truth,
            "bodies": table.provenance.get("bodies", "bodies not named"),
            "num_recordings": len(order),
            "num_frames": table.data.num_frames,
            "result": title_of(run.result),
            "summary": self.summary(),
            "warnings": [*table.warnings, *(f"{name}: {_STALE}" for name in run.stale)],
            "left_out": {**table.data.left_out, **dict.fromkeys(run.unmeasured, "not measured")},
            "headline": tables[0],
            "more_tables": tables[1:],
            "targets": content.target_table(table),
            "recordings": content.recording_table(run, order),
            "scenes": content.scene_table(run),
            "pages": [self.recording_page(verdict) for verdict in self.verdicts],
            "statuses": frame_tables.status_table(self.fits),
            "exclusions": frame_tables.exclusion_table(run, order),
            "quality": frame_tables.quality_table(run, order),
            "seams": frame_tables.seam_table(run, self.measures, order),
            "provenance": content.provenance_table(table),
            "markers": content.marker_table(with_markers),
            "settings_yaml": settings_yaml(run.settings),
            "report_yaml": settings_yaml(
                self.settings.model_copy(update={"run": Path(run.settings.name), "out_dir": None})
            ),
            "metrics_markdown": markdown(table),
            "view": Markup(content.script_json(self.view())) if self.in_view else None,
            "three": Markup(drawing_library()) if self.in_view else None,
            "in_view": len(self.in_view),
            **self.charts(),
        }

    @cached_property
    def measures(self) -> dict[str, FrameMeasures]:
        """By recording."""
        return {n: read_measures(self.settings.folder / n / MEASURES) for n in self.run.recordings}

    @cached_property
    def fits(self) -> dict[str, dict[str, FittedSequence]]:
        """Recording -> method -> fit."""
        run = self.run
        return {
            name: {method: read_fit(run.job(name).fit_path(method)) for method in run.methods}
            for name in run.recordings
        }

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """Worst first."""
        s = self.settings
        return rank_recordings(
            self.run.metrics, self.measures, self.run.result, s.explain_above, s.worst.stretch_s
        )

    @property
    def order(self) -> list[str]:
        """Recordings, worst first."""
        return [verdict.recording for verdict in self.verdicts]

    @property
    def in_view(self) -> list[str]:
        """Recordings of the 3D view."""
        return self.order[: self.settings.view.recordings]

    def summary(self) -> list[str]:
        """What a hurried reader must know."""
        table, worst = self.run.table, self.verdicts[0]
        lines = []
        for key in ("v2v_v1", "pen_pooled_v1", "reproj_pooled_v1"):
            cell, base = table.cell(self.run.result, key), table.cell(table.baseline or "", key)
            if cell is None:
                continue
            against = f", baseline {format_value(base.value)}" if base is not None else ""
            title = {"v2v_v1": "Distance to the true bodies (V2V)", "pen_pooled_v1": "Penetration"}.get(
                key, "Reprojection"
            )
            lines.append(f"{title}: {format_value(cell.value)} {cell.unit}{against}.")
        account = table.accounting.get(self.run.result)
        if account is not None:
            lines.append(
                f"{account['num_valid']:.0f} of {account['num_person_seen']:.0f} frames with the person "
                f"seen have a valid body ({100 * account['share']:.1f} %)."
            )
        targets = check_targets(table)
        missed = [target.text for target in targets if target.met is False]
        if targets:
            told = sum(target.met is not None for target in targets)
            lines.append(f"Targets not met: {'; '.join(missed) or 'none'} (of {told}).")
        lines.append(f"Worst recording: {worst.recording}. {self.why(worst)}")
        return lines

    def why(self, verdict: Verdict) -> str:
        """One paragraph on what is wrong with a recording, and where."""
        parts = []
        reasons = list(verdict.reasons)
        if self.run.has_truth:
            times = [f", {r.times:.1f} x the median recording" for r in reasons if r.key == "v2v_v1"]
            parts.append(f"V2V {format_value(verdict.score)} mm{''.join(times)}.")
            reasons = [r for r in reasons if r.key != "v2v_v1"]
        if reasons:
            named = [f"{r.meaning} ({r.value}, {r.times:.1f} x the median recording)" for r in reasons]
            parts.append("Stands out: " + "; ".join(named) + ".")
        else:
            factor = self.settings.explain_above
            parts.append(f"No other figure exceeds the median recording {factor:g} times.")
        if verdict.harder:
            parts.append(f"Harder than usual: {'; '.join(verdict.harder)}.")
        if verdict.stretch is not None:
            s = verdict.stretch
            seconds = self.measures[verdict.recording].time_s
            parts.append(
                f"Worst stretch: frames {s.first} to {s.last} ({seconds[s.first]:.1f} to "
                f"{seconds[s.last]:.1f} s): {s.text}."
            )
        return " ".join(parts)

    def recording_page(self, verdict: Verdict) -> RecordingPage:
        """Time line, worst frames, energies of one recording."""
        name, run = verdict.recording, self.run
        measures = self.measures[name]
        worst = worst_frames(measures, run.result, self.settings.worst)
        shown = [m for m in (run.result, run.table.baseline) if m is not None]
        chart = charts.timeline_chart(measures, list(dict.fromkeys(shown)), worst)
        timeline = Picture(content.data_uri(chart, "image/svg+xml"), _TIMELINE)
        pictures = []
        for frame in worst:
            path = self.settings.folder / name / f"worst-{measures.frame_names[frame]}.jpg"
            methods = [*dict.fromkeys(shown), *([TRUTH] if run.has_truth else [])]
            text = content.frame_caption(measures, frame, methods)
            pictures.append(Picture(content.data_uri(path.read_bytes(), "image/jpeg"), text))
        stored = run.job(name).folder / "pictures" / "energies.png"
        energies = None
        if stored.is_file():
            source = content.data_uri(stored.read_bytes(), "image/png")
            energies = Picture(source, f"{name}: energy terms after each stage, a grey line per window")
        return RecordingPage(verdict, self.why(verdict), timeline, tuple(pictures), energies)

    def charts(self) -> dict[str, Picture | None]:
        """Charts over all recordings."""
        run, order = self.run, self.order
        measures = list(self.measures.values())
        rows = [*run.methods, *([TRUTH] if run.has_truth else [])]
        energy = charts.energy_chart({n: self.fits[n][run.result] for n in order}, order[0])
        return {
            "distribution_chart": _svg(
                charts.distribution_chart(measures, rows),
                "Share of the frames at or below each value, by method; farther left is better. "
                "The axes end where 97 % of every method's frames are shown.",
            ),
            "recordings_chart": _svg(
                charts.recordings_chart(run.metrics, order, list(run.methods)),
                "Figures of each recording, worst on top, a mark for each method; farther left is better",
            ),
            "energy_chart": _svg(energy, f"Energy terms after each stage; coloured: {order[0]}")
            if energy
            else None,
            "headline_chart": self._headline_chart(),
        }

    def view(self) -> dict[str, Any]:
        """Bodies and scans of the 3D view."""
        s, scenes, recordings = self.settings.view, {}, []
        for name in self.in_view:
            job = self.run.job(name)
            scene = self.run.metrics[name].scene
            if scene not in scenes:
                scenes[scene] = packed_scene(thin_out_scan(job.scene, s.scene_vertices), s)
            view = read_view(self.settings.folder / name / VIEW)
            titles = {method: title_of(method) for method in view.positions}
            recordings.append(
                {"name": name, "scene": scene}
                | {"camera": self.fits[name][self.run.result].T_world_from_camera.tolist()}
                | {"seconds": [round(float(t), 3) for t in self.measures[name].time_s[view.frames]]}
                | packed_bodies(view, titles, METHOD_COLORS)
            )
        contact_mm = 1000 * self.settings.measure.contact_m
        return {"unit": s.unit_m, "contact_mm": contact_mm, "scenes": scenes, "recordings": recordings}

    def write_rerun(self) -> None:
        """A file of the rerun viewer for each recording."""
        for name in self.run.recordings:
            path = self.settings.folder / f"{name}{SUFFIX}"
            view = read_view(self.settings.folder / name / VIEW)
            write_rerun(path, self.run.job(name), self.measures[name], view, self.settings)

    def _headline_chart(self) -> Picture:
        path = save_headline_chart(self.settings.folder / HEADLINE, self.run.table)
        text = "Headline figures with 95 % intervals; lower is better"
        return Picture(content.data_uri(path.read_bytes(), "image/png"), text)


def _svg(chart: str, text: str) -> Picture:
    return Picture(content.data_uri(chart, "image/svg+xml"), text)


def _markdown_cell(value: object) -> str:
    """Text that cannot break a Markdown table or become HTML."""
    text = str(value).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return " ".join(text.split())
