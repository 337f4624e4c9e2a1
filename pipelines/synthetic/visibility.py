"""Which joints a camera sees past the room: rays against the furniture, the image border."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from pipelines.geometry.cameras import RigCamera
from pipelines.geometry.meshes import RayCaster

# Joints lie inside the limb: the ray stops this far before them, metres, in SMPL order.
# fmt: off
LIMB_RADIUS_M = np.array([
    0.13, 0.11, 0.11, 0.13, 0.06, 0.06, 0.13, 0.05, 0.05, 0.13, 0.04,
    0.04, 0.06, 0.09, 0.09, 0.09, 0.07, 0.07, 0.05, 0.05, 0.04, 0.04,
])
# fmt: on
_SPREAD_M = 0.03


def hidden_by_scene(
    scene: RayCaster,
    camera_center: Float[np.ndarray, "3"],
    points: Float[np.ndarray, "frames joints 3"],
    radius_m: Float[np.ndarray, " joints"],
) -> Bool[np.ndarray, "frames joints"]:
    """True where most of five rays towards a joint's limb end at the scene before they reach it.

    Scene, centre and points share one frame. The body itself is not in the scene, so self-occlusion
    does not count.
    """
    to_joint = points - camera_center
    distance = np.linalg.norm(to_joint, axis=-1)
    forward = to_joint / distance[..., None]
    side = np.cross(forward, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side, axis=-1, keepdims=True) + 1e-9
    across = np.cross(side, forward)
    votes = np.zeros(distance.shape, dtype=int)
    for a, b in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
        ray = to_joint + _SPREAD_M * (a * side + b * across)
        ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
        origins = np.broadcast_to(camera_center, (ray.size // 3, 3)).astype(np.float64)
        hit, _ = scene.first_hit(origins, np.ascontiguousarray(ray.reshape(-1, 3)))
        votes += hit.reshape(distance.shape) < distance - radius_m - 0.01
    return np.asarray(votes >= 3)


def inside_image(
    camera: RigCamera, points_camera: Float[np.ndarray, "frames joints 3"], margin_px: float = 0.0
) -> Bool[np.ndarray, "frames joints"]:
    """True where a point of the camera's own frame lies before it and projects into the image."""
    flat = points_camera.reshape(-1, 3)
    ahead = flat[:, 2] > 0.1
    pixels = camera.project_camera(np.where(ahead[:, None], flat, [0.0, 0.0, 1.0]))
    size = np.array([camera.width_px, camera.height_px])
    inside = ((pixels >= margin_px - 0.5) & (pixels < size - 0.5 - margin_px)).all(axis=1)
    return np.asarray(inside & ahead).reshape(points_camera.shape[:2])


def merge_meshes(
    parts: list[tuple[Float[np.ndarray, "_ 3"], Int[np.ndarray, "_ 3"]]],
) -> tuple[Float[np.ndarray, "vertices 3"], Int[np.ndarray, "faces 3"], Int[np.ndarray, " faces"]]:
    """One mesh of many, with the part each face came from."""
    offsets = np.cumsum([0] + [len(vertices) for vertices, _ in parts])
    vertices = np.concatenate([vertices for vertices, _ in parts])
    faces = np.concatenate([faces + at for (_, faces), at in zip(parts, offsets[:-1], strict=True)])
    owner = np.concatenate([np.full(len(faces), k) for k, (_, faces) in enumerate(parts)])
    return vertices, faces, owner
