"""Shards of a run, of the generator or of another data set, file by file; `flows.shards` schedules them.

Folder, `<out_dir>/<name>/shards-<source>/`:

    <split>-<number>.h5, .done.json     a shard and its manifest
    settings.yaml                       the resolved settings
    splits.json                         which recording trains, validates, tests
    index.csv                           one row per sample
    stats.json                          counts, and what a trainer needs of means and spreads
    README.md                           the dataset card
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.config import Settings
from pipelines.errors import DataMissing
from pipelines.shards.assemble import FrameAccount, samples_of
from pipelines.shards.fit_source import FitSource
from pipelines.shards.person_source import open_person_source
from pipelines.shards.plan import PlannedShard, RecordingPart, plan_shards
from pipelines.shards.schema import ShardSample, ShardScene
from pipelines.shards.settings import ShardsSettings
from pipelines.shards.source import RecordingRefused, SampleSource, SourceScene
from pipelines.shards.splits import SplitDecision, decide_split
from pipelines.shards.truth_source import TruthSource
from pipelines.shards.writer import ShardSource, shard_path, write_shard

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Production:
    """Everything that is decided before the first file is written."""

    settings: ShardsSettings
    shards: tuple[PlannedShard, ...]
    split: SplitDecision
    left_out: Mapping[str, Mapping[str, int]]
    """Recordings without a frame to use -> why, and how many frames."""


def open_source(settings: ShardsSettings) -> SampleSource:
    """Where the recordings come from.

    Raises:
        DataMissing: the run or the data set is not there, or the run is not finished.
    """
    if settings.source == "fit":
        return FitSource.open(settings)
    return TruthSource(settings) if settings.source == "truth" else open_person_source(settings)


def plan_production(settings: ShardsSettings) -> Production:
    """Decide which frames go into which file.

    Raises:
        DataMissing: there is no recording, or none has a frame to use.
    """
    candidates = open_source(settings).candidates()
    usable = [candidate for candidate in candidates if candidate.rows]
    left_out = {c.member.recording: dict(c.left_out) for c in candidates if not c.rows}
    for name, why in left_out.items():
        _log.warning("%s: no frame to use: %s", name, why)
    if not usable:
        raise DataMissing(
            "no recording has a frame to use", where=settings.folder, found=left_out or "no recording"
        )
    split = decide_split([candidate.member for candidate in usable], settings.split, settings.own_split)
    shards = plan_shards(usable, split.sides, settings.samples_per_shard)
    return Production(settings, shards, split, left_out)


def recordings_to_score(production: Production) -> tuple[str, ...]:
    """Recordings of the plan whose frames must be scored before their shards are written."""
    settings = production.settings
    if settings.source != "fit" or not settings.scored:
        return ()
    return tuple(sorted({part.recording for shard in production.shards for part in shard.parts}))


def score_frames_of(settings: ShardsSettings, recording: str) -> Path:
    """Score one recording of the run, unless its scores are up to date."""
    return FitSource.open(settings).score(recording)


def write_planned_shard(settings: ShardsSettings, shard: PlannedShard) -> Path:
    """Write one file and its manifest unless they are there and up to date; returns its path.

    Raises:
        OutputFailed: the disk is full or cannot be written to; finished shards are kept.
        DataInvalid: a recording is broken as a whole, or not one of its frames can be used.
    """
    source = open_source(settings)
    work = ShardWork(settings, source, shard)
    write_shard(settings.folder, work.made_from(), work.scenes, work.samples, work.summary)
    return shard_path(settings.folder, shard.name)


class ShardWork:
    """One file being made."""

    def __init__(self, settings: ShardsSettings, source: SampleSource, shard: PlannedShard) -> None:
        self.settings, self.source, self.shard = settings, source, shard
        self.accounts: dict[str, FrameAccount] = {}
        self._scenes: dict[str, SourceScene] = {}
        self._candidates = {part.recording: source.candidate(part.recording) for part in shard.parts}

    @property
    def num_frames(self) -> int:
        """Frames that are looked at, usable or not."""
        return sum(len(_rows(part, self.settings.stride)) for part in self.shard.parts)

    def made_from(self) -> ShardSource:
        """Settings, inputs and code of this file, and nothing of the other files."""
        inputs = {
            f"{part.recording} {name}": value
            for part in self.shard.parts
            for name, value in self.source.inputs(part.recording).items()
        }
        inputs["frames"] = " ".join(f"{p.recording}:{p.start}-{p.stop}" for p in self.shard.parts)
        return ShardSource(
            self.shard.name,
            self.source.kind,
            settings_hash=_SampleIdentity(
                sample=self.settings.sample.content_hash(), stride=self.settings.stride
            ).content_hash(),
            inputs=inputs,
            code=self.source.code,
        )

    def scenes(self) -> Iterator[ShardScene]:
        """The rooms of the file's recordings, once each."""
        for part in self.shard.parts:
            name = self._candidates[part.recording].member.scene
            if name in self._scenes:
                continue
            try:
                self._scenes[name] = self.source.scene(part.recording)
            except RecordingRefused as error:
                _log.warning("%s is skipped: %s", part.recording, error)
                continue
            yield self._scenes[name].stored

    def samples(self) -> Iterator[ShardSample]:
        """The file's samples, recording by recording."""
        category = self.source.category_of_vertex()
        for part in self.shard.parts:
            account, rows = FrameAccount(), _rows(part, self.settings.stride)
            self.accounts[part.recording] = account
            if part.stop - part.start > len(rows):
                account.skipped["frame_stride"] = part.stop - part.start - len(rows)
            scene = self._scenes.get(self._candidates[part.recording].member.scene)
            if scene is None:
                account.skipped["recording_refused"] = len(rows)
                continue
            recording = self.source.recording(part.recording)
            yield from samples_of(
                recording, scene, category, self.source.files, rows, self.settings.sample, account
            )
            _log.info("%s: %s", part.recording, account.as_json())

    def summary(self) -> dict[str, Any]:
        """What became of every frame, for the manifest."""
        return {
            "split": self.shard.split,
            "frames": {name: account.as_json() for name, account in self.accounts.items()},
        }


def _rows(part: RecordingPart, stride: int) -> range:
    """The frames of a part that are taken; the stride counts from the recording's first frame."""
    return range(-(-part.start // stride) * stride, part.stop, stride)


class _SampleIdentity(Settings):
    """The settings that decide a sample."""

    sample: str
    stride: int
