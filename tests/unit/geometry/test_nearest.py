from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.geometry import nearest, pytorch3d_backend
from pipelines.geometry.nearest import (
    FixedTargets,
    NearestCache,
    nearest_by_distances,
    nearest_indices,
    nearest_rows,
)


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


@pytest.mark.parametrize("num_candidates", [1, 3, 10])
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), targets=st.integers(2, 60))
def test_cache_agrees_with_brute_force_while_everything_moves(num_candidates, seed, targets):
    generator = np.random.default_rng(seed)
    t, q = (torch.as_tensor(generator.standard_normal((n, 3))) for n in (targets, 15))
    cache = NearestCache(num_candidates)
    for size in (0.0, 1e-4, 1e-3, 1e-3, 0.1, 2.0, 0.0, 1e-3):
        t = t + size * torch.as_tensor(generator.standard_normal(t.shape))
        q = q + size * torch.as_tensor(generator.standard_normal(q.shape))
        torch.testing.assert_close(cache.query(q, t), torch.cdist(q, t).argmin(dim=1))


@pytest.mark.parametrize("num_candidates", [1, 4])
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), targets=st.integers(1, 60))
def test_fixed_targets_agree_with_brute_force_while_queries_move(num_candidates, seed, targets):
    generator = np.random.default_rng(seed)
    t = generator.standard_normal((targets, 3))
    q = torch.as_tensor(generator.standard_normal((15, 3)))
    fixed = FixedTargets(t, torch.float64, num_candidates)
    for size in (0.0, 1e-4, 1e-2, 0.5, 3.0, 0.0):
        q = q + size * torch.as_tensor(generator.standard_normal(q.shape))
        expected = torch.cdist(q, torch.as_tensor(t)).argmin(dim=1)
        torch.testing.assert_close(fixed.query(q), expected)


def test_resting_targets_are_answered_without_a_tree():
    generator = np.random.default_rng(2)
    t, q = (torch.as_tensor(generator.standard_normal((n, 3))) for n in (300, 100))
    cache = NearestCache()
    cache.query(q, t)
    searched = cache.num_searched
    cache.query(q, t + 1e-5)
    assert cache.num_searched == searched
    fixed = FixedTargets(t.numpy(), torch.float64)
    fixed.query(q)
    fixed.query(q + 1e-5)
    assert fixed.num_searched <= 105


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_ways_to_search_tensors_agree(dtype):
    generator = torch.Generator().manual_seed(0)
    queries = torch.rand(70, 3, generator=generator, dtype=dtype, requires_grad=True)
    targets = torch.rand(50, 3, generator=generator, dtype=dtype)
    expected = (queries[:, None] - targets).norm(dim=-1).argmin(dim=1)
    for search in (nearest_rows, nearest_by_distances):
        assert torch.equal(search(queries, targets), expected)
        assert search(queries[:0], targets).shape == (0,)


def test_distances_are_searched_in_chunks(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    queries, targets = torch.rand(71, 3, generator=generator), torch.rand(50, 3, generator=generator)
    whole = nearest_by_distances(queries, targets)
    monkeypatch.setattr(nearest, "_CHUNK_PAIRS", 200)
    assert torch.equal(nearest_by_distances(queries, targets), whole)


def test_search_by_distances_is_exact_far_from_the_origin():
    targets = torch.tensor([[0.0, 0, 0], [0.002, 0, 0]]) + 100
    assert nearest_by_distances(targets, targets).tolist() == [0, 1]


@pytest.mark.gpu
@pytest.mark.pytorch3d
@pytest.mark.skipif(
    not (torch.cuda.is_available() and pytorch3d_backend.is_installed()),
    reason="needs a GPU and a pytorch3d built for this torch (github.com/facebookresearch/pytorch3d)",
)
def test_pytorch3d_finds_the_same_neighbours():
    generator = torch.Generator().manual_seed(0)
    queries, targets = torch.rand(500, 3, generator=generator), torch.rand(300, 3, generator=generator)
    found = pytorch3d_backend.nearest_rows(queries.cuda(), targets.cuda())
    assert torch.equal(found.cpu(), nearest_rows(queries, targets))
