"""Observations and scene of all windows of a recording, as tensors: what the energies read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipelines.bodies.joints import IGNORED_BODY25
from pipelines.errors import DataInvalid
from pipelines.fitting.lifting import lift_keypoints
from pipelines.fitting.windows import Window, frame_rows
from pipelines.geometry.meshes import vertex_normals
from pipelines.geometry.signed_distance import SdfGrid
from pipelines.records import SceneScan, SequenceObservations

NUM_BODY25 = 25


@dataclass(frozen=True, slots=True, eq=False)
class NeighbourTargets:
    """What the windows before (side 0) and after (side 1) say about shared frames; constants."""

    key_vertices: Float[Tensor, "windows 2 frames 43 3"]
    shared: Float[Tensor, "windows 2 frames"]
    """1 for frames that the neighbour holds too."""
    betas: Float[Tensor, "windows 2 betas"]
    floor_camera: Float[Tensor, "windows 2 3"]
    present: Float[Tensor, "windows 2"]
    """1 where there is an overlapping neighbour."""


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceMotion:
    """The motion that a stage of kind `poses` keeps near; constants."""

    joints_camera: Float[Tensor, "windows frames 22 3"]
    rotmats: Float[Tensor, "windows frames 22 3 3"]
    """Root in the camera frame, then the body's, each relative to its parent."""
    contacts: Float[Tensor, "windows frames 22"]
    """Contact probability."""


@dataclass(frozen=True, slots=True, eq=False)
class WindowData:
    """Windows side by side; shorter ones are padded by repeating their last frame."""

    keypoints_px: Float[Tensor, "windows frames 25 2"]
    confidence: Float[Tensor, "windows frames 25"]
    """0 for the ignored keypoints (neck, hips), missing ones and padding."""
    all_confidence: Float[Tensor, "windows frames 25"]
    """The same without ignoring any: good enough to say where to start."""
    lifted_camera: Float[Tensor, "windows frames 25 3"]
    """Keypoints put on the depth seen at them."""
    lifted_weights: Float[Tensor, "windows frames 25"]
    """Confidence where there is such a depth, else 0."""
    points_camera: Float[Tensor, "windows frames points 3"]
    has_points: Float[Tensor, "windows frames"]
    """1 where the depth points count."""
    frames_used: Float[Tensor, "windows frames"]
    """1 inside the window, 0 for padding."""
    lengths: Int[Tensor, " windows"]
    overlaps: Int[Tensor, " windows"]
    floor_camera: Float[Tensor, "windows 3"]
    """Observed floor: unit normal times offset."""
    K: Float[Tensor, "3 3"]
    neighbours: NeighbourTargets | None = None
    """Set when the windows' neighbours are not among them."""
    reference: ReferenceMotion | None = None
    """Set for stages of kind `poses`."""

    @property
    def num_frames(self) -> Float[Tensor, " windows"]:
        """Frames in use per window (HuMoR's `nsteps`)."""
        return self.frames_used.sum(1)

    def leading(self, num_frames: int | None) -> WindowData:
        """Only the first frames of each window; the overlaps are then out of sight."""
        if num_frames is None or num_frames >= self.frames_used.shape[1]:
            return self
        return replace(
            self,
            keypoints_px=self.keypoints_px[:, :num_frames],
            confidence=self.confidence[:, :num_frames],
            all_confidence=self.all_confidence[:, :num_frames],
            lifted_camera=self.lifted_camera[:, :num_frames],
            lifted_weights=self.lifted_weights[:, :num_frames],
            points_camera=self.points_camera[:, :num_frames],
            has_points=self.has_points[:, :num_frames],
            frames_used=self.frames_used[:, :num_frames],
            lengths=self.lengths.clamp(max=num_frames),
            overlaps=torch.zeros_like(self.overlaps),
            neighbours=None,
        )

    def with_points(self, choice: Int[Tensor, " chosen"] | None) -> WindowData:
        """Only some depth points of every frame (the same rows everywhere; rows are in random order)."""
        if choice is None:
            return self
        return replace(self, points_camera=self.points_camera[:, :, choice].contiguous())

    def select(self, windows: Sequence[int]) -> WindowData:
        """Some windows, in order; an overlap stays where the window before is among them."""
        chosen = list(windows)
        index = torch.as_tensor(chosen)
        reference = self.reference
        if reference is not None:
            reference = ReferenceMotion(
                reference.joints_camera[index], reference.rotmats[index], reference.contacts[index]
            )
        neighbours = [place > 0 and chosen[place - 1] == w - 1 for place, w in enumerate(chosen)]
        return replace(
            self,
            keypoints_px=self.keypoints_px[index],
            confidence=self.confidence[index],
            all_confidence=self.all_confidence[index],
            lifted_camera=self.lifted_camera[index],
            lifted_weights=self.lifted_weights[index],
            points_camera=self.points_camera[index],
            has_points=self.has_points[index],
            frames_used=self.frames_used[index],
            lengths=self.lengths[index],
            overlaps=self.overlaps[index] * torch.tensor(neighbours),
            floor_camera=self.floor_camera[index],
            reference=reference,
        )

    @property
    def seen(self) -> Bool[Tensor, " windows"]:
        """Windows in which something was observed at all."""
        return (self.has_points > 0).any(1) | (self.confidence > 0).flatten(1).any(1)


