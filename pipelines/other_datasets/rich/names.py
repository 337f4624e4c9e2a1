"""Who and where: the sequences of RICH by their names and by its meta tables."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast, get_args

from pipelines.errors import DataInvalid
from pipelines.records import Gender

Split = str
SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")
FEMALE_SUBJECTS: Final = frozenset({9, 10, 12, 13, 16, 17, 18, 19, 21})
"""Everyone else is male; the pickles carry no gender. Source: RICH's gender table."""

_SEQUENCE = re.compile(r"^(?P<capture>[A-Za-z0-9]+)_(?P<subjects>\d{3}(?:_\d{3})*)_(?P<action>.+)$")
_COLUMNS: Final = ("sequence_name", "capture_name", "scan_name", "id", "gender", "view_id")


@dataclass(frozen=True, slots=True)
class Sequence:
    """One sequence: where it was captured, and who is in it."""

    name: str
    capture: str
    subjects: tuple[str, ...]
    """Three digits each, as the files are named."""
    scan: str | None = None
    """Name of the scan's file without suffix; None where only the sequence's name is known."""
    views: tuple[int, ...] = ()
    """Cameras that the meta table lists; empty where there is none."""
    genders: tuple[Gender | None, ...] = ()
    """Of each subject by the meta table."""


def parse_sequence(name: str) -> Sequence | None:
    """`<Capture>_<subject>[_<subject>]_<action>`; None for a folder that is no sequence.

    Subjects are all three-digit parts after the capture: with a fixed number of parts the second of two
    people would become the action.
    """
    match = _SEQUENCE.match(name)
    if match is None:
        return None
    return Sequence(name, match["capture"], tuple(match["subjects"].split("_")))


def read_meta(path: Path) -> dict[str, Sequence]:
    """One of meta/{train,val,test}.txt: a row per person of each sequence, tab separated.

    Columns are found by name, since val and test have more of them than train.

    Raises:
        DataInvalid: a column is absent, or a row is not understood.
    """
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream, delimiter="\t", skipinitialspace=True)
        header = [name.strip("# ") for name in reader.fieldnames or ()]
        missing = [name for name in _COLUMNS if name not in header]
        if missing:
            raise DataInvalid(
                "RICH meta table lacks columns",
                where=path,
                expected=", ".join(_COLUMNS),
                found=", ".join(header),
            )
        reader.fieldnames = header
        rows = [_row(row, f"{path}, row {number}") for number, row in enumerate(reader, 2)]
    sequences: dict[str, Sequence] = {}
    for row in rows:
        known = sequences.get(row.name)
        sequences[row.name] = row if known is None else _joined(known, row)
    return sequences


def gender_of(subject: str, tabled: Gender | None, overrides: Mapping[str, Gender]) -> Gender:
    """Gender of a subject: by the settings, else by RICH's list, which the meta table must not contradict.

    Raises:
        DataInvalid: list and table contradict each other.
    """
    chosen = {int(key): value for key, value in overrides.items() if key.isdigit()}.get(int(subject))
    if chosen is not None:
        return chosen
    listed: Gender = "female" if int(subject) in FEMALE_SUBJECTS else "male"
    if tabled not in (None, listed):
        raise DataInvalid(
            f"RICH subject {subject}: two genders",
            expected=f"{listed}, by RICH's gender table",
            found=f"{tabled} in the meta table",
            fix="set rich.genders to the right one",
        )
    return listed


def _row(row: Mapping[str, str | None], source: str) -> Sequence:
    values = {name: (row[name] or "").strip() for name in _COLUMNS}
    subjects = tuple(f"{int(number):03d}" for number in re.findall(r"\d+", values["id"]))
    genders = tuple(re.findall(r"[a-z]+", values["gender"].lower()))
    if not (values["sequence_name"] and values["capture_name"] and subjects) or any(
        gender not in get_args(Gender) for gender in genders
    ):
        raise DataInvalid("RICH meta row is not understood", where=source, found=dict(row))
    if len(genders) != len(subjects):
        genders = genders * len(subjects) if len(genders) == 1 else (None,) * len(subjects)
    return Sequence(
        name=values["sequence_name"],
        capture=values["capture_name"],
        subjects=subjects,
        scan=values["scan_name"].removesuffix(".ply") or None,
        views=tuple(int(number) for number in re.findall(r"\d+", values["view_id"])),
        genders=cast(tuple[Gender | None, ...], genders),
    )


def _joined(first: Sequence, second: Sequence) -> Sequence:
    """Two rows of one sequence: two people."""
    new = [row for row, subject in enumerate(second.subjects) if subject not in first.subjects]
    return replace(
        first,
        subjects=(*first.subjects, *(second.subjects[row] for row in new)),
        genders=(*first.genders, *(second.genders[row] for row in new)),
        views=tuple(sorted({*first.views, *second.views})),
    )
