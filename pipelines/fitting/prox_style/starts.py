"""All stages for a group of frames: the starting orientations, which of them goes on, the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipelines.fitting.prox_style import camera
from pipelines.fitting.prox_style.body import COLUMNS
from pipelines.fitting.prox_style.energies import TERM_NAMES
from pipelines.fitting.prox_style.lbfgs import FrameByFrame
from pipelines.fitting.prox_style.objective import Objective
from pipelines.fitting.prox_style.settings import ProxStyleSettings, StageWeights
from pipelines.fitting.prox_style.solver import GaussNewton
from pipelines.geometry.rotations import rotvec_to_rotmat

_SAME_ORIENTATION_DEG = 15.0


@runtime_checkable
class StageSolver(Protocol):
    """A way to minimise one stage."""

    at_limit: Bool[np.ndarray, " frames"]
    """True where some stage was cut short by a limit: more steps would change the frame's fit."""

    def minimise(
        self,
        parameters: Float[Tensor, "frames 91"],
        frames: Int[np.ndarray, " frames"],
        stage: StageWeights,
        *,
        last: bool,
    ) -> Float[Tensor, "frames 91"]:
        """Parameters after one stage, one row per frame."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class FramesFit:
    """Result of a group of frames."""

    parameters: Float[np.ndarray, "frames 91"]
    finite: Bool[np.ndarray, " frames"]
    """False where the energy was not a number at the start of some stage; the rest is not to be used."""
    values: dict[str, Float[np.ndarray, "frames"]]
    """Unweighted terms, weighted `total`, and counts."""


def fit_frames(objective: Objective) -> FramesFit:
    """Camera stage, all stages from the starts that are tried, the final energies."""
    settings = objective.settings
    solver: StageSolver = (
        GaussNewton(objective, settings.solver)
        if settings.solver.method == "gauss_newton"
        else FrameByFrame(objective)
    )
    tries = _Tries(objective, solver)
    if settings.orientation_try == "official":
        tries.start(official=True)
        tries.run(settings.stages, ends=True)
        parameters, won = tries.best(settings.stages[-1])
    else:
        tries.start(official=False)
        tries.run(settings.stages[: settings.screening_stages], ends=False)
        tries.screen(settings)
        chosen_after = settings.orientation_stages
        contest = settings.stages[settings.screening_stages : chosen_after]
        tries.run(contest, ends=chosen_after == len(settings.stages))
        parameters, won = tries.best(settings.stages[chosen_after - 1])
        frames = np.arange(len(objective.data))
        rest = settings.stages[chosen_after:]
        for number, stage in enumerate(rest, start=1):
            parameters = solver.minimise(parameters, frames, stage, last=number == len(rest))
    return _result(objective, solver, parameters, won)


class _Tries:
    """Several starts per frame, some of them dropped."""

    def __init__(self, objective: Objective, solver: StageSolver) -> None:
        self._objective, self._solver = objective, solver
        self._parameters: list[Float[Tensor, "frames 91"]] = []
        self._alive: list[Bool[np.ndarray, " frames"]] = []

    def start(self, *, official: bool) -> None:
        """Camera stage from PROX's start, or from evenly spaced turns about the upright body's axis."""
        objective, settings = self._objective, self._objective.settings
        data, body, prior = objective.data, objective.body, objective.prior
        weight = settings.camera_depth_weight
        side_view = camera.shoulders_close(data, settings.two_sided_px).numpy()
        if official:
            first = camera.camera_stage(data, camera.OFFICIAL_START, body, prior, weight)
            self._parameters = [first, _turned(first)]
            self._alive = [np.ones_like(side_view), side_view]
            return
        for number in range(settings.starts):
            start = camera.upright(number / settings.starts)
            self._parameters.append(camera.camera_stage(data, start, body, prior, weight))
            self._alive.append(np.ones_like(side_view))
        # The camera stage may leave the other side of a side view untried.
        self._parameters.append(_turned(self._parameters[0]))
        self._alive.append(side_view)
        self._drop_copies(energies=None)

    def run(self, stages: Sequence[StageWeights], *, ends: bool) -> None:
        """Take every start that is alive through some stages; `ends`: the last of them is the last."""
        for parameters, alive in zip(self._parameters, self._alive, strict=True):
            frames = np.flatnonzero(alive)
            if len(frames) == 0:
                continue
            rows = parameters[frames]
            for number, stage in enumerate(stages, start=1):
                last = ends and number == len(stages)
                rows = self._solver.minimise(rows, frames, stage, last=last)
            parameters[frames] = rows

    def screen(self, settings: ProxStyleSettings) -> None:
        """Drop the worse of starts that have come to the same orientation, then all but the best few."""
        if settings.screening_stages == 0:
            return
        energies = self._energies(settings.stages[settings.screening_stages - 1])
        self._drop_copies(energies)
        ranked = np.argsort(np.where(self._alive, energies, np.inf), axis=0, kind="stable")
        for place in ranked[settings.finalists :]:
            for number in range(len(self._alive)):
                self._alive[number] = self._alive[number] & (place != number)

    def best(self, stage: StageWeights) -> tuple[Float[Tensor, "frames 91"], Int[np.ndarray, " frames"]]:
        """Parameters of the start with the lowest energy, and which one that is."""
        won = np.argmin(self._energies(stage), axis=0)
        every = torch.stack(self._parameters)
        return every[torch.as_tensor(won), torch.arange(len(won))], won

    def _drop_copies(self, energies: list[Float[np.ndarray, " frames"]] | None) -> None:
        """Of starts at the same orientation the one with the lower energy stays; without, the first."""
        for second in range(len(self._parameters)):
            for first in range(second):
                apart = _orientations_apart_deg(self._parameters[first], self._parameters[second])
                rivals = self._alive[first] & self._alive[second] & (apart < _SAME_ORIENTATION_DEG)
                worse_first = np.zeros_like(rivals)
                if energies is not None:
                    worse_first = energies[first] > energies[second]
                self._alive[first] = self._alive[first] & ~(rivals & worse_first)
                self._alive[second] = self._alive[second] & ~(rivals & ~worse_first)

    def _energies(self, stage: StageWeights) -> list[Float[np.ndarray, " frames"]]:
        """Energy of every start; infinite where a start was dropped or is not a number."""
        result = []
        for parameters, alive in zip(self._parameters, self._alive, strict=True):
            energy = np.full(len(alive), np.inf)
            frames = np.flatnonzero(alive)
            for rows in self._objective.batches(frames):
                self._objective.update_visibility(parameters[rows], rows)
                found = self._objective.evaluate(parameters[rows], rows, stage).energy.double().numpy()
                energy[rows] = np.where(np.isfinite(found), found, np.inf)
            result.append(energy)
        return result


def _turned(parameters: Float[Tensor, "frames 91"]) -> Float[Tensor, "frames 91"]:
    """Half a turn about the body's own axis."""
    turned, orient = parameters.clone(), COLUMNS["global_orient"]
    turned[:, orient] = camera.turned_about_body_axis(parameters[:, orient])
    return turned


