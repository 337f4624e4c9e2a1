"""Sparse convolution: SPVCNN and its layers beside matrix products alone, dense convolution and spconv.

The products are those that the layer cannot do without, in `torch.mm` on matrices already gathered. spconv
is measured where it is installed; on a CPU it needs its stream query replaced and is right on one thread
only. torchsparse has no way back (1.4) or no way at all (2.x) on a CPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.table import BenchmarkTable, Cell
from sahmr.networks.spvcnn import SPVCNN
from sahmr.ops.convolution import SparseConvolution
from sahmr.ops.kernel_map import KernelMap
from sahmr.ops.sparse_tensor import PointCloud, SparseTensor, sparse_tensor

DESCRIPTION = "SPVCNN and its convolutions beside matrix products, dense convolution and spconv"
VOXEL_M = 0.05
LAYER_CHANNELS = (32, 64, 128, 256)
DENSE_UP_TO = 64
NOT_MEASURED = "-"

Step = Callable[[], object]


def add_options(parser: argparse._ArgumentGroup) -> None:
    """Options of this benchmark."""
    parser.add_argument("--samples", type=int, default=4, help="rooms in the batch")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest of so many counts")


def run(options: argparse.Namespace) -> BenchmarkTable:
    """Measure the CPU time of one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cells = room_voxels(options.samples)
    rows = [*_network_rows(cells, options.repeats)]
    for channels in LAYER_CHANNELS:
        rows += _layer_rows(cells, channels, options.repeats)
    pairs = sparse_tensor(torch.zeros(len(cells), 1), cells).pyramid.kernel_map(1, 3, 1)
    return BenchmarkTable(
        name="sparse_convolution",
        title=f"Sparse convolution, {len(cells)} voxels, CPU ms on one thread",
        columns=("what", "ours", "mm", "ours/mm", "spconv", "dense"),
        rows=tuple(rows),
        notes=(
            "mm: torch.mm on gathered matrices. Layers: 3x3x3, kernel map made before.",
            "dense: conv3d over the box of the voxels.",
        ),
        conditions={
            "voxels": len(cells),
            "samples": options.samples,
            "neighbours per voxel": pairs.num_pairs / len(cells),
            "torch": torch.__version__,
            "cpu": torch.backends.cpu.get_cpu_capability(),
        },
    )


def room_voxels(samples: int, seed: int = 0) -> Tensor:
    """Surface voxels of a floor, a wall and a box within reach of a person, x, y, z, sample."""
    rng, cells, many = np.random.default_rng(seed), [], 40_000
    for sample in range(samples):
        across = rng.uniform(-0.7, 0.7, (2, many, 2))
        floor = np.column_stack([across[0, :, 0], np.full(many, 0.9), across[0, :, 1] + 3])
        wall = np.column_stack([across[1], np.full(many, 3.8)])
        box = rng.uniform(-1, 1, (many, 3))
        side = rng.integers(0, 3, many)
        box[np.arange(many), side] = np.sign(box[np.arange(many), side])
        box = box * (0.5, 0.3, 0.4) + (0.1 * sample, 0.6, 3.1)
        points = np.concatenate([floor, wall, box])
        points += 0.01 * rng.standard_normal(points.shape)
        occupied = np.unique(np.floor(points / VOXEL_M).astype(np.int64), axis=0)
        cells.append(np.column_stack([occupied, np.full(len(occupied), sample)]))
    return torch.from_numpy(np.concatenate(cells))


def fastest(steps: dict[str, Step], repeats: int) -> dict[str, float]:
    """CPU milliseconds of each, in turns, so that a busy machine is equally unkind to all."""
    for step in steps.values():
        step()
    fewest_ms = dict.fromkeys(steps, float("inf"))
    for _ in range(repeats):
        for name, step in steps.items():
            start = time.process_time()
            step()
            fewest_ms[name] = min(fewest_ms[name], 1000 * (time.process_time() - start))
    return fewest_ms


def products_alone(layers: list[tuple[KernelMap, int, int]], *, backward: bool) -> Step:
    """The matrix products of some convolutions (map, channels in, channels out) and nothing else."""
    made = []
    for pairs, channels_in, channels_out in layers:
        counts = [len(rows) for rows in pairs.inputs]
        if pairs.centre is not None:
            counts[pairs.centre] = pairs.num_inputs
        a, g = (torch.randn(max(counts), width) for width in (channels_in, channels_out))
        made.append((a, g, torch.randn(len(counts), channels_in, channels_out), counts))

    def multiply() -> None:
        for a, g, kernel, counts in made:
            for weight, count in zip(kernel, counts, strict=True):
                torch.mm(a[:count], weight)
                if backward:
                    torch.mm(g[:count], weight.t())
                    torch.mm(a[:count].t(), g[:count])

    return multiply


