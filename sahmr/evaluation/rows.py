"""What each row of the table says of a batch: bodies in the camera frame, and monitors on the way."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pipelines.bodies.joints import H36M14, H36M_NAMES
from sahmr.data.batch import TrainingBatch
from sahmr.data.supervision import SampleTargets, Supervision
from sahmr.evaluation.contact_scores import contact_scores, map_errors
from sahmr.evaluation.metro_placement import PlacementSettings, place_metro
from sahmr.networks.contact_module import contact_points
from sahmr.networks.metro import Metro
from sahmr.networks.sahmr import Sahmr
from sahmr.types import BodyTemplate, RootContactPrediction

_PELVIS: Final = H36M_NAMES.index("pelvis")
_PAPER_CELLS: Final = 55
"""Steps across SA-HMR's 56 cells: smaller maps are told in the same unit."""


@dataclass(frozen=True, slots=True, eq=False)
class PlacedBodies:
    """What a row says of a batch."""

    vertices_camera: Float[Tensor, "batch 6890 3"]
    monitors: Mapping[str, Float[np.ndarray, " batch"]] = field(default_factory=dict)
    """By definition id."""
    notes: Mapping[str, int] = field(default_factory=dict)
    """Counts worth telling."""


@runtime_checkable
class Row(Protocol):
    """One row of the table."""

    def __call__(
        self, batch: TrainingBatch, true_vertices_camera: Float[Tensor, "batch 6890 3"]
    ) -> PlacedBodies:
        """Bodies of a batch; the truth is for monitors only."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TrueRow:
    """Dataset GT: the reference itself. Only how it sits in the scene means anything."""

    def __call__(
        self, batch: TrainingBatch, true_vertices_camera: Float[Tensor, "batch 6890 3"]
    ) -> PlacedBodies:
        """The truth."""
        return PlacedBodies(true_vertices_camera)


@dataclass(frozen=True, slots=True, eq=False)
class FittedRow:
    """Dataset GT where it is a fit and the reference is the truth: how good the labels are."""

    fitted: Mapping[str, Float[np.ndarray, "6890 3"]]
    """Vertices by sample, camera frame."""

    def __call__(
        self, batch: TrainingBatch, true_vertices_camera: Float[Tensor, "batch 6890 3"]
    ) -> PlacedBodies:
        """Not finite where a sample has no fit, so that it is left out and named."""
        nothing = np.full((6890, 3), np.nan, np.float32)
        bodies = [self.fitted.get(name, nothing) for name in batch.sample_ids]
        return PlacedBodies(torch.from_numpy(np.stack(bodies)))


@dataclass(frozen=True, slots=True, eq=False)
class MetroRow:
    """METRO, placed in the scene by PnP between its mesh and its own projection."""

    network: Metro
    template: BodyTemplate
    h36m_regressor: Float[Tensor, "17 6890"]
    placement: PlacementSettings

    @torch.inference_mode()
    def __call__(
        self, batch: TrainingBatch, true_vertices_camera: Float[Tensor, "batch 6890 3"]
    ) -> PlacedBodies:
        """Where no pose is found the body stays at the camera, as in SA-HMR, and is counted."""
        prediction = self.network(batch.images, self.template)
        joints = self.h36m_regressor.to(prediction.full) @ prediction.full
        pelvis = joints[:, _PELVIS, None]
        placed = place_metro(
            joints[:, list(H36M14)] - pelvis,
            replace(prediction, full=prediction.full - pelvis),
            batch.cameras,
            batch.images.shape[-1],
            self.placement,
        )
        notes = {"not_placed_by_PnP": sum(not found for found in placed.found)}
        return PlacedBodies(placed.vertices_camera, notes=notes)


@dataclass(frozen=True, slots=True, eq=False)
class SahmrRow:
    """SA-HMR with one set of contact categories."""

    network: Sahmr
    template: BodyTemplate
    supervision: Supervision
    """Makes the targets of the monitors; for the network's categories."""

    @torch.inference_mode()
    def __call__(
        self, batch: TrainingBatch, true_vertices_camera: Float[Tensor, "batch 6890 3"]
    ) -> PlacedBodies:
        """Contact points are drawn by each sample's name: a body does not depend on its batch."""
        said = self.network.rcnet(batch.images, batch.cameras, batch.scene)
        draws = [torch.Generator().manual_seed(zlib.crc32(name.encode())) for name in batch.sample_ids]
        contact = contact_points(said, draws, self.network.settings.num_contact_points)
        prediction = self.network.recover(
            batch.images, said, self.template, self.supervision.categories, contact=contact
        )
        truth = self.supervision.of_bodies(true_vertices_camera.to(batch.images), batch)
        notes = {
            "without_scene_in_view": said.num_without_scene,
            "without_predicted_contact": int((~contact.in_contact.any(dim=1)).sum()),
        }
        return PlacedBodies(prediction.vertices_camera, root_contact_monitors(said, truth), notes)


def root_contact_monitors(
    said: RootContactPrediction, truth: SampleTargets
) -> dict[str, Float[np.ndarray, " batch"]]:
    """How well RCNet tells root and contact, per sample; by definition id.

    Contact of the scene is measured on the voxels that RCNet chose around its own root, as SA-HMR does: what
    it never looked at counts neither for nor against it.
    """
    targets = truth.with_voxels(said.voxels)
    true_root = truth.root.root_camera
    cells = said.root_heatmap_px.float() - truth.root.heatmap_px.float()
    monitors = {
        "pelvis_initial_v1": _numpy((said.root_camera - true_root).norm(dim=1)),
        "pelvis_refined_v1": _numpy((said.refined_root_camera - true_root).norm(dim=1)),
        "pelvis_2d_v1": _numpy(cells.norm(dim=1)) * _PAPER_CELLS / (truth.settings.map_size - 1),
    }
    batch, category = said.voxels.batch.cpu().numpy(), said.voxel_category.cpu().numpy()
    true_category = targets.voxels.category.cpu().numpy()
    background = int(truth.settings.background_map)
    maps, true_maps = (
        _numpy(tensor[:, background:]) for tensor in (said.maps.contact, truth.contact_maps)
    )
    per_sample = [
        contact_scores(category[batch == row], true_category[batch == row]).by_key("scene_contact")
        | map_errors(maps[row], true_maps[row])
        for row in range(len(true_root))
    ]
    return monitors | {key: np.array([one[key] for one in per_sample]) for key in per_sample[0]}


def _numpy(tensor: Tensor) -> np.ndarray:
    return np.asarray(tensor.cpu().double().numpy())
