"""Many shards as one list of samples: chosen by split, kind and quality, read in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Int

from pipelines.config import Settings
from pipelines.errors import DataInvalid, DataMissing
from pipelines.shards.reader import ShardReader
from pipelines.shards.schema import ShardKind, ShardSample, ShardScene
from pipelines.shards.splits import Split
from pipelines.shards.view import SceneBlocks

_KEPT_POINTS: Final = 25_000_000
"""Points of the clouds held in memory per process, 20 bytes each; a room has about 150 000. Samples come in
any order: were not all rooms held, most samples would wait for theirs, and that takes ten times longer."""
OTHER_SIDE: Final = "other side of the split"
NO_WEIGHT: Final = "weight 0"


class SelectionSettings(Settings):
    """Which samples of the shards are used."""

    allow_mixed_kinds: bool = False
    """Use fitted and true bodies together; otherwise shards of both kinds are refused."""
    use_rejected: bool = False
    """Keep samples with a reject reason or weight 0."""
    use_weights: bool = True
    """Give each sample its stored weight; otherwise 1."""


@dataclass(frozen=True, slots=True)
class SplitSide:
    """One side of a split of recordings."""

    side: Split
    of_recording: Mapping[str, Split]


class ShardCollection(Sequence[ShardSample]):
    """The chosen samples of some shards.

        samples = ShardCollection(sorted(folder.glob("*.h5")), side=SplitSide("train", split))
        sample = samples[7]
        cloud = samples.scene_of(7).points_world

    What is chosen is decided once, from the shards' columns. Files are opened when first read, by each
    process for itself, so it can be handed to forked and to spawned workers.

    Raises:
        DataMissing: no shard is given, or one is not there.
        DataInvalid: a file is no shard, kinds are mixed unasked, a sample is given twice, a recording is on
            no side of the split, or nothing is left to use.
    """

    def __init__(
        self,
        paths: Iterable[Path],
        settings: SelectionSettings | None = None,
        side: SplitSide | None = None,
    ) -> None:
        self.settings = settings or SelectionSettings()
        self.readers = tuple(ShardReader(path) for path in paths)
        if not self.readers:
            raise DataMissing("no shard is given", fix="make shards first: `make shards`")
        self.kinds = self._require_one_kind()
        self.excluded: Counter[str] = Counter()
        """Reason -> number of samples left out."""
        self._place = self._choose(side)
        self._scenes: dict[tuple[int, str], tuple[ShardScene, SceneBlocks]] = {}
        self.close()

    def __len__(self) -> int:
        return len(self._place)

    def __getitem__(self, index: int) -> ShardSample:  # type: ignore[override]
        """One sample.

        Raises:
            IndexError: no such sample.
            DataInvalid: its bytes are damaged.
        """
        shard, row = self._place[index]
        return self.readers[shard].sample(int(row))

    def column(self, name: str) -> np.ndarray:
        """A column of all chosen samples that is neither ragged nor large."""
        parts = [reader.column(name) for reader in self.readers]
        firsts = np.cumsum([0, *map(len, parts)])
        return np.asarray(np.concatenate(parts)[firsts[self._place[:, 0]] + self._place[:, 1]])

    def kind_of(self, index: int) -> ShardKind:
        """Whether a sample's body is fitted or true."""
        return self.kinds[int(self._place[index][0])]

    def scene_of(self, index: int) -> ShardScene:
        """The scene a sample lies in; the last few are kept in memory."""
        return self._scene_of(index)[0]

    def blocks_of(self, index: int) -> SceneBlocks:
        """That scene's cloud, ready to be cut to a view."""
        return self._scene_of(index)[1]

    def _scene_of(self, index: int) -> tuple[ShardScene, SceneBlocks]:
        shard, row = (int(value) for value in self._place[index])
        key = (shard, self.readers[shard].text("scene", row))
        if key not in self._scenes:
            scene = self.readers[shard].scene(key[1])
            held = len(scene.points_world) + sum(
                len(one.points_world) for one, _ in self._scenes.values()
            )
            while self._scenes and held > _KEPT_POINTS:
                oldest = next(iter(self._scenes))
                held -= len(self._scenes.pop(oldest)[0].points_world)
            self._scenes[key] = scene, SceneBlocks.build(scene.points_world)
        return self._scenes[key]

    def weight(self, sample: ShardSample) -> float:
        """What a sample counts in training."""
        return float(sample.weight) if self.settings.use_weights else 1.0

    def close(self) -> None:
        """Close the files of this process; the next read opens them again."""
        for reader in self.readers:
            reader.close()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_scenes": {}}

    def _require_one_kind(self) -> tuple[ShardKind, ...]:
        kinds = tuple(reader.kind for reader in self.readers)
        if len(set(kinds)) > 1 and not self.settings.allow_mixed_kinds:
            examples = [f"{self.readers[kinds.index(kind)].path}: {kind}" for kind in sorted(set(kinds))]
            raise DataInvalid(
                "shards of fitted and of true bodies are mixed",
                found="; ".join(examples),
                fix="give shards of one kind, or set allow_mixed_kinds",
            )
        return kinds

    def _choose(self, side: SplitSide | None) -> Int[np.ndarray, "samples 2"]:
        places, seen = [np.zeros((0, 2), np.int64)], set[bytes]()
        for shard, reader in enumerate(self.readers):
            names = reader.column("sample_id").tolist()
            twice = seen.intersection(names)
            if twice:
                raise DataInvalid(
                    "a sample is in two shards",
                    where=reader.path,
                    found=min(twice).decode("ascii", "replace"),
                )
            seen.update(names)
            rows = np.flatnonzero(self._usable(reader, side))
            places.append(np.column_stack([np.full(len(rows), shard), rows]))
        chosen = np.concatenate(places)
        if len(chosen) == 0:
            raise DataInvalid(
                "no sample is left to use",
                where=", ".join(str(reader.path) for reader in self.readers[:3]),
                found=", ".join(f"{reason}: {count}" for reason, count in self.excluded.items()),
                fix="give other shards or another side of the split, or set use_rejected",
            )
        return chosen

    def _usable(self, reader: ShardReader, side: SplitSide | None) -> np.ndarray:
        reasons = reader.column("reject_reason").astype("U").astype(object)
        reasons[(reasons == "") & (reader.column("weight") == 0)] = NO_WEIGHT
        if self.settings.use_rejected:
            reasons[:] = ""
        if side is not None:
            recordings = reader.column("recording").astype("U")
            unknown = sorted(set(recordings.tolist()) - set(side.of_recording))
            if unknown:
                raise DataInvalid(
                    "a recording is on no side of the split", where=reader.path, found=unknown[0]
                )
            others = [name for name in set(recordings.tolist()) if side.of_recording[name] != side.side]
            reasons[np.isin(recordings, others)] = OTHER_SIDE
        self.excluded.update(reason for reason in reasons if reason)
        return np.asarray(reasons == "", bool)
