"""Samples -> batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from sahmr.data.batch import BodyParameters, TrainingBatch, TrainingSample
from sahmr.data.crop import IMAGE_MEAN, IMAGE_STD
from sahmr.types import CropCameras, ScenePoints


def collate(samples: Sequence[TrainingSample]) -> TrainingBatch:
    """Put samples side by side; scene points become one flat list."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    counts = torch.tensor([len(sample.scene_points_camera) for sample in samples])
    points = np.concatenate([sample.scene_points_camera for sample in samples])
    return TrainingBatch(
        images=normalise_batch(images),
        cameras=CropCameras(_stack(samples, "box_px"), _stack(samples, "K").float()),
        scene=ScenePoints(
            torch.from_numpy(points), torch.arange(len(samples)).repeat_interleave(counts)
        ),
        T_world_from_camera=_stack(samples, "T_world_from_camera").float(),
        body=BodyParameters(
            betas=_stack(samples, "betas"),
            global_orient=_stack(samples, "global_orient"),
            body_pose=_stack(samples, "body_pose"),
            transl=_stack(samples, "transl"),
            genders=tuple(sample.gender for sample in samples),
        ),
        pitch_m=torch.tensor([sample.pitch_m for sample in samples]),
        vertex_category=_stack(samples, "vertex_category").long(),
        weight=torch.tensor([sample.weight for sample in samples]),
        expected_error_mm=torch.tensor([sample.expected_error_mm for sample in samples]),
        sample_ids=tuple(sample.sample_id for sample in samples),
        scenes=tuple(sample.scene for sample in samples),
        seeds=tuple(sample.seed for sample in samples),
    )


def normalise_batch(
    images: UInt8[Tensor, "batch height width 3"],
) -> Float[Tensor, "batch 3 height width"]:
    """RGB in 0..1, minus ImageNet's mean, over its standard deviation."""
    rgb = images.permute(0, 3, 1, 2).contiguous().float().div_(255)
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGE_MEAN, IMAGE_STD))
    return rgb.sub_(mean).div_(std)


def _stack(samples: Sequence[TrainingSample], name: str) -> Tensor:
    return torch.from_numpy(np.stack([getattr(sample, name) for sample in samples]))
