"""The four trainings of a run: METRO from scratch where need be, RCNet, the mesh network, METRO.

    for stage in stages_to_train(settings):
        train_stage(settings, stage)                    # returns at once where it is done
    best = weights_path(settings, "mesh")

All three start from METRO's weights: RCNet from its backbone, the mesh network and the baseline from all of
it. The baseline gets the same data and, in the presets, the same number of steps as the mesh network.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from pipelines.artifacts import (
    StageKey,
    code_version,
    hash_file,
    marker_path,
    why_not_done,
    write_marker,
    write_text,
)
from pipelines.bodies.files import BodyFiles, resolve_body_files
from pipelines.config import settings_yaml
from pipelines.errors import DataInvalid, DataMissing, SettingsInvalid
from sahmr.data.coarse_body import load_template
from sahmr.data.crop import CROP_PX
from sahmr.data.metro_targets import CoarseLevels, load_coarse_levels
from sahmr.data.supervision import Supervision, SupervisionSettings, load_supervision
from sahmr.data.targets import ContactTargetSettings
from sahmr.networks.checkpoint import load_metro, load_rcnet, start_from_metro
from sahmr.networks.metro import Metro
from sahmr.networks.rcnet import Rcnet
from sahmr.networks.sahmr import Sahmr
from sahmr.networks.weights_file import SUFFIX, read_network
from sahmr.training.card import CARD_FILE, model_card
from sahmr.training.data import TrainingData, open_data
from sahmr.training.log import LOG_FILE
from sahmr.training.loop import BEST, LAST, Job, Training
from sahmr.training.ranks import Ranks, joined_ranks
from sahmr.training.settings import STAGES, StageName, TrainingSettings
from sahmr.training.state import STATE_FILE
from sahmr.training.tasks import MeshTask, MetroTask, RcnetTask, Task

logger = logging.getLogger(__name__)

START_SCALE = 0.02
"""Of the random weights behind maps that start near zero."""
HRNET_MAP_STRIDE = 4
"""Image pixels per cell of RCNet's maps."""
SETTINGS_FILE = "settings.yaml"
_CODE = ("sahmr/training", "sahmr/networks", "sahmr/losses", "sahmr/data", "sahmr/ops")
_NOT_OF_THE_TRAINING = {"log_every", "save_every"}
"""Stage settings that may change in the middle."""
N = TypeVar("N", Rcnet, Metro)


def stages_to_train(settings: TrainingSettings) -> tuple[StageName, ...]:
    """The stages of a run, in order; METRO from scratch only where no METRO is given.

    Raises:
        SettingsInvalid: neither a METRO checkpoint nor a training of one.
    """
    if settings.start_from.metro is None and settings.start is None:
        raise SettingsInvalid(
            "all networks start from METRO's weights, and there are none",
            expected="start_from.metro=metro_3dpw_state_dict.bin, or start={} to train METRO from scratch",
        )
    needed = set(settings.stages)
    if settings.start_from.metro is not None:
        needed.discard("start")
    return tuple(stage for stage in STAGES if stage in needed)


def stage_folder(settings: TrainingSettings, stage: StageName) -> Path:
    """Where a stage's files lie."""
    return settings.run_dir / stage


def weights_path(settings: TrainingSettings, stage: StageName) -> Path:
    """The best weights of a stage."""
    return stage_folder(settings, stage) / BEST


def train_stage(settings: TrainingSettings, stage: StageName) -> Path:
    """Train one stage to its end, going on where it stopped; returns its best weights.

    Raises:
        DataMissing: there are no shards, or the weights it starts from are not there.
        DataInvalid: shards or weights are not what they should be, or the folder holds another training.
        SettingsInvalid: settings do not fit together.
        FittingFailed: a loss was no number.
        OutputFailed: the disk is full or cannot be written to.
    """
    data = open_data(settings.data)
    files = resolve_body_files(settings.body_models)
    identity = _identity(settings, stage, data, files)
    folder, key = stage_folder(settings, stage), _key(stage, identity)
    reason = why_not_done(folder, key)
    if reason is None:
        logger.info("%s is trained already: %s", stage, folder)
        return folder / BEST
    if reason.endswith("changed") and not settings.restart:
        raise DataInvalid(
            f"the folder holds a finished training with other {reason.removesuffix(' changed')}",
            where=folder,
            fix="give the settings and data it was made with, another name=..., or restart=true to lose it",
        )
    with joined_ranks(settings.device) as ranks:
        _train(settings, stage, data, files, identity, key, ranks)
    return folder / BEST


