"""EgoBody's two tables: who is in a recording, which frames it has, and its split."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

from pipelines.errors import DataInvalid, DataMissing
from pipelines.records import Gender

Role = Literal["interactee", "camera_wearer"]
SPLITS: Final = ("train", "val", "test")
_COLUMNS: Final = (
    "recording_name",
    "body_idx_0",
    "body_idx_1",
    "body_idx_fpv",
    "start_frame",
    "end_frame",
    "scene_name",
)
_PERSON = re.compile(r"^(?P<index>[01])\s+(?P<gender>male|female|neutral)$")


@dataclass(frozen=True, slots=True)
class RecordingInfo:
    """One row of data_info_release.csv."""

    name: str
    scene: str
    start_frame: int
    end_frame: int
    """The last frame that belongs to the recording; files beyond it do not."""
    genders: tuple[Gender, Gender]
    """Of body 0 and body 1."""
    interactee: int
    """Body index of the person the headset sees; the other one wears it."""

    def role(self, index: int) -> Role:
        """Which of the fit folders a body's fits lie in."""
        return "interactee" if index == self.interactee else "camera_wearer"


def read_info(path: Path) -> dict[str, RecordingInfo]:
    """Read data_info_release.csv.

    Raises:
        DataMissing: no such file.
        DataInvalid: a column is absent, or a row is not understood.
    """
    rows = _rows(path, _COLUMNS)
    return {
        info.name: info for info in (_info(row, f"{path}, row {n}") for n, row in enumerate(rows, 2))
    }


def read_splits(path: Path) -> dict[str, str]:
    """Read data_splits.csv, a column of recordings per split: recording -> split.

    Raises:
        DataMissing: no such file.
        DataInvalid: a column is absent, or a recording is in two splits.
    """
    found: dict[str, str] = {}
    for row in _rows(path, SPLITS):
        for split in SPLITS:
            name = row[split].strip()
            if found.setdefault(name, split) != split and name:
                raise DataInvalid(f"EgoBody recording {name} is in two splits", where=path)
    found.pop("", None)
    return found


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    if not path.is_file():
        raise DataMissing("EgoBody table not found", where=path, fix="get it from EgoBody's site")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise DataInvalid(
                "EgoBody table lacks columns",
                where=path,
                expected=", ".join(columns),
                found=", ".join(reader.fieldnames or ()),
            )
        return [{name: row[name] or "" for name in columns} for row in reader]


def _info(row: dict[str, str], source: str) -> RecordingInfo:
    people = [_PERSON.match(row[name].strip()) for name in ("body_idx_0", "body_idx_1", "body_idx_fpv")]
    if None in people or not (row["start_frame"].isdigit() and row["end_frame"].isdigit()):
        raise DataInvalid(
            "EgoBody row is not understood",
            where=source,
            expected='people as "<index> <gender>", frames as numbers',
            found=row,
        )
    first, second, seen = (match for match in people if match is not None)
    genders = {match["index"]: cast(Gender, match["gender"]) for match in (first, second)}
    if set(genders) != {"0", "1"} or genders[seen["index"]] != seen["gender"]:
        raise DataInvalid(
            "EgoBody row contradicts itself: body_idx_fpv is none of the two people",
            where=source,
            found=row,
        )
    return RecordingInfo(
        name=row["recording_name"],
        scene=row["scene_name"],
        start_frame=int(row["start_frame"]),
        end_frame=int(row["end_frame"]),
        genders=(genders["0"], genders["1"]),
        interactee=int(seen["index"]),
    )
