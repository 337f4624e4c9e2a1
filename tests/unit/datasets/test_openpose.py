from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipelines.datasets.openpose import (
    confident_body,
    mirror_keypoints,
    on_mask,
    parse_people,
    read_people,
    without_broken,
)
from pipelines.errors import DataInvalid, DataMissing

people_arrays = arrays(np.float64, (2, 118, 3), elements=st.floats(0, 1919))


def person(**changes) -> dict:
    content = {
        "pose_keypoints_2d": [float(i) for i in range(75)],
        "hand_left_keypoints_2d": [100.0 + i for i in range(63)],
        "hand_right_keypoints_2d": [200.0 + i for i in range(63)],
        "face_keypoints_2d": [1000.0 + i for i in range(210)],
    }
    return content | changes


def parse(*people: dict) -> np.ndarray:
    return parse_people({"people": list(people)}, source="x_keypoints.json")


def test_rows_are_body_left_hand_right_hand_face():
    rows = parse(person())[0]
    assert rows.shape == (118, 3)
    assert rows[0].tolist() == [0, 1, 2]
    assert rows[24].tolist() == [72, 73, 74]
    assert rows[25].tolist() == [100, 101, 102]
    assert rows[46].tolist() == [200, 201, 202]
    assert rows[67].tolist() == [1051, 1052, 1053]  # landmark 17
    assert rows[117].tolist() == [1201, 1202, 1203]  # landmark 67; 68 and 69 are the pupils


def test_hands_and_face_may_be_absent():
    rows = parse(person(hand_left_keypoints_2d=[], face_keypoints_2d=[]))[0]
    assert (rows[25:46] == 0).all()
    assert (rows[67:] == 0).all()
    assert rows[46, 0] == 200


def test_nobody_is_no_error():
    assert parse().shape == (0, 118, 3)


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        {"people": {}},
        {"people": [{}]},
        {"people": [3]},
        {"people": [person(pose_keypoints_2d=[0.0] * 54)]},  # the 18-joint model
        {"people": [person(pose_keypoints_2d=[])]},
        {"people": [person(hand_left_keypoints_2d=[0.0] * 60)]},
        {"people": [person(face_keypoints_2d=["a"] * 210)]},
        {"people": [person(face_keypoints_2d=None)]},
    ],
)
def test_other_content_is_refused_by_name(content):
    with pytest.raises(DataInvalid, match=r"x_keypoints\.json"):
        parse_people(content, source="x_keypoints.json")


@pytest.mark.parametrize("text", ["", "{", '{"people": [', "null", "\x00\x00"])
def test_broken_files_are_refused_by_name(tmp_path, text):
    path = tmp_path / "x_keypoints.json"
    path.write_text(text)
    with pytest.raises(DataInvalid, match=r"x_keypoints\.json"):
        read_people(path)


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(DataMissing, match="absent"):
        read_people(tmp_path / "absent.json")


def test_nan_and_negative_confidence_become_not_found(tmp_path):
    content = person()
    content["pose_keypoints_2d"][3] = float("nan")
    content["pose_keypoints_2d"][8] = -1.0
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"people": [content]}))
    people, broken = without_broken(read_people(path))
    assert broken == 2
    assert people[0, 1].tolist() == [0, 0, 0]
    assert people[0, 2].tolist() == [0, 0, 0]
    assert people[0, 3].tolist() == [9, 10, 11]


@given(people_arrays)
def test_mirroring_twice_changes_nothing(people):
    np.testing.assert_allclose(mirror_keypoints(mirror_keypoints(people, 1920), 1920), people, atol=1e-9)


def test_mirroring_agrees_with_humor_up_to_its_pixel(goldens_folder):
    with np.load(goldens_folder / "humor_fitting.npz") as golden:
        raw, flipped = golden["in/prox/kp/raw"], golden["out/prox/kp/flipped"]
    rows = np.zeros((118, 3))
    rows[:25] = raw
    ours = mirror_keypoints(rows, 1920)[:25]
    np.testing.assert_allclose(ours[:, 0] + 1, flipped[:, 0], atol=1e-4)
    np.testing.assert_allclose(ours[:, 1:], flipped[:, 1:], atol=1e-4)


def test_pixel_centres_move_as_the_image_does():
    """The first column becomes the last: 0 -> 1919, and 100.0 -> 1819.0 (HuMoR: 1820.0)."""
    rows = np.zeros((118, 3))
    rows[0, 0], rows[1, 0] = 0.0, 100.0
    assert mirror_keypoints(rows, 1920)[:2, 0].tolist() == [1919, 1819]


def test_hands_change_places_and_keep_their_finger_order():
    rows = np.zeros((118, 3))
    rows[25:46, 2], rows[46:67, 2] = np.arange(21) + 100, np.arange(21) + 200
    mirrored = mirror_keypoints(rows, 1920)
    assert mirrored[25:46, 2].tolist() == [200 + i for i in range(21)]
    assert mirrored[46:67, 2].tolist() == [100 + i for i in range(21)]


@pytest.mark.parametrize(
    ("landmark", "partner"),
    [(17, 26), (21, 22), (27, 27), (30, 30), (31, 35), (33, 33), (36, 45), (39, 42), (40, 47), (41, 46),
     (48, 54), (51, 51), (55, 59), (57, 57), (60, 64), (61, 63), (62, 62), (65, 67), (66, 66)],
)  # fmt: skip
def test_face_landmarks_change_sides(landmark, partner):
    """The 68-point scheme: right brow 17-21, left brow 22-26, right eye 36-41, left eye 42-47."""
    rows = np.zeros((118, 3))
    rows[67 + partner - 17, 2] = 1
    assert mirror_keypoints(rows, 1920)[67 + landmark - 17, 2] == 1


def test_neck_and_hips_are_never_trusted():
    rows = np.ones((118, 3))
    _, trusted = confident_body(rows, 0.2)
    assert sorted(set(range(25)) - set(trusted.tolist())) == [1, 9, 12]


def test_confidence_zero_is_not_found_whatever_the_threshold():
    rows = np.zeros((118, 3))
    rows[4] = (5.0, 6.0, 0.1)
    pixels, trusted = confident_body(rows, 0.0)
    assert trusted.tolist() == [4]
    assert pixels.tolist() == [[5, 6]]
    assert len(confident_body(rows, 0.2)[0]) == 0


def test_points_outside_the_image_are_not_on_the_mask():
    mask = np.ones((4, 6), dtype=bool)
    mask[2, 3] = False
    pixels = np.array([[3.4, 2.4], [0.0, 0.0], [-0.6, 1.0], [5.4, 3.0], [5.6, 3.0], [1e9, 0.0]])
    assert on_mask(pixels, mask).tolist() == [False, True, False, True, False, False]
    assert on_mask(np.zeros((0, 2)), mask).shape == (0,)
