"""All terms of each network, their weights, and the total that is minimised.

terms = root_contact_terms(prediction, targets, settings, mirrored_maps)
loss = weighted_total(terms, settings.weights(), quality)
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from pipelines.bodies.joints import H36M14, H36M_NAMES
from pipelines.config import Settings
from pipelines.errors import DataInvalid, SettingsInvalid
from sahmr.losses.contact import contact_map_loss, voxel_category_loss
from sahmr.losses.mesh import ScenePointReduction, mean_l1, scene_point_loss
from sahmr.losses.root import (
    DepthForm,
    VoxelReduction,
    refined_root_loss,
    root_depth_loss,
    root_heatmap_loss,
    voxel_offset_loss,
)
from sahmr.target_types import MeshTargets, RootContactTargets
from sahmr.types import MeshPrediction, RootContactPrediction

Terms = dict[str, Float[Tensor, " batch"]]
"""Unweighted losses per sample, by name."""


class RootContactLossSettings(Settings):
    """Weights (SA-HMR's released ones) and reductions of RCNet's losses."""

    root_heatmap: float = 1.0
    root_depth: float = 10.0
    """Of the 3x3 block; take 40 for the pixel alone, whose weights add up to a quarter."""
    voxel_offset: float = 1.0
    """The paper writes a sum over voxels; at weight 1 that would be some 2000 times larger."""
    refined_root: float = 1.0
    voxel_category: float = 1.0
    contact_maps: float = 1.0
    mirrored_contact_maps: float = 1.0
    """Only where maps of the mirrored image are given (training); not in the paper."""
    contact_voxel: float = 1.0
    """What a voxel in contact counts in `voxel_category` beside one that is not: one in a hundred is."""
    depth_form: DepthForm = "block"
    voxel_reduction: VoxelReduction = "mean"

    def weights(self) -> dict[str, float]:
        """By term."""
        return self.model_dump(exclude={"contact_voxel", "depth_form", "voxel_reduction"})


class MeshLossSettings(Settings):
    """Weights (SA-HMR's released ones) and reductions of the mesh network's losses."""

    vertices: float = 1.0
    joints: float = 1.0
    scene_points: float = 1.0
    vertices_camera: float = 1.0
    scene_point_reduction: ScenePointReduction = "all"

    def weights(self) -> dict[str, float]:
        """By term."""
        return self.model_dump(exclude={"scene_point_reduction"})


def root_contact_terms(
    prediction: RootContactPrediction,
    targets: RootContactTargets,
    settings: RootContactLossSettings,
    mirrored_maps: Float[Tensor, "batch contact_maps height width"] | None = None,
) -> Terms:
    """RCNet's losses.

    Args:
        prediction: of the images as they are.
        targets: of the same samples; of the voxels in the prediction.
        settings: reductions.
        mirrored_maps: f4 of the mirrored images, in training.

    Raises:
        DataInvalid: mirrored maps without a target for them.
    """
    maps, voxels, root = prediction.maps, prediction.voxels, targets.root
    samples, per_voxel = len(root.depth), settings.voxel_reduction
    terms = {
        "root_heatmap": root_heatmap_loss(maps.root_heatmap, root),
        "root_depth": root_depth_loss(maps.depth, root, settings.depth_form),
        "voxel_offset": voxel_offset_loss(
            prediction.offsets, targets.voxels.offsets, voxels.batch, samples, per_voxel
        ),
        "refined_root": refined_root_loss(prediction.refined_root_camera, root),
        "voxel_category": voxel_category_loss(
            prediction.logits,
            targets.voxels.category,
            voxels.batch,
            samples,
            per_voxel,
            settings.contact_voxel,
        ),
        "contact_maps": contact_map_loss(maps.contact, targets.contact_maps),
    }
    if mirrored_maps is not None:
        if targets.mirrored_contact_maps is None:
            raise DataInvalid(
                "contact maps of mirrored images are given, but no targets for them",
                fix="make them with sahmr.data.targets.mirrored_contact_maps",
            )
        terms["mirrored_contact_maps"] = contact_map_loss(mirrored_maps, targets.mirrored_contact_maps)
    return terms


def mesh_terms(
    prediction: MeshPrediction,
    targets: MeshTargets,
    h36m_regressor: Float[Tensor, "17 fine"],
    settings: MeshLossSettings,
) -> Terms:
    """The mesh network's losses.

    Vertices and joints are compared around each mesh's own pelvis, so these two do not see where the body
    stands; `vertices_camera` does, but the root is outside the gradient: only the mesh learns from it.
    """
    vertices_root, contact = prediction.mesh.vertices_root, prediction.contact_points
    joints = h36m_regressor @ vertices_root
    pelvis = joints[:, H36M_NAMES.index("pelvis"), None]
    given_root = contact.points - prediction.root_camera[:, None]
    return {
        "vertices": mean_l1(vertices_root - pelvis, targets.vertices_pelvis),
        "joints": mean_l1(joints[:, list(H36M14)] - pelvis, targets.joints_pelvis),
        "scene_points": scene_point_loss(
            prediction.mesh.scene_points_root,
            given_root,
            contact.in_contact,
            settings.scene_point_reduction,
        ),
        "vertices_camera": mean_l1(prediction.vertices_camera, targets.vertices_camera),
    }


def weighted_total(
    terms: Mapping[str, Float[Tensor, " batch"]],
    weights: Mapping[str, float],
    quality: Float[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """Mean over samples of the weighted sum of the terms.

    Args:
        terms: per sample, unweighted.
        weights: by term; a weight without a term counts for nothing only if it is that of the mirrored maps.
        quality: each sample's share in the loss, 0 to 1. The mean stays one over all samples, so that a
            batch of doubtful frames also takes smaller steps.

    Raises:
        SettingsInvalid: a term without a weight, a weighted term that is missing, or no positive weight.
        DataInvalid: a quality that is negative or not finite.
    """
    missing = [name for name, weight in weights.items() if weight and name not in terms]
    missing = [name for name in missing if name != "mirrored_contact_maps"]
    unknown = sorted(set(terms) - set(weights))
    active = [name for name in terms if weights.get(name)]
    if missing or unknown or not active:
        raise SettingsInvalid(
            "losses and weights do not fit",
            expected=f"a weight for each of {sorted(terms)}, one at least positive",
            found=f"terms missing: {missing}; terms without weight: {unknown}; with weight: {active}",
        )
    total = sum(
        (weights[name] * terms[name] for name in active[1:]), weights[active[0]] * terms[active[0]]
    )
    if quality is None:
        return total.mean()
    if not bool((quality.isfinite() & (quality >= 0)).all()):
        raise DataInvalid("quality weights must be finite and not negative", found=quality.tolist())
    return (total * quality).mean()
