"""A training step of each stage, split by part, and what its targets cost; with `--overfit`, what is learnt.

On shards of true bodies, made once: four frames each of two rooms. Seconds are of the CPU, one process, one
thread, no worker processes: what a loader's workers take over on other cores is `load`. `load` is reading,
cropping, posing the bodies and labelling the scene points; `targets` is what has to wait for the network's
voxels. Distances from points to bodies come from k-d trees, of the points within reach only.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import torch

from benchmarks.table import BenchmarkTable
from pipelines.bodies.files import resolve_body_files
from pipelines.shards.produce import plan_production, write_planned_shard
from pipelines.shards.settings import ShardsSettings
from sahmr.networks.metro import Metro
from sahmr.networks.rcnet import Rcnet
from sahmr.networks.weights_file import write_network
from sahmr.training.data import open_data
from sahmr.training.log import read_log
from sahmr.training.ranks import Ranks
from sahmr.training.settings import StageName, TrainingSettings
from sahmr.training.stages import open_training, train_stage

DESCRIPTION = "training steps split by part; learning eight samples by heart"
PARTS = ("load", "targets", "forward", "backward", "optimiser")
STAGES: tuple[StageName, ...] = ("rcnet", "mesh", "metro")


def add_options(parser: argparse._ArgumentGroup) -> None:
    """Options of this benchmark."""
    parser.add_argument(
        "--preset", choices=("tiny", "paper"), default="tiny", help="sizes of the networks"
    )
    parser.add_argument("--batch", type=int, default=8, help="samples per step")
    parser.add_argument("--timed-steps", type=int, default=5, help="steps to time, after one to warm up")
    parser.add_argument(
        "--overfit", action="store_true", help="also train on the eight samples to the end (20 minutes)"
    )


def run(options: argparse.Namespace) -> BenchmarkTable:
    """Time the steps; learn the samples by heart if asked."""
    folder = make_shards(options.out / "training")
    columns = [f"{stage} (CPU s)" for stage in STAGES]
    found = {stage: time_steps(options, folder, stage) for stage in STAGES}
    rows: list[tuple[str | float, ...]] = [
        (part, *(found[stage].get(part, 0.0) for stage in STAGES)) for part in (*PARTS, "whole")
    ]
    rows.append(("peak memory of the process so far (MB)", *(found[stage]["MB"] for stage in STAGES)))
    notes = []
    if options.overfit:
        notes = overfit(options.out / "training", folder)
    return BenchmarkTable(
        "training",
        f"One training step of {options.batch} samples, preset {options.preset}, one thread",
        ("part", *columns),
        tuple(rows),
        notes=tuple(notes),
        conditions={"steps": options.timed_steps, "batch": options.batch, "preset": options.preset},
    )


def make_shards(out: Path) -> Path:
    """Eight samples of true bodies in two rooms."""
    tree = {
        "source": "truth",
        "out_dir": out,
        "truth": {"scenes": 2, "subjects": 2, "num_frames": 20},
        "frame_stride": 5,
        "split": "train-only",
    }
    settings = ShardsSettings.model_validate(tree)
    for shard in plan_production(settings).shards:
        write_planned_shard(settings, shard)
    return settings.folder


def time_steps(options: argparse.Namespace, shards: Path, stage: StageName) -> dict[str, float]:
    """CPU seconds of a step by part, and peak memory, of untrained networks."""
    out = options.out / "training" / "untrained"
    settings = TrainingSettings.model_validate(
        {
            "preset": options.preset,
            "out_dir": out,
            "data": {"shards": shards, "workers": 0},
            "start_from": {"metro": out / "metro.safetensors", "rcnet": out / "rcnet.safetensors"},
            stage: {"batch_size": options.batch, "steps": options.timed_steps + 1},
        }
    )
    torch.manual_seed(0)
    write_network(out / "metro.safetensors", Metro(settings.metro_network), {})
    write_network(out / "rcnet.safetensors", Rcnet(settings.rcnet_with_categories), {})
    data, files = open_data(settings.data), resolve_body_files(None)
    ranks = Ranks(0, 1, torch.device("cpu"))
    training = open_training(settings, stage, data, files, {}, ranks, time.process_time)
    seconds = training.time_steps(options.timed_steps)
    seconds["MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return seconds


def overfit(out: Path, shards: Path) -> list[str]:
    """Train all stages of `tiny` on the samples, unvaried; one line per stage."""
    settings = TrainingSettings.model_validate(
        {
            "out_dir": out / "overfit",
            "data": {"shards": shards, "augmentation": None, "validate_on": "train", "workers": 0},
            "tensorboard": False,
            "restart": True,
        }
    )
    lines = []
    for stage in ("start", "rcnet", "mesh"):
        began = time.process_time()
        train_stage(settings, stage)
        last = next(
            row for row in reversed(read_log(settings.run_dir / stage)) if row["kind"] == "validation"
        )
        figures = ", ".join(
            f"{name} {value:.1f}" for name, value in last.items() if str(name).endswith("_mm")
        )
        lines.append(
            f"by heart, {stage}, {last['step']} steps, {time.process_time() - began:.0f} s: {figures}"
        )
    return lines
