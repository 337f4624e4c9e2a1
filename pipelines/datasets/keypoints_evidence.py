"""Evidence for which image OpenPose saw: stored keypoints beside person masks and released fits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from pipelines.bodies.joints import BODY25_FROM_SMPLX
from pipelines.bodies.smplx_model import load_smplx
from pipelines.datasets.keypoints_frame import (
    KeypointsFrameFinding,
    KeypointsSample,
    find_keypoints_frame,
)
from pipelines.datasets.openpose import NUM_KEYPOINTS, read_people, without_broken
from pipelines.datasets.proxd import BODY_KEYS, read_released_fit
from pipelines.datasets.settings import KeypointsFrame
from pipelines.errors import DataInvalid, DataMissing, PipelineError
from pipelines.geometry.cameras import project_pinhole

if TYPE_CHECKING:
    from pipelines.datasets.prox import ProxDataset

logger = logging.getLogger(__name__)

_SAMPLED_FRAMES = 24


def decide_keypoints_frame(
    dataset: ProxDataset,
    recording: str,
    look: Callable[[str], KeypointsFrameFinding | None],
) -> KeypointsFrameFinding:
    """The finding of a recording, or where its own evidence says nothing, of another one.

    One tree's keypoints come from one run of OpenPose, so all recordings share their frame.

    Args:
        dataset: the tree.
        recording: recording name.
        look: `look_for_evidence` of the tree, remembered.

    Raises:
        DataInvalid: nothing decides, or the evidence contradicts the settings.
    """
    finding = look(recording)
    if finding is not None:
        return finding
    for other in dataset.recordings():
        try:
            finding = look(other)
        except PipelineError as error:
            logger.debug("%s: no evidence: %s", other, error.what)
            continue
        if finding is not None and finding.evidence != "no keypoints":
            logger.warning("%s: keypoints read as %s, as in %s", recording, finding.frame, other)
            return replace(finding, evidence="another recording")
    raise DataInvalid(
        f"PROX recording {recording}: cannot tell whether the keypoints are mirrored",
        where=dataset.layout.folder(recording, "keypoints"),
        found="neither released fits nor person masks tell the two readings apart",
        fix="set prox.keypoints_frame to raw (OpenPose ran on the image files as they are, like "
        "HuMoR's) or flipped (it ran on un-mirrored images)",
    )


def look_for_evidence(dataset: ProxDataset, recording: str) -> KeypointsFrameFinding | None:
    """What the recording's own files say; None when they do not decide.

    Raises:
        DataInvalid: they contradict the settings.
    """
    table, settings = dataset.frames(recording), dataset.settings
    there = np.flatnonzero(table.present["keypoints"])
    if len(there) == 0:
        frame: KeypointsFrame = "raw" if settings.keypoints_frame == "raw" else "flipped"
        return KeypointsFrameFinding(frame, evidence="no keypoints")
    picked = there[np.unique(np.linspace(0, len(there) - 1, _SAMPLED_FRAMES).astype(np.int64))]
    finding = find_keypoints_frame(
        gather_samples(dataset, recording, [table.names[row] for row in picked]),
        settings.color_size_px[0],
        settings.keypoint_min_confidence,
        settings.keypoints_frame,
        recording,
    )
    if finding is not None:
        logger.info("%s: keypoints are %s (%s)", recording, finding.frame, finding.evidence)
    return finding


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
