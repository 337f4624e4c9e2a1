"""Which way is up in the scan, and where its floor is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from pipelines.capture.scan import Scan
from pipelines.datasets.floor import estimate_floor
from pipelines.errors import DataInvalid
from pipelines.geometry.transforms import rigid, transform_points

_TRIALS = 400
_POINTS = 6000
_THICK_M = 0.02
_UPRIGHT_COSINE = 0.7
"""A camera that films a person is level within 45 degrees."""
_LEVEL_COSINE = 0.9
_LOW_SHARE = 0.25
_NEAR_M = 0.05
_ALREADY_UP_COSINE = 0.985
"""Within ten degrees of z the scan is left as it is; readers allow for more."""


@dataclass(frozen=True, slots=True, eq=False)
class Floor:
    """The floor and what was done to have z up."""

    plane_world: Float[np.ndarray, "4"]
    """Unit normal n (up), offset d, n . x = d; in the frame after turning."""
    T_upright_from_scan: Float[np.ndarray, "4 4"]
    """The identity when the scan already had z up."""
    up_axis: str
    """Axis of the file's own frame nearest to up, such as +y."""
    tilt_deg: float
    """Between the normal and z, after turning."""
    residual_m: float
    """Root mean square of floor faces' distances."""
    area_m2: float
    camera_height_m: float


def find_floor(scan: Scan, T_world_from_camera: Float[np.ndarray, "4 4"]) -> Floor:
    """The lowest large plane below the camera; the scan is turned when its z is not up.

    Raises:
        DataInvalid: no plane lies below the camera: the pose or the scan is wrong, or no floor was scanned.
    """
    up_guess = -T_world_from_camera[:3, 1]
    normal = _up_by_ransac(scan, up_guess, T_world_from_camera[:3, 3])
    axis = int(np.abs(normal).argmax())
    T = _upright(normal)
    upright = scan.moved(T)
    plane = estimate_floor(upright.vertices_world, upright.faces)
    eye = transform_points(T, T_world_from_camera[:3, 3])
    height = float(plane[:3] @ eye - plane[3])
    distance = upright.face_centers @ plane[:3] - plane[3]
    on_floor = (np.abs(distance) < _NEAR_M) & (np.abs(upright.face_normals @ plane[:3]) > _LEVEL_COSINE)
    areas = upright.face_areas[on_floor]
    return Floor(
        plane_world=plane,
        T_upright_from_scan=T,
        up_axis=f"{'+' if normal[axis] > 0 else '-'}{'xyz'[axis]}",
        tilt_deg=float(np.degrees(np.arccos(np.clip(plane[2], -1, 1)))),
        residual_m=float(np.sqrt(np.average(distance[on_floor] ** 2, weights=areas))),
        area_m2=float(areas.sum()),
        camera_height_m=height,
    )


def _up_by_ransac(
    scan: Scan, up_guess: Float[np.ndarray, "3"], eye: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3"]:
    """Normal of the lowest substantial plane that is about level by the camera's own up."""
    generator = np.random.default_rng(0)
    areas = scan.face_areas
    picked = generator.choice(len(areas), _POINTS, p=areas / areas.sum())
    points, normals = scan.face_centers[picked] - eye, scan.face_normals[picked]
    level = (np.abs(normals @ up_guess) > _UPRIGHT_COSINE) & (points @ up_guess < 0)
    points, normals = points[level], normals[level]
    if len(points) < 3:
        raise DataInvalid(
            "no level surface below the camera",
            expected="a scanned floor under a camera that is level within 45 degrees",
            fix="check camera_pose, camera_pose_is, camera_axes and scan_unit_m",
        )
    best: tuple[float, Bool[np.ndarray, " points"]] | None = None
    planes = []
    for seed in generator.choice(len(points), _TRIALS):
        normal = normals[seed] * np.sign(normals[seed] @ up_guess)
        inside = _on_plane(points, normals, points[seed], normal)
        planes.append((float(points[seed] @ normal), inside))
    enough = _LOW_SHARE * max(int(inside.sum()) for _, inside in planes)
    for height, inside in planes:
        if inside.sum() >= max(enough, 3) and (best is None or height < best[0]):
            best = height, inside
    assert best is not None, "the fullest plane always has enough"
    floor = points[best[1]]
    fitted = np.linalg.svd(floor - floor.mean(axis=0), full_matrices=False)[2][2]
    return fitted * np.sign(fitted @ up_guess)


def _on_plane(
    points: Float[np.ndarray, "points 3"],
    normals: Float[np.ndarray, "points 3"],
    through: Float[np.ndarray, "3"],
    normal: Float[np.ndarray, "3"],
) -> Bool[np.ndarray, " points"]:
    return (np.abs((points - through) @ normal) < _THICK_M) & (np.abs(normals @ normal) > _LEVEL_COSINE)


def _upright(normal: Float[np.ndarray, "3"]) -> Float[np.ndarray, "4 4"]:
    """A turn that brings the normal to +z, by whole quarter turns where those do."""
    if normal[2] > _ALREADY_UP_COSINE:
        return np.eye(4)
    axis = int(np.abs(normal).argmax())
    target = np.array([0.0, 0.0, 1.0])
    source = normal
    if abs(normal[axis]) > _ALREADY_UP_COSINE:
        source = np.zeros(3)
        source[axis] = np.sign(normal[axis])
    cross, cosine = np.cross(source, target), float(source @ target)
    if cosine < -1 + 1e-9:
        return rigid(np.diag([1.0, -1.0, -1.0]), np.zeros(3))
    K = np.array([[0, -cross[2], cross[1]], [cross[2], 0, -cross[0]], [-cross[1], cross[0], 0]])
    return rigid(np.eye(3) + K + K @ K / (1 + cosine), np.zeros(3))
