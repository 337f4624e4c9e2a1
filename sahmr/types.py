"""What crosses a border inside `sahmr`: frozen records of tensors.

Frames: `camera` (OpenCV: x right, y down, z forward; SA-HMR's "global" frame), `root` (camera axes, origin
at the refined root r*), `world` (the scan). Metres; pixels are of the full image, u right, v down;
`heatmap` is the 56x56 grid over the square person box, whose corner cells lie on the box corners.
Ragged sets (scene points, voxels) are one flat list with the sample of each row in `batch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipelines.bodies.parts import CONTACT_PARTS


@dataclass(frozen=True, slots=True, eq=False)
class CropCameras:
    """Where each crop lies in its image, and how that image's camera projects."""

    boxes_px: Float[Tensor, "batch 4"]
    """Square person box: left, up, right, bottom."""
    K: Float[Tensor, "batch 3 3"]
    """Intrinsics of the full image; fx and fy may differ."""

    @property
    def left_up_px(self) -> Float[Tensor, "batch 2"]:
        """The box corner that crop pixel (0, 0) shows."""
        return self.boxes_px[:, :2]

    @property
    def size_px(self) -> Float[Tensor, "batch 2"]:
        """Box width and height."""
        return self.boxes_px[:, 2:] - self.boxes_px[:, :2]

    @property
    def unit_depth_m(self) -> Float[Tensor, " batch"]:
        """Depth at which the normalised depth map f2 reads 1: fx / (box width)."""
        return self.K[:, 0, 0] / self.size_px[:, 0]


@dataclass(frozen=True, slots=True, eq=False)
class ScenePoints:
    """Scene points of a batch, in one flat list."""

    points_camera: Float[Tensor, "points 3"]
    batch: Int[Tensor, " points"]
    """Sample each point belongs to."""


@dataclass(frozen=True, slots=True, eq=False)
class RootMaps:
    """The 2D network's maps f1 to f4, without activation."""

    root_heatmap: Float[Tensor, "batch height width"]
    """f1."""
    depth: Float[Tensor, "batch height width"]
    """f2: depth of the root in units of `CropCameras.unit_depth_m`."""
    features: Float[Tensor, "batch features height width"]
    """f3."""
    contact: Float[Tensor, "batch contact_maps height width"]
    """f4; read by its loss only."""


@dataclass(frozen=True, slots=True, eq=False)
class ContactVoxels:
    """Occupied cells of the scene around the root."""

    index: Int[Tensor, "voxels 3"]
    """floor(point / voxel size)."""
    centres_camera: Float[Tensor, "voxels 3"]
    batch: Int[Tensor, " voxels"]
    nearby: ScenePoints
    """The raw scene points that fell into the cells."""
    voxel_of_point: Int[Tensor, " points"]
    """Row of each nearby point's cell."""


@dataclass(frozen=True, slots=True, eq=False)
class RootContactPrediction:
    """What RCNet says about the root and the scene's contact with the body."""

    maps: RootMaps
    root_heatmap_px: Int[Tensor, "batch 2"]
    """(u, v) of the heat map's maximum."""
    root_camera: Float[Tensor, "batch 3"]
    """r0, outside the gradient."""
    anchor_camera: Float[Tensor, "batch 3"]
    """Centre of the search: r0, or in training a noised truth where r0 is far off."""
    voxels: ContactVoxels
    confidence: Float[Tensor, " voxels"]
    """Raw, before sigmoid and softmax."""
    offsets: Float[Tensor, "voxels 3"]
    """From each cell's centre to the root, metres."""
    logits: Float[Tensor, "voxels classes"]
    """Contact category; class 0 is no contact."""
    refined_root_camera: Float[Tensor, "batch 3"]
    """r*; r0 where a sample has no voxel or the sum is not a number."""
    num_without_scene: int
    """Samples whose root could not be refined because no scene point lies in the view frustum."""

    @property
    def voxel_category(self) -> Int[Tensor, " voxels"]:
        """The likeliest class of each voxel."""
        return self.logits.argmax(dim=1)


