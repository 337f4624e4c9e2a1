"""Pictures by which a person sees what is wrong: frame graph, depth against scan, edges on colour."""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from pipelines.capture.agreement import Background, ScanView
from pipelines.capture.rig import CaptureRig, depth_points
from pipelines.capture.scan import Scan
from pipelines.geometry.transforms import transform_points

_FULL_SCALE_M = 0.2
_JUMP_M, _JUMP_SHARE = 0.06, 0.02
_CREASE_COSINE = 0.85
_EDGE_PX = 3.0
_SHIFTS_PX = ((25, 0), (-25, 0), (0, 25), (0, -25))
_DRAWN_POINTS = 12_000
_FRUSTUM_M = 0.9


@dataclass(frozen=True, slots=True)
class EdgeScore:
    """How many of the scan's edges lie on edges of the colour image."""

    on_edges: float
    """Share within 3 px."""
    by_chance: float
    """The same with the scan's edges shifted by 25 px."""


def draw_frame_graph(
    scan: Scan,
    rig: CaptureRig,
    background: Background,
    floor_world: Float[np.ndarray, "4"] | None,
    title: str,
) -> bytes:
    """Scan, floor, both cameras with their view, measured background; from above and from the side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    generator = np.random.default_rng(0)
    shown = generator.choice(
        len(scan.vertices_world), min(_DRAWN_POINTS, len(scan.vertices_world)), False
    )
    points, measured = scan.vertices_world[shown], _background_world(rig, background, generator)
    figure = Figure(figsize=(12, 5.5), dpi=90)
    for number, (a, b, name) in enumerate(((0, 1, "from above"), (0, 2, "from the side")), start=1):
        axes = figure.add_subplot(1, 2, number)
        axes.scatter(points[:, a], points[:, b], s=0.5, c="0.6", label="scan")
        axes.scatter(measured[:, a], measured[:, b], s=0.5, c="tab:orange", label="measured by depth")
        for camera, T, color in (
            ("colour camera", rig.T_world_from_camera, "tab:blue"),
            ("depth camera", rig.T_world_from_depth, "tab:red"),
        ):
            lens = rig.color if camera.startswith("colour") else rig.depth
            corners = _frustum(lens.K, (lens.width_px, lens.height_px), T)
            for corner in corners:
                axes.plot([T[a, 3], corner[a]], [T[b, 3], corner[b]], c=color, lw=0.8)
            loop = np.vstack([corners, corners[:1]])
            axes.plot(loop[:, a], loop[:, b], c=color, lw=1.2, label=camera)
            up = T[:3, 3] - 0.4 * T[:3, 1]
            axes.plot([T[a, 3], up[a]], [T[b, 3], up[b]], c=color, lw=2.5)
        if floor_world is not None and b == 2:
            x = np.array([points[:, 0].min(), points[:, 0].max()])
            y = np.full(2, points[:, 1].mean())
            z = (floor_world[3] - floor_world[0] * x - floor_world[1] * y) / floor_world[2]
            axes.plot(x, z, c="tab:green", lw=1.5, label="floor")
        axes.set_aspect("equal")
        axes.set_xlabel(f"world {'xyz'[a]} (m)")
        axes.set_ylabel(f"world {'xyz'[b]} (m)")
        axes.set_title(name)
        axes.legend(loc="best", fontsize=7, markerscale=8)
    figure.suptitle(title)
    figure.tight_layout()
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream)  # type: ignore[no-untyped-call]
    return stream.getvalue()


def draw_depth_error(background: Background, view: ScanView) -> UInt8[np.ndarray, "height width 3"]:
    """Measured minus scanned depth: red = measured nearer, blue = farther, 20 cm full scale.

    Grey: measured, but no scan there. Black: not measured.
    """
    measured, scanned = background.depth_m > 0, view.depth_m > 0
    error = np.where(measured & scanned, background.depth_m - view.depth_m, 0) / _FULL_SCALE_M
    near, far = np.clip(-error, 0, 1), np.clip(error, 0, 1)
    picture = np.stack([1 - far, 1 - np.maximum(near, far), 1 - near], axis=-1)
    picture[measured & ~scanned] = 0.5
    picture[~measured] = 0
    return np.round(picture * 255).astype(np.uint8)


def scan_edges(
    view: ScanView, normals: Float[np.ndarray, "faces 3"]
) -> Bool[np.ndarray, "height width"]:
    """Where the scan's depth jumps or its surface bends, as a camera sees it."""
    depth = np.where(view.depth_m > 0, view.depth_m, 20.0)
    seen = view.face >= 0
    edges = np.zeros(depth.shape, dtype=bool)
    for axis in (0, 1):
        a, b = _pairs(depth, axis)
        jump = np.abs(a - b) > _JUMP_M + _JUMP_SHARE * np.minimum(a, b)
        first, second = _pairs(view.face, axis)
        both = np.logical_and(*_pairs(seen, axis))
        bend = np.einsum("...i,...i->...", normals[first], normals[second]) < _CREASE_COSINE
        mark = (jump | bend) & both
        target = edges[1:] if axis == 0 else edges[:, 1:]
        target |= mark
    # A noisy scan bends everywhere a little; lone pixels are no edge.
    solid = cv2.morphologyEx(edges.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= 60
    large[0] = False
    return edges & large[labels]


def draw_edges(
    color: UInt8[np.ndarray, "height width 3"], edges: Bool[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "height width 3"]:
    """The scan's edges over the colour image."""
    picture = (color * 0.75).astype(np.uint8)
    picture[cv2.dilate(edges.astype(np.uint8), np.ones((2, 2), np.uint8)).astype(bool)] = (0, 255, 90)
    return picture


def score_edges(
    color: UInt8[np.ndarray, "height width 3"], edges: Bool[np.ndarray, "height width"]
) -> EdgeScore:
    """Compare with the image's own edges."""
    grey = cv2.GaussianBlur(cv2.cvtColor(color, cv2.COLOR_RGB2GRAY), (0, 0), 1.2)
    image_edges = cv2.Canny(grey, 25, 60)
    distance = cv2.distanceTransform((image_edges == 0).astype(np.uint8), cv2.DIST_L2, 3)
    rows, columns = np.nonzero(edges)

    def share(shift: tuple[int, int]) -> float:
        row, column = rows + shift[1], columns + shift[0]
        inside = (row >= 0) & (row < color.shape[0]) & (column >= 0) & (column < color.shape[1])
        if not inside.any():
            return float("nan")
        return float((distance[row[inside], column[inside]] <= _EDGE_PX).mean())

    return EdgeScore(share((0, 0)), float(np.mean([share(shift) for shift in _SHIFTS_PX])))


def draw_masks(
    color: UInt8[np.ndarray, "height width 3"],
    person: Bool[np.ndarray, "height width"],
    keypoints_px: Float[np.ndarray, "points 2"],
) -> UInt8[np.ndarray, "height width 3"]:
    """Person mask and keypoints over a colour image."""
    picture = color.copy()
    picture[person] = (picture[person] * 0.5 + np.array([255, 60, 60]) * 0.5).astype(np.uint8)
    for x, y in np.rint(keypoints_px).astype(int).tolist():
        cv2.circle(picture, (x, y), 4, (255, 255, 0), -1)
    return picture


def draw_faces(
    color: UInt8[np.ndarray, "height width 3"], face: Int[np.ndarray, "height width"], chosen: np.ndarray
) -> UInt8[np.ndarray, "height width 3"]:
    """Chosen faces of the scan over the colour image."""
    hit = (face >= 0) & chosen[np.maximum(face, 0)]
    picture = color.copy()
    picture[hit] = (picture[hit] * 0.4 + np.array([255, 0, 200]) * 0.6).astype(np.uint8)
    return picture


def _pairs(image: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    return (image[:-1], image[1:]) if axis == 0 else (image[:, :-1], image[:, 1:])


def _frustum(
    K: Float[np.ndarray, "3 3"], size_px: tuple[int, int], T_world_from_camera: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "4 3"]:
    width, height = size_px
    pixels = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    rays = np.column_stack([(pixels - K[:2, 2]) / K.diagonal()[:2], np.ones(4)])
    return transform_points(T_world_from_camera, rays * _FRUSTUM_M)


def _background_world(
    rig: CaptureRig, background: Background, generator: np.random.Generator
) -> Float[np.ndarray, "points 3"]:
    points = depth_points(rig.depth, background.depth_m, background.depth_m > 0)
    shown = generator.permutation(len(points))[: _DRAWN_POINTS // 2]
    return transform_points(rig.T_world_from_depth, points[shown])
