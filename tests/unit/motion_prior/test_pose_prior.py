from __future__ import annotations

import torch

from pipelines.geometry.rotations import rotmat_to_rotvec
from pipelines.motion_prior.pose_prior import PosePrior, pose_energy


def relative(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual.reshape(expected.shape) - expected).abs().max() / expected.abs().max())


def test_official_size():
    model = PosePrior()
    assert sum(p.numel() for p in model.parameters()) == 673_596
    assert len(model.state_dict()) == 24


def test_decoder_agrees_with_the_official_code(goldens, golden_pose_prior):
    rotmats = golden_pose_prior.decode(goldens.given("vposer/z"))
    assert relative(rotmats, goldens.recorded("vposer/matrot")) < 1e-7
    assert relative(rotmat_to_rotvec(rotmats), goldens.recorded("vposer/aa")) < 1e-7


def test_encoder_agrees_with_the_official_code(goldens, golden_pose_prior):
    pose = goldens.given("vposer/pose_aa").unflatten(-1, (21, 3))
    mean, scale = golden_pose_prior.encode(pose)
    assert relative(mean, goldens.recorded("vposer/enc_mean")) < 1e-7
    assert relative(scale, goldens.recorded("vposer/enc_scale")) < 1e-7


def test_frames_can_be_batched_in_any_shape(goldens, golden_pose_prior):
    z = goldens.given("vposer/z")
    torch.testing.assert_close(
        golden_pose_prior.decode(z.reshape(2, 2, 32)).flatten(0, 1), golden_pose_prior.decode(z)
    )


def test_energy_is_the_plain_sum_of_squares():
    assert float(pose_energy(torch.full((3, 32), 0.5))) == 24.0
