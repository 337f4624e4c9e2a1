"""Where the recordings come from: the user's PROX, or the embedded synthetic tree."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from pipelines.artifacts import hash_content, hash_file, hash_listing
from pipelines.bodies.files import BodyFiles, resolve_body_files
from pipelines.datasets.prox import ProxDataset
from pipelines.errors import DataMissing
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.records import Gender
from pipelines.synthetic.presets import SyntheticSettings, synthetic_preset
from pipelines.synthetic.prox_tree import write_prox_tree

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DataSource:
    """A PROX tree, and the truth that belongs to it where there is one."""

    prox_root: Path
    truth_root: Path | None
    preset: str | None


def data_source(settings: PseudoGtSettings) -> DataSource:
    """The user's tree, or where the synthetic one belongs."""
    if settings.prox.root is not None:
        return DataSource(settings.prox.root, None, None)
    folder = settings.run_dir / "data"
    return DataSource(folder / "prox", folder / "truth", settings.preset)


def prepare_recording(
    settings: PseudoGtSettings, data: DataSource, recording: str, progress: bool = False
) -> None:
    """Write a synthetic recording unless it is there; a user's own tree is never written to."""
    if data.truth_root is None:
        return
    write_prox_tree(
        data.prox_root,
        data.truth_root,
        _preset(settings),
        resolve_body_files(None),
        only=recording,
        progress=progress,
    )


def open_dataset(settings: PseudoGtSettings, data: DataSource) -> ProxDataset:
    """The reader of the tree; of the synthetic one it is known which image the keypoints belong to."""
    reader = settings.prox
    if data.truth_root is not None and reader.keypoints_frame == "auto":
        reader = reader.model_copy(update={"keypoints_frame": _preset(settings).keypoints_frame})
    return ProxDataset(data.prox_root, reader, body_files(settings))


def list_recordings(settings: PseudoGtSettings, data: DataSource) -> tuple[str, ...]:
    """Recordings to work on.

    Raises:
        DataMissing: the tree holds none, or none that `prox.recordings` asks for.
    """
    if data.truth_root is None:
        names = open_dataset(settings, data).recordings()
    else:
        patterns = settings.prox.recordings or ("*",)
        made = [spec.name for spec in _preset(settings).recordings]
        names = tuple(name for name in made if any(fnmatchcase(name, p) for p in patterns))
    if not names:
        raise DataMissing(
            "no recording to work on",
            where=data.prox_root,
            expected=settings.prox.recordings or "folders below recordings/",
            fix="run `make doctor` to see what the tree holds",
        )
    return names


def body_files(settings: PseudoGtSettings) -> BodyFiles:
    """Body models of this run."""
    return resolve_body_files(settings.body_models)


def recording_inputs(
    settings: PseudoGtSettings, data: DataSource, recording: str, gender: Gender
) -> dict[str, str]:
    """Hash of everything on disk a fit of this recording reads."""
    base = data.prox_root / settings.prox.split
    base = base if base.is_dir() else data.prox_root
    scene = recording.split("_")[0]
    hash_files = hash_listing if settings.inputs == "listing" else hash_content
    patterns = {
        "recording": (f"recordings/{recording}/**/*",),
        "keypoints": (f"{settings.prox.keypoints_folder}/{recording}/*",),
        "released fits": (f"PROXD/{recording}/**/*",),
        "calibration": ("calibration/*", f"cam2world/{scene}.json"),
        "floor": (f"floors/{scene}.txt", f"planes/{scene}/*"),
        "scene": (f"scenes/{scene}*", f"sdf/{scene}*", f"scenes_sdf/{scene}*"),
        "body segments": ("body_segments/*",),
    }
    hashes = {name: hash_files(base, globs) for name, globs in patterns.items()}
    if settings.prox.edited_scenes is not None:
        edits = (f"scenes/{recording}.*", f"sdf/{recording}[._]*")
        hashes["edited scene"] = hash_files(settings.prox.edited_scenes, edits)
    if settings.prox.genders_file is not None:
        hashes["genders"] = _file_identity(settings.prox.genders_file)
    files = body_files(settings)
    hashes["SMPL+H"] = _file_identity(files.smplh(gender))
    hashes["SMPL-X"] = _file_identity(files.smplx(gender))
    return hashes


def _preset(settings: PseudoGtSettings) -> SyntheticSettings:
    return synthetic_preset(settings.preset, settings.synthetic_seed)


@lru_cache
def _file_identity(path: Path) -> str:
    return hash_file(path)
