"""Where the floor of a captured motion is, and which joints touch it.

Source: HuMoR's data processing, as told in the fitting page, section 5. Speeds are per frame of the
source, so the limits mean different speeds at different rates; that is HuMoR's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from sklearn.cluster import DBSCAN

from pipelines.motion_prior.state import CONTACT_JOINTS
from pipelines.other_datasets.settings import AmassSettings

_TOES: Final = (10, 11)
_ROOT: Final = 0
_UNCLUSTERED: Final = -1


@dataclass(frozen=True, slots=True)
class Floor:
    """What a motion stands on."""

    toe_height_m: float
    """Height of the toes' joints when they stand lowest."""
    height_m: float
    """Of the floor itself."""
    is_terrain: bool
    """The person also stands elsewhere, higher: stairs, a chair, a slope."""


def find_floor(
    joints: Float[np.ndarray, "frames 22 3"], frame_rate_hz: float, settings: AmassSettings
) -> Floor:
    """Cluster the heights of standing toes; the lowest cluster is the floor.

    A motion whose toes never stand still takes their lowest height.
    """
    toes = joints[:, _TOES, 2]
    still = is_still(joints, settings)[:, _TOES]
    heights = toes[still]
    roots = np.repeat(joints[:, [_ROOT], 2], len(_TOES), axis=1)[still]
    clusters = _clusters(heights, settings)
    if not clusters:
        lowest = float(toes.min())
        return Floor(lowest, lowest - settings.toe_above_floor_m, is_terrain=False)
    medians = [
        (float(np.median(heights[c])), float(np.median(roots[c])), int(c.sum())) for c in clusters
    ]
    toe_m, root_m, _ = min(medians)
    is_terrain = any(
        count > settings.terrain_seconds * frame_rate_hz
        and toe - toe_m > settings.terrain_height_m
        and root - root_m > settings.terrain_height_m
        for toe, root, count in medians
    )
    return Floor(toe_m, toe_m - settings.toe_above_floor_m, is_terrain)


def label_contacts(
    joints: Float[np.ndarray, "frames 22 3"], toe_height_m: float, settings: AmassSettings
) -> Bool[np.ndarray, "frames 9"]:
    """Still and low joints, in the order of state.CONTACT_JOINTS; the hips never touch."""
    chosen = list(CONTACT_JOINTS)
    limits = np.full(len(chosen), settings.contact_height_m)
    limits[[chosen.index(toe) for toe in _TOES]] = settings.toe_contact_height_m
    low = joints[:, chosen, 2] - toe_height_m < limits
    contact = is_still(joints, settings)[:, chosen] & low
    contact[:, chosen.index(_ROOT)] = False
    return contact


def is_still(
    joints: Float[np.ndarray, "frames 22 3"], settings: AmassSettings
) -> Bool[np.ndarray, "frames 22"]:
    """Joints that move less than the limit until the next frame; the last frame is as the one before."""
    steps = np.linalg.norm(np.diff(joints, axis=0), axis=-1)
    return np.concatenate([steps, steps[-1:]]) < settings.still_m


def _clusters(
    heights: Float[np.ndarray, " samples"], settings: AmassSettings
) -> list[Bool[np.ndarray, " samples"]]:
    if len(heights) < settings.cluster_min_samples:
        return []
    scan = DBSCAN(eps=settings.cluster_m, min_samples=settings.cluster_min_samples)
    labels = scan.fit_predict(heights[:, None])
    return [labels == label for label in np.unique(labels) if label != _UNCLUSTERED]
