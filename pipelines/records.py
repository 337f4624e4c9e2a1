"""What crosses a stage border: plain frozen records of NumPy arrays.

Frames are those of docs/frames-and-units.md: `camera` is the colour camera of the true (un-mirrored)
image, OpenCV axes (x right, y down, z forward); `world` is the scene scan's frame (PROX: z up).
Metres, radians, pixels, seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

Gender = Literal["neutral", "male", "female"]

FRAME_OK: Final = ""
"""Status of a frame that can be fitted."""

FrameStatus = Literal[
    "",
    "no_person",
    "no_depth",
    "no_keypoints",
    "image_missing",
    "image_invalid",
    "depth_missing",
    "depth_invalid",
    "mask_missing",
    "mask_invalid",
    "keypoints_missing",
    "keypoints_invalid",
    "fit_missing",
    "fit_invalid",
    "fit_failed",
    "fit_not_finite",
    "segment_too_short",
    "trimmed",
]
"""Why a frame has no (valid) observation or fit; the empty string means it has."""


@dataclass(frozen=True, slots=True, eq=False)
class SceneScan:
    """One scanned room: mesh and signed distance grid, world frame, metres."""

    name: str
    vertices_world: Float[np.ndarray, "vertices 3"]
    faces: Int[np.ndarray, "faces 3"]
    sdf_m: Float32[np.ndarray, "nx ny nz"]
    """Signed distance at cell centres, index [ix, iy, iz]; negative inside solids."""
    sdf_min_world: Float[np.ndarray, "3"]
    """Centre of cell 0 on each axis."""
    sdf_max_world: Float[np.ndarray, "3"]
    """Centre of the last cell on each axis (align_corners=True)."""
    sdf_normals: Float32[np.ndarray, "nx ny nz 3"] | None = None
    colors: Float[np.ndarray, "vertices 3"] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SequenceObservations:
    """What the RGB-D camera saw of one person in one recording. One row per frame, none left out."""

    recording: str
    scene: str
    gender: Gender
    frame_names: tuple[str, ...]
    frame_rate_hz: float
    timestamps_s: Float[np.ndarray, " frames"]
    segment_id: Int[np.ndarray, " frames"]
    """Frames of one clip without a timestamp gap share an id; motion is continuous only inside one."""
    status: tuple[FrameStatus, ...]
    """Empty for frames that can be fitted, else the reason why not."""
    person_seen: Bool[np.ndarray, " frames"]
    """True where enough depth points or confident keypoints show the person (how many: the reader's
    settings), or the mask does and only a broken depth file keeps the frame from being fitted."""
    keypoints_px: Float[np.ndarray, "frames 118 2"]
    """OpenPose, PROX row order (25 body, 21 left hand, 21 right hand, 51 face); true image."""
    keypoints_confidence: Float[np.ndarray, "frames 118"]
    """0 where missing."""
    points_camera: Float32[np.ndarray, "frames points 3"]
    """Person's depth points, subsampled or cyclically repeated to one count; zeros if none."""
    num_points: Int[np.ndarray, " frames"]
    """Person points before subsampling."""
    K: Float[np.ndarray, "3 3"]
    """Colour intrinsics, pixels; bodies are projected without distortion (as PROX does)."""
    image_size_px: tuple[int, int]
    """Width, height."""
    T_world_from_camera: Float[np.ndarray, "4 4"]
    floor_camera: Float[np.ndarray, "4"]
    """Unit normal (pointing up, so n_y < 0) and offset d with n . x = d on the floor."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Counts of everything left out or repaired while reading, by reason."""

    @property
    def usable(self) -> Bool[np.ndarray, " frames"]:
        """True for frames that can be fitted."""
        return np.array([status == FRAME_OK for status in self.status], dtype=bool)

    def select(self, frames: slice) -> SequenceObservations:
        """The same recording cut to a contiguous range of frames."""
        return replace(
            self,
            frame_names=self.frame_names[frames],
            timestamps_s=self.timestamps_s[frames],
            segment_id=self.segment_id[frames],
            status=self.status[frames],
            person_seen=self.person_seen[frames],
            keypoints_px=self.keypoints_px[frames],
            keypoints_confidence=self.keypoints_confidence[frames],
            points_camera=self.points_camera[frames],
            num_points=self.num_points[frames],
        )


