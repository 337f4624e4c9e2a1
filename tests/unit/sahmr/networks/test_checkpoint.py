"""Official key lists, filled with one number per tensor so that files stay small."""

from __future__ import annotations

import zlib

import pytest
import torch

from pipelines.errors import DataInvalid, DataMissing
from sahmr.networks.checkpoint import (
    Loaded,
    load_hrnet,
    load_hrnet_branches,
    load_metro,
    load_rcnet,
    load_sahmr,
    official_state,
    save_checkpoint,
    start_from_metro,
)
from sahmr.networks.hrnet import Hrnet, HrnetSettings, HrnetWithHead
from sahmr.networks.mesh_recovery import MeshRecovery, MeshRecoverySettings
from sahmr.networks.mesh_tokens import MeshTransformerSettings
from sahmr.networks.metro import Metro
from sahmr.networks.official_names import HRNET, RCNET
from sahmr.networks.rcnet import Rcnet, RcnetSettings, paper_settings, released_settings
from sahmr.networks.spvcnn import SpvcnnSettings

LOADERS = {
    "hrnet_w64_cls": load_hrnet,
    "hrnet_w64_featmap": load_hrnet_branches,
    "metro_3dpw": load_metro,
    "rcnet": load_rcnet,
    "sahmr": load_sahmr,
}
OUT_CONV, FC_IN = "root_net.out_conv.weight", "contact_net.fc_in.weight"
CLASSIFIER, STEM = "contact_net.classifier.0.weight", "contact_net.stem.0.kernel"
TINY_HRNET = HrnetSettings(
    width=4, stem_width=4, head_width=2, head_channels=6, blocks=1, modules=(1, 1, 1)
)
TINY = {
    "backbone": TINY_HRNET,
    "image_px": 64,
    "num_joints": 2,
    "mesh_sizes": (12, 8, 5),
    "hidden": (8, 8, 4),
    "outputs": (6, 5, 3),
    "heads": 2,
    "layers": 1,
    "feed_forward": 10,
    "positions": 9,
}


def marked(name, shape):
    """A tensor of one number, told by the name; stored as that one number."""
    if name.endswith("num_batches_tracked"):
        return torch.tensor(3)
    return torch.tensor(zlib.crc32(name.encode()) / 2**32).expand(shape)


@pytest.fixture
def write(tmp_path):
    def write(shapes, wrapped=False, **other):
        state = {name: marked(name, shape) for name, shape in shapes.items()} | other
        path = tmp_path / "checkpoint.pth"
        if wrapped:
            network = {"net." + name: tensor for name, tensor in state.items()}
            torch.save({"network": network, "epoch": 30}, path)
        else:
            torch.save(state, path)
        return path

    return write


@pytest.fixture
def rcnet_shapes(official_shapes):
    return official_shapes("rcnet")


def as_paper(shapes, classes=8, maps=8):
    """The key list of the paper's preset: the released one with the shapes of section 0."""
    return shapes | {
        OUT_CONV: (34 + maps, 64, 1, 1),
        "root_net.out_conv.bias": (34 + maps,),
        FC_IN: (32, 35),
        "contact_net.fc_in.bias": (32,),
        STEM: (27, 32, 32),
        CLASSIFIER: (4 + classes, 96),
        "contact_net.classifier.0.bias": (4 + classes,),
    }


