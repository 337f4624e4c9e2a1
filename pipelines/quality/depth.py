"""Does the body lie where the depth camera saw the person, and was it seen where it should be?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from pipelines.geometry.meshes import RayCaster, vertex_normals
from pipelines.geometry.nearest import nearest_indices
from pipelines.geometry.transforms import invert, transform_points
from pipelines.quality.evidence import LIMBS, RecordingEvidence
from pipelines.quality.settings import ObservableSettings

_GRAZING = 0.25
"""Cosine below which a surface turned away from the camera gives no depth worth waiting for."""
_SKIN_M = 0.02
"""A ray that ends this near to a vertex reached it."""
_FEW_VERTICES = 8

NAMES = (
    "points_to_body_mm",
    "points_to_body_worst_limb_mm",
    "points_offset_mm",
    "points_unexplained_share",
    "points_missing_share",
    "surface_to_points_mm",
    "surface_to_points_worst_limb_mm",
    "surface_uncovered_share",
    "surface_hidden_share",
    "limb_hidden_share",
)


@dataclass(frozen=True, slots=True, eq=False)
class _Surface:
    """Some vertices of one frame's body, and whether the camera should see them."""

    vertices: Float[np.ndarray, "verts 3"]
    limb: Int[np.ndarray, " verts"]
    facing: Bool[np.ndarray, " verts"]
    """Turned to the camera and not behind another part of the body."""
    hidden: Bool[np.ndarray, " verts"]
    """Behind the scan or outside the image."""


