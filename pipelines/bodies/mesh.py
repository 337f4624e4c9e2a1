"""What a posed body is: its vertices and output joints."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class BodyMesh:
    """Posed bodies in the frame of the pose parameters (camera or world), metres."""

    vertices: Float[Tensor, "frames verts 3"]
    joints: Float[Tensor, "frames joints 3"]
    """Kinematic joints, then the picked vertices, then (SMPL-X) the face landmarks; see joints.py."""
