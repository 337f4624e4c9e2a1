"""Which samples train, validate and test, so that no scene or person is seen on two sides; and the proof."""

from __future__ import annotations

import csv
import json
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from pipelines.config import Settings
from pipelines.errors import DataInvalid, DataMissing

_log = logging.getLogger(__name__)

Split = Literal["train", "val", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")
SPLITS_FILE: Final = "splits.json"
"""Lies beside the shards."""
SplitBy = Literal["scene", "subject", "both"]

HUMOR_PROX_TEST_SCENES: Final = ("N3Office", "N0Sofa", "N3Library", "MPH1Library")
"""Scenes of the 23 recordings HuMoR is tested on.

Source: HuMoR's evaluation on PROX, as told in the data sets page, section 1.12.
"""
RICH_TEST_SUBJECTS: Final = ("009", "010", "011", "012", "013", "017", "019", "021")
"""Subjects of RICH's test split; 013 is also in its training split.

Source: rich_toolkit, as told in the data sets page, section 2.1.
"""


SplitChoice = Literal["auto", "own", "official", "humor-prox", "train-only"]
_SCENE: Final[SplitBy] = "scene"


class SplitSettings(Settings):
    """A split of our own."""

    by: SplitBy = "both"
    """What may be on one side only: a scene, a subject, or either."""
    val_share: float = Field(0.1, ge=0, lt=1)
    """Share of the groups, about."""
    test_share: float = Field(0.2, ge=0, lt=1)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Membership:
    """Where a recording was made, and of whom."""

    recording: str
    scene: str
    subjects: tuple[str, ...]
    """More than one where two people are in one recording."""
    official: Split | None = None
    """Side by the data set's own split, where it has one."""


@dataclass(frozen=True, slots=True)
class SplitDecision:
    """A split, and what was proved of it."""

    name: SplitChoice
    sides: Mapping[str, Split]
    """Of each recording."""
    proved: SplitBy | None
    """What is on one side only; None for a split with one side, or one that shares both."""
    note: str = ""
    """What a user should know."""


def decide_split(
    members: Collection[Membership], choice: SplitChoice, own: SplitSettings
) -> SplitDecision:
    """Split recordings as chosen, and prove that nothing leaks.

    Raises:
        DataInvalid: the split leaks, or recordings cannot be split as `own` says.
    """
    if choice == "train-only":
        return SplitDecision(choice, {member.recording: "train" for member in members}, None)
    if choice == "official" or (choice == "auto" and all(m.official for m in members)):
        return _official_split(members)
    note = ""
    if choice == "humor-prox":
        sides, by = humor_prox_split(members), _SCENE
        note = "People are on both sides"
    else:
        if choice == "auto":
            own, note = _possible(members, own)
        sides, by = split_recordings(members, own), own.by
    if note:
        _log.warning("split %s: %s", choice, note)
    require_no_leak(sides, members, by)
    return SplitDecision(choice, sides, by, note)


def _official_split(members: Collection[Membership]) -> SplitDecision:
    """The data set's own sides, whatever they share; what they do not share is proved."""
    sides = {member.recording: member.official for member in members if member.official is not None}
    without = sorted(member.recording for member in members if member.official is None)
    if without:
        raise DataInvalid(
            f"{len(without)} recording(s) are on no side of an official split",
            found=without[0],
            fix="choose another split; only RICH, EgoBody and PROX quantitative bring one",
        )
    kinds: tuple[SplitBy, ...] = ("both", "scene", "subject")
    proved = next((by for by in kinds if not _leaks(sides, members, by)), None)
    if len(set(sides.values())) == 1:
        return SplitDecision("official", sides, None)
    shared = {"both": "", "scene": "People are", "subject": "Scenes are", None: "Scenes and people are"}
    note = shared[proved] and f"{shared[proved]} on two sides of the data set's own split"
    return SplitDecision("official", sides, proved, note)


def _leaks(sides: Mapping[str, Split], members: Iterable[Membership], by: SplitBy) -> bool:
    try:
        require_no_leak(sides, members, by)
    except DataInvalid:
        return True
    return False


def _possible(members: Collection[Membership], wanted: SplitSettings) -> tuple[SplitSettings, str]:
    """The settings nearest to those wanted by which the recordings can be split, and what was given up.

    First that people are on one side only, as PROX's recordings are all tied together by scenes and people;
    then the validation side, then the test side.
    """
    sides = (wanted.test_share > 0) + (wanted.val_share > 0)
    kinds: list[SplitBy] = [wanted.by, *([_SCENE] if wanted.by == "both" else [])]
    groups = {by: len(_tied_together(members, by)) for by in kinds}
    for by in kinds:
        if groups[by] > sides:
            note = (
                "" if by == wanted.by else "People are on both sides: all recordings are tied together"
            )
            return wanted.model_copy(update={"by": by}), note
    if groups[wanted.by] > 1:
        return wanted.model_copy(update={"val_share": 0.0}), "Too few recordings for a validation side"
    alone = {"val_share": 0.0, "test_share": 0.0}
    return wanted.model_copy(update=alone), "Too few recordings to split: everything trains"


def split_recordings(members: Iterable[Membership], settings: SplitSettings) -> dict[str, Split]:
    """Put every recording on one side.

    Recordings that share what must not be shared go together. With `by="both"` chains of shared scenes and
    subjects can tie everything into one group.

    Groups come in an order drawn from their names and the seed; the first ones test until their share of the
    recordings is reached, the next validate, the rest trains.

    Raises:
        DataInvalid: there are fewer groups than sides.
    """
    members = sorted(members, key=lambda member: member.recording)
    groups = _tied_together(members, settings.by)
    wanted: dict[Split, float] = {"test": settings.test_share, "val": settings.val_share}
    sides = [side for side, share in wanted.items() if share > 0]
    if len(groups) <= len(sides):
        raise DataInvalid(
            f"recordings cannot be split by {settings.by}",
            expected=f"at least {len(sides) + 1} groups that share nothing, one per side",
            found=f"{len(members)} recording(s) in {len(groups)} group(s)",
            fix="split by scene or by subject alone, or do without a side (share 0)",
        )
    groups.sort(key=lambda group: _draw(group, settings))
    split: dict[str, Split] = {}
    test_and_val: tuple[Split, Split] = ("test", "val")
    for side in test_and_val:
        needed, room = wanted[side] * len(members), len(groups) - 1 - (side == "test" and "val" in sides)
        while needed > 0 and room > 0:
            group = groups.pop(0)
            split |= {member.recording: side for member in group}
            needed, room = needed - len(group), room - 1
    return split | {member.recording: "train" for group in groups for member in group}


def humor_prox_split(members: Iterable[Membership]) -> dict[str, Split]:
    """HuMoR's PROX split by its test scenes; the rest trains. People are on both sides."""
    return {m.recording: "test" if m.scene in HUMOR_PROX_TEST_SCENES else "train" for m in members}


def read_split(path: Path) -> dict[str, Split]:
    """Recording -> side, as it lies beside the shards.

    Raises:
        DataMissing: no such file.
        DataInvalid: it holds no split.
    """
    if not path.is_file():
        raise DataMissing(
            "the shards have no split", where=path, fix="take all samples, or make the shards again"
        )
    try:
        recordings = dict(json.loads(path.read_text(encoding="utf-8"))["recordings"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataInvalid("split cannot be read", where=path, found=repr(error)) from None
    unknown = sorted(set(recordings.values()) - set(SPLITS))
    if unknown:
        raise DataInvalid("split has unknown sides", where=path, expected=SPLITS, found=unknown)
    return recordings


def read_rich_split(meta_folder: Path) -> dict[str, Split]:
    """RICH's official split of its sequences, from `meta/{train,val,test}.txt` of the download.

    Raises:
        DataMissing: a list is absent.
        DataInvalid: a list has no column `sequence_name`, or a sequence is on two sides.

    Source: rich_toolkit, as told in the data sets page, section 2.1; subject 013 trains and tests.
    """
    split: dict[str, Split] = {}
    for side in SPLITS:
        path = meta_folder / f"{side}.txt"
        if not path.is_file():
            raise DataMissing(
                "RICH's split list not found", where=path, fix="take the folder meta/ of rich_toolkit"
            )
        with path.open(encoding="utf-8", newline="") as stream:
            rows = csv.DictReader(stream, delimiter="\t")
            if "sequence_name" not in (rows.fieldnames or ()):
                raise DataInvalid(
                    "not one of RICH's split lists",
                    where=path,
                    expected="a tab-separated column sequence_name",
                    found=rows.fieldnames,
                )
            names = {row["sequence_name"] for row in rows}  # a moving camera may list a sequence twice
        both = sorted(names & split.keys())
        if both:
            raise DataInvalid("a sequence is on two sides", where=path, found=both[0])
        split |= dict.fromkeys(sorted(names), side)
    return split


def require_no_leak(split: Mapping[str, Split], members: Iterable[Membership], by: SplitBy) -> None:
    """Prove that nothing is on two sides.

    Raises:
        DataInvalid: a recording is on no side, a recording is given twice, or a scene or subject is on two.
    """
    sides: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    seen: set[str] = set()
    for member in members:
        if member.recording in seen or member.recording not in split:
            what = "given twice" if member.recording in seen else "on no side of the split"
            raise DataInvalid(f"a recording is {what}", where=member.recording)
        seen.add(member.recording)
        for name in _shared_names(member, by):
            sides[name][split[member.recording]].append(member.recording)
    leaks = {name: dict(found) for name, found in sides.items() if len(found) > 1}
    if leaks:
        lines = [
            f"{name}: " + ", ".join(f"{side} ({found[side][0]})" for side in SPLITS if side in found)
            for name, found in sorted(leaks.items())
        ]
        raise DataInvalid(
            f"the split leaks through {len(leaks)} name(s)\n    " + "\n    ".join(lines),
            fix="put all recordings of a name on one side",
        )


def _shared_names(member: Membership, by: SplitBy) -> tuple[str, ...]:
    scene = (f"scene {member.scene}",) if by in ("scene", "both") else ()
    subjects = tuple(f"subject {name}" for name in member.subjects) if by in ("subject", "both") else ()
    return (*scene, *subjects)


def _tied_together(members: Collection[Membership], by: SplitBy) -> list[list[Membership]]:
    """Groups of recordings connected by shared names."""
    root: dict[str, str] = {}

    def find(name: str) -> str:
        root.setdefault(name, name)
        while root[name] != name:
            root[name] = root[root[name]]
            name = root[name]
        return name

    for member in members:
        first, *others = _shared_names(member, by)
        for other in others:
            root[find(other)] = find(first)
    groups: dict[str, list[Membership]] = defaultdict(list)
    for member in members:
        groups[find(_shared_names(member, by)[0])].append(member)
    return list(groups.values())


def _draw(group: Collection[Membership], settings: SplitSettings) -> str:
    names = sorted({name for member in group for name in _shared_names(member, settings.by)})
    return sha256("\0".join([str(settings.seed), *names]).encode()).hexdigest()
