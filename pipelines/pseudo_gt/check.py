"""Everything a run would read, looked at before any work: the tree, the bodies, the priors.

Nothing here raises for the state of the files: every problem becomes a line of the report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.bodies.files import BodyFiles
from pipelines.datasets.doctor import WHERE_TO_GET, DoctorReport, Finding, check_tree
from pipelines.errors import DataMissing, PipelineError
from pipelines.motion_prior.checkpoint import (
    PriorSettings,
    load_initial_state_prior,
    load_motion_prior,
    load_pose_prior,
)
from pipelines.pseudo_gt.data import (
    DataSource,
    body_files,
    data_source,
    list_recordings,
    prepare_recording,
)
from pipelines.pseudo_gt.settings import PseudoGtSettings

_RANK = {"error": 0, "warning": 1, "note": 2}
_PRIORS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "motion": (load_motion_prior, "HuMoR"),
    "pose": (load_pose_prior, "VPoser"),
    "initial_state": (load_initial_state_prior, "HuMoR"),
}
"""Setting below `priors` -> how its file is read, and the licensed file it stands for."""


def check_inputs(settings: PseudoGtSettings) -> DoctorReport:
    """Look at everything a run would read; the synthetic tree is written first."""
    data = data_source(settings)
    findings, lacking = _check_priors(settings.priors)
    try:
        _write_synthetic(settings, data)
    except PipelineError as error:
        findings.append(Finding("error", "recordings", str(error)))
    files: BodyFiles | None = None
    try:
        files = body_files(settings)
    except PipelineError as error:
        findings.append(Finding("error", "bodies", str(error)))
        lacking |= {"SMPL-X", "SMPL+H"}
    report = check_tree(data.prox_root, settings.prox, files)
    return _extended(report, findings, lacking)


def _write_synthetic(settings: PseudoGtSettings, data: DataSource) -> None:
    if data.truth_root is None:
        return
    for recording in list_recordings(settings, data):
        prepare_recording(settings, data, recording)


def _check_priors(settings: PriorSettings) -> tuple[list[Finding], set[str]]:
    """Lines about the priors, and the licensed files that are asked for but not there."""
    findings, lacking = [], set()
    for name, (load, licensed) in _PRIORS.items():
        path: Path | None = getattr(settings, name)
        if path is None:
            continue
        try:
            load(path)
        except PipelineError as error:
            findings.append(Finding("error", f"priors.{name}", str(error)))
            if isinstance(error, DataMissing):
                lacking.add(licensed)
    shipped = [name for name in _PRIORS if getattr(settings, name) is None]
    if shipped:
        text = f"the small priors that come with the package are used for: {', '.join(shipped)}"
        findings.append(Finding("note", "priors", text))
    return findings, lacking


def _extended(report: DoctorReport, findings: list[Finding], lacking: set[str]) -> DoctorReport:
    """The same report with more lines, worst first."""
    everything = sorted([*report.findings, *findings], key=lambda finding: _RANK[finding.severity])
    wanted = lacking | set(report.where_to_get)
    return replace(
        report,
        findings=tuple(everything),
        where_to_get={name: text for name, text in WHERE_TO_GET.items() if name in wanted},
    )
