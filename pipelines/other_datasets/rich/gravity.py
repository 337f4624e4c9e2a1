"""Which way is up in a capture of RICH, and where its floor is.

Bodies, cameras and `camcoord` scans share the frame of camera 0, which is tilted. The frame of
multicam2world is level, but nothing says which of its axes points up; the cameras stand upright, on
average, and so tell it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pipelines.datasets.floor import estimate_floor
from pipelines.datasets.scenes import ScanMesh
from pipelines.errors import DataInvalid
from pipelines.geometry.transforms import rigid, transform_plane
from pipelines.other_datasets.rich.calibration import LevelFrame

_MIN_COSINE = 0.7
"""The chosen axis must be clearly nearer to the cameras' up than any other (cos 45 degrees)."""


def world_up(
    level: LevelFrame, poses_world_from_camera: Sequence[Float[np.ndarray, "4 4"]], source: object
) -> Float[np.ndarray, "3"]:
    """The axis of the level frame that is nearest to the mean upward direction of the cameras.

    Raises:
        DataInvalid: no axis is near it.
    """
    cameras_up = -np.mean([pose[:3, 1] for pose in poses_world_from_camera], axis=0)
    axes = level.axes_world()
    cosines = axes @ cameras_up / max(float(np.linalg.norm(cameras_up)), 1e-9)
    best = int(cosines.argmax())
    if cosines[best] < _MIN_COSINE:
        raise DataInvalid(
            "no axis of multicam2world points up",
            where=source,
            expected="one axis within 45 degrees of the cameras' mean upward direction",
            found=f"the nearest is {np.degrees(np.arccos(cosines[best])):.0f} degrees off",
        )
    return axes[best]


def floor_world(mesh: ScanMesh, up: Float[np.ndarray, "3"], source: object) -> Float[np.ndarray, "4"]:
    """The lowest substantial level surface of a scan: unit normal (pointing up) and offset.

    Raises:
        DataInvalid: the scan has no level surface.
    """
    T_level_from_world = rigid(_rotation_to_z(up), np.zeros(3))
    vertices = mesh.vertices_world @ T_level_from_world[:3, :3].T
    plane = estimate_floor(vertices, mesh.faces, source=source)
    return transform_plane(T_level_from_world.T, plane)


def _rotation_to_z(up: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """A rotation that takes a unit vector to +z."""
    across = np.cross(up, np.eye(3)[np.abs(up).argmin()])
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(up, across), up])
