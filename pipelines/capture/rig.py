"""The two cameras of a capture as pinholes: lenses undone, pixels of the true image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from pipelines.capture.cameras import Lens, as_pose, read_lens, read_pose, undistortion_maps
from pipelines.capture.frames import CapturedFrame
from pipelines.capture.settings import CaptureSettings
from pipelines.errors import DataInvalid
from pipelines.geometry.cameras import RigCamera
from pipelines.geometry.transforms import invert

OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
_LONGEST_BASELINE_M = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class CaptureRig:
    """How the capture's images become metric."""

    color: RigCamera
    """The rig's frame is the colour camera's."""
    depth: RigCamera
    depth_unit_m: float
    max_depth_m: float
    mirrored: bool
    T_world_from_camera: Float[np.ndarray, "4 4"]
    """Of the colour camera, in the scan's frame."""
    notes: tuple[str, ...]
    _color_lens: Lens
    _color_maps: tuple[np.ndarray, np.ndarray] | None
    _depth_maps: tuple[np.ndarray, np.ndarray] | None

    @property
    def T_world_from_depth(self) -> Float[np.ndarray, "4 4"]:  # noqa: N802
        """Of the depth camera."""
        return self.T_world_from_camera @ invert(self.depth.T_camera_from_rig)

    def color_image(self, frame: CapturedFrame) -> UInt8[np.ndarray, "height width 3"]:
        """RGB, true image, without distortion."""
        image = _decode(frame.color, cv2.IMREAD_COLOR, (self.color.width_px, self.color.height_px))
        image = np.ascontiguousarray(image[:, :, ::-1])
        return self._undo(image, self._color_maps, cv2.INTER_LINEAR)

    def depth_m(self, frame: CapturedFrame) -> Float32[np.ndarray, "height width"] | None:
        """Depth along the camera's axis, true image, without distortion; 0 = no return, or too far."""
        if frame.depth is None:
            return None
        size = (self.depth.width_px, self.depth.height_px)
        image = _decode(frame.depth, cv2.IMREAD_UNCHANGED, size)
        if image.dtype != np.uint16 or image.ndim != 2:
            raise DataInvalid(
                "depth image is not 16-bit",
                where=frame.depth,
                expected="one channel of 16 bits",
                found=f"{image.dtype} of shape {image.shape}",
                fix="export the raw depth; a coloured or 8-bit picture of it cannot be measured",
            )
        image = self._undo(image, self._depth_maps, cv2.INTER_NEAREST)
        depth_m = (image * np.float32(self.depth_unit_m)).astype(np.float32)
        return np.where(depth_m < self.max_depth_m, depth_m, np.float32(0))

    def color_mask(self, path: Path) -> UInt8[np.ndarray, "height width"]:
        """Grey values of a mask of the colour image, true image, without distortion."""
        image = _decode(path, cv2.IMREAD_GRAYSCALE, (self.color.width_px, self.color.height_px))
        return self._undo(image, self._color_maps, cv2.INTER_NEAREST)

    def undistort_px(self, pixels: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "points 2"]:
        """Pixels of the captured (true) colour image -> pixels of the image without distortion."""
        lens = self._color_lens
        if self._color_maps is None or len(pixels) == 0:
            return pixels
        source = np.ascontiguousarray(pixels, np.float64).reshape(-1, 1, 2)
        moved = cv2.undistortPoints(source, lens.K, lens.distortion, P=lens.K)
        return np.asarray(moved, np.float64).reshape(-1, 2)

    def _undo(
        self, image: np.ndarray, maps: tuple[np.ndarray, np.ndarray] | None, interpolation: int
    ) -> np.ndarray:
        if self.mirrored:
            image = np.ascontiguousarray(image[:, ::-1])
        if maps is None:
            return image
        return np.asarray(cv2.remap(image, *maps, interpolation, borderMode=cv2.BORDER_CONSTANT))


