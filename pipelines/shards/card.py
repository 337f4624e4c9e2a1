"""The dataset card: what a person who is handed the folder must know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.shards.schema import SCHEMA_NAME, SCHEMA_VERSION
from pipelines.shards.settings import ShardsSettings
from pipelines.shards.splits import SPLITS, SplitDecision

_KINDS = {
    "fit": (
        "Bodies were fitted to what an RGB-D camera saw (pseudo ground truth); they are not the truth. "
        "`expected_error_mm`, `weight` and `reject_reason` tell how good each is thought to be."
    ),
    "truth": (
        "Bodies are the true ones of a synthetic generator; nothing was fitted. They are SMPL-X bodies "
        "carried over to SMPL+H with flat hands; `expected_error_mm` is the distance between the two."
    ),
    "dataset": (
        "Bodies are those that the data set brings itself; nothing was fitted here. They are SMPL-X bodies "
        "carried over to SMPL+H with flat hands; `expected_error_mm` is the distance between the two, not "
        "the data set's own error."
    ),
}
_LICENCE = {
    "stand-in": (
        "Bodies are of the licence-free stand-in. Their numbers mean nothing to the licensed SMPL+H, "
        "and figures measured on them must not be compared with published ones."
    ),
    "licensed": (
        "Bodies are parameters of the licensed SMPL+H; crops and scans may be of PROX or another licensed "
        "data set. Whoever is handed these shards needs those licences too."
    ),
}


def dataset_card(
    settings: ShardsSettings,
    statistics: Mapping[str, Any],
    split: SplitDecision,
    accounts: Mapping[str, Mapping[str, Any]],
    bodies: str,
) -> str:
    """Markdown.

    Args:
        settings: of the production.
        statistics: content of `stats.json`.
        split: sides, and what was proved of them.
        accounts: what became of the frames of each recording.
        bodies: `stand-in` or `licensed`.
    """
    kind = statistics["kind"]
    sections = [
        f"# Shards `{settings.name}`, {settings.source}",
        f"{statistics['samples']} samples, {statistics['usable']} of them usable. {_KINDS[kind]}",
        f"Schema: {SCHEMA_NAME}, version {SCHEMA_VERSION}. Do not mix with shards of the other kind unasked.",
        "## Sides",
        _sides(statistics, split),
        _proof(split),
        "## Frames",
        _frames(accounts),
        "## Quality",
        _quality(statistics),
        "## Contact",
        f"Nearer than {settings.sample.contact.radius_m * 100:g} cm. Left out: "
        f"{', '.join(settings.sample.contact.left_out) or 'nothing'}. Usable samples that touch with a part:",
        _table(("part", "samples"), list(statistics["touching_part"].items())),
        f"Contact labels of the data set's own (`own_contact`): {statistics['own_contact']} usable samples.",
        "## Provenance",
        "Each sample names hashes of what it was made from (`provenance`); each manifest those of inputs, "
        "settings and code. `settings.yaml` holds all settings.",
        "## Licence",
        _LICENCE[bodies],
    ]
    return "\n\n".join(sections) + "\n"


def _sides(statistics: Mapping[str, Any], split: SplitDecision) -> str:
    recordings = list(split.sides.values())
    usable = statistics["usable_by"]["split"]
    rows = [(side, recordings.count(side), usable.get(side, 0)) for side in SPLITS]
    return _table(("side", "recordings", "usable samples"), rows)


def _proof(split: SplitDecision) -> str:
    what = {"both": "scene or person", "scene": "scene", "subject": "person"}
    alone = "Only one side." if len(set(split.sides.values())) == 1 else ""
    proved = f"No {what[split.proved]} is on two sides (checked)." if split.proved else alone
    return f"Split `{split.name}`. {proved}" + (f" {split.note}." if split.note else "")


def _frames(accounts: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, account in sorted(accounts.items()):
        lost = {**account["rejected"], **{f"skipped: {k}": v for k, v in account["skipped"].items()}}
        why = ", ".join(f"{reason} {count}" for reason, count in lost.items())
        rows.append((name, account["frames"], account["kept"], why or "–"))
    return _table(("recording", "frames", "kept", "rejected or skipped"), rows)


def _quality(statistics: Mapping[str, Any]) -> str:
    error = statistics["expected_error_mm"]
    if not error["known"]:
        return "No sample has a score."
    return (
        f"Expected error of the body's vertices, {error['known']} scored samples: "
        f"median {error['p50']:.1f} mm, 90 % below {error['p90']:.1f} mm. "
        f"Weights sum to {statistics['weights']:g}."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    return "\n".join([*lines, *(f"| {' | '.join(str(value) for value in row)} |" for row in rows)])
