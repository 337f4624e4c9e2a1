"""The floor of a scan whose up axis is known, whichever it is."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pipelines.datasets.floor import estimate_floor
from pipelines.datasets.scenes import ScanMesh
from pipelines.geometry.transforms import rigid, transform_plane


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
