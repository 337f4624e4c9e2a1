"""The scan: read, scaled to metres, cleaned of dust, faces turned towards the free space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pipelines.errors import DataInvalid, DataMissing
from pipelines.geometry.meshes import RayCaster
from pipelines.geometry.transforms import transform_points

_SAMPLED_FACES = 4000
_LIFT_M = 1e-3
_INWARD, _OUTWARD = 0.7, 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """A room's triangles in its world frame, metres."""

    vertices_world: Float[np.ndarray, "vertices 3"]
    faces: Int[np.ndarray, "faces 3"]
    colors: Float[np.ndarray, "vertices 3"] | None
    """RGB in 0..1."""

    @property
    def face_areas(self) -> Float[np.ndarray, " faces"]:
        """Square metres."""
        return np.linalg.norm(self._crossed, axis=1) / 2

    @property
    def face_normals(self) -> Float[np.ndarray, "faces 3"]:
        """Unit normals, counter-clockwise outward."""
        crossed = self._crossed
        return crossed / np.maximum(np.linalg.norm(crossed, axis=1, keepdims=True), 1e-12)

    @property
    def face_centers(self) -> Float[np.ndarray, "faces 3"]:
        """Centroids."""
        return self.vertices_world[self.faces].mean(axis=1)

    @property
    def _crossed(self) -> Float[np.ndarray, "faces 3"]:
        a, b, c = (self.vertices_world[self.faces[:, k]] for k in range(3))
        return np.cross(b - a, c - a)

    def moved(self, T_new_from_world: Float[np.ndarray, "4 4"]) -> Scan:
        """The same scan in another frame."""
        return replace(self, vertices_world=transform_points(T_new_from_world, self.vertices_world))

    def keep(self, faces: Bool[np.ndarray, " faces"]) -> Scan:
        """Some of the faces, and the vertices they need."""
        used, index = np.unique(self.faces[faces], return_inverse=True)
        colors = None if self.colors is None else self.colors[used]
        return Scan(self.vertices_world[used], index.reshape(-1, 3).astype(np.int64), colors)


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What the scan is like."""

    vertices: int
    faces: int
    size_m: tuple[float, float, float]
    dust_parts: int
    """Loose parts left out."""
    holes: int
    """Closed rims of missing surface, the outer rim included."""
    largest_hole_m: float
    """Length of the longest rim."""
    inward_share: float
    """Of the seen faces whose normal points at the camera's side, as stored."""
    flipped: bool
    """All faces were turned round."""


def read_scan(path: Path, unit_m: float) -> Scan:
    """Read a triangle mesh; equal vertices are merged.

    Raises:
        DataMissing: no such file.
        DataInvalid: no triangles (a point cloud), or not finite.
    """
    import trimesh

    if not path.is_file():
        raise DataMissing("scan not found", where=path)
    try:
        mesh: Any = trimesh.load(path, process=False, force="mesh")
        faces = np.array(mesh.faces, dtype=np.int64).reshape(-1, 3)
    except Exception as error:  # trimesh raises whatever the damaged byte leads to
        raise DataInvalid(f"scan cannot be read: {error}", where=path) from None
    if len(faces) == 0 or not np.isfinite(mesh.vertices).all():
        raise DataInvalid(
            "scan is no triangle mesh of finite vertices",
            where=path,
            found=f"{len(mesh.vertices)} vertices, {len(faces)} faces",
            fix="mesh a point cloud first (for instance by Poisson reconstruction)",
        )
    colors = None
    if getattr(mesh.visual, "kind", None) == "vertex":
        colors = np.asarray(mesh.visual.vertex_colors, dtype=np.float64)[:, :3] / 255
    return _merged(np.array(mesh.vertices, dtype=np.float64) * unit_m, faces, colors)


