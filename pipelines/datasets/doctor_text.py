"""The doctor's report as plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

_COLUMNS = ("color", "depth", "mask_color", "keypoints", "fit")
_MARKS = {"error": "ERROR", "warning": "warning", "note": "note"}


def report_text(report: Mapping[str, Any]) -> str:
    """Table of recordings, findings, and where to get what is missing."""
    parts = [f"PROX tree {report['root']}"]
    if report["recordings"]:
        parts.append(_table([_row(recording) for recording in report["recordings"]]))
    parts += [_finding(finding) for finding in report["findings"]]
    if report["where_to_get"]:
        lines = [f"  {name}: {text}" for name, text in report["where_to_get"].items()]
        parts.append("\n".join(["Where to get what is missing:", *lines]))
    errors = sum(finding["severity"] == "error" for finding in report["findings"])
    parts.append("ready" if report["ok"] else f"not ready: {errors} error(s) to mend")
    return "\n".join(parts) + "\n"


def _row(recording: Mapping[str, Any]) -> list[str]:
    cells = [recording["name"], recording["gender"], str(recording["frames"])]
    cells.append(str(recording["segments"]))
    for column in _COLUMNS:
        broken = recording["broken"].get(column, 0)
        cell = str(recording["present"].get(column, 0))
        cells.append(f"{cell} ({broken} broken)" if broken else cell)
    return [*cells, recording["keypoints_frame"]]


def _table(rows: Sequence[Sequence[str]]) -> str:
    head = ("recording", "gender", "frames", "segments", *_COLUMNS, "keypoints are")
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    return "\n".join(lines)


def _finding(finding: Mapping[str, str]) -> str:
    text = textwrap.indent(finding["text"], "    ").lstrip()
    return f"{_MARKS[finding['severity']]}: {finding['subject']}: {text}"
