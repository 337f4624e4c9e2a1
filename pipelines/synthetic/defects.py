"""Break a recording on purpose: every defect known from real PROX trees, each in a frame of its own.

The recording is written whole first; then single files are cut, removed or replaced. Two defects are
filmed: a frame without a person and one with two.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Float, Int

from pipelines.artifacts import write_bytes
from pipelines.datasets.proxd import frame_of, write_proxd
from pipelines.errors import SettingsInvalid
from pipelines.records import SmplxParameters
from pipelines.synthetic.keypoints import IMAGE_WIDTH_PX, openpose_json

FIRST_CLIP_FRAMES: Final = 26
"""The rest of the recording is a second clip, s004, that starts again at frame 1."""
GAP_AFTER_FRAME: Final = 18
"""Frame number in the first clip after which the clock jumps."""
GAP_FRAMES: Final = 15
MIN_FRAMES: Final = 40
SECOND_PERSON_M: Final = 0.8
"""The second person stands this far to the first one's right in the image."""

# fmt: off
DEFECTS: Final[dict[str, int]] = {
    "no_person": 3, "two_people": 5,
    "color_truncated": 7, "color_missing": 8,
    "depth_truncated": 9, "depth_8bit": 10, "depth_missing": 11, "depth_wrong_size": 12,
    "mask_missing": 13, "mask_truncated": 14, "mask_without_person": 15,
    "keypoints_missing": 16, "keypoints_truncated": 19, "keypoints_empty_file": 20,
    "keypoints_no_people": 21, "keypoints_wrong_count": 22, "keypoints_nan": 23,
    "skeleton_without_bodies": 24,
    "fit_missing": 27, "fit_nan": 28, "fit_far_away": 29, "fit_truncated": 30, "fit_with_code": 31,
    "depth_all_zero": 33,
}
# fmt: on
"""Defect -> row of the recording; a timestamp gap, a second clip and a stray file come on top."""


def motion_rows(num_frames: int) -> Int[np.ndarray, " frames"]:
    """Which frames of a longer motion the recording shows: it goes on while the camera does not.

    Raises:
        SettingsInvalid: too short to hold every defect.
    """
    if num_frames < MIN_FRAMES:
        raise SettingsInvalid(
            "a recording of defects is too short",
            expected=f"num_frames of at least {MIN_FRAMES}",
            found=num_frames,
        )
    rows = np.arange(num_frames)
    rows[GAP_AFTER_FRAME:] += GAP_FRAMES
    rows[FIRST_CLIP_FRAMES:] += GAP_FRAMES
    return rows


def plant_defects(
    base: Path,
    recording: str,
    frame_names: Sequence[str],
    parameters: SmplxParameters,
    second_person_shift_px: float,
    rng: np.random.Generator,
) -> dict[str, str]:
    """Write fits, then break files; returns frame name -> defect.

    Args:
        base: the `qualitative` folder.
        recording: whose files are all there and sound.
        frame_names: of the recording.
        parameters: true bodies, camera frame; the fits are these with noise.
        second_person_shift_px: where the second person's keypoints are, relative to the first's, in the
            image of the keypoint files.
        rng: draws the fits' noise.
    """
    names = {defect: frame_names[row] for defect, row in DEFECTS.items()}
    folder = base / "recordings" / recording
    _write_fits(base, recording, frame_names, parameters, rng)
    _break_images(folder, names)
    _break_keypoints(base / "keypoints" / recording, names, second_person_shift_px)
    _break_fits(base / "PROXD" / recording / "results", names, parameters)
    for defect in ("no_person", "skeleton_without_bodies"):
        write_bytes(folder / "Skeleton" / f"{names[defect]}.json", b'{"Bodies":[]}')
    write_bytes(folder / "Color" / "Thumbs.db", b"not an image")
    return {name: defect for defect, name in names.items()}


def _write_fits(
    base: Path,
    recording: str,
    frame_names: Sequence[str],
    parameters: SmplxParameters,
    rng: np.random.Generator,
) -> None:
    for row, name in enumerate(frame_names):
        values = frame_of(parameters, row)
        noise = {"transl": 0.02, "global_orient": 0.03, "body_pose": 0.05, "betas": 0.0}
        noisy = {
            key: value + noise.get(key, 0.0) * rng.standard_normal(value.shape)
            for key, value in values.items()
        }
        write_proxd(base / "PROXD", recording, name, noisy)


