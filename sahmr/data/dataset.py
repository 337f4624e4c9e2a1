"""Shards as a PyTorch data set of training samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8
from torch.utils.data import Dataset

from pipelines.shards.crop import decode_crop
from pipelines.shards.sampler import SampleKey
from pipelines.shards.schema import ShardKind, ShardSample, ShardScene
from pipelines.shards.view import SceneBlocks
from sahmr.data.augment import AugmentationSettings, StoredCrop, augment_crop, sample_seed
from sahmr.data.batch import TrainingSample

_FIRST_EPOCH: Final = 0


@runtime_checkable
class StoredSamples(Protocol):
    """A list of stored samples: a `ShardCollection`, or what takes its place in an evaluation."""

    @property
    def kinds(self) -> tuple[ShardKind, ...]:
        """Of the bodies."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> ShardSample: ...

    def __iter__(self) -> Iterator[ShardSample]: ...

    def scene_of(self, index: int) -> ShardScene:
        """The scene a sample lies in."""
        ...

    def blocks_of(self, index: int) -> SceneBlocks:
        """That scene's cloud, ready to be cut to a view."""
        ...

    def weight(self, sample: ShardSample) -> float:
        """What a sample counts in training."""
        ...


class TrainingSamples(Dataset[TrainingSample]):
    """The samples of a collection, cropped, with the scene each can see.

        samples = TrainingSamples(ShardCollection(paths, side=SplitSide("train", split)), augmentation)
        sampler = EpochSampler(len(samples), seed=66)
        loader = DataLoader(samples, batch_size=24, sampler=sampler, collate_fn=collate, num_workers=2)

    A sample depends on its key (epoch and index) alone, not on the worker or on what was read before.

    Args:
        collection: which samples.
        augmentation: how crops vary; None takes every crop as stored (validation).
    """

    def __init__(
        self, collection: StoredSamples, augmentation: AugmentationSettings | None = None
    ) -> None:
        self.collection = collection
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.collection)

    def __getitem__(self, key: SampleKey | int) -> TrainingSample:
        """One sample.

        Raises:
            IndexError: no such sample.
            DataInvalid: its bytes are damaged, or its crop is no picture.
        """
        epoch, index = key if isinstance(key, SampleKey) else SampleKey(_FIRST_EPOCH, key)
        stored, scene = self.collection[index], self.collection.scene_of(index)
        seed = None
        if self.augmentation is not None:
            seed = sample_seed(self.augmentation.seed, epoch, stored.sample_id)
        image, box = self._crop(stored, seed)
        left, up, right, bottom = box.tolist()
        _, points_camera = self.collection.blocks_of(index).in_view(
            stored.T_world_from_camera, (left, up, right, bottom), stored.K
        )
        return TrainingSample(
            sample_id=stored.sample_id,
            scene=stored.scene,
            subject=stored.subject,
            gender=stored.gender,
            image=image,
            box_px=box,
            K=stored.K,
            T_world_from_camera=stored.T_world_from_camera,
            betas=stored.betas,
            global_orient=stored.global_orient,
            body_pose=stored.body_pose,
            transl=stored.transl,
            scene_points_camera=points_camera.astype(np.float32),
            pitch_m=float(scene.pitch_m),
            vertex_category=stored.vertex_category,
            weight=self.collection.weight(stored),
            expected_error_mm=float(stored.expected_error_mm),
            seed=seed,
        )

    def _crop(
        self, stored: ShardSample, seed: int | None
    ) -> tuple[UInt8[np.ndarray, "size size 3"], Float32[np.ndarray, "4"]]:
        crop = StoredCrop(decode_crop(stored.crop_jpeg, stored.sample_id), stored.box_px)
        if self.augmentation is None or seed is None:
            return crop.cut()
        return augment_crop(crop, self.augmentation, seed)
