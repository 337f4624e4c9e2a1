"""Own weights come back as they went, and nothing else is taken for them."""

import pytest
import torch
from safetensors.torch import save_file

from pipelines.errors import DataInvalid, DataMissing
from sahmr.networks.hrnet import HrnetSettings
from sahmr.networks.metro import Metro
from sahmr.networks.rcnet import Rcnet, RcnetSettings
from sahmr.networks.spvcnn import SpvcnnSettings
from sahmr.networks.weights_file import read_network, read_provenance, write_network

SMALL = RcnetSettings(
    backbone=HrnetSettings(width=2, stem_width=2, blocks=1, modules=(1, 1, 1)),
    contact_net=SpvcnnSettings(channels_down=(4, 4, 4, 4, 4), channels_up=(4, 4, 4, 4)),
)


@pytest.fixture
def network():
    return Rcnet(SMALL)


@pytest.fixture
def path(network, tmp_path):
    write_network(tmp_path / "rcnet.safetensors", network, {"data": "drawn"})
    return tmp_path / "rcnet.safetensors"


def test_a_network_comes_back_with_architecture_and_provenance(path, network):
    trained = read_network(path, Rcnet)
    assert trained.network.settings == SMALL
    assert not trained.network.training
    assert trained.provenance == read_provenance(path) == {"data": "drawn"}
    assert all(parameter.requires_grad for parameter in trained.network.parameters())
    for name, tensor in network.state_dict().items():
        assert torch.equal(trained.network.state_dict()[name], tensor), name


def test_equal_networks_give_equal_bytes(path, network, tmp_path):
    write_network(tmp_path / "again.safetensors", network, {"data": "drawn"})
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_other_weights_can_be_written_in_their_place(path, network):
    state = {name: torch.ones_like(tensor) for name, tensor in network.state_dict().items()}
    write_network(path, network, {}, state)
    assert all((tensor == 1).all() for tensor in read_network(path, Rcnet).network.state_dict().values())


def test_another_network_is_refused(path, tmp_path):
    with pytest.raises(DataInvalid, match="holds another network"):
        read_network(path, Metro)
    with pytest.raises(DataMissing, match="make train"):
        read_network(tmp_path / "none.safetensors", Rcnet)
    (tmp_path / "text.safetensors").write_text("not this")
    with pytest.raises(DataInvalid, match="cannot be read"):
        read_network(tmp_path / "text.safetensors", Rcnet)
    save_file({"a": torch.ones(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(DataInvalid, match="not a network written by this program"):
        read_network(tmp_path / "foreign.safetensors", Rcnet)


def test_tensors_that_do_not_fit_the_header_are_refused(path, network):
    state = network.state_dict()
    name = next(iter(state))
    write_network(path, network, {}, {**state, name: torch.ones(3)})
    with pytest.raises(DataInvalid, match=r"1 tensor.* not those of the network"):
        read_network(path, Rcnet)
    write_network(path, network, {}, {**state, name: torch.full_like(state[name], torch.nan)})
    with pytest.raises(DataInvalid, match="not finite"):
        read_network(path, Rcnet)
