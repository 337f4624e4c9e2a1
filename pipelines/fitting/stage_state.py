"""Where the windows of a recording are after a stage, and the checkpoints that keep it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipelines.artifacts import read_npz, write_npz
from pipelines.errors import DataInvalid
from pipelines.fitting.settings import HumorSettings
from pipelines.fitting.variables import from_arrays, to_arrays
from pipelines.motion_prior.checkpoint import Priors
from pipelines.records import SceneScan, SequenceObservations

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class StageState:
    """Where the windows of a recording are after a stage."""

    variables: dict[str, Tensor]
    terms: dict[str, np.ndarray]
    """`<stage>.<term>` -> raw value per window, all stages so far."""
    failed: np.ndarray
    """Windows that have no usable fit."""


def read_state(path: Path, key: str, dtype: torch.dtype) -> StageState | None:
    """A kept state with this key; None when there is none that can be used."""
    if not path.is_file():
        return None
    try:
        arrays = read_npz(path)
        if str(arrays["key"]) != key:
            return None
    except (DataInvalid, KeyError):
        LOGGER.warning("checkpoint %s cannot be read; the stage runs again", path.name)
        return None
    terms = {k.removeprefix("term/"): v for k, v in arrays.items() if k.startswith("term/")}
    return StageState(from_arrays(arrays, dtype), terms, arrays["failed"])


def write_state(path: Path, key: str, state: StageState) -> None:
    """Keep the windows' state under the key of what it was made from."""
    arrays = {"key": key, "failed": state.failed, **to_arrays(state.variables)}
    write_npz(path, arrays | {f"term/{name}": value for name, value in state.terms.items()})


def hash_inputs(
    observations: SequenceObservations,
    scene: SceneScan | None,
    priors: Priors,
    settings: HumorSettings,
    gender: str,
) -> str:
    """Identity of everything the stages read, their own settings left out."""
    digest = sha256()
    general = settings.model_dump(mode="json", exclude={"stages", "preset"})
    digest.update(repr((observations.recording, gender, sorted(general.items()))).encode())
    digest.update(repr(sorted(priors.provenance.items())).encode())
    arrays = [
        observations.segment_id,
        observations.keypoints_px,
        observations.keypoints_confidence,
        observations.points_camera,
        observations.num_points,
        observations.K,
        observations.T_world_from_camera,
        observations.floor_camera,
    ]
    if scene is not None:
        arrays += [scene.vertices_world, scene.faces, scene.sdf_m]
        arrays += [scene.sdf_min_world, scene.sdf_max_world]
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