def _orientations_apart_deg(
    first: Float[Tensor, "frames 91"], second: Float[Tensor, "frames 91"]
) -> Float[np.ndarray, " frames"]:
    a, b = (rotvec_to_rotmat(x[:, COLUMNS["global_orient"]]) for x in (first, second))
    trace = (a.mT @ b).diagonal(dim1=1, dim2=2).sum(1)
    return np.degrees(np.arccos(((trace - 1) / 2).clamp(-1, 1).double().numpy()))


def _result(
    objective: Objective,
    solver: StageSolver,
    parameters: Float[Tensor, "frames 91"],
    won: Int[np.ndarray, " frames"],
) -> FramesFit:
    frames, settings = np.arange(len(objective.data)), objective.settings
    names = (*TERM_NAMES, "total", "num_contact")
    values = {name: np.zeros(len(frames)) for name in names}
    for rows in objective.batches(frames):
        objective.update_visibility(parameters[rows], rows)
        found = objective.evaluate(parameters[rows], rows, settings.stages[-1])
        for name in TERM_NAMES:
            values[name][rows] = found.terms[name].double().numpy()
        values["total"][rows] = found.energy.double().numpy()
        if found.pairs.contact is not None:
            kept = np.bincount(found.pairs.contact.frame.numpy(), minlength=len(rows))
            values["num_contact"][rows] = kept
    values["num_visible"] = objective.num_visible(frames).astype(np.float64)
    values["num_evaluations"] = objective.num_evaluations.astype(np.float64)
    values["start_won"] = won.astype(np.float64)
    values["at_limit"] = solver.at_limit.astype(np.float64)
    finite = np.isfinite(values["total"]) & torch.isfinite(parameters).all(dim=1).numpy()
    return FramesFit(parameters.numpy(), finite, values)
