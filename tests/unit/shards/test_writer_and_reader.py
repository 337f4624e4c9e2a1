"""What is written comes back; what differs from the schema is refused; nothing is ever half there."""

import multiprocessing
import os
import pickle
import signal
from dataclasses import fields, replace

import h5py
import numpy as np
import pytest

from pipelines.artifacts import hash_file, read_marker
from pipelines.errors import DataInvalid, DataMissing, OutputFailed
from pipelines.shards.reader import ShardReader
from pipelines.shards.schema import ShardSample, ShardScene, columns_of
from pipelines.shards.writer import shard_path, write_shard


def assert_equal(one, other):
    for field in fields(one):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)


def write(folder, source, scenes, samples):
    return write_shard(folder, source, lambda: iter(scenes), lambda: iter(samples))


def test_every_field_of_a_record_is_a_column_of_a_known_type():
    for record in (ShardSample, ShardScene):
        columns = columns_of(record)
        assert [column.name for column in columns] == [field.name for field in fields(record)]
        assert all(np.dtype(column.dtype).kind in "SfuiS" for column in columns)


def test_samples_and_scenes_come_back_in_any_order(shard, make_sample, make_scene):
    with ShardReader(shard) as reader:
        assert len(reader) == 5
        assert reader.kind == "fit"
        for row in (3, 0, 4, 1, 2):
            assert_equal(reader.sample(row), make_sample(row))
        assert_equal(reader.sample(-1), make_sample(4))
        assert_equal(reader.scene("MPH16"), make_scene("MPH16"))
        assert [sample.sample_id for sample in reader] == [make_sample(r).sample_id for r in range(5)]
        sample = reader.sample(3)
        assert reader.scene(sample.scene).points_world[sample.contact_rows].shape[1] == 3


def test_more_samples_than_are_written_at_once(tmp_path, source, make_sample, make_scene):
    samples = [replace(make_sample(2), sample_id=f"a/{row}", subject=f"{row}") for row in range(515)]
    write(tmp_path, source, [make_scene("N3Office")], samples)
    with ShardReader(shard_path(tmp_path, source.name)) as reader:
        assert len(reader) == 515
        for row in (0, 255, 256, 511, 512, 514):
            assert_equal(reader.sample(row), samples[row])


def test_rows_and_scenes_that_are_not_there(shard, tmp_path):
    reader = ShardReader(shard)
    for row in (5, -6):
        with pytest.raises(IndexError, match=f"sample {row} of 5"):
            reader.sample(row)
    with pytest.raises(DataMissing, match=r"scene Werkraum is not in the shard"):
        reader.scene("Werkraum")
    with pytest.raises(DataMissing, match="shard not found"):
        ShardReader(tmp_path / "none.h5").sample(0)


def test_equal_samples_give_equal_bytes_and_name_no_path(
    shard, tmp_path, source, make_sample, make_scene
):
    scenes = [make_scene(name) for name in ("N3Office", "MPH16")]
    write(tmp_path / "again", source, scenes, map(make_sample, range(5)))
    again = shard_path(tmp_path / "again", source.name)
    assert hash_file(again) == hash_file(shard)
    marker = shard.with_name("shard-00000.done.json").read_bytes()
    assert (tmp_path / "again" / "shard-00000.done.json").read_bytes() == marker
    assert str(tmp_path).encode() not in marker + shard.read_bytes()


def test_the_manifest_says_what_the_shard_holds(shard, source):
    marker = read_marker(shard.parent, source.name)
    assert marker.files == {"shard-00000.h5": hash_file(shard)}
    assert marker.summary["num_samples"] == len(marker.summary["samples"]) == 5
    assert marker.summary["scenes"] == ["MPH16", "N3Office"]
    assert marker.summary["rejected"] == {"penetration": 1}
    assert marker.summary["bytes"] == shard.stat().st_size


