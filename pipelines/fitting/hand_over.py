"""What windows tell their neighbours, and how runs of frames become windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pipelines.bodies.joints import HUMOR_KEY_VERTICES
from pipelines.fitting.prediction import FitModels, predict_motion
from pipelines.fitting.variables import Variables
from pipelines.fitting.window_data import NeighbourTargets, WindowData
from pipelines.fitting.windows import Window, frame_rows


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A way to cut the recording, and the observations cut that way."""

    windows: tuple[Window, ...]
    data: WindowData
    at_once: int
    """Windows solved in one batch."""


def neighbour_targets(
    models: FitModels, layout: Layout, variables: Variables, window: int, failed: np.ndarray
) -> NeighbourTargets:
    """What the windows on both sides of one window say about the frames they share with it."""
    frames = layout.data.frames_used.shape[1]
    keys = torch.tensor(HUMOR_KEY_VERTICES)
    body = models.body.subset(keys)
    zeros = variables["betas"].new_zeros
    vertices, shared = zeros(1, 2, frames, len(keys), 3), zeros(1, 2, frames)
    betas, floor = zeros(1, 2, variables["betas"].shape[1]), zeros(1, 2, 3)
    present = zeros(1, 2)
    own = layout.windows[window]
    for side, other in enumerate((window - 1, window + 1)):
        later = max(window, other)
        if not 0 <= other < len(layout.windows) or failed[other] or not layout.windows[later].overlap:
            continue
        overlap, length = layout.windows[later].overlap, layout.windows[other].length
        theirs = {name: value[other : other + 1] for name, value in variables.items()}
        with torch.no_grad():
            posed = predict_motion(replace(models, body=body), theirs, length).vertices
        assert posed is not None
        here = slice(0, overlap) if side == 0 else slice(own.length - overlap, own.length)
        there = slice(length - overlap, length) if side == 0 else slice(0, overlap)
        vertices[0, side, here] = posed[0, there]
        shared[0, side, here] = 1
        betas[0, side], floor[0, side] = theirs["betas"][0], theirs["floor_plane"][0]
        present[0, side] = 1
    return NeighbourTargets(vertices, shared, betas, floor, present)


def cut_frame_variables(
    variables: Variables, runs: Sequence[Window], windows: Sequence[Window], failed: np.ndarray
) -> tuple[dict[str, Tensor], np.ndarray]:
    """Per-frame variables solved in runs, cut into windows; betas are the mean over a window's frames.

    A frame held by two runs takes the later one's values, unless that one failed.
    """
    num_frames = max(run.start + run.length for run in runs)
    owner = np.full(num_frames, -1)
    for index, run in enumerate(runs):
        held = owner[run.frames]
        owner[run.frames] = held if failed[index] and (held >= 0).all() else index
    starts = np.array([run.start for run in runs])
    frames = frame_rows(windows)
    run, place = owner[frames], frames - starts[owner[frames]]
    cut = {name: variables[name][run, place] for name in ("trans", "root_orient", "latent_pose")}
    inside = torch.as_tensor(np.arange(frames.shape[1]) < np.array([[w.length] for w in windows]))
    share = inside.to(variables["betas"].dtype) / inside.sum(1, keepdim=True)
    cut["betas"] = (variables["betas"][run] * share[..., None]).sum(1)
    return cut, failed[run].all(axis=1)
