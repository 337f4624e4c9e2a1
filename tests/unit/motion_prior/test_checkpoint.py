from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipelines.errors import DataInvalid, DataMissing
from pipelines.motion_prior.checkpoint import (
    load_initial_state_prior,
    load_motion_prior,
    load_pose_prior,
)
from pipelines.motion_prior.network import MotionPrior, MotionPriorSettings

SMALL = MotionPriorSettings(
    encoder_widths=(16,) * 4, prior_widths=(32,) * 4, decoder_widths=(32, 32, 16)
)


@pytest.fixture
def small_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return MotionPrior(SMALL).state_dict()


@pytest.mark.parametrize("prefix", ["", "module."])
def test_official_motion_checkpoint_loads(tmp_path, prefix, goldens_folder, golden_weights, goldens):
    shapes = json.loads((goldens_folder / "humor.json").read_text())
    weights = {prefix + name: tensor for name, tensor in golden_weights(shapes).items()}
    torch.save(
        {"model": weights, "optim": {"state": {}}, "epoch": 3, "min_val_loss": 1.0}, tmp_path / "h.pth"
    )
    model = load_motion_prior(tmp_path / "h.pth", torch.float64)
    assert model.settings == MotionPriorSettings()
    value = model.decode(goldens.given("net/z"), goldens.given("net/past_in"))
    expected = goldens.recorded("net/decode")
    assert float((value - expected).abs().max() / expected.abs().max()) < 1e-7
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_official_pose_checkpoint_loads(tmp_path, goldens_folder, golden_weights, goldens):
    shapes = json.loads((goldens_folder / "vposer_v1_0.json").read_text())
    torch.save(golden_weights(shapes), tmp_path / "vposer.pt")
    model = load_pose_prior(tmp_path / "vposer.pt", torch.float64)
    assert not model.training
    value = model.decode(goldens.given("vposer/z")).reshape(4, 1, 21, 9)
    torch.testing.assert_close(value, goldens.recorded("vposer/matrot"))


def test_official_mixture_loads(tmp_path, goldens_folder, golden_gmm):
    shapes = json.loads((goldens_folder / "humor_init_state_gmm.json").read_text())
    assert {name: list(array.shape) for name, array in golden_gmm.items()} == shapes
    np.savez(tmp_path / "prior_gmm.npz", **golden_gmm)
    prior = load_initial_state_prior(tmp_path / "prior_gmm.npz", torch.float64)
    assert prior.log_prob(torch.zeros(2, 138).double()).shape == (2,)


def test_half_precision_safetensors_with_other_widths(tmp_path, small_state):
    save_file({k: v.half() for k, v in small_state.items()}, tmp_path / "m.safetensors")
    model = load_motion_prior(tmp_path / "m.safetensors")
    assert model.settings == SMALL
    assert model.decoder.net[0].weight.dtype == torch.float32


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataMissing, match=r"prior not found[\s\S]*nowhere.pth"):
        load_motion_prior(tmp_path / "nowhere.pth")


def test_missing_and_surplus_names_are_listed(tmp_path, small_state):
    small_state["decoder.net.9.wait"] = small_state.pop("decoder.net.9.weight")
    torch.save({"model": small_state}, tmp_path / "m.pth")
    with pytest.raises(DataInvalid, match=r"missing here: \['decoder.net.9.weight'\][\s\S]*net.9.wait"):
        load_motion_prior(tmp_path / "m.pth")


def test_wrong_shape_is_named(tmp_path, small_state):
    small_state["prior_net.net.12.weight"] = torch.zeros(96, 31)
    torch.save({"model": small_state}, tmp_path / "m.pth")
    with pytest.raises(
        DataInvalid, match=r"prior_net.net.12.weight: expected \(96, 32\), found \(96, 31\)"
    ):
        load_motion_prior(tmp_path / "m.pth")


def test_values_that_are_not_finite_are_refused(tmp_path, small_state):
    small_state["encoder.net.0.bias"] = torch.full((16,), float("nan"))
    torch.save({"model": small_state}, tmp_path / "m.pth")
    with pytest.raises(DataInvalid, match=r"encoder\.net\.0\.bias holds values that are not finite"):
        load_motion_prior(tmp_path / "m.pth")


def test_wrong_kind_of_file_is_refused(tmp_path):
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(DataInvalid, match="not those of this prior"):
        load_pose_prior(tmp_path / "other.pt")
    with pytest.raises(DataInvalid, match="not those of this prior"):
        load_motion_prior(tmp_path / "other.pt")


class _Planted:
    def __reduce__(self):
        return (print, ("planted code ran",))


def test_code_in_a_checkpoint_does_not_run(tmp_path, capsys):
    torch.save({"model": _Planted()}, tmp_path / "evil.pth")
    with pytest.raises(DataInvalid, match="cannot be read as tensors alone"):
        load_motion_prior(tmp_path / "evil.pth")
    assert "planted" not in capsys.readouterr().out


def test_truncated_file_is_refused(tmp_path, small_state):
    torch.save(small_state, tmp_path / "m.pth")
    (tmp_path / "m.pth").write_bytes((tmp_path / "m.pth").read_bytes()[:500])
    with pytest.raises(DataInvalid, match="cannot be read"):
        load_motion_prior(tmp_path / "m.pth")
    (tmp_path / "m.safetensors").write_bytes(b"\x00" * 30)
    with pytest.raises(DataInvalid, match="safetensors cannot be read"):
        load_motion_prior(tmp_path / "m.safetensors")


def test_mixture_of_the_wrong_size_is_refused(tmp_path, golden_gmm):
    np.savez(tmp_path / "gmm.npz", **{**golden_gmm, "means": golden_gmm["means"][:, :100]})
    with pytest.raises(DataInvalid, match="wrong shapes"):
        load_initial_state_prior(tmp_path / "gmm.npz")


def test_mixture_that_is_no_density_is_refused(tmp_path, golden_gmm):
    np.savez(tmp_path / "gmm.npz", **{**golden_gmm, "covariances": -golden_gmm["covariances"]})
    with pytest.raises(DataInvalid, match="not positive definite"):
        load_initial_state_prior(tmp_path / "gmm.npz")
