from __future__ import annotations

import numpy as np
import pytest

from pipelines.synthetic.furniture import BlockPlan, FurnitureNeed, depth_in, fit_block

PLAN = BlockPlan("seat", np.pi / 2, (1.0, 2.0), 0.3, 0.8, 0.6, 0.0, 10.0)


def _world(points: list[list[float]]) -> np.ndarray:
    """Block axes (x towards the knees) to world for PLAN: x -> +y, y -> -x."""
    local = np.array(points)
    return np.stack([1.0 - local[:, 1], 2.0 + local[:, 0], local[:, 2]], axis=1)[None]


def test_the_top_lies_two_millimetres_into_the_lowest_resting_skin() -> None:
    skin = _world([[0.0, 0.0, 0.45], [-0.1, 0.1, 0.47], [0.5, 0.0, 0.1]])
    need = fit_block(PLAN, skin, np.array([0, 1]), np.array([True]))
    assert need.size_m[2] == pytest.approx(0.452)
    assert depth_in(need, skin).max() == pytest.approx(0.002)


def test_the_front_edge_keeps_clear_of_the_calves() -> None:
    skin = _world([[0.0, 0.0, 0.45], [0.2, 0.1, 0.2]])
    need = fit_block(PLAN, skin, np.array([0]), np.array([True]))
    assert depth_in(need, skin)[0, 1] == pytest.approx(-0.006)
    assert need.size_m[0] == pytest.approx(0.6)


def test_the_backrest_touches_the_rearmost_back() -> None:
    plan = BlockPlan("seat", np.pi / 2, (1.0, 2.0), 0.3, 0.8, 0.6, 0.0, 10.0, backrest=True)
    skin = _world([[0.0, 0.0, 0.45], [-0.25, 0.0, 0.9]])
    need = fit_block(plan, skin, np.array([0]), np.array([True]))
    assert need.size_m[0] == pytest.approx(0.3 + 0.25 - 0.002)
    assert depth_in(need, skin)[0, 1] == pytest.approx(0.002)


def test_a_table_begins_beyond_the_body() -> None:
    plan = BlockPlan("table", 0.0, (1.0, 0.0), -0.3, 1.0, 0.6, 0.0, 10.0)
    skin = np.array([[[1.0, 0.0, 0.9], [0.8, 0.0, 0.5]]])
    need = fit_block(plan, skin, np.array([0]), np.array([True]))
    assert depth_in(need, skin)[0].tolist() == pytest.approx([0.002, -0.006])


def test_depth_of_a_unit_block_by_hand() -> None:
    need = FurnitureNeed("table", (0.0, 0.0), 0.3, (1.0, 1.0, 1.0))
    points = np.array([[0.0, 0.0, 0.9], [0.0, 0.0, 1.2]])
    np.testing.assert_allclose(depth_in(need, points), [0.1, -0.2], atol=1e-12)
