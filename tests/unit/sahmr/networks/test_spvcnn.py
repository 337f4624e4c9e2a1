"""SPVCNN against the original's numbers, and what must not change its outputs."""

import json
import zlib

import numpy as np
import pytest
import torch

from pipelines.errors import DataInvalid
from sahmr.networks.spvcnn import SPVCNN, SpvcnnSettings
from sahmr.ops.sparse_tensor import PointCloud

SMALL = SpvcnnSettings(
    channels_in=5, channels_linear=4, channels_down=(4, 4, 6, 8, 8), channels_up=(8, 6, 6, 4)
)


@pytest.fixture(scope="module")
def drawn(network_golden):
    """The golden's cloud: two samples of distinct voxels."""
    golden = network_golden("spvcnn")
    rng, samples = golden.rng(), []
    for sample, n in enumerate(golden["Ns"]):
        columns = [rng.integers(*span, n) for span in ((-16, 16), (-20, 20), (58, 64))]
        cells = np.unique(np.stack(columns, axis=1), axis=0)
        samples.append(np.column_stack([cells, np.full(len(cells), sample)]))
    cells = torch.from_numpy(np.concatenate(samples))
    features = torch.from_numpy(rng.standard_normal((len(cells), 35)).astype(np.float32))
    assert len(cells) == int(golden["n_vox"])
    return PointCloud(features, cells[:, :3].float(), cells[:, 3])


def small_cloud(count=200, seed=0, reach=12):
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randint(-reach, reach, (count, 3), generator=generator).unique(dim=0)
    batch = torch.randint(0, 2, (len(cells),), generator=generator)
    features = torch.randn(len(cells), SMALL.channels_in, generator=generator)
    return PointCloud(features, cells.float(), batch)


def small_network(**changes):
    torch.manual_seed(0)
    return SPVCNN(SMALL.model_copy(update=changes)).eval()


@pytest.mark.parametrize("rounding", ["floor", "trunc"])
def test_outputs_equal_the_originals_through_the_official_names(
    rounding, drawn, network_golden, official_shapes, network_weights
):
    network = SPVCNN(SpvcnnSettings(channels_linear=35, downsample_rounding=rounding)).eval()
    shapes = official_shapes("rcnet", "contact_net.")
    network.load_state_dict(network_weights(shapes), strict=True)
    with torch.no_grad():
        network_golden("spvcnn").check(f"out_{rounding}", network(drawn))


@pytest.mark.parametrize(("rounding", "name"), [("floor", "output"), ("trunc", "output_trunc")])
def test_outputs_on_a_room_equal_torchsparses_own(rounding, name, goldens_folder, official_shapes):
    golden = np.load(goldens_folder / "spvcnn_room_b2.npz", allow_pickle=False)
    network = SPVCNN(SpvcnnSettings(channels_linear=35, downsample_rounding=rounding)).eval()
    network.load_state_dict(room_weights(official_shapes("spvcnn")), strict=True)
    counts = {}
    for stage in ("stem", "stage1", "stage2", "stage3", "stage4"):
        getattr(network, stage).register_forward_hook(
            lambda _module, _inputs, out, stage=stage: counts.update(
                {stage: (len(out.cells), float(out.features.abs().double().sum()))}
            )
        )
    cells = torch.from_numpy(golden["coords"]).long()
    with torch.no_grad():
        found = network(PointCloud(torch.from_numpy(golden["feats"]), cells[:, :3].float(), cells[:, 3]))
    np.testing.assert_allclose(found.numpy(), golden[name], rtol=0, atol=3e-5 * golden[name].std())
    for stage, tap in json.loads(str(golden["taps"]))[rounding].items():
        assert counts[stage] == (tap["n_voxels"], pytest.approx(tap["sum_abs"], rel=1e-6)), stage


def room_weights(shapes):
    """Weights of that golden: drawn by name, scaled by fan-in, batch norm well away from the identity."""
    drawn = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            drawn[key] = torch.zeros((), dtype=torch.int64)
            continue
        n = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
        layer, kind = key.rsplit(".", 1)
        if f"{layer}.running_mean" in shapes:
            value = {"weight": 1 + 0.1 * n, "running_var": 1 + 0.5 * abs(n)}.get(kind, 0.1 * n)
        elif kind == "kernel":
            value = n / np.sqrt(shape[-2] * (shape[0] if len(shape) == 3 else 1))
        else:
            value = n / np.sqrt(shapes[f"{layer}.weight"][1])
        drawn[key] = torch.from_numpy(value.astype(np.float32))
    return drawn


def test_key_table_and_size_of_both_presets(official_shapes):
    released = SPVCNN(SpvcnnSettings(channels_linear=35))
    assert {key: tuple(value.shape) for key, value in released.state_dict().items()} == official_shapes(
        "spvcnn"
    )
    assert sum(weights.numel() for weights in released.parameters()) == 21_805_368
    paper = SPVCNN(SpvcnnSettings())
    assert paper.fc_in.weight.shape == (32, 35)
    assert paper.stem[0].kernel.shape == (27, 32, 32)


