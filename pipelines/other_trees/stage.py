"""What the small trees show: people who sway on the spot in a room of three blocks, before any camera.

Everything is made in one level frame: z up, floor at z = 0, metres. A writer carries it to the frames of
its data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8

from pipelines.bodies.correspondence import smplx_to_smplh_vertices
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import load_smplx
from pipelines.bodies.track import parameter_tensors
from pipelines.geometry.meshes import RayCaster
from pipelines.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from pipelines.records import Gender, SmplxParameters
from pipelines.synthetic.presets import subject_betas
from pipelines.synthetic.primitives import Solid, tessellate, union_distance
from pipelines.synthetic.visibility import merge_meshes

SOLIDS: Final = (
    Solid("floor", "box", (0.0, 0.0, -0.1), (3.0, 3.0, 0.1), color=(0.45, 0.36, 0.28), front="+z"),
    Solid("wall", "box", (0.0, 2.9, 1.2), (3.0, 0.1, 1.2), color=(0.75, 0.76, 0.72), front="-y"),
    Solid("table", "box", (1.5, 1.2, 0.36), (0.5, 0.4, 0.36), color=(0.5, 0.25, 0.15)),
)
CONTACT_M: Final = 0.02
_EDGE_M = 0.25
_ARMS_DOWN_RAD = 1.2
_SWAY_RAD = 0.15
_ON_SURFACE_M = 1e-3
_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)
_SHOULDERS, _HIPS = (15, 16), (0, 1)
"""Rows of `body_pose` as 21 rotation vectors, left then right."""
_SKY, _SKIN = (0.55, 0.65, 0.8), (0.85, 0.6, 0.5)


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One person of a tree, level frame."""

    subject: str
    gender: Gender
    parameters: SmplxParameters
    vertices: Float32[np.ndarray, "frames 10475 3"]
    faces: Int[np.ndarray, "faces 3"]
    contact: Bool[np.ndarray, "frames 6890"]
    """SMPL+H vertices within 2 cm of the room."""


@dataclass(frozen=True, slots=True, eq=False)
class Eye:
    """A camera of a tree."""

    K: Float[np.ndarray, "3 3"]
    size_px: tuple[int, int]
    T_level_from_camera: Float[np.ndarray, "4 4"]
    distortion: Float[np.ndarray, " coefficients"]
    """OpenCV order; images are seen through it."""


@torch.no_grad()
def stand(
    files: BodyFiles,
    subject: str,
    gender: Gender,
    num_frames: int,
    place_m: tuple[float, float],
    heading_rad: float,
) -> Person:
    """Someone who stands at a place, arms down, and sways; soles on the floor in every frame."""
    body = load_smplx(files, gender)
    turned = rotvec_to_rotmat(torch.tensor([[0, 0, heading_rad]])) @ rotvec_to_rotmat(
        torch.tensor([[np.pi / 2, 0, 0]], dtype=torch.float32)
    )
    pose = np.zeros((num_frames, 21, 3))
    sway = _SWAY_RAD * np.sin(np.arange(num_frames) * 0.7)
    for side, sign in ((0, -1), (1, 1)):
        pose[:, _SHOULDERS[side], 2] = sign * _ARMS_DOWN_RAD + sway
        pose[:, _HIPS[side], 0] = sign * sway
    zeros = {
        field.name: np.zeros((num_frames, 12 if "hand" in field.name else 3))
        for field in fields(SmplxParameters)
    }
    parameters = SmplxParameters(
        **{
            **zeros,
            "betas": np.repeat(subject_betas(0, int(subject))[None], num_frames, axis=0),
            "expression": np.zeros((num_frames, 10)),
            "global_orient": np.repeat(rotmat_to_rotvec(turned).numpy(), num_frames, axis=0),
            "body_pose": pose.reshape(num_frames, 63),
        }
    )
    mesh = body(**parameter_tensors(parameters))
    lowest = mesh.vertices[..., 2].min(dim=1).values.numpy()
    shift = np.column_stack([np.array(place_m) - mesh.joints[:, 0, :2].numpy(), -lowest])
    parameters = replace(parameters, transl=shift.astype(np.float64))
    vertices = mesh.vertices + torch.tensor(shift, dtype=torch.float32)[:, None]
    smplh = smplx_to_smplh_vertices(files, vertices).numpy().reshape(-1, 3).astype(np.float64)
    contact = np.abs(union_distance(SOLIDS, smplh)) < CONTACT_M
    faces = body.faces.numpy()
    return Person(subject, gender, parameters, vertices.numpy(), faces, contact.reshape(num_frames, -1))


def room() -> tuple[
    Float[np.ndarray, "vertices 3"], Int[np.ndarray, "faces 3"], UInt8[np.ndarray, "vertices 3"]
]:
    """The room as a coloured mesh."""
    parts = [tessellate(solid, _EDGE_M) for solid in SOLIDS]
    vertices, faces, _ = merge_meshes(parts)
    colors = [
        np.tile(np.array(solid.color) * 255, (len(part[0]), 1))
        for solid, part in zip(SOLIDS, parts, strict=True)
    ]
    return vertices, faces, np.concatenate(colors).astype(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """The room and the people in it at one instant, ready to be seen by any camera."""

    caster: RayCaster
    owner: Int[np.ndarray, " faces"]
    """0 for the room, then the people."""

    def seen_by(
        self, eye: Eye, step: int = 1
    ) -> tuple[Float[np.ndarray, "rows columns"], UInt8[np.ndarray, "height width 3"]]:
        """Depth along the camera's axis (0 where nothing is hit) and RGB.

        Args:
            eye: the camera.
            step: cast a ray for every `step`-th pixel of every `step`-th row only; the colour image is
                enlarged to its full size, the depth image is not.
        """
        width, height = eye.size_px
        columns, rows = np.meshgrid(np.arange(0, width, step), np.arange(0, height, step))
        pixels = np.column_stack([columns.ravel(), rows.ravel()]).astype(np.float64)
        plane = cv2.undistortPoints(pixels.reshape(-1, 1, 2), eye.K, eye.distortion, criteria=_STOP)
        rays = np.column_stack([plane.reshape(-1, 2), np.ones(len(pixels))])
        rays = rays @ eye.T_level_from_camera[:3, :3].T
        origin = np.repeat(eye.T_level_from_camera[:3, 3][None], len(rays), axis=0)
        depth, face = self.caster.first_hit(origin, rays)
        depth = np.where(np.isfinite(depth) & (depth > 0), depth, 0)
        image = np.round(self._colors(origin + rays * depth[:, None], face) * 255).astype(np.uint8)
        image = image.reshape(*columns.shape, 3)
        if step > 1:
            image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST))
        return depth.reshape(columns.shape), image

    def _colors(
        self, points: Float[np.ndarray, "points 3"], face: Int[np.ndarray, " points"]
    ) -> Float[np.ndarray, "points 3"]:
        colors = np.tile(np.array(_SKIN), (len(points), 1))
        of_room = self.owner[face] == 0
        for solid in SOLIDS:
            colors[of_room & (np.abs(solid.signed_distance(points)) < _ON_SURFACE_M)] = solid.color
        colors[face < 0] = _SKY
        return colors


def moment(people: Sequence[Person], frame: int) -> Moment:
    """One frame of the people's motion."""
    vertices, faces, _ = room()
    parts = [(vertices, faces)] + [(p.vertices[frame].astype(np.float64), p.faces) for p in people]
    merged, triangles, owner = merge_meshes(parts)
    return Moment(RayCaster(merged, triangles), owner)
