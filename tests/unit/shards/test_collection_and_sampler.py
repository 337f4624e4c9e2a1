"""Which samples are used, and in which order."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import DataInvalid, DataMissing
from pipelines.shards import collection
from pipelines.shards.collection import SelectionSettings, ShardCollection, SplitSide
from pipelines.shards.sampler import EpochSampler, SampleKey
from pipelines.shards.writer import shard_path, write_shard


@pytest.fixture
def other(shard, source, make_sample, make_scene):
    """A second shard beside the first: two more samples, one of weight 0."""
    samples = [make_sample(7), make_sample(9, weight=np.float32(0))]
    second = replace(source, name="shard-00001")
    write_shard(shard.parent, second, lambda: [make_scene("MPH16")], lambda: samples)
    return shard_path(shard.parent, second.name)


def test_rejected_samples_and_those_of_weight_0_are_left_out_unless_asked_for(shard, other, make_sample):
    usable = ShardCollection([shard, other])
    assert [sample.sample_id for sample in usable] == [make_sample(r).sample_id for r in (0, 1, 3, 4, 7)]
    assert usable.excluded == {"penetration": 1, "weight 0": 1}
    assert len(ShardCollection([shard, other], SelectionSettings(use_rejected=True))) == 7
    assert usable.scene_of(4).scene == "MPH16"
    assert usable.scene_of(4) is usable.scene_of(4)


def test_scenes_are_held_as_far_as_memory_allows(shard, other, monkeypatch):
    usable = ShardCollection([shard, other])
    first = usable.scene_of(0)
    usable.scene_of(4)
    assert usable.scene_of(0) is first
    monkeypatch.setattr(collection, "_KEPT_POINTS", 1)
    small = ShardCollection([shard, other])
    first = small.scene_of(0)
    assert small.scene_of(0) is first  # the scene asked for is held whatever its size
    small.scene_of(4)
    assert small.scene_of(0) is not first


def test_weights_are_those_stored_unless_switched_off(shard, make_sample):
    sample = make_sample(1, weight=np.float32(0.25))
    assert ShardCollection([shard]).weight(sample) == 0.25
    assert ShardCollection([shard], SelectionSettings(use_weights=False)).weight(sample) == 1


def test_one_side_of_a_split(shard, other):
    split = {"N3Office_00034_01": "train", "MPH16_00034_01": "val"}
    train = ShardCollection([shard, other], side=SplitSide("train", split))
    val = ShardCollection([shard, other], side=SplitSide("val", split))
    assert {sample.recording for sample in train} == {"N3Office_00034_01"}
    assert {sample.recording for sample in val} == {"MPH16_00034_01"}
    assert len(train) + len(val) == 5
    with pytest.raises(DataInvalid, match=r"no sample is left to use[\s\S]*other side of the split: 7"):
        ShardCollection([shard, other], side=SplitSide("test", split))
    with pytest.raises(DataInvalid, match=r"on no side of the split[\s\S]*MPH16_00034_01"):
        ShardCollection([shard], side=SplitSide("train", {"N3Office_00034_01": "train"}))


def test_fitted_and_true_bodies_are_not_mixed_unasked(shard, source, make_sample, make_scene):
    truth = replace(source, name="truth", kind="truth")
    write_shard(shard.parent, truth, lambda: [make_scene("MPH16")], lambda: [make_sample(11)])
    paths = [shard, shard_path(shard.parent, "truth")]
    with pytest.raises(DataInvalid, match=r"are mixed[\s\S]*shard-00000.h5: fit; .*truth.h5: truth"):
        ShardCollection(paths)
    assert len(ShardCollection(paths, SelectionSettings(allow_mixed_kinds=True))) == 5


def test_a_sample_in_two_shards_is_refused(shard, source, make_sample, make_scene):
    again = replace(source, name="again")
    write_shard(shard.parent, again, lambda: [make_scene("MPH16")], lambda: [make_sample(1)])
    with pytest.raises(DataInvalid, match=rf"in two shards[\s\S]*{make_sample(1).sample_id}"):
        ShardCollection([shard, shard_path(shard.parent, "again")])


def test_no_shard_and_no_usable_sample(shard, source, make_sample, make_scene):
    with pytest.raises(DataMissing, match=r"no shard is given[\s\S]*make shards"):
        ShardCollection([])
    bad = replace(source, name="bad")
    samples = [make_sample(1, reject_reason="visibility"), make_sample(3, weight=np.float32(0))]
    write_shard(shard.parent, bad, lambda: [make_scene("MPH16")], lambda: samples)
    with pytest.raises(DataInvalid, match=r"no sample is left[\s\S]*visibility: 1, weight 0: 1"):
        ShardCollection([shard_path(shard.parent, "bad")])


def test_a_collection_pickles_without_open_files(shard):
    collection = ShardCollection([shard])
    assert collection[0].sample_id == pickle.loads(pickle.dumps(collection))[0].sample_id  # noqa: S301


def drain(sampler, steps, batch=1):
    """Keys of the next batches, epochs following each other, as a training loop takes them."""
    taken = []
    while len(taken) < steps:
        keys = list(sampler)
        for start in range(0, len(keys), batch):
            own = keys[start : start + batch]
            taken.append(own)
            sampler.position = sampler.after(len(own))
            if len(taken) == steps:
                return taken
        sampler.position = sampler.next_epoch()
    return taken


def test_an_epoch_visits_every_sample_once_in_an_order_of_its_own():
    sampler = EpochSampler(10, seed=5)
    first = list(sampler)
    assert sorted(key.row for key in first) == list(range(10))
    assert list(sampler) == first  # looking does not move it
    sampler.position = sampler.next_epoch()
    assert [key.row for key in sampler] != [key.row for key in first]
    assert {key.epoch for key in sampler} == {1}
    assert [key.row for key in EpochSampler(10, seed=5, shuffle=False)] == list(range(10))


@given(st.integers(1, 20), st.integers(1, 4), st.integers(0, 30), st.integers(1, 30))
def test_stopping_and_going_on_equals_a_straight_run(num_samples, batch, before, after):
    straight = drain(EpochSampler(num_samples, seed=3), before + after, batch)
    first = EpochSampler(num_samples, seed=3)
    taken = drain(first, before, batch)
    second = EpochSampler(num_samples, seed=3)
    second.position = first.position
    assert taken + drain(second, after, batch) == straight


@given(st.integers(1, 30), st.integers(1, 4), st.integers(1, 5))
def test_the_batches_of_all_ranks_are_those_of_one_process(num_samples, num_ranks, batch):
    ranks = [
        list(EpochSampler(num_samples, seed=1, rank=rank, num_ranks=num_ranks))
        for rank in range(num_ranks)
    ]
    assert len({len(keys) for keys in ranks}) == 1
    alone = list(EpochSampler(num_samples, seed=1))
    assert set().union(*ranks) == set(alone)
    for start in range(0, len(ranks[0]), batch):
        joint = {key for keys in ranks for key in keys[start : start + batch]}
        span = alone[start * num_ranks : (start + batch) * num_ranks]
        if len(span) == batch * num_ranks:  # the last ones of an epoch are filled up
            assert joint == set(span)


def test_ranks_resume_together():
    ranks = [EpochSampler(10, seed=1, rank=rank, num_ranks=2) for rank in range(2)]
    whole = [list(sampler) for sampler in ranks]
    for sampler, keys in zip(ranks, whole, strict=True):
        sampler.position = sampler.after(3)
        assert list(sampler) == keys[3:]
        assert len(sampler) == 2


def test_positions_and_ranks_that_do_not_exist():
    sampler = EpochSampler(4, seed=0)
    with pytest.raises(DataInvalid, match=r"fewer samples left[\s\S]*expected: 4[\s\S]*found: 5"):
        sampler.after(5)
    for bad in ({"rank": 2, "num_ranks": 2}, {"rank": -1}):
        with pytest.raises(DataInvalid, match="rank below the number of ranks"):
            EpochSampler(4, seed=0, **bad)
    with pytest.raises(DataInvalid, match="0 samples"):
        EpochSampler(0, seed=0)
    assert SampleKey(1, 2) == (1, 2)
