"""Whole trainings of a few steps: files, resuming, and everything that can be wrong with the input."""

import errno
import json

import pytest
import torch

from pipelines.artifacts import hash_file, write_json
from pipelines.errors import DataInvalid, DataMissing, FittingFailed, OutputFailed
from sahmr.data import supervision
from sahmr.networks.metro import Metro
from sahmr.networks.rcnet import Rcnet
from sahmr.networks.sahmr import Sahmr
from sahmr.networks.weights_file import read_network, write_network
from sahmr.training import loop
from sahmr.training.log import read_log
from sahmr.training.settings import StartSettings, TrainingSettings
from sahmr.training.stages import start_maps, train_stage, weights_path

SPLIT = {"recordings": {"Room0_00034_01": "train", "Room1_00034_01": "val"}}


class Stop(Exception):
    """What a kill is in these tests."""


def stop_after(monkeypatch, steps):
    """Let a training die in the middle of the step after so many."""
    own = loop.Training.step

    def step(self, batch, truth):
        if self.progress.step == steps:
            self.task(batch, truth, torch.Generator(), self.watch)  # moves running statistics, too
            raise Stop
        return own(self, batch, truth)

    monkeypatch.setattr(loop.Training, "step", step)


def weights(path):
    return read_network(path, Rcnet).network.state_dict()


def without_seconds(folder):
    return [{name: row[name] for name in row if name != "seconds"} for row in read_log(folder)]


def test_a_run_leaves_weights_log_and_card(micro, body_shards):
    split = body_shards()[0].parent / "splits.json"
    write_json(split, SPLIT)
    try:
        settings = micro(start_from={})
        for stage in ("start", "rcnet", "mesh", "metro"):
            train_stage(settings, stage)
    finally:
        split.unlink()
    folder = settings.run_dir
    rcnet = read_network(weights_path(settings, "rcnet"), Rcnet)
    sahmr = read_network(weights_path(settings, "mesh"), Sahmr).network
    for name, tensor in rcnet.network.state_dict().items():
        assert torch.equal(sahmr.rcnet.state_dict()[name], tensor), name  # frozen, statistics included
    assert rcnet.provenance["data"]["train"]["recordings"] == ["Room0_00034_01"]
    assert rcnet.provenance["data"]["validation"]["recordings"] == ["Room1_00034_01"]
    kinds = [(row["kind"], row["step"]) for row in read_log(folder / "mesh")]
    assert kinds == [("train", 1), ("validation", 1), ("train", 2), ("validation", 2)]
    card = (folder / "mesh" / "model_card.md").read_text()
    for text in (
        "4 samples",
        "Room1_00034_01",
        "mpve_mm",
        "stand-in",
        "losses.vertices_camera",
        "2 of 2",
    ):
        assert text in card
    assert str(folder) not in card
    text = (folder / "mesh" / "best.safetensors").read_bytes()
    assert str(folder).encode() not in text


@pytest.mark.parametrize("stage", ["mesh", "metro"])
def test_an_upsampling_that_is_fixed_stays(micro, metro_start, stage, tmp_path):
    settings = micro(fixed_upsampling=True)
    rcnet = tmp_path / "rcnet.safetensors"
    write_network(rcnet, Rcnet(settings.rcnet_with_categories), {})
    start = StartSettings(metro=metro_start, rcnet=rcnet)
    path = train_stage(settings.model_copy(update={"start_from": start}), stage)
    before = read_network(metro_start, Metro).network
    trained = read_network(path, Metro if stage == "metro" else Sahmr).network
    after = trained if stage == "metro" else trained.mesh_recovery
    assert torch.equal(after.upsampling.to_full.weight, before.upsampling.to_full.weight)
    assert not torch.equal(after.stages[0].embed.weight, before.stages[0].embed.weight)


def test_maps_start_nearly_constant(micro):
    rcnet = Rcnet(micro().rcnet_with_categories).eval()
    start_maps(rcnet, depth=2.0)
    maps = rcnet.root_net(torch.randn(2, 3, 64, 64))
    for found, expected in (
        (maps.root_heatmap, 0.0),
        (maps.depth, 2.0),
        (maps.contact[:, 0], 1.0),  # background
        (maps.contact[:, 1:], 0.0),
    ):
        assert abs(found.mean().item() - expected) < 0.2
    assert maps.features.std() > maps.contact[:, 1:].std()