def test_outputs_follow_the_order_of_the_points():
    cloud, network = small_cloud(), small_network()
    order = torch.randperm(len(cloud.batch))
    shuffled = PointCloud(cloud.features[order], cloud.coordinates[order], cloud.batch[order])
    torch.testing.assert_close(network(shuffled), network(cloud)[order], rtol=0, atol=1e-6)


def test_samples_do_not_see_each_other_in_evaluation():
    cloud, network = small_cloud(), small_network()
    own = cloud.batch == 1
    alone = PointCloud(cloud.features[own], cloud.coordinates[own], torch.zeros(int(own.sum())).long())
    torch.testing.assert_close(network(alone), network(cloud)[own], rtol=0, atol=1e-6)


def test_moving_by_the_coarsest_cell_changes_nothing_with_floor_but_with_trunc():
    cloud = small_cloud()
    moved = PointCloud(cloud.features, cloud.coordinates + torch.tensor([16.0, -32, 48]), cloud.batch)
    floor, trunc = small_network(), small_network(downsample_rounding="trunc")
    torch.testing.assert_close(floor(moved), floor(cloud), rtol=0, atol=1e-6)
    assert (trunc(moved) - trunc(cloud)).abs().max() > 1e-4


def test_rounding_does_not_matter_where_nothing_is_negative():
    cloud = small_cloud()
    positive = PointCloud(cloud.features, cloud.coordinates + 16, cloud.batch)
    trunc = small_network(downsample_rounding="trunc")
    assert torch.equal(small_network()(positive), trunc(positive))


def test_gradients_reach_every_parameter_and_the_features():
    cloud, network = small_cloud(), small_network(dropout=0.0).train()
    features = cloud.features.requires_grad_()
    network(cloud).square().sum().backward()
    assert (features.grad.abs().sum(dim=1) > 0).all()
    for name, weights in network.named_parameters():
        assert weights.grad is not None, name
        assert weights.grad.isfinite().all(), name


@pytest.mark.parametrize(
    "name", ["stem.0.kernel", "stage1.0.net.0.kernel", "up2.0.net.0.kernel", "up2.1.0.net.0.kernel"]
)
def test_gradients_by_finite_differences_with_training_statistics(name):
    network = small_network(dropout=0.0).double().train()
    cloud = small_cloud(reach=24)
    cloud = PointCloud(cloud.features.double(), cloud.coordinates.double(), cloud.batch)
    generator = torch.Generator().manual_seed(3)
    mixing = torch.randn(len(cloud.batch), 12, dtype=torch.float64, generator=generator)

    def loss(changed):
        return (torch.func.functional_call(network, {name: changed}, (cloud,)) * mixing).sum()

    weights = network.get_parameter(name)
    direction = torch.randn(weights.shape, dtype=torch.float64, generator=generator)
    (gradient,) = torch.autograd.grad(loss(weights), weights)
    step = 1e-7  # far below the distance to the next kink of a ReLU
    with torch.no_grad():
        numeric = (loss(weights + step * direction) - loss(weights - step * direction)) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(float(numeric), rel=1e-5)


def test_dropout_acts_in_training_only():
    cloud, network = small_cloud(), small_network()
    assert torch.equal(network(cloud), network(cloud))
    network.train()
    torch.manual_seed(1)
    assert not torch.equal(network(cloud), network(cloud))


@pytest.mark.parametrize("training", [True, False])
def test_an_empty_cloud_gives_no_rows(training):
    nothing = PointCloud(torch.zeros(0, 5), torch.zeros(0, 3), torch.zeros(0).long())
    assert small_network().train(training)(nothing).shape == (0, 12)


def test_one_voxel_can_be_trained_on():
    network = small_network(dropout=0.0).train()
    one = PointCloud(torch.ones(1, 5), torch.tensor([[-3.0, 2.0, 40.0]]), torch.zeros(1).long())
    network(one).sum().backward()
    assert network.classifier[0].weight.grad.isfinite().all()


@pytest.mark.parametrize("field", ["features", "coordinates"])
def test_numbers_that_are_not_finite_are_refused(field):
    cloud = small_cloud()
    getattr(cloud, field)[7, 1] = float("nan")
    with pytest.raises(DataInvalid, match=rf"{field} of the point cloud are not finite[\s\S]*1 of"):
        small_network()(cloud)


def test_a_scene_in_millimetres_is_refused():
    cloud = small_cloud()
    far = PointCloud(cloud.features, cloud.coordinates * 1e5, cloud.batch)
    with pytest.raises(DataInvalid, match="too far from the origin"):
        small_network()(far)


def test_wrong_number_of_features_is_refused():
    cloud = small_cloud()
    with pytest.raises(DataInvalid, match=r"wrong number of features[\s\S]*expected: 5[\s\S]*found: 4"):
        small_network()(PointCloud(cloud.features[:, :4], cloud.coordinates, cloud.batch))
