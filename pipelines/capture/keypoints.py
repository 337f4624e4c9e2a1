"""Anyone's OpenPose files: which image they belong to, which side is left; found out, said, mended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from pipelines.bodies.joints import PROX118_FLIP
from pipelines.capture.rig import CaptureRig
from pipelines.datasets.keypoints_frame import (
    KeypointsFrameFinding,
    KeypointsSample,
    find_keypoints_frame,
    read_as,
)
from pipelines.datasets.openpose import read_people, without_broken
from pipelines.errors import DataInvalid
from pipelines.synthetic.keypoints import openpose_json, openpose_person

_MIN_CONFIDENCE = 0.2
_EDGE = 1.05


@dataclass(frozen=True, slots=True)
class KeypointsReading:
    """How the files are to be read."""

    mirrored: bool = False
    """OpenPose saw the mirrored images: x reversed, left and right exchanged."""
    exchanged: bool = False
    """Left and right carry each other's names."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Pixels of the colour image per stored unit."""
    decided: bool = True
    """False: nothing tells the readings apart; taken as they are."""
    said: tuple[str, ...] = ()
    """What was found."""

    def true_px(
        self, people: Float[np.ndarray, "people 118 3"], width_px: int
    ) -> Float[np.ndarray, "people 118 3"]:
        """Stored keypoints -> the true image, still distorted."""
        people = people * np.array([*self.scale, 1.0])
        if self.exchanged:
            people = people[:, PROX118_FLIP, :]
        return read_as(people, "raw" if self.mirrored else "flipped", width_px)


def read_keypoints(path: Path) -> Float[np.ndarray, "people 118 3"]:
    """One OpenPose file; broken points are not found."""
    people, _ = without_broken(read_people(path))
    return people


def understand_keypoints(
    people: Sequence[Float[np.ndarray, "people 118 3"]],
    persons: Sequence[Bool[np.ndarray, "height width"]],
    size_px: tuple[int, int],
    recording: str,
) -> KeypointsReading:
    """Compare all readings with the person masks and with faces that look at the camera.

    Args:
        people: as stored, one entry per sampled frame.
        persons: masks of the same frames, true image.
        size_px: of the colour image.
        recording: named in errors.

    Raises:
        DataInvalid: keypoints lie outside the image, or left and right make no sense either way.
    """
    said: list[str] = []
    scale = _scale(people, size_px, said)
    scaled = [frame * np.array([*scale, 1.0]) for frame in people]
    finding, exchanged = _find(scaled, persons, size_px[0], recording), False
    if isinstance(finding, DataInvalid):
        renamed = [frame[:, PROX118_FLIP, :] for frame in scaled]
        other = _find(renamed, persons, size_px[0], recording)
        if isinstance(other, DataInvalid):
            raise other
        said.append("left and right of the keypoints carry each other's names; renamed")
        finding, exchanged = other, True
    if finding is None:
        said.append("nothing tells whether the keypoints are mirrored; taken as they are")
        return KeypointsReading(False, exchanged, scale, False, tuple(said))
    mirrored = finding.frame == "raw"
    votes = max(finding.votes_raw, finding.votes_flipped)
    text = "of the mirrored images; turned round" if mirrored else "of the images as a person sees them"
    said.insert(0, f"keypoints are {text} ({votes} frames say so)")
    return KeypointsReading(mirrored, exchanged, scale, True, tuple(said))


def openpose_bytes(people: Float[np.ndarray, "people 118 3"]) -> bytes:
    """An OpenPose file of PROX's 118 rows; the rows PROX does not use are not found."""
    return openpose_json([openpose_person(one[:, :2], one[:, 2]) for one in people])


def undistorted(
    people: Float[np.ndarray, "people 118 3"], rig: CaptureRig
) -> Float[np.ndarray, "people 118 3"]:
    """Keypoints of the captured image -> the image without distortion; confidence 0 stays at 0, 0."""
    moved = people.copy()
    found = people[..., 2] > 0
    moved[found, :2] = rig.undistort_px(people[found][:, :2])
    return moved


def _find(
    people: Sequence[Float[np.ndarray, "people 118 3"]],
    persons: Sequence[Bool[np.ndarray, "height width"]],
    width_px: int,
    recording: str,
) -> KeypointsFrameFinding | DataInvalid | None:
    samples = [KeypointsSample(one, mask, None) for one, mask in zip(people, persons, strict=True)]
    try:
        return find_keypoints_frame(samples, width_px, _MIN_CONFIDENCE, "auto", recording)
    except DataInvalid as error:
        return error


def _scale(
    people: Sequence[Float[np.ndarray, "people 118 3"]], size_px: tuple[int, int], said: list[str]
) -> tuple[float, float]:
    rows = [frame[frame[..., 2] > _MIN_CONFIDENCE][:, :2] for frame in people if len(frame)]
    points = np.concatenate(rows) if rows else np.zeros((0, 2))
    if len(points) == 0:
        return 1.0, 1.0
    if np.abs(points).max() <= _EDGE:
        said.append("keypoints are shares of the image (keypoint_scale 3); multiplied by its size")
        return float(size_px[0]), float(size_px[1])
    outside = (points > np.array(size_px) * _EDGE).any(axis=1)
    if outside.mean() > 0.05:
        raise DataInvalid(
            "keypoints lie outside the colour image",
            expected="pixels of {} x {}".format(*size_px),
            found="up to ({:.0f}, {:.0f})".format(*points.max(axis=0)),
            fix="run OpenPose on the images of the capture, or give the images it ran on",
        )
    return 1.0, 1.0
