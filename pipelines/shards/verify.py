"""Check every shard of a folder against what was written, and say which samples are hurt."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipelines.artifacts import MARKER_SUFFIX, hash_file, read_marker
from pipelines.errors import DataMissing
from pipelines.shards.validate import QUARANTINE, ShardProblem, quarantine_shard, validate_shard
from pipelines.shards.writer import shard_path

_log = logging.getLogger(__name__)

_NAMED: Final = 8
"""Hurt samples that a report lists by name; the others are counted."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was found in some folders of shards."""

    problems: Mapping[Path, tuple[ShardProblem, ...]]
    """Every shard (and every file beside them that has a manifest) -> what is wrong with it."""
    num_samples: int
    """In the shards without a problem."""
    quarantined: tuple[Path, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not any(self.problems.values())

    def to_text(self) -> str:
        """One line per file, damaged ones with what is wrong and which samples are hurt."""
        bad = {path: found for path, found in self.problems.items() if found}
        good = len(self.problems) - len(bad)
        lines = [f"{good} of {len(self.problems)} files are whole, {self.num_samples} samples"]
        for path, found in bad.items():
            lines.append(f"WRONG {path}")
            lines += [f"    {problem.what}" for problem in found if problem.sample is None]
            hurt = [problem for problem in found if problem.sample is not None]
            lines += [f"    {problem.sample}: {problem.what}" for problem in hurt[:_NAMED]]
            if len(hurt) > _NAMED:
                lines.append(f"    and {len(hurt) - _NAMED} more samples")
        lines += [f"moved to {path}" for path in self.quarantined]
        if bad:
            lines.append("to mend: make the shards again; whole ones are kept, the others written anew")
        return "\n".join(lines)


def verify_shards(folder: Path, *, quarantine: bool = False) -> VerifyReport:
    """Validate every shard in a folder and in those below it.

    A manifest whose shard is gone counts, and so does a file that a manifest beside the shards lists (index,
    splits, statistics, card).

    Args:
        folder: one set of shards, or a folder of sets.
        quarantine: move damaged shards and their manifests into a folder of that name beside them. A shard
            that is what was written, but of another schema version, stays.

    Raises:
        DataMissing: there is no shard.
    """
    problems: dict[Path, tuple[ShardProblem, ...]] = {}
    num_samples, moved = 0, []
    for own, name in _found(folder):
        path = shard_path(own, name)
        marker = read_marker(own, name)
        if path.is_file() or (marker is not None and path.name in marker.files):
            problems[path] = validate_shard(path)
            if not problems[path] and marker is not None:
                num_samples += int(marker.summary["num_samples"])
            elif quarantine and _changed(path, marker.files.get(path.name, "") if marker else ""):
                moved.append(quarantine_shard(path))
        else:
            problems |= _other_files(own, name)
    if not problems:
        raise DataMissing("no shard to verify", where=folder, fix="make shards first: `make shards`")
    return VerifyReport(problems, num_samples, tuple(moved))


def _found(folder: Path) -> Iterator[tuple[Path, str]]:
    """Folder and name of every shard and manifest, each once, what is in quarantine left out."""
    shards = {(path.parent, path.stem) for path in folder.rglob("*.h5")}
    markers = {
        (path.parent, path.name.removesuffix(MARKER_SUFFIX))
        for path in folder.rglob(f"*{MARKER_SUFFIX}")
    }
    return (found for found in sorted(shards | markers) if found[0].name != QUARANTINE)


def _other_files(folder: Path, stage: str) -> dict[Path, tuple[ShardProblem, ...]]:
    marker = read_marker(folder, stage)
    if marker is None:
        path = folder / f"{stage}{MARKER_SUFFIX}"
        return {path: (ShardProblem("a manifest that cannot be read, without its shard"),)}
    return {folder / name: _changed(folder / name, expected) for name, expected in marker.files.items()}


def _changed(path: Path, expected: str) -> tuple[ShardProblem, ...]:
    if not path.is_file():
        return (ShardProblem("the file is missing"),)
    return () if hash_file(path) == expected else (ShardProblem("bytes of the file have changed"),)
