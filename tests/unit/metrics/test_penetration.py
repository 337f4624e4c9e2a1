import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipelines.geometry.signed_distance import SdfGrid
from pipelines.geometry.transforms import rigid, transform_points
from pipelines.metrics.penetration import penetration, signed_distances
from pipelines.metrics.tally import pool


def test_five_vertices_by_hand():
    tallies = penetration(np.array([[0.02, -0.01, -0.03, 0.0, 0.10]]))
    assert tallies["pen_pooled_v1"].value == pytest.approx(2.0)
    assert tallies["pen_pooled_v1"].unit == "cm"
    assert tallies["pen_pooled_mm_v1"].value == pytest.approx(20.0)
    assert tallies["pene_v1"].value == pytest.approx(0.04)
    assert tallies["pen_fraction_v1"].value == pytest.approx(40.0)
    assert tallies["pen_pooled_v1"].count == 2  # the vertex at exactly 0 does not penetrate


def test_pooled_and_per_frame_means_differ_as_worked_out_by_hand():
    tallies = penetration(np.array([[-0.01, -0.03], [-0.10, 0.2]]))
    assert tallies["pen_pooled_v1"].value == pytest.approx(4.6667, abs=1e-4)
    assert tallies["pen_frame_v1"].value == pytest.approx(6.0)
    assert tallies["pen_frame_v1"].count == 2


def test_no_penetrating_vertex_gives_nan_and_count_zero():
    tallies = penetration(np.array([[0.0, 0.1], [0.2, 0.3]]))
    assert math.isnan(tallies["pen_pooled_v1"].value)
    assert tallies["pen_pooled_v1"].count == 0
    assert math.isnan(tallies["pen_frame_v1"].value)
    assert tallies["pen_frame_v1"].skipped == {"frames_without_penetration": 2}
    assert tallies["pene_v1"].value == 0.0
    assert tallies["pene_v1"].count == 2


def test_no_frame_gives_nan_everywhere():
    for tally in penetration(np.zeros((0, 5))).values():
        assert math.isnan(tally.value)
        assert tally.count == 0


def test_non_collision_and_contact_scores_by_hand():
    tallies = penetration(np.array([[0.1, -0.1, 0.0, 0.2]]))
    assert tallies["noncollision_v1"].value == 0.5
    assert tallies["noncollision_ge_v1"].value == 0.75
    assert tallies["contact_v1"].value == 1.0
    assert penetration(np.array([[0.1, 0.2]]))["contact_v1"].value == 0.0
    touching = penetration(np.array([[0.0, 0.2]]))
    assert touching["contact_v1"].value == 1.0
    assert touching["contact_strict_v1"].value == 0.0


def test_a_frame_with_a_non_finite_distance_is_skipped_and_counted():
    tallies = penetration(np.array([[-0.02, 0.1], [np.nan, -5.0]]))
    assert tallies["pen_pooled_v1"].value == pytest.approx(2.0)
    assert tallies["pen_pooled_v1"].skipped == {"not_finite_frames": 1}


@settings(max_examples=30, deadline=None)
@given(
    arrays(
        np.float64,
        st.tuples(st.integers(2, 6), st.integers(1, 5)),
        elements=st.floats(-0.5, 0.5, allow_nan=False),
    ),
    st.data(),
)
def test_pooling_two_recordings_equals_measuring_them_as_one(distances, data):
    cut = data.draw(st.integers(1, len(distances) - 1))
    whole, first, second = (penetration(d) for d in (distances, distances[:cut], distances[cut:]))
    for key, tally in whole.items():
        pooled = pool([first[key], second[key]])
        assert pooled.count == tally.count
        assert pooled.value == pytest.approx(tally.value, nan_ok=True)


def _slab(dim=33):
    """Solid below z = 0 in a 4 m cube: the distance is z itself."""
    axis = torch.linspace(-2, 2, dim, dtype=torch.float64)
    values = axis.expand(dim, dim, dim).clone()  # [ix, iy, iz]
    return SdfGrid(values, torch.full((3,), -2.0).double(), torch.full((3,), 2.0).double())


def test_a_box_of_points_sunk_20_mm_has_20_mm_depth():
    points = np.array([[[0.3, 0.1, -0.02], [-0.7, 1.2, -0.02], [0.0, 0.0, 0.5]]])
    tallies = penetration(signed_distances(points, np.eye(4), _slab()))
    assert tallies["pen_pooled_mm_v1"].value == pytest.approx(20.0)


def test_moving_camera_and_body_together_leaves_the_penetration_unchanged():
    rng = np.random.default_rng(3)
    world = rng.uniform(-1, 1, (4, 50, 3))
    angle = 0.7
    rotation = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    ) @ np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    T_world_from_camera = rigid(rotation, np.array([0.4, -1.0, 1.6]))
    camera = (world - T_world_from_camera[:3, 3]) @ rotation
    np.testing.assert_allclose(transform_points(T_world_from_camera, camera), world, atol=1e-12)
    direct = penetration(signed_distances(world, np.eye(4), _slab()))
    moved = penetration(signed_distances(camera, T_world_from_camera, _slab()))
    for key, tally in direct.items():
        assert moved[key].value == pytest.approx(tally.value)


def test_a_point_outside_the_grid_takes_the_border_value():
    points = np.array([[[0.0, 0.0, -9.0], [9.0, 9.0, 1.0]]])
    np.testing.assert_allclose(signed_distances(points, np.eye(4), _slab()), [[-2.0, 1.0]])


def test_long_recordings_are_looked_up_in_pieces_without_a_seam():
    points = np.zeros((130, 2, 3))
    points[:, :, 2] = np.linspace(-1, 1, 130)[:, None]
    np.testing.assert_allclose(signed_distances(points, np.eye(4), _slab()), points[:, :, 2], atol=1e-12)
