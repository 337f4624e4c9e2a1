"""Samples of a recording: crop, box, body, contact and quality of each frame that can be one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, UInt8

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import load_smplh
from pipelines.bodies.parts import CONTACT_PARTS
from pipelines.bodies.track import parameter_tensors
from pipelines.contact.labels import can_touch, label_points, label_vertices
from pipelines.errors import DataInvalid, DataMissing
from pipelines.geometry.transforms import invert, transform_points
from pipelines.records import FRAME_OK
from pipelines.shards.crop import Box, body_box, crop_image, encode_crop, in_view, square_box
from pipelines.shards.schema import NO_VERTICES, ShardSample
from pipelines.shards.settings import SampleSettings
from pipelines.shards.source import NUM_BETAS, SourceRecording, SourceScene

CATEGORY_NAMES: Final = ("none", *CONTACT_PARTS)
_FRAMES_AT_ONCE: Final = 64
_FIRST_LOOK: Final = 64
"""Every so-manieth scene point is looked at first: mostly one of them is in view already."""


@dataclass(slots=True)
class FrameAccount:
    """What became of every frame."""

    kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """Stored, but not to be used: reason -> count."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Not stored: reason -> count."""

    @property
    def frames(self) -> int:
        """All of them."""
        return self.kept + self.rejected.total() + self.skipped.total()

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "frames": self.frames,
            "kept": self.kept,
            "rejected": dict(sorted(self.rejected.items())),
            "skipped": dict(sorted(self.skipped.items())),
        }


class _Unusable(Exception):
    """Why a frame is no sample."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def samples_of(
    recording: SourceRecording,
    scene: SourceScene,
    category_of_vertex: Int[np.ndarray, "6890"],
    files: BodyFiles,
    rows: range,
    settings: SampleSettings,
    account: FrameAccount,
) -> Iterator[ShardSample]:
    """Samples of some frames of a recording, in order.

    Bodies are posed from the parameters that are stored, so that who poses them again finds the same contact.

    Args:
        recording: bodies, camera, images.
        scene: its room.
        category_of_vertex: contact part of each vertex, 0 for none.
        files: the body models.
        rows: frames to take.
        settings: what goes into a sample.
        account: is told what became of every frame of `rows`.

    Raises:
        DataInvalid: two frames have one name.
    """
    _require_different_names(recording)
    touching = can_touch(category_of_vertex, CATEGORY_NAMES, settings.contact.left_out)
    category = np.where(touching, category_of_vertex, 0)
    usable = [row for row in rows if recording.status[row] == FRAME_OK]
    account.skipped.update(recording.status[row] for row in rows if recording.status[row] != FRAME_OK)
    for start in range(0, len(usable), _FRAMES_AT_ONCE):
        chunk = usable[start : start + _FRAMES_AT_ONCE]
        for row, vertices_camera in zip(chunk, _pose(recording, files, chunk), strict=True):
            try:
                sample = _sample(recording, scene, category, row, vertices_camera, settings)
            except _Unusable as found:
                account.skipped[found.reason] += 1
                continue
            if sample.reject_reason:
                account.rejected[sample.reject_reason] += 1
            else:
                account.kept += 1
            yield sample


def _sample(
    recording: SourceRecording,
    scene: SourceScene,
    category: Int[np.ndarray, "6890"],
    row: int,
    vertices_camera: Float[np.ndarray, "6890 3"],
    settings: SampleSettings,
) -> ShardSample:
    box = _box(recording, vertices_camera)
    vertices_world = transform_points(recording.T_world_from_camera, vertices_camera)
    inside = (vertices_world >= scene.low_world) & (vertices_world <= scene.high_world)
    if inside.all(axis=1).mean() < settings.min_share_in_scene:
        raise _Unusable("outside_scene")
    _require_view(scene.stored.points_world, recording, box)
    points = scene.stored.points_world
    radius_m, able = settings.contact.radius_m, category > 0
    of_points = label_points(points, vertices_world[able], category[able], radius_m)
    contact_rows = np.flatnonzero(of_points)
    of_vertices = label_vertices(vertices_world, category, points, radius_m)
    bodies, frame = recording.bodies, recording.frame_names[row]
    reason = recording.reject_reason[row]
    return ShardSample(
        sample_id=f"{recording.recording}/{frame}",
        recording=recording.recording,
        frame=frame,
        scene=recording.scene,
        subject=recording.subject,
        gender=recording.gender,
        crop_jpeg=_crop(recording, row, box, settings),
        box_px=np.array(box, np.float32),
        K=recording.K,
        T_world_from_camera=recording.T_world_from_camera,
        betas=bodies.betas[row],
        global_orient=bodies.global_orient[row],
        body_pose=bodies.body_pose[row],
        transl=bodies.transl[row],
        vertex_category=of_vertices.astype(np.uint8),
        contact_rows=contact_rows.astype(np.int32),
        contact_category=of_points[contact_rows].astype(np.uint8),
        expected_error_mm=recording.expected_error_mm[row],
        weight=np.float32(0) if reason else recording.weight[row],
        reject_reason=reason,
        provenance=recording.provenance,
        has_own_contact=np.uint8(row in recording.own_contact),
        own_contact=recording.own_contact.get(row, NO_VERTICES),
    )


def _box(recording: SourceRecording, vertices_camera: Float[np.ndarray, "6890 3"]) -> Box:
    """The square box, rounded as it is stored."""
    person = body_box(vertices_camera, recording.K)
    if person is None:
        raise _Unusable("behind_camera")
    left, up, right, bottom = np.array(square_box(person), np.float32).astype(float).tolist()
    middle, size = ((left + right) / 2, (up + bottom) / 2), recording.image_size_px
    if not all(0 <= place < length for place, length in zip(middle, size, strict=True)):
        raise _Unusable("outside_image")
    return left, up, right, bottom


def _require_view(
    points_world: Float32[np.ndarray, "points 3"], recording: SourceRecording, box_px: Box
) -> None:
    """The crop must show some of the scene."""
    T_camera_from_world = invert(recording.T_world_from_camera)
    for points in (points_world[::_FIRST_LOOK], points_world):
        points_camera = transform_points(T_camera_from_world, points.astype(np.float64))
        if in_view(points_camera, box_px, recording.K).any():
            return
    raise _Unusable("empty_frustum")


def _crop(
    recording: SourceRecording, row: int, box_px: Box, settings: SampleSettings
) -> UInt8[np.ndarray, " bytes"]:
    try:
        image = recording.image(row)
    except DataMissing:
        raise _Unusable("image_missing") from None
    except DataInvalid:
        raise _Unusable("image_invalid") from None
    return encode_crop(
        crop_image(image, box_px, margin_px=settings.crop_margin_px), settings.jpeg_quality
    )


@torch.no_grad()
def _pose(
    recording: SourceRecording, files: BodyFiles, rows: list[int]
) -> Float[np.ndarray, "rows 6890 3"]:
    body = load_smplh(files, recording.gender, NUM_BETAS)
    tensors = parameter_tensors(recording.bodies)
    mesh = body(**{name: tensor[rows] for name, tensor in tensors.items()})
    return mesh.vertices.double().numpy()


def _require_different_names(recording: SourceRecording) -> None:
    counts = Counter(recording.frame_names)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise DataInvalid(
            f"{len(twice)} frame name(s) of a recording are given twice",
            where=recording.recording,
            found=", ".join(twice[:3]),
            fix="fit the recording again; frames are told apart by name",
        )
