"""The samples of a collection, recording by recording, in the order of their frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Float64

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.rigid_motion import move_parameters
from pipelines.records import Gender, SmplhParameters
from pipelines.shards.collection import ShardCollection
from pipelines.shards.schema import ShardSample


@dataclass(frozen=True, slots=True, eq=False)
class ExportSequence:
    """Samples of one recording seen by one camera that stands still."""

    name: str
    """The recording; from its second camera (or body shape) on with a number."""
    indices: tuple[int, ...]
    """In the collection, ordered by frame name."""
    samples: tuple[ShardSample, ...]

    @property
    def gender(self) -> Gender:
        """Of the body models."""
        return cast("Gender", self.samples[0].gender)

    @property
    def subject(self) -> str:
        """Who it is."""
        return self.samples[0].subject

    @property
    def T_world_from_camera(self) -> Float64[np.ndarray, "4 4"]:  # noqa: N802
        """Of all samples."""
        return self.samples[0].T_world_from_camera

    def parameters(self) -> SmplhParameters:
        """All bodies, camera frame."""
        names = ("betas", "global_orient", "body_pose", "transl")
        return SmplhParameters(*(np.stack([getattr(s, name) for s in self.samples]) for name in names))

    def parameters_world(self, files: BodyFiles) -> SmplhParameters:
        """All bodies in the frame of the scan."""
        return move_parameters(files, self.gender, self.parameters(), self.T_world_from_camera)


def sequences_of(collection: ShardCollection, *, one_shape: bool = False) -> Iterator[ExportSequence]:
    """Every sample once. One recording is in memory at a time.

    Args:
        collection: what to export.
        one_shape: also separate bodies of different betas.
    """
    recordings = collection.column("recording").astype("U")
    frames = collection.column("frame").astype("U")
    for recording in np.unique(recordings).tolist():
        rows = np.flatnonzero(recordings == recording)
        rows = rows[np.argsort(frames[rows], kind="stable")]
        yield from _separate(recording, rows.tolist(), collection, _shape if one_shape else _view)


def _view(sample: ShardSample) -> tuple[bytes, ...]:
    return sample.gender.encode(), sample.K.tobytes(), sample.T_world_from_camera.tobytes()


def _shape(sample: ShardSample) -> tuple[bytes, ...]:
    return *_view(sample), sample.betas.tobytes()


def _separate(
    recording: str,
    rows: Sequence[int],
    collection: ShardCollection,
    kind: Callable[[ShardSample], tuple[bytes, ...]],
) -> Iterator[ExportSequence]:
    groups: dict[tuple[bytes, ...], list[tuple[int, ShardSample]]] = defaultdict(list)
    for row in rows:
        sample = collection[row]
        groups[kind(sample)].append((row, sample))
    for number, group in enumerate(groups.values()):
        indices, samples = zip(*group, strict=True)
        name = recording if number == 0 else f"{recording}_{number + 1}"
        yield ExportSequence(name, indices, samples)