def without_dust(scan: Scan, min_area_m2: float) -> tuple[Scan, int]:
    """Leave out loose parts of little area; and how many."""
    labels, count = _parts(scan.faces, len(scan.vertices_world))
    of_face = labels[scan.faces[:, 0]]
    area = np.bincount(of_face, scan.face_areas, minlength=count)
    present = np.bincount(of_face, minlength=count) > 0
    keep = area[of_face] >= min_area_m2
    return (scan if keep.all() else scan.keep(keep)), int((present & (area < min_area_m2)).sum())


def turned_to(
    scan: Scan, caster: RayCaster, eye_world: Float[np.ndarray, "3"]
) -> tuple[Scan, float, bool]:
    """Faces turned so that normals point into the free space, judged by what the camera sees.

    Returns:
        The scan; share of seen faces whose stored normal points at the camera; whether all were turned.

    Raises:
        DataInvalid: the faces are not consistently oriented.
    """
    generator = np.random.default_rng(0)
    count = min(_SAMPLED_FACES, len(scan.faces))
    picked = generator.choice(len(scan.faces), count, replace=False)
    centers, normals = scan.face_centers[picked], scan.face_normals[picked]
    rays = centers - eye_world
    _, hit = caster.first_hit(np.repeat(eye_world[None], count, axis=0), rays)
    seen = hit == picked
    weights = scan.face_areas[picked][seen]
    if weights.sum() <= 0:
        return scan, float("nan"), False
    facing = np.einsum("ij,ij->i", normals[seen], rays[seen]) < 0
    share = float(weights[facing].sum() / weights.sum())
    if _OUTWARD < share < _INWARD:
        raise DataInvalid(
            "faces of the scan are oriented at random",
            expected="normals that point into the room (counter-clockwise faces)",
            found=f"{share:.0%} of the seen area faces the camera",
            fix="make the faces consistent in a mesh tool (MeshLab: Re-Orient all faces coherently)",
        )
    flipped = share <= _OUTWARD
    return (replace(scan, faces=scan.faces[:, ::-1].copy()) if flipped else scan), share, flipped


def rims(scan: Scan) -> list[float]:
    """Length of each rim of missing surface, longest first, metres."""
    edges = np.concatenate([scan.faces[:, [0, 1]], scan.faces[:, [1, 2]], scan.faces[:, [2, 0]]])
    _, first, count = np.unique(np.sort(edges, axis=1), axis=0, return_index=True, return_counts=True)
    border = edges[first[count == 1]]
    if len(border) == 0:
        return []
    ends = scan.vertices_world[border]
    length = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    labels, number = _parts(border, len(scan.vertices_world))
    total = np.bincount(labels[border[:, 0]], length, minlength=number)
    return sorted(total[total > 0].tolist(), reverse=True)


def report_scan(scan: Scan, dust: int, inward_share: float, flipped: bool) -> ScanReport:
    """Numbers of a cleaned scan."""
    size = np.ptp(scan.vertices_world, axis=0)
    lengths = rims(scan)
    return ScanReport(
        vertices=len(scan.vertices_world),
        faces=len(scan.faces),
        size_m=(float(size[0]), float(size[1]), float(size[2])),
        dust_parts=dust,
        holes=len(lengths),
        largest_hole_m=lengths[0] if lengths else 0.0,
        inward_share=inward_share,
        flipped=flipped,
    )


def _merged(
    vertices: Float[np.ndarray, "vertices 3"],
    faces: Int[np.ndarray, "faces 3"],
    colors: Float[np.ndarray, "vertices 3"] | None,
) -> Scan:
    _, first, index = np.unique(vertices, axis=0, return_index=True, return_inverse=True)
    faces = index.reshape(-1)[faces]
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    scan = Scan(vertices[first], faces[whole], None if colors is None else colors[first])
    return scan.keep(scan.face_areas > 0)


def _parts(links: Int[np.ndarray, "rows ids"], count: int) -> tuple[Int[np.ndarray, " vertices"], int]:
    rows = np.repeat(links[:, 0], links.shape[1] - 1)
    columns = links[:, 1:].reshape(-1)
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(count, count))
    number, labels = connected_components(graph, directed=False)
    return labels.astype(np.int64), int(number)