def test_a_finished_stage_is_not_trained_again(micro, monkeypatch):
    settings = micro()
    path = train_stage(settings, "rcnet")
    monkeypatch.setattr(loop.Training, "run", lambda self: pytest.fail("trained again"))
    assert train_stage(settings, "rcnet") == path
    with pytest.raises(DataInvalid, match="finished training with other"):
        train_stage(settings.model_copy(update={"seed": 7}), "rcnet")


@pytest.mark.parametrize("stage", ["start", "rcnet", "mesh", "metro"])
def test_half_precision_follows_single_precision(micro, tmp_path, stage):
    found = {}
    for precision in ("float32", "bfloat16"):
        own = {"batch_size": 4, "steps": 2, "log_every": 1, "precision": precision}
        settings = micro(name=precision, **{stage: own})
        rcnet = tmp_path / "rcnet.safetensors"
        torch.manual_seed(0)
        write_network(rcnet, Rcnet(settings.rcnet_with_categories), {})
        start = settings.start_from.model_copy(update={"rcnet": rcnet})
        train_stage(settings.model_copy(update={"start_from": start}), stage)
        rows = read_log(settings.run_dir / stage)
        found[precision] = [row["loss"] for row in rows if row["kind"] == "train"]
    assert found["bfloat16"] == pytest.approx(found["float32"], rel=0.05)
    assert found["bfloat16"] != found["float32"]


@pytest.mark.parametrize("stage", ["rcnet", pytest.param("metro", marks=pytest.mark.slow)])
def test_a_killed_training_ends_with_the_same_bytes(micro, monkeypatch, tmp_path, stage):
    long = {
        "batch_size": 3,
        "steps": 6,
        "save_every": 1,
        "validate_every": 3,
        "log_every": 1,
        "ema_decay": 0.9,
    }
    changes = {stage: long, "data": {"validate_on": "train"}}
    straight = micro(**changes, name="straight")
    broken = micro(**changes, name="broken")
    train_stage(straight, stage)
    with monkeypatch.context() as patch:
        stop_after(patch, 3)  # in the second epoch of 8 samples
        with pytest.raises(Stop):
            train_stage(broken, stage)
    assert not (broken.run_dir / stage / f"{stage}.done.json").exists()
    with (broken.run_dir / stage / "log.jsonl").open("a") as stream:
        stream.write('{"step": 4, "kind": "tra')  # cut short by the kill
    train_stage(broken, stage)
    for name in ("last.safetensors", "best.safetensors"):
        assert hash_file(straight.run_dir / stage / name) == hash_file(broken.run_dir / stage / name)
    assert without_seconds(straight.run_dir / stage) == without_seconds(broken.run_dir / stage)


def test_a_checkpoint_of_another_training_is_refused(micro, monkeypatch):
    settings = micro(rcnet={"batch_size": 4, "steps": 4, "save_every": 1})
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(Stop):
            train_stage(settings, "rcnet")
    other = micro(rcnet={"batch_size": 4, "steps": 4, "save_every": 2, "learning_rate": 0.5})
    with pytest.raises(DataInvalid, match=r"other stage: learning_rate was 0.002, is 0.5"):
        train_stage(other, "rcnet")
    data = micro(rcnet={"batch_size": 4, "steps": 4, "save_every": 1}, data={"limit": 4})
    with pytest.raises(DataInvalid, match="other data"):
        train_stage(data, "rcnet")
    train_stage(other.model_copy(update={"restart": True}), "rcnet")


def test_a_damaged_checkpoint_is_refused(micro):
    settings = micro()
    path = settings.run_dir / "rcnet" / "last.state.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(DataInvalid, match="training checkpoint cannot be read"):
        train_stage(settings, "rcnet")


def test_weights_of_another_preset_are_refused(micro):
    wide = json.loads(micro().model_dump_json())
    wide["mesh_network"]["backbone"]["width"] = 8
    with pytest.raises(DataInvalid, match="of another preset"):
        train_stage(TrainingSettings.model_validate(wide), "metro")


def test_a_stage_needs_the_one_before(micro):
    with pytest.raises(DataMissing, match="weights to start from are not there"):
        train_stage(micro(), "mesh")


