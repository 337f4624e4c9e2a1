from __future__ import annotations

import numpy as np

from pipelines.datasets.people import choose_person, own_mask


def standing(x: float, confidence: float = 0.9) -> np.ndarray:
    """A stick figure 80 px high around column x; only the body is found."""
    rows = np.zeros((118, 3))
    rows[:25, 0] = x + np.linspace(-8, 8, 25)
    rows[:25, 1] = np.linspace(10, 90, 25)
    rows[:25, 2] = confidence
    return rows


def mask(*columns: tuple[int, int]) -> np.ndarray:
    person = np.zeros((100, 300), dtype=bool)
    for first, last in columns:
        person[5:95, first:last] = True
    return person


def test_the_one_on_the_mask_is_chosen_whatever_the_order_and_confidence():
    people = np.stack([standing(50, 1.0), standing(200, 0.5)])
    person = mask((185, 215))
    assert choose_person(people, person, None, 0.2) == 1
    assert choose_person(people[::-1].copy(), person, None, 0.2) == 0


def test_on_a_shared_mask_the_person_of_the_frame_before_is_kept():
    people = np.stack([standing(50), standing(200, 0.95)])
    person = mask((30, 220))
    assert choose_person(people, person, standing(60), 0.2) == 0
    assert choose_person(people, person, standing(190), 0.2) == 1
    assert choose_person(people, person, None, 0.2) == 1  # more confident


def test_without_a_mask_the_person_of_the_frame_before_is_kept():
    people = np.stack([standing(50), standing(200)])
    assert choose_person(people, None, standing(210), 0.2) == 1


def test_unseen_people_are_not_preferred_for_being_nowhere():
    people = np.stack([np.zeros((118, 3)), standing(50)])
    assert choose_person(people, None, standing(55), 0.2) == 1


def test_another_persons_part_of_the_mask_is_dropped():
    person = mask((35, 65), (185, 215))
    kept = own_mask(person, standing(50), [standing(200)], 0.2)
    np.testing.assert_array_equal(kept, mask((35, 65)))


def test_a_part_without_keypoints_goes_to_the_nearer_skeleton():
    person = mask((35, 65), (70, 75), (150, 155), (185, 215))
    kept = own_mask(person, standing(50), [standing(200)], 0.2)
    np.testing.assert_array_equal(kept, mask((35, 65), (70, 75)))


def test_a_shared_part_is_split_between_the_skeletons():
    person = mask((35, 115))
    kept = own_mask(person, standing(50), [standing(100)], 0.2)
    assert kept[:, 35:65].sum() == person[:, 35:65].sum()
    assert kept[:, 85:].sum() == 0


def test_a_part_of_our_own_is_kept_whole_even_where_the_other_is_nearer():
    person = mask((35, 100))
    person[:, 80] = False
    person[50, 80] = True  # one connected part that holds our keypoints alone
    kept = own_mask(person, standing(50), [standing(120)], 0.2)
    np.testing.assert_array_equal(kept, person)