@pytest.mark.parametrize("name", LOADERS)
def test_official_key_list_loads_and_saves_back(name, official_shapes, write, tmp_path):
    shapes, wrapped = official_shapes(name), name in ("rcnet", "sahmr")
    loaded = LOADERS[name](write(shapes, wrapped))
    assert loaded.epoch == (30 if wrapped else None)
    assert loaded.preset == ("released" if wrapped else None)
    assert not loaded.network.training
    assert not any(t.is_meta for t in [*loaded.network.parameters(), *loaded.network.buffers()])
    save_checkpoint(tmp_path / "again.pth", loaded)
    again = torch.load(tmp_path / "again.pth", weights_only=True)
    if wrapped:
        assert again["epoch"] == 30
        again = {name.removeprefix("net."): tensor for name, tensor in again["network"].items()}
    assert {name: tuple(tensor.shape) for name, tensor in again.items()} == shapes
    for name, tensor in again.items():
        assert tensor.dtype == (torch.int64 if name.endswith("num_batches_tracked") else torch.float32)
        assert float(tensor.flatten()[-1]) == float(marked(name, (1,)).flatten()[0])


def test_weights_arrive_under_our_names(rcnet_shapes, write):
    network = load_rcnet(write(rcnet_shapes)).network
    found = network.root_net.backbone.stage4[2].fuse_layers[3][0][2][0].weight.detach()
    name = "root_net.hrnet.stage4.2.fuse_layers.3.0.2.0.weight"
    assert float(found[0, 0, 0, 0]) == float(marked(name, (1,)))


@pytest.mark.parametrize(("classes", "maps", "categories"), [(8, 8, 8), (2, 1, 1), (432, 432, 432)])
def test_paper_preset_is_told_by_its_shapes(classes, maps, categories, rcnet_shapes, write):
    loaded = load_rcnet(write(as_paper(rcnet_shapes, classes, maps)))
    assert loaded.preset == "paper"
    assert loaded.network.settings == paper_settings(categories)


def test_released_preset_truncates(rcnet_shapes, write):
    loaded = load_rcnet(write(rcnet_shapes))
    assert loaded.network.settings == released_settings()
    assert loaded.network.contact_net.settings.downsample_rounding == "trunc"


def test_forcing_the_other_preset_names_key_and_shapes(rcnet_shapes, write):
    path = write(rcnet_shapes)
    with pytest.raises(DataInvalid, match=r"fc_in.weight: expected \(32, 35\), found \(35, 35\)"):
        load_rcnet(path, paper_settings())
    with pytest.raises(DataInvalid, match=r"out_conv.weight: expected \(41, .*found \(42, "):
        load_rcnet(write(as_paper(rcnet_shapes)), released_settings())


def test_shapes_of_no_preset_are_refused(rcnet_shapes, write):
    mixed = rcnet_shapes | {OUT_CONV: (42, 64, 1, 1), "root_net.out_conv.bias": (42,)}
    with pytest.raises(DataInvalid, match=r"fit neither[\s\S]*out_conv.weight: \(42, 64, 1, 1\)"):
        load_rcnet(write(mixed))


def test_missing_and_extra_keys_are_named(rcnet_shapes, write):
    del rcnet_shapes["contact_net.stage1.0.net.0.kernel"]
    path = write(rcnet_shapes, extra_head=torch.zeros(2))
    with pytest.raises(
        DataInvalid,
        match=r"missing here: 1, e.g. .*stage1.0.net.0.kernel[\s\S]*unknown: 1, .*extra_head",
    ):
        load_rcnet(path)


def test_tensors_named_as_useless_are_kept_aside(rcnet_shapes, write):
    path = write(rcnet_shapes, **{"body.v_template": torch.ones(2)})
    loaded = load_rcnet(path, ignore=["body."])
    assert list(loaded.unused) == ["body.v_template"]
    assert "body.v_template" in official_state(loaded)


def test_deciding_key_may_not_be_missing(rcnet_shapes, write):
    del rcnet_shapes[FC_IN]
    with pytest.raises(DataInvalid, match=r"missing here: 1, e.g. \['contact_net.fc_in.weight'\]"):
        load_rcnet(write(rcnet_shapes))


def test_misshapen_keys_are_named(rcnet_shapes, write):
    rcnet_shapes["root_net.hrnet.conv1.weight"] = (64, 4, 3, 3)
    with pytest.raises(
        DataInvalid, match=r"hrnet.conv1.weight: expected \(64, 3, 3, 3\), found \(64, 4, 3, 3\)"
    ):
        load_rcnet(write(rcnet_shapes))


