"""RICH, EgoBody and PROX quantitative through the whole pipeline on their fixture trees."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from flows.cli import run
from pipelines.bodies.files import BodyFiles, resolve_body_files
from pipelines.config import load_settings
from pipelines.other_trees.egobody import write_egobody_tree, write_openpose
from pipelines.other_trees.prox_quantitative import write_quantitative_tree
from pipelines.other_trees.rich import write_rich_tree
from pipelines.other_trees.sahmr_support import write_rich_support
from pipelines.pseudo_gt.data import data_source, list_recordings
from pipelines.pseudo_gt.fit import fit_recording
from pipelines.pseudo_gt.measure import measure_recording, write_table
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.shards.collection import ShardCollection
from pipelines.shards.describe import describe_shards
from pipelines.shards.produce import plan_production, write_planned_shard
from pipelines.shards.settings import ShardsSettings
from sahmr.evaluation.evaluate import evaluate
from sahmr.evaluation.settings import EvaluationSettings
from sahmr.networks.hrnet import HrnetSettings
from sahmr.networks.mesh_tokens import MeshTransformerSettings
from sahmr.networks.metro import Metro
from sahmr.networks.weights_file import write_network

pytestmark = pytest.mark.slow

SMALL = {"hidden": (8, 8, 8), "outputs": (8, 8, 3), "heads": 2, "layers": 1, "feed_forward": 16}


@pytest.fixture(scope="module")
def files() -> BodyFiles:
    return resolve_body_files(None)


@pytest.fixture(scope="module")
def metro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small METRO of random weights: a row to be measured, however bad."""
    torch.manual_seed(0)
    backbone = HrnetSettings(
        width=4, stem_width=4, head_width=2, head_channels=6, blocks=1, modules=(1, 1, 1)
    )
    path = tmp_path_factory.mktemp("weights") / "metro.safetensors"
    write_network(path, Metro(MeshTransformerSettings(backbone=backbone, **SMALL)), {})
    return path


def made_shards(*given: str) -> Path:
    """What the flow does, without Prefect."""
    settings = load_settings(ShardsSettings, None, list(given))
    production = plan_production(settings)
    for shard in production.shards:
        write_planned_shard(settings, shard)
    describe_shards(production, production.shards)
    return settings.folder


def evaluated(shards: Path, metro: Path, out: Path, *given: str) -> dict[str, dict[str, float]]:
    """Values of the table, row by row."""
    common = ["train=null", f"rows.metro={metro}", f"shards={shards}", f"out_dir={out}", "pictures=0"]
    evaluate(load_settings(EvaluationSettings, None, [*common, *given]))  # the flow without Prefect
    content = json.loads((out / "rows" / "evaluation.json").read_text())
    cells = content["groups"]["all"]
    return {row: {key: cell["value"] for key, cell in columns.items()} for row, columns in cells.items()}


def test_rich_to_shards_and_evaluation(files: BodyFiles, metro: Path, tmp_path: Path) -> None:
    write_rich_tree(tmp_path / "rich", files)
    write_rich_support(tmp_path / "support", files)
    given = ["source=rich", f"data.rich.root={tmp_path / 'rich'}", "frame_stride=1"]
    shards = made_shards(*given, f"out_dir={tmp_path}")
    grids = f"support={tmp_path / 'support/sahmr_support'}"
    rows = evaluated(shards, metro, tmp_path / "scores", "split=test", grids)
    assert rows["metro"]["g_mpjpe_v1"] > 0
    # The truth stands on the floor, so its contact vertices are near the surface of SA-HMR's own grid.
    assert 0 <= rows["dataset_gt"]["pene_v1"] < rows["dataset_gt"]["confe_v1"] < 30
    report = (tmp_path / "scores/rows/evaluation.md").read_text()
    assert "reference: the data set's own bodies" in report


def test_egobody_to_shards_and_evaluation(files: BodyFiles, metro: Path, tmp_path: Path) -> None:
    write_egobody_tree(tmp_path / "egobody", files)
    given = ["source=egobody", f"data.egobody.root={tmp_path / 'egobody'}", "frame_stride=1"]
    shards = made_shards(*given, 'data.people=["*-master"]', f"out_dir={tmp_path}")
    rows = evaluated(shards, metro, tmp_path / "scores", "split=test")
    assert rows["metro"]["mpjpe_v1"] > 0
    assert "pene_v1" not in rows["metro"]  # EgoBody brings no distance grid
    assert "give support=" not in (tmp_path / "scores/rows/evaluation.md").read_text()


