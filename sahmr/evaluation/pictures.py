"""The worst and the best samples of an evaluation to look at, truth beside predictions.

One line per sample: the crop, the reference over it (green), each row's body over it (blue), and all of them
from the side with the scene's points, so that a body before or behind its place shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from pipelines.artifacts import write_bytes
from pipelines.geometry.transforms import invert, transform_points
from pipelines.metrics.raster import parallel_rays, pinhole_rays, shade
from pipelines.shards.schema import ShardSample, ShardScene
from sahmr.data.batch import TrainingBatch
from sahmr.data.collate import collate
from sahmr.data.dataset import TrainingSamples
from sahmr.evaluation.definitions import DATASET_GT, PAPER_ROWS
from sahmr.evaluation.rows import Row, TrueRow
from sahmr.evaluation.sample_errors import RowErrors
from sahmr.evaluation.settings import EvaluationSettings

PANEL_PX: Final = 224
TRUTH_COLOR: Final = (0.35, 0.75, 0.55)
ROW_COLORS: Final = (
    (0.90, 0.60, 0.20),
    (0.35, 0.60, 0.90),
    (0.80, 0.50, 0.70),
    (0.90, 0.85, 0.35),
)
"""Okabe and Ito's, lightened; METRO first."""
JUDGED_BY: Final = "g_mpve_v1"
_TITLE_PX: Final = 30
_OPACITY: Final = 0.8
_SIDE_EXTENT_M: Final = 3.0
_SLICE_M: Final = 0.6
"""The side view shows scene points this far to either side of the body."""
_JPEG_QUALITY: Final = 90

Picture = UInt8[np.ndarray, "_ _ 3"]
Pose = Callable[[TrainingBatch], torch.Tensor]


def save_pictures(
    folder: Path,
    samples: TrainingSamples,
    places: Sequence[int],
    rows: Mapping[str, Row],
    pose: Pose,
    errors: Mapping[str, RowErrors],
    faces: Int[np.ndarray, "faces 3"],
    settings: EvaluationSettings,
) -> list[Path]:
    """Write `worst.jpg` and `best.jpg`, judged by the G-MPVE of the last row of the paper's order.

    Args:
        folder: where they go.
        samples: as they were measured.
        places: which of them were.
        rows: by name.
        pose: gives the reference bodies.
        errors: what was measured.
        faces: of the 6890 vertices.
        settings: how many.
    """
    shown = {name: row for name, row in rows.items() if not isinstance(row, TrueRow)}
    judge = judging_row(list(shown))
    if judge is None or JUDGED_BY not in errors[judge].values:
        return []
    order = worst_first(errors, judge)
    recordings = [samples.collection[place].recording for place in places]
    chosen = {
        name: one_per_recording(some, recordings)[: settings.pictures]
        for name, some in (("worst", order), ("best", order[::-1]))
    }
    paths = []
    for name, picks in chosen.items():
        lines = [_line(samples, places[pick], pick, shown, pose, errors, faces) for pick in picks]
        if lines:
            paths.append(_write(folder / f"{name}.jpg", np.concatenate(lines)))
    return paths


def judging_row(names: Sequence[str]) -> str | None:
    """The row whose errors choose the samples: SA-HMR-8 where there is one."""
    known = [name for name in PAPER_ROWS if name in names and name != DATASET_GT]
    others = sorted(set(names) - set(PAPER_ROWS))
    return (known or others)[-1] if known or others else None


def worst_first(errors: Mapping[str, RowErrors], judge: str) -> Int[np.ndarray, " samples"]:
    """Samples that are finite in all rows, largest error first; equal ones by their place."""
    usable = np.all([row.finite for row in errors.values()], axis=0)
    places = np.flatnonzero(usable)
    return places[np.argsort(-errors[judge].values[JUDGED_BY][places], kind="stable")]


def one_per_recording(order: Int[np.ndarray, " samples"], recordings: Sequence[str]) -> list[int]:
    """The first of each recording in the given order, then the rest: neighbours look alike."""
    first: dict[str, int] = {}
    for place in order.tolist():
        first.setdefault(recordings[place], place)
    shown = list(first.values())
    return [*shown, *(place for place in order.tolist() if place not in shown)]


