"""The training loop of one stage.

    result = train_task(task, job)                      # goes on from its last checkpoint, if it has one

Every step seeds the random numbers it needs from the run's seed, its own number and the process, so a
training that was killed and goes on makes the steps it would have made.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from pipelines.progress.remaining import duration
from pipelines.shards.sampler import EpochSampler
from sahmr.data.batch import TrainingBatch
from sahmr.data.supervision import SampleTargets, Supervision
from sahmr.losses.weights import Terms, weighted_total
from sahmr.networks.weights_file import SUFFIX, write_network
from sahmr.training.averaging import MovingAverage
from sahmr.training.batch_norm import join_batch_norms
from sahmr.training.data import TrainingData, endless, loader, to_device
from sahmr.training.guard import BufferGuard, culprits, leave_out_or_stop
from sahmr.training.log import TrainingLog
from sahmr.training.ranks import Ranks
from sahmr.training.schedule import learning_rate, total_steps
from sahmr.training.settings import StageName, StageSettings
from sahmr.training.state import (
    STATE_FILE,
    Identity,
    Progress,
    copy_to_cpu,
    load_state,
    save_state,
)
from sahmr.training.tasks import Task
from sahmr.training.watch import Watch

logger = logging.getLogger(__name__)

BEST: Final = f"best{SUFFIX}"
LAST: Final = f"last{SUFFIX}"


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Everything of a stage but its network."""

    name: StageName
    folder: Path
    settings: StageSettings
    data: TrainingData
    supervision: Supervision
    ranks: Ranks
    seed: int
    workers: int
    non_finite: str
    identity: Identity
    provenance: Mapping[str, Any]
    """Goes into the header of the weights."""
    tensorboard: bool = False
    restart: bool = False
    clock: Callable[[], float] = time.perf_counter
    """Of the times in the log."""