def _break_images(folder: Path, names: dict[str, str]) -> None:
    depth, mask = folder / "Depth", folder / "BodyIndexColor"
    _cut(folder / "Color" / f"{names['color_truncated']}.jpg")
    (folder / "Color" / f"{names['color_missing']}.jpg").unlink()
    _cut(depth / f"{names['depth_truncated']}.png")
    (depth / f"{names['depth_missing']}.png").unlink()
    path = depth / f"{names['depth_8bit']}.png"
    image = cv2.imread(str(path), cv2.IMREAD_ANYDEPTH)
    assert image is not None, "the recording was written whole"
    _write_png(path, (image // 256).astype(np.uint8))
    _write_png(depth / f"{names['depth_wrong_size']}.png", np.zeros((480, 640), np.uint16))
    _write_png(depth / f"{names['depth_all_zero']}.png", np.zeros_like(image))
    (mask / f"{names['mask_missing']}.png").unlink()
    _cut(mask / f"{names['mask_truncated']}.png")
    _write_png(mask / f"{names['mask_without_person']}.png", np.full((1080, 1920), 255, np.uint8))


def _break_keypoints(folder: Path, names: dict[str, str], shift_px: float) -> None:
    def path(defect: str) -> Path:
        return folder / f"{names[defect]}_keypoints.json"

    path("keypoints_missing").unlink()
    _cut(path("keypoints_truncated"))
    write_bytes(path("keypoints_empty_file"), b"")
    for defect in ("no_person", "keypoints_no_people"):
        write_bytes(path(defect), openpose_json([]))
    two = json.loads(path("two_people").read_bytes())["people"]
    # The stranger comes first, so that taking the first person is wrong.
    write_bytes(path("two_people"), openpose_json([_shifted(two[0], shift_px), two[0]]))
    short = json.loads(path("keypoints_wrong_count").read_bytes())["people"]
    short[0]["pose_keypoints_2d"] = short[0]["pose_keypoints_2d"][:54]
    write_bytes(path("keypoints_wrong_count"), openpose_json(short))
    broken = json.loads(path("keypoints_nan").read_bytes())["people"]
    broken[0]["pose_keypoints_2d"][3] = float("nan")
    write_bytes(path("keypoints_nan"), openpose_json(broken))


def _break_fits(results: Path, names: dict[str, str], parameters: SmplxParameters) -> None:
    def path(defect: str) -> Path:
        return results / names[defect] / "000.pkl"

    path("fit_missing").unlink()
    path("fit_missing").parent.rmdir()
    root = results.parent.parent
    for defect, value in (("fit_nan", np.nan), ("fit_far_away", 300.0)):
        values: dict[str, Float[np.ndarray, "..."]] = dict(frame_of(parameters, DEFECTS[defect]))
        values["transl"] = np.full(3, value)
        write_proxd(root, results.parent.name, names[defect], values)
    _cut(path("fit_truncated"))
    write_bytes(path("fit_with_code"), pickle.dumps(_Caller(), protocol=2))


class _Caller:
    """Unpickled carelessly, this calls a (harmless) function of the interpreter."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("a pickle ran code",)


def _shifted(person: dict[str, Any], shift_px: float) -> dict[str, Any]:
    moved = dict(person)
    for key in ("pose", "face", "hand_left", "hand_right"):
        rows = np.array(person[f"{key}_keypoints_2d"]).reshape(-1, 3)
        rows[:, 0] = np.where(rows[:, 2] > 0, rows[:, 0] + shift_px, 0)
        rows[(rows[:, 0] < 0) | (rows[:, 0] > IMAGE_WIDTH_PX - 1)] = 0
        moved[f"{key}_keypoints_2d"] = rows.ravel().tolist()
    return moved


def _write_png(path: Path, image: np.ndarray) -> None:
    _, buffer = cv2.imencode(".png", image)
    write_bytes(path, buffer.tobytes())


def _cut(path: Path) -> None:
    """Keep the first 40 % of a file, as an interrupted download leaves it."""
    content = path.read_bytes()
    write_bytes(path, content[: max(len(content) * 2 // 5, 1)])
