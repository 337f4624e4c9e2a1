"""SA-HMR on one thread, split by part: two backbones, sparse network, tokens and attention, the rest.

The released architecture at full size with drawn weights, on drawn images and a floor and a wall of scene
points: speed depends on sizes, not on values. The parts are timed inside one forward pass. Beside them: the
same convolutions and matrix products alone, back to back, by plain PyTorch (conv2d, matmul, linear, fused
attention, its default memory layout), which is the floor that the rest of the code is held to.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.recorded_products import RecordedProducts
from benchmarks.table import BenchmarkTable
from sahmr.networks.rcnet import released_settings
from sahmr.networks.sahmr import Sahmr, SahmrSettings
from sahmr.types import BodyTemplate, CropCameras, ScenePoints, eight_categories

DESCRIPTION = "SA-HMR's inference at full size, split by part"
POINTS_PER_SAMPLE = 8000


def add_options(parser: argparse._ArgumentGroup) -> None:
    """Options of this benchmark."""
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="batch sizes to time")
    parser.add_argument("--passes", type=int, default=3, help="per batch size; the fastest counts")


def run(options: argparse.Namespace) -> BenchmarkTable:
    """Time every part at every batch size."""
    network = draw_network()
    parts = {
        "RCNet backbone": [network.rcnet.root_net],
        "sparse network": [network.rcnet.contact_net],
        "mesh backbone": [network.mesh_recovery.image_tokens],
        "tokens and attention": [*network.mesh_recovery.stages, network.mesh_recovery.upsampling],
    }
    watch = Stopwatch(parts)
    columns, seconds, peaks = ["part"], [], []
    for batch in options.batches:
        inputs = draw_inputs(batch)
        with torch.inference_mode(), RecordedProducts() as products:
            network(*inputs)
        passes, floors = [], []
        for _ in range(options.passes):  # in turns, so that a busy machine is unfair to neither
            passes.append(watch.measure(lambda inputs=inputs: network(*inputs)))
            with torch.inference_mode():
                floors.append(products.seconds())
        best = min(passes, key=lambda found: found["whole"])
        best["products alone, plain PyTorch"] = min(floors)
        best["whole over products"] = best["whole"] / min(floors)
        best["voxels, sampling and the rest"] = best["whole"] - sum(best[part] for part in parts)
        seconds.append(best)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        columns.append(f"batch {batch} (CPU s)")
    names = [
        *parts,
        "voxels, sampling and the rest",
        "whole",
        "products alone, plain PyTorch",
        "whole over products",
    ]
    rows = [(name, *(found[name] for found in seconds)) for name in names]
    rows.append(("peak memory of the process (MB)", *peaks))
    return BenchmarkTable(
        "inference",
        "SA-HMR inference, released architecture, one thread",
        tuple(columns),
        tuple(rows),
        notes=(
            "Peak memory includes the weights (1.66 GB) and, in later columns, that of earlier batches.",
        ),
        conditions={"points_per_sample": POINTS_PER_SAMPLE, "passes": options.passes},
    )


class Stopwatch:
    """CPU seconds spent inside modules during a call."""

    def __init__(self, parts: dict[str, list[nn.Module]]) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._started: dict[nn.Module, float] = {}
        for part, modules in parts.items():
            for module in modules:
                self._watch(part, module)

    def measure(self, call: Callable[[], Any]) -> dict[str, float]:
        """Seconds by part, and of the whole."""
        self.seconds.clear()
        start = time.process_time()
        with torch.inference_mode():
            call()
        return {**self.seconds, "whole": time.process_time() - start}

    def _watch(self, part: str, module: nn.Module) -> None:
        forward_name = "forward_streams" if hasattr(module, "forward_streams") else "forward"
        forward = getattr(module, forward_name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            result = forward(*args, **kwargs)
            self.seconds[part] += time.process_time() - start
            return result

        setattr(module, forward_name, timed)


def draw_network() -> Sahmr:
    """The released architecture with small random weights, in evaluation mode, channels last."""
    torch.manual_seed(0)
    with torch.device("meta"):
        network = Sahmr(SahmrSettings(rcnet=released_settings())).eval()
    drawn = {
        name: (0.02 * torch.rand(tensor.shape)).to(tensor.dtype)
        for name, tensor in network.state_dict().items()
    }
    network.load_state_dict(drawn, assign=True)
    with torch.no_grad():
        maps = network.rcnet.root_net.maps
        maps.weight[1], maps.bias[1] = 0, 3 * 400 / 1000  # every root at 3 m, before the wall
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def draw_inputs(batch: int) -> tuple[Any, ...]:
    """Crops, cameras and scenes as the network takes them."""
    generator = torch.Generator().manual_seed(1)
    K = torch.tensor([[1000.0, 0.0, 640.0], [0.0, 1000.0, 360.0], [0.0, 0.0, 1.0]]).repeat(batch, 1, 1)
    boxes = torch.tensor([440.0, 160.0, 840.0, 560.0]).repeat(batch, 1)
    half = POINTS_PER_SAMPLE // 2
    spread = 2.5 * (2 * torch.rand(batch, 2, half, 3, generator=generator) - 1)
    floor = spread[:, 0] * torch.tensor([1.0, 0.0, 1.0]) + torch.tensor([0.0, 0.85, 3.0])
    wall = spread[:, 1] * torch.tensor([1.0, 0.4, 0.0]) + torch.tensor([0.0, 0.0, 3.6])
    points = torch.cat([floor, wall], dim=1).flatten(0, 1)
    scene = ScenePoints(points, torch.arange(batch).repeat_interleave(2 * half))
    template = BodyTemplate(torch.zeros(14, 3), torch.zeros(431, 3))
    images = torch.randn(batch, 3, 224, 224, generator=generator)
    return (
        images,
        CropCameras(boxes, K),
        scene,
        template,
        eight_categories(torch.arange(431) % 8),
        generator,
    )
