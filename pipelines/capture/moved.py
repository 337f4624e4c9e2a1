"""Parts of the scan that stand elsewhere in the footage: the camera sees through where they were.

A piece of scan is gone when, over many frames and with nobody in the way, the depth camera measures
something well behind it in its direction. Hidden backs of a moved chair are found the same way, since
what stands behind the chair is seen. What has come instead is not in the scan and is only reported.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from pipelines.capture.rig import depth_points
from pipelines.capture.scan import Scan
from pipelines.capture.settings import MovedSettings
from pipelines.geometry.cameras import RigCamera
from pipelines.geometry.transforms import invert, transform_points

_FLOOR_M = 0.03
_NEIGHBOUR = 1.5
"""Centres of neighbouring faces lie at most so many roots of a face's area apart."""
_PERSON_BORDER_PX = 5
_STEADY_QUANTILE = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class EmptyDepth:
    """Each pixel's depth in the frames in which nobody stands there."""

    depth_m: Float[np.ndarray, "height width"]
    """A low quantile, so that one far outlier opens no surface; 0 where too few frames show it."""
    frames: Int[np.ndarray, "height width"]


@dataclass(frozen=True, slots=True, eq=False)
class MovedParts:
    """What is not where it was scanned."""

    faces: Bool[np.ndarray, " faces"]
    """Of the scan."""
    area_m2: float
    parts: int
    appeared: Bool[np.ndarray, "height width"]
    """Pixels of the depth image at which something new stands before the scan."""
    appeared_m2: float


