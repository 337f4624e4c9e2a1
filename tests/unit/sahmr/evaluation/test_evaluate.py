"""From weights files and shards to the files of an evaluation, and what is refused on the way."""

import json

import numpy as np
import pytest
import torch

from pipelines.bodies.files import resolve_body_files
from pipelines.errors import DataInvalid, DataMissing
from pipelines.shards.collection import SelectionSettings
from sahmr.ablation import AblationSettings, require_shards, steps_line, variant_settings, weights_lines
from sahmr.evaluation.evaluate import (
    best_side,
    evaluate,
    open_side,
    read_split,
    require_inputs,
    scene_grids,
    shards_folder,
)
from sahmr.evaluation.load_rows import LoadedRow, leaks, load_rows, unequal_training
from sahmr.evaluation.pictures import judging_row, one_per_recording
from sahmr.evaluation.rows import TrueRow
from sahmr.evaluation.scene_distance import generated_grids, require_same_room
from sahmr.evaluation.settings import EvaluationSettings
from sahmr.evaluation.table import RowDescription
from sahmr.evaluation.true_of_fits import write_true_of_fits
from sahmr.networks.hrnet import HrnetSettings
from sahmr.networks.mesh_recovery import MeshRecoverySettings
from sahmr.networks.mesh_tokens import MeshTransformerSettings
from sahmr.networks.metro import Metro
from sahmr.networks.rcnet import RcnetSettings
from sahmr.networks.sahmr import Sahmr, SahmrSettings
from sahmr.networks.spvcnn import SpvcnnSettings
from sahmr.networks.weights_file import write_network

HRNET = HrnetSettings(width=4, stem_width=4, head_width=2, head_channels=6, blocks=1, modules=(1, 1, 1))
SMALL = {"hidden": (8, 8, 8), "outputs": (8, 8, 3), "heads": 2, "layers": 1, "feed_forward": 16}
PROVENANCE = {
    "identity": {"data": "d1"},
    "settings": {"steps": 5, "epochs": 30, "batch_size": 8},
    "data": {
        "kind": ["truth"],
        "train": {"samples": 12, "scenes": ["C", "D"], "subjects": ["00034"], "recordings": ["C_1"]},
    },
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training's folder with the weights of both rows."""
    folder = tmp_path_factory.mktemp("train") / "small"
    torch.manual_seed(0)
    contact_net = SpvcnnSettings(channels_down=(4, 4, 4, 4, 4), channels_up=(4, 4, 4, 4))
    sahmr = Sahmr(
        SahmrSettings(
            rcnet=RcnetSettings(backbone=HRNET, contact_net=contact_net),
            mesh_recovery=MeshRecoverySettings(backbone=HRNET, scene_heads=2, **SMALL),
        )
    )
    with torch.no_grad():
        sahmr.rcnet.root_net.maps.weight[1] = 0
        sahmr.rcnet.root_net.maps.bias[1] = 1.5
    write_network(folder / "mesh/best.safetensors", sahmr, PROVENANCE)
    metro = Metro(MeshTransformerSettings(backbone=HRNET, **SMALL))
    write_network(folder / "metro/best.safetensors", metro, PROVENANCE)
    return folder


def settings_for(trained, shards, tmp_path, **changes):
    values = {"train": trained, "shards": shards, "out_dir": tmp_path, "grids": "none", "pictures": 1}
    return EvaluationSettings(**{**values, **changes})


def test_everything_is_written_and_the_same_twice(trained, eval_shards, tmp_path):
    first = evaluate(settings_for(trained, eval_shards, tmp_path / "a", limit=3))
    assert first.table.methods == ("dataset_gt", "metro", "sahmr_8")
    assert first.rows["sahmr_8"].data == "true bodies, 12 samples of 2 scenes"
    assert first.table.data.num_frames == 3
    folder = tmp_path / "a" / "small"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "evaluation.json",
        "evaluation.md",
        "evaluation.png",
        "errors.npz",
        "settings.yaml",
        "pictures/worst.jpg",
        "pictures/best.jpg",
    }
    assert any("subjects it is measured on" in warning for warning in first.table.warnings)
    second = evaluate(settings_for(trained, eval_shards, tmp_path / "b", limit=3, batch_size=2))
    for key, cell in first.table.groups["all"]["sahmr_8"].items():
        other = second.table.cell("sahmr_8", key)
        assert other.value == pytest.approx(cell.value, rel=1e-4, abs=1e-3, nan_ok=True), key
    content = json.loads((folder / "evaluation.json").read_text())
    assert content["provenance"]["sdf_source"] == "none"


def test_a_row_that_was_not_trained_is_absent(trained, eval_shards, tmp_path):
    only = settings_for(None, eval_shards, tmp_path, rows={"metro": trained / "metro/best.safetensors"})
    rows = load_rows(only, resolve_body_files(None), torch.device("cpu"))
    assert list(rows) == ["metro"]
    nothing = settings_for(tmp_path / "nowhere", eval_shards, tmp_path)
    with pytest.raises(DataMissing, match="no trained network"):
        load_rows(nothing, resolve_body_files(None), torch.device("cpu"))
    with pytest.raises(DataMissing, match="weights of a row"):
        require_inputs(
            settings_for(None, eval_shards, tmp_path, rows={"a": tmp_path / "no.safetensors"})
        )
    wrong = settings_for(None, eval_shards, tmp_path, rows={"a": trained / "metro/best.safetensors"})
    with pytest.raises(DataInvalid, match="another network"):
        load_rows(wrong, resolve_body_files(None), torch.device("cpu"))