def test_a_finished_shard_is_not_made_again_and_a_changed_one_is(shard, source, make_sample, make_scene):
    scenes = [make_scene(name) for name in ("N3Office", "MPH16")]

    def samples():
        raise AssertionError("asked for samples")

    assert not write_shard(shard.parent, source, lambda: scenes, samples)
    other = replace(source, inputs={"fit": "f2"})
    assert write(shard.parent, other, scenes, [make_sample(0)])
    assert len(ShardReader(shard)) == 1
    shard.unlink()
    assert write(shard.parent, other, scenes, [make_sample(0)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"body_pose": np.zeros(62, np.float32)}, r"body_pose is not[\s\S]*\(63,\)[\s\S]*\(62,\)"),
        ({"K": np.eye(3, dtype=np.float32)}, r"K is not what the schema says[\s\S]*<f8"),
        ({"transl": np.array([0, np.nan, 0], np.float32)}, "transl is not finite"),
        ({"crop_jpeg": np.zeros((2, 1), np.uint8)}, "crop_jpeg is not what the schema says"),
        ({"contact_rows": np.zeros(40, np.int32)}, "every scene point in contact has one category"),
        ({"subject": "x" * 33}, r"subject cannot be stored[\s\S]*at most 32"),
        ({"frame": "caf\u00e9"}, "frame cannot be stored"),
        ({"frame": "a\0"}, "frame cannot be stored"),
        ({"scene": "Werkraum"}, "a sample's scene is not in the shard"),
        ({"sample_id": "N3Office_00034_01/s001_frame_00000"}, "a name is given twice"),
    ],
)
def test_a_sample_that_differs_from_the_schema_is_refused_and_leaves_nothing(
    changes, message, tmp_path, source, make_sample, make_scene
):
    scenes, sample = [make_scene("N3Office"), make_scene("MPH16")], make_sample(1)
    for name, value in changes.items():
        object.__setattr__(sample, name, value)  # past the shape check of the tests
    with pytest.raises(DataInvalid, match=message):
        write(tmp_path, source, scenes, [make_sample(0), sample])
    assert list(tmp_path.iterdir()) == []


def test_a_shard_without_samples_is_refused(tmp_path, source, make_scene):
    with pytest.raises(DataInvalid, match="without samples is not written"):
        write(tmp_path, source, [make_scene("MPH16")], [])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_earlier_shards_as_they_were(shard, source, make_sample, make_scene):
    before = {path.name: path.read_bytes() for path in shard.parent.iterdir()}

    def samples():
        yield make_sample(0)
        raise OSError(28, "No space left on device")

    scenes = [make_scene("N3Office")]
    with pytest.raises(OutputFailed, match="no room left on the disk"):
        write_shard(shard.parent, replace(source, name="shard-00001"), lambda: scenes, samples)
    assert {path.name: path.read_bytes() for path in shard.parent.iterdir()} == before


def _die_while_writing(folder, source, scenes, samples, alive):
    def killed():
        yield from samples[:alive]
        os.kill(os.getpid(), signal.SIGKILL)

    write_shard(folder, source, lambda: scenes, killed)


def test_a_kill_while_writing_leaves_no_shard_and_the_next_run_the_same_bytes(
    shard, tmp_path, source, make_sample, make_scene
):
    scenes = [make_scene(name) for name in ("N3Office", "MPH16")]
    samples = [make_sample(row) for row in range(5)]
    folder = tmp_path / "killed"
    for alive in (0, 2, 5):
        arguments = (folder, source, scenes, samples, alive)
        process = multiprocessing.get_context("fork").Process(target=_die_while_writing, args=arguments)
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not shard_path(folder, source.name).exists()
    write(folder, source, scenes, samples)
    assert sorted(path.name for path in folder.iterdir()) == ["shard-00000.done.json", "shard-00000.h5"]
    assert hash_file(shard_path(folder, source.name)) == hash_file(shard)


def _read_all(reader, queue):
    queue.put([sample.crop_jpeg.sum() for sample in reader])


def test_a_forked_worker_reads_while_its_parent_does(shard, make_sample):
    reader = ShardReader(shard)
    reader.sample(0)  # the handle the child inherits
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_read_all, args=(reader, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    expected = [make_sample(row).crop_jpeg.sum() for row in range(5)]
    assert [sample.crop_jpeg.sum() for sample in reader] == expected
    assert [queue.get(timeout=300) for _ in workers] == [expected, expected]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert_equal(reader.sample(4), make_sample(4))


def test_a_reader_pickles_as_its_path(shard, make_sample):
    reader = ShardReader(shard)
    reader.sample(0)
    again = pickle.loads(pickle.dumps(reader))  # noqa: S301 -- our own bytes
    assert_equal(again.sample(1), make_sample(1))


def test_rows_are_chunked_one_by_one_where_they_are_large(shard):
    with h5py.File(shard) as file:
        assert file["samples/vertex_category"].chunks == (1, 6890)
        assert all(dataset.fletcher32 for dataset in file["samples"].values())
