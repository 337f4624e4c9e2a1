from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.geometry.nearest import nearest_indices


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(0, 20))
def test_agrees_with_brute_force(seed, targets, queries):
    generator = np.random.default_rng(seed)
    t, q = generator.standard_normal((targets, 3)), generator.standard_normal((queries, 3))
    expected = np.linalg.norm(q[:, None] - t[None], axis=-1).argmin(axis=1)
    found = nearest_indices(q, t)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)


def test_float32_input_is_searched_exactly():
    generator = np.random.default_rng(1)
    targets = generator.standard_normal((500, 3)).astype(np.float32)
    np.testing.assert_array_equal(nearest_indices(targets, targets), np.arange(500))