@torch.inference_mode()
def _line(
    samples: TrainingSamples,
    place: int,
    pick: int,
    rows: Mapping[str, Row],
    pose: Pose,
    errors: Mapping[str, RowErrors],
    faces: Int[np.ndarray, "faces 3"],
) -> Picture:
    sample = samples[place]
    batch = collate([sample])
    truth = pose(batch)
    bodies = {"reference": truth[0].numpy()}
    for name, row in rows.items():
        bodies[name] = row(batch, truth).vertices_camera[0].cpu().numpy()
    stored, scene = samples.collection[place], samples.collection.scene_of(place)
    colors = dict(zip(bodies, (TRUTH_COLOR, *ROW_COLORS * len(bodies)), strict=False))
    panels = [_titled(sample.image, sample.sample_id.partition("__")[0][-38:])]
    for name, vertices in bodies.items():
        title = PAPER_ROWS.get(name, name)
        if name != "reference":
            title += f" {1000 * errors[name].values[JUDGED_BY][pick]:.0f} mm"
        drawn = _over_crop(sample.image, vertices, faces, colors[name], stored)
        panels.append(_titled(drawn, title))
    panels.append(_titled(_from_the_side(bodies, faces, colors, stored, scene), "from the left, 3 m"))
    return np.concatenate(panels, axis=1)


def _over_crop(
    image: Picture,
    vertices: Float[np.ndarray, "6890 3"],
    faces: Int[np.ndarray, "faces 3"],
    color: tuple[float, float, float],
    sample: ShardSample,
) -> Picture:
    left, up, right, _ = sample.box_px.astype(float).tolist()
    step = (right - left) / (PANEL_PX - 1)
    rays = pinhole_rays(sample.K, (left, up), step, (PANEL_PX, PANEL_PX))
    layer = shade(vertices.astype(np.float64), faces, np.tile(color, (len(vertices), 1)), rays)
    opacity = _OPACITY * layer.hit[:, None]
    pixels = image.reshape(-1, 3) / 255
    return _bytes(pixels + opacity * (layer.color - pixels), image.shape)


def _from_the_side(
    bodies: Mapping[str, Float[np.ndarray, "6890 3"]],
    faces: Int[np.ndarray, "faces 3"],
    colors: Mapping[str, tuple[float, float, float]],
    sample: ShardSample,
    scene: ShardScene,
) -> Picture:
    """A level view along the camera's x axis, round the reference; the world's z is up."""
    T_camera_from_world = invert(sample.T_world_from_camera)
    centre = bodies["reference"].mean(axis=0).astype(np.float64)
    up = T_camera_from_world[:3, 2]
    right = np.array([0.0, 0.0, 1.0])
    right = right - (right @ up) * up
    right /= np.linalg.norm(right)
    rays = parallel_rays(centre, right, -up, _SIDE_EXTENT_M, 10.0, PANEL_PX)
    canvas = np.full((PANEL_PX, PANEL_PX, 3), 255, np.uint8)
    points = transform_points(T_camera_from_world, scene.points_world.astype(np.float64)) - centre
    points = points[np.abs(points @ np.cross(right, up)) < _SLICE_M]
    pixels = np.stack([points @ right, -(points @ up)], axis=1) / _SIDE_EXTENT_M + 0.5
    pixels = np.floor(PANEL_PX * pixels).astype(int)
    pixels = pixels[((pixels >= 0) & (pixels < PANEL_PX)).all(axis=1)]
    canvas[pixels[:, 1], pixels[:, 0]] = 190
    flat = canvas.reshape(-1, 3) / 255
    for name, vertices in bodies.items():
        tint = np.tile(colors[name], (len(vertices), 1))
        layer = shade(vertices.astype(np.float64), faces, tint, rays)
        flat = flat + (0.6 * layer.hit[:, None]) * (layer.color - flat)
    return _bytes(flat, canvas.shape)


def _titled(picture: Picture, title: str) -> Picture:
    bar = np.full((_TITLE_PX, picture.shape[1], 3), 255, np.uint8)
    # OpenCV's built-in font is ASCII only.
    text = title.replace("†", "").encode("ascii", "replace").decode()
    cv2.putText(bar, text, (4, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.34, (30, 30, 30), 1, cv2.LINE_AA)
    return np.concatenate([bar, picture])


def _bytes(colors: Float[np.ndarray, "pixels 3"], shape: tuple[int, ...]) -> Picture:
    return np.round(255 * np.clip(colors, 0, 1)).astype(np.uint8).reshape(shape)


def _write(path: Path, picture: Picture) -> Path:
    done, buffer = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert done
    write_bytes(path, buffer.tobytes())
    return path
