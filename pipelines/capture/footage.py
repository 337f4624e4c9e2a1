"""Write every frame of a capture: who is the person, which keypoints are theirs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32
from tqdm import tqdm

from pipelines.artifacts import write_bytes
from pipelines.capture import pictures
from pipelines.capture.frames import CapturedFrame
from pipelines.capture.keypoints import (
    KeypointsReading,
    openpose_bytes,
    read_keypoints,
    understand_keypoints,
    undistorted,
)
from pipelines.capture.people import (
    Emptiness,
    empty_room,
    in_color,
    in_depth,
    person_is_white,
    read_mask,
    stands_before,
)
from pipelines.capture.report import Notebook
from pipelines.capture.rig import CaptureRig
from pipelines.capture.settings import CaptureSettings
from pipelines.capture.stage import CaptureStage
from pipelines.capture.tree import clear_recording, png_bytes, write_frame
from pipelines.datasets.layout import ProxLayout
from pipelines.datasets.openpose import NUM_KEYPOINTS, confident_body, on_mask
from pipelines.datasets.people import own_mask

_SAMPLED_FOR_KEYPOINTS = 24
_MIN_CONFIDENCE = 0.2
_ON_PERSON = 2
_SEEN_SHARE = 0.2
_COVERED_SHARE = 0.6


def write_frames(
    notebook: Notebook,
    layout: ProxLayout,
    settings: CaptureSettings,
    stage: CaptureStage,
    frames: Sequence[CapturedFrame],
    progress: bool,
) -> list[tuple[Float32[np.ndarray, "rows columns"], Bool[np.ndarray, "rows columns"]]]:
    """Write every frame; returns depth and person of the frames sampled for moved parts."""
    rig, recording = stage.rig, settings.recording
    empty = empty_room(stage.depth_view.depth_m, stage.background.depth_m)
    white = _mask_polarity(notebook, settings, rig, frames, empty)
    reading = _keypoints_reading(notebook, settings, rig, frames, empty, white)
    clear_recording(layout, recording)
    picked = set(
        np.linspace(0, len(frames) - 1, settings.moved_parts.sampled_frames).astype(int).tolist()
    )
    sampled, seen_people = [], 0
    for row, frame in enumerate(tqdm(frames, desc="writing", unit="frame", disable=not progress)):
        depth, image = rig.depth_m(frame), rig.color_image(frame)
        people, others = (_true_people(path, reading, rig) for path in (frame.keypoints, frame.others))
        on_color, on_depth = _person(rig, frame, depth, empty, white, people, others)
        write_frame(
            layout, recording, frame.name, image, depth, (on_color, on_depth), settings.jpeg_quality
        )
        if people is not None:
            path = layout.file(recording, "keypoints", frame.name)
            write_bytes(path, openpose_bytes(people))
        shown = on_color is not None and bool(on_color.any())
        seen_people += shown
        if row in picked and depth is not None:
            nobody = np.zeros(depth.shape, dtype=bool)
            sampled.append((depth, nobody if on_depth is None else on_depth))
        if row == len(frames) // 2:
            _draw_person(notebook, image, on_color, people)
    notebook.numbers["frames with a person"] = f"{seen_people} of {len(frames)}"
    if seen_people < _SEEN_SHARE * len(frames):
        notebook.say("warning", f"a person is seen in {seen_people} of {len(frames)} frames only")
    return sampled


def _mask_polarity(
    notebook: Notebook,
    settings: CaptureSettings,
    rig: CaptureRig,
    frames: Sequence[CapturedFrame],
    empty: Emptiness,
) -> bool:
    if settings.masks is None:
        notebook.say("note", "no masks: the person is what stands before the scan in depth")
        return True
    white, covered = person_is_white(rig, frames, empty)
    color = "white" if white else "black"
    notebook.numbers["masks"] = (
        f"the person is {color}; {covered:.0%} of what stands before the room is covered"
    )
    if covered < _COVERED_SHARE:
        notebook.say(
            "warning", "masks and depth show different people", "check mirrored= and the masks' names"
        )
    return white


def _keypoints_reading(
    notebook: Notebook,
    settings: CaptureSettings,
    rig: CaptureRig,
    frames: Sequence[CapturedFrame],
    empty: Emptiness,
    white: bool,
) -> KeypointsReading:
    usable = [frame for frame in frames if frame.keypoints is not None and frame.depth is not None]
    if not usable:
        return KeypointsReading()
    picked = np.unique(np.linspace(0, len(usable) - 1, _SAMPLED_FOR_KEYPOINTS).astype(int))
    people, masks = [], []
    for row in picked:
        frame = usable[row]
        depth = rig.depth_m(frame)
        person = read_mask(rig, frame, white)
        if person is None and depth is not None:
            person = in_color(stands_before(depth, empty), depth, rig)
        if person is not None and frame.keypoints is not None:
            people.append(read_keypoints(frame.keypoints))
            masks.append(person)
    size = (rig.color.width_px, rig.color.height_px)
    reading = understand_keypoints(people, masks, size, settings.recording)
    changed = reading.mirrored or reading.exchanged or not reading.decided or reading.scale != (1.0, 1.0)
    for text in reading.said:
        notebook.say("warning" if changed else "note", text)
    return reading


def _true_people(
    path: Path | None, reading: KeypointsReading, rig: CaptureRig
) -> Float[np.ndarray, "people 118 3"] | None:
    if path is None:
        return None
    return undistorted(reading.true_px(read_keypoints(path), rig.color.width_px), rig)


def _person(
    rig: CaptureRig,
    frame: CapturedFrame,
    depth: Float32[np.ndarray, "rows columns"] | None,
    empty: Emptiness,
    white: bool,
    people: Float[np.ndarray, "people 118 3"] | None,
    others: Float[np.ndarray, "others 118 3"] | None,
) -> tuple[Bool[np.ndarray, "height width"] | None, Bool[np.ndarray, "rows columns"] | None]:
    """The person in both images."""
    mask = read_mask(rig, frame, white)
    if mask is not None:
        mask = _without_others(mask, people, others)
        return mask, in_depth(mask, depth, rig) if depth is not None else None
    if depth is None:
        return None, None
    before = stands_before(depth, empty)
    on_color = _with_keypoints(in_color(before, depth, rig), people)
    on_color = _without_others(on_color, people, others)
    return on_color, before & in_depth(on_color, depth, rig)


def _with_keypoints(
    person: Bool[np.ndarray, "height width"], people: Float[np.ndarray, "people 118 3"] | None
) -> Bool[np.ndarray, "height width"]:
    """Only the parts on which keypoints lie: a chair that was put there is no person."""
    if people is None:
        return person
    pixels = [confident_body(one, _MIN_CONFIDENCE)[0] for one in people]
    points = np.concatenate(pixels) if pixels else np.zeros((0, 2))
    if len(points) < _ON_PERSON:
        return person
    count, labels = cv2.connectedComponents(person.astype(np.uint8), connectivity=8)
    inside = on_mask(points, person)
    column, row = np.rint(points[inside]).astype(np.int64).T
    hits = np.bincount(np.asarray(labels)[row, column], minlength=count)
    hits[0] = 0
    return person if not hits.any() else np.asarray((hits > 0)[labels])


def _without_others(
    person: Bool[np.ndarray, "height width"],
    people: Float[np.ndarray, "people 118 3"] | None,
    others: Float[np.ndarray, "others 118 3"] | None,
) -> Bool[np.ndarray, "height width"]:
    """The part that is nearer to the person's skeleton; nothing where others alone are seen."""
    if others is None or len(others) == 0:
        return person
    unseen = np.zeros((NUM_KEYPOINTS, 3))
    mine = people[0] if people is not None and len(people) else unseen
    return own_mask(person, mine, list(others), _MIN_CONFIDENCE)


def _draw_person(
    notebook: Notebook,
    image: np.ndarray,
    person: Bool[np.ndarray, "height width"] | None,
    people: Float[np.ndarray, "people 118 3"] | None,
) -> None:
    found = [one[one[:, 2] > _MIN_CONFIDENCE][:, :2] for one in people] if people is not None else []
    points = np.concatenate(found) if found else np.zeros((0, 2))
    mask = np.zeros(image.shape[:2], dtype=bool) if person is None else person
    notebook.draw(
        "person",
        "The frame in the middle as the fits see it: person mask (red) and keypoints (yellow).",
        png_bytes(pictures.draw_masks(image, mask, points)),
    )