def test_a_full_disk_leaves_the_checkpoint_before(micro, monkeypatch):
    settings = micro(rcnet={"batch_size": 4, "steps": 4, "save_every": 1})
    own, calls = torch.save, []

    def save(content, path):
        calls.append(path)
        if len(calls) == 3:
            path.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        own(content, path)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", save)
        with pytest.raises(OutputFailed, match="no room left on the disk"):
            train_stage(settings, "rcnet")
    folder = settings.run_dir / "rcnet"
    assert torch.load(folder / "last.state.pt", weights_only=True)["progress"]["step"] == 2
    assert not list(folder.glob(".*.tmp"))
    assert not (folder / "rcnet.done.json").exists()
    train_stage(settings, "rcnet")


def spoil_one_sample(monkeypatch, everywhere=False):
    """Make the targets of a sample NaN after they passed all checks of the data."""
    own = supervision.Supervision.before_forward

    def before_forward(self, batch):
        truth = own(self, batch)
        for row, name in enumerate(batch.sample_ids):
            if everywhere or name.endswith("00002"):
                truth.root.depth[row] = torch.nan
        return truth

    monkeypatch.setattr(supervision.Supervision, "before_forward", before_forward)


def test_a_loss_that_is_no_number_stops_and_names_the_sample(micro, monkeypatch):
    settings = micro()
    spoil_one_sample(monkeypatch)
    with pytest.raises(FittingFailed, match=r"Room0_00034_01/s001_frame_00002 \(root_depth nan\)"):
        train_stage(settings, "rcnet")


def test_a_loss_that_is_no_number_can_be_left_out(micro, monkeypatch):
    settings = micro(non_finite="skip", rcnet={"batch_size": 4, "steps": 4, "log_every": 1})
    spoil_one_sample(monkeypatch)
    train_stage(settings, "rcnet")
    assert read_log(settings.run_dir / "rcnet")[-1]["skipped"] == 2  # one of two batches per epoch
    assert all(tensor.isfinite().all() for tensor in weights(weights_path(settings, "rcnet")).values())


def test_nothing_but_steps_left_out_ends_the_training(micro, monkeypatch):
    settings = micro(non_finite="skip", rcnet={"batch_size": 4, "steps": 30, "log_every": 1})
    spoil_one_sample(monkeypatch, everywhere=True)
    with pytest.raises(FittingFailed, match="10 steps in a row"):
        train_stage(settings, "rcnet")


def test_one_sample_is_batch_enough(micro):
    settings = micro(rcnet={"batch_size": 1, "steps": 2}, data={"limit": 1})
    assert all(tensor.isfinite().all() for tensor in weights(train_stage(settings, "rcnet")).values())


def test_no_shards_no_training(micro, tmp_path):
    with pytest.raises(DataMissing, match="no shards to train on"):
        train_stage(micro(data={"shards": tmp_path}), "rcnet")


def test_an_empty_side_is_refused(micro, body_shards):
    split = body_shards()[0].parent / "splits.json"
    write_json(split, {"recordings": dict.fromkeys(SPLIT["recordings"], "test")})
    try:
        with pytest.raises(DataInvalid, match="no sample is left"):
            train_stage(micro(), "rcnet")
        split.write_text("[]")
        with pytest.raises(DataInvalid, match="split cannot be read"):
            train_stage(micro(), "rcnet")
    finally:
        split.unlink()


def test_a_shard_of_another_schema_is_refused(micro, body_shards, tmp_path):
    import h5py

    path = tmp_path / "shards" / "old.h5"
    path.parent.mkdir()
    path.write_bytes(body_shards()[0].read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 0
    with pytest.raises(DataInvalid, match="another schema version"):
        train_stage(micro(data={"shards": path.parent}), "rcnet")


def test_samples_without_contact_train(micro, monkeypatch):
    """The body hangs in the air: no voxel, no point and no map is in contact."""
    settings = micro(
        data={"left_out_parts": ["L_Leg", "R_Leg", "L_Hand", "R_Hand", "back", "gluteus", "thighs"]}
    )
    for stage in ("rcnet", "mesh"):
        train_stage(settings, stage)
    rows = read_log(settings.run_dir / "rcnet")
    assert all(row["loss"] == row["loss"] for row in rows)
