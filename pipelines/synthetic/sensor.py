"""The Kinect One as the synthetic tree imitates it: calibrated rig, depth noise, masks, stored codes.

Images here are true (un-mirrored); `stored` turns them into the mirrored form PROX keeps on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Shaped, UInt8, UInt16

from pipelines.geometry.cameras import RigCamera
from pipelines.geometry.transforms import rigid

DEPTH_CODES_PER_M = 8000
"""PROX stores depth in eighths of a millimetre."""
DEPTH_LIMIT_M = 8.0
NO_BODY = 255
"""BodyIndex value of background; 0..5 number the bodies. BodyIndexColor uses 0 and 255."""

_COLOR_K = (1060.531764702488, 1060.3856705041237, 951.2999547224418, 536.7703598373467)
# The real coefficients are not public. These move no pixel of the image by more than 2 px, because
# every PROX-style fit projects bodies without them while depth is registered with them.
_COLOR_DISTORTION = (0.0045, -0.0040, 1.2e-4, -0.8e-4, 0.0006)
_COLOR_ROTVEC, _COLOR_T = (
    (0.003, -0.006, 0.002),
    (-0.052654542634615296, -1.861571860015632e-05, -8.75555283312419e-05),
)
_INFRARED_K = (365.4, 365.6, 257.3, 205.1)
_INFRARED_DISTORTION = (0.07, -0.16, 4e-4, -3e-4, 0.05)
_INFRARED_ROTVEC, _INFRARED_T = (0.021, 0.034, -0.012), (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class KinectRig:
    """The two cameras and the rotation vectors their calibration files carry."""

    color: RigCamera
    infrared: RigCamera


def kinect_rig() -> KinectRig:
    """Colour camera with the intrinsics known from public PROX code; infrared rotated by 2.4 degrees."""
    return KinectRig(
        _camera(_COLOR_K, _COLOR_DISTORTION, _COLOR_ROTVEC, _COLOR_T, (1920, 1080)),
        _camera(_INFRARED_K, _INFRARED_DISTORTION, _INFRARED_ROTVEC, _INFRARED_T, (512, 424)),
    )


def _camera(
    intrinsics: tuple[float, ...],
    distortion: tuple[float, ...],
    rotvec: tuple[float, ...],
    translation: tuple[float, ...],
    size_px: tuple[int, int],
) -> RigCamera:
    fx, fy, cx, cy = intrinsics
    rotmat, _ = cv2.Rodrigues(np.array(rotvec))
    return RigCamera(
        K=np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]),
        distortion=np.array(distortion),
        T_camera_from_rig=rigid(rotmat, np.array(translation)),
        width_px=size_px[0],
        height_px=size_px[1],
    )


def calibration_json(camera: RigCamera) -> dict[str, Any]:
    """The seven keys of a PROX calibration file."""
    T = camera.T_camera_from_rig
    rotvec, _ = cv2.Rodrigues(T[:3, :3])
    return {
        "camera_mtx": camera.K.tolist(),
        "k": camera.distortion.tolist(),
        "f": [camera.K[0, 0], camera.K[1, 1]],
        "c": [camera.K[0, 2], camera.K[1, 2]],
        "R": rotvec.ravel().tolist(),
        "T": T[:3, 3].tolist(),
        "view_mtx": T[:3].tolist(),
    }


def stored(
    image: Shaped[np.ndarray, "height width *channels"],
) -> Shaped[np.ndarray, "height width *channels"]:
    """True image -> mirrored as the Kinect writes it (column x -> W-1-x)."""
    return np.ascontiguousarray(image[:, ::-1])


def depth_codes(depth_m: Float[np.ndarray, "height width"]) -> UInt16[np.ndarray, "height width"]:
    """Metres -> 16-bit codes of 1/8 mm; 0 = no return."""
    codes = np.round(depth_m * DEPTH_CODES_PER_M)
    return np.clip(np.where(depth_m < DEPTH_LIMIT_M, codes, 0), 0, 65535).astype(np.uint16)


def sense_depth(
    depth_m: Float[np.ndarray, "height width"],
    cosine: Float[np.ndarray, "height width"],
    rng: np.random.Generator,
) -> Float32[np.ndarray, "height width"]:
    """Degrade a perfect depth image as a time-of-flight camera would.

    Axial noise grows with the square of the depth and at slanted surfaces; pixels beside a depth edge
    mix both sides (flying pixels) or are lost; grazing and far surfaces are lost.

    Args:
        depth_m: z along the camera axis; inf or 0 where nothing is hit.
        cosine: of the angle between the ray and the surface normal, in 0..1.
        rng: one generator per frame keeps frames independent of their order.
    """
    shape = depth_m.shape
    z = np.where(np.isfinite(depth_m), depth_m, 0).astype(np.float32)
    sigma = (0.0010 + 0.0004 * z**2) / np.sqrt(np.clip(cosine, 0.15, 1)).astype(np.float32)
    wobble = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), 2.5) * 8.0
    noisy = z + sigma * (0.8 * rng.standard_normal(shape, np.float32) + 0.6 * wobble)
    near, far = _neighbour_range(z)
    edge = (far - near) > 0.06 + 0.03 * z
    dice = rng.random(shape, np.float32)
    mixed = near + (far - near) * rng.random(shape, np.float32)
    noisy = np.where(edge & (dice < 0.25), mixed, noisy)
    lost = edge & (dice > 0.65)
    lost |= rng.random(shape, np.float32) < _loss_probability(z, cosine)
    lost |= (z < 0.5) | (z > DEPTH_LIMIT_M - 0.1)
    return np.where(lost, 0, noisy).astype(np.float32)


def _neighbour_range(
    z: Float32[np.ndarray, "height width"],
) -> tuple[Float32[np.ndarray, "height width"], Float32[np.ndarray, "height width"]]:
    kernel = np.ones((3, 3), np.uint8)
    return cv2.erode(z, kernel), cv2.dilate(z, kernel)


def _loss_probability(
    z: Float32[np.ndarray, "height width"], cosine: Float[np.ndarray, "height width"]
) -> Float32[np.ndarray, "height width"]:
    grazing = np.clip((0.17 - cosine) / 0.12, 0, 1)
    far = np.clip((z - 4.5) / 4.0, 0, 1)
    return np.clip(0.002 + grazing + far, 0, 1).astype(np.float32)


def rough_mask(
    silhouette: Bool[np.ndarray, "height width"], border_px: float, rng: np.random.Generator
) -> Bool[np.ndarray, "height width"]:
    """A silhouette whose border wanders by about `border_px`, as a segmentation network draws it."""
    if not silhouette.any() or border_px <= 0:
        return silhouette.copy()
    height, width = silhouette.shape
    soft = cv2.GaussianBlur(silhouette.astype(np.float32), (0, 0), 2 * border_px)
    coarse = rng.standard_normal((height // 24 + 2, width // 24 + 2)).astype(np.float32)
    wander = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(soft > 0.5 + 0.14 * np.clip(wander, -2, 2))


def encode_png(image: UInt8[np.ndarray, "height width"] | UInt16[np.ndarray, "height width"]) -> bytes:
    """Lossless PNG bytes of a true image, mirrored on the way."""
    _, buffer = cv2.imencode(".png", stored(image), [cv2.IMWRITE_PNG_COMPRESSION, 2])
    return buffer.tobytes()


def encode_jpeg(rgb: UInt8[np.ndarray, "height width 3"], quality: int = 90) -> bytes:
    """JPEG bytes of a true RGB image, mirrored on the way."""
    bgr = stored(rgb[..., ::-1])
    _, buffer = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return buffer.tobytes()
