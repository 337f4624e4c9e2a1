"""Is the distance grid's sign right where the footage tells what is free and what is solid?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from pipelines.capture.agreement import Background, ScanView
from pipelines.capture.rig import CaptureRig
from pipelines.capture.scan import Scan
from pipelines.capture.sdf import DistanceGrid
from pipelines.geometry.signed_distance import SdfGrid
from pipelines.geometry.transforms import transform_points

_STEP_PX = 5
_FRACTIONS = (0.3, 0.5, 0.7, 0.85, 0.95)
_CLEAR_M = 0.06
_AGREE_M = 0.05
_BEHIND_M = 0.025
_BELOW_M = 0.10


@dataclass(frozen=True, slots=True)
class LeakReport:
    """Shares of wrong signs; NaN where nothing could be judged."""

    free_marked_solid: float
    """Of the places that depth rays pass through."""
    solid_marked_free: float
    """Of the places 2.5 cm behind surfaces that scan and depth agree on."""
    leaks_below_floor: float
    """Of the places 10 cm below the floor, under the scan."""
    camera_m: float
    """Signed distance at the camera."""


def check_leaks(
    grid: DistanceGrid,
    scan: Scan,
    rig: CaptureRig,
    background: Background,
    view: ScanView,
    floor_world: Float[np.ndarray, "4"],
) -> LeakReport:
    """Sample the grid where the footage knows the answer.

    Args:
        grid: to be judged.
        scan: it was made from.
        rig: cameras, in the scan's world.
        background: measured depth.
        view: the scan as the depth camera sees it; faces are the scan's.
        floor_world: plane (n, d).
    """
    values = (grid.values_m, grid.min_world, grid.max_world)
    sdf = SdfGrid(*(torch.as_tensor(value, dtype=torch.float32) for value in values))
    height, width = view.face.shape
    rows, columns = (m.ravel() for m in np.mgrid[:height:_STEP_PX, :width:_STEP_PX])
    measured, scanned = background.depth_m[rows, columns], view.depth_m[rows, columns]
    agree = (measured > 0) & (scanned > 0) & (np.abs(measured - scanned) < _AGREE_M)
    rows, columns, depth = rows[agree], columns[agree], measured[agree].astype(np.float64)
    rays = rig.depth.rays(np.column_stack([columns, rows]).astype(np.float64))
    free = [rays * (depth * share)[:, None] for share in _FRACTIONS]
    free_world = transform_points(rig.T_world_from_depth, np.concatenate(free))
    before_m = np.concatenate([depth * (1 - share) for share in _FRACTIONS])
    free_world = free_world[before_m > _CLEAR_M]
    hits = transform_points(rig.T_world_from_depth, rays * view.depth_m[rows, columns][:, None])
    solid_world = hits - _BEHIND_M * scan.face_normals[view.face[rows, columns]]
    return LeakReport(
        free_marked_solid=_share(sdf, free_world, solid=True),
        solid_marked_free=_share(sdf, solid_world, solid=False),
        leaks_below_floor=_share(sdf, _below_floor(scan, floor_world), solid=False),
        camera_m=float(_sample(sdf, rig.T_world_from_camera[None, :3, 3])[0]),
    )


def _below_floor(scan: Scan, floor_world: Float[np.ndarray, "4"]) -> Float[np.ndarray, "points 3"]:
    low, high = scan.vertices_world.min(axis=0), scan.vertices_world.max(axis=0)
    x, y = np.meshgrid(np.linspace(low[0], high[0], 60), np.linspace(low[1], high[1], 60))
    z = (floor_world[3] - floor_world[0] * x - floor_world[1] * y) / floor_world[2] - _BELOW_M
    return np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)


def _share(sdf: SdfGrid, points: Float[np.ndarray, "points 3"], *, solid: bool) -> float:
    if len(points) == 0:
        return float("nan")
    values = _sample(sdf, points)
    return float((values < 0).mean() if solid else (values > 0).mean())


def _sample(sdf: SdfGrid, points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, " points"]:
    return np.asarray(sdf.sample(torch.as_tensor(points, dtype=torch.float32)).numpy())