class Training:
    """One stage between its first and its last step."""

    def __init__(self, task: Task[Any], job: Job) -> None:
        self.task, self.job, self.settings = task, job, job.settings
        ranks = job.ranks
        # Channels last: a tenth less time for the convolutions, equal numbers.
        task.to(ranks.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if ranks.count > 1:
            join_batch_norms(task.network)
        self.batch_size = ranks.share(self.settings.batch_size)
        trained = [parameter for parameter in task.parameters() if parameter.requires_grad]
        self.parameters = trained
        self.optimiser = torch.optim.Adam(trained, lr=self.settings.start_rate, fused=True)
        half = self.settings.precision == "float16"
        self.scaler = torch.amp.GradScaler(ranks.device.type, enabled=half)
        decay = self.settings.ema_decay
        self.average = MovingAverage(task.network, decay) if decay is not None else None
        self.sampler = EpochSampler(
            job.data.num_train, seed=job.seed, rank=ranks.rank, num_ranks=ranks.count
        )
        self.steps_per_epoch = -(-len(self.sampler) // self.batch_size)
        self.total = total_steps(self.settings, self.steps_per_epoch)
        self.progress = Progress()
        self.watch = Watch(job.clock)
        self._resume()
        self.module: nn.Module = task
        if ranks.count > 1:
            # Unused: what feeds only the coarse branches of RCNet's last exchange.
            self.module = DistributedDataParallel(
                task, find_unused_parameters=True, broadcast_buffers=False
            )

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.progress.step >= self.total

    def run(self) -> Progress:
        """Train to the end."""
        first = self.job.ranks.is_first
        log = TrainingLog(self.job.folder, self.progress.step, self.job.tensorboard) if first else None
        bar = tqdm(
            total=self.total,
            initial=self.progress.step,
            desc=self.job.name,
            unit="step",
            position=int(self.job.name == "metro"),  # trained beside the others
            disable=not (first and sys.stderr.isatty()),
        )
        batches = self._batches()
        started, before = time.perf_counter(), self.progress.seconds
        self.task.train()
        with bar, torch.random.fork_rng(_cuda(self.job.ranks.device)):
            while not self.finished:
                with self.watch("load"):
                    batch, truth = next(batches)
                found = self.step(batch, truth)
                self.progress.step += 1
                self.progress.position = self.sampler.position
                self.progress.seconds = before + time.perf_counter() - started
                bar.update()
                if self.progress.step % self.settings.log_every == 0 or self.finished:
                    self._log(log, found, bar)
                self._validate_and_save(log)
        if log is not None:
            log.close()
        return self.progress

    def time_steps(self, count: int) -> dict[str, float]:
        """Mean seconds of a step by part, and of the whole, after one step to warm up; trains on."""
        batches, began = self._batches(), 0.0
        self.task.train()
        for step in range(count + 1):
            if step == 1:
                self.watch.read_and_clear()
                began = self.job.clock()
            with self.watch("load"):
                batch, truth = next(batches)
            self.step(batch, truth)
            self.progress.step += 1
        seconds = {part: total / count for part, total in self.watch.read_and_clear().items()}
        return {**seconds, "whole": (self.job.clock() - began) / count}

    def step(self, batch: TrainingBatch, truth: SampleTargets) -> dict[str, Tensor]:
        """One step of the optimiser; returns the means of the terms, and the loss; nothing if left out."""
        job, settings = self.job, self.settings
        device = job.ranks.device
        with self.watch("load"):
            batch, truth = batch.to(device), to_device(truth, device)
        if self._somebody_is_blind(batch):
            return {}
        generator = self._seed_step()
        buffers = BufferGuard(self.task.network) if job.non_finite == "skip" else None
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(settings, self.progress.step, self.total)
        self.optimiser.zero_grad()
        terms: Terms = self.module(batch, truth, generator, self.watch)
        with self.watch("forward"):
            loss = weighted_total(terms, self.task.weights, batch.weight)
        with self.watch("backward"):
            self.scaler.scale(loss).backward()
        with self.watch("optimiser"):
            self.scaler.unscale_(self.optimiser)
            gradients = [one.grad for one in self.parameters if one.grad is not None]
            # Summed over processes by now, so that all decide alike.
            norm = torch.nn.utils.get_total_norm(gradients)
            scaled = self.scaler.is_enabled()  # looks after infinite gradients itself
            if self._is_finite(loss) and (scaled or bool(norm.isfinite())):
                self._apply()
            else:
                names = culprits(terms, self.task.weights, batch)
                leave_out_or_stop(names, batch, self.progress, job.non_finite, job.name)
                if buffers is not None:
                    buffers.restore()
                self.scaler.update()
        means = {name: values.detach().mean() for name, values in terms.items()}
        return {"loss": loss.detach(), "gradient_norm": norm, **means}

    def validate(self) -> dict[str, float]:
        """Means of the monitors over the validation samples; NaN where no sample has a say."""
        job, device = self.job, self.job.ranks.device
        assert job.data.validation is not None
        sampler = EpochSampler(
            job.data.num_validation,
            seed=0,
            shuffle=False,
            rank=job.ranks.rank,
            num_ranks=job.ranks.count,
        )
        batches = loader(job.data.validation, sampler, self.batch_size, job.supervision, job.workers)
        sums: dict[str, Tensor] = {}
        with self._evaluating():
            for batch, truth in batches:
                found = self.task.monitors(batch.to(device), to_device(truth, device), self._seed_step())
                for name, values in found.items():
                    known = values.isfinite()
                    own = torch.stack([values[known].sum().double(), known.sum().double()])
                    sums[name] = sums.get(name, 0) + own
        totals = {name: job.ranks.sum(values).tolist() for name, values in sums.items()}
        return {
            name: total / count if count else float("nan") for name, (total, count) in totals.items()
        }

    def save(self) -> None:
        """Write the weights, then the state they belong to; a kill in between repeats the steps before."""
        if not self.job.ranks.is_first:
            return
        self.save_weights(LAST)
        tensors = {
            "network": copy_to_cpu(self.task.network.state_dict()),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else copy_to_cpu(self.average.state),
        }
        save_state(self.job.folder / STATE_FILE, self.job.identity, self.progress, tensors)

    def save_weights(self, name: str) -> None:
        """Write the weights that count: the average where there is one."""
        if not self.job.ranks.is_first:
            return
        path = self.job.folder / name
        provenance = {**self.job.provenance, "step": self.progress.step, "of": self.total}
        provenance["monitors"] = {
            key: value if value == value else None for key, value in self.progress.monitors.items()
        }
        state = self.average.state if self.average is not None else None
        write_network(path, self.task.network, provenance, state)

    def _apply(self) -> None:
        if self.settings.clip_value is not None:
            torch.nn.utils.clip_grad_value_(self.parameters, self.settings.clip_value)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.progress.skipped_in_a_row = 0
        if self.average is not None:
            self.average.follow(self.task.network)

    def _is_finite(self, loss: Tensor) -> bool:
        wrong = (~loss.detach().isfinite()).double()
        return float(self.job.ranks.sum(wrong)) == 0

    def _somebody_is_blind(self, batch: TrainingBatch) -> bool:
        """Whether a process sees no scene point: the others would wait for its batch norms of voxels."""
        ranks = self.job.ranks
        if ranks.count == 1:
            return False
        blind = torch.tensor(float(len(batch.scene.batch) == 0), device=ranks.device)
        if float(ranks.sum(blind)) == 0:
            return False
        self.progress.skipped += 1
        logger.warning("step %d left out: a process sees no scene point", self.progress.step + 1)
        return True

    def _batches(self) -> Iterator[tuple[TrainingBatch, SampleTargets]]:
        job = self.job
        batches = loader(job.data.train, self.sampler, self.batch_size, job.supervision, job.workers)
        return endless(batches, self.sampler)

    def _seed_step(self) -> torch.Generator:
        """Dropout draws from the global numbers, everything else from the generator."""
        job = self.job
        text = f"{job.seed}/{job.name}/{self.progress.step}/{job.ranks.rank}"
        seed = int.from_bytes(sha256(text.encode()).digest()[:6], "big")
        torch.manual_seed(seed)
        return torch.Generator().manual_seed(seed)

    def _validate_and_save(self, log: TrainingLog | None) -> None:
        every = self.settings.validate_every or self.steps_per_epoch
        step = self.progress.step
        if self.job.data.validation is not None and (step % every == 0 or self.finished):
            monitors = self.validate()
            self.progress.monitors = monitors
            if log is not None:
                log.write(step, "validation", monitors)
            value = monitors[self.task.best]
            if value == value and (self.progress.best is None or value < self.progress.best):
                self.progress.best, self.progress.best_step = value, step
                self.progress.best_monitors = monitors
                self.save_weights(BEST)
        if self.finished and self.progress.best is None:  # nothing to tell the best by
            self.save_weights(BEST)
        if step % (self.settings.save_every or every) == 0 or self.finished:
            self.save()
            left = duration(self.progress.seconds / step * (self.total - step))
            logger.info("%s: step %d of %d, about %s left", self.job.name, step, self.total, left)

    def _log(self, log: TrainingLog | None, found: Mapping[str, Tensor], bar: tqdm[Any]) -> None:
        if not found:  # left out
            return
        values = {name: float(value) for name, value in found.items()}
        bar.set_postfix(loss=f"{values['loss']:.3g}")
        if log is None:
            return
        row: dict[str, Any] = {
            "epoch": self.progress.position.epoch,
            "learning_rate": self.optimiser.param_groups[0]["lr"],
            **values,
            "skipped": self.progress.skipped,
            "seconds": {part: round(s, 4) for part, s in self.watch.read_and_clear().items()},
        }
        log.write(self.progress.step, "train", row)

    def _resume(self) -> None:
        job = self.job
        found = load_state(job.folder / STATE_FILE, job.identity, job.restart)
        if found is None:
            return
        self.progress, content = found
        self.task.network.load_state_dict(content["network"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.scaler.load_state_dict(content["scaler"])
        if self.average is not None:
            self.average.load(content["average"])
        self.sampler.position = self.progress.position
        logger.info("%s goes on from step %d of %d", job.name, self.progress.step, self.total)

    def _evaluating(self) -> _Evaluating:
        return _Evaluating(self.task, self.average)


class _Evaluating:
    """Evaluation mode, without gradient, with averaged weights where there are; and back."""

    def __init__(self, task: Task[Any], average: MovingAverage | None) -> None:
        self.task, self.average = task, average
        self._own: dict[str, Tensor] = {}
        self._no_grad = torch.no_grad()

    def __enter__(self) -> None:
        self._no_grad.__enter__()
        self.task.eval()
        if self.average is not None:
            network = self.task.network
            self._own = {name: value.clone() for name, value in network.state_dict().items()}
            network.load_state_dict(self.average.state)

    def __exit__(self, *problem: object) -> None:
        if self._own:
            self.task.network.load_state_dict(self._own)
        self.task.train()
        self._no_grad.__exit__(None, None, None)


def _cuda(device: torch.device) -> list[int]:
    return [] if device.type == "cpu" else [device.index or 0]