def empty_depth(
    depths_and_people: Iterable[
        tuple[Float[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]
    ],
    settings: MovedSettings,
) -> EmptyDepth:
    """Depth of the room without people.

    Args:
        depths_and_people: metres (0 = no return) and person mask of sampled frames, depth image.
        settings: how many frames are enough.
    """
    kernel = np.ones((2 * _PERSON_BORDER_PX + 1,) * 2, np.uint8)
    stack = []
    for depth, person in depths_and_people:
        near = cv2.dilate(person.astype(np.uint8), kernel).astype(bool)
        stack.append(np.where(near | (depth <= 0), np.inf, depth).astype(np.float32))
    ordered = np.sort(np.stack(stack), axis=0)
    frames = np.isfinite(ordered).sum(axis=0)
    row = np.floor(np.maximum(frames - 1, 0) * _STEADY_QUANTILE).astype(np.int64)
    depth = np.take_along_axis(ordered, row[None], axis=0)[0]
    return EmptyDepth(np.where(frames >= settings.min_frames, depth, 0.0), frames)


def find_moved(
    scan: Scan,
    camera: RigCamera,
    T_world_from_depth: Float[np.ndarray, "4 4"],
    empty: EmptyDepth,
    scan_depth_m: Float[np.ndarray, "height width"],
    floor_world: Float[np.ndarray, "4"],
    settings: MovedSettings,
) -> MovedParts:
    """Faces of the scan that the camera looks through, and what hangs on them.

    Args:
        scan: in the world frame.
        camera: the depth camera, without distortion.
        T_world_from_depth: its pose.
        empty: what it measures without people.
        scan_depth_m: what it would measure of the scan, 0 = nothing.
        floor_world: plane (n, d); the floor never moves.
        settings: thresholds.
    """
    centers = scan.face_centers
    spacing_m = _NEIGHBOUR * float(np.sqrt(np.median(scan.face_areas)))
    settings = settings.model_copy(update={"reach_m": max(settings.reach_m, spacing_m)})
    through = _seen_through(centers, camera, T_world_from_depth, empty, settings)
    on_floor = np.abs(centers @ floor_world[:3] - floor_world[3]) < _FLOOR_M
    measured = _measured_points(camera, T_world_from_depth, empty)
    confirmed = _within_reach(centers, measured, settings.confirm_m)
    loose = ~on_floor & ~confirmed
    faces = _without_specks(scan, through & loose, settings)
    faces = _grown(centers, faces, loose, settings)
    _, parts = _clusters(centers[faces], settings.reach_m)
    appeared = _appeared(empty, scan_depth_m, settings)
    pixel_area = empty.depth_m**2 / (camera.K[0, 0] * camera.K[1, 1])
    return MovedParts(
        faces=faces,
        area_m2=float(scan.face_areas[faces].sum()),
        parts=parts,
        appeared=appeared,
        appeared_m2=float(pixel_area[appeared].sum()),
    )


def _seen_through(
    points_world: Float[np.ndarray, "points 3"],
    camera: RigCamera,
    T_world_from_depth: Float[np.ndarray, "4 4"],
    empty: EmptyDepth,
    settings: MovedSettings,
) -> Bool[np.ndarray, " points"]:
    points = transform_points(invert(T_world_from_depth), points_world)
    front = points[:, 2] > 0.1
    pixels = np.full((len(points), 2), -1, dtype=np.int64)
    pixels[front] = np.rint(camera.project_camera(points[front])).astype(np.int64)
    inside = ((pixels >= 0) & (pixels < [camera.width_px, camera.height_px])).all(axis=1)
    # The nearest depth around a pixel: an outline that is off by a pixel must not open a surface.
    known = cv2.erode(empty.depth_m.astype(np.float32), np.ones((3, 3), np.uint8))
    through = np.zeros(len(points), dtype=bool)
    z = points[inside, 2]
    beyond = known[pixels[inside, 1], pixels[inside, 0]] - z
    through[inside] = beyond > settings.beyond_m + settings.beyond_share * z
    return through


def _measured_points(
    camera: RigCamera, T_world_from_depth: Float[np.ndarray, "4 4"], empty: EmptyDepth
) -> Float[np.ndarray, "points 3"]:
    points = depth_points(camera, empty.depth_m, empty.depth_m > 0)
    return transform_points(T_world_from_depth, points)


def _within_reach(
    points: Float[np.ndarray, "points 3"], targets: Float[np.ndarray, "targets 3"], reach_m: float
) -> Bool[np.ndarray, " points"]:
    """Which points have a target so near; none when there are no targets."""
    distance, _ = cKDTree(targets).query(points, distance_upper_bound=reach_m)
    return np.isfinite(distance)


def _without_specks(
    scan: Scan, faces: Bool[np.ndarray, " faces"], settings: MovedSettings
) -> Bool[np.ndarray, " faces"]:
    index = np.flatnonzero(faces)
    labels, count = _clusters(scan.face_centers[index], settings.reach_m)
    area = np.bincount(labels, scan.face_areas[index], minlength=count)
    kept = np.zeros_like(faces)
    kept[index[area[labels] >= settings.min_area_m2]] = True
    return kept


def _clusters(
    points: Float[np.ndarray, "points 3"], reach_m: float
) -> tuple[Int[np.ndarray, " points"], int]:
    if len(points) == 0:
        return np.zeros(0, dtype=np.int64), 0
    graph = cKDTree(points).sparse_distance_matrix(cKDTree(points), reach_m, output_type="coo_matrix")
    count, labels = connected_components(graph, directed=False)
    return labels.astype(np.int64), int(count)


def _grown(
    centers: Float[np.ndarray, "faces 3"],
    seeds: Bool[np.ndarray, " faces"],
    loose: Bool[np.ndarray, " faces"],
    settings: MovedSettings,
) -> Bool[np.ndarray, " faces"]:
    near = _within_reach(centers, centers[seeds], settings.max_reach_m)
    candidates = np.flatnonzero(loose & near)
    labels, _ = _clusters(centers[candidates], settings.reach_m)
    reached = np.unique(labels[seeds[candidates]])
    grown = seeds.copy()
    grown[candidates[np.isin(labels, reached)]] = True
    return grown


def _appeared(
    empty: EmptyDepth, scan_depth_m: Float[np.ndarray, "height width"], settings: MovedSettings
) -> Bool[np.ndarray, "height width"]:
    both = (empty.depth_m > 0) & (scan_depth_m > 0)
    nearer = scan_depth_m - empty.depth_m > settings.beyond_m + settings.beyond_share * empty.depth_m
    opened = cv2.morphologyEx(
        (both & nearer).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)
    )
    return np.asarray(opened).astype(bool)
