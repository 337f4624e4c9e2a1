"""Evidence for which image OpenPose saw: stored keypoints beside person masks and released fits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from pipelines.bodies.joints import BODY25_FROM_SMPLX
from pipelines.bodies.smplx_model import load_smplx
from pipelines.datasets.keypoints_frame import KeypointsSample
from pipelines.datasets.openpose import NUM_KEYPOINTS, read_people, without_broken
from pipelines.datasets.proxd import BODY_KEYS, read_released_fit
from pipelines.errors import DataInvalid, DataMissing, PipelineError
from pipelines.geometry.cameras import project_pinhole

if TYPE_CHECKING:
    from pipelines.datasets.prox import ProxDataset

logger = logging.getLogger(__name__)


def gather_samples(dataset: ProxDataset, recording: str, names: Sequence[str]) -> list[KeypointsSample]:
    """Evidence of some frames; a file that cannot be read is no evidence."""
    fitted = _fitted_keypoints(dataset, recording, names)
    return [_sample(dataset, recording, name, fitted.get(name)) for name in names]


def _sample(
    dataset: ProxDataset, recording: str, name: str, fitted_px: Float[np.ndarray, "25 2"] | None
) -> KeypointsSample:
    people, person = np.zeros((0, NUM_KEYPOINTS, 3)), None
    try:
        stored = read_people(dataset.layout.file(recording, "keypoints", name))
        people, _ = without_broken(stored)
        person = dataset.person_mask(recording, name)
    except (DataInvalid, DataMissing) as error:
        logger.debug("%s: no evidence from %s: %s", recording, name, error.what)
    return KeypointsSample(people, person, fitted_px)


def _fitted_keypoints(
    dataset: ProxDataset, recording: str, names: Sequence[str]
) -> dict[str, Float[np.ndarray, "25 2"]]:
    """BODY_25 pixels of the released fits, by frame name; empty without fits or body models."""
    if dataset.body_files is None or not dataset.has_released_fit(recording):
        return {}
    fit = read_released_fit(
        dataset.layout,
        recording,
        names,
        gender=dataset.gender(recording),
        max_transl_m=dataset.settings.max_transl_m,
        T_world_from_camera=np.eye(4),
        floor_camera=np.array([0.0, -1.0, 0.0, 0.0]),
    )
    if fit is None or not fit.valid.any():
        return {}
    try:
        body = load_smplx(dataset.body_files, fit.gender)
    except PipelineError as error:
        logger.warning("released fits are no evidence without body models: %s", error.what)
        return {}
    valid: list[int] = np.flatnonzero(fit.valid).tolist()
    tensors = {
        key: torch.as_tensor(getattr(fit.parameters, key)[valid], dtype=torch.float32)
        for key in BODY_KEYS
    }
    K = torch.as_tensor(dataset.calibration.color.K, dtype=torch.float32)
    with torch.no_grad():
        pixels = project_pinhole(body(**tensors).joints[:, list(BODY25_FROM_SMPLX)], K)
    return {names[frame]: row.numpy() for frame, row in zip(valid, pixels.double(), strict=True)}
