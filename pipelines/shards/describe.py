"""The files beside the shards: index, splits, statistics, card. Shards of earlier plans are removed."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pipelines.artifacts import (
    MARKER_SUFFIX,
    StageKey,
    code_version,
    marker_path,
    read_marker,
    run_stage,
    write_json,
    write_text,
)
from pipelines.config import settings_yaml
from pipelines.errors import DataMissing
from pipelines.shards.card import dataset_card
from pipelines.shards.plan import PlannedShard
from pipelines.shards.produce import Production
from pipelines.shards.reader import ShardReader
from pipelines.shards.schema import ShardKind
from pipelines.shards.splits import SPLITS_FILE, Membership, require_no_leak
from pipelines.shards.statistics import IndexRow, describe_set, index_csv
from pipelines.shards.writer import shard_path

_log = logging.getLogger(__name__)

INDEX: Final = "index.csv"
STATISTICS: Final = "stats.json"
CARD: Final = "README.md"
SETTINGS: Final = "settings.yaml"
_STAGE: Final = "description"
_CODE: Final = (
    "pipelines/shards/card",
    "pipelines/shards/describe",
    "pipelines/shards/splits",
    "pipelines/shards/statistics",
)


def describe_shards(production: Production, finished: Sequence[PlannedShard]) -> Path:
    """Bring the files beside the shards up to date; returns the folder.

    Args:
        production: the plan.
        finished: shards of the plan that were written; the others are named as missing.

    Raises:
        DataMissing: no shard was written.
        DataInvalid: a shard is damaged, or the split leaks.
    """
    settings = production.settings
    folder = settings.folder
    if not finished:
        raise DataMissing("no shard was written", where=folder, fix="see the errors above")
    _remove_others(folder, production.shards)
    hashes = {shard.name: _hash(folder, shard) for shard in finished}
    hashes["missing"] = " ".join(s.name for s in production.shards if s not in finished)
    hashes["left out"] = json.dumps(production.left_out, sort_keys=True)
    key = StageKey(_STAGE, settings.portable().content_hash(), hashes, code_version(*_CODE))

    def work() -> tuple[list[Path], Mapping[str, Any]]:
        return _write(production, finished), {"shards": len(finished)}

    run_stage(folder, key, work)
    return folder


def _write(production: Production, finished: Sequence[PlannedShard]) -> list[Path]:
    settings, split = production.settings, production.split
    folder = settings.folder
    description = describe_set(folder, finished)
    # From what was written, not from what was planned.
    if split.proved is not None:
        require_no_leak(_sides(description.index), _members(description.index), split.proved)
    accounts = _accounts(folder, finished, production.left_out)
    statistics = {
        "kind": _kind(folder, finished[0]),
        **description.statistics,
        "frames": _totals(accounts),
        "recordings": accounts,
        "shards_missing": [shard.name for shard in production.shards if shard not in finished],
    }
    splits = {
        "name": split.name,
        "no_two_sides_share": split.proved,
        "note": split.note,
        "recordings": dict(sorted(split.sides.items())),
    }
    bodies = _bodies(folder, finished[0])
    write_text(folder / INDEX, index_csv(description.index))
    write_json(folder / STATISTICS, statistics)
    write_json(folder / SPLITS_FILE, splits)
    write_text(folder / CARD, dataset_card(settings, statistics, split, accounts, bodies))
    write_text(folder / SETTINGS, settings_yaml(settings.portable()))
    return [folder / name for name in (INDEX, STATISTICS, SPLITS_FILE, CARD, SETTINGS)]


def _remove_others(folder: Path, shards: Sequence[PlannedShard]) -> None:
    """Shards of an earlier plan would be read beside those of this one, some samples twice."""
    planned = {shard.name for shard in shards}
    for path in sorted(folder.glob("*.h5")):
        marker = marker_path(folder, path.stem)
        if path.stem not in planned and marker.is_file():  # never a file that this program did not write
            marker.unlink()
            path.unlink()
            _log.warning("%s is of an earlier plan and was removed", path.name)


def _hash(folder: Path, shard: PlannedShard) -> str:
    marker = read_marker(folder, shard.name)
    if marker is None:
        raise DataMissing(
            "a finished shard has no manifest", where=folder / f"{shard.name}{MARKER_SUFFIX}"
        )
    return marker.files[shard_path(folder, shard.name).name]


def _accounts(
    folder: Path, shards: Sequence[PlannedShard], left_out: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, Any]]:
    """What became of the frames of each recording; those cut into several shards are summed."""
    accounts: dict[str, dict[str, Any]] = {
        name: {"frames": sum(why.values()), "kept": 0, "rejected": {}, "skipped": dict(why)}
        for name, why in left_out.items()
    }
    for shard in shards:
        marker = read_marker(folder, shard.name)
        stored = marker.summary["frames"] if marker is not None else {}
        for name, account in stored.items():
            accounts[name] = _sum(accounts[name], account) if name in accounts else dict(account)
    return dict(sorted(accounts.items()))


def _totals(accounts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {"frames": 0, "kept": 0, "rejected": {}, "skipped": {}}
    for account in accounts.values():
        total = _sum(total, account)
    return total


def _sum(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    added: dict[str, Any] = {name: one[name] + other[name] for name in ("frames", "kept")}
    for name in ("rejected", "skipped"):
        added[name] = dict(sorted((Counter(one[name]) + Counter(other[name])).items()))
    return added


def _sides(index: Sequence[IndexRow]) -> dict[str, Any]:
    return {row.recording: row.split for row in index}


def _members(index: Sequence[IndexRow]) -> list[Membership]:
    found = {row.recording: Membership(row.recording, row.scene, (row.subject,)) for row in index}
    return [found[name] for name in sorted(found)]


def _kind(folder: Path, shard: PlannedShard) -> ShardKind:
    with ShardReader(shard_path(folder, shard.name)) as reader:
        return reader.kind


def _bodies(folder: Path, shard: PlannedShard) -> str:
    with ShardReader(shard_path(folder, shard.name)) as reader:
        return str(json.loads(reader.sample(0).provenance)["bodies"])