@dataclass(frozen=True, slots=True, eq=False)
class SmplhParameters:
    """SMPL+H pose and shape per frame; hands flat (zero)."""

    betas: Float[np.ndarray, "frames betas"]
    global_orient: Float[np.ndarray, "frames 3"]
    """Rotation vector of the pelvis."""
    body_pose: Float[np.ndarray, "frames 63"]
    """21 rotation vectors."""
    transl: Float[np.ndarray, "frames 3"]
    """Added after skinning: pelvis joint = transl + J0(betas)."""


@dataclass(frozen=True, slots=True, eq=False)
class SmplxParameters:
    """SMPL-X as PROX stores it: 12 hand PCA components, hand mean added by the model."""

    betas: Float[np.ndarray, "frames 10"]
    expression: Float[np.ndarray, "frames 10"]
    global_orient: Float[np.ndarray, "frames 3"]
    body_pose: Float[np.ndarray, "frames 63"]
    jaw_pose: Float[np.ndarray, "frames 3"]
    leye_pose: Float[np.ndarray, "frames 3"]
    reye_pose: Float[np.ndarray, "frames 3"]
    left_hand_pose: Float[np.ndarray, "frames 12"]
    right_hand_pose: Float[np.ndarray, "frames 12"]
    transl: Float[np.ndarray, "frames 3"]


@dataclass(frozen=True, slots=True, eq=False)
class FittedSequence:
    """One method's bodies for every frame of a recording, camera frame."""

    method: str
    recording: str
    gender: Gender
    frame_names: tuple[str, ...]
    parameters: SmplhParameters | SmplxParameters
    status: tuple[FrameStatus, ...]
    """Empty where the fit is valid, else the reason. Parameters of invalid frames are finite but
    must not be used."""
    window_id: Int[np.ndarray, " frames"]
    """Which window a frame's result came from; per-frame methods number the frames."""
    T_world_from_camera: Float[np.ndarray, "4 4"]
    floor_camera: Float[np.ndarray, "4"]
    contacts: Float[np.ndarray, "frames 22"] | None = None
    """Predicted contact probability of the SMPL joints."""
    energies: dict[str, Float[np.ndarray, "..."]] = field(default_factory=dict)
    """Raw (unweighted) final value of each term; per frame or per window."""

    @property
    def valid(self) -> Bool[np.ndarray, " frames"]:
        """True where the fit may be used."""
        return np.array([status == FRAME_OK for status in self.status], dtype=bool)


@dataclass(frozen=True, slots=True, eq=False)
class BodyTrack:
    """Posed bodies of one method on the common topology: what the metrics read."""

    method: str
    vertices_camera: Float32[np.ndarray, "frames 6890 3"]
    """SMPL+H topology (SMPL-X bodies are carried over by the transfer matrix)."""
    joints_camera: Float32[np.ndarray, "frames 22 3"]
    """The 22 SMPL body joints of the method's own model."""
    keypoint_joints_camera: Float32[np.ndarray, "frames 25 3"]
    """BODY_25 joints of the method's own model."""
    valid: Bool[np.ndarray, " frames"]


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticTruth:
    """Truth of a synthetic recording. Lies outside the PROX root; never read by a fit."""

    recording: str
    gender: Gender
    motion_family: str
    frame_names: tuple[str, ...]
    parameters: SmplxParameters
    """Camera frame."""
    person_present: Bool[np.ndarray, " frames"]
    """False where the person is outside the image."""
    joint_hidden: Bool[np.ndarray, "frames 22"]
    """Joint hidden by the scene or outside the image (self-occlusion does not count)."""
    foot_contact: Bool[np.ndarray, "frames 4"]
    """Truly planted: left toe base, left heel, right toe base, right heel."""
    vertex_contact: Bool[np.ndarray, "frames 6890"]
    """Vertex of the SMPL+H topology within 2 cm of the scene."""
    floor_camera: Float[np.ndarray, "4"]
    T_world_from_camera: Float[np.ndarray, "4 4"]
