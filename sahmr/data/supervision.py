"""A batch's stored bodies and clouds -> all that the networks are trained towards.

    supervision = load_supervision(body_files, num_classes=8)
    truth = supervision.before_forward(batch)           # root, mesh, contact in the image
    prediction = rcnet(batch.images, batch.cameras, batch.scene, truth.mesh.root_camera, generator)
    targets = truth.with_voxels(prediction.voxels)      # and contact of the voxels it chose

Source: SA-HMR, lib/train/trainers/pose/supervision.py, as told in the networks page, section 9.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import SmplhBody, load_smplh
from pipelines.config import Settings
from pipelines.contact.settings import PROX_LEFT_OUT
from pipelines.errors import DataInvalid
from pipelines.metrics.anatomy import load_anatomy
from pipelines.records import Gender
from sahmr.data.batch import BodyParameters, TrainingBatch
from sahmr.data.coarse_body import load_categories
from sahmr.data.contact_table import category_of_fine_vertices
from sahmr.data.targets import (
    ContactSurface,
    ContactTargetSettings,
    contact_maps,
    mesh_targets,
    mirrored_contact_maps,
    root_targets,
    scene_contact,
    voxel_targets,
)
from sahmr.target_types import MeshTargets, RootContactTargets, RootTargets
from sahmr.types import ContactCategories, ContactVoxels, ScenePoints

STORED_BETAS = 16


class SupervisionSettings(Settings):
    """Which targets are made."""

    contact: ContactTargetSettings = ContactTargetSettings()
    left_out_parts: tuple[str, ...] = PROX_LEFT_OUT
    """Body parts without contact label; SA-HMR leaves the hands out on PROX and keeps them on RICH."""
    mirrored_maps: bool = True
    """Also make the contact maps of the mirrored image."""


@dataclass(frozen=True, slots=True, eq=False)
class SampleTargets:
    """What follows from the samples alone, before any prediction."""

    mesh: MeshTargets
    root: RootTargets
    surface: ContactSurface
    contact_maps: Float[Tensor, "batch contact_maps height width"]
    mirrored_contact_maps: Float[Tensor, "batch contact_maps height width"] | None
    settings: ContactTargetSettings

    def with_voxels(self, voxels: ContactVoxels) -> RootContactTargets:
        """All of RCNet's targets, those of the voxels it chose included."""
        labels = voxel_targets(voxels, self.surface, self.root.root_camera, self.settings)
        return RootContactTargets(self.root, labels, self.contact_maps, self.mirrored_contact_maps)


@dataclass(frozen=True, slots=True, eq=False)
class Supervision:
    """Makes the targets of batches."""

    bodies: Mapping[str, SmplhBody]
    h36m_regressor: Float[Tensor, "17 6890"]
    categories: ContactCategories
    category_of_vertex: Int[Tensor, "6890"]
    """Contact category of each vertex that can touch, 0 for all others."""
    settings: SupervisionSettings

    @torch.no_grad()
    def before_forward(self, batch: TrainingBatch) -> SampleTargets:
        """Targets of root, mesh and 2D contact, on the batch's device.

        Raises:
            DataInvalid: a body is behind its camera or nowhere near its scene, or of unknown gender.
        """
        return self.of_bodies(pose_bodies(batch.body, self.bodies).to(batch.images.device), batch)

    @torch.no_grad()
    def of_bodies(self, vertices: Float[Tensor, "batch 6890 3"], batch: TrainingBatch) -> SampleTargets:
        """The same for bodies already posed, camera frame."""
        mesh = mesh_targets(vertices, self.h36m_regressor.to(vertices))
        surface = self.surface(vertices)
        settings = self.settings.contact
        points, category = contact_in_scenes(batch, surface, settings)
        maps = contact_maps(points, category, batch.cameras, self.categories.count, settings)
        mirrored = mirrored_contact_maps(maps, self.categories) if self.settings.mirrored_maps else None
        root = root_targets(mesh.root_camera, batch.cameras, settings.map_size)
        return SampleTargets(mesh, root, surface, maps, mirrored, settings)

    def surface(self, vertices_camera: Float[Tensor, "batch 6890 3"]) -> ContactSurface:
        """The vertices that can touch."""
        category = self.category_of_vertex.to(vertices_camera.device)
        able = category > 0
        return ContactSurface(vertices_camera[:, able], category[able])


