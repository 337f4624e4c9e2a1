"""The model card: what a network was trained on and how, how good it got, and what it is not for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from torch import nn

from sahmr.training.state import Progress

if TYPE_CHECKING:
    from sahmr.training.loop import Job

CARD_FILE: Final = "model_card.md"
_WHAT: Final = {
    "start": "METRO, trained from scratch; the other networks start from it",
    "rcnet": "RCNet: the root of a person in an image, and the contact of body and scene",
    "mesh": "SA-HMR: RCNet and the mesh recovery network",
    "metro": "METRO: the baseline, a mesh from the image alone",
}


def model_card(network: nn.Module, job: Job, progress: Progress, total: int) -> str:
    """Markdown."""
    facts = job.provenance
    data: Mapping[str, Any] = facts["data"]
    lines = [
        f"# {_WHAT[job.name]}",
        "",
        f"`best.safetensors` and `last.safetensors` hold {_count(network):,} numbers; read them with "
        "`sahmr.networks.weights_file.read_network`.",
        "",
        "## Data",
        "",
        f"- Bodies: {_kinds(data['kind'])}; body model: {facts['body']}.",
        f"- Trained on {_side(data['train'])}.",
        f"- Validated on {_side(data['validation'])}."
        if data["validation"] is not None
        else "- Not validated: the shards have no split, so the last weights count as the best.",
        *(f"- Left out: {count} ({reason})." for reason, count in data["left_out"].items()),
        "",
        "## Training",
        "",
        f"{progress.step} of {total} steps of {job.settings.batch_size} samples, {progress.seconds:.0f} s by "
        f"the clock on {job.ranks.count} process(es), {job.ranks.device.type}; {progress.skipped} steps left "
        f"out because something was no number. Contact categories: {facts['categories']}. Seed: {job.seed}.",
        "",
        "| setting | value |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in _flat(facts["settings"])),
        "",
        "## Figures",
        "",
        *_figures(progress),
        "",
        "## Limits",
        "",
        *_limits(facts, data),
        "",
    ]
    return "\n".join(lines)


def _figures(progress: Progress) -> list[str]:
    if not progress.best_monitors:
        return ["None: nothing was validated."]
    return [
        f"On the validation samples, camera frame; best at step {progress.best_step}. These chose the best "
        "weights: figures to report come from `make evaluate` on the test side.",
        "",
        "| monitor | best | last |",
        "| --- | ---: | ---: |",
        *(
            f"| {name} | {value:.3g} | {progress.monitors[name]:.3g} |"
            for name, value in progress.best_monitors.items()
        ),
    ]


def _limits(facts: Mapping[str, Any], data: Mapping[str, Any]) -> list[str]:
    found = ["- Seen: only the scenes and persons above; one person per image, a known camera and scan."]
    if facts["body"] == "stand-in":
        found.append(
            "- The bodies are the licence-free stand-in's: figures are not comparable with published ones."
        )
    if "fit" in data["kind"]:
        found.append("- The bodies learnt from are fits: their error is part of what was learnt.")
    return found


def _kinds(kinds: list[str]) -> str:
    names = {
        "fit": "fitted to what a camera saw",
        "truth": "true bodies of synthetic data",
        "dataset": "those that a data set brings itself",
    }
    return " and ".join(names[kind] for kind in kinds)


def _side(side: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{len(side[what])} {what}" for what in ("recordings", "scenes", "subjects"))
    return f"{side['samples']} samples ({counts}: {', '.join(side['recordings'])})"


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in tree.items():
        found += (
            _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(prefix + name, value)]
        )
    return found


def _count(network: nn.Module) -> int:
    return sum(tensor.numel() for tensor in network.state_dict().values())
