"""Every changed byte, every cut and every foreign file is found, and the sample named."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from pipelines.artifacts import marker_path, write_marker
from pipelines.errors import DataInvalid
from pipelines.shards.reader import ShardReader
from pipelines.shards.validate import quarantine_damaged, require_valid, validate_shard
from pipelines.shards.writer import write_shard


def flip(path, offset):
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x10
    path.write_bytes(content)


def sign_again(path, source):
    """A manifest that fits the changed file, as a foreign writer would leave it."""
    samples = [f"sample {row}" for row in range(5)]
    write_marker(path.parent, source.key, [path], {"samples": samples, "bytes": path.stat().st_size})


def test_a_good_shard_has_no_problem(shard):
    assert validate_shard(shard) == ()
    require_valid(shard)
    assert quarantine_damaged(shard.parent) == {}


def test_a_flipped_byte_anywhere_is_found(shard):
    whole = shard.read_bytes()
    for offset in np.random.default_rng(0).integers(0, len(whole), 25):
        shard.write_bytes(whole)
        flip(shard, offset)
        assert validate_shard(shard), offset


def test_a_flipped_byte_of_a_crop_names_its_sample(shard, make_sample):
    for row in (1, 4):
        crop = make_sample(row).crop_jpeg.tobytes()
        whole = shard.read_bytes()
        flip(shard, whole.index(crop) + 100)
        named = {problem.sample for problem in validate_shard(shard)} - {None}
        assert make_sample(row).sample_id in named
        shard.write_bytes(whole)


def test_a_flipped_byte_of_a_labelled_body_names_that_sample_alone(shard, make_sample):
    with h5py.File(shard) as file:
        offset = file["samples/vertex_category"].id.get_chunk_info_by_coord((3, 0)).byte_offset
    flip(shard, offset + 5)
    named = {problem.sample for problem in validate_shard(shard)} - {None}
    assert named == {make_sample(3).sample_id}
    reader = ShardReader(shard)
    assert reader.sample(2).sample_id == make_sample(2).sample_id  # the rest stays usable
    with pytest.raises(DataInvalid, match=r"a row of a shard is damaged[\s\S]*ShardSample 3"):
        reader.sample(3)
    with pytest.raises(DataInvalid, match=make_sample(3).sample_id):
        require_valid(shard)


@pytest.mark.parametrize("left", [0.0, 0.5, 0.999])
def test_a_cut_shard_is_found_and_refused(left, shard):
    content = shard.read_bytes()
    shard.write_bytes(content[: int(left * len(content))])
    assert f"{len(content)} were written" in validate_shard(shard)[0].what
    with pytest.raises(DataInvalid, match="cannot be opened: truncated"):
        ShardReader(shard).sample(0)


def test_bytes_after_the_end_are_found(shard):
    with shard.open("ab") as stream:
        stream.write(b"\0")
    assert validate_shard(shard)


def test_a_shard_without_manifest_or_a_manifest_without_shard(shard):
    marker = marker_path(shard.parent, shard.stem)
    kept = marker.read_text()
    marker.unlink()
    assert [problem.what for problem in validate_shard(shard)] == [
        "no manifest, or one that cannot be read"
    ]
    marker.write_text(kept)
    shard.unlink()
    missing, *lost = validate_shard(shard)
    assert missing.what == "the shard is missing"
    assert len({problem.sample for problem in lost}) == 5


def _version(file):
    file.attrs["version"] = 1


def _name(file):
    file.attrs["schema"] = "other"


def _lost_column(file):
    del file["samples/betas"]


def _lost_table(file):
    del file["scenes"]


def _dtype(file):
    column = file["samples/K"][()].astype(np.float32)
    del file["samples/K"]
    file["samples/K"] = column


def _shape(file):
    column = file["samples/betas"][:, :10]
    del file["samples/betas"]
    file["samples/betas"] = column


def _rows(file):
    file["samples/weight"].resize(4, axis=0)


def _link(file):
    del file["samples/K"]
    file["samples/K"] = h5py.ExternalLink("/elsewhere.h5", "K")


def _soft_link(file):
    file.move("samples/K", "K")
    file["samples/K"] = h5py.SoftLink("/K")


def _virtual(file):
    layout = h5py.VirtualLayout((5, 3, 3), np.float64)
    layout[:] = h5py.VirtualSource("elsewhere.h5", "K", (5, 3, 3))
    del file["samples/K"]
    file["samples"].create_virtual_dataset("K", layout)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _version,
            r"shard of another schema version[\s\S]*expected: 3[\s\S]*found: 1[\s\S]*migrate-shards",
        ),
        (_name, "not a training shard"),
        (_lost_column, "betas is missing or lies outside the shard"),
        (_lost_table, "shard has no table scenes"),
        (_dtype, r"K is not what the schema says[\s\S]*<f8[\s\S]*<f4"),
        (_shape, r"betas is not what the schema says[\s\S]*16[\s\S]*\(5, 10\)"),
        (_rows, "weight has the wrong number of rows"),
        (_link, "K is missing or lies outside the shard"),
        (_soft_link, "K is missing or lies outside the shard"),
        (_virtual, "K is missing or lies outside the shard"),
    ],
)
def test_another_structure_is_refused_even_under_a_fitting_manifest(change, message, shard, source):
    with h5py.File(shard, "r+") as file:
        change(file)
    sign_again(shard, source)
    with pytest.raises(DataInvalid, match=message):
        ShardReader(shard).sample(0)
    with pytest.raises(DataInvalid, match=message):
        require_valid(shard)


def test_a_value_changed_by_another_program_is_found_by_the_sample_digest(shard, make_sample):
    with h5py.File(shard, "r+") as file:
        file["samples/transl"][2, 0] += 1  # its checksum is renewed, the digest is not
    named = [problem for problem in validate_shard(shard) if problem.sample]
    assert [problem.sample for problem in named] == [make_sample(2).sample_id]
    assert "differs from its digest" in named[0].what


def test_a_damaged_shard_is_moved_aside_and_the_rest_stays(shard, source, make_sample, make_scene):
    folder = shard.parent
    other = replace(source, name="shard-00001")
    write_shard(folder, other, lambda: [make_scene("N3Office")], lambda: [make_sample(0)])
    flip(shard, 5000)
    assert list(quarantine_damaged(folder)) == ["shard-00000"]
    aside = folder / "quarantine"
    assert sorted(path.name for path in aside.iterdir()) == ["shard-00000.done.json", "shard-00000.h5"]
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["quarantine", "shard-00001.done.json", "shard-00001.h5"]
    assert validate_shard(folder / "shard-00001.h5") == ()