def load_supervision(
    files: BodyFiles,
    num_classes: int,
    settings: SupervisionSettings | None = None,
    part_info: Path | None = None,
) -> Supervision:
    """Read what targets need.

    Args:
        files: the body models the shards' bodies are of.
        num_classes: contact categories with "none": 8, 2 (contact or not) or 432.
        settings: which targets.
        part_info: SA-HMR's `seg_part_info.npy`, see `sahmr.data.coarse_body.load_categories`.

    Raises:
        DataMissing: a body file is absent.
        DataInvalid: a body file is not what it should be, or no such categories.
    """
    settings = settings or SupervisionSettings()
    genders = cast("tuple[Gender, ...]", get_args(Gender))
    present = [gender for gender in genders if "smplh" not in files.missing(gender)]
    return Supervision(
        bodies={gender: load_smplh(files, gender, STORED_BETAS) for gender in present},
        h36m_regressor=torch.as_tensor(load_anatomy(files).h36m_regressor, dtype=torch.float32),
        categories=load_categories(files, num_classes, part_info),
        category_of_vertex=torch.from_numpy(
            category_of_fine_vertices(files, num_classes, settings.left_out_parts)
        ),
        settings=settings,
    )


def pose_bodies(body: BodyParameters, models: Mapping[str, SmplhBody]) -> Float[Tensor, "batch 6890 3"]:
    """Vertices of SMPL+H bodies of mixed gender, camera frame.

    Raises:
        DataInvalid: there is no model of a body's gender.
    """
    unknown = sorted(set(body.genders) - set(models))
    if unknown:
        raise DataInvalid(
            "no body model of a sample's gender", expected=sorted(models), found=", ".join(unknown)
        )
    vertices = body.betas.new_zeros(len(body.genders), 6890, 3)
    for gender in sorted(set(body.genders)):
        rows = torch.tensor([row for row, own in enumerate(body.genders) if own == gender])
        parameters = (body.betas, body.global_orient, body.body_pose, body.transl)
        vertices[rows] = models[gender](*(value[rows] for value in parameters)).vertices
    return vertices


def contact_in_scenes(
    batch: TrainingBatch, surface: ContactSurface, settings: ContactTargetSettings
) -> tuple[ScenePoints, Int[Tensor, " points"]]:
    """Scene points in contact and their categories, sample by sample.

    The jitter of a sample's points is drawn by the sample's own seed, so that it does not depend on the other
    samples of the batch; without a seed points stay where they are.

    Raises:
        DataInvalid: a scene is nowhere near its body.
    """
    points, batch_rows, categories = [], [], []
    pitches = batch.pitch_m.tolist()
    counts = torch.bincount(batch.scene.batch, minlength=len(batch)).tolist()
    for row, own in enumerate(batch.scene.points_camera.split(counts)):
        seed = batch.seeds[row]
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        alone = ContactSurface(surface.vertices_camera[row : row + 1], surface.category)
        scene = ScenePoints(own, batch.scene.batch.new_zeros(len(own)))
        try:
            touching, category = scene_contact(scene, alone, pitches[row], settings, generator)
        except DataInvalid as error:
            raise DataInvalid(
                error.what, where=batch.sample_ids[row], fix="make the shard again"
            ) from error
        points.append(touching.points_camera)
        batch_rows.append(touching.batch + row)
        categories.append(category)
    return ScenePoints(torch.cat(points), torch.cat(batch_rows)), torch.cat(categories)
