"""Targets of the root, of the body, and of contact in voxels and in the image.

All are pure functions of the sample, but for the voxels': the network chooses voxels around its own root,
returns them, and `voxel_targets` labels them.

Source: SA-HMR, lib/train/trainers/pose/supervision.py, as told in the networks page, section 9.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from pipelines.bodies.joints import H36M14, H36M_NAMES
from pipelines.config import Settings
from pipelines.contact.labels import category_numbers, label_points
from pipelines.errors import DataInvalid
from pipelines.geometry.nearest import nearest_rows
from sahmr.networks.crop_geometry import unit_in_box
from sahmr.target_types import MeshTargets, RootTargets, VoxelTargets
from sahmr.types import ContactCategories, ContactVoxels, CropCameras, ScenePoints

STAMP = ((0.25, 0.5, 0.25), (0.5, 1.0, 0.5), (0.25, 0.5, 0.25))
"""What one cell leaves in a map; not normalised."""
PELVIS = H36M_NAMES.index("pelvis")


class ContactTargetSettings(Settings):
    """What counts as contact, and how it is drawn into maps."""

    contact_radius_m: float = 0.07
    """A point nearer than this to a vertex of a contact part is in contact with it."""
    cut_margin_m: float = 0.05
    """Scene points are first cut to the box of the parts' vertices, this much beyond the radius."""
    jitter_pitches: float = 0.3
    """Scene points are moved by up to this share of the scan's pitch along each axis."""
    left_out: tuple[str, ...] = ()
    """Categories without a label; SA-HMR leaves out `L_Hand` and `R_Hand` on PROX."""
    map_size: int = 56
    background_map: bool = True
    """Put 1 - (largest of the parts) in front of the parts' maps: 8 maps (paper) instead of 7 (released).

    The paper does not say what its eighth map is; this is our reading.
    """
    farthest_scene_m: float = 2.0
    """A scene that is nowhere nearer to the body than this is taken to be in another frame."""


@dataclass(frozen=True, slots=True, eq=False)
class ContactSurface:
    """The body's vertices that stand for a contact category."""

    vertices_camera: Float[Tensor, "batch parts 3"]
    category: Int[Tensor, " parts"]
    """1 and above."""


def root_targets(
    root_camera: Float[Tensor, "batch 3"], cameras: CropCameras, map_size: int = 56
) -> RootTargets:
    """Heat map with the stamp at the root's cell, and the root's normalised depth.

    The cell is kept off the border so that the stamp fits, also where the root lies outside the box.

    Raises:
        DataInvalid: a root is not finite or not in front of the camera.
    """
    if not bool((root_camera.isfinite().all(dim=1) & (root_camera[:, 2] > 0)).all()):
        raise DataInvalid(
            "a true root is not in front of the camera",
            expected="metres in the camera frame, z forward",
            found=root_camera.tolist(),
            fix="carry the body to the camera frame before the targets are made",
        )
    batch = torch.arange(len(root_camera), device=root_camera.device)
    unit = unit_in_box(root_camera, batch, cameras)
    cell = (unit * (map_size - 1)).round().long().clamp(1, map_size - 2)
    heatmap = root_camera.new_zeros(len(batch), map_size, map_size)
    around = torch.arange(-1, 2, device=cell.device)
    rows, columns = cell[:, 1, None] + around, cell[:, 0, None] + around  # (batch, 3)
    heatmap[batch[:, None, None], rows[:, :, None], columns[:, None, :]] = heatmap.new_tensor(STAMP)
    return RootTargets(heatmap, cell, root_camera[:, 2] / cameras.unit_depth_m, root_camera)


def mesh_targets(
    vertices_camera: Float[Tensor, "batch fine 3"], h36m_regressor: Float[Tensor, "17 fine"]
) -> MeshTargets:
    """The true body around its own pelvis; the pelvis is the regressor's, not SMPL's."""
    joints = h36m_regressor @ vertices_camera
    pelvis = joints[:, PELVIS]
    return MeshTargets(
        vertices_camera,
        vertices_camera - pelvis[:, None],
        joints[:, list(H36M14)] - pelvis[:, None],
        pelvis,
    )


def contact_surface(
    vertices_camera: Float[Tensor, "batch verts 3"],
    category_of_vertex: Int[Tensor, " verts"],
    categories: ContactCategories,
    settings: ContactTargetSettings,
) -> ContactSurface:
    """Vertices with a category that is not left out."""
    dropped = category_numbers(categories.names, settings.left_out)
    keep = ~torch.isin(category_of_vertex, category_of_vertex.new_tensor(dropped))
    return ContactSurface(vertices_camera[:, keep], category_of_vertex[keep])


def category_of_points(
    points_camera: Float[Tensor, "points 3"],
    batch: Int[Tensor, " points"],
    surface: ContactSurface,
    radius_m: float,
) -> Int[Tensor, " points"]:
    """Category of the nearest vertex of the surface if nearer than the radius, else 0.

    On the host, wherever the tensors are, by the function that labels the shards.
    """
    points, of_point, vertices, of_vertex = (
        tensor.detach().cpu().numpy()
        for tensor in (points_camera, batch, surface.vertices_camera, surface.category)
    )
    category = np.zeros(len(points), np.int64)
    for sample, body in enumerate(vertices):
        rows = np.flatnonzero(of_point == sample)
        category[rows] = label_points(points[rows], body, of_vertex, radius_m)
    return torch.from_numpy(category).to(batch)


