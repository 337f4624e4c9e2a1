"""Where everything lies in a PROX tree, and what its names mean."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pipelines.errors import DataInvalid, DataMissing
from pipelines.records import Gender

Modality = Literal["color", "depth", "mask_color", "mask_depth", "keypoints", "skeleton", "fit"]

FEMALE_SUBJECTS = frozenset({159, 162, 3403, 3452})
"""Everyone else is male. Source: prox renderer.py, humor datasets/prox_dataset.py."""

_RECORDING = re.compile(r"^(?P<scene>[^_]+)_(?P<subject>\d+)_(?P<take>\d+)$")
_FRAME = re.compile(r"^s(\d+)_frame_(\d+)__(\d+)\.(\d+)\.(\d+)\.(\d+)$")
_LAYOUT_FIX = (
    "set prox.root to the folder that holds qualitative/recordings "
    "(download from the PROX site, prox.is.tue.mpg.de), or leave it empty for the embedded data"
)


@dataclass(frozen=True, slots=True)
class RecordingName:
    """`<Scene>_<SubjectID>_<take>`."""

    scene: str
    subject: int
    take: int

    @staticmethod
    def parse(name: str) -> RecordingName | None:
        """None for a folder that is no recording."""
        match = _RECORDING.match(name)
        if match is None:
            return None
        # The number, not its digits: comparing "00159" with 159 makes everyone male.
        return RecordingName(match["scene"], int(match["subject"]), int(match["take"]))


@dataclass(frozen=True, slots=True)
class FrameName:
    """`s<clip>_frame_<index>__HH.MM.SS.mmm`."""

    clip: int
    index: int
    timestamp_s: float

    @staticmethod
    def parse(name: str) -> FrameName | None:
        """None for a file that is no frame."""
        match = _FRAME.match(name)
        if match is None:
            return None
        clip, index, hours, minutes, seconds, milliseconds = (int(group) for group in match.groups())
        total_ms = ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds
        return FrameName(clip, index, total_ms / 1000)


@dataclass(frozen=True, slots=True)
class ProxLayout:
    """Paths below `<root>/qualitative` (or quantitative)."""

    base: Path
    keypoints_folder: str = "keypoints"

    @staticmethod
    def find(root: Path, split: str, keypoints_folder: str = "keypoints") -> ProxLayout:
        """Accept the PROX base folder or the qualitative folder itself.

        Raises:
            DataMissing: neither holds a `recordings` folder.
        """
        for base in (root / split, root):
            if (base / "recordings").is_dir():
                return ProxLayout(base, keypoints_folder)
        raise DataMissing(
            "not a PROX tree",
            where=root,
            expected=f"{split}/recordings/ or recordings/ below it",
            found=_nearby(root, split),
            fix=_LAYOUT_FIX,
        )

    def folder(self, recording: str, modality: Modality) -> Path:
        """Folder of one modality of one recording."""
        if modality == "keypoints":
            return self.base / self.keypoints_folder / recording
        if modality == "fit":
            return self.base / "PROXD" / recording / "results"
        return self.base / "recordings" / recording / _FOLDERS[modality]

    def file(self, recording: str, modality: Modality, frame_name: str) -> Path:
        """File of one modality of one frame."""
        folder = self.folder(recording, modality)
        return folder / f"{frame_name}{SUFFIXES[modality]}"

    def calibration(self, camera: Literal["Color", "IR"]) -> Path:
        """Calibration of one camera; one pair for the whole set."""
        return self.base / "calibration" / f"{camera}.json"

    def cam2world(self, scene: str) -> Path:
        """Pose of the colour camera in the scene's scan."""
        return self.base / "cam2world" / f"{scene}.json"

    def scan(self, scene: str) -> Path:
        """Mesh of the scene."""
        return self.base / "scenes" / f"{scene}.ply"

    def sdf_folder(self) -> Path:
        """`sdf`, or `scenes_sdf` as LEMO calls it."""
        other = self.base / "scenes_sdf"
        return other if other.is_dir() and not (self.base / "sdf").is_dir() else self.base / "sdf"

    def sdf_files(self, scene: str) -> tuple[Path, Path, Path]:
        """Grid description, values, normals."""
        folder = self.sdf_folder()
        return (
            folder / f"{scene}.json",
            folder / f"{scene}_sdf.npy",
            folder / f"{scene}_normals.npy",
        )

    def segments(self) -> Path:
        """Folder of the contact parts."""
        return self.base / "body_segments"

    def humor_floor(self, scene: str) -> Path:
        """HuMoR's own floor plane, from its extra download."""
        return self.base / "floors" / f"{scene}.txt"

    def humor_planes(self, scene: str) -> Path:
        """HuMoR's PlaneRCNN results, from its extra download."""
        return self.base / "planes" / scene


def _nearby(root: Path, split: str) -> str:
    """Where a tree lies instead: archives unpack with a folder more or less; else what there is."""
    if not root.is_dir():
        return "no such folder"
    below = sorted(path for path in root.iterdir() if path.is_dir())
    for folder, which in ((root.parent, "higher"), *((path, "deeper") for path in below)):
        if any((base / "recordings").is_dir() for base in (folder / split, folder)):
            return f"the tree lies a folder {which}, in {folder}"
    return ", ".join(path.name for path in below[:8]) or "no folder in it"


_FOLDERS: dict[Modality, str] = {
    "color": "Color",
    "depth": "Depth",
    "mask_color": "BodyIndexColor",
    "mask_depth": "BodyIndex",
    "skeleton": "Skeleton",
}
SUFFIXES: dict[Modality, str] = {
    "color": ".jpg",
    "depth": ".png",
    "mask_color": ".png",
    "mask_depth": ".png",
    "skeleton": ".json",
    "keypoints": "_keypoints.json",
    "fit": "/000.pkl",
}


def gender_of(recording: str, subject: int, overrides: Mapping[str, Gender]) -> Gender:
    """Gender of a recording's subject: by recording name, by subject number, else PROX's list."""
    by_subject = {int(key): value for key, value in overrides.items() if key.isdigit()}
    if recording in overrides:
        return overrides[recording]
    return by_subject.get(subject, "female" if subject in FEMALE_SUBJECTS else "male")


def read_genders(path: Path) -> dict[str, Gender]:
    """Read an override file: a JSON mapping of subject number or recording name to gender."""
    content = read_json(path)
    if not isinstance(content, dict) or any(value not in get_args(Gender) for value in content.values()):
        raise DataInvalid(
            "bad genders file", where=path, expected='{"00159": "female" | "male" | "neutral", ...}'
        )
    return content


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataMissing: no such file.
        DataInvalid: empty or malformed.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataMissing("file not found", where=path) from None
    except (OSError, ValueError) as error:
        raise DataInvalid(f"not valid JSON: {error}", where=path, fix="get the file again") from None
