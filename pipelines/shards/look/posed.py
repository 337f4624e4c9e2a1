"""A stored sample with its body posed and its crop decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int, UInt8

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import load_smplh
from pipelines.geometry.transforms import transform_points
from pipelines.records import Gender
from pipelines.shards.collection import ShardCollection
from pipelines.shards.crop import CROP_PX, decode_crop
from pipelines.shards.schema import ShardKind, ShardSample, ShardScene

NUM_BETAS = 16


@dataclass(frozen=True, slots=True, eq=False)
class PosedSample:
    """All that pictures of a sample need."""

    sample: ShardSample
    scene: ShardScene
    kind: ShardKind
    image: UInt8[np.ndarray, "stored stored 3"]
    """The stored crop, margin included; RGB."""
    vertices_camera: Float32[np.ndarray, "6890 3"]
    faces: Int[np.ndarray, "faces 3"]

    @property
    def crop(self) -> UInt8[np.ndarray, "size size 3"]:
        """The crop of the sample's box."""
        margin = (len(self.image) - CROP_PX) // 2
        return self.image[margin : margin + CROP_PX, margin : margin + CROP_PX]

    @property
    def vertices_world(self) -> Float64[np.ndarray, "6890 3"]:
        """The body where the scene is."""
        vertices = self.vertices_camera.astype(np.float64)
        return transform_points(self.sample.T_world_from_camera, vertices)


def pose_sample(collection: ShardCollection, index: int, files: BodyFiles) -> PosedSample:
    """Read one sample and pose its body.

    Raises:
        DataInvalid: the sample is damaged, or its crop is no picture of the right size.
        DataMissing: no body model of its gender.
    """
    sample = collection[index]
    vertices, faces = pose_body(sample, files)
    return PosedSample(
        sample,
        collection.scene_of(index),
        collection.kind_of(index),
        decode_crop(sample.crop_jpeg, sample.sample_id),
        vertices,
        faces,
    )


def pose_body(
    sample: ShardSample, files: BodyFiles
) -> tuple[Float32[np.ndarray, "6890 3"], Int[np.ndarray, "faces 3"]]:
    """Vertices in the camera frame, and faces, of a stored body."""
    model = load_smplh(files, cast("Gender", sample.gender), NUM_BETAS)
    parameters = (sample.betas, sample.global_orient, sample.body_pose, sample.transl)
    with torch.no_grad():
        mesh = model(*(torch.tensor(value)[None] for value in parameters))
    return mesh.vertices[0].numpy(), model.faces.numpy()
