"""Is a shard what was written? If not, which samples are damaged?"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import h5py

from pipelines.artifacts import DoneMarker, hash_file, marker_path, read_marker
from pipelines.errors import DataInvalid, PipelineError
from pipelines.shards.reader import open_shard, read_record
from pipelines.shards.schema import DIGEST, SAMPLES, SCENES, Record, ShardSample, ShardScene

_log = logging.getLogger(__name__)

QUARANTINE: Final = "quarantine"
"""Folder, beside the shards, that damaged ones are moved to."""


@dataclass(frozen=True, slots=True)
class ShardProblem:
    """One thing wrong with a shard."""

    what: str
    sample: str | None = None
    """Its id, where the damage lies in one sample."""


def validate_shard(path: Path) -> tuple[ShardProblem, ...]:
    """Everything wrong with a shard and its manifest; empty for a good one.

    Any changed, missing or added byte changes the file's hash. Only then is every row read and compared with
    its digest, to tell which samples are hurt; a damage outside all rows is reported without a sample,
    and a file that does not open with all that its manifest lists.
    """
    marker = read_marker(path.parent, path.stem)
    problems = compare_with_manifest(path, marker)
    names = list(marker.summary.get("samples", ())) if marker is not None else []
    if not path.is_file():
        return (*problems, *(ShardProblem("lost with its file", name) for name in names))
    try:
        file = open_shard(path)
    except PipelineError as error:
        hurt = names if problems else []  # else it is what was written, of another version maybe
        lost = (ShardProblem("lost with its file, which cannot be opened", name) for name in hurt)
        return (*problems, ShardProblem(str(error)), *lost)
    with file:
        if problems:
            problems += _damaged_rows(file, ShardScene, [])
            problems += _damaged_rows(file, ShardSample, names)
        elif len(names) != len(file[SAMPLES][DIGEST]):
            problems.append(ShardProblem("the manifest lists other samples than the shard holds"))
    return tuple(problems)


def require_valid(path: Path) -> None:
    """Refuse a damaged shard.

    Raises:
        DataInvalid: names every problem and damaged sample.
    """
    problems = validate_shard(path)
    if problems:
        lines = [f"{p.sample}: {p.what}" if p.sample else p.what for p in problems]
        raise DataInvalid(
            f"shard has {len(problems)} problem(s)\n    " + "\n    ".join(lines),
            where=path,
            fix="quarantine it and make it again; the other shards stay usable",
        )


def quarantine_damaged(folder: Path) -> dict[str, tuple[ShardProblem, ...]]:
    """Move damaged shards and their manifests aside; returns what was wrong with each, by name."""
    found = {path.stem: validate_shard(path) for path in sorted(folder.glob("*.h5"))}
    damaged = {name: problems for name, problems in found.items() if problems}
    for name in damaged:
        quarantine_shard(folder / f"{name}.h5")
    return damaged


def quarantine_shard(path: Path) -> Path:
    """Move one shard and its manifest aside; returns the folder they are in now."""
    aside = path.parent / QUARANTINE
    aside.mkdir(exist_ok=True)
    for part in (marker_path(path.parent, path.stem), path):  # without a manifest first: not done
        if part.exists():
            part.replace(aside / part.name)
    _log.warning("shard %s is damaged and was moved to %s", path.stem, aside)
    return aside


def compare_with_manifest(path: Path, marker: DoneMarker | None) -> list[ShardProblem]:
    """What the file's bytes alone tell; empty if they are those that were written."""
    if marker is None:
        return [ShardProblem("no manifest, or one that cannot be read")]
    if path.name not in marker.files:
        return [ShardProblem("the manifest does not list the shard")]
    if not path.is_file():
        return [ShardProblem("the shard is missing")]
    if hash_file(path) == marker.files[path.name]:
        return []
    size, whole = path.stat().st_size, marker.summary.get("bytes")
    if size != whole:
        return [ShardProblem(f"the shard has {size} bytes, {whole} were written")]
    return [ShardProblem("bytes of the shard have changed")]


def _damaged_rows(file: h5py.File, record: type[Record], names: list[str]) -> list[ShardProblem]:
    group = file[SAMPLES if record is ShardSample else SCENES]
    problems = []
    for row in range(len(group[DIGEST])):
        try:
            read_record(file, record, row, check=True)  # type: ignore[type-var]
        except DataInvalid as error:
            name = names[row] if row < len(names) else f"{record.__name__} {row}"
            problems.append(ShardProblem(error.what, name))
    return problems
