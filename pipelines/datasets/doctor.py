"""What of a PROX tree is present, missing or broken, and where each licensed file comes from.

Nothing here raises for the state of the data: every problem becomes a line of the report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from tqdm import tqdm

from pipelines.bodies.files import BodyFiles
from pipelines.datasets.doctor_text import report_text
from pipelines.datasets.layout import Modality
from pipelines.datasets.openpose import read_people
from pipelines.datasets.prox import ProxDataset
from pipelines.datasets.proxd import BODY_KEYS, read_proxd
from pipelines.datasets.settings import ProxSettings
from pipelines.errors import DataInvalid, DataMissing, PipelineError

Severity = Literal["error", "warning", "note"]
T = TypeVar("T")

SAMPLED_FRAMES = 12
"""Files opened per recording and modality, unless all are asked for."""
_CHECKED: tuple[Modality, ...] = ("color", "depth", "mask_color", "keypoints", "fit")
_NEEDED: frozenset[Modality] = frozenset({"depth", "mask_color", "keypoints"})

_PROX_SITE = "PROX site (prox.is.tue.mpg.de, registration)"
WHERE_TO_GET: dict[str, str] = {
    "recordings": f"{_PROX_SITE}: recordings/<recording>.zip",
    "calibration": f"{_PROX_SITE}: calibration.zip",
    "cam2world": f"{_PROX_SITE}: cam2world.zip",
    "scenes": f"{_PROX_SITE}: scenes.zip",
    "sdf": f"{_PROX_SITE}: sdf.zip",
    "body_segments": f"{_PROX_SITE}: body_segments.zip",
    "PROXD": f"{_PROX_SITE}: PROXD.zip (released fits; without it the baseline is fitted here)",
    "keypoints": "not published for the qualitative set: run OpenPose (BODY_25, hands, face, JSON) on "
    "the colour images, or take the HuMoR project's PROX archive (keypoints of the raw images)",
    "floors": "the HuMoR project's PROX archive (optional; else estimated from the scan)",
    "SMPL-X": "SMPL-X site (smpl-x.is.tue.mpg.de): SMPLX_{NEUTRAL,MALE,FEMALE}.npz and the SMPL-X to "
    "SMPL+H transfer data",
    "SMPL+H": "MANO site (mano.is.tue.mpg.de): extended SMPL+H model, one model.npz per gender",
    "HuMoR": "HuMoR repository (github.com/davrempe/humor): checkpoints humor and init_state_prior_gmm",
    "VPoser": "SMPL-X site: VPoser v1.0",
}
"""Sites as they are commonly known; each asks to accept its licence."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    severity: Severity
    subject: str
    """Recording, scene or file group."""
    text: str


