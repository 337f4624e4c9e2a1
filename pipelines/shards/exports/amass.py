"""AMASS: one npz per sequence, SMPL+H with 16 betas in a world whose z points up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float64

from pipelines.artifacts import write_npz
from pipelines.bodies.files import BodyFiles
from pipelines.shards.collection import ShardCollection
from pipelines.shards.exports.sequences import ExportSequence, sequences_of

_HANDS: Final = 90
_DMPLS: Final = 8
FULL_RATE_HZ: Final = 30.0
"""Of PROX."""
_FRAME: Final = re.compile(r"_frame_(\d+)")


def export_amass(collection: ShardCollection, files: BodyFiles, out_dir: Path) -> list[Path]:
    """Write `<subject>/<recording>_poses.npz`; hands are flat, soft tissue is zero.

    A body whose betas change within a recording goes to a file per shape. Besides AMASS's keys there are
    `frame_names`, since frames that were skipped or rejected are not there, and `expected_error_mm`.
    """
    written = []
    for sequence in sequences_of(collection, one_shape=True):
        path = out_dir / sequence.subject / f"{sequence.name}_poses.npz"
        write_npz(path, _content(sequence, files))
        written.append(path)
    return written


def _content(sequence: ExportSequence, files: BodyFiles) -> dict[str, Any]:
    world = sequence.parameters_world(files)
    frames = len(world.transl)
    poses = np.concatenate([world.global_orient, world.body_pose, np.zeros((frames, _HANDS))], axis=1)
    names = [sample.frame for sample in sequence.samples]
    return {
        "trans": world.transl.astype(np.float64),
        "gender": np.array(sequence.gender),
        "mocap_framerate": np.array(frame_rate_hz(names)),
        "betas": world.betas[0].astype(np.float64),
        "dmpls": np.zeros((frames, _DMPLS)),
        "poses": poses.astype(np.float64),
        "frame_names": np.array(names),
        "expected_error_mm": np.array([sample.expected_error_mm for sample in sequence.samples]),
    }


def frame_rate_hz(names: Sequence[str]) -> float:
    """30 over the usual step of the frame numbers; 30 where names hold no number."""
    found = [_FRAME.search(name) for name in names]
    numbers: Float64[np.ndarray, " frames"] = np.array([float(m[1]) for m in found if m])
    if len(numbers) != len(names) or len(numbers) < 2:
        return FULL_RATE_HZ
    steps = np.diff(numbers)
    return FULL_RATE_HZ / float(np.median(steps[steps > 0])) if (steps > 0).any() else FULL_RATE_HZ