@dataclass(frozen=True, slots=True, eq=False)
class SceneData:
    """What PROX's two terms need of a room, world frame, and where the camera stands in it."""

    sdf: SdfGrid
    vertices_world: Float[np.ndarray, "vertices 3"]
    normals_world: Float[Tensor, "vertices 3"]
    R_world_from_camera: Float[Tensor, "3 3"]
    origin_world: Float[Tensor, "3"]
    contact_ids: Int[Tensor, " contacts"]
    """Contact vertices of the 6890 mesh."""
    contact_faces: Int[Tensor, "faces 3"]
    """Faces of the body around the contact vertices, enough for their normals; mesh vertex ids."""

    def to_world(self, points_camera: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """Camera -> world; differentiable."""
        return points_camera @ self.R_world_from_camera.T + self.origin_world


def gather_windows(
    observations: SequenceObservations, windows: Sequence[Window], dtype: torch.dtype
) -> WindowData:
    """Cut the observations of a recording into its windows.

    A frame counts with what it has: points where the reader found any, keypoints by their confidence.

    Raises:
        DataInvalid: an observation that counts is not finite.
    """
    _require_finite(observations)
    rows = frame_rows(windows)
    inside = np.stack([np.arange(rows.shape[1]) < w.length for w in windows])
    all_confidence = observations.keypoints_confidence[:, :NUM_BODY25]
    confidence = all_confidence.copy()
    confidence[:, list(IGNORED_BODY25)] = 0.0
    seen = all_confidence > 0
    keypoints = np.where(seen[..., None], observations.keypoints_px[:, :NUM_BODY25], 0.0)
    floor = observations.floor_camera[:3] * observations.floor_camera[3]
    order = np.random.default_rng(0).permutation(observations.points_camera.shape[1])

    def tensor(array: np.ndarray) -> Tensor:
        return torch.tensor(array, dtype=dtype)

    lifted = lift_keypoints(
        tensor(keypoints),
        tensor(all_confidence),
        tensor(observations.points_camera),
        tensor(observations.num_points > 0),
        tensor(observations.K),
    )
    return WindowData(
        keypoints_px=tensor(keypoints[rows]),
        confidence=tensor(confidence[rows] * inside[..., None]),
        all_confidence=tensor(all_confidence[rows] * inside[..., None]),
        lifted_camera=lifted.joints_camera[rows],
        lifted_weights=lifted.weights[rows] * tensor(inside[..., None]),
        points_camera=tensor(observations.points_camera[:, order][rows]),
        has_points=tensor((observations.num_points[rows] > 0) & inside),
        frames_used=tensor(inside),
        lengths=torch.tensor([w.length for w in windows]),
        overlaps=torch.tensor([w.overlap for w in windows]),
        floor_camera=tensor(np.tile(floor, (len(windows), 1))),
        K=tensor(observations.K),
    )


def gather_scene(
    scene: SceneScan,
    T_world_from_camera: Float[np.ndarray, "4 4"],
    contact_vertices: Bool[np.ndarray, "6890"],
    body_faces: Int[Tensor, "faces 3"],
    dtype: torch.dtype,
) -> SceneData:
    """Scene record -> tensors; normals of the scan are area weighted, as PROX takes them."""
    vertices = np.ascontiguousarray(scene.vertices_world, dtype=np.float64)
    normals = vertex_normals(torch.as_tensor(vertices), torch.as_tensor(scene.faces), area_weighted=True)
    contact = torch.as_tensor(contact_vertices)
    return SceneData(
        sdf=SdfGrid.from_scene(scene, dtype),
        vertices_world=vertices,
        normals_world=normals.to(dtype),
        R_world_from_camera=torch.tensor(T_world_from_camera[:3, :3], dtype=dtype),
        origin_world=torch.tensor(T_world_from_camera[:3, 3], dtype=dtype),
        contact_ids=contact.nonzero()[:, 0],
        contact_faces=body_faces[contact[body_faces].any(1)],
    )


def _require_finite(observations: SequenceObservations) -> None:
    confident = observations.keypoints_confidence[:, :NUM_BODY25] > 0
    keypoints = np.where(confident[..., None], observations.keypoints_px[:, :NUM_BODY25], 0.0)
    points = np.where(observations.num_points[:, None, None] > 0, observations.points_camera, 0.0)
    wrong = ~np.isfinite(keypoints).all(axis=(1, 2)) | ~np.isfinite(points).all(axis=(1, 2))
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise DataInvalid(
            f"{int(wrong.sum())} frames have keypoints or depth points that are not finite",
            where=f"{observations.recording} frame {observations.frame_names[first]}",
            expected="finite numbers, or confidence 0 and num_points 0",
            fix="repair or remove these frames' files",
        )