@dataclass(frozen=True, slots=True, eq=False)
class ContactPoints:
    """A fixed number of scene points in contact per sample; unused places hold category 0."""

    points: Float[Tensor, "batch points 3"]
    """In the frame the caller says: camera, or root for the mesh network."""
    category: Int[Tensor, "batch points"]

    @property
    def in_contact(self) -> Bool[Tensor, "batch points"]:
        """False for padding and for the dummy of a sample without contact."""
        return self.category != 0


@dataclass(frozen=True, slots=True, eq=False)
class ContactCategories:
    """The contact classes a model tells apart, and the part of the coarse body each stands for."""

    names: tuple[str, ...]
    """Class 0 is no contact."""
    part_of_vertex: Int[Tensor, " verts"]
    """Class of each of the 431 vertices."""
    mirror: tuple[int, ...]
    """Class that each class becomes in the mirrored image; empty where it is not known."""

    @property
    def count(self) -> int:
        """Number of classes, no contact included."""
        return len(self.names)

    def part_means(self) -> Float[Tensor, "classes verts"]:
        """Rows that average vertex tokens over each part; zero for class 0 and for parts without vertex."""
        member = torch.nn.functional.one_hot(self.part_of_vertex.long(), self.count).T.float()
        member[0] = 0
        return member / member.sum(dim=1, keepdim=True).clamp(min=1)


def eight_categories(part_of_vertex: Int[Tensor, " verts"]) -> ContactCategories:
    """SA-HMR-8: nothing, and the seven parts of `pipelines.bodies.parts.CONTACT_PARTS`."""
    names = ("none", *CONTACT_PARTS)
    swap = {"L": "R", "R": "L"}
    mirrored = [swap.get(name[0], name[0]) + name[1:] if name[1] == "_" else name for name in names]
    return ContactCategories(names, part_of_vertex, tuple(names.index(name) for name in mirrored))


def one_category(part_of_vertex: Int[Tensor, " verts"]) -> ContactCategories:
    """SA-HMR-1: contact or not, over the union of the seven parts.

    Differs from SA-HMR: its ablation is not published. Contact is a second class beside "none", not a single
    logit, so that the cross-entropy loss stays.
    """
    return ContactCategories(("none", "contact"), (part_of_vertex != 0).long(), (0, 1))


def vertex_categories(num_vertices: int = 431, mirror: Sequence[int] = ()) -> ContactCategories:
    """SA-HMR-432: one class per coarse vertex.

    Args:
        num_vertices: of the coarse body.
        mirror: mirrored vertex of each vertex; without it the mirrored-image loss must be off.
    """
    names = ("none", *(f"vertex_{row}" for row in range(num_vertices)))
    table = (0, *(row + 1 for row in mirror)) if mirror else ()
    return ContactCategories(names, torch.arange(num_vertices) + 1, table)


@dataclass(frozen=True, slots=True, eq=False)
class BodyTemplate:
    """The coarse body in rest pose that the vertex tokens start from, minus its pelvis."""

    joints: Float[Tensor, "joints 3"]
    vertices: Float[Tensor, "verts 3"]


@dataclass(frozen=True, slots=True, eq=False)
class RecoveredMesh:
    """What the mesh network returns, in the root frame."""

    vertices_root: Float[Tensor, "batch fine 3"]
    scene_points_root: Float[Tensor, "batch points 3"]
    """The contact points as the scene stream reproduces them."""
    vertex_features: tuple[Float[Tensor, "batch tokens _"], ...]
    """Vertex stream after each stage."""
    scene_features: tuple[Float[Tensor, "batch points _"], ...]
    """Scene stream after each stage."""


@dataclass(frozen=True, slots=True, eq=False)
class MeshPrediction:
    """A body placed in its scene."""

    vertices_camera: Float[Tensor, "batch fine 3"]
    root_camera: Float[Tensor, "batch 3"]
    """Origin of the root frame: the refined root, or what took its place in training."""
    mesh: RecoveredMesh
    contact_points: ContactPoints
    """Camera frame."""
    root_contact: RootContactPrediction