def depth_observables(
    evidence: RecordingEvidence, settings: ObservableSettings
) -> dict[str, Float[np.ndarray, " frames"]]:
    """Residuals of depth points and of surface that should be seen, per frame; NaN where there is none.

    Points to body: distance along the surface normal, cut at `far_mm`; mean, worst limb, median of the
    signed one (a body that is too near, far or thin), share beyond `explained_mm`. Surface to points: the
    same the other way for vertices that neither body nor scan hides; share without a point within
    `uncovered_mm`. Hidden: share of the body turned to the camera that the scan or the image border
    hides, and of its most hidden limb.
    """
    scan = _scan_in_camera(evidence)
    frames = len(evidence.valid)
    columns = {name: np.full(frames, np.nan) for name in NAMES}
    normals_of = torch.as_tensor(evidence.faces)
    for frame in np.flatnonzero(evidence.valid):
        vertices = evidence.track.vertices_camera[frame].astype(np.float64)
        normals = vertex_normals(torch.as_tensor(vertices), normals_of, area_weighted=True).numpy()
        surface = _look(evidence, vertices, normals, scan, settings.vertex_step, settings.behind_mm)
        points = _points(evidence, int(frame))
        some = points[:: max(len(points) // settings.points, 1)]
        values = _hidden_shares(surface)
        values |= _point_residuals(some, vertices, normals, evidence.limb, settings)
        values |= _surface_residuals(points, surface, settings)
        for name, value in values.items():
            columns[name][frame] = value
    return columns


def _scan_in_camera(evidence: RecordingEvidence) -> RayCaster:
    T_camera_from_world = invert(evidence.observations.T_world_from_camera)
    return RayCaster(
        transform_points(T_camera_from_world, evidence.scene.vertices_world.astype(np.float64)),
        evidence.scene.faces,
    )


def _points(evidence: RecordingEvidence, frame: int) -> Float[np.ndarray, "points 3"]:
    """A frame's person points, each once."""
    points = evidence.observations.points_camera[frame]
    return points[: min(int(evidence.observations.num_points[frame]), len(points))].astype(np.float64)


def _look(
    evidence: RecordingEvidence,
    vertices: Float[np.ndarray, "6890 3"],
    normals: Float[np.ndarray, "6890 3"],
    scan: RayCaster,
    step: int,
    behind_mm: float,
) -> _Surface:
    """Cast a ray to every n-th vertex, at the body itself and at the scan."""
    chosen = vertices[::step]
    distance = np.linalg.norm(chosen, axis=1)
    rays = chosen / distance[:, None]
    origins = np.zeros_like(rays)
    own, _ = RayCaster(vertices, evidence.faces).first_hit(origins, rays)
    scene, _ = scan.first_hit(origins, rays)
    facing = (-(normals[::step] * rays).sum(axis=1) > _GRAZING) & (own > distance - _SKIN_M)
    K, size = evidence.observations.K, np.array(evidence.observations.image_size_px)
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = chosen[:, :2] / chosen[:, 2:] * K.diagonal()[:2] + K[:2, 2]
        outside = (chosen[:, 2] <= 0) | ~((pixels >= 0) & (pixels <= size - 1)).all(axis=1)
    hidden = (scene < distance - 1e-3 * behind_mm) | outside
    return _Surface(chosen, evidence.limb[::step], facing, hidden)


def _hidden_shares(surface: _Surface) -> dict[str, float]:
    facing, hidden = surface.facing, surface.hidden
    shares = [
        hidden[facing & (surface.limb == limb)].mean()
        for limb in range(len(LIMBS))
        if (facing & (surface.limb == limb)).sum() >= _FEW_VERTICES
    ]
    everything = float(hidden[facing].mean()) if facing.any() else 1.0
    return {
        "surface_hidden_share": everything,
        "limb_hidden_share": max(map(float, shares), default=everything),
    }


def _point_residuals(
    points: Float[np.ndarray, "points 3"],
    vertices: Float[np.ndarray, "6890 3"],
    normals: Float[np.ndarray, "6890 3"],
    limb: Int[np.ndarray, "6890"],
    settings: ObservableSettings,
) -> dict[str, float]:
    if len(points) == 0:
        return {"points_missing_share": 1.0}
    distance, nearest = _nearest(points, vertices)
    signed = ((points - vertices[nearest]) * normals[nearest]).sum(axis=1)
    # Far from the body the normal at the nearest vertex says nothing.
    beside = distance > 1e-3 * settings.uncovered_mm
    residual_mm = 1e3 * np.where(beside, distance, np.abs(signed))
    cut = np.minimum(residual_mm, settings.far_mm)
    return {
        "points_to_body_mm": float(cut.mean()),
        "points_to_body_worst_limb_mm": _worst(cut, limb[nearest]),
        "points_offset_mm": float(abs(np.median(1e3 * signed[~beside]))) if (~beside).any() else np.nan,
        "points_unexplained_share": float((residual_mm > settings.explained_mm).mean()),
        "points_missing_share": 0.0,
    }


def _surface_residuals(
    points: Float[np.ndarray, "points 3"], surface: _Surface, settings: ObservableSettings
) -> dict[str, float]:
    expected = surface.facing & ~surface.hidden
    if not expected.any():
        return {"surface_uncovered_share": 0.0}  # nothing is expected, so nothing is missing
    if len(points) == 0:
        return {"surface_uncovered_share": 1.0}
    distance, _ = _nearest(surface.vertices[expected], points)
    distance_mm = 1e3 * distance
    cut = np.minimum(distance_mm, settings.far_mm)
    return {
        "surface_to_points_mm": float(cut.mean()),
        "surface_to_points_worst_limb_mm": _worst(cut, surface.limb[expected]),
        "surface_uncovered_share": float((distance_mm > settings.uncovered_mm).mean()),
    }


def _worst(values: Float[np.ndarray, " items"], limb: Int[np.ndarray, " items"]) -> float:
    """Largest mean over a limb; limbs with next to no item are left out."""
    means = [
        float(values[limb == number].mean())
        for number in range(len(LIMBS))
        if (limb == number).sum() >= _FEW_VERTICES
    ]
    return max(means, default=float(values.mean()))


def _nearest(
    queries: Float[np.ndarray, "queries 3"], targets: Float[np.ndarray, "targets 3"]
) -> tuple[Float[np.ndarray, " queries"], Int[np.ndarray, " queries"]]:
    rows = nearest_indices(queries, targets)
    return np.linalg.norm(queries - targets[rows], axis=1), rows
