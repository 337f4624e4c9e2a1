"""Contact scores by hand, with their undefined cases."""

import numpy as np
import pytest

from sahmr.evaluation.contact_scores import contact_scores, map_errors


def test_scores_by_hand():
    true = np.array([0, 1, 1, 2, 2, 0])
    said = np.array([1, 1, 2, 2, 0, 0])
    scores = contact_scores(said, true)
    # Right: one of class 1, one of class 2. Union: class 1 {0, 1, 2}, class 2 {2, 3, 4}.
    assert (scores.precision, scores.recall, scores.iou) == pytest.approx((2 / 4, 2 / 4, 2 / 6))


def test_scores_do_not_depend_on_the_order():
    rng = np.random.default_rng(0)
    said, true, order = rng.integers(0, 8, 500), rng.integers(0, 8, 500), rng.permutation(500)
    assert contact_scores(said, true) == contact_scores(said[order], true[order])


@pytest.mark.parametrize(
    ("said", "true", "defined"),
    [
        ([0, 0], [0, 0], (False, False, False)),
        ([0, 1], [0, 0], (True, False, True)),
        ([0, 0], [0, 1], (False, True, True)),
    ],
)
def test_without_contact_scores_are_undefined_not_zero(said, true, defined):
    scores = contact_scores(np.array(said), np.array(true))
    for value, known in zip((scores.precision, scores.recall, scores.iou), defined, strict=True):
        assert np.isnan(value) != known
        assert not known or value == 0


def test_map_errors_by_hand():
    """Part 0: 3 of 4 cells found, 1 cell beside; part 1 missed; part 2 not there and not counted."""
    target, maps = np.zeros((3, 4, 4)), np.zeros((3, 4, 4))
    target[0, 0, :] = 1
    target[0, 1, :] = 0.5  # the stamp's rim
    maps[0, 0, :3] = 0.9
    maps[0, 1, 0] = 0.6
    target[1, 2, 2] = 1
    maps[2] = 1
    errors = map_errors(maps, target)
    assert errors["map_recall_error_v1"] == pytest.approx((0.25 + 1) / 2)
    assert errors["map_precision_error_v1"] == pytest.approx((0.25 + 1) / 2)


def test_maps_without_any_contact_have_no_error():
    assert np.isnan(list(map_errors(np.ones((2, 3, 3)), np.zeros((2, 3, 3))).values())).all()
