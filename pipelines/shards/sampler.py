"""The order samples are visited in: drawn per epoch, shared among processes, taken up where it stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from pipelines.errors import DataInvalid


class SampleKey(NamedTuple):
    """Which sample, in which epoch: all that a sample's augmentation depends on."""

    epoch: int
    row: int


@dataclass(frozen=True, slots=True)
class SamplerPosition:
    """How far training has come. Save it with a checkpoint; what workers have read ahead does not count."""

    epoch: int = 0
    seen: int = 0
    """Samples of this epoch that all processes together have trained on."""


class EpochSampler:
    """Yields the keys of one epoch from a position on; give it to a DataLoader as `sampler`.

        sampler = EpochSampler(len(dataset), seed=66, rank=rank, num_ranks=num_ranks)
        for keys in loader:                        # one epoch, from sampler.position on
            ...
            sampler.position = sampler.after(len(keys))
        sampler.position = sampler.next_epoch()

    A pure function of seed, epoch and position: nothing depends on how often it was iterated. Consecutive
    samples of an epoch go to the ranks in turn, so that the batches of all ranks together are the batches
    of one process with the joint batch size. With several ranks the last few of an epoch are filled up from
    its start, so that every rank has as many.

    Raises:
        DataInvalid: no samples, or no such rank.
    """

    def __init__(
        self, num_samples: int, *, seed: int, shuffle: bool = True, rank: int = 0, num_ranks: int = 1
    ) -> None:
        if num_samples < 1 or not 0 <= rank < num_ranks:
            raise DataInvalid(
                "a sampler needs samples, and a rank below the number of ranks",
                found=f"{num_samples} samples, rank {rank} of {num_ranks}",
            )
        self.num_samples, self.seed, self.shuffle = num_samples, seed, shuffle
        self.rank, self.num_ranks = rank, num_ranks
        self.position = SamplerPosition()

    def __len__(self) -> int:
        """Samples this rank still sees in this epoch."""
        left = self._padded - self.position.seen
        return max(0, -(-left // self.num_ranks))

    def __iter__(self) -> Iterator[SampleKey]:
        epoch = self.position.epoch
        mine = self.order(epoch)[self.position.seen :][self.rank :: self.num_ranks]
        return (SampleKey(epoch, int(index)) for index in mine)

    def order(self, epoch: int) -> Int[np.ndarray, " padded"]:
        """All samples of an epoch, for all ranks."""
        order = np.arange(self.num_samples)
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.num_samples)
        return np.resize(order, self._padded)

    def after(self, seen_by_rank: int) -> SamplerPosition:
        """The position when every rank has trained on so many more samples.

        Raises:
            DataInvalid: the epoch has no so many left.
        """
        if not 0 <= seen_by_rank <= len(self):
            raise DataInvalid("an epoch has fewer samples left", expected=len(self), found=seen_by_rank)
        return SamplerPosition(self.position.epoch, self.position.seen + seen_by_rank * self.num_ranks)

    def next_epoch(self) -> SamplerPosition:
        """The start of the epoch to come."""
        return SamplerPosition(self.position.epoch + 1, 0)

    @property
    def _padded(self) -> int:
        return -(-self.num_samples // self.num_ranks) * self.num_ranks
