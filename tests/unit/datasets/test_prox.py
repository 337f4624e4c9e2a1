"""The whole reader on a tiny tree, and on every way in which such a tree is known to be broken."""

from __future__ import annotations

import json
import pickle
import shutil

import cv2
import numpy as np
import pytest

from pipelines.bodies.files import resolve_body_files
from pipelines.datasets.openpose import mirror_keypoints
from pipelines.datasets.prox import ProxDataset
from pipelines.datasets.settings import ProxSettings
from pipelines.errors import DataInvalid, DataMissing
from pipelines.records import SequenceObservations

RECORDING = "Boxroom_00159_01"
FRAMES = (
    "s001_frame_00001__00.00.00.029",
    "s001_frame_00002__00.00.00.050",
    "s001_frame_00003__00.00.00.083",
    "s001_frame_00005__00.00.00.216",
    "s004_frame_00001__00.00.00.031",
    "s004_frame_00002__00.00.00.064",
)


def observe(tree, **settings) -> SequenceObservations:
    return ProxDataset(tree.root, ProxSettings(**settings)).observations(RECORDING)


@pytest.fixture(scope="module")
def seen(pristine) -> SequenceObservations:
    return observe(pristine)


def test_every_frame_is_there_and_can_be_fitted(seen):
    assert seen.frame_names == FRAMES
    assert set(seen.status) == {""}
    assert seen.person_seen.all()
    assert seen.skipped == {}
    assert (seen.recording, seen.scene, seen.gender) == (RECORDING, "Boxroom", "female")
    np.testing.assert_allclose(seen.timestamps_s, [0.029, 0.05, 0.083, 0.216, 0.031, 0.064])


def test_the_gap_and_the_second_clip_cut_the_motion(seen):
    assert seen.segment_id.tolist() == [0, 0, 0, 1, 2, 2]


def test_points_lie_on_the_card(seen):
    assert seen.points_camera.shape == (6, 4096, 3)
    assert (seen.num_points > 20_000).all()
    card = np.abs(seen.points_camera[..., 2] - 2.5) < 0.01
    assert card.mean() > 0.95
    x, y = seen.points_camera[card][:, :2].T
    assert (x.min(), x.max()) == pytest.approx((0.3, 0.9), abs=0.01)
    assert (y.min(), y.max()) == pytest.approx((-0.8, 0.8), abs=0.01)


def test_keypoints_points_and_calibration_agree(seen):
    """The wrists, ankles and head in the image lie where the card's points project to."""
    K = seen.K
    x, y, z = seen.points_camera[0].T
    pixels = np.column_stack([K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]])
    for row in (0, 4, 7, 11, 14):
        nearest = np.linalg.norm(pixels - seen.keypoints_px[0, row], axis=1).min()
        assert nearest < 12  # sampling distance of the subset, and the distortion bodies ignore


def test_the_floor_is_below_the_camera(seen):
    slope = np.radians(10)
    expected = [0, -np.cos(slope), -np.sin(slope), -0.9]
    np.testing.assert_allclose(seen.floor_camera, expected, atol=1e-9)


def test_reading_twice_gives_the_same_bytes_and_the_seed_other_points(pristine, seen):
    again = observe(pristine)
    assert again.points_camera.tobytes() == seen.points_camera.tobytes()
    other = observe(pristine, points_seed=1)
    assert other.points_camera.tobytes() != seen.points_camera.tobytes()
    np.testing.assert_array_equal(other.num_points, seen.num_points)


def test_reading_fewer_frames_gives_the_same_frames(pristine, seen):
    part = observe(pristine, max_frames=2, trim_frames=1)
    assert part.frame_names == FRAMES[1:3]
    assert part.segment_id.tolist() == [0, 0]
    np.testing.assert_array_equal(part.points_camera, seen.points_camera[1:3])
    assert part.skipped == {"frames_beyond_max": 2, "frames_trimmed": 2}


def test_trimming_everything_is_refused(pristine):
    with pytest.raises(DataInvalid, match=r"nothing left after trimming[\s\S]*more than 6 frames"):
        observe(pristine, trim_frames=3)


def test_few_points_are_repeated_in_turn(pristine, seen):
    many = observe(pristine, num_points=30_000)
    n = int(many.num_points[0])
    np.testing.assert_array_equal(many.points_camera[0, : 30_000 - n], many.points_camera[0, n:])


def test_the_sensors_own_mask_can_be_used(tree):
    depth = np.round(np.zeros((424, 512))).astype(np.uint8)
    depth[:] = 255
    depth[100:200, 300:340] = 3
    for frame in FRAMES:
        path = tree.file("BodyIndex", frame)
        path.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(path), depth[:, ::-1])
    seen = observe(tree, person_mask="depth")
    assert set(seen.num_points.tolist()) == {4000}


