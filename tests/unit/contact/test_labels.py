"""The tree agrees with all pairs exactly; facts by hand; what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipelines.bodies.parts import CONTACT_PARTS
from pipelines.config import SettingsInvalid, load_settings
from pipelines.contact.labels import (
    can_touch,
    category_numbers,
    label_points,
    label_points_by_distances,
    label_vertices,
)
from pipelines.contact.settings import PROX_LEFT_OUT, ContactSettings
from pipelines.errors import DataInvalid

NAMES = ("none", *CONTACT_PARTS)
RADIUS_M = 0.07


def on_a_lattice(rows):
    """Few places, so that equal distances, equal places and distances of just the radius are common."""
    return arrays(np.int64, st.tuples(rows, st.just(3)), elements=st.integers(-4, 4))


clouds = st.integers(0, 12)


@settings(max_examples=200)
@given(on_a_lattice(clouds), on_a_lattice(clouds), st.data())
def test_tree_and_all_pairs_agree_where_distances_tie(points, vertices, data):
    category = data.draw(arrays(np.int64, len(vertices), elements=st.integers(1, 7)))
    step, radius = data.draw(st.sampled_from([(1.0, 2.0), (0.035, 0.07), (0.07, 0.07)]))
    given_to_both = (points * step, vertices * step, category, radius)
    np.testing.assert_array_equal(
        label_points(*given_to_both), label_points_by_distances(*given_to_both)
    )


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64]))
def test_tree_and_all_pairs_agree_on_drawn_bodies(seed, dtype):
    rng = np.random.default_rng(seed)
    vertices = rng.normal(0, 0.3, (200, 3)).astype(dtype)
    points = rng.normal(0, 0.5, (300, 3)).astype(dtype)
    category = rng.integers(1, 8, 200)
    found = label_points(points, vertices, category, RADIUS_M)
    np.testing.assert_array_equal(found, label_points_by_distances(points, vertices, category, RADIUS_M))
    assert 0 < (found > 0).sum() < 300


@settings(max_examples=50)
@given(on_a_lattice(st.integers(1, 12)), on_a_lattice(st.integers(1, 12)), st.randoms())
def test_order_of_vertices_and_of_points_does_not_matter(points, vertices, random):
    category = np.arange(len(vertices)) % 7 + 1
    rows, columns = list(range(len(points))), list(range(len(vertices)))
    random.shuffle(rows)
    random.shuffle(columns)
    whole = label_points(points * 1.0, vertices * 1.0, category, 2.0)
    shuffled = label_points(points[rows] * 1.0, vertices[columns] * 1.0, category[columns], 2.0)
    np.testing.assert_array_equal(shuffled, whole[rows])


@settings(max_examples=100)
@given(on_a_lattice(clouds), on_a_lattice(clouds))
def test_vertices_touch_where_any_point_is_within_the_radius(points, vertices):
    category = np.arange(len(vertices)) % 3
    gaps = np.linalg.norm((vertices[:, None] - points[None]).astype(float), axis=2)
    expected = np.where((gaps < 2.0).any(axis=1), category, 0)
    found = label_vertices(vertices * 1.0, category, points * 1.0, 2.0)
    np.testing.assert_array_equal(found, expected)


def test_the_radius_is_strict():
    vertex, category = np.zeros((1, 3)), np.array([5])
    points = np.array([[0.0624, 0, 0], [0.0625, 0, 0]])
    assert label_points(points, vertex, category, 0.0625).tolist() == [5, 0]
    assert label_vertices(vertex, category, points[1:], 0.0625).tolist() == [0]
    assert label_vertices(vertex, category, points, 0.0625).tolist() == [5]


def test_the_nearest_vertex_decides_and_of_equally_near_ones_the_smallest_category():
    vertices, category = np.array([[0.0, 0, 0], [0.0625, 0, 0]]), np.array([7, 3])
    points = np.array([[0.01, 0, 0], [0.05, 0, 0], [0.03125, 0, 0]])
    assert label_points(points, vertices, category, RADIUS_M).tolist() == [7, 3, 3]


def test_five_is_the_back_and_six_the_gluteus():
    assert NAMES.index("back") == 5
    assert NAMES.index("gluteus") == 6


def test_hands_are_left_out_on_prox_and_can_be_kept():
    category = np.arange(8)
    assert can_touch(category, NAMES, ContactSettings().left_out).tolist() == [
        False, True, True, False, False, True, True, True,
    ]  # fmt: skip
    assert can_touch(category, NAMES, ()).tolist() == [False] + [True] * 7
    assert category_numbers(NAMES, PROX_LEFT_OUT) == (0, 3, 4)


def test_nothing_touches_nothing():
    none, one = np.zeros((0, 3)), np.zeros((1, 3))
    no_category = np.zeros(0, np.int64)
    assert label_points(none, one, np.array([1]), RADIUS_M).shape == (0,)
    assert label_points(one, none, no_category, RADIUS_M).tolist() == [0]
    assert label_vertices(one, np.array([1]), none, RADIUS_M).tolist() == [0]
    assert label_vertices(one, np.array([0]), one, RADIUS_M).tolist() == [0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bodies_and_scenes_that_are_not_finite_are_refused(bad):
    whole, broken = np.zeros((2, 3)), np.array([[0.0, 0, 0], [0, bad, 0]])
    category = np.array([1, 2])
    with pytest.raises(DataInvalid, match=r"points to be labelled are not finite[\s\S]*1 of 2"):
        label_points(broken, whole, category, RADIUS_M)
    with pytest.raises(DataInvalid, match=r"vertices to be labelled are not finite"):
        label_vertices(broken, category, whole, RADIUS_M)
    with pytest.raises(DataInvalid, match=r"scene points to be labelled are not finite"):
        label_vertices(whole, category, broken, RADIUS_M)


def test_a_part_that_does_not_exist_cannot_be_left_out():
    with pytest.raises(DataInvalid, match=r"do not exist[\s\S]*l_hand"):
        can_touch(np.zeros(1, np.int64), NAMES, ("l_hand",))


def test_a_radius_of_nothing_is_refused():
    with pytest.raises(SettingsInvalid, match="radius_m"):
        load_settings(ContactSettings, overrides=["radius_m=0"])
