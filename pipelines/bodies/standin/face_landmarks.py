"""The 51 static face landmarks and the 79 x 17 jaw contour, as places on faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from pipelines.bodies.joints import PICKED_NAMES, PICKED_SMPLX, SMPLX_JOINTS
from pipelines.bodies.standin.surface_points import barycentric, closest_points
from pipelines.geometry.meshes import RayCaster

_FIRST_LIP = 31
_LIP_DEPTH_M = 0.012
"""A ray that ends this far from the other lip points went into the mouth."""
NUM_YAWS, NUM_CONTOUR = 79, 17
_BEHIND_EAR_M = 0.015
_BAND_M = 0.008

_BROW = ((-0.88, 0.30), (-0.72, 0.42), (-0.53, 0.46), (-0.34, 0.44), (-0.17, 0.36))
_EYE = ((-0.24, 0), (-0.09, 0.07), (0.09, 0.07), (0.24, 0), (0.09, -0.07), (-0.09, -0.07))
# fmt: off
_LIPS = (
    (-0.42, 0), (-0.27, 0.07), (-0.10, 0.11), (0, 0.095), (0.10, 0.11), (0.27, 0.07),
    (0.42, 0), (0.27, -0.09), (0.10, -0.13), (0, -0.14), (-0.10, -0.13), (-0.27, -0.09),
    (-0.35, 0), (-0.12, 0.02), (0, 0.02), (0.12, 0.02), (0.35, 0), (0.12, -0.02),
    (0, -0.02), (-0.12, -0.02),
)
# fmt: on


@dataclass(frozen=True, slots=True, eq=False)
class FaceLandmarks:
    """Faces and barycentric weights, as the SMPL-X file stores them."""

    static_faces: Int[np.ndarray, "51"]
    static_weights: Float[np.ndarray, "51 3"]
    contour_faces: Int[np.ndarray, "79 17"]
    contour_weights: Float[np.ndarray, "79 17 3"]


def find_face_landmarks(
    vertices: Float[np.ndarray, "10475 3"],
    faces: Int[np.ndarray, "20908 3"],
    joints: Float[np.ndarray, "55 3"],
    weights: Float[np.ndarray, "10475 55"],
) -> FaceLandmarks:
    """Landmarks on the mean SMPL-X body in T-pose (y up, facing +z)."""
    static_faces, places = _static(vertices, faces, joints)
    static_weights = barycentric(vertices[faces[static_faces]], places)
    owned = weights[:, [SMPLX_JOINTS.index("head"), SMPLX_JOINTS.index("jaw")]].sum(1) > 0.5
    ear = vertices[PICKED_SMPLX[PICKED_NAMES.index("left_ear")]]
    front = np.flatnonzero(owned & (vertices[:, 2] > ear[2] + _BEHIND_EAR_M))
    contour = _contour_vertices(vertices, front, ear[1])
    contour_faces, contour_weights = _as_corners(faces, contour)
    return FaceLandmarks(static_faces, static_weights, contour_faces, contour_weights)


def _layout(nose: Float[np.ndarray, "3"], eyes: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "51 2"]:
    """Canonical front layout in x, y metres; OpenPose order 17..67, from the right brow on."""
    middle, unit = eyes.mean(0), float(np.linalg.norm(eyes[0] - eyes[1]))

    def around(points: tuple[tuple[float, float], ...], x: float, y: float) -> list[list[float]]:
        return [[x + dx * unit, y + dy * unit] for dx, dy in points]

    bridge = ((0, -0.02), (0, -0.22), (0, -0.42))
    nostrils = tuple((dx, -0.17) for dx in (-0.22, -0.11, 0, 0.11, 0.22))
    other_brow = tuple((-dx, dy) for dx, dy in reversed(_BROW))
    rows = around(_BROW + other_brow + bridge, middle[0], middle[1])
    rows += [[middle[0], nose[1]]]
    rows += around(nostrils, middle[0], nose[1])
    rows += around(_EYE, middle[0] - 0.5 * unit, middle[1])
    rows += around(_EYE, middle[0] + 0.5 * unit, middle[1])
    rows += around(_LIPS, middle[0], nose[1] - 0.62 * unit)
    return np.array(rows)


def _static(
    vertices: Float[np.ndarray, "10475 3"],
    faces: Int[np.ndarray, "20908 3"],
    joints: Float[np.ndarray, "55 3"],
) -> tuple[Int[np.ndarray, "51"], Float[np.ndarray, "51 3"]]:
    nose = vertices[PICKED_SMPLX[PICKED_NAMES.index("nose")]]
    eyes = joints[[SMPLX_JOINTS.index("left_eye"), SMPLX_JOINTS.index("right_eye")]]
    layout = _layout(nose, eyes)
    start = np.column_stack([layout, np.full(len(layout), eyes[0, 2] + 0.3)])
    backward = np.tile([0.0, 0.0, -1.0], (len(start), 1))
    distance, hit = RayCaster(vertices, faces).first_hit(start, backward)
    places = start + distance[:, None] * backward
    lip_z = np.median(places[_FIRST_LIP : _FIRST_LIP + 12, 2])
    in_mouth = (np.arange(len(places)) >= _FIRST_LIP) & (np.abs(places[:, 2] - lip_z) > _LIP_DEPTH_M)
    wanted = np.column_stack([places[in_mouth, :2], np.full(in_mouth.sum(), lip_z)])
    places[in_mouth], hit[in_mouth] = closest_points(vertices[faces], wanted)
    return hit, places


def _contour_vertices(
    vertices: Float[np.ndarray, "10475 3"], front: Int[np.ndarray, " front"], ear_y: float
) -> Int[np.ndarray, "79 17"]:
    """Outermost head vertices in the turned view, 8 heights a side, and the chin between."""
    x, y, z = vertices[front].T
    chin = np.argmin(y - 1.5 * z)
    contour = np.zeros((NUM_YAWS, NUM_CONTOUR), np.int64)
    for row in range(NUM_YAWS):
        yaw = np.deg2rad(row if row <= 39 else 39 - row)  # rows 40..78 are -1..-39 degrees
        across = np.cos(yaw) * x + np.sin(yaw) * z
        for k, height in enumerate(np.linspace(ear_y, y[chin] + 0.004, 9)[:8]):
            band = np.flatnonzero(np.abs(y - height) < _BAND_M)
            contour[row, k] = front[band[np.argmin(across[band])]]
            contour[row, NUM_CONTOUR - 1 - k] = front[band[np.argmax(across[band])]]
        contour[row, NUM_CONTOUR // 2] = front[chin]
    return contour


def _as_corners(
    faces: Int[np.ndarray, "20908 3"], ids: Int[np.ndarray, "79 17"]
) -> tuple[Int[np.ndarray, "79 17"], Float[np.ndarray, "79 17 3"]]:
    """Any face that has the vertex as a corner, and weights that pick that corner."""
    vertex, first = np.unique(faces, return_index=True)
    position = first[np.searchsorted(vertex, ids)]
    return position // 3, np.eye(3)[position % 3]
