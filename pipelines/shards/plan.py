"""Which frames go into which file: one side of the split each, recordings whole where they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.shards.source import Candidate
from pipelines.shards.splits import SPLITS, Split


@dataclass(frozen=True, slots=True)
class RecordingPart:
    """Consecutive frames of a recording; parts of a recording share no frame and leave none out."""

    recording: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """One file to write."""

    name: str
    """`<split>-<number>`, the file's name without `.h5`."""
    split: Split
    parts: tuple[RecordingPart, ...]


def plan_shards(
    candidates: Sequence[Candidate], split: Mapping[str, Split], samples_per_shard: int
) -> tuple[PlannedShard, ...]:
    """Fill shards one after another in the order of the candidates; long recordings are cut.

    Candidates without a row are in no shard.
    """
    shards: list[PlannedShard] = []
    for side in SPLITS:
        chosen = [c for c in candidates if split.get(c.member.recording) == side and c.rows]
        for number, parts in enumerate(_pack(chosen, samples_per_shard)):
            shards.append(PlannedShard(f"{side}-{number:05d}", side, tuple(parts)))
    return tuple(shards)


def _pack(candidates: Sequence[Candidate], room: int) -> list[list[RecordingPart]]:
    files: list[list[RecordingPart]] = []
    left = 0
    for candidate in candidates:
        rows, start = candidate.rows, 0
        while rows:
            if left == 0:
                files.append([])
                left = room
            taken, rows = rows[:left], rows[left:]
            stop = rows[0] if rows else candidate.num_frames
            files[-1].append(RecordingPart(candidate.member.recording, start, stop))
            start, left = stop, left - len(taken)
    return files