def test_an_empty_side_and_a_missing_or_broken_split_are_refused(eval_shards, tmp_path):
    with pytest.raises(DataInvalid, match="no recording on the side val"):
        open_side(eval_shards, EvaluationSettings(split="val"))
    assert len(open_side(eval_shards, EvaluationSettings(split="all"))) == 6
    assert len(open_side(eval_shards, EvaluationSettings())) == 6
    with pytest.raises(DataMissing, match="no shards"):
        open_side(tmp_path, EvaluationSettings())
    with pytest.raises(DataMissing, match="no split"):
        read_split(tmp_path / "splits.json")
    for broken, why in (("[]", "cannot be read"), ('{"recordings": {"a": "exam"}}', "unknown sides")):
        (tmp_path / "splits.json").write_text(broken)
        with pytest.raises(DataInvalid, match=why):
            read_split(tmp_path / "splits.json")


def test_the_test_side_is_preferred():
    assert best_side({"a": "train", "b": "test", "c": "val"}) == "test"
    assert best_side({"a": "train", "c": "val"}) == "val"
    assert best_side({"a": "train"}) == "train"


def test_the_training_says_where_its_shards_are(tmp_path):
    (tmp_path / "rcnet").mkdir()
    (tmp_path / "rcnet/settings.yaml").write_text("data: {shards: somewhere/shards}\n")
    assert str(shards_folder(EvaluationSettings(train=tmp_path))) == "somewhere/shards"
    with pytest.raises(DataMissing, match="no shards to measure on"):
        shards_folder(EvaluationSettings(train=tmp_path / "other"))


def test_grids_must_be_there_and_of_the_same_room(eval_shards, eval_samples, floor):
    grids, left_out = scene_grids(EvaluationSettings(), eval_shards, "fit")
    assert grids is None
    assert "PenE and ConFE are left out" in left_out[0]
    with pytest.raises(DataMissing, match="run these shards come from"):
        scene_grids(EvaluationSettings(grids="prox"), eval_shards, "fit")
    with pytest.raises(DataMissing, match="settings are missing"):
        generated_grids(eval_shards)
    (eval_shards / "settings.yaml").write_text("source: fit\n")
    try:
        with pytest.raises(DataInvalid, match="not the generator's"):
            generated_grids(eval_shards)
        with pytest.raises(DataMissing, match="the run first-run that"):
            scene_grids(EvaluationSettings(grids="prox", runs=eval_shards), eval_shards, "fit")
    finally:
        (eval_shards / "settings.yaml").unlink()
    points = eval_samples.collection.scene_of(0).points_world
    require_same_room(floor, points, "A")
    require_same_room(floor, points[:0], "A")
    with pytest.raises(DataInvalid, match="another room"):
        require_same_room(floor, points + np.float32(0.2), "A")


def loaded_row(**changes):
    return LoadedRow(TrueRow(), RowDescription("", ""), {**PROVENANCE, **changes})


def test_leaks_and_unequal_training_are_told():
    rows = {"metro": loaded_row(), "sahmr_8": loaded_row(identity={"data": "d2"})}
    assert unequal_training(rows) == ["metro and sahmr_8 were not trained alike: other data"]
    assert unequal_training({"metro": loaded_row(), "sahmr_8": loaded_row()}) == []
    (found,) = leaks({"sahmr_8": loaded_row()}, {"A"}, {"00034", "00159"})
    assert found.startswith("sahmr_8 was trained on 1 of the 2 subjects")
    assert leaks({"sahmr_8": loaded_row()}, {"A"}, {"00159"}) == []


def test_pictures_show_different_recordings_first():
    order = np.array([4, 2, 5, 0, 1, 3])
    assert one_per_recording(order, ["a", "a", "b", "b", "b", "c"]) == [4, 5, 0, 2, 1, 3]
    assert judging_row(["dataset_gt", "metro", "sahmr_8"]) == "sahmr_8"
    assert judging_row(["fitted"]) == "fitted"
    assert judging_row([]) is None


def test_variants_differ_in_what_they_are_asked_to(eval_shards, tmp_path):
    settings = AblationSettings(shards=eval_shards, fitted=eval_shards, out_dir=tmp_path, steps=7)
    eight, one = variant_settings(settings, "sahmr_8"), variant_settings(settings, "sahmr_1")
    assert (eight.categories, one.categories) == (8, 1)
    assert eight.stages == ("start", "rcnet", "mesh", "metro")
    assert one.start_from.metro == tmp_path / "runs/sahmr_8/start/best.safetensors"
    assert {eight.start.steps, eight.rcnet.steps, eight.mesh.steps, eight.metro.steps} == {7}
    weighted, unweighted = (variant_settings(settings, n) for n in ("fitted", "fitted_unweighted"))
    assert weighted.data.selection == SelectionSettings(use_weights=True)
    assert unweighted.data.selection == SelectionSettings(use_weights=False)
    assert weighted.start_from.metro is None  # its own, so that no truth reaches it
    assert "shortened run" in steps_line(settings)
    assert "All alike" in weights_lines(settings)[1]


def test_ablation_without_shards_says_what_to_make(eval_shards, tmp_path):
    nowhere = AblationSettings(shards=tmp_path / "no", fitted=tmp_path / "no", out_dir=tmp_path)
    with pytest.raises(DataMissing, match="CONFIG=configs/shards/truth"):
        require_shards(nowhere)
    with pytest.raises(DataMissing, match="run `make shards`"):
        require_shards(nowhere.model_copy(update={"shards": eval_shards}))
    with pytest.raises(DataMissing, match="no shards of fits"):
        variant_settings(nowhere, "fitted_true")
    with pytest.raises(DataInvalid, match="not a shard of fits"):
        write_true_of_fits(eval_shards, tmp_path, tmp_path / "out")
