"""Whose masks they are, and what stands before the room."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from pipelines.capture.people import empty_room, stands_before
from pipelines.capture.produce import init_capture
from pipelines.datasets.images import NOBODY
from pipelines.datasets.layout import ProxLayout


def test_a_person_stands_before_the_room_and_a_speck_does_not() -> None:
    room = np.full((100, 100), 3.0)
    depth = room.copy()
    depth[20:60, 40:60] = 2.0
    depth[80, 80] = 1.0
    depth[:, 45] = 0
    found = stands_before(depth, empty_room(room, room))
    assert found[30, 50]
    assert not found[80, 80]
    assert not found[:, 45].any()
    assert found.sum() == 40 * 19


def test_what_was_moved_is_not_in_the_way() -> None:
    scan = np.full((100, 100), 2.0)  # a cupboard when it was scanned
    background = np.full((100, 100), 3.0)  # gone since
    depth = background.copy()
    depth[20:60, 40:60] = 2.3
    assert stands_before(depth, empty_room(scan, background)).sum() == 40 * 20


@pytest.mark.parametrize("person", [255, 0])
def test_masks_of_either_colour_are_understood(
    small_capture: Any, spoiled: Callable[..., Any], person: int
) -> None:
    capture = spoiled()
    (capture.root / "masks").mkdir()
    T = small_capture.T_world_from_camera
    for frame in range(8):
        center = np.linalg.inv(T) @ [-0.9 + 0.25 * frame, 0.2, 0.85, 1]
        u, v = 120 * center[:2] / center[2] + [79.5, 59.5]
        mask = np.full((120, 160), 255 - person, np.uint8)
        cv2.rectangle(mask, (int(u) - 10, int(v) - 40), (int(u) + 10, int(v) + 40), person, -1)
        cv2.imwrite(str(capture.root / "masks" / f"{frame:03d}.png"), mask)
    settings = capture.settings("masks=masks", "moved=ignore")
    report = init_capture(settings)
    assert report.ok, report.to_text()
    assert f"person is {'white' if person else 'black'}" in report.numbers["masks"]
    layout = ProxLayout(settings.out / "qualitative")
    folder = layout.folder("Room_00001_01", "mask_color")
    stored = cv2.imread(str(sorted(folder.iterdir())[3]), cv2.IMREAD_GRAYSCALE)
    assert stored is not None
    assert 0.02 < (stored == 0).mean() < 0.2  # PROX's person is black


def test_other_people_are_cut_out(small_capture: Any, spoiled: Callable[..., Any]) -> None:
    """A second skeleton to the left of the person takes the left part; with nobody's own, all goes."""

    def seen(settings: Any) -> list[int]:
        init_capture(settings)
        folder = ProxLayout(settings.out / "qualitative").folder("Room_00001_01", "mask_depth")
        images = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(folder.iterdir())]
        return [int((image != NOBODY).sum()) for image in images if image is not None]

    capture = spoiled()
    (capture.root / "others").mkdir()
    for path in (capture.root / "keypoints").iterdir():
        content = json.loads(path.read_text())
        values = np.array(content["people"][0]["pose_keypoints_2d"]).reshape(25, 3)
        values[values[:, 2] > 0, 0] -= 12
        content["people"][0]["pose_keypoints_2d"] = values.ravel().tolist()
        (capture.root / "others" / path.name).write_text(json.dumps(content))
    common = ("moved=ignore", "sdf_size=16")
    alone = seen(capture.settings(*common))
    beside = seen(capture.settings(*common, "others=others"))
    assert all(0.3 < cut / whole < 0.95 for cut, whole in zip(beside, alone, strict=True))
    assert seen(capture.settings(*common, "others=others", "keypoints=null")) == [0] * 8
