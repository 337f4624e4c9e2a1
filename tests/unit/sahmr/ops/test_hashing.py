"""Cells and their keys."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import DataInvalid
from sahmr.ops.hashing import MAX_BATCH, REACH, find_keys, key_step, pack_keys, unpack_keys

AXIS = st.integers(-REACH, REACH)
CELL = st.tuples(AXIS, AXIS, AXIS, st.integers(0, MAX_BATCH - 1))


@given(st.lists(CELL, min_size=1, max_size=30))
def test_unpacking_gives_the_cells_back(cells):
    cells = torch.tensor(cells)
    assert torch.equal(unpack_keys(pack_keys(cells)), cells)


@given(st.lists(CELL, min_size=2, max_size=30))
def test_keys_sort_like_sample_then_x_y_z(cells):
    by_key = unpack_keys(pack_keys(torch.tensor(cells)).sort().values).tolist()
    assert [tuple(cell) for cell in by_key] == sorted(cells, key=lambda cell: (cell[3], *cell[:3]))


@given(CELL, st.tuples(*[st.integers(-32, 32)] * 3))
def test_a_step_is_an_addition(cell, step):
    moved = torch.tensor([[*(c + d for c, d in zip(cell, step, strict=False)), cell[3]]])
    assert unpack_keys(pack_keys(torch.tensor([cell])) + key_step(*step)).tolist() == moved.tolist()


def test_absent_cells_are_minus_one():
    keys = pack_keys(torch.tensor([[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    wanted = torch.tensor([[0, 0, 0, 1], [0, 0, 2, 0], [0, 0, 1, 0], [9, 9, 9, 9]])
    assert find_keys(keys, pack_keys(wanted)).tolist() == [2, -1, 1, -1]
    assert find_keys(keys[:0], keys).tolist() == [-1, -1, -1]
    assert len(pack_keys(torch.zeros(0, 4, dtype=torch.int64))) == 0


def test_a_scene_far_from_the_camera_is_refused():
    with pytest.raises(
        DataInvalid, match=r"too far from the origin[\s\S]*in metres, in the camera frame"
    ):
        pack_keys(torch.tensor([[0, REACH + 1, 0, 0]]))


@pytest.mark.parametrize("sample", [-1, MAX_BATCH])
def test_a_sample_out_of_range_is_refused(sample):
    with pytest.raises(DataInvalid, match="batch index out of range"):
        pack_keys(torch.tensor([[0, 0, 0, sample]]))