def _network_rows(cells: Tensor, repeats: int) -> list[tuple[Cell, ...]]:
    cloud = PointCloud(torch.randn(len(cells), 35), cells[:, :3].float(), cells[:, 3])
    network, layers = SPVCNN(), []

    def note(layer: torch.nn.Module, inputs: tuple[SparseTensor], _output: object) -> None:
        assert isinstance(layer, SparseConvolution)
        layers.append((layer.pairs(inputs[0]), *layer.kernel.shape[-2:]))

    hooks = [
        module.register_forward_hook(note)
        for module in network.modules()
        if isinstance(module, SparseConvolution)
    ]
    with torch.no_grad():
        network.eval()(cloud)
    for hook in hooks:
        hook.remove()

    def forward() -> None:
        network.eval()
        with torch.no_grad():
            network(cloud)

    def both() -> None:
        network.train()
        network(cloud).sum().backward()

    products = {way: products_alone(layers, backward=way) for way in (False, True)}
    ms = fastest({"f": forward, "pf": products[False], "b": both, "pb": products[True]}, repeats)
    return [
        _row("SPVCNN forward", ms["f"], ms["pf"]),
        _row("SPVCNN forward + backward", ms["b"], ms["pb"]),
    ]


def _layer_rows(cells: Tensor, channels: int, repeats: int) -> list[tuple[Cell, ...]]:
    tensor = sparse_tensor(torch.randn(len(cells), channels), cells)
    layer = SparseConvolution(channels, channels)
    pairs = tensor.pyramid.kernel_map(1, 3, 1)
    rivals: dict[str, Callable[[Tensor], Tensor]] = {
        "ours": lambda x: layer(tensor.with_features(x)).features
    }
    if find_spec("spconv") is not None:
        rivals["spconv"] = _spconv_layer(tensor, layer.kernel)
    if channels <= DENSE_UP_TO:
        rivals["dense"] = _dense_layer(tensor, layer.kernel)
    expected = rivals["ours"](tensor.features)
    for name, rival in rivals.items():
        torch.testing.assert_close(rival(tensor.features), expected, rtol=1e-3, atol=1e-4, msg=name)

    rows = []
    for backward in (False, True):
        steps = {name: _step(rival, tensor.features, backward) for name, rival in rivals.items()}
        steps["products"] = products_alone([(pairs, channels, channels)], backward=backward)
        ms = fastest(steps, repeats)
        label = f"{channels} channels, forward{' + backward' if backward else ''}"
        others = [ms.get(name, NOT_MEASURED) for name in ("spconv", "dense")]
        rows.append(_row(label, ms["ours"], ms["products"], *others))
    return rows


def _step(rival: Callable[[Tensor], Tensor], features: Tensor, backward: bool) -> Step:
    leaf = features.clone().requires_grad_(backward)

    def forward() -> None:
        with torch.no_grad():
            rival(leaf)

    return (lambda: rival(leaf).sum().backward()) if backward else forward


def _row(label: str, ours: float, products: float, *others: Cell) -> tuple[Cell, ...]:
    return (label, ours, products, ours / products, *(others or (NOT_MEASURED, NOT_MEASURED)))


def _dense_layer(tensor: SparseTensor, kernel: Tensor) -> Callable[[Tensor], Tensor]:
    low = tensor.cells.amin(dim=0)
    sample, x, y, z = (tensor.cells - low)[:, [3, 0, 1, 2]].unbind(dim=1)
    extent = [int(axis.max()) + 1 for axis in (sample, x, y, z)]
    weight = kernel.detach().view(3, 3, 3, *kernel.shape[1:]).permute(4, 3, 2, 1, 0).contiguous()
    weight.requires_grad_()

    def convolve(features: Tensor) -> Tensor:
        grid = features.new_zeros(*extent, features.shape[1]).index_put((sample, x, y, z), features)
        return F.conv3d(grid.movedim(-1, 1), weight, padding=1)[sample, :, x, y, z]

    return convolve


def _spconv_layer(tensor: SparseTensor, kernel: Tensor) -> Callable[[Tensor], Tensor]:
    spconv: Any = import_module("spconv.pytorch")
    for name in ("cppcore", "ops", "hash"):
        import_module(f"spconv.pytorch.{name}").get_current_stream = lambda: 0  # there is no GPU to ask
    channels_in, channels_out = kernel.shape[1:]
    native = spconv.ConvAlgo.Native
    layer = spconv.SubMConv3d(channels_in, channels_out, 3, bias=False, indice_key="same", algo=native)
    weight = kernel.detach().view(3, 3, 3, channels_in, channels_out).permute(4, 2, 1, 0, 3)
    layer.weight.data.copy_(weight)
    cells = tensor.cells[:, [3, 0, 1, 2]]
    cells = (cells - cells.amin(dim=0)).int().contiguous()
    shape, samples = (cells[:, 1:].amax(dim=0) + 1).tolist(), int(cells[:, 0].max()) + 1
    maps = layer(spconv.SparseConvTensor(tensor.features, cells, shape, samples)).indice_dict

    def convolve(features: Tensor) -> Tensor:
        known = spconv.SparseConvTensor(features, cells, shape, samples, indice_dict=maps)
        return layer(known).features

    return convolve