def test_both_roots_give_the_same(pristine, seen):
    inner = ProxDataset(pristine.base).observations(RECORDING)
    np.testing.assert_array_equal(inner.points_camera, seen.points_camera)


@pytest.mark.parametrize("declared", ["raw", "auto"])
def test_keypoints_of_the_mirrored_images_come_out_the_same(tree, seen, declared):
    for frame in FRAMES:
        truth = seen.keypoints_px[0], seen.keypoints_confidence[0]
        rows = np.column_stack([truth[0], truth[1]])
        tree.write_keypoints(frame, [mirror_keypoints(rows, 1920)])
    read = observe(tree, keypoints_frame=declared)
    np.testing.assert_allclose(read.keypoints_px, seen.keypoints_px, atol=1e-9)
    assert read.skipped == {"keypoints_unmirrored": 6}


def test_released_fits_are_the_first_evidence(pristine):
    dataset = ProxDataset(pristine.root, body_files=resolve_body_files(None))
    finding = dataset.keypoints_frame(RECORDING)
    assert (finding.frame, finding.evidence) == ("flipped", "fits")
    assert (finding.votes_raw, finding.votes_flipped) == (0, 6)


def test_mirrored_keypoints_declared_flipped_are_refused(tree, seen):
    rows = np.column_stack([seen.keypoints_px[0], seen.keypoints_confidence[0]])
    for frame in FRAMES:
        tree.write_keypoints(frame, [mirror_keypoints(rows, 1920)])
    with pytest.raises(DataInvalid, match=r"not in the flipped image[\s\S]*to raw or auto"):
        observe(tree, keypoints_frame="flipped")


def test_keypoints_of_an_undecidable_recording_are_read_as_those_of_another(tree, seen):
    shutil.copytree(tree.base / "recordings" / RECORDING, tree.base / "recordings" / "Boxroom_00157_01")
    rows = np.column_stack([seen.keypoints_px[0], seen.keypoints_confidence[0]])
    for frame in FRAMES:
        tree.write_keypoints(frame, [mirror_keypoints(rows, 1920)])
        tree.write_keypoints(frame, [], recording="Boxroom_00157_01")
    dataset = ProxDataset(tree.root)
    finding = dataset.keypoints_frame("Boxroom_00157_01")
    assert (finding.frame, finding.evidence) == ("raw", "another recording")
    assert dataset.gender("Boxroom_00157_01") == "male"


def test_undecidable_keypoints_are_not_guessed(tree):
    for frame in FRAMES:
        tree.write_keypoints(frame, [])
    with pytest.raises(DataInvalid, match=r"cannot tell[\s\S]*keypoints_frame to raw"):
        observe(tree)
    assert set(observe(tree, keypoints_frame="raw").status) == {""}  # by depth alone


def test_a_tree_without_keypoints_is_read_by_depth_alone(tree):
    shutil.rmtree(tree.base / "keypoints")
    seen = observe(tree)
    assert set(seen.status) == {""}
    assert (seen.keypoints_confidence == 0).all()
    assert seen.skipped == {"keypoints_missing": 6}


def replace(path, content: bytes) -> None:
    """Break the hard link to the shared tree first."""
    path.unlink()
    path.write_bytes(content)


def write_png(path, image: np.ndarray) -> None:
    replace(path, cv2.imencode(".png", image)[1].tobytes())


def defects(seen: SequenceObservations) -> dict[str, int]:
    """Counts without that of the frames these tests leave unread for speed."""
    return {reason: count for reason, count in seen.skipped.items() if reason != "frames_beyond_max"}


def break_depth(tree, frame: str, how: str) -> None:
    path = tree.file("Depth", frame)
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        replace(path, path.read_bytes()[:2000])
    elif how == "8-bit":
        write_png(path, np.zeros((424, 512), np.uint8))
    elif how == "size":
        write_png(path, np.zeros((480, 640), np.uint16))
    else:
        write_png(path, np.zeros((424, 512), np.uint16))


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("missing", "depth_missing"),
        ("truncated", "depth_invalid"),
        ("8-bit", "depth_invalid"),
        ("size", "depth_invalid"),
        ("empty", "no_depth"),
    ],
)
def test_broken_depth_is_counted_and_keypoints_carry_the_frame(tree, how, reason):
    break_depth(tree, FRAMES[1], how)
    seen = observe(tree, max_frames=2)
    assert seen.status == ("", "")
    assert seen.num_points[1] == 0
    assert (seen.points_camera[1] == 0).all()
    assert defects(seen) == {reason: 1}
    tree.write_keypoints(FRAMES[1], [])
    seen = observe(tree, max_frames=2)
    assert seen.status[1] == reason
    assert defects(seen) == {reason: 1, "no_keypoints": 1}
    assert seen.person_seen[1] == (reason != "no_depth")  # a broken file does not hide the person


