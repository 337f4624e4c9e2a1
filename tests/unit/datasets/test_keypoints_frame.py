from __future__ import annotations

import numpy as np
import pytest

from pipelines.bodies.joints import PROX118_FLIP
from pipelines.datasets.keypoints_frame import (
    KeypointsSample,
    find_keypoints_frame,
    read_as,
)
from pipelines.datasets.openpose import mirror_keypoints
from pipelines.errors import DataInvalid

WIDTH = 400
# fmt: off
ACROSS = np.array([0, 0, -9, -12, -12, 9, 12, 12, 0, -5, -5, -5, 5, 5, 5, -2, 2, -4, 4,
                   6, 7, 5, -6, -7, -5])
DOWN = np.array([8, 18, 18, 32, 44, 18, 32, 44, 45, 45, 62, 80, 45, 62, 80, 5, 5, 6, 6,
                 84, 83, 82, 84, 83, 82])
# fmt: on


def figure(x: float, *, facing: bool = True) -> np.ndarray:
    """A stick figure 80 px high around column x; the person's right is at smaller x when facing us."""
    rows = np.zeros((118, 3))
    side = 1.0 if facing else -1.0
    rows[:25] = np.column_stack([x + side * ACROSS, DOWN, np.full(25, 0.9)])
    if not facing:
        rows[[0, 15, 16], 2] = 0.0  # a detector finds neither nose nor eyes on the back of a head
    return rows


def sample(x: float, frame: str, *, mask: bool = True, fit: bool = False, **kind) -> KeypointsSample:
    truth = figure(x, **kind)
    person = np.zeros((100, WIDTH), dtype=bool)
    person[2:88, int(x) - 15 : int(x) + 15] = True
    return KeypointsSample(
        people=(mirror_keypoints(truth, WIDTH) if frame == "raw" else truth)[None],
        person=person if mask else None,
        fitted_px=truth[:25, :2] if fit else None,
    )


def find(samples, declared="auto"):
    return find_keypoints_frame(samples, WIDTH, 0.2, declared, "Room_00001_01")


@pytest.mark.parametrize("frame", ["raw", "flipped"])
@pytest.mark.parametrize("evidence", ["mask", "fits"])
def test_both_frames_are_recognised(frame, evidence):
    samples = [sample(x, frame, fit=evidence == "fits") for x in (100, 110, 120, 300)]
    finding = find(samples)
    assert finding is not None
    assert (finding.frame, finding.evidence) == (frame, evidence)
    votes = (finding.votes_raw, finding.votes_flipped)
    assert votes == ((4, 0) if frame == "raw" else (0, 4))
    assert min(finding.error_raw_px, finding.error_flipped_px) < 1


def test_a_person_walking_across_the_middle_is_decided_by_the_frames_at_the_sides():
    finding = find([sample(x, "raw") for x in (195, 198, 200, 203, 60, 70, 340)])
    assert finding is not None
    assert finding.frame == "raw"
    assert finding.votes_flipped == 0


def in_the_middle(frame: str, lean: float) -> KeypointsSample:
    """A person at the centre of the image whose arms reach out to one side."""
    truth = figure((WIDTH - 1) / 2)
    truth[[3, 4], 0] -= lean
    person = np.zeros((100, WIDTH), dtype=bool)
    for x, y in truth[:25, :2].astype(int):
        person[max(0, y - 4) : y + 5, x - 4 : x + 5] = True
    people = mirror_keypoints(truth, WIDTH) if frame == "raw" else truth
    return KeypointsSample(people[None], person, None)


@pytest.mark.parametrize("frame", ["raw", "flipped"])
def test_the_pose_of_a_person_in_the_middle_decides_when_many_frames_agree(frame):
    finding = find([in_the_middle(frame, 15.0) for _ in range(10)])
    assert finding is not None
    assert (finding.frame, finding.clear) == (frame, False)
    assert find([in_the_middle(frame, 15.0) for _ in range(5)]) is None


def test_small_differences_do_not_overrule_the_settings():
    finding = find([in_the_middle("raw", 15.0) for _ in range(10)], declared="flipped")
    assert finding is not None
    assert (finding.frame, finding.evidence) == ("flipped", "settings")


def test_a_person_who_never_leaves_the_middle_decides_nothing():
    samples = [sample(199.5, "raw") for _ in range(8)]
    assert find(samples) is None


def test_without_evidence_the_declaration_stands():
    finding = find([sample(100, "raw", mask=False)], declared="raw")
    assert finding is not None
    assert (finding.frame, finding.evidence) == ("raw", "settings")
    assert find([], declared="auto") is None


@pytest.mark.parametrize(("declared", "truth"), [("flipped", "raw"), ("raw", "flipped")])
def test_a_wrong_declaration_is_refused_with_figures(declared, truth):
    samples = [sample(x, truth) for x in (100, 110, 120, 300)]
    with pytest.raises(
        DataInvalid, match=rf"not in the {declared} image[\s\S]*px[\s\S]*to {truth} or auto"
    ):
        find(samples, declared)


def test_a_right_declaration_is_confirmed():
    finding = find([sample(x, "raw") for x in (100, 110, 120)], declared="raw")
    assert finding is not None
    assert finding.evidence == "mask"


@pytest.mark.parametrize("fit", [True, False])
def test_exchanged_sides_are_refused(fit):
    """x was mirrored without renaming left and right: bodies would face backwards."""
    samples = []
    for x in range(80, 160, 10):
        good = sample(x, "flipped", fit=fit)
        exchanged = good.people[:, list(PROX118_FLIP)]
        samples.append(KeypointsSample(exchanged, good.person, good.fitted_px))
    with pytest.raises(DataInvalid, match=r"left and right[\s\S]*8 of 8 frames"):
        find(samples)


def test_a_person_seen_from_behind_is_not_taken_for_exchanged():
    for fit in (True, False):
        finding = find([sample(x, "flipped", facing=False, fit=fit) for x in range(80, 160, 10)])
        assert finding is not None
        assert finding.frame == "flipped"


def test_a_few_swaps_of_the_detector_are_no_reason_to_refuse():
    samples = [sample(x, "flipped") for x in range(80, 160, 8)]
    for i in (2, 5, 6):
        people = samples[i].people[:, list(PROX118_FLIP)]
        samples[i] = KeypointsSample(people, samples[i].person, None)
    assert find(samples) is not None


def test_empty_frames_are_no_evidence():
    empty = KeypointsSample(np.zeros((0, 118, 3)), np.zeros((100, WIDTH), bool), None)
    blank = KeypointsSample(np.zeros((1, 118, 3)), None, None)
    finding = find([empty, blank, *[sample(x, "raw") for x in (100, 110, 120)]])
    assert finding is not None
    assert finding.votes_raw == 3


def test_the_right_one_of_several_people_counts():
    samples = []
    for x in (100, 110, 120):
        good = sample(x, "flipped")
        people = np.concatenate([figure(350)[None], good.people])
        samples.append(KeypointsSample(people, good.person, None))
    finding = find(samples)
    assert finding is not None
    assert finding.frame == "flipped"
    assert finding.error_flipped_px < 1


def test_reading_raw_keypoints_gives_the_true_image():
    truth = figure(120)[None]
    np.testing.assert_allclose(read_as(mirror_keypoints(truth, WIDTH), "raw", WIDTH), truth)
    assert read_as(truth, "flipped", WIDTH) is truth
