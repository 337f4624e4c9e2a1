"""The processes of one training: one, or those that torchrun started.

    torchrun --nproc_per_node 2 -m flows train ...

Source: PyTorch's own environment variables; gloo between CPUs, NCCL between GPUs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from pipelines.errors import SettingsInvalid

_PATIENCE = timedelta(hours=1)
"""How long ranks wait for one that validates or reads slowly."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which process this is, of how many, on which device."""

    rank: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            dist.barrier()

    def share(self, batch_size: int) -> int:
        """This process's part of a joint batch.

        Raises:
            SettingsInvalid: the batch cannot be shared evenly.
        """
        if batch_size % self.count:
            raise SettingsInvalid(
                "batch_size counts the samples of all processes and must be a multiple of their number",
                expected=f"a multiple of {self.count}",
                found=batch_size,
            )
        return batch_size // self.count


@contextmanager
def joined_ranks(device: str = "auto") -> Iterator[Ranks]:
    """Join the other processes that torchrun started, if it did, and leave them at the end.

    Raises:
        SettingsInvalid: there is no such device.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    rank, local = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    own = _device(device, local)
    if count > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if own.type == "cuda" else "gloo", timeout=_PATIENCE)
        try:
            yield Ranks(rank, count, own)
        finally:
            dist.destroy_process_group()
    else:
        yield Ranks(rank, count, own)


def _device(name: str, local_rank: int) -> torch.device:
    has_gpu = torch.cuda.is_available()
    if name == "auto":
        name = "cuda" if has_gpu else "cpu"
    if name == "cuda" and has_gpu:
        torch.cuda.set_device(local_rank)
        return torch.device("cuda", local_rank)
    if name != "cpu":
        raise SettingsInvalid("no such device", expected="auto, cpu or cuda", found=name)
    return torch.device("cpu")
