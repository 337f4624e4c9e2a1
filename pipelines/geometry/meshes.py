"""Normals and ray casting on triangle meshes."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def face_normals(
    vertices: Float[Tensor, "*batch verts 3"], faces: Int[Tensor, "faces 3"]
) -> Float[Tensor, "*batch faces 3"]:
    """Unnormalised face normals (length = twice the area), counter-clockwise outward."""
    a, b, c = (vertices[..., faces[:, k], :] for k in range(3))
    return torch.linalg.cross(b - a, c - a, dim=-1)


def vertex_normals(
    vertices: Float[Tensor, "*batch verts 3"],
    faces: Int[Tensor, "faces 3"],
    *,
    area_weighted: bool,
) -> Float[Tensor, "*batch verts 3"]:
    """Unit vertex normals: sum of the adjacent face normals, area weighted or each of unit length.

    PROX uses unit face normals for bodies and area weights for scenes; a zero sum stays zero.
    """
    normals = face_normals(vertices, faces)
    if not area_weighted:
        normals = torch.nn.functional.normalize(normals, dim=-1)
    total = torch.zeros_like(vertices)
    for k in range(3):
        total.index_add_(-2, faces[:, k], normals)
    return torch.nn.functional.normalize(total, dim=-1)


class RayCaster:
    """Exact ray casting against one triangle mesh (Embree through trimesh)."""

    def __init__(
        self, vertices: Float[np.ndarray, "verts 3"], faces: Int[np.ndarray, "faces 3"]
    ) -> None:
        import trimesh
        from trimesh.ray.ray_pyembree import RayMeshIntersector

        self._mesh = trimesh.Trimesh(vertices, faces, process=False)
        self._caster = RayMeshIntersector(self._mesh, scale_to_box=False)

    def first_hit(
        self, origins: Float[np.ndarray, "rays 3"], directions: Float[np.ndarray, "rays 3"]
    ) -> tuple[Float[np.ndarray, " rays"], Int[np.ndarray, " rays"]]:
        """Distance along each ray in units of its direction, and the face; inf and -1 if none."""
        faces = np.asarray(self._caster.intersects_first(origins, directions), dtype=np.int64)
        distance = np.full(len(origins), np.inf)
        hit = faces >= 0
        corner = self._mesh.triangles[faces[hit], 0]
        normal = np.cross(
            self._mesh.triangles[faces[hit], 1] - corner,
            self._mesh.triangles[faces[hit], 2] - corner,
        )
        along = np.einsum("ij,ij->i", normal, directions[hit])
        with np.errstate(divide="ignore", invalid="ignore"):
            distance[hit] = np.einsum("ij,ij->i", normal, corner - origins[hit]) / along
        return distance, faces

    def any_hit(
        self, origins: Float[np.ndarray, "rays 3"], directions: Float[np.ndarray, "rays 3"]
    ) -> Bool[np.ndarray, " rays"]:
        """True where the infinite ray meets the mesh."""
        return np.asarray(self._caster.intersects_any(origins, directions), dtype=bool)
