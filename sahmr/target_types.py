"""What the networks are trained towards: frozen records of tensors (frames as in `sahmr.types`)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class RootTargets:
    """Where the root is, in the three ways RCNet is asked for it."""

    heatmap: Float[Tensor, "batch height width"]
    """The stamp of 3x3 around the root's cell, zero elsewhere."""
    heatmap_px: Int[Tensor, "batch 2"]
    """(u, v) of that cell, kept off the border."""
    depth: Float[Tensor, " batch"]
    """In units of `CropCameras.unit_depth_m`."""
    root_camera: Float[Tensor, "batch 3"]


@dataclass(frozen=True, slots=True, eq=False)
class VoxelTargets:
    """What each voxel should say; depends on the voxels the network chose."""

    category: Int[Tensor, " voxels"]
    offsets: Float[Tensor, "voxels 3"]
    """From the voxel's centre to the root, for all voxels, in contact or not."""


@dataclass(frozen=True, slots=True, eq=False)
class RootContactTargets:
    """All that RCNet is trained towards."""

    root: RootTargets
    voxels: VoxelTargets
    contact_maps: Float[Tensor, "batch contact_maps height width"]
    mirrored_contact_maps: Float[Tensor, "batch contact_maps height width"] | None = None
    """For the mirrored image: turned over, sides swapped. None where that loss is off."""


@dataclass(frozen=True, slots=True, eq=False)
class MeshTargets:
    """The true body."""

    vertices_camera: Float[Tensor, "batch fine 3"]
    vertices_pelvis: Float[Tensor, "batch fine 3"]
    """Minus the H36M pelvis regressed from them."""
    joints_pelvis: Float[Tensor, "batch 14 3"]
    """The 14 H36M joints minus that pelvis."""
    root_camera: Float[Tensor, "batch 3"]
    """The pelvis."""


@dataclass(frozen=True, slots=True, eq=False)
class MetroTargets:
    """The true body minus its H36M pelvis, as METRO is asked for it."""

    joints: Float[Tensor, "batch 14 3"]
    coarse: Float[Tensor, "batch coarse 3"]
    middle: Float[Tensor, "batch middle 3"]
    full: Float[Tensor, "batch full 3"]
    crop: Float[Tensor, "batch 14 2"]
    """The joints in the crop: -1 at its left and upper, 1 at its right and lower border."""
