"""Frames are in exactly one shard of their own side, and no shard is too full."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pipelines.shards.plan import RecordingPart, plan_shards
from pipelines.shards.source import Candidate
from pipelines.shards.splits import Membership


def candidate(name: str, frames: int, rows: list[int]) -> Candidate:
    return Candidate(Membership(name, name, (name,)), frames, tuple(rows), {})


def test_recordings_share_a_shard_and_long_ones_are_cut():
    made = [candidate("a", 3, [0, 1, 2]), candidate("b", 10, [0, 2, 4, 6, 8]), candidate("c", 2, [0])]
    shards = plan_shards(made, {"a": "train", "b": "train", "c": "test"}, 4)
    assert [(shard.name, shard.split) for shard in shards] == [
        ("train-00000", "train"),
        ("train-00001", "train"),
        ("test-00000", "test"),
    ]
    assert shards[0].parts == (RecordingPart("a", 0, 3), RecordingPart("b", 0, 2))
    assert shards[1].parts == (RecordingPart("b", 2, 10),)


def test_a_recording_without_frames_to_use_is_in_no_shard():
    shards = plan_shards(
        [candidate("a", 5, []), candidate("b", 2, [1])], {"a": "train", "b": "train"}, 9
    )
    assert [part.recording for shard in shards for part in shard.parts] == ["b"]


@given(
    st.lists(st.tuples(st.integers(1, 40), st.sets(st.integers(0, 39))), min_size=1, max_size=8),
    st.integers(1, 20),
)
def test_every_frame_is_in_one_shard(recordings, room):
    made = [
        candidate(f"r{number}", frames, sorted(row for row in rows if row < frames))
        for number, (frames, rows) in enumerate(recordings)
    ]
    sides = {c.member.recording: ("train", "test")[n % 2] for n, c in enumerate(made)}
    shards = plan_shards(made, sides, room)
    assert len({shard.name for shard in shards}) == len(shards)
    covered: Counter[tuple[str, int]] = Counter()
    rows_of = {c.member.recording: set(c.rows) for c in made}
    for shard in shards:
        taken = 0
        for part in shard.parts:
            assert sides[part.recording] == shard.split
            covered.update((part.recording, row) for row in range(part.start, part.stop))
            taken += len(rows_of[part.recording] & set(range(part.start, part.stop)))
        assert 0 < taken <= room
    expected = {(c.member.recording, row) for c in made if c.rows for row in range(c.num_frames)}
    assert set(covered) == expected
    assert not covered or max(covered.values()) == 1