def voxel_targets(
    voxels: ContactVoxels,
    surface: ContactSurface,
    root_camera: Float[Tensor, "batch 3"],
    settings: ContactTargetSettings,
) -> VoxelTargets:
    """Category of each voxel's centre, and its offset to the true root."""
    centres = voxels.centres_camera
    category = category_of_points(centres, voxels.batch, surface, settings.contact_radius_m)
    return VoxelTargets(category, root_camera[voxels.batch] - centres)


def scene_contact(
    scene: ScenePoints,
    surface: ContactSurface,
    pitch_m: float,
    settings: ContactTargetSettings,
    generator: torch.Generator | None,
) -> tuple[ScenePoints, Int[Tensor, " points"]]:
    """Scene points in contact, and their categories.

    Args:
        scene: points in the view frustum.
        surface: of the true body.
        pitch_m: spacing of the scan's points.
        settings: radius and jitter.
        generator: for the jitter; None leaves the points where they are (validation).

    Raises:
        DataInvalid: a scene is nowhere near its body, so the two are in different frames.
    """
    reach = settings.contact_radius_m + settings.cut_margin_m
    points, batch = scene.points_camera, scene.batch
    if len(surface.category) == 0:
        return ScenePoints(points[:0], batch[:0]), batch[:0]
    low, high = surface.vertices_camera.amin(dim=1)[batch], surface.vertices_camera.amax(dim=1)[batch]
    beyond = torch.maximum(low - points, points - high).clamp(min=0)  # per axis
    for sample in batch.unique():
        nearest_m = float(beyond[batch == sample].norm(dim=1).min())
        if nearest_m > settings.farthest_scene_m:
            raise DataInvalid(
                "the scene is nowhere near the body",
                where=f"sample {int(sample)}",
                expected=f"scene points within {settings.farthest_scene_m} m of the body's box",
                found=f"nearest at {nearest_m:.2f} m",
                fix="give scene and body in the same camera frame",
            )
    keep = (beyond <= reach).all(dim=1).nonzero()[:, 0]
    points, batch = points[keep], batch[keep]
    if generator is not None:
        uniform = torch.rand(points.shape, generator=generator).to(points) * 2 - 1
        points = points + settings.jitter_pitches * pitch_m * uniform
    category = category_of_points(points, batch, surface, settings.contact_radius_m)
    touching = category > 0
    return ScenePoints(points[touching], batch[touching]), category[touching]


def contact_maps(
    points: ScenePoints,
    category: Int[Tensor, " points"],
    cameras: CropCameras,
    num_categories: int,
    settings: ContactTargetSettings,
) -> Float[Tensor, "batch contact_maps height width"]:
    """One map per category: the stamp at every cell that a point of it falls into, at most 1."""
    size, samples = settings.map_size, len(cameras.K)
    unit = unit_in_box(points.points_camera, points.batch, cameras)
    u, v = (unit * (size - 1)).round().long().unbind(dim=1)
    shown = (category > 0) & (u >= 0) & (u < size) & (v >= 0) & (v < size)
    shown &= points.points_camera[:, 2] > 0
    cells = points.points_camera.new_zeros(samples, num_categories - 1, size, size)
    cells[points.batch[shown], category[shown] - 1, v[shown], u[shown]] = 1
    stamp = cells.new_tensor(STAMP)[None, None]
    maps = F.conv2d(cells.flatten(0, 1)[:, None], stamp, padding=1).clamp(max=1).view_as(cells)
    if settings.background_map:
        maps = torch.cat([1 - maps.amax(dim=1, keepdim=True), maps], dim=1)
    return maps


def mirrored_vertices(template: Float[Tensor, "verts 3"]) -> tuple[int, ...]:
    """Vertex nearest to each vertex's mirror image, of a body in rest pose whose left-right axis is x.

    The mirror table of one category per vertex (`sahmr.types.vertex_categories`).
    """
    mirrored = template * template.new_tensor([-1.0, 1.0, 1.0])
    return tuple(nearest_rows(mirrored, template).tolist())


def mirrored_contact_maps(
    maps: Float[Tensor, "batch contact_maps height width"], categories: ContactCategories
) -> Float[Tensor, "batch contact_maps height width"]:
    """Maps of the image turned left-right: turned over, the body's sides swapped.

    Raises:
        DataInvalid: the categories' mirror images are not known.
    """
    if not categories.mirror:
        raise DataInvalid(
            "the mirror image of the contact categories is not known",
            fix="give the categories a mirror table, or switch the mirrored-image loss off",
        )
    order = torch.tensor(categories.mirror, device=maps.device)
    if maps.shape[1] == categories.count - 1:  # no map of the background
        order = order[1:] - 1
    return maps.flip(-1)[:, order]
