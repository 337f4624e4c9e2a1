"""A PROX quantitative tree: a filmed recording cut into clips, and its truth as MoSH pickles.

The recording is filmed like a qualitative one and then renamed; since the set's frames are 5 a second,
the motion in it is six times slower than it was made.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float

from pipelines.artifacts import write_bytes
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.rigid_motion import move_parameters
from pipelines.datasets.layout import FrameName
from pipelines.datasets.proxd import frame_of
from pipelines.geometry.transforms import invert, rigid
from pipelines.other_trees.pickles import python2_pickled, smplx_content
from pipelines.synthetic.presets import RecordingSpec, SyntheticSettings
from pipelines.synthetic.prox_tree import write_prox_tree
from pipelines.synthetic.truth import read_truth, write_truth

SUBJECT: Final = 3301
CLIPS: Final = (1, 4, 7)
FRAME_INTERVAL_S: Final = 0.2
DEFECTS: Final = {"fit_missing": 2, "fit_nan": 5}
"""Defect -> row of the recording."""

_VICON_ROTVEC, _VICON_SHIFT_M = (0.01, -0.02, 0.7), (0.8, -1.3, 0.05)


def quantitative_settings(num_frames: int = 9, seed: int = 3) -> SyntheticSettings:
    """One recording of the man of the quantitative set in its one room."""
    spec = RecordingSpec(
        scene="vicon", subject=SUBJECT, family="walk", num_frames=num_frames, seed=seed, clutter=1
    )
    return SyntheticSettings(
        preset="quantitative", recordings=(spec,), sdf_size=32, scan_edge_m=0.08, skeletons=False
    )


def vicon_pose() -> Float[np.ndarray, "4 4"]:
    """`T_world_from_vicon`: where the marker system lies in the scan."""
    rotmat, _ = cv2.Rodrigues(np.array(_VICON_ROTVEC))
    return rigid(rotmat, np.array(_VICON_SHIFT_M))


def write_quantitative_tree(
    out_root: Path, truth_root: Path, files: BodyFiles, settings: SyntheticSettings | None = None
) -> tuple[str, ...]:
    """Write `out_root/quantitative` and the truth, camera frame; returns the recording's frame names.

    Differs from the real set: a few frames instead of 180, and two of the MoSH fits are spoilt.
    """
    settings = settings or quantitative_settings()
    recording = settings.recordings[0].name
    write_prox_tree(out_root, truth_root, settings, files)
    base = out_root / "quantitative"
    shutil.rmtree(base, ignore_errors=True)
    (out_root / "qualitative").rename(base)
    for marker in out_root.glob("*.done.json"):
        marker.unlink()  # it tells of files under their old names
    truth = read_truth(truth_root, recording)
    names = clip_names(len(truth.frame_names))
    _rename_frames(base, recording, dict(zip(truth.frame_names, names, strict=True)))
    T_vicon_from_world = invert(vicon_pose())
    bodies_vicon = move_parameters(
        files, truth.gender, truth.parameters, T_vicon_from_world @ truth.T_world_from_camera
    )
    write_bytes(base / "vicon2scene.json", json.dumps(vicon_pose().tolist()).encode())
    results = base / "fittings" / "mosh" / recording / "results"
    for row, name in enumerate(names):
        content = smplx_content(frame_of(bodies_vicon, row))
        if row == DEFECTS["fit_nan"]:
            content["body_pose"][0, 7] = np.nan
        if row != DEFECTS["fit_missing"]:
            write_bytes(results / name / "000.pkl", python2_pickled(content))
    _renamed_truth(truth_root, recording, names)
    return names


def clip_names(num_frames: int) -> tuple[str, ...]:
    """Names of frames dealt out to the clips in turn, each clip starting again at frame 1."""
    names = []
    for clip, rows in zip(CLIPS, np.array_split(np.arange(num_frames), len(CLIPS)), strict=True):
        for index in range(1, len(rows) + 1):
            milliseconds = round(1000 * (0.029 + FRAME_INTERVAL_S * (index - 1)))
            stamp = f"00.00.{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
            names.append(f"s{clip:03d}_frame_{index:05d}__{stamp}")
    return tuple(names)


def _rename_frames(base: Path, recording: str, new_name: dict[str, str]) -> None:
    folders: Sequence[Path] = (base / "recordings" / recording, base / "keypoints" / recording)
    for folder in folders:
        for path in sorted(folder.rglob("s*_frame_*")):
            stem = path.name.removesuffix("_keypoints.json")
            stem = stem if FrameName.parse(stem) else path.stem
            path.rename(path.with_name(path.name.replace(stem, new_name[stem])))


def _renamed_truth(truth_root: Path, recording: str, names: tuple[str, ...]) -> None:
    truth = read_truth(truth_root, recording)
    write_truth(truth_root, replace(truth, frame_names=names))
