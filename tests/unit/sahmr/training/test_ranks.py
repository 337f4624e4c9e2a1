"""Two processes train as one."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from pipelines.config import settings_yaml
from pipelines.errors import SettingsInvalid
from sahmr.networks.rcnet import Rcnet
from sahmr.networks.weights_file import read_network
from sahmr.ops.convolution import RowBatchNorm
from sahmr.training.batch_norm import join_batch_norms
from sahmr.training.ranks import Ranks
from sahmr.training.settings import STAGES
from sahmr.training.stages import train_stage, weights_path


@pytest.fixture
def alone(tmp_path):
    """A group of one process."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def outputs(norm, values):
    values = values.clone().requires_grad_()
    result = norm(values)
    (result * torch.arange(result.numel()).view_as(result).sin()).sum().backward()
    return result, values.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var


@pytest.mark.parametrize(
    ("norm", "values"),
    [
        (nn.BatchNorm2d(3), 5 + 2 * torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(0))),
        (RowBatchNorm(4), 100 + torch.randn(50, 4, generator=torch.Generator().manual_seed(1))),
        (RowBatchNorm(4), torch.randn(1, 4, generator=torch.Generator().manual_seed(1))),
    ],
)
def test_a_joint_batch_norm_of_one_process_is_the_ordinary_one(alone, norm, values):
    joint = copy.deepcopy(norm)
    join_batch_norms(joint)
    assert type(joint) is not type(norm)
    for found, expected in zip(outputs(joint, values), outputs(norm, values), strict=True):
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=2e-4)
    joint.eval(), norm.eval()
    torch.testing.assert_close(joint(values), norm(values), atol=2e-4, rtol=2e-4)


def test_a_batch_is_shared_evenly_or_not_at_all():
    cpu = torch.device("cpu")
    assert Ranks(0, 4, cpu).share(24) == 6
    with pytest.raises(SettingsInvalid, match="a multiple of 4"):
        Ranks(0, 4, cpu).share(6)


def torchrun(*arguments):
    """Two processes on this machine, each with one thread."""
    root = Path(__file__).parents[4]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done


@pytest.mark.slow
def test_two_processes_train_every_stage_of_a_run(micro, tmp_path):
    """As a user starts them; a second time they find everything done."""
    settings = micro(start_from={})
    config = tmp_path / "settings.yaml"
    config.write_text(settings_yaml(settings))
    command = ("-m", "flows", "train", "--config", str(config))
    done = torchrun(*command)
    for stage in STAGES:
        assert (settings.run_dir / stage / f"{stage}.done.json").is_file(), stage
        assert done.stderr.count(f"{stage}: 2 steps in") == 1  # told by the first process alone
    assert "is trained already" in torchrun(*command).stderr


@pytest.mark.slow
def test_two_processes_make_the_steps_of_one_with_the_joint_batch(micro, tmp_path):
    """Without dropout and noise, which each process draws for itself."""
    settings = micro(
        non_finite="skip", rcnet={"batch_size": 4, "steps": 3, "log_every": 1, "clip_value": None}
    )
    tree = json.loads(settings.model_dump_json())
    tree["rcnet_network"]["contact_net"]["dropout"] = 0
    tree["rcnet_network"]["far_root_m"] = 1e9
    tree["rcnet"]["learning_rate"] = 1e-5
    alone = type(settings).model_validate({**tree, "name": "alone"})
    train_stage(alone, "rcnet")
    together = {**tree, "name": "together"}
    (tmp_path / "settings.json").write_text(json.dumps(together))
    code = (
        "import json, sys, torch; torch.set_num_threads(1);"
        "from sahmr.training.settings import TrainingSettings;"
        "from sahmr.training.stages import train_stage;"
        "train_stage(TrainingSettings.model_validate(json.load(open(sys.argv[1]))), 'rcnet')"
    )
    (tmp_path / "train.py").write_text(code)
    torchrun(str(tmp_path / "train.py"), str(tmp_path / "settings.json"))
    two = read_network(weights_path(type(settings).model_validate(together), "rcnet"), Rcnet).network
    one = read_network(weights_path(alone, "rcnet"), Rcnet).network
    for name, tensor in one.state_dict().items():
        if tensor.is_floating_point():
            # Adam's first steps are all of the size of the rate, whatever the gradient's: differing signs of
            # gradients near zero count as two rates each.
            torch.testing.assert_close(two.state_dict()[name], tensor, atol=3e-6, rtol=2e-3, msg=name)
