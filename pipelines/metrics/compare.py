"""Two results side by side, or a refusal that says why they cannot be compared."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipelines.errors import DataInvalid
from pipelines.metrics.summary import GROUP_ALL, METHOD_TITLES, MetricsTable, read_table
from pipelines.metrics.tables import format_value

_EXPLAIN = {
    "frames_hash": "frames",
    "keypoint_source": "keypoint source",
    "keypoints_hash": "keypoints",
    "topology": "model topology",
    "bodies": "body models",
    "sdf_source": "signed distance source",
    "sdf_hash": "signed distance values",
    "sdf_convention": "signed distance convention",
    "confidence_threshold": "confidence threshold",
    "joint_set": "joint set",
    "projection": "projection",
    "frame_rate_hz": "frame rate",
    "floor_source": "floor source",
    "frame_subsets": "visible/occluded limits",
    "scan_frame_step": "frames of the depth distance",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of one method in two comparable results."""

    method: str
    key: str
    unit: str
    value_a: float
    value_b: float

    @property
    def change(self) -> float:
        """How much b is above a."""
        return self.value_b - self.value_a

    @property
    def ratio(self) -> float:
        """Value of a over that of b: above 1 means b is lower."""
        return self.value_a / self.value_b if self.value_b else math.nan


def compare(result_a: MetricsTable, result_b: MetricsTable) -> list[Difference]:
    """Every metric that both results have, over all recordings.

    Raises:
        DataInvalid: the results differ in anything but values, counts and code version; the message
            lists every difference.
    """
    problems = differences_in_meaning(result_a, result_b)
    if problems:
        raise DataInvalid(
            "these two results must not be compared: they do not measure the same thing\n    "
            + "\n    ".join(problems),
            fix="measure both with the same data, frames, keypoints and options",
        )
    rows = []
    for method in result_a.methods:
        if method not in result_b.methods:
            continue
        cells_b = result_b.groups[GROUP_ALL][method]
        for key, cell_a in result_a.groups[GROUP_ALL][method].items():
            if key in cells_b:
                rows.append(Difference(method, key, cell_a.unit, cell_a.value, cells_b[key].value))
    return rows


def compare_files(file_a: Path, file_b: Path, width: int = 120) -> str:
    """The difference table of two metrics files as text.

    Raises:
        DataMissing: a file does not exist.
        DataInvalid: a file is no metrics table, or the two must not be compared.
    """
    differences = compare(read_table(file_a), read_table(file_b))
    stream = io.StringIO()
    Console(file=stream, width=width).print(difference_table(differences))
    return f"a: {file_a}\nb: {file_b}\n{stream.getvalue()}"


def differences_in_meaning(result_a: MetricsTable, result_b: MetricsTable) -> list[str]:
    """Lines naming whatever makes two results incomparable; empty when they are comparable."""
    lines = []
    if result_a.data.recordings != result_b.data.recordings:
        lines.append(
            f"recordings: {', '.join(result_a.data.recordings)} / {', '.join(result_b.data.recordings)}"
        )
    for name in sorted(set(result_a.provenance) | set(result_b.provenance)):
        a, b = result_a.provenance.get(name, "absent"), result_b.provenance.get(name, "absent")
        if a != b:
            cut = slice(12) if name.endswith("_hash") else slice(None)
            lines.append(f"{_EXPLAIN.get(name, name)}: {a[cut]} / {b[cut]}")
    lines += _definition_differences(result_a, result_b)
    if not set(result_a.methods) & set(result_b.methods):
        lines.append(f"methods: {', '.join(result_a.methods)} / {', '.join(result_b.methods)}")
    return lines


def difference_table(differences: list[Difference]) -> Table:
    """A console table of the differences."""
    table = Table(title="b against a (ratio above 1: b is lower)")
    for name in ("method", "metric"):
        table.add_column(name)
    for name in ("a", "b", "b - a", "a / b", "unit"):
        table.add_column(name, justify="right")
    for row in differences:
        values = (row.value_a, row.value_b, row.change, row.ratio)
        title = METHOD_TITLES.get(row.method, row.method)
        table.add_row(title, row.key, *(format_value(value) for value in values), row.unit)
    return table


def _definition_differences(result_a: MetricsTable, result_b: MetricsTable) -> list[str]:
    """Methods in both that were measured by other definitions, or other units."""
    lines = []
    for method in result_a.methods:
        if method not in result_b.methods:
            continue
        a = {key: cell.unit for key, cell in result_a.groups[GROUP_ALL][method].items()}
        b = {key: cell.unit for key, cell in result_b.groups[GROUP_ALL][method].items()}
        if a != b:
            only_a = sorted(f"{key} ({unit})" for key, unit in a.items() if b.get(key) != unit)
            only_b = sorted(f"{key} ({unit})" for key, unit in b.items() if a.get(key) != unit)
            lines.append(
                f"definitions of {method}: {', '.join(only_a) or 'none'} / {', '.join(only_b) or 'none'}"
            )
    return lines