@pytest.mark.parametrize(("how", "reason"), [("missing", "mask_missing"), ("truncated", "mask_invalid")])
def test_a_broken_mask_is_counted_and_keypoints_carry_the_frame(tree, how, reason):
    path = tree.file("BodyIndexColor", FRAMES[1])
    if how == "missing":
        path.unlink()
    else:
        replace(path, path.read_bytes()[:500])
    seen = observe(tree, max_frames=2)
    assert seen.status[1] == ""
    assert seen.num_points[1] == 0
    assert defects(seen) == {reason: 1}
    tree.write_keypoints(FRAMES[1], [])
    assert observe(tree, max_frames=2).status[1] == reason


def test_an_inverted_mask_is_invalid(tree):
    path = tree.file("BodyIndexColor", FRAMES[1])
    write_png(path, 255 - cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    assert defects(observe(tree, max_frames=2)) == {"mask_invalid": 1}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "keypoints_missing"),
        (b"", "keypoints_invalid"),
        (b'{"people": [', "keypoints_invalid"),
        (b'{"version": 1.3}', "keypoints_invalid"),
        (b'{"people": [{"pose_keypoints_2d": [1, 2, 3]}]}', "keypoints_invalid"),
        (b'{"people": []}', "no_keypoints"),
    ],
)
def test_broken_keypoints_are_counted_and_depth_carries_the_frame(tree, content, reason):
    path = tree.keypoints_file(FRAMES[1])
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    seen = observe(tree, max_frames=2)
    assert seen.status == ("", "")
    assert (seen.keypoints_confidence[1] == 0).all()
    assert (seen.keypoints_confidence[0] > 0).all()
    assert defects(seen) == {reason: 1}


def test_single_nan_keypoints_are_counted(tree):
    path = tree.keypoints_file(FRAMES[1])
    content = json.loads(path.read_text())
    content["people"][0]["pose_keypoints_2d"][3] = float("nan")
    path.write_text(json.dumps(content))
    seen = observe(tree, max_frames=2)
    assert seen.keypoints_confidence[1, 1] == 0
    assert np.isfinite(seen.keypoints_px).all()
    assert defects(seen) == {"keypoints_not_finite": 1}


def test_nobody_in_the_frame(tree):
    write_png(tree.file("BodyIndexColor", FRAMES[1]), np.full((1080, 1920), 255, np.uint8))
    tree.write_keypoints(FRAMES[1], [])
    seen = observe(tree, max_frames=2)
    assert seen.status[1] == "no_person"
    assert not seen.person_seen[1]
    assert defects(seen) == {"mask_without_person": 1, "no_keypoints": 1, "no_person": 1}


def test_a_few_stray_mask_pixels_are_nobody(tree):
    mask = np.full((1080, 1920), 255, np.uint8)
    mask[500, 600:640] = 0
    write_png(tree.file("BodyIndexColor", FRAMES[1]), mask)
    tree.write_keypoints(FRAMES[1], [])
    assert observe(tree, max_frames=2).status[1] == "no_person"


def test_two_people_are_counted_and_ours_is_taken(tree, seen):
    """The other one, named first, stands to the left, in mask and keypoints, but not in depth."""
    rows = np.column_stack([seen.keypoints_px[0], seen.keypoints_confidence[0]])
    other = rows.copy()
    other[:, 0] -= 700
    path = tree.file("BodyIndexColor", FRAMES[1])
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[:, ::-1]
    both = np.minimum(mask, np.roll(mask, -700, axis=1))
    write_png(path, np.ascontiguousarray(both[:, ::-1]))
    tree.write_keypoints(FRAMES[1], [other, rows])
    read = observe(tree, max_frames=2)
    np.testing.assert_allclose(read.keypoints_px[1], seen.keypoints_px[1])
    np.testing.assert_array_equal(read.points_camera[1], seen.points_camera[1])
    assert defects(read) == {"several_people": 1}


def test_a_ghost_of_low_confidence_is_no_second_person(tree, seen):
    rows = np.column_stack([seen.keypoints_px[0], seen.keypoints_confidence[0]])
    ghost = rows * (1, 1, 0.1)
    tree.write_keypoints(FRAMES[1], [ghost, rows])
    read = observe(tree, max_frames=2)
    assert defects(read) == {}
    assert read.keypoints_confidence[1].max() == pytest.approx(0.9)


