"""Write a synthetic PROX tree: the true layout, every file in its true encoding, truth elsewhere.

A recording is written as a whole: a done-marker beside `qualitative/` says for which settings, code and
body files, and a second run only writes what is missing or made from something else. No PROXD fits are
written (the baseline makes them), except in the recording of defects.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from pipelines.artifacts import (
    MARKER_SUFFIX,
    StageKey,
    code_version,
    hash_file,
    marker_path,
    read_marker,
    run_stage,
    why_not_done,
    write_bytes,
    write_marker,
)
from pipelines.bodies.files import BodyFiles
from pipelines.synthetic.presets import RecordingSpec, SyntheticSettings
from pipelines.synthetic.recording import write_recording
from pipelines.synthetic.sensor import KinectRig, calibration_json, kinect_rig

logger = logging.getLogger(__name__)

_CODE = ("pipelines/synthetic", "pipelines/bodies", "pipelines/geometry")
_STAGE = "synthetic-"


@dataclass(frozen=True, slots=True)
class TreeReport:
    """What a call did."""

    recordings: tuple[str, ...]
    written: tuple[str, ...]
    """Recordings that were not there yet or were out of date."""


def write_prox_tree(
    out_root: Path,
    truth_root: Path,
    settings: SyntheticSettings,
    files: BodyFiles,
    *,
    only: str | None = None,
    progress: bool = False,
) -> TreeReport:
    """Write every recording of the settings below `out_root/qualitative`, its truth in `truth_root`.

    Args:
        out_root: PROX base folder.
        truth_root: outside `out_root`, so that no reader of the tree can see the truth.
        settings: what to write.
        files: body models; the true bodies are SMPL-X of the subject's gender.
        only: name of the one recording to write now; the others are left as they are.
        progress: show a bar per recording.
    """
    base = out_root / "qualitative"
    _remove_others(out_root, settings)
    rig = kinect_rig()
    common = _key("common", "", files)
    run_stage(out_root, common, lambda: (_write_common(base, rig, files), {}))
    written = []
    chosen = [spec for spec in settings.recordings if only in (None, spec.name)]
    for spec in chosen:
        key = _key(spec.name, _recording_hash(settings, spec), files, spec)
        if all(why_not_done(folder, key) is None for folder in (out_root, truth_root)):
            continue
        for folder in (out_root, truth_root):
            marker_path(folder, key.stage).unlink(missing_ok=True)
        _clear(base, spec)
        outputs, truth_files = write_recording(base, truth_root, settings, spec, files, progress)
        write_marker(truth_root, key, truth_files)
        write_marker(out_root, key, outputs, {"frames": spec.num_frames})
        written.append(spec.name)
        logger.info("synthetic recording %s: %d frames written", spec.name, spec.num_frames)
    return TreeReport(tuple(spec.name for spec in chosen), tuple(written))


def _write_common(base: Path, rig: KinectRig, files: BodyFiles) -> list[Path]:
    """Calibration and contact parts, one for the whole set."""
    paths = [base / "calibration" / "Color.json", base / "calibration" / "IR.json"]
    for path, camera in zip(paths, (rig.color, rig.infrared), strict=True):
        write_bytes(path, json.dumps(calibration_json(camera)).encode())
    for source in sorted(files.segments.glob("*.json")):
        paths.append(base / "body_segments" / source.name)
        write_bytes(paths[-1], source.read_bytes())
    return paths


def _key(name: str, settings_hash: str, files: BodyFiles, spec: RecordingSpec | None = None) -> StageKey:
    inputs = {} if spec is None else {"smplx": hash_file(files.smplx(spec.gender))}
    return StageKey(_STAGE + name, settings_hash, inputs, code_version(*_CODE))


def _recording_hash(settings: SyntheticSettings, spec: RecordingSpec) -> str:
    """Settings that bear on one recording: another recording in the list does not make it stale."""
    return settings.model_copy(update={"recordings": (spec,), "preset": ""}).content_hash()


def _clear(base: Path, spec: RecordingSpec) -> None:
    """Frames of an earlier, longer or differently named version must not stay behind."""
    for folder in ("recordings", "keypoints", "PROXD"):
        shutil.rmtree(base / folder / spec.name, ignore_errors=True)


def _remove_others(out_root: Path, settings: SyntheticSettings) -> None:
    """Recordings this writer made before under settings that no longer list them."""
    wanted = {_STAGE + spec.name for spec in settings.recordings} | {f"{_STAGE}common"}
    for marker in sorted(out_root.glob(f"{_STAGE}*{MARKER_SUFFIX}")):
        stage = marker.name.removesuffix(MARKER_SUFFIX)
        if stage in wanted:
            continue
        made = read_marker(out_root, stage)
        for name in made.files if made is not None else ():
            (out_root / name).unlink(missing_ok=True)
        for folder in ("recordings", "keypoints", "PROXD"):
            shutil.rmtree(
                out_root / "qualitative" / folder / stage.removeprefix(_STAGE), ignore_errors=True
            )
        marker.unlink()