def test_values_that_are_not_finite_are_refused(rcnet_shapes, write):
    path = write(rcnet_shapes, **{"contact_net.fc_in.bias": torch.full((35,), float("nan"))})
    with pytest.raises(DataInvalid, match=r"contact_net.fc_in.bias holds values that are not finite"):
        load_rcnet(path)


def test_another_networks_file_is_refused(official_shapes, write):
    path = write(official_shapes("hrnet_w64_featmap"))
    with pytest.raises(DataInvalid, match="not those of this network"):
        load_metro(path)
    with pytest.raises(DataInvalid, match="not those of this network"):
        load_hrnet(path)  # the head is missing


def test_files_that_hold_no_tensors_are_refused(tmp_path):
    path = tmp_path / "other.pth"
    with pytest.raises(DataMissing, match=r"checkpoint not found[\s\S]*other.pth"):
        load_sahmr(path)
    torch.save({"network": {"net.x": 3}}, path)
    with pytest.raises(DataInvalid, match="holds no state dict"):
        load_sahmr(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(DataInvalid, match="cannot be read as tensors alone"):
        load_sahmr(path)


class _Planted:
    def __reduce__(self):
        return (print, ("planted code ran",))


def test_code_in_a_checkpoint_does_not_run(tmp_path, capsys):
    torch.save({"network": _Planted()}, tmp_path / "evil.pth")
    with pytest.raises(DataInvalid, match="cannot be read as tensors alone"):
        load_rcnet(tmp_path / "evil.pth")
    assert "planted" not in capsys.readouterr().out


def test_own_training_result_comes_back(tmp_path):
    """A reduced network, saved in SA-HMR's form and loaded with its settings."""
    settings = RcnetSettings(
        backbone=TINY_HRNET,
        contact_net=SpvcnnSettings(channels_down=(4, 4, 4, 4, 4), channels_up=(4, 4, 4, 4)),
    )
    torch.manual_seed(0)
    network = Rcnet(settings)
    save_checkpoint(tmp_path / "own.pth", Loaded(network, RCNET, epoch=2))
    loaded = load_rcnet(tmp_path / "own.pth", settings)
    assert (loaded.epoch, loaded.preset, loaded.unused) == (2, None, {})
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor), name


def test_half_precision_file_is_read_as_single(tmp_path):
    torch.manual_seed(0)
    network = HrnetWithHead(TINY_HRNET)
    torch.save(official_state(Loaded(network.half(), HRNET)), tmp_path / "half.pth")
    loaded = load_hrnet(tmp_path / "half.pth", TINY_HRNET)
    assert loaded.network.conv1.weight.dtype == torch.float32


def test_mesh_recovery_starts_from_metro():
    torch.manual_seed(0)
    metro = Metro(MeshTransformerSettings(**TINY))
    network = MeshRecovery(MeshRecoverySettings(**TINY))
    own = start_from_metro(metro, network)
    assert len(own) == 30 * 3
    assert all(".scene_layers." in name or ".cross." in name for name in own)
    assert torch.equal(network.stages[2].layers[0].widen.weight, metro.stages[2].layers[0].widen.weight)


def test_rcnet_starts_from_the_backbone_of_metro():
    torch.manual_seed(0)
    metro = Metro(MeshTransformerSettings(**TINY))
    network = Rcnet(RcnetSettings(backbone=TINY_HRNET))
    own = start_from_metro(metro, network)
    assert all(name.startswith(("contact_net.", "root_net.maps.")) for name in own)
    for name, tensor in Hrnet(TINY_HRNET).state_dict().items():
        ours = network.root_net.backbone.state_dict()[name]
        assert ours.shape == tensor.shape
        assert torch.equal(ours, metro.image_tokens.backbone.state_dict()[name])
