"""What a training step is given: one sample, and a batch of them. Frames as in `sahmr.types`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int, UInt8
from torch import Tensor

from sahmr.types import CropCameras, ScenePoints


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSample:
    """One person in one image, ready to be put into a batch."""

    sample_id: str
    scene: str
    subject: str
    gender: str
    image: UInt8[np.ndarray, "size size 3"]
    """RGB crop of `box_px`."""
    box_px: Float32[np.ndarray, "4"]
    K: Float64[np.ndarray, "3 3"]
    T_world_from_camera: Float64[np.ndarray, "4 4"]
    betas: Float32[np.ndarray, "16"]
    global_orient: Float32[np.ndarray, "3"]
    body_pose: Float32[np.ndarray, "63"]
    transl: Float32[np.ndarray, "3"]
    scene_points_camera: Float32[np.ndarray, "points 3"]
    """The scene's cloud inside the view frustum of the box."""
    pitch_m: float
    """Spacing of that cloud."""
    vertex_category: UInt8[np.ndarray, "6890"]
    """Stored label: contact part of each vertex that touches the scene, 0 none."""
    weight: float
    expected_error_mm: float
    """NaN where no score was made."""
    seed: int | None
    """Of the random parts of this sample's targets in this epoch; None in validation."""


@dataclass(frozen=True, slots=True, eq=False)
class BodyParameters:
    """Bodies as SMPL+H parameters, camera frame."""

    betas: Float[Tensor, "batch 16"]
    global_orient: Float[Tensor, "batch 3"]
    body_pose: Float[Tensor, "batch 63"]
    transl: Float[Tensor, "batch 3"]
    genders: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingBatch:
    """Samples of one training step, side by side."""

    images: Float[Tensor, "batch 3 size size"]
    """RGB in 0..1, minus the ImageNet mean, over its standard deviation."""
    cameras: CropCameras
    scene: ScenePoints
    """Inside each view frustum."""
    T_world_from_camera: Float[Tensor, "batch 4 4"]
    body: BodyParameters
    """The bodies to be learnt; stays on the host, where bodies are posed."""
    pitch_m: Float[Tensor, " batch"]
    vertex_category: Int[Tensor, "batch 6890"]
    weight: Float[Tensor, " batch"]
    expected_error_mm: Float[Tensor, " batch"]
    sample_ids: tuple[str, ...]
    scenes: tuple[str, ...]
    seeds: tuple[int | None, ...]

    def __len__(self) -> int:
        return len(self.sample_ids)

    def to(self, device: torch.device | str) -> TrainingBatch:
        """The same batch with what networks and losses read on another device."""
        moved = {
            name: getattr(self, name).to(device)
            for name in (
                "images",
                "T_world_from_camera",
                "pitch_m",
                "vertex_category",
                "weight",
                "expected_error_mm",
            )
        }
        cameras = CropCameras(self.cameras.boxes_px.to(device), self.cameras.K.to(device))
        scene = ScenePoints(self.scene.points_camera.to(device), self.scene.batch.to(device))
        return replace(self, cameras=cameras, scene=scene, **moved)
