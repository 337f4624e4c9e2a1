"""Ray casting of rooms and bodies through the distorted cameras of the rig.

The room is cast once per camera and recording; per frame only the pixels near the body are cast.
Everything is in the casting camera's own frame (x right, y down, z forward), true image, metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

from pipelines.geometry.cameras import RigCamera
from pipelines.geometry.meshes import RayCaster

_COARSE_STEP_PX = 8
_AMBIENT = 0.42
_LATTICE = 64


@dataclass(frozen=True, slots=True, eq=False)
class PixelRays:
    """Undistorted ray (x, y, 1) through every pixel centre of a camera."""

    camera: RigCamera
    directions: Float32[np.ndarray, "height width 3"]

    @staticmethod
    def of(camera: RigCamera) -> PixelRays:
        """Invert the lens once for all pixels."""
        u, v = np.meshgrid(np.arange(camera.width_px), np.arange(camera.height_px))
        pixels = np.stack([u.ravel(), v.ravel()], axis=1).astype(np.float64)
        rays = camera.rays(pixels).astype(np.float32)
        return PixelRays(camera, rays.reshape(camera.height_px, camera.width_px, 3))


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A triangle mesh with one colour and one (smoothed) unit normal per face, camera frame."""

    vertices: Float[np.ndarray, "vertices 3"]
    faces: Int[np.ndarray, "faces 3"]
    face_normals: Float[np.ndarray, "faces 3"]
    face_colors: Float[np.ndarray, "faces 3"]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a camera sees of one surface, for the whole image or for a box of it."""

    top: int
    left: int
    depth_m: Float32[np.ndarray, "height width"]
    """z; inf where nothing is hit."""
    cosine: Float32[np.ndarray, "height width"]
    """Between the ray and the normal, 0..1."""
    face: Int[np.ndarray, "height width"]
    """-1 where nothing is hit."""

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the full image that this view covers."""
        height, width = self.depth_m.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def view_all(rays: PixelRays, surface: Surface) -> View:
    """Cast every pixel of the image."""
    wanted = np.ones(rays.directions.shape[:2], dtype=bool)
    return _cast(RayCaster(surface.vertices, surface.faces), surface, rays, wanted, 0, 0)


def view_body(rays: PixelRays, surface: Surface) -> View | None:
    """Cast only the pixels that can meet the surface; None when it is outside the image.

    The box comes from projecting the vertices; a coarse silhouette then spares the empty corners.
    """
    box = _image_box(rays.camera, surface.vertices)
    if box is None:
        return None
    top, bottom, left, right = box
    crop = PixelRays(rays.camera, rays.directions[top:bottom, left:right])
    caster = RayCaster(surface.vertices, surface.faces)
    wanted = _near_silhouette(caster, crop, rays.camera, surface.vertices, (top, left))
    return _cast(caster, surface, crop, wanted, top, left)


def _image_box(
    camera: RigCamera, vertices: Float[np.ndarray, "vertices 3"]
) -> tuple[int, int, int, int] | None:
    ahead = vertices[vertices[:, 2] > 0.1]
    if len(ahead) == 0:
        return None
    pixels = camera.project_camera(ahead)
    low, high = np.floor(pixels.min(axis=0)).astype(int) - 2, np.ceil(pixels.max(axis=0)).astype(int) + 3
    left, top = max(int(low[0]), 0), max(int(low[1]), 0)
    right, bottom = min(int(high[0]), camera.width_px), min(int(high[1]), camera.height_px)
    return (top, bottom, left, right) if top < bottom and left < right else None


