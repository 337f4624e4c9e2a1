"""From the files of one recording to `SequenceObservations`: every frame kept, every defect counted."""

from __future__ import annotations

import logging
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float, Float32

from pipelines.datasets.frames import FrameTable
from pipelines.datasets.images import (
    looks_complete,
    read_color_mask,
    read_depth,
    read_depth_mask,
)
from pipelines.datasets.keypoints_frame import read_as
from pipelines.datasets.kinect import DepthRegistration, resample_points
from pipelines.datasets.layout import ProxLayout
from pipelines.datasets.openpose import NUM_KEYPOINTS, confident_body, read_people, without_broken
from pipelines.datasets.people import choose_person, own_mask
from pipelines.datasets.settings import KeypointsFrame, ProxSettings
from pipelines.errors import DataInvalid, DataMissing
from pipelines.records import FRAME_OK, FrameStatus

logger = logging.getLogger(__name__)

T = TypeVar("T")
_STATUS: dict[str, tuple[FrameStatus, FrameStatus]] = {
    "depth": ("depth_missing", "depth_invalid"),
    "mask": ("mask_missing", "mask_invalid"),
    "keypoints": ("keypoints_missing", "keypoints_invalid"),
}


@dataclass(frozen=True, slots=True, eq=False)
class FrameObservation:
    """What one frame says of the person."""

    points_camera: Float32[np.ndarray, "points 3"]
    num_points: int
    keypoints: Float[np.ndarray, "118 3"]
    status: FrameStatus
    person_seen: bool


class FrameReader:
    """Reads the frames of one recording in order; remembers the person of the frame before.

    A frame can be fitted (status "") with enough depth points of the person or enough confident
    keypoints. Otherwise its status is the first that applies of
      - `no_person`: the mask is whole and shows (almost) no person;
      - the defect of the mask or depth file (`mask_missing`, `mask_invalid`, `depth_missing`,
        `depth_invalid`);
      - `no_depth`: person in the mask, but no depth on it.
    The person counts as seen when the frame can be fitted, or when only a broken depth file keeps it
    from being so. All defects are counted in `skipped`, also in frames that can be fitted without them.
    """

    def __init__(
        self,
        layout: ProxLayout,
        recording: str,
        registration: DepthRegistration,
        keypoints_frame: KeypointsFrame,
        settings: ProxSettings,
    ) -> None:
        self.skipped: Counter[str] = Counter()
        self._layout = layout
        self._recording = recording
        self._registration = registration
        self._keypoints_frame = keypoints_frame
        self._settings = settings
        self._previous: Float[np.ndarray, "118 3"] | None = None

    def read(self, frame_name: str) -> FrameObservation:
        """One frame."""
        settings = self._settings
        person, mask_reason = self._mask(frame_name)
        keypoints, person = self._keypoints(frame_name, person)
        _, rows = confident_body(keypoints, settings.keypoint_min_confidence)
        has_keypoints = len(rows) >= settings.person_min_keypoints
        points, depth_reason = self._points(frame_name, person)
        has_points = len(points) >= settings.person_min_points
        in_mask = person is not None and int(person.sum()) >= settings.person_min_points
        reason: FrameStatus = mask_reason if person is None else FRAME_OK
        if person is not None and not in_mask:
            reason = "no_person"
        reason = reason or depth_reason or ("no_depth" if not has_points else FRAME_OK)
        usable = has_points or has_keypoints
        self.skipped["mask_without_person"] += person is not None and not in_mask
        self.skipped["no_depth"] += in_mask and not depth_reason and not has_points
        self.skipped["no_person"] += not usable and reason == "no_person"
        return FrameObservation(
            points_camera=self._resample(points if has_points else points[:0], frame_name),
            num_points=len(points) if has_points else 0,
            keypoints=keypoints,
            status=FRAME_OK if usable else reason,
            person_seen=usable or (in_mask and bool(depth_reason)),
        )

    def _mask(self, name: str) -> tuple[Bool[np.ndarray, "rows columns"] | None, FrameStatus]:
        settings, layout = self._settings, self._layout
        if settings.person_mask == "depth":
            path = layout.file(self._recording, "mask_depth", name)
            return self._try("mask", name, lambda: read_depth_mask(path, settings.depth_size_px))
        path = layout.file(self._recording, "mask_color", name)
        return self._try("mask", name, lambda: read_color_mask(path, settings.color_size_px))

    def _points(
        self, name: str, person: Bool[np.ndarray, "rows columns"] | None
    ) -> tuple[Float[np.ndarray, "points 3"], FrameStatus]:
        path = self._layout.file(self._recording, "depth", name)
        raw, reason = self._try("depth", name, lambda: read_depth(path, self._settings.depth_size_px))
        if raw is None or person is None:
            return np.zeros((0, 3)), reason
        return self._registration.person_points(raw, person), reason

    def _keypoints(
        self, name: str, person: Bool[np.ndarray, "rows columns"] | None
    ) -> tuple[Float[np.ndarray, "118 3"], Bool[np.ndarray, "rows columns"] | None]:
        """Keypoints of the person in the true image, and the mask without other people."""
        settings = self._settings
        path = self._layout.file(self._recording, "keypoints", name)
        people, reason = self._try("keypoints", name, lambda: read_people(path))
        if people is None or len(people) == 0:
            self.skipped["no_keypoints"] += reason == FRAME_OK
            return np.zeros((NUM_KEYPOINTS, 3)), person
        people, broken = without_broken(people)
        self.skipped["keypoints_not_finite"] += broken
        people = read_as(people, self._keypoints_frame, settings.color_size_px[0])
        threshold = settings.keypoint_min_confidence
        in_color = person if settings.person_mask == "color" else None
        chosen = choose_person(people, in_color, self._previous, threshold)
        confident = [len(confident_body(one, threshold)[1]) for one in people]
        others = [
            one
            for row, one in enumerate(people)
            if row != chosen and confident[row] >= settings.person_min_keypoints
        ]
        if confident[chosen] >= settings.person_min_keypoints:
            self._previous = people[chosen]
        else:
            self.skipped["no_keypoints"] += 1
        if others:
            self.skipped["several_people"] += 1
        if others and in_color is not None:
            person = own_mask(in_color, people[chosen], others, threshold)
        return people[chosen], person

    def _resample(
        self, points: Float[np.ndarray, "points 3"], name: str
    ) -> Float32[np.ndarray, "count 3"]:
        # A generator of its own per frame: reading other frames too changes nothing.
        frame_seed = zlib.crc32(f"{self._recording}/{name}".encode())
        generator = np.random.default_rng([self._settings.points_seed, frame_seed])
        return resample_points(points, self._settings.num_points, generator).astype(np.float32)

    def _try(self, kind: str, frame_name: str, read: Callable[[], T]) -> tuple[T | None, FrameStatus]:
        missing, invalid = _STATUS[kind]
        try:
            return read(), FRAME_OK
        except DataMissing:
            status = missing
        except DataInvalid as error:
            logger.warning("%s %s: %s: %s", self._recording, frame_name, kind, error.what)
            status = invalid
        self.skipped[status] += 1
        return None, status


def count_color_defects(
    layout: ProxLayout, recording: str, table: FrameTable, rows: slice
) -> dict[str, int]:
    """Colour images that are absent or cut short. No fit reads them, so no frame is lost by them."""
    present = table.present["color"][rows]
    truncated = sum(
        not looks_complete(layout.file(recording, "color", name))
        for name, there in zip(table.names[rows], present, strict=True)
        if there
    )
    counts = {"image_missing": int((~present).sum()), "image_invalid": truncated}
    return {reason: count for reason, count in counts.items() if count}