def why_not_trained(settings: TrainingSettings, stage: StageName, data: TrainingData) -> str | None:
    """Why a stage will be trained; None when it is finished.

    Raises:
        DataMissing: the weights it starts from are not there.
    """
    files = resolve_body_files(settings.body_models)
    identity = _identity(settings, stage, data, files)
    return why_not_done(stage_folder(settings, stage), _key(stage, identity))


def _key(stage: StageName, identity: Mapping[str, str]) -> StageKey:
    return StageKey(stage, identity["stage"], dict(identity), "")


def _train(
    settings: TrainingSettings,
    stage: StageName,
    data: TrainingData,
    files: BodyFiles,
    identity: Mapping[str, str],
    key: StageKey,
    ranks: Ranks,
) -> None:
    folder = stage_folder(settings, stage)
    if ranks.is_first:
        marker_path(folder, stage).unlink(missing_ok=True)
        write_text(folder / SETTINGS_FILE, settings_yaml(settings))
    ranks.wait()
    training = open_training(settings, stage, data, files, identity, ranks)
    progress = training.run()
    if ranks.is_first:
        card = model_card(training.task.network, training.job, progress, training.total)
        write_text(folder / CARD_FILE, card)
        files_made = [
            folder / name for name in (BEST, LAST, STATE_FILE, LOG_FILE, CARD_FILE, SETTINGS_FILE)
        ]
        summary = {"best_step": progress.best_step, "monitors": progress.best_monitors}
        write_marker(folder, key, files_made, summary)
    ranks.wait()
    logger.info("%s: %d steps in %.0f s", stage, progress.step, progress.seconds)


def open_training(
    settings: TrainingSettings,
    stage: StageName,
    data: TrainingData,
    files: BodyFiles,
    identity: Mapping[str, str],
    ranks: Ranks,
    clock: Callable[[], float] = time.perf_counter,
) -> Training:
    """A stage at its start, or where its last checkpoint left it."""
    supervision = _supervision(settings, stage, files)
    torch.manual_seed(settings.seed)
    task = _build(settings, stage, supervision, files)
    provenance = {
        "stage": stage,
        "identity": dict(identity),
        "settings": settings.stage(stage).model_dump(mode="json"),
        "categories": settings.categories,
        "data": dict(data.card),
        "body": "stand-in" if files.is_standin else "licensed",
        "code": code_version(*_CODE),
    }
    job = Job(
        name=stage,
        folder=stage_folder(settings, stage),
        settings=settings.stage(stage),
        data=data,
        supervision=supervision,
        ranks=ranks,
        seed=settings.seed,
        workers=settings.data.workers,
        non_finite=settings.non_finite,
        identity=identity,
        provenance=provenance,
        tensorboard=settings.tensorboard,
        restart=settings.restart,
        clock=clock,
    )
    return Training(task, job)


def _build(
    settings: TrainingSettings, stage: StageName, supervision: Supervision, files: BodyFiles
) -> Task[Any]:
    """The stage's network, filled with what it starts from."""
    template = load_template(files)
    if stage == "rcnet":
        rcnet = Rcnet(settings.rcnet_with_categories)
        start_from_metro(_start_weights(settings), rcnet)
        if settings.rcnet.start_depth is not None:
            start_maps(rcnet, settings.rcnet.start_depth)
        return RcnetTask(rcnet, settings.rcnet)
    if stage == "mesh":
        sahmr = Sahmr(settings.sahmr_network)
        sahmr.rcnet.load_state_dict(_rcnet_weights(settings).state_dict())
        start_from_metro(_start_weights(settings), sahmr.mesh_recovery)
        sahmr.mesh_recovery.upsampling.requires_grad_(not settings.fixed_upsampling)
        return MeshTask(sahmr, settings.mesh, supervision, template)
    levels, metro = load_coarse_levels(files), Metro(settings.metro_network)
    metro.upsampling.requires_grad_(not settings.fixed_upsampling)
    if stage == "metro":
        metro.load_state_dict(_start_weights(settings).state_dict())
        return MetroTask(metro, settings.metro, supervision, template, levels)
    start_upsampling(metro, levels)
    assert settings.start is not None
    return MetroTask(metro, settings.start, supervision, template, levels)