def _near_silhouette(
    caster: RayCaster,
    crop: PixelRays,
    camera: RigCamera,
    vertices: Float[np.ndarray, "vertices 3"],
    corner: tuple[int, int],
) -> Bool[np.ndarray, "height width"]:
    """Pixels near a projected vertex; vertices are denser than the dilation, so none is missed."""
    height, width = crop.directions.shape[:2]
    if height * width < 60_000:
        return np.ones((height, width), dtype=bool)
    step = _COARSE_STEP_PX
    seeds = np.zeros((height // step + 1, width // step + 1), np.uint8)
    pixels = camera.project_camera(vertices[vertices[:, 2] > 0.1]) - [corner[1], corner[0]]
    cells = np.floor(pixels / step).astype(int)
    inside = ((cells >= 0) & (cells < [seeds.shape[1], seeds.shape[0]])).all(axis=1)
    seeds[cells[inside, 1], cells[inside, 0]] = 1
    grown = cv2.dilate(seeds, np.ones((7, 7), np.uint8))
    full = cv2.resize(grown, None, fx=step, fy=step, interpolation=cv2.INTER_NEAREST)
    return full[:height, :width].astype(bool)


def _cast(
    caster: RayCaster,
    surface: Surface,
    rays: PixelRays,
    wanted: Bool[np.ndarray, "height width"],
    top: int,
    left: int,
) -> View:
    directions = rays.directions[wanted].astype(np.float64)
    distance, face = caster.first_hit(np.zeros_like(directions), directions)
    hit = face >= 0
    normals = surface.face_normals[face[hit]]
    along = np.abs(np.einsum("ij,ij->i", normals, directions[hit]))
    cosine = np.zeros(len(face), np.float32)
    cosine[hit] = along / np.linalg.norm(directions[hit], axis=1)
    shape = wanted.shape
    depth_image = np.full(shape, np.inf, np.float32)
    cosine_image, face_image = np.zeros(shape, np.float32), np.full(shape, -1, np.int64)
    # The rays have z = 1, so the distance in units of the ray is the depth itself.
    depth_image[wanted], cosine_image[wanted], face_image[wanted] = distance, cosine, face
    return View(top, left, depth_image, cosine_image, face_image)


def shade(
    view: View, surface: Surface, light_camera: Float[np.ndarray, "3"]
) -> Float32[np.ndarray, "height width 3"]:
    """Lambert shading by one lamp and a headlight; 0..255, black where nothing is hit."""
    turned_to_lamp = np.clip(surface.face_normals @ light_camera, 0, 1)
    lit = (surface.face_colors * (_AMBIENT + 0.4 * turned_to_lamp[:, None])).astype(np.float32)
    hit = view.face >= 0
    image = np.zeros((*view.face.shape, 3), np.float32)
    image[hit] = lit[view.face[hit]] + 0.18 * view.cosine[hit][:, None] * surface.face_colors[
        view.face[hit]
    ].astype(np.float32)
    return np.clip(image * 255, 0, 255)


def paste_body(
    background: UInt8[np.ndarray, "height width 3"],
    body: Float32[np.ndarray, "rows columns 3"],
    view: View,
    visible: Bool[np.ndarray, "rows columns"],
) -> UInt8[np.ndarray, "height width 3"]:
    """Body over background where it is in front, its border blended over about a pixel."""
    image = background.copy()
    patch = image[view.box].astype(np.float32)
    filled = np.where(visible[..., None], body, patch)
    softened = cv2.GaussianBlur(filled, (0, 0), 0.8)
    near = cv2.dilate(visible.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    patch[near] = softened[near]
    image[view.box] = np.round(patch).astype(np.uint8)
    return image


def value_noise(
    points: Float[np.ndarray, "points 3"], cell_m: float, seed: int
) -> Float32[np.ndarray, " points"]:
    """Smooth random texture in -1..1, fixed in space: trilinear in a random lattice that repeats."""
    lattice = _lattice(seed)
    scaled = points / cell_m
    base = np.floor(scaled).astype(np.int32)
    t = (scaled - base).astype(np.float32)
    t = t * t * (3 - 2 * t)
    total = np.zeros(len(points), np.float32)
    for corner in range(8):
        offset = (corner & 1, corner >> 1 & 1, corner >> 2 & 1)
        index = [(base[:, k] + offset[k]) % _LATTICE for k in range(3)]
        weights = [t[:, k] if offset[k] else 1 - t[:, k] for k in range(3)]
        total += weights[0] * weights[1] * weights[2] * lattice[index[0], index[1], index[2]]
    return total


def cell_noise(
    cells: Float[np.ndarray, "points 3"] | Int[np.ndarray, "points 3"], seed: int
) -> Float32[np.ndarray, " points"]:
    """One random value in -1..1 for each whole-numbered cell."""
    index = np.floor(cells).astype(np.int32) % _LATTICE
    return _lattice(seed)[index[:, 0], index[:, 1], index[:, 2]]


def _lattice(seed: int) -> Float32[np.ndarray, "64 64 64"]:
    return np.random.default_rng(seed).uniform(-1, 1, (_LATTICE,) * 3).astype(np.float32)