def test_colour_images_are_not_needed_but_their_defects_are_counted(tree):
    tree.file("Color", FRAMES[0]).unlink()
    path = tree.file("Color", FRAMES[1])
    replace(path, path.read_bytes()[:3000])
    seen = observe(tree, max_frames=2)
    assert set(seen.status) == {""}
    assert defects(seen) == {"image_invalid": 1, "image_missing": 1}
    with pytest.raises(DataInvalid, match="truncated"):
        ProxDataset(tree.root).color_image(RECORDING, FRAMES[1])


def test_stray_files_are_counted(tree):
    (tree.base / "recordings" / RECORDING / "Color" / "Thumbs.db").write_bytes(b"")
    assert observe(tree).skipped == {"unrecognised_file_names": 1}


def test_the_colour_image_is_the_true_one(pristine):
    image = ProxDataset(pristine.root).color_image(RECORDING, FRAMES[0])
    assert image.shape == (1080, 1920, 3)
    assert image[500, 100, 0] > 180  # red, on the left
    assert image[500, 1800].max() < 20


def test_recordings_are_filtered_by_name_and_pattern(tree):
    for name in ("Boxroom_00157_01", "Attic_00034_01", "not a recording"):
        (tree.base / "recordings" / name).mkdir()

    def names(*patterns: str) -> tuple[str, ...]:
        return ProxDataset(tree.root, ProxSettings(recordings=patterns)).recordings()

    assert names() == ("Attic_00034_01", "Boxroom_00157_01", RECORDING)
    assert names("Boxroom*") == ("Boxroom_00157_01", RECORDING)
    assert names("Attic_00034_01", RECORDING) == ("Attic_00034_01", RECORDING)
    with pytest.raises(DataMissing, match=r"matches Celler\*[\s\S]*Attic_00034_01"):
        names("Celler*")


def test_genders_can_be_overridden(tree):
    assert ProxDataset(tree.root, ProxSettings(genders={"159": "male"})).gender(RECORDING) == "male"
    path = tree.root / "genders.json"
    path.write_text(json.dumps({"00159": "neutral"}))
    assert ProxDataset(tree.root, ProxSettings(genders_file=path)).gender(RECORDING) == "neutral"


def test_released_fits_have_a_row_per_frame(tree):
    replace(tree.fit_file(FRAMES[2]), b"\x80\x02cos\nsystem\n.")
    tree.fit_file(FRAMES[4]).unlink()
    values = pickle.loads(tree.fit_file(FRAMES[5]).read_bytes())  # noqa: S301
    values["betas"][0, 3] = np.nan
    tree.fit_file(FRAMES[5]).write_bytes(pickle.dumps(values, protocol=2))
    dataset = ProxDataset(tree.root)
    fit = dataset.released_fit(RECORDING)
    assert fit is not None
    assert fit.status == ("", "", "fit_invalid", "", "fit_missing", "fit_not_finite")
    assert fit.frame_names == dataset.observations(RECORDING).frame_names
    assert fit.gender == "female"


def test_released_fits_follow_the_trimming(pristine):
    fit = ProxDataset(pristine.root, ProxSettings(trim_frames=2)).released_fit(RECORDING)
    assert fit is not None
    assert fit.frame_names == FRAMES[2:4]


def test_a_recording_without_released_fits_has_none(tree):
    shutil.rmtree(tree.base / "PROXD")
    dataset = ProxDataset(tree.root)
    assert not dataset.has_released_fit(RECORDING)
    assert dataset.released_fit(RECORDING) is None


def test_the_scene_is_found_by_recording_and_by_name(pristine):
    dataset = ProxDataset(pristine.root)
    assert dataset.scene(RECORDING) is dataset.scene("Boxroom")


@pytest.mark.parametrize(
    "missing", ["calibration/IR.json", "cam2world/Boxroom.json", "scenes/Boxroom.ply"]
)
def test_what_every_frame_needs_is_demanded(tree, missing):
    (tree.base / missing).unlink()
    with pytest.raises(DataMissing, match=missing.rsplit("/", maxsplit=1)[-1]):
        observe(tree)


def test_the_body_segments_folder(tree):
    assert ProxDataset(tree.root).body_segments() == tree.base / "body_segments"
    shutil.rmtree(tree.base / "body_segments")
    with pytest.raises(DataMissing, match="body_segments not found"):
        ProxDataset(tree.root).body_segments()


def test_other_names_are_no_recordings(pristine):
    with pytest.raises(DataInvalid, match="not the name of a PROX recording"):
        ProxDataset(pristine.root).gender("Boxroom")
