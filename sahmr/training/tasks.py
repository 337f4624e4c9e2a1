"""What each stage asks of its network: the losses of a batch, and monitors in validation.

task = RcnetTask(network, settings.rcnet, supervision)
terms = task(batch, truth, generator, watch)        # losses per sample, unweighted; called through DDP
monitors = task.monitors(batch, truth)              # per sample, in evaluation mode
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Generic, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pipelines.bodies.joints import H36M14, H36M_NAMES
from sahmr.data.batch import TrainingBatch
from sahmr.data.metro_targets import CoarseLevels, metro_targets
from sahmr.data.supervision import SampleTargets, Supervision
from sahmr.losses.metro import metro_terms
from sahmr.losses.quality import countable_mesh, countable_root_contact
from sahmr.losses.weights import Terms, mesh_terms, root_contact_terms
from sahmr.networks.mesh_tokens import MeshTransformerSettings
from sahmr.networks.metro import Metro
from sahmr.networks.rcnet import Rcnet
from sahmr.networks.sahmr import Sahmr
from sahmr.target_types import MeshTargets
from sahmr.training.data import as_float32
from sahmr.training.settings import MeshStage, MetroStage, RcnetStage
from sahmr.training.watch import Watch
from sahmr.types import BodyTemplate, RootContactPrediction

_PELVIS: Final = H36M_NAMES.index("pelvis")
_MM: Final = 1000.0
N = TypeVar("N", Rcnet, Sahmr, Metro)
Monitors = dict[str, Float[Tensor, " batch"]]
"""Per sample; NaN where a sample has nothing to say."""


class Task(nn.Module, Generic[N]):
    """One stage: a network, its losses and its monitors."""

    best: str
    """The monitor by which the best weights are told; smaller is better."""

    def __init__(self, network: N) -> None:
        super().__init__()
        self.network: N = network

    @property
    def weights(self) -> Mapping[str, float]:
        """Of the terms."""
        raise NotImplementedError

    def forward(
        self, batch: TrainingBatch, truth: SampleTargets, generator: torch.Generator, watch: Watch
    ) -> Terms:
        """Losses per sample, unweighted."""
        raise NotImplementedError

    def monitors(
        self, batch: TrainingBatch, truth: SampleTargets, generator: torch.Generator
    ) -> Monitors:
        """How good the network is, in evaluation mode."""
        raise NotImplementedError


class RcnetTask(Task[Rcnet]):
    """Stage 1: root and contact, all of RCNet."""

    best = "pelvis_refined_mm"

    def __init__(self, network: Rcnet, settings: RcnetStage) -> None:
        super().__init__(network)
        self.settings = settings

    @property
    def weights(self) -> Mapping[str, float]:
        """Of the terms."""
        return self.settings.losses.weights()

    def forward(
        self, batch: TrainingBatch, truth: SampleTargets, generator: torch.Generator, watch: Watch
    ) -> Terms:
        """Losses per sample; the images run beside their mirror images where those have a loss."""
        mirrored = None
        with watch("forward"):
            with autocast(batch, self.settings.precision):
                if truth.mirrored_contact_maps is None:
                    maps = self.network.root_net(batch.images)
                else:
                    maps, mirrored = self.network.maps_with_mirror(batch.images)
            maps, mirrored = as_float32((maps, mirrored))
            prediction = self.network.from_maps(
                maps, batch.cameras, batch.scene, truth.mesh.root_camera, generator
            )
        with watch("targets"):
            targets = truth.with_voxels(prediction.voxels)
        with watch("forward"):
            targets = countable_root_contact(targets, batch.weight, prediction.voxels.batch)
            return root_contact_terms(prediction, targets, self.settings.losses, mirrored)

    def monitors(
        self, batch: TrainingBatch, truth: SampleTargets, generator: torch.Generator
    ) -> Monitors:
        """Roots and the voxels' contact."""
        prediction = self.network(batch.images, batch.cameras, batch.scene)
        return root_contact_monitors(prediction, truth)


class MeshTask(Task[Sahmr]):
    """Stage 2: the mesh network on RCNet's contact."""

    best = "mpve_mm"

    def __init__(
        self, network: Sahmr, settings: MeshStage, supervision: Supervision, template: BodyTemplate
    ) -> None:
        super().__init__(network)
        self.settings, self.template = settings, template
        self.categories, self.regressor = supervision.categories, supervision.h36m_regressor

    @property
    def weights(self) -> Mapping[str, float]:
        """Of the terms."""
        return self.settings.losses.weights()

    def forward(
        self, batch: TrainingBatch, truth: SampleTargets, generator: torch.Generator, watch: Watch
    ) -> Terms:
        """Losses per sample."""
        with watch("forward"):
            with torch.no_grad():
                root_contact = self.network.rcnet(batch.images, batch.cameras, batch.scene)
            with autocast(batch, self.settings.precision):
                prediction = self.network.recover(
                    batch.images,
                    root_contact,
                    self.template,
                    self.categories,
                    generator,
                    truth.mesh.root_camera,
                )
            targets = countable_mesh(truth.mesh, batch.weight)
            regressor = self.regressor.to(batch.images.device)
            return mesh_terms(as_float32(prediction), targets, regressor, self.settings.losses)

    def monitors(
        self, batch: TrainingBatch, truth: SampleTargets, generator: torch.Generator
    ) -> Monitors:
        """Roots, contact, and the mesh where it stands."""
        prediction = self.network(
            batch.images, batch.cameras, batch.scene, self.template, self.categories, generator
        )
        return {
            **root_contact_monitors(prediction.root_contact, truth),
            **mesh_monitors(prediction.vertices_camera, truth.mesh, self.regressor, placed=True),
        }


