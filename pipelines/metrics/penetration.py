"""How deep bodies stick in the scene: the published mean and every variant beside it.

d(x) is the signed distance of a point to the scene, negative inside. Only strictly negative vertices
penetrate. All on the 6890-vertex topology, since vertex density weighs the mean.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from pipelines.geometry.signed_distance import SdfGrid
from pipelines.geometry.transforms import transform_points
from pipelines.metrics.tally import Tally, by_key

_FRAMES_PER_LOOKUP = 64


def signed_distances(
    vertices_camera: Float[np.ndarray, "frames verts 3"],
    T_world_from_camera: Float[np.ndarray, "4 4"],
    scene_sdf: SdfGrid,
) -> Float[np.ndarray, "frames verts"]:
    """Signed distance d of every vertex, metres; the grid lies in the scan's world frame."""
    rows = [np.zeros((0, vertices_camera.shape[1]))]
    for start in range(0, len(vertices_camera), _FRAMES_PER_LOOKUP):
        chunk = vertices_camera[start : start + _FRAMES_PER_LOOKUP].astype(np.float64)
        points = torch.from_numpy(transform_points(T_world_from_camera, chunk))
        rows.append(scene_sdf.sample(points.to(scene_sdf.values_m)).numpy().astype(np.float64))
    return np.concatenate(rows)


def penetration(distances_m: Float[np.ndarray, "frames verts"]) -> dict[str, Tally]:
    """Depth of the vertices inside the scene, pooled and per frame, and how many there are.

    Pooled: sum of |d| over all penetrating vertices of all frames / their number. Per frame: mean
    within a frame, then mean over the frames that have any. PenE: sum of |d| within a frame, mean
    over frames.

    Args:
        distances_m: signed distance of each vertex; frames with a non-finite value are skipped.

    Source: "the penetration is the average over all penetrated vertices" of the published table; cm,
    pooling and topology are our choice (docs/metrics.md). PenE: SA-HMR. Scores: PSI, PLACE, POSA.
    """
    finite = np.isfinite(distances_m).all(axis=1)
    skipped = {"not_finite_frames": int((~finite).sum())} if not finite.all() else {}
    d = distances_m[finite]
    inside = d < 0
    depth_sums = np.where(inside, -d, 0.0).sum(axis=1)
    numbers = inside.sum(axis=1)
    hit = numbers > 0
    frames, depth, vertices = len(d), float(depth_sums.sum()), int(numbers.sum())
    touching = {"frames_without_penetration": int((~hit).sum())} if not hit.all() else {}

    def over_frames(key: str, shares: Float[np.ndarray, " frames"]) -> Tally:
        return Tally(key, float(shares.sum()), frames, skipped)

    return by_key(
        [
            Tally("pen_pooled_v1", depth, vertices, skipped),
            Tally("pen_pooled_mm_v1", depth, vertices, skipped),
            Tally(
                "pen_frame_v1",
                float((depth_sums[hit] / numbers[hit]).sum()),
                int(hit.sum()),
                skipped | touching,
            ),
            Tally("pene_v1", depth, frames, skipped),
            Tally("pen_fraction_v1", float(vertices), d.size, skipped),
            over_frames("noncollision_v1", _share(d > 0)),
            over_frames("noncollision_ge_v1", _share(d >= 0)),
            over_frames("contact_v1", (d <= 0).any(axis=1).astype(np.float64)),
            over_frames("contact_strict_v1", hit.astype(np.float64)),
        ]
    )


def _share(flags: np.ndarray) -> Float[np.ndarray, " frames"]:
    return np.asarray(flags.mean(axis=1) if len(flags) else np.zeros(0), dtype=np.float64)
