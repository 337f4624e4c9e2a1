"""Do depth, cameras, pose and scan agree? And if not, which single mistake would explain it?

The static background of the depth images is compared with the scan's own depth from the stated pose.
Where they disagree, the usual mistakes are undone one at a time, then two at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from tqdm import tqdm

from pipelines.capture.frames import CapturedFrame
from pipelines.capture.rig import OPENCV_FROM_OPENGL, CaptureRig
from pipelines.capture.settings import CaptureSettings, CheckSettings
from pipelines.geometry.cameras import RigCamera
from pipelines.geometry.meshes import RayCaster
from pipelines.geometry.transforms import invert

_COARSE_PX = 8
_FAR_QUANTILE = 0.8
_MIN_SEEN = 3
_DEPTH_UNITS_M = (0.001, 0.000125, 0.0001, 0.0002, 0.00025, 0.0005)
_EXPLAINED = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """What the depth camera sees when nobody is in the way."""

    depth_m: Float32[np.ndarray, "height width"]
    """0 where it is never measured."""
    frames: int
    """Looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class ScanView:
    """The scan as a camera should see it."""

    depth_m: Float[np.ndarray, "height width"]
    """0 where there is no scan."""
    face: Int[np.ndarray, "height width"]
    """-1 where there is no scan."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read the inputs, and how well it agrees."""

    settings: tuple[str, ...]
    """What to set, in `init`'s own words; empty = as given."""
    median_m: float
    """Median |depth - scan depth| where both exist."""
    agree: float
    """Share of the measured background within reach of the scan."""
    covered: float
    """Share of the measured background in whose direction there is scan."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The reading as given, and the best other one."""

    given: Reading
    best: Reading
    ok: bool
    mistake: bool
    """The best other reading is so much better that the inputs must be wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class _Guess:
    """A reading under trial."""

    depth_m: Float[np.ndarray, "height width"]
    K: Float[np.ndarray, "3 3"]
    T_color_from_depth: Float[np.ndarray, "4 4"]
    T_world_from_camera: Float[np.ndarray, "4 4"]
    scan_scale: float = 1.0


def static_background(
    rig: CaptureRig, frames: Sequence[CapturedFrame], settings: CheckSettings, progress: bool = False
) -> Background:
    """A far quantile of each pixel's depth over the frames: people come and go before it.

    Raises:
        DataInvalid: a depth image is broken.
    """
    usable = [frame for frame in frames if frame.depth is not None]
    picked = np.unique(np.linspace(0, len(usable) - 1, settings.sampled_frames).astype(np.int64))
    shown = tqdm(picked, desc="reading depth", unit="frame", disable=not progress)
    images = [image for row in shown if (image := rig.depth_m(usable[row])) is not None]
    stack = np.stack(images)
    seen = (stack > 0).sum(axis=0)
    stack[stack == 0] = np.nan
    enough = seen >= min(_MIN_SEEN, len(images))
    depth = np.zeros(stack.shape[1:], np.float32)
    ordered = np.sort(stack[:, enough], axis=0)  # NaN last
    row = np.floor((seen[enough] - 1) * _FAR_QUANTILE).astype(np.int64)
    depth[enough] = ordered[row, np.arange(ordered.shape[1])]
    return Background(depth, len(images))


def view_scan(caster: RayCaster, camera: RigCamera, T_world_from_camera: np.ndarray) -> ScanView:
    """Cast every pixel of a camera at the scan."""
    columns, rows = np.meshgrid(np.arange(camera.width_px), np.arange(camera.height_px))
    pixels = np.column_stack([columns.ravel(), rows.ravel()]).astype(np.float64)
    depth, face = _cast(caster, camera.rays(pixels), T_world_from_camera)
    return ScanView(depth.reshape(columns.shape), face.reshape(columns.shape))


def check_agreement(
    caster: RayCaster, rig: CaptureRig, background: Background, settings: CaptureSettings
) -> Agreement:
    """Compare background and scan as given, and under the usual mistakes."""
    guess = _Guess(
        background.depth_m[::_COARSE_PX, ::_COARSE_PX].astype(np.float64),
        rig.depth.K,
        invert(rig.depth.T_camera_from_rig),
        rig.T_world_from_camera,
    )
    near = settings.check.near_m
    given = _measure(caster, guess, near, ())
    undo = _mistakes(settings, background.depth_m.shape[1])
    others = [_measure(caster, fix(guess), near, (text,)) for text, fix in undo]
    best = max(others, key=lambda reading: reading.agree)
    if max(best.agree, given.agree) < _EXPLAINED:
        pairs = combinations(undo, 2)
        others += [_measure(caster, b(a(guess)), near, (one, two)) for (one, a), (two, b) in pairs]
        best = max(others, key=lambda reading: reading.agree)
    better = best.agree > given.agree + settings.check.better_by
    return Agreement(given, best, given.agree >= settings.check.good_share and not better, better)


def _measure(caster: RayCaster, guess: _Guess, near_m: float, settings: tuple[str, ...]) -> Reading:
    height, width = guess.depth_m.shape
    columns, rows = np.meshgrid(np.arange(width) * _COARSE_PX, np.arange(height) * _COARSE_PX)
    K = guess.K
    rays = np.stack([(columns - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1]], axis=-1)
    measured = guess.depth_m > 0
    rays = np.column_stack([rays[measured], np.ones(int(measured.sum()))])
    # A scan in other units is the same as a world in other units around the same scan.
    T = guess.T_world_from_camera @ guess.T_color_from_depth
    T = T.copy()
    T[:3, 3] /= guess.scan_scale
    depth, face = _cast(caster, rays, T)
    error = np.abs(depth * guess.scan_scale - guess.depth_m[measured])
    hit = face >= 0
    median = float(np.median(error[hit])) if hit.any() else float("nan")
    close = hit & (error < near_m)
    if not len(rays):
        return Reading(settings, median, 0.0, 0.0)
    return Reading(settings, median, float(close.mean()), float(hit.mean()))


def _cast(
    caster: RayCaster, rays: Float[np.ndarray, "points 3"], T_world_from_camera: np.ndarray
) -> tuple[Float[np.ndarray, " points"], Int[np.ndarray, " points"]]:
    """Depth (0 without a hit) and face of rays with z = 1."""
    directions = rays @ T_world_from_camera[:3, :3].T
    origins = np.repeat(T_world_from_camera[None, :3, 3], len(rays), axis=0)
    depth, face = caster.first_hit(origins, directions)
    hit: Bool[np.ndarray, " points"] = (face >= 0) & np.isfinite(depth)
    return np.where(hit, depth, 0.0), np.where(hit, face, -1)


def _mistakes(settings: CaptureSettings, width_px: int) -> list[tuple[str, Callable[[_Guess], _Guess]]]:
    """What people get wrong: the setting that undoes it, and its effect."""
    other_pose = (
        "camera_from_world" if settings.camera_pose_is == "world_from_camera" else "world_from_camera"
    )
    other_axes = "opengl" if settings.camera_axes == "opencv" else "opencv"
    found: list[tuple[str, Callable[[_Guess], _Guess]]] = [
        (f"camera_pose_is={other_pose}", lambda g: _inverted_pose(g, settings.camera_axes == "opengl")),
        (f"camera_axes={other_axes}", _other_axes),
        (f"mirrored={str(not settings.mirrored).lower()}", lambda g: _mirrored(g, width_px)),
        (f"pose_unit_m={settings.pose_unit_m / 1000:g}", lambda g: _pose_scaled(g, 0.001)),
        (f"pose_unit_m={settings.pose_unit_m * 1000:g}", lambda g: _pose_scaled(g, 1000.0)),
    ]
    for factor in (0.001, 0.01, 0.0254, 1000.0):
        text = f"scan_unit_m={settings.scan_unit_m * factor:g}"
        found.append((text, lambda g, f=factor: replace(g, scan_scale=f)))  # type: ignore[misc]
    for unit in _DEPTH_UNITS_M:
        factor = unit / settings.depth_unit_m
        if abs(factor - 1) > 0.01:
            text = f"depth_unit_m={unit:g}"
            found.append((text, lambda g, f=factor: replace(g, depth_m=g.depth_m * f)))  # type: ignore[misc]
    if not settings.depth_aligned:
        names = ("color_from_depth", "depth_from_color")
        other = names[settings.depth_to_color_is == names[0]]
        found.append((f"depth_to_color_is={other}", _inverted_extrinsics))
    return found


def _inverted_pose(guess: _Guess, opengl: bool) -> _Guess:
    axes = OPENCV_FROM_OPENGL if opengl else np.eye(4)  # its own inverse; what is inverted is the file
    return replace(guess, T_world_from_camera=invert(guess.T_world_from_camera @ axes) @ axes)


def _other_axes(guess: _Guess) -> _Guess:
    return replace(guess, T_world_from_camera=guess.T_world_from_camera @ OPENCV_FROM_OPENGL)


def _mirrored(guess: _Guess, width_px: int) -> _Guess:
    # Mirroring the image about its middle is to mirror the principal point and the samples.
    shift = (width_px - 1) - (guess.depth_m.shape[1] - 1) * _COARSE_PX
    K = guess.K.copy()
    K[0, 2] -= shift
    return replace(guess, depth_m=guess.depth_m[:, ::-1], K=K)


def _pose_scaled(guess: _Guess, factor: float) -> _Guess:
    T = guess.T_world_from_camera.copy()
    T[:3, 3] *= factor
    return replace(guess, T_world_from_camera=T)


def _inverted_extrinsics(guess: _Guess) -> _Guess:
    return replace(guess, T_color_from_depth=invert(guess.T_color_from_depth))
