"""The same convolution by torchsparse's CUDA kernels; the only file that imports torchsparse.

Kernel maps are ours (so floor and trunc mean the same in both backends), and so are parameters; torchsparse
gathers, multiplies and adds. Version 2.x is what builds on a current torch, 1.4 made the released weights.
Written from their sources; never run on a GPU by us. Its CPU paths are not offered: 1.4 has no backward
there and 2.x does not import.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipelines.errors import BackendMissing
from sahmr.ops.kernel_map import KernelMap

_CONV_MODULE = "torchsparse.nn.functional.conv"


def convolve(
    features: Float[Tensor, "inputs channels_in"],
    kernel: Float[Tensor, "weights channels_in channels_out"],
    pairs: KernelMap,
) -> Float[Tensor, "outputs channels_out"]:
    """Like `torch_backend.convolve`, on CUDA tensors.

    Raises:
        BackendMissing: torchsparse is not installed, or the tensors are not on a GPU.
    """
    if features.device.type != "cuda":
        raise BackendMissing(
            "the torchsparse backend computes on a GPU only",
            found=f"tensors on {features.device}",
            fix="move the network to a GPU, or set the backend to 'torch'",
        )
    if find_spec("torchsparse") is None:
        raise BackendMissing(
            "torchsparse is not installed",
            fix="build it for your torch (github.com/mit-han-lab/torchsparse), "
            "or set the backend to 'torch'",
        )
    table, sizes = pair_table(pairs)
    lengths = (pairs.num_inputs, pairs.num_outputs)
    conv: Any = import_module(_CONV_MODULE)
    if hasattr(conv, "ConvolutionFunction"):  # 1.4
        return conv.ConvolutionFunction.apply(features, kernel, table, sizes, lengths, False)
    return _convolve_v2(features, kernel, table, sizes, lengths)


def pair_table(pairs: KernelMap) -> tuple[Int[Tensor, "pairs 2"], Int[Tensor, " weights"]]:
    """A map in the form of torchsparse: (input, output) of all weights in one list, and how many each has.

    The weight under which voxels meet themselves is listed there like any other.
    """
    inputs, outputs = list(pairs.inputs), list(pairs.outputs)
    if pairs.centre is not None:
        inputs[pairs.centre] = outputs[pairs.centre] = torch.arange(
            pairs.num_inputs, device=inputs[0].device
        )
    sizes = torch.tensor([len(rows) for rows in inputs], dtype=torch.int32)
    return torch.stack([torch.cat(inputs), torch.cat(outputs)], dim=1).int(), sizes


def _convolve_v2(
    features: Tensor, kernel: Tensor, table: Tensor, sizes: Tensor, lengths: tuple[int, int]
) -> Tensor:
    backend: Any = import_module("torchsparse.backend")
    function: Any = import_module(f"{_CONV_MODULE}.func.gather_scatter").GatherScatterConvolutionFuntion
    input_mask, output_mask = backend.build_mask_from_kmap(*lengths, table, sizes.to(table.device))
    maps = {
        "nbmaps": table,
        "nbsizes": sizes,
        "sizes": lengths,
        "input_mask": input_mask,
        "output_mask": output_mask,
    }
    return function.apply(features, kernel, maps, {"epsilon": 0.0, "mm_thresh": 0}, False)
