"""The prediction loop: every row on every sample, measured in the scan's frame."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from pipelines.contact.labels import label_vertices
from pipelines.geometry.signed_distance import SdfGrid
from pipelines.geometry.transforms import transform_points
from pipelines.shards.schema import ShardSample, ShardScene, touching_vertices
from sahmr.data.batch import TrainingBatch
from sahmr.data.collate import collate
from sahmr.data.dataset import TrainingSamples
from sahmr.evaluation.body_errors import BODY_KEYS, body_errors, scene_fit
from sahmr.evaluation.contact_scores import contact_scores
from sahmr.evaluation.rows import Row, TrueRow
from sahmr.evaluation.sample_errors import RowErrors, SampleIds

SCENE_KEYS = (
    "pene_v1",
    "confe_v1",
    "body_contact_precision_v1",
    "body_contact_recall_v1",
    "body_contact_iou_v1",
)


@dataclass(frozen=True, slots=True, eq=False)
class Yardstick:
    """What bodies are measured with."""

    pose: Callable[[TrainingBatch], Float[Tensor, "batch 6890 3"]]
    """The reference bodies of a batch, camera frame."""
    h36m_regressor: Float[np.ndarray, "17 6890"]
    category_of_vertex: Int[np.ndarray, "6890"]
    """Contact part of the vertices that can touch."""
    contact_radius_m: float
    grid: Callable[[ShardScene], SdfGrid] | None
    """Distance grid of a scene; None leaves PenE and ConFE out."""

    def measure(
        self,
        vertices_camera: Float[np.ndarray, "6890 3"],
        true_vertices_camera: Float[np.ndarray, "6890 3"],
        sample: ShardSample,
        scene: ShardScene,
    ) -> dict[str, float]:
        """Every metric of one body, by definition id; NaN where the body is not finite."""
        if not np.isfinite(vertices_camera).all():
            return dict.fromkeys((*BODY_KEYS, *SCENE_KEYS), np.nan)
        T = sample.T_world_from_camera
        vertices, truth = (
            transform_points(T, points.astype(np.float64))
            for points in (vertices_camera, true_vertices_camera)
        )
        in_contact = touching_vertices(sample)
        errors = body_errors(vertices, truth, self.h36m_regressor, in_contact)
        touching = label_vertices(
            vertices, self.category_of_vertex, scene.points_world, self.contact_radius_m
        )
        errors |= contact_scores(touching, sample.vertex_category.astype(np.int64)).by_key(
            "body_contact"
        )
        if self.grid is not None:
            grid = self.grid(scene)
            distances = grid.sample(torch.from_numpy(vertices).to(grid.values_m)).numpy()
            errors["pene_v1"] = scene_fit(distances, np.zeros_like(in_contact))
            errors["confe_v1"] = scene_fit(distances, in_contact)
        return errors


def measure_rows(
    samples: TrainingSamples,
    places: Sequence[int],
    rows: Mapping[str, Row],
    yardstick: Yardstick,
    batch_size: int,
    device: torch.device | str = "cpu",
) -> tuple[SampleIds, dict[str, RowErrors]]:
    """Run every row over some samples.

    Args:
        samples: without augmentation.
        places: which of them.
        rows: by name.
        yardstick: measures.
        batch_size: images at a time.
        device: of the networks.

    Returns:
        Names of the samples, and each row's errors in the same order.
    """
    tables: dict[str, list[dict[str, float]]] = {name: [] for name in rows}
    finite: dict[str, list[bool]] = {name: [] for name in rows}
    notes: dict[str, Counter[str]] = {name: Counter() for name in rows}
    ids: list[tuple[str, str, str, str]] = []
    for some, batch in _batches(samples, places, batch_size):
        truth = yardstick.pose(batch)
        stored = [(samples.collection[place], samples.collection.scene_of(place)) for place in some]
        ids += [(one.sample_id, one.recording, one.scene, one.subject) for one, _ in stored]
        on_device = batch.to(device)
        for name, row in rows.items():
            placed = row(on_device, truth)
            notes[name].update(placed.notes)
            bodies = placed.vertices_camera.cpu().numpy()
            for place, (sample, scene) in enumerate(stored):
                errors = yardstick.measure(bodies[place], truth[place].numpy(), sample, scene)
                monitors = {key: float(values[place]) for key, values in placed.monitors.items()}
                tables[name].append(errors | monitors)
                finite[name].append(bool(np.isfinite(bodies[place]).all()))
    names = SampleIds(*zip(*ids, strict=True)) if ids else SampleIds((), (), (), ())
    return names, {
        name: RowErrors(_columns(rows[name], table), np.array(finite[name], dtype=bool), notes[name])
        for name, table in tables.items()
    }


def _batches(
    samples: TrainingSamples, places: Sequence[int], batch_size: int
) -> Iterator[tuple[Sequence[int], TrainingBatch]]:
    bar = tqdm(total=len(places), desc="evaluate", unit="image", disable=not sys.stderr.isatty())
    with bar:
        for start in range(0, len(places), batch_size):
            some = places[start : start + batch_size]
            yield some, collate([samples[place] for place in some])
            bar.update(len(some))


def _columns(row: Row, table: list[dict[str, float]]) -> dict[str, Float[np.ndarray, " samples"]]:
    """By metric; the reference has no error against itself."""
    keys = dict.fromkeys(key for errors in table for key in errors)
    shown = [key for key in keys if not isinstance(row, TrueRow) or key in ("pene_v1", "confe_v1")]
    return {key: np.array([errors.get(key, np.nan) for errors in table]) for key in shown}
