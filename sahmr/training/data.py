"""Batches of a training, with what follows from the samples alone already made beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pipelines.artifacts import hash_file, read_marker
from pipelines.errors import DataMissing
from pipelines.shards.collection import ShardCollection, SplitSide
from pipelines.shards.sampler import EpochSampler, SampleKey
from pipelines.shards.splits import SPLITS_FILE, Split, read_split
from sahmr.data.batch import TrainingBatch, TrainingSample
from sahmr.data.collate import collate
from sahmr.data.dataset import TrainingSamples
from sahmr.data.supervision import SampleTargets, Supervision
from sahmr.training.settings import DataSettings

R = TypeVar("R")


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Both sides of the data."""

    train: Dataset[TrainingSample]
    validation: Dataset[TrainingSample] | None
    """None where the folder has no split."""
    num_train: int
    num_validation: int
    identity: str
    """Changes with the shards, the split and the choice of samples."""
    card: Mapping[str, Any]
    """For the model card."""


def open_data(settings: DataSettings) -> TrainingData:
    """Open the shards of a folder.

    Raises:
        DataMissing: no folder, or no shard in it.
        DataInvalid: a file is no shard of this schema, kinds are mixed, or no sample is left on a side.
    """
    paths = sorted(settings.shards.glob("*.h5"))
    if not paths:
        raise DataMissing(
            "there are no shards to train on",
            where=settings.shards,
            fix="make them first: `make shards`, or give data.shards=<folder>",
        )
    splits = settings.shards / SPLITS_FILE
    split = read_split(splits) if splits.is_file() else {}
    train = _side(paths, settings, "train", split)
    validation = train if settings.validate_on == "train" else None
    if settings.validate_on == "val" and "val" in split.values():
        validation = _side(paths, settings, "val", split)
    chosen = _Chosen(TrainingSamples(train, settings.augmentation), settings.limit)
    held_out = None
    if validation is not None:
        held_out = _Chosen(TrainingSamples(validation), settings.validation_limit)
    card = {
        "kind": sorted(set(train.kinds)),
        "shards": [path.name for path in paths],
        "train": {"samples": len(chosen), **_members(train, "train", split)},
        "left_out": dict(sorted(train.excluded.items())),
        "validation": {"samples": len(held_out), **_members(validation, settings.validate_on, split)}
        if held_out is not None and validation is not None
        else None,
    }
    identity = sha256(
        json.dumps(
            [_hashes(paths), split, settings.model_dump(mode="json", exclude={"shards", "workers"})]
        ).encode()
    ).hexdigest()
    return TrainingData(
        chosen, held_out, len(chosen), len(held_out) if held_out is not None else 0, identity, card
    )


class BatchMaker:
    """Samples -> batch and its targets; for a loader's worker processes."""

    def __init__(self, supervision: Supervision) -> None:
        self.supervision = supervision

    def __call__(self, samples: Sequence[TrainingSample]) -> tuple[TrainingBatch, SampleTargets]:
        """Collate, pose the bodies, label the scene points."""
        torch.set_num_threads(1)
        batch = collate(samples)
        return batch, self.supervision.before_forward(batch)


def loader(
    samples: Dataset[TrainingSample],
    sampler: EpochSampler,
    batch_size: int,
    supervision: Supervision,
    workers: int,
) -> DataLoader[TrainingSample]:
    """Reads what the sampler says, ahead of the training where there are workers."""
    return DataLoader(
        samples,
        batch_size=batch_size,
        sampler=cast(Any, sampler),
        collate_fn=BatchMaker(supervision),
        num_workers=workers,
    )


def endless(
    batches: DataLoader[TrainingSample], sampler: EpochSampler
) -> Iterator[tuple[TrainingBatch, SampleTargets]]:
    """Batches from the sampler's position on, epoch after epoch; the position follows what was yielded."""
    while True:
        for batch, truth in batches:
            sampler.position = sampler.after(len(batch))
            if len(sampler) == 0:
                sampler.position = sampler.next_epoch()
            yield batch, truth


def to_device(record: R, device: torch.device) -> R:
    """A record whose tensors, also those of records in it, lie on a device."""
    return _mapped(record, lambda tensor: tensor.to(device))


def as_float32(record: R) -> R:
    """A record whose floating tensors are of full precision."""
    return _mapped(record, lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)


def _mapped(record: Any, change: Any) -> Any:
    if isinstance(record, Tensor):
        return change(record)
    if isinstance(record, tuple):
        return tuple(_mapped(member, change) for member in record)
    if not is_dataclass(record) or isinstance(record, type):
        return record
    members = {field.name: getattr(record, field.name) for field in fields(record)}
    return replace(record, **{name: _mapped(value, change) for name, value in members.items()})


class _Chosen(Dataset[TrainingSample]):
    """Some samples of a data set, evenly spread."""

    def __init__(self, samples: TrainingSamples, limit: int | None) -> None:
        count = len(samples) if limit is None else min(limit, len(samples))
        self.samples = samples
        self.rows = np.linspace(0, len(samples) - 1, count).round().astype(np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: SampleKey) -> TrainingSample:
        return self.samples[SampleKey(key.epoch, int(self.rows[key.row]))]


def _side(
    paths: Sequence[Path], settings: DataSettings, side: Split, split: Mapping[str, Split]
) -> ShardCollection:
    return ShardCollection(paths, settings.selection, SplitSide(side, split) if split else None)


def _members(
    collection: ShardCollection, side: Split, split: Mapping[str, Split]
) -> dict[str, list[str]]:
    """Recordings, scenes and subjects of a side."""
    names: dict[str, set[str]] = {"recordings": set(), "scenes": set(), "subjects": set()}
    for reader in collection.readers:
        recordings = reader.column("recording").astype("U")
        own = np.array([split.get(name, side) == side for name in recordings.tolist()], bool)
        for what, found in names.items():
            found.update(reader.column(what.removesuffix("s")).astype("U")[own].tolist())
    collection.close()
    return {what: sorted(found) for what, found in names.items()}


def _hashes(paths: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of each shard, from its manifest where there is one."""
    found = {}
    for path in paths:
        marker = read_marker(path.parent, path.stem)
        known = marker.files.get(path.name) if marker is not None else None
        found[path.name] = known or hash_file(path)
    return found