class MetroTask(Task[Metro]):
    """The baseline, and the start of both networks."""

    best = "mpve_mm"

    def __init__(
        self,
        network: Metro,
        settings: MetroStage,
        supervision: Supervision,
        template: BodyTemplate,
        levels: CoarseLevels,
    ) -> None:
        super().__init__(network)
        self.settings, self.template, self.levels = settings, template, levels
        self.regressor = supervision.h36m_regressor

    @property
    def weights(self) -> Mapping[str, float]:
        """Of the terms."""
        return self.settings.losses.weights()

    def forward(
        self, batch: TrainingBatch, truth: SampleTargets, generator: torch.Generator, watch: Watch
    ) -> Terms:
        """Losses per sample, with tokens hidden at random."""
        with watch("targets"):
            mesh = countable_mesh(truth.mesh, batch.weight)
            targets = metro_targets(mesh, batch.cameras, self.levels)
        with watch("forward"):
            masked = None
            if self.settings.masked_share > 0:
                masked = masked_tokens(
                    len(batch), self.network.settings, self.settings.masked_share, generator
                ).to(batch.images.device)
            with autocast(batch, self.settings.precision):
                prediction = self.network(batch.images, self.template, masked)
            return metro_terms(as_float32(prediction), targets, self.regressor.to(batch.images.device))

    def monitors(
        self, batch: TrainingBatch, truth: SampleTargets, generator: torch.Generator
    ) -> Monitors:
        """The mesh around its pelvis; METRO says nothing of where it stands."""
        prediction = self.network(batch.images, self.template)
        return mesh_monitors(prediction.full, truth.mesh, self.regressor, placed=False)


def masked_tokens(
    batch_size: int, settings: MeshTransformerSettings, share: float, generator: torch.Generator
) -> Bool[Tensor, "batch tokens"]:
    """Which tokens are hidden: of joints and of vertices a random share each, up to `share`."""
    parts = []
    for count in (settings.num_joints, settings.num_tokens - settings.num_joints):
        hidden = torch.rand(batch_size, 1, generator=generator) * share
        rank = torch.rand(batch_size, count, generator=generator).argsort(dim=1).argsort(dim=1)
        parts.append(rank < (hidden * count).round())
    return torch.cat(parts, dim=1)


def root_contact_monitors(prediction: RootContactPrediction, truth: SampleTargets) -> Monitors:
    """PelvisE before and after refinement, in the heat map, and VoxSeg's IoU."""
    true_root, samples = truth.root.root_camera, len(truth.root.depth)
    targets = truth.with_voxels(prediction.voxels)
    batch, said, there = (
        prediction.voxels.batch,
        prediction.voxel_category,
        targets.voxels.category,
    )
    both, union = (
        torch.zeros(samples, device=batch.device).index_add(0, batch, counted.float())
        for counted in (
            (said == there) & (there > 0),
            (said > 0).long() + (there > 0).long() - ((said == there) & (there > 0)).long(),
        )
    )
    return {
        "pelvis_mm": _MM * (prediction.root_camera - true_root).norm(dim=1),
        "pelvis_refined_mm": _MM * (prediction.refined_root_camera - true_root).norm(dim=1),
        "pelvis_2d_cells": (prediction.root_heatmap_px - truth.root.heatmap_px).float().norm(dim=1),
        "voxel_iou": torch.where(union > 0, both / union, torch.nan),
    }


def mesh_monitors(
    vertices: Float[Tensor, "batch fine 3"],
    truth: MeshTargets,
    h36m_regressor: Float[Tensor, "17 fine"],
    placed: bool,
) -> Monitors:
    """MPJPE and MPVE; where the mesh is placed in the camera frame also G-MPJPE and G-MPVE."""
    joints = h36m_regressor.to(vertices) @ vertices
    pelvis = joints[:, _PELVIS, None]
    joints = joints[:, list(H36M14)]
    monitors = {
        "mpjpe_mm": _mean_mm(joints - pelvis, truth.joints_pelvis),
        "mpve_mm": _mean_mm(vertices - pelvis, truth.vertices_pelvis),
    }
    if placed:
        true_joints = truth.joints_pelvis + truth.root_camera[:, None]
        monitors["g_mpjpe_mm"] = _mean_mm(joints, true_joints)
        monitors["g_mpve_mm"] = _mean_mm(vertices, truth.vertices_camera)
    return monitors


def autocast(batch: TrainingBatch, precision: str) -> torch.autocast:
    """Lower precision for what is called inside, where it is asked for."""
    dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision, torch.bfloat16)
    return torch.autocast(batch.images.device.type, dtype=dtype, enabled=precision != "float32")


def _mean_mm(
    points: Float[Tensor, "batch points 3"], target: Float[Tensor, "batch points 3"]
) -> Float[Tensor, " batch"]:
    return _MM * (points - target).norm(dim=2).mean(dim=1)
