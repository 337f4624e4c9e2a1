"""Whatever byte is changed or cut off, it is found, and the samples it hurts are named."""

import h5py
import numpy as np
import pytest

from flows.cli import run
from pipelines.artifacts import marker_path, read_marker, write_marker
from pipelines.errors import DataMissing
from pipelines.shards.validate import compare_with_manifest, validate_shard
from pipelines.shards.verify import verify_shards


def chunk_spans(path):
    """Where the bytes of datasets lie; what is outside is structure."""
    spans = []

    def collect(_, item):
        if isinstance(item, h5py.Dataset):
            chunks = (item.id.get_chunk_info(k) for k in range(item.id.get_num_chunks()))
            spans.extend((chunk.byte_offset, chunk.byte_offset + chunk.size) for chunk in chunks)

    with h5py.File(path) as file:
        file.visititems(collect)
    return spans


def structural_offsets(path):
    inside = np.zeros(path.stat().st_size, bool)
    for start, stop in chunk_spans(path):
        inside[start:stop] = True
    return np.flatnonzero(~inside)


def unfound(path, changes):
    """Those changes of the whole file that are not found."""
    whole, missed = path.read_bytes(), []
    for name, change in changes:
        path.write_bytes(change(whole))
        if not validate_shard(path):
            missed.append(name)
    path.write_bytes(whole)
    return missed


def flipped(offset, bits):
    def change(whole):
        content = bytearray(whole)
        content[offset] ^= bits
        return bytes(content)

    return (offset, bits), change


def cut(length):
    return f"cut at {length}", lambda whole: whole[:length]


def test_flips_and_cuts_at_random_and_structural_places_are_found(shard):
    rng = np.random.default_rng(0)
    size, structure = shard.stat().st_size, structural_offsets(shard)
    places = [*rng.integers(0, size, 20), *rng.choice(structure, 20), *range(0, 96, 8)]
    flips = [flipped(int(place), int(rng.integers(1, 256))) for place in places]
    edges = sorted({edge for span in chunk_spans(shard) for edge in span})
    cuts = [cut(int(place)) for place in [*rng.integers(0, size, 10), *rng.choice(edges, 10), size - 1]]
    assert unfound(shard, flips + cuts) == []


@pytest.mark.slow
def test_a_change_of_any_byte_of_the_file_is_found(shard):
    """By the comparison that `validate_shard` starts with; all 8 flips of a byte in turn."""
    whole, marker = shard.read_bytes(), read_marker(shard.parent, shard.stem)
    missed = []
    with shard.open("r+b", buffering=0) as stream:
        for place, byte in enumerate(whole):
            for content in (byte ^ (1 << place % 8), byte):
                stream.seek(place)
                stream.write(bytes([content]))
                if bool(compare_with_manifest(shard, marker)) == (content == byte):
                    missed.append(place)
    assert missed == []


@pytest.mark.slow
def test_damaged_structure_is_told_without_a_crash(shard):
    """Headers, trees and heaps of HDF5, of which damaged ones of older formats killed the program."""
    rng = np.random.default_rng(1)
    whole = shard.read_bytes()
    written = [int(place) for place in structural_offsets(shard) if whole[place]]
    edges = sorted({edge for span in chunk_spans(shard) for edge in span})
    places = [*rng.choice(written, 200, replace=False).tolist(), *rng.choice(edges[:-1], 40).tolist()]
    flips = [flipped(place, int(rng.integers(1, 256))) for place in places]
    cuts = [cut(int(place)) for place in [*edges[:-1:20], *rng.integers(0, len(whole), 40)]]
    assert unfound(shard, flips + cuts) == []


def test_every_sample_of_a_file_that_does_not_open_is_named(shard, make_sample):
    shard.write_bytes(shard.read_bytes()[:1000])
    named = [problem.sample for problem in validate_shard(shard) if problem.sample]
    assert named == [make_sample(row).sample_id for row in range(5)]


def test_every_damaged_body_is_named_and_no_other(shard, make_sample):
    whole = shard.read_bytes()
    with h5py.File(shard) as file:
        places = [
            file["samples/vertex_category"].id.get_chunk_info_by_coord((row, 0)) for row in range(5)
        ]
    rng = np.random.default_rng(2)
    for row, chunk in enumerate(places):
        for place in rng.integers(0, chunk.size, 3):
            shard.write_bytes(flipped(int(chunk.byte_offset + place), 4)[1](whole))
            assert {p.sample for p in validate_shard(shard)} - {None} == {make_sample(row).sample_id}


def test_the_verb_says_what_is_whole(shard, capsys):
    assert run(["verify", str(shard.parent.parent)]) == 0
    assert "1 of 1 files are whole, 5 samples" in capsys.readouterr().out


def test_the_verb_names_hurt_samples_and_ends_with_1(shard, make_sample, capsys):
    crop = make_sample(3).crop_jpeg.tobytes()
    place = shard.read_bytes().index(crop) + 50
    shard.write_bytes(flipped(place, 8)[1](shard.read_bytes()))
    assert run(["verify", str(shard.parent)]) == 1
    told = capsys.readouterr().out
    assert f"WRONG {shard}" in told
    assert f"{make_sample(3).sample_id}: a row of a shard is damaged" in told
    assert shard.is_file()  # nothing moves unasked
    assert run(["verify", str(shard.parent), "--quarantine"]) == 1
    assert not shard.exists()
    assert (shard.parent / "quarantine" / shard.name).is_file()
    with pytest.raises(DataMissing, match="no shard to verify"):
        verify_shards(shard.parent)


def test_a_lost_shard_and_a_changed_index_are_found(shard, source, capsys):
    index = shard.with_name("index.csv")
    index.write_text("sample_id\n")
    key = type(source.key)("description", "s", {}, "c")
    write_marker(shard.parent, key, [index], {})
    assert verify_shards(shard.parent).ok
    index.write_text("sample\n")
    shard.unlink()
    marker_path(shard.parent, "other").write_text("{")
    assert run(["verify", str(shard.parent)]) == 1
    told = capsys.readouterr().out
    for line in (
        "the shard is missing",
        "bytes of the file have changed",
        "manifest that cannot be read",
    ):
        assert line in told
    index.unlink()
    assert "the file is missing" in verify_shards(shard.parent).to_text()


def test_many_hurt_samples_are_counted(shard, source, make_sample, make_scene):
    from dataclasses import replace

    from pipelines.shards.writer import shard_path, write_shard

    many = [replace(make_sample(2), sample_id=f"a/{row}") for row in range(20)]
    write_shard(
        shard.parent, replace(source, name="many"), lambda: [make_scene("N3Office")], lambda: many
    )
    path = shard_path(shard.parent, "many")
    path.write_bytes(path.read_bytes()[:500])
    assert "and 12 more samples" in verify_shards(shard.parent).to_text()


def test_a_whole_shard_of_another_version_is_told_but_not_moved(shard, source):
    with h5py.File(shard, "r+") as file:
        file.attrs["version"] = 1
    summary = {"samples": ["a", "b"], "bytes": shard.stat().st_size}
    write_marker(shard.parent, source.key, [shard], summary)
    report = verify_shards(shard.parent, quarantine=True)
    assert "another schema version" in report.to_text()
    assert [problem.sample for problem in report.problems[shard]] == [None]
    assert shard.is_file()


def test_a_folder_without_shards(tmp_path, capsys):
    assert run(["verify", str(tmp_path)]) == 2
    assert "make shards first" in capsys.readouterr().err
