"""Shards of an older version become shards of this one, whole or not at all."""

from dataclasses import fields

import h5py
import numpy as np
import pytest

from flows.cli import run
from pipelines.artifacts import hash_file, read_marker, write_marker
from pipelines.errors import DataInvalid, DataMissing
from pipelines.shards import migrate
from pipelines.shards.migrate import Step, migrate_shard, migrate_shards
from pipelines.shards.reader import ShardReader
from pipelines.shards.schema import SAMPLES, SCENES, ShardSample
from pipelines.shards.validate import validate_shard


def copy_attributes(source, destination):
    for name, value in source.attrs.items():
        destination.attrs[name] = value.decode() if isinstance(value, bytes) else value


NEW_IN_3 = ("has_own_contact", "own_contact", "own_contact_offsets")


@pytest.fixture(params=[1, 2])
def old(request, shard, source):
    """The shard without the columns of version 3, and its text of variable length as version 1 wrote it."""
    before = shard.with_suffix(".new")
    shard.replace(before)
    with h5py.File(before) as new, h5py.File(shard, "w-") as file:
        copy_attributes(new, file)
        file.attrs["version"] = request.param
        for table in (SAMPLES, SCENES):
            file.create_group(table, track_order=True)
            for name, item in new[table].items():
                if name in NEW_IN_3:
                    continue
                kept = {"chunks": item.chunks, "compression": item.compression, "shuffle": item.shuffle}
                made = file[table].create_dataset(
                    name, data=item[()], maxshape=item.maxshape, fletcher32=True, **kept
                )
                copy_attributes(item, made)
    marker = read_marker(shard.parent, source.name)
    write_marker(
        shard.parent, marker.key, [shard], {**marker.summary, "version": request.param, "bytes": 0}
    )
    before.unlink()
    return shard


def test_an_old_shard_is_refused_then_migrated_with_all_it_holds(old, make_sample, make_scene, source):
    with pytest.raises(DataInvalid, match=r"another schema version[\s\S]*migrate-shards"):
        ShardReader(old).sample(0)
    key = read_marker(old.parent, source.name).key
    assert migrate_shard(old)
    assert validate_shard(old) == ()
    with ShardReader(old) as reader:
        assert reader.kind == "fit"
        for row in range(5):
            for field in fields(ShardSample):
                found, expected = (
                    getattr(sample, field.name) for sample in (reader.sample(row), make_sample(row))
                )
                np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(
            reader.scene("MPH16").points_world, make_scene("MPH16").points_world
        )
    marker = read_marker(old.parent, source.name)
    assert marker.key == key
    assert marker.summary["version"] == 3
    assert marker.summary["bytes"] == old.stat().st_size
    assert not migrate_shard(old)


def test_a_migrated_shard_is_byte_for_byte_a_new_one(old, tmp_path, source, make_sample, make_scene):
    from pipelines.shards.writer import shard_path, write_shard

    migrate_shard(old)
    scenes = [make_scene(name) for name in ("N3Office", "MPH16")]
    write_shard(tmp_path / "new", source, lambda: scenes, lambda: map(make_sample, range(5)))
    assert hash_file(shard_path(tmp_path / "new", source.name)) == hash_file(old)


def test_steps_follow_each_other(old, monkeypatch):
    """As if version 1 had called a column otherwise and version 0 had weighed in per cent."""
    columns = migrate.STEPS[1].columns

    def less(sample):
        return {**sample, "weight": np.float32(sample["weight"] / 100)}

    def named(sample):
        return {**sample, "reject_reason": sample["reject_reason"] or "old"}

    monkeypatch.setitem(migrate.STEPS, 0, Step(columns, less, lambda scene: scene))
    monkeypatch.setitem(migrate.STEPS, 1, Step(columns, named, lambda scene: scene))
    marker = read_marker(old.parent, old.stem)
    with h5py.File(old, "r+") as file:
        file.attrs["version"] = 0
    write_marker(old.parent, marker.key, [old], marker.summary)
    assert migrate_shard(old)
    sample = ShardReader(old).sample(0)
    assert sample.weight == np.float32(0.01)
    assert sample.reject_reason == "old"


def test_damage_is_not_carried_over(old):
    content = bytearray(old.read_bytes())
    content[len(content) // 2] ^= 1
    old.write_bytes(content)
    with pytest.raises(DataInvalid, match="not what its manifest says is not migrated"):
        migrate_shard(old)
    assert old.read_bytes() == bytes(content)
    old.write_bytes(content[:100])
    with pytest.raises(DataInvalid, match="cannot be opened"):
        migrate_shard(old)


@pytest.mark.parametrize("version", [0, 4])
def test_a_version_without_a_step_is_refused(version, old):
    with h5py.File(old, "r+") as file:
        file.attrs["version"] = version
    with pytest.raises(DataInvalid, match=rf"cannot be migrated[\s\S]*found: {version}[\s\S]*make the"):
        migrate_shard(old)


def test_the_verb_migrates_a_folder(old, capsys):
    assert run(["migrate-shards", str(old.parent.parent)]) == 0
    assert "1 shards carried over" in capsys.readouterr().out
    assert migrate_shards(old.parent) == 0
    assert validate_shard(old) == ()


def test_nothing_to_migrate(tmp_path):
    with pytest.raises(DataMissing, match="no shard to migrate"):
        migrate_shards(tmp_path)
    with h5py.File(tmp_path / "other.h5", "w"):
        pass
    with pytest.raises(DataInvalid, match="not a training shard"):
        migrate_shards(tmp_path)
