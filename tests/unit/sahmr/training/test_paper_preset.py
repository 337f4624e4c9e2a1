"""The paper's sizes and schedules, taken for one step of each network: it builds, learns and is written."""

import shutil

import pytest
import torch

from sahmr.networks.metro import Metro
from sahmr.networks.rcnet import Rcnet
from sahmr.networks.sahmr import Sahmr
from sahmr.networks.weights_file import read_network, write_network
from sahmr.training.log import read_log
from sahmr.training.settings import TrainingSettings
from sahmr.training.stages import train_stage

STAGES = {"rcnet": Rcnet, "mesh": Sahmr, "metro": Metro}
ONE_STEP = {"steps": 1, "batch_size": 2, "log_every": 1}


@pytest.fixture
def passing_folder(tmp_path):
    """A folder whose gigabytes of weights do not stay."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.slow
def test_each_network_of_the_paper_takes_a_step(body_shards, passing_folder):
    """83 CPU seconds and 8 GB of memory."""
    tree = {
        "preset": "paper",
        "out_dir": passing_folder,
        "tensorboard": False,
        "data": {"shards": body_shards()[0].parent, "workers": 0, "limit": 2, "validate_on": "train"},
        "start_from": {"metro": passing_folder / "metro.safetensors"},
        **dict.fromkeys(STAGES, ONE_STEP),
    }
    settings = TrainingSettings.model_validate(tree)
    torch.manual_seed(0)
    metro = Metro(settings.metro_network)
    write_network(passing_folder / "metro.safetensors", metro, {"stage": "start"})
    for stage, kind in STAGES.items():
        path = train_stage(settings, stage)
        row = read_log(path.parent)[0]
        assert row["gradient_norm"] > 0, stage
        trained = read_network(path, kind).network
        if stage != "rcnet":
            moved = trained.mesh_recovery if stage == "mesh" else trained
            weight = "stages.0.embed.weight"
            assert not torch.equal(moved.state_dict()[weight], metro.state_dict()[weight]), stage
