from __future__ import annotations

import pytest
import torch

from pipelines.motion_prior.network import MotionPrior, MotionPriorSettings


def relative(actual: torch.Tensor, expected: torch.Tensor) -> float:
    assert actual.shape == expected.shape
    return float((actual - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(
    ("module", "key", "total", "squares"),
    [
        ("motion", "encoder.net.0.weight", 40.37393, 1024.07232),
        ("motion", "decoder.net.9.weight", 0.5206832, 0.5398661),
        ("motion", "prior_net.net.1.weight", 1026.24236, 1038.54261),
        ("pose", "bodyprior_dec_out.weight", 14.485562, 127.000178),
        ("pose", "bodyprior_enc_bn1.running_var", 67.661105, 72.866120),
    ],
)
def test_golden_weights_have_the_recorded_sums(
    module, key, total, squares, golden_motion_prior, golden_pose_prior
):
    model = golden_motion_prior if module == "motion" else golden_pose_prior
    weight = model.state_dict()[key]
    assert float(weight.sum()) == pytest.approx(total, rel=1e-6)
    assert float(weight.square().sum()) == pytest.approx(squares, rel=1e-6)


def test_official_size():
    model = MotionPrior()
    assert sum(p.numel() for p in model.parameters()) == 9_725_976
    assert len(model.state_dict()) == 50


def test_all_outputs_agree_with_the_official_code(goldens, golden_motion_prior):
    past, following = goldens.given("net/past_in"), goldens.given("net/t_in")
    z = goldens.given("net/z")
    prior_mean, prior_variance = golden_motion_prior.prior(past)
    posterior_mean, posterior_variance = golden_motion_prior.posterior(past, following)
    values = {
        "prior_mean": prior_mean,
        "prior_var": prior_variance,
        "posterior_mean": posterior_mean,
        "posterior_var": posterior_variance,
        "decoder_raw": golden_motion_prior.decode_raw(z, past),
        "decode": golden_motion_prior.decode(z, past),
    }
    for name, value in values.items():
        assert relative(value, goldens.recorded(f"net/{name}")) < 1e-7, name


def test_single_precision_agrees_with_the_official_single_precision_run(goldens, golden_motion_prior):
    model = MotionPrior()
    model.load_state_dict(golden_motion_prior.state_dict())
    past, z = goldens.given("net/past_in").float(), goldens.given("net/z").float()
    value = model.decode(z, past).detach()
    assert relative(value, goldens.recorded("net/decode", torch.float32)) < 1e-4


def test_reduced_widths_keep_the_official_names():
    reduced = MotionPrior(
        MotionPriorSettings(
            encoder_widths=(32, 32, 32, 32), prior_widths=(32, 32, 32, 32), decoder_widths=(32, 32, 16)
        )
    )
    assert list(reduced.state_dict()) == list(MotionPrior().state_dict())


def test_leading_axes_do_not_change_the_result(golden_motion_prior, goldens):
    past, z = goldens.given("net/past_in"), goldens.given("net/z")
    flat = golden_motion_prior.decode(z, past)
    stacked = golden_motion_prior.decode(z.reshape(2, 2, -1), past.reshape(2, 2, -1))
    single = golden_motion_prior.decode(z[0], past[0])
    torch.testing.assert_close(stacked.reshape(4, -1), flat, rtol=0, atol=1e-12)
    torch.testing.assert_close(single, flat[0], rtol=0, atol=1e-12)