@torch.no_grad()
def start_upsampling(metro: Metro, levels: CoarseLevels) -> None:
    """Let a METRO that is trained from scratch interpolate meshes from the first step on.

    Differs from METRO, whose learnt upsampling starts from random numbers: with few samples that would take
    most of the training.
    """
    for layer, matrix in (
        (metro.upsampling.to_middle, levels.to_middle),
        (metro.upsampling.to_full, levels.to_full),
    ):
        layer.weight.copy_(matrix)
        layer.bias.zero_()


@torch.no_grad()
def start_maps(rcnet: Rcnet, depth: float) -> None:
    """Start f1, f2 and f4 nearly constant; f3 stays random.

    f2 starts at `depth`, the map of the background at one, heat map and parts at zero: else the first hundred
    steps go into the background, whose thousand cells outweigh all other losses.
    """
    maps, features = rcnet.root_net.maps, slice(2, 2 + rcnet.settings.feature_channels)
    assert maps.bias is not None
    kept = maps.weight[features].clone()
    maps.weight.mul_(START_SCALE)
    maps.weight[features] = kept
    maps.bias.zero_()
    maps.bias[1] = depth
    if rcnet.settings.contact_maps == rcnet.settings.num_classes:
        maps.bias[features.stop] = 1


def _start_weights(settings: TrainingSettings) -> Metro:
    given = settings.start_from.metro
    path = weights_path(settings, "start") if given is None else given
    if path.suffix != SUFFIX:
        return load_metro(path, settings.metro_network).network
    return _fitting(read_network(path, Metro).network, settings.metro_network, path)


def _rcnet_weights(settings: TrainingSettings) -> Rcnet:
    given = settings.start_from.rcnet
    path = weights_path(settings, "rcnet") if given is None else given
    if path.suffix != SUFFIX:
        return load_rcnet(path, settings.rcnet_with_categories).network
    return _fitting(read_network(path, Rcnet).network, settings.rcnet_with_categories, path)


def _fitting(network: N, settings: Any, path: Path) -> N:
    """Refuse weights of another architecture: another preset, or other contact categories."""
    found, wanted = network.settings.model_dump(mode="json"), settings.model_dump(mode="json")
    other = sorted(name for name in wanted if found[name] != wanted[name])
    if other:
        raise DataInvalid(
            "the weights to start from are of another preset",
            where=path,
            expected=f"{other[0]}: {wanted[other[0]]}",
            found=found[other[0]],
            fix="give weights of the same preset and categories, or leave start_from out",
        )
    return network


def _supervision(settings: TrainingSettings, stage: StageName, files: BodyFiles) -> Supervision:
    rcnet = settings.rcnet_with_categories
    contact = ContactTargetSettings(
        map_size=(rcnet.backbone.image_px or CROP_PX) // HRNET_MAP_STRIDE,
        background_map=rcnet.contact_maps == rcnet.num_classes,
    )
    supervision = SupervisionSettings(
        contact=contact,
        left_out_parts=settings.data.left_out_parts,
        mirrored_maps=stage == "rcnet" and settings.rcnet.losses.mirrored_contact_maps > 0,
    )
    return load_supervision(files, rcnet.num_classes, supervision, settings.part_info)


def _identity(
    settings: TrainingSettings, stage: StageName, data: TrainingData, files: BodyFiles
) -> dict[str, str]:
    """Everything that decides what the weights become, but the code."""
    network = {
        "rcnet": settings.rcnet_with_categories,
        "mesh": settings.sahmr_network,
    }.get(stage, settings.metro_network)
    identity = {
        "network": network.canonical_json(),
        "stage": settings.stage(stage)
        .model_copy(update=dict.fromkeys(_NOT_OF_THE_TRAINING, 1))
        .canonical_json(),
        "data": data.identity,
        "seed": str(settings.seed),
        "body": hash_file(files.downsampling),
    }
    if stage != "rcnet":
        identity["fixed_upsampling"] = str(settings.fixed_upsampling)
    if stage != "start":
        identity["start"] = _hash_of(settings.start_from.metro or weights_path(settings, "start"))
    if stage == "mesh":
        identity["rcnet"] = _hash_of(settings.start_from.rcnet or weights_path(settings, "rcnet"))
    return identity


def _hash_of(path: Path) -> str:
    if not path.is_file():
        raise DataMissing(
            "the weights to start from are not there",
            where=path,
            fix="train that stage first (`stages` lists what is trained), or give them by start_from",
        )
    return hash_file(path)