@dataclass(frozen=True, slots=True)
class RecordingReport:
    """Counts of one recording."""

    name: str
    gender: str
    frames: int
    segments: int
    present: dict[str, int]
    """Files by modality."""
    opened: dict[str, int]
    """Files opened by modality."""
    broken: dict[str, int]
    """Of those opened."""
    keypoints_frame: str
    """raw, flipped or unknown, with the evidence."""


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """Everything found out about a tree."""

    root: str
    findings: tuple[Finding, ...]
    recordings: tuple[RecordingReport, ...] = ()
    where_to_get: dict[str, str] = field(default_factory=dict)
    """Only what is missing."""

    @property
    def ok(self) -> bool:
        """True when every recording can be fitted (notes and warnings allowed)."""
        return not any(finding.severity == "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        return {"ok": self.ok, **asdict(self)}

    def to_text(self) -> str:
        """The report as a plain-text table followed by the findings."""
        return report_text(self.to_json())


def check_tree(
    root: Path,
    settings: ProxSettings | None = None,
    body_files: BodyFiles | None = None,
    *,
    full: bool = False,
    progress: bool = False,
) -> DoctorReport:
    """Look at everything a run would read.

    Args:
        root: PROX base folder or its `qualitative` folder.
        settings: how the tree would be read.
        body_files: body models to check too.
        full: open every file of every frame instead of a sample.
        progress: show a bar.
    """
    examination = _Examination(full)
    dataset = examination.attempt("tree", None, lambda: ProxDataset(root, settings, body_files))
    if dataset is None:
        examination.lacks("recordings")
        return examination.report(root, ())
    examination.shared(dataset)
    names = examination.attempt("recordings", "recordings", dataset.recordings) or ()
    if not names:
        examination.add("error", "recordings", "no recording found")
        examination.lacks("recordings")
    for scene in sorted({dataset.scene_name(name) for name in names}):
        examination.scene(dataset, next(n for n in names if dataset.scene_name(n) == scene), scene)
    if body_files is not None:
        examination.bodies(body_files, {dataset.gender(name) for name in names})
    shown = tqdm(names, desc="looking at recordings", unit="recording", disable=not progress)
    return examination.report(root, tuple(examination.recording(dataset, name) for name in shown))


class _Examination:
    """Collects findings; one method per thing looked at."""

    def __init__(self, full: bool) -> None:
        self._full = full
        self._findings: list[Finding] = []
        self._lacking: set[str] = set()

    def report(self, root: Path, recordings: tuple[RecordingReport, ...]) -> DoctorReport:
        rank = {"error": 0, "warning": 1, "note": 2}
        findings = sorted(self._findings, key=lambda finding: rank[finding.severity])
        lacking = {name: text for name, text in WHERE_TO_GET.items() if name in self._lacking}
        return DoctorReport(str(root), tuple(findings), recordings, lacking)

    def add(self, severity: Severity, subject: str, text: str) -> None:
        self._findings.append(Finding(severity, subject, text))

    def lacks(self, group: str) -> None:
        self._lacking.add(group)

    def attempt(
        self, subject: str, group: str | None, look: Callable[[], T], severity: Severity = "error"
    ) -> T | None:
        try:
            return look()
        except PipelineError as error:
            self.add(severity, subject, str(error))
            if group is not None and isinstance(error, DataMissing):
                self.lacks(group)
            return None

    def shared(self, dataset: ProxDataset) -> None:
        self.attempt("calibration", "calibration", lambda: dataset.calibration)
        self.attempt("body_segments", "body_segments", dataset.body_segments, "warning")
        if not (dataset.layout.base / "PROXD").is_dir():
            self.add("note", "PROXD", "no released fits: the baseline will be fitted here")
            self.lacks("PROXD")

    def scene(self, dataset: ProxDataset, recording: str, scene: str) -> None:
        self.attempt(scene, "cam2world", lambda: dataset.camera_pose(recording))
        self.attempt(scene, "scenes", lambda: dataset.floor_camera(recording))
        for path in dataset.layout.sdf_files(scene)[:2]:
            if not path.is_file():
                self.lacks("sdf")
        self.attempt(scene, None, lambda: dataset.scene(recording))

    def bodies(self, files: BodyFiles, genders: set[Any]) -> None:
        if files.is_standin:
            self.add("note", "bodies", "licence-free stand-in bodies are used, not SMPL-X and SMPL+H")
        groups = {"smplx": "SMPL-X", "smplh": "SMPL+H", "transfer": "SMPL-X"}
        for gender in sorted(genders):
            for name, message in files.missing(gender).items():
                severity: Severity = "error" if name in groups else "warning"
                self.add(severity, f"bodies ({gender})", message)
                if name in groups:
                    self.lacks(groups[name])

    def recording(self, dataset: ProxDataset, name: str) -> RecordingReport:
        table = self.attempt(name, "recordings", lambda: dataset.frames(name))
        if table is None:
            return RecordingReport(name, dataset.gender(name), 0, 0, {}, {}, {}, "unknown")
        present: dict[str, int] = {m: int(there.sum()) for m, there in table.present.items()}
        fits = [dataset.layout.file(name, "fit", frame).is_file() for frame in table.names]
        present["fit"] = sum(fits)
        for modality in _CHECKED:
            self._missing(name, modality, present[modality], len(table))
        if present["keypoints"] == 0 and 0 in (present["depth"], present["mask_color"]):
            self.add("error", name, "neither keypoints nor depth with masks: nothing to fit to")
        opened, broken = self._open(dataset, name, table.names)
        return RecordingReport(
            name=name,
            gender=dataset.gender(name),
            frames=len(table),
            segments=int(table.segment_id.max()) + 1,
            present=present,
            opened=opened,
            broken=broken,
            keypoints_frame=self._keypoints_frame(dataset, name, present["keypoints"]),
        )

    def _missing(self, name: str, modality: Modality, present: int, frames: int) -> None:
        if present == frames or (modality == "fit" and present == 0):
            return
        severity: Severity = "warning" if modality in _NEEDED else "note"
        self.add(severity, name, f"{frames - present} of {frames} frames have no {modality} file")
        if present == 0 and modality in _NEEDED:
            self.lacks("keypoints" if modality == "keypoints" else "recordings")

    def _keypoints_frame(self, dataset: ProxDataset, name: str, files: int) -> str:
        if files == 0:
            return "unknown (no keypoints)"
        finding = self.attempt(name, None, lambda: dataset.keypoints_frame(name))
        return "unknown" if finding is None else f"{finding.frame} ({finding.evidence})"

    def _open(
        self, dataset: ProxDataset, name: str, frames: tuple[str, ...]
    ) -> tuple[dict[str, int], dict[str, int]]:
        count = len(frames) if self._full else SAMPLED_FRAMES
        picked = np.unique(np.linspace(0, len(frames) - 1, count).astype(np.int64))
        opened: Counter[str] = Counter()
        broken: Counter[str] = Counter()
        first: dict[str, str] = {}
        for frame in picked:
            for modality in _CHECKED:
                try:
                    _open_one(dataset, name, modality, frames[frame])
                except DataMissing:
                    continue  # counted by name already
                except DataInvalid as error:
                    broken[modality] += 1
                    first.setdefault(modality, str(error))
                opened[modality] += 1
        for kind, number in broken.items():
            text = f"{number} of {opened[kind]} {kind} files opened are broken; the first:\n"
            self.add("warning", name, text + first[kind])
        return dict(opened), dict(broken)


def _open_one(dataset: ProxDataset, recording: str, modality: Modality, frame: str) -> None:
    if modality == "color":
        dataset.color_image(recording, frame)
    elif modality == "depth":
        dataset.depth_image(recording, frame)
    elif modality == "mask_color":
        dataset.person_mask(recording, frame)
    elif modality == "keypoints":
        read_people(dataset.layout.file(recording, "keypoints", frame))
    else:
        path = dataset.layout.file(recording, "fit", frame)
        values = read_proxd(path)
        if not all(np.isfinite(values[key]).all() for key in BODY_KEYS):
            raise DataInvalid("released fit holds NaN", where=path)
