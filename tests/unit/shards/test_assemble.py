"""Samples say what they show, and every frame is accounted for."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from pipelines.bodies.files import resolve_body_files
from pipelines.bodies.model import load_smplh
from pipelines.bodies.parts import CONTACT_PARTS, contact_labels_smplh
from pipelines.contact.labels import can_touch, label_points_by_distances
from pipelines.errors import DataInvalid, DataMissing
from pipelines.geometry.transforms import transform_points
from pipelines.records import SmplhParameters
from pipelines.shards.assemble import CATEGORY_NAMES, FrameAccount, samples_of
from pipelines.shards.schema import ShardScene
from pipelines.shards.settings import SampleSettings
from pipelines.shards.source import SourceRecording, SourceScene, stored_bodies

FRAMES = 4
K = np.array([[1000.0, 0.0, 960.0], [0.0, 1000.0, 540.0], [0.0, 0.0, 1.0]])
FILES = resolve_body_files(None)


def upright(depth_m: float) -> SmplhParameters:
    """T-poses before the camera, head up; each frame a little farther to the right."""
    zeros = np.zeros((FRAMES, 3))
    orient, transl = zeros.copy(), zeros.copy()
    orient[:, 0] = np.pi
    transl[:, 0], transl[:, 2] = 0.1 * np.arange(FRAMES), depth_m
    return stored_bodies(SmplhParameters(np.zeros((FRAMES, 10)), orient, np.zeros((FRAMES, 63)), transl))


def posed(bodies: SmplhParameters) -> np.ndarray:
    model = load_smplh(FILES, "male", 16)
    tensors = [torch.from_numpy(getattr(bodies, name)) for name in ("betas", "global_orient")]
    tensors += [torch.from_numpy(getattr(bodies, name)) for name in ("body_pose", "transl")]
    return model(*tensors).vertices.double().numpy()


def stand(bodies: SmplhParameters) -> np.ndarray:
    """T_world_from_camera that puts the soles on z = 0: x right, z up, y away from the camera."""
    soles = posed(bodies)[:, :, 1].max()
    return np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, soles], [0, 0, 0, 1]])


def floor(middle_m: float = 3.0) -> SourceScene:
    steps = 0.02 * np.arange(-100, 100) + 0.01
    x, y = np.meshgrid(steps, steps + middle_m, indexing="ij")
    points = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3).astype(np.float32)
    stored = ShardScene("Lab", points, np.float32(0.02), "", "")
    low, high = points.min(axis=0), points.max(axis=0)
    return SourceScene(stored, low - np.array([0, 0, 1.0]), high + np.array([0, 0, 3.0]))


def picture() -> np.ndarray:
    """Red grows to the right, green downwards."""
    image = np.zeros((1080, 1920, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, 1920)[None]
    image[..., 1] = np.linspace(0, 255, 1080)[:, None]
    return image


def made_of(bodies: SmplhParameters, **changes: object) -> SourceRecording:
    given = {
        "recording": "Lab_00034_01",
        "scene": "Lab",
        "subject": "00034",
        "gender": "male",
        "K": K,
        "image_size_px": (1920, 1080),
        "T_world_from_camera": stand(upright(3.0)),
        "frame_names": tuple(f"frame_{row}" for row in range(FRAMES)),
        "bodies": bodies,
        "status": ("",) * FRAMES,
        "expected_error_mm": np.full(FRAMES, 20, np.float32),
        "weight": np.full(FRAMES, 0.5, np.float32),
        "reject_reason": ("",) * FRAMES,
        "image": lambda row: picture(),
        "provenance": "{}",
    }
    return SourceRecording(**(given | changes))  # type: ignore[arg-type]


def run(recording, scene=None, rows=None, **settings):
    account = FrameAccount()
    rows = range(FRAMES) if rows is None else rows
    category = contact_labels_smplh(FILES)
    found = samples_of(
        recording, scene or floor(), category, FILES, rows, SampleSettings(**settings), account
    )
    samples = list(found)
    assert account.frames == len(rows)
    assert account.kept + account.rejected.total() == len(samples)
    return samples, account


def test_a_sample_holds_what_it_was_made_from():
    bodies = upright(3.0)
    samples, account = run(made_of(bodies))
    assert [sample.sample_id for sample in samples] == [f"Lab_00034_01/frame_{k}" for k in range(FRAMES)]
    assert account.as_json() == {"frames": 4, "kept": 4, "rejected": {}, "skipped": {}}
    for row, sample in enumerate(samples):
        np.testing.assert_array_equal(sample.transl, bodies.transl[row])
        assert (sample.weight, sample.expected_error_mm, sample.reject_reason) == (0.5, 20, "")


def test_the_box_is_the_projected_body_widened():
    sample = run(made_of(upright(3.0)))[0][1]
    vertices = posed(upright(3.0))[1]
    pixels = vertices[:, :2] / vertices[:, 2:] * 1000 + [960, 540]
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    side = 1.15 * (high - low).max()
    expected = np.concatenate([(low + high - side) / 2, (low + high + side) / 2])
    np.testing.assert_allclose(sample.box_px, expected, atol=1e-3)


def test_the_crop_shows_the_box_with_its_margin():
    sample = run(made_of(upright(3.0)), crop_margin_px=10)[0][2]
    crop = cv2.imdecode(sample.crop_jpeg, cv2.IMREAD_COLOR)[..., ::-1].astype(float)
    assert crop.shape == (244, 244, 3)
    left, up, right, bottom = sample.box_px
    for column, row in ((0, 20), (111, 111), (223, 200)):
        u, v = left + column / 223 * (right - left), up + row / 223 * (bottom - up)
        np.testing.assert_allclose(
            crop[10 + row, 10 + column, :2], [u / 1919 * 255, v / 1079 * 255], atol=3
        )


def test_feet_on_the_floor_touch_it_and_nothing_else_does():
    sample = run(made_of(upright(3.0)))[0][0]
    names = {CONTACT_PARTS[part - 1] for part in np.unique(sample.contact_category)}
    assert names == {"L_Leg", "R_Leg"}
    touched = {CONTACT_PARTS[part - 1] for part in np.unique(sample.vertex_category) if part}
    assert touched == {"L_Leg", "R_Leg"}


def test_labels_come_again_from_the_stored_body_and_cloud():
    """The brute-force labels, from nothing but the sample and its scene."""
    sample, scene = run(made_of(upright(3.0)))[0][3], floor()
    stored = SmplhParameters(
        *(np.stack([getattr(sample, name)] * FRAMES) for name in ("betas", "global_orient")),
        *(np.stack([getattr(sample, name)] * FRAMES) for name in ("body_pose", "transl")),
    )
    vertices = transform_points(sample.T_world_from_camera, posed(stored)[0])
    category = contact_labels_smplh(FILES)
    able = can_touch(category, CATEGORY_NAMES, ("L_Hand", "R_Hand"))
    near = np.flatnonzero(np.abs(scene.stored.points_world[:, 0] - vertices[:, 0].mean()) < 1)
    labels = label_points_by_distances(
        scene.stored.points_world[near], vertices[able], category[able], 0.07
    )
    np.testing.assert_array_equal(near[labels > 0], sample.contact_rows)
    np.testing.assert_array_equal(labels[labels > 0], sample.contact_category)


def test_rejected_samples_are_stored_without_weight():
    reasons = ("", "penetration", "", "penetration")
    samples, account = run(made_of(upright(3.0), reject_reason=reasons))
    assert [sample.weight for sample in samples] == [0.5, 0, 0.5, 0]
    assert [sample.reject_reason for sample in samples] == list(reasons)
    assert account.rejected == {"penetration": 2}


def broken_image(row: int) -> np.ndarray:
    if row == 1:
        raise DataMissing("image not found")
    if row == 2:
        raise DataInvalid("image cannot be decoded")
    return picture()


def aside() -> SmplhParameters:
    bodies = upright(3.0)
    bodies.transl[2, 0] = 4.0  # 1333 pixels right of the middle
    return bodies


def behind() -> SmplhParameters:
    bodies = upright(3.0)
    bodies.transl[0, 2] = -1.0
    return bodies


@pytest.mark.parametrize(
    ("recording", "skipped"),
    [
        (
            made_of(upright(3.0), status=("", "no_person", "fit_failed", "")),
            {"no_person": 1, "fit_failed": 1},
        ),
        (made_of(upright(3.0), image=broken_image), {"image_missing": 1, "image_invalid": 1}),
        (made_of(aside()), {"outside_image": 1}),
        (made_of(behind()), {"behind_camera": 1}),
        (made_of(upright(9.0)), {"outside_scene": 4}),
    ],
)
def test_frames_that_are_no_samples_are_counted_with_the_reason(recording, skipped):
    samples, account = run(recording)
    assert len(samples) == FRAMES - sum(skipped.values())
    assert account.skipped == skipped


def test_a_view_without_scene_points_is_skipped():
    """The floor lies behind the camera, the body inside the scene's grid."""
    scene = replace(floor(middle_m=-3.0), high_world=np.array([9.0, 9.0, 9.0]))
    assert run(made_of(upright(3.0)), scene)[1].skipped == {"empty_frustum": FRAMES}


def test_an_empty_scene_is_skipped():
    empty = replace(floor().stored, points_world=np.zeros((0, 3), np.float32))
    assert run(made_of(upright(3.0)), replace(floor(), stored=empty))[1].skipped == {"empty_frustum": 4}


def test_frames_of_one_name_are_refused():
    names = ("a", "b", "a", "d")
    with pytest.raises(DataInvalid, match=r"given twice[\s\S]*Lab_00034_01[\s\S]*found: a"):
        run(made_of(upright(3.0), frame_names=names))
