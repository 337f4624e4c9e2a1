"""The samples of SA-HMR's own evaluation, from its support folder for RICH or PROX quantitative.

Truth is the folder's SMPL-X mesh carried to SMPL+H, as in SA-HMR; nothing is fitted to it. A sample has no
body parameters, so `SupportSamples.pose` takes the place of posing them.

Source: SA-HMR, tools/eval_results.py and its data sets, as told in the networks page, section 10.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from pipelines.bodies.files import BodyFiles
from pipelines.contact.labels import label_vertices
from pipelines.errors import DataMissing
from pipelines.geometry.transforms import invert, transform_points
from pipelines.other_datasets.sahmr_support.prox import ProxSupport
from pipelines.other_datasets.sahmr_support.records import SupportSample, SupportScene
from pipelines.other_datasets.sahmr_support.rich import RichSupport
from pipelines.other_datasets.trees import recognise
from pipelines.shards.crop import crop_image, square_box
from pipelines.shards.schema import ShardKind, ShardSample, ShardScene
from pipelines.shards.view import SceneBlocks
from sahmr.data.batch import TrainingBatch
from sahmr.evaluation.definitions import PROX_QUANTITATIVE
from sahmr.evaluation.scene_distance import SceneGrids

RICH_TEST: Final = "RICH test, SA-HMR's samples"
_SAMPLES_KEPT: Final = 32
_SCENES_KEPT: Final = 4


def open_support(root: Path, files: BodyFiles) -> RichSupport | ProxSupport:
    """The reader of a support folder.

    Raises:
        DataMissing: it is neither for RICH nor for PROX.
    """
    for base in (root, root / "sahmr_support"):
        kind = recognise(base)
        if kind == "SA-HMR support for RICH":
            return RichSupport(base, files)
        if kind == "SA-HMR support for PROX":
            return ProxSupport(base, files)
    raise DataMissing(
        "not a support folder of SA-HMR",
        where=root,
        expected="scene_info/ (RICH), or vicon/ with meta/ (PROX), here or in sahmr_support/",
        found=recognise(root) or "neither",
        fix="set support to the folder that SA-HMR's support archive makes",
    )


def support_grids(support: RichSupport | ProxSupport) -> SceneGrids:
    """SA-HMR's distance grids."""
    return SceneGrids("SA-HMR's grids", lambda scene: _scene(support, scene).grid)


@dataclass(frozen=True, eq=False)
class SupportSamples:
    """A support folder's test samples in the place of a collection of shards."""

    support: RichSupport | ProxSupport
    category_of_vertex: Int[np.ndarray, "6890"]
    """Contact part of the vertices that can touch."""
    contact_radius_m: float
    kinds: tuple[ShardKind, ...] = ("dataset",)

    @property
    def name(self) -> str:
        """Of the data set."""
        return RICH_TEST if isinstance(self.support, RichSupport) else PROX_QUANTITATIVE

    def __len__(self) -> int:
        return len(self._listed)

    def __getitem__(self, index: int) -> ShardSample:
        """One sample; betas, pose and translation are zeros.

        Raises:
            IndexError: no such sample.
            DataMissing, DataInvalid: a file of it is absent or broken.
        """
        return self._stored(index)

    def __iter__(self) -> Iterator[ShardSample]:
        return (self[index] for index in range(len(self)))

    def weight(self, sample: ShardSample) -> float:
        """All count alike."""
        return float(sample.weight)

    def scene_of(self, index: int) -> ShardScene:
        """The scene's voxel cloud."""
        return self._clouds(self._listed[index].scene)[0]

    def blocks_of(self, index: int) -> SceneBlocks:
        """That cloud, ready to be cut to a view."""
        return self._clouds(self._listed[index].scene)[1]

    def pose(self, batch: TrainingBatch) -> Float[Tensor, "batch 6890 3"]:
        """The true bodies of a batch, camera frame."""
        bodies = []
        for name in batch.sample_ids:
            sample = self._by_key[name]
            T_camera_from_world = invert(sample.T_world_from_camera)
            bodies.append(transform_points(T_camera_from_world, self._truth(sample.key)))
        return torch.from_numpy(np.stack(bodies)).float()

    def reference_hash(self, chosen: set[str]) -> str:
        """Of the true bodies, whatever their order."""
        digests = [
            sha256(key.encode() + self._truth(key).astype(np.float32).tobytes()).hexdigest()
            for key in sorted(chosen)
        ]
        return sha256("\n".join(digests).encode()).hexdigest()

    @cached_property
    def _listed(self) -> tuple[SupportSample, ...]:
        support = self.support
        return support.samples("test") if isinstance(support, RichSupport) else support.samples()

    @cached_property
    def _by_key(self) -> dict[str, SupportSample]:
        return {sample.key: sample for sample in self._listed}

    @cached_property
    def _stored(self) -> Callable[[int], ShardSample]:
        return lru_cache(_SAMPLES_KEPT)(self._make)

    @cached_property
    def _truth(self) -> Callable[[str], Float[np.ndarray, "6890 3"]]:
        return lru_cache(_SAMPLES_KEPT)(lambda key: self.support.truth_world(self._by_key[key]))

    @cached_property
    def _clouds(self) -> Callable[[str], tuple[ShardScene, SceneBlocks]]:
        def read(name: str) -> tuple[ShardScene, SceneBlocks]:
            scene = _scene(self.support, name)
            points = scene.points_world.astype(np.float32)
            stored = ShardScene(name, points, np.float32(scene.pitch_m), "", "")
            return stored, SceneBlocks.build(points)

        return lru_cache(_SCENES_KEPT)(read)

    def _make(self, index: int) -> ShardSample:
        sample = self._listed[index]
        image, box = self.support.image(sample), sample.box_px
        if not sample.is_square:
            box = square_box(box)
        if not sample.is_crop:
            image = crop_image(image, box)
        points = self.scene_of(index).points_world
        category = label_vertices(
            self._truth(sample.key), self.category_of_vertex, points, self.contact_radius_m
        )
        zeros = np.zeros(3, np.float32)
        return ShardSample(
            sample_id=sample.key,
            recording=sample.recording,
            frame=sample.frame,
            scene=sample.scene,
            subject=sample.subject,
            gender=sample.gender,
            crop_jpeg=_lossless(image),
            box_px=np.array(box, np.float32),
            K=np.asarray(sample.K, np.float64),
            T_world_from_camera=np.asarray(sample.T_world_from_camera, np.float64),
            betas=np.zeros(16, np.float32),
            global_orient=zeros,
            body_pose=np.zeros(63, np.float32),
            transl=zeros,
            vertex_category=category.astype(np.uint8),
            contact_rows=np.zeros(0, np.int32),
            contact_category=np.zeros(0, np.uint8),
            expected_error_mm=np.float32(np.nan),
            weight=np.float32(1),
            reject_reason="",
            provenance="{}",
            # PROX has no labels: all vertices then count as free, so that ConFE is PenE, as in SA-HMR.
            has_own_contact=np.uint8(1),
            own_contact=np.flatnonzero(self.support.contact(sample)).astype(np.int32),
        )


def _scene(support: RichSupport | ProxSupport, name: str) -> SupportScene:
    return support.scene(name) if isinstance(support, RichSupport) else support.scene


def _lossless(rgb: UInt8[np.ndarray, "size size 3"]) -> UInt8[np.ndarray, " bytes"]:
    """PNG, which is decoded by the same call as the shards' JPEG."""
    _, buffer = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))
    return np.asarray(buffer, np.uint8).reshape(-1)
