"""Columns held in memory give what the file gives, and damage to a part leaves the rest usable."""

from dataclasses import fields, replace

import h5py
import numpy as np
import pytest

from pipelines.errors import DataInvalid
from pipelines.shards.reader import ShardReader, read_record
from pipelines.shards.schema import ShardSample
from pipelines.shards.writer import shard_path, write_shard


@pytest.fixture
def long_shard(tmp_path, source, make_sample, make_scene):
    """Two chunks of small columns: 256 rows and 44."""
    samples = [replace(make_sample(row), sample_id=f"r/{row}", scene="N3Office") for row in range(300)]
    write_shard(tmp_path, source, lambda: [make_scene("N3Office")], lambda: samples)
    return shard_path(tmp_path, source.name)


def test_rows_from_memory_equal_rows_from_the_file(long_shard):
    with ShardReader(long_shard) as reader:
        for row in (0, 255, 256, 299):
            held, read = reader.sample(row), read_record(reader.file, ShardSample, row, check=True)
            for field in fields(ShardSample):
                found, expected = getattr(held, field.name), getattr(read, field.name)
                np.testing.assert_array_equal(found, expected)
                assert type(found) is type(expected)


def test_changing_a_sample_changes_no_later_one(long_shard):
    reader = ShardReader(long_shard)
    reader.sample(3).K[:] = 0
    assert reader.sample(3).K[2, 2] == 1


@pytest.mark.parametrize("column", ["betas", "recording", "contact_rows_offsets"])
def test_a_damaged_chunk_of_a_small_column_hurts_its_own_rows_only(column, long_shard):
    with h5py.File(long_shard) as file:
        dataset = file[f"samples/{column}"]
        last = dataset.id.get_chunk_info(dataset.id.get_num_chunks() - 1)
    content = bytearray(long_shard.read_bytes())
    content[last.byte_offset + last.size // 2] ^= 0x55
    long_shard.write_bytes(content)
    reader = ShardReader(long_shard)
    with pytest.raises(DataInvalid, match=r"a row of a shard is damaged[\s\S]*ShardSample 299"):
        reader.sample(299)
    if column != "contact_rows_offsets":  # whose single chunk holds all rows
        assert reader.sample(0).sample_id == "r/0"


def test_offsets_that_lead_outside_are_refused(shard):
    with h5py.File(shard, "r+") as file:
        file["samples/crop_jpeg_offsets"][3] = 10**9
    reader = ShardReader(shard)
    assert len(reader.sample(0).crop_jpeg) > 0
    with pytest.raises(DataInvalid, match=r"is damaged[\s\S]*offsets of"):
        reader.sample(2)