def fitted(config: Path | None, *given: str) -> Path:
    """What the flow does with the one recording of a tree, without Prefect; returns the run."""
    settings = load_settings(PseudoGtSettings, config, list(given))
    data = data_source(settings)
    (recording,) = list_recordings(settings, data)
    fit_recording(settings, data, recording)
    measure_recording(settings, data, recording)
    write_table(settings, data, [recording])
    return settings.run_dir


def test_egobody_to_fits_errors_shards_and_evaluation(
    files: BodyFiles, metro: Path, tmp_path: Path
) -> None:
    root, openpose = tmp_path / "EgoBody", tmp_path / "openpose"
    recording = "recording_20210907_S02_S01_01"
    write_egobody_tree(root, files, every_depth=True)
    write_openpose(openpose, files, recording, "master")
    given = [f"egobody.root={root}", f"keypoints={openpose}", f"recording={recording}", "sdf_size=64"]
    assert run(["egobody-capture", *given, f"out_dir={tmp_path / 'trees'}"]) == 0
    tree = tmp_path / "trees" / f"{recording}-body_idx_0-master"
    run_dir = fitted(tree / "pseudo-gt.yaml", f"out_dir={tmp_path / 'runs'}")
    assert run(["marker-errors", f"run={run_dir}", f"truth={tree / 'egobody.npz'}"]) == 0
    errors = json.loads((run_dir / "marker_errors.json").read_text())
    assert errors["published"] == {}
    assert errors["rows"]["refined"]["frames"] == 3  # EgoBody lacks the fit of one of the four
    for row in errors["rows"].values():
        assert row["pje_mm"] < row["v2v_mm"] < 100  # the other person stands 1.1 m away
    assert errors["rows"]["refined"]["global_v2v_mm"] < 60
    shards = made_shards(f"run={run_dir}", "scored=false", f"out_dir={tmp_path / 'shards'}")
    samples = ShardCollection(sorted(shards.glob("*.h5")))
    assert {sample.recording for sample in samples} == {"seminarg110_02010_01"}
    scores = evaluated(shards, metro, tmp_path / "scores", f"prox_root={tree}")
    assert scores["metro"]["mpjpe_v1"] > 0
    assert np.isfinite(scores["metro"]["pene_v1"])


def test_prox_quantitative_to_fits_marker_errors_shards_and_evaluation(
    files: BodyFiles, metro: Path, tmp_path: Path
) -> None:
    root = tmp_path / "PROX"
    write_quantitative_tree(root, tmp_path / "truth", files)
    given = [f"prox.root={root / 'quantitative'}", "prox.split=quantitative", "prox.frame_rate_hz=5"]
    run_dir = fitted(None, *given, f"out_dir={tmp_path / 'runs'}")
    assert run(["marker-errors", f"run={run_dir}"]) == 0
    rows = json.loads((run_dir / "marker_errors.json").read_text())["rows"]
    assert rows["refined"]["frames"] > 0
    for errors in rows.values():
        assert errors["p_v2v_mm"] < errors["v2v_mm"]
        assert errors["p_pje_mm"] < errors["pje_mm"]
    assert rows["refined"]["global_v2v_mm"] < 40
    of_fits = made_shards(f"run={run_dir}", "scored=false", f"out_dir={tmp_path / 'fits'}")
    of_truth = made_shards(
        "source=prox_quantitative", f"data.prox_quantitative.root={root}", f"out_dir={tmp_path}"
    )
    frames = {
        kind: {sample.frame for sample in ShardCollection(sorted(folder.glob("*.h5")))}
        for kind, folder in (("fit", of_fits), ("dataset", of_truth))
    }
    assert frames["fit"] & frames["dataset"]
    scores = evaluated(of_truth, metro, tmp_path / "scores", f"prox_root={root}")
    assert np.isfinite(scores["metro"]["pene_v1"])
    assert scores["dataset_gt"]["pene_v1"] >= 0
