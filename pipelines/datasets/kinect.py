"""Depth images to points: registration of the infrared camera to the colour camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt16

from pipelines.datasets.images import DEPTH_UNITS_PER_METRE
from pipelines.geometry.cameras import RigCamera
from pipelines.geometry.transforms import invert

MIN_DEPTH_M = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class RegisteredDepth:
    """The returns of one depth image that the colour camera sees, in raster order."""

    points_camera: Float[np.ndarray, "points 3"]
    """Colour camera frame, metres."""
    color_px: Int[np.ndarray, "points 2"]
    """Column and row in the colour image, rounded."""
    depth_index: Int[np.ndarray, " points"]
    """Flat index in the depth image."""


class DepthRegistration:
    """Carries depth pixels to the colour camera; the rays are undistorted once.

    Source: PROX data_parser.py and projection_utils.py, as told in the datasets page, section 1.6.
    """

    def __init__(self, infrared: RigCamera, color: RigCamera) -> None:
        self._color = color
        self._shape = (infrared.height_px, infrared.width_px)
        rows, columns = np.divmod(np.arange(infrared.height_px * infrared.width_px), infrared.width_px)
        rays = infrared.rays(np.column_stack([columns, rows]).astype(np.float64))
        T_color_from_infrared = color.T_camera_from_rig @ invert(infrared.T_camera_from_rig)
        # Rows of x, y, z: each operation below then runs over contiguous memory.
        self._rays = np.ascontiguousarray((rays @ T_color_from_infrared[:3, :3].T).T)
        self._origin = T_color_from_infrared[:3, 3]

    def register(
        self,
        depth_raw: UInt16[np.ndarray, "rows columns"],
        keep: Bool[np.ndarray, "rows columns"] | None = None,
    ) -> RegisteredDepth:
        """Every return that falls inside the colour image.

        Args:
            depth_raw: true (un-mirrored) depth image, 1/8 mm.
            keep: depth pixels to look at; all when None.
        """
        seen = depth_raw.ravel() > 0
        if keep is not None:
            seen &= keep.ravel()
        index = np.flatnonzero(seen)
        depth_m = depth_raw.ravel()[index] / DEPTH_UNITS_PER_METRE
        x, y, z = self._rays[:, index] * depth_m + self._origin[:, None]
        front = z > MIN_DEPTH_M
        if not front.all():
            index, x, y, z = index[front], x[front], y[front], z[front]
        column, row = self._pixels(x / z, y / z)
        inside = (column >= 0) & (column < self._color.width_px)
        inside &= (row >= 0) & (row < self._color.height_px)
        return RegisteredDepth(
            points_camera=np.column_stack([x[inside], y[inside], z[inside]]),
            color_px=np.column_stack([column[inside], row[inside]]),
            depth_index=index[inside],
        )

    def person_points(
        self,
        depth_raw: UInt16[np.ndarray, "rows columns"],
        person: Bool[np.ndarray, "height width"],
    ) -> Float[np.ndarray, "points 3"]:
        """Depth points of the person, colour camera frame, raster order.

        Args:
            depth_raw: true (un-mirrored) depth image.
            person: mask of the colour image, or of the depth image when it has that size.
        """
        if person.shape == self._shape:
            return self.register(depth_raw, keep=person).points_camera
        registered = self.register(depth_raw)
        column, row = registered.color_px.T
        return registered.points_camera[person[row, column]]

    def _pixels(
        self, x: Float[np.ndarray, " points"], y: Float[np.ndarray, " points"]
    ) -> tuple[Int[np.ndarray, " points"], Int[np.ndarray, " points"]]:
        """Rounded pixels of the normalised colour coordinates, with OpenCV's distortion."""
        k1, k2, p1, p2, k3 = self._color.distortion
        xx, yy, xy = x * x, y * y, x * y
        r2 = xx + yy
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        x_distorted = x * radial + 2 * p1 * xy + p2 * (r2 + 2 * xx)
        y_distorted = y * radial + p1 * (r2 + 2 * yy) + 2 * p2 * xy
        K = self._color.K
        # Far outside the image the polynomial may overflow an integer; such a pixel is outside anyway.
        u = np.clip(np.rint(K[0, 0] * x_distorted + K[0, 2]), -1, self._color.width_px)
        v = np.clip(np.rint(K[1, 1] * y_distorted + K[1, 2]), -1, self._color.height_px)
        return u.astype(np.int64), v.astype(np.int64)


def resample_points(
    points: Float[np.ndarray, "points 3"], count: int, generator: np.random.Generator
) -> Float[np.ndarray, "count 3"]:
    """Exactly `count` points: a random subset in the given order, or cyclic repetition; zeros if none.

    Source: humor datasets/prox_dataset.py. Differs from HuMoR: the generator is seeded.
    """
    if len(points) == 0:
        return np.zeros((count, 3))
    if len(points) <= count:
        return points[np.arange(count) % len(points)]
    return points[np.sort(generator.choice(len(points), count, replace=False))]
