"""Weights files -> rows of the table, each with what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from pipelines.artifacts import hash_file
from pipelines.bodies.files import BodyFiles
from pipelines.errors import DataInvalid, DataMissing
from sahmr.data.coarse_body import load_template
from sahmr.data.crop import CROP_PX
from sahmr.data.supervision import Supervision, SupervisionSettings, load_supervision
from sahmr.data.targets import ContactTargetSettings
from sahmr.evaluation.definitions import DATASET_GT, METRO, PAPER_ROWS, ordered_rows
from sahmr.evaluation.rows import MetroRow, Row, SahmrRow
from sahmr.evaluation.settings import EvaluationSettings
from sahmr.evaluation.table import RowDescription
from sahmr.networks.checkpoint import load_metro, load_sahmr
from sahmr.networks.metro import Metro
from sahmr.networks.sahmr import Sahmr
from sahmr.networks.weights_file import SUFFIX, read_network

STAGE_WEIGHTS: Final = {"metro": "metro/best.safetensors", "sahmr": "mesh/best.safetensors"}
"""Where a training leaves the weights of its two rows."""
HRNET_MAP_STRIDE: Final = 4
"""Of the branch that RCNet's maps are made from."""
_OFFICIAL: Final = "an official checkpoint; its training data is not in the file"


@dataclass(frozen=True, slots=True, eq=False)
class LoadedRow:
    """A row ready to run."""

    row: Row
    description: RowDescription
    provenance: Mapping[str, Any]
    """As its training wrote it; empty for official files."""


def load_rows(
    settings: EvaluationSettings, files: BodyFiles, device: torch.device
) -> dict[str, LoadedRow]:
    """Every row that was trained or is given; a row that was not trained is absent.

    Raises:
        DataMissing: a given file is absent, or there is nothing to measure.
        DataInvalid: a file is not what it should be, or two rows have one name.
    """
    require_weights(settings)
    loaded: dict[str, LoadedRow] = {}
    for given, path in [*_of_training(settings), *settings.rows.items()]:
        name, row = _load(given, path, settings, files, device)
        if name in loaded or name == DATASET_GT:
            raise DataInvalid(
                "two rows have one name", where=path, found=name, fix="name it otherwise in `rows`"
            )
        loaded[name] = row
    return {name: loaded[name] for name in ordered_rows(loaded)}


def require_weights(settings: EvaluationSettings) -> None:
    """Refuse to measure nothing.

    Raises:
        DataMissing: a file that is given is absent, or none is given and none was trained.
    """
    for path in settings.rows.values():
        if not path.is_file():
            raise DataMissing("weights of a row not found", where=path, fix="correct the path")
    if not settings.rows and not _of_training(settings):
        raise DataMissing(
            "there is no trained network to measure",
            where=settings.train,
            fix="train first: `make train`, or give rows.<name>=<weights>",
        )


def names_of_rows(settings: EvaluationSettings) -> list[str]:
    """Rows that will be measured, by the name of their weights where the network tells its own."""
    return [name or path.parent.name for name, path in _of_training(settings)] + list(settings.rows)


def _of_training(settings: EvaluationSettings) -> list[tuple[str, Path]]:
    if settings.train is None:
        return []
    paths = {name: settings.train / place for name, place in STAGE_WEIGHTS.items()}
    return [("" if name != METRO else METRO, path) for name, path in paths.items() if path.is_file()]


def _load(
    given: str, path: Path, settings: EvaluationSettings, files: BodyFiles, device: torch.device
) -> tuple[str, LoadedRow]:
    """One row; its name follows from the network where none is given."""
    network, provenance = read_weights(path, metro=given.startswith(METRO))
    network = network.to(device)
    if isinstance(network, Metro):
        supervision = load_supervision(files, 8, SupervisionSettings(mirrored_maps=False))
        row: Row = MetroRow(
            network, load_template(files), supervision.h36m_regressor, settings.placement
        )
        name = given or METRO
    else:
        supervision = supervision_of(network, settings, files)
        row = SahmrRow(network, load_template(files), supervision)
        classes = supervision.categories.count
        name = given or f"sahmr_{1 if classes == 2 else classes}"
    title = PAPER_ROWS.get(name, name.replace("_", " "))
    description = RowDescription(title, trained_on(provenance), hash_file(path))
    return name, LoadedRow(row, description, provenance)


def read_weights(path: Path, *, metro: bool) -> tuple[Sahmr | Metro, dict[str, Any]]:
    """A network in evaluation mode, of our own file or an official one, and its provenance.

    Raises:
        DataMissing: no such file.
        DataInvalid: not such a network.
    """
    if path.suffix != SUFFIX:
        return (load_metro(path) if metro else load_sahmr(path)).network, {}
    if metro:
        trained_metro = read_network(path, Metro)
        return trained_metro.network, trained_metro.provenance
    trained = read_network(path, Sahmr)
    return trained.network, trained.provenance


def supervision_of(network: Sahmr, settings: EvaluationSettings, files: BodyFiles) -> Supervision:
    """Targets of the monitors, for the network's own categories and maps."""
    rcnet = network.settings.rcnet
    contact = ContactTargetSettings(
        contact_radius_m=settings.contact.radius_m,
        map_size=(rcnet.backbone.image_px or CROP_PX) // HRNET_MAP_STRIDE,
        background_map=rcnet.contact_maps == rcnet.num_classes,
    )
    return load_supervision(
        files,
        rcnet.num_classes,
        SupervisionSettings(
            contact=contact, left_out_parts=settings.contact.left_out, mirrored_maps=False
        ),
        settings.part_info,
    )


def trained_on(provenance: Mapping[str, Any]) -> str:
    """What a network was trained on, in one line."""
    if not provenance:
        return _OFFICIAL
    data = provenance["data"]
    bodies = " and ".join(
        {"fit": "fitted", "truth": "true", "dataset": "the data set's own"}[kind]
        for kind in data["kind"]
    )
    side = data["train"]
    return f"{bodies} bodies, {side['samples']} samples of {len(side['scenes'])} scenes"


def leaks(loaded: Mapping[str, LoadedRow], scenes: set[str], subjects: set[str]) -> list[str]:
    """Warnings for rows trained on scenes or subjects that they are measured on."""
    found = []
    for name, row in loaded.items():
        side = row.provenance.get("data", {}).get("train", {})
        for what, own in (("scenes", scenes), ("subjects", subjects)):
            shared = sorted(own & set(side.get(what, ())))
            if shared:
                found.append(
                    f"{name} was trained on {len(shared)} of the {len(own)} {what} it is measured on "
                    f"({shared[0]}, ...): these figures are not held out"
                )
    return found


def unequal_training(loaded: Mapping[str, LoadedRow]) -> list[str]:
    """Warnings where METRO and SA-HMR did not get the same data, body model or steps."""
    metro = loaded.get(METRO)
    if metro is None or not metro.provenance:
        return []
    found = []
    for name, row in loaded.items():
        if name == METRO or not row.provenance:
            continue
        theirs, ours = metro.provenance, row.provenance
        pairs = {
            "data": (theirs["identity"].get("data"), ours["identity"].get("data")),
            "steps": (theirs["settings"].get("steps"), ours["settings"].get("steps")),
            "epochs": (theirs["settings"].get("epochs"), ours["settings"].get("epochs")),
            "batch size": (theirs["settings"].get("batch_size"), ours["settings"].get("batch_size")),
        }
        other = [what for what, (a, b) in pairs.items() if a != b]
        if other:
            found.append(f"{METRO} and {name} were not trained alike: other {', '.join(other)}")
    return found