def read_rig(settings: CaptureSettings, frames: tuple[CapturedFrame, ...]) -> CaptureRig:
    """Cameras and pose for the sizes of the images that are there.

    Raises:
        DataMissing: a file is absent.
        DataInvalid: a file is not understood, or the two cameras lie too far apart.
    """
    color_size = _size_of(frames[0].color)
    with_depth = next(frame.depth for frame in frames if frame.depth is not None)
    depth_size = _size_of(with_depth)
    color_path = settings.path(settings.color_camera)
    color = read_lens(color_path, "color", color_size)
    notes = [f"colour {color_size[0]} x {color_size[1]}", *color.notes]
    if settings.depth_aligned:
        if depth_size != color_size:
            raise DataInvalid(
                "aligned depth has another size than colour",
                where=with_depth,
                expected="{} x {}".format(*color_size),
                found="{} x {}".format(*depth_size),
                fix="set depth_aligned to false and give depth_camera",
            )
        depth, T_color_from_depth = color, np.eye(4)
    else:
        depth_path = settings.path(settings.depth_camera or settings.color_camera)
        depth = read_lens(depth_path, "depth", depth_size)
        T_color_from_depth = _extrinsics(settings, depth, color, notes)
        notes += depth.notes
    notes.append(f"depth {depth_size[0]} x {depth_size[1]}, {settings.depth_unit_m * 1000:g} mm a step")
    pinholes = [_pinhole(color, np.eye(4)), _pinhole(depth, invert(T_color_from_depth))]
    return CaptureRig(
        color=pinholes[0],
        depth=pinholes[1],
        depth_unit_m=settings.depth_unit_m,
        max_depth_m=settings.max_depth_m,
        mirrored=settings.mirrored,
        T_world_from_camera=_pose(settings),
        notes=tuple(notes),
        _color_lens=color,
        _color_maps=_maps(color),
        _depth_maps=_maps(depth),
    )


def depth_points(
    camera: RigCamera,
    depth_m: Float[np.ndarray, "rows columns"],
    chosen: Bool[np.ndarray, "rows columns"],
) -> Float[np.ndarray, "points 3"]:
    """Points of the chosen depth pixels in raster order, in the depth camera's own frame."""
    rows, columns = np.nonzero(chosen)
    rays = camera.rays(np.column_stack([columns, rows]).astype(np.float64))
    return rays * depth_m[chosen][:, None].astype(np.float64)


def with_pose(rig: CaptureRig, T_world_from_camera: Float[np.ndarray, "4 4"]) -> CaptureRig:
    """The same cameras elsewhere."""
    return replace(rig, T_world_from_camera=T_world_from_camera)


def _pose(settings: CaptureSettings) -> Float[np.ndarray, "4 4"]:
    T = read_pose(settings.path(settings.camera_pose))
    T[:3, 3] *= settings.pose_unit_m
    if settings.camera_pose_is == "camera_from_world":
        T = invert(T)
    return T @ OPENCV_FROM_OPENGL if settings.camera_axes == "opengl" else T


def _extrinsics(
    settings: CaptureSettings, depth: Lens, color: Lens, notes: list[str]
) -> Float[np.ndarray, "4 4"]:
    if settings.depth_to_color is not None:
        path: object = settings.path(settings.depth_to_color)
        T = read_pose(settings.path(settings.depth_to_color))
    else:
        path = settings.path(settings.depth_camera or settings.color_camera)
        stored = next(
            (x for x in (depth.T_color_from_depth, color.T_color_from_depth) if x is not None), None
        )
        if stored is None:
            raise DataInvalid(
                "no extrinsics between depth and colour camera",
                where=path,
                expected="ext_depth2color in the camera file, or depth_to_color",
                fix="give depth_to_color=<file>, or depth_aligned=true where depth was aligned to colour",
            )
        T = as_pose(stored, path)
    T = T.copy()
    if np.linalg.norm(T[:3, 3]) > _LONGEST_BASELINE_M:
        T[:3, 3] /= 1000
        notes.append("extrinsics between the cameras read as millimetres")
    if np.linalg.norm(T[:3, 3]) > _LONGEST_BASELINE_M:
        raise DataInvalid("the two cameras lie more than a metre apart", where=path, found=T.tolist())
    return invert(T) if settings.depth_to_color_is == "depth_from_color" else T


def _pinhole(lens: Lens, T_camera_from_rig: Float[np.ndarray, "4 4"]) -> RigCamera:
    return RigCamera(lens.K, np.zeros(5), T_camera_from_rig, *lens.size_px)


def _maps(lens: Lens) -> tuple[np.ndarray, np.ndarray] | None:
    return undistortion_maps(lens) if np.any(lens.distortion != 0) else None


def _size_of(path: Path) -> tuple[int, int]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise DataInvalid("image cannot be decoded", where=path)
    return image.shape[1], image.shape[0]


def _decode(path: Path, flags: int, size_px: tuple[int, int]) -> np.ndarray:
    image = cv2.imread(str(path), flags)
    if image is None:
        raise DataInvalid("image cannot be decoded", where=path, fix="get the file again")
    if image.shape[1::-1] != size_px:
        raise DataInvalid(
            "image has another size than the first one",
            where=path,
            expected="{} x {}".format(*size_px),
            found="{} x {}".format(*image.shape[1::-1]),
        )
    return np.asarray(image)
