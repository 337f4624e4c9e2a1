from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from torch.distributions import Normal, kl_divergence

from pipelines.bodies.files import resolve_body_files
from pipelines.motion_prior import train_motion
from pipelines.motion_prior.checkpoint import PriorSettings, load_priors, read_metadata
from pipelines.motion_prior.network import MotionPrior, MotionPriorSettings
from pipelines.motion_prior.pose_prior import PosePriorSettings
from pipelines.motion_prior.rollout import roll_out, transitions
from pipelines.motion_prior.train import PARTIAL, TrainedMotion, TrainingSettings, train_priors
from pipelines.motion_prior.train_initial_state import MixtureTrainingSettings
from pipelines.motion_prior.train_motion import (
    MotionPhase,
    MotionTrainingSettings,
    gaussian_kl,
    reconstruction_terms,
    train_motion_prior,
)
from pipelines.motion_prior.train_pose import PoseTrainingSettings
from pipelines.motion_prior.training_data import TrainingClip, prepare_motions

SMALL = MotionPriorSettings(
    encoder_widths=(64,) * 4, prior_widths=(64,) * 4, decoder_widths=(64, 64, 32)
)
QUICK = TrainingSettings(
    motion=MotionTrainingSettings(
        network=SMALL,
        phases=(
            MotionPhase(iterations=10, steps=1, windows=32),
            MotionPhase(iterations=10, steps=4, windows=8),
        ),
        warm_up_iterations=5,
    ),
    pose=PoseTrainingSettings(network=PosePriorSettings(width=64), iterations=150, batch=64),
    initial_state=MixtureTrainingSettings(components=2),
)


def clip(seed: int, frames: int = 60) -> TrainingClip:
    rng = np.random.default_rng(seed)
    rotvecs = np.zeros((frames, 22, 3))
    rotvecs[:, 1:] = gaussian_filter1d(3 * rng.standard_normal((frames, 21, 3)), 8.0, axis=0)
    rotvecs[:, 0] = [np.pi / 2, 0, 0]
    transl = np.stack([np.zeros(frames), -0.03 * np.arange(frames), np.full(frames, 1.1)], axis=1)
    return TrainingClip(f"clip {seed}", "test", "neutral", np.zeros(10), rotvecs, transl)


@pytest.fixture(scope="module")
def clips() -> list[TrainingClip]:
    return [clip(seed) for seed in range(4)]


@pytest.fixture(scope="module")
def files():
    return resolve_body_files(None)


def test_kl_equals_torch_distributions():
    torch.manual_seed(0)
    mean, prior_mean = torch.randn(2, 5, 48), torch.randn(2, 5, 48)
    variance, prior_variance = torch.rand(2, 5, 48) + 0.1, torch.rand(2, 5, 48) + 0.1
    expected = kl_divergence(Normal(mean, variance.sqrt()), Normal(prior_mean, prior_variance.sqrt()))
    found = gaussian_kl(mean, variance, prior_mean, prior_variance)
    torch.testing.assert_close(found, expected.sum(-1).mean())


def test_a_perfect_roll_out_has_no_loss_but_the_contacts(clips, files):
    motions = prepare_motions(clips, files)
    states, contacts, rest = motions.windows(torch.tensor([0, 70]), 5)
    prior = MotionPrior(SMALL)
    result = roll_out(prior, states[:, 0], torch.zeros(2, 4, 48))
    terms = reconstruction_terms(result, result.states, contacts[:, 1:], rest)
    for name in (
        "transl",
        "transl_velocity",
        "root_rotmat",
        "body_rotmats",
        "joints",
        "joints_velocity",
    ):
        assert float(terms[name].detach()) == 0
    perfect = type(result)(states[:, 1:], result.contact_logits, result.latents, None, None)
    terms = reconstruction_terms(perfect, states[:, 1:], contacts[:, 1:], rest)
    assert float(terms["joint_consistency"]) < 1e-10


def test_training_starts_near_the_best_linear_model(files):
    """Before any step, encoding and decoding follows a transition far better than standing still."""
    motions = prepare_motions([clip(seed, 150) for seed in range(12)], files)
    network = MotionPriorSettings(
        encoder_widths=(512,) * 4, prior_widths=(64,) * 4, decoder_widths=(512, 512, 512)
    )
    prior, _ = train_motion_prior(motions, MotionTrainingSettings(network=network, phases=()), seed=0)
    states, _, _ = motions.windows(motions.possible_starts(2), 2)
    with torch.no_grad():
        mean, _ = prior.posterior(*transitions(states))
        result = roll_out(prior, states[:, 0], mean)
    left = (result.states.joints[:, 0] - states.joints[:, 1]).square().mean()
    moved = (states.joints[:, 0] - states.joints[:, 1]).square().mean()
    assert left < 0.05 * moved


def test_training_writes_priors_that_load_and_improve(clips, files, tmp_path):
    summary = train_priors(clips, files, QUICK, tmp_path)
    assert summary["frames_by_family"] == {"test": 4 * 58}
    names = PriorSettings(
        motion=tmp_path / "motion_prior.safetensors",
        pose=tmp_path / "pose_prior.safetensors",
        initial_state=tmp_path / "initial_state.safetensors",
    )
    priors = load_priors(names)
    assert priors.motion.settings == SMALL
    metadata = read_metadata(tmp_path / "motion_prior.safetensors")
    assert metadata["clips"] == {f"clip {seed}": 1 for seed in range(4)}
    assert metadata["settings"]["network"]["decoder_widths"] == [64, 64, 32]
    motions = prepare_motions(clips, files)
    known = priors.initial_state.log_prob(torch.zeros(1, 138))
    assert torch.isfinite(known).all()
    mean, _ = priors.pose.encode(motions.body_rotvecs)
    assert float(mean.std(0).max()) > 0.3


def test_training_twice_gives_the_same_bytes(clips, files, tmp_path):
    short = QUICK.model_copy(
        update={
            "motion": QUICK.motion.model_copy(
                update={"phases": (MotionPhase(iterations=3, steps=2, windows=4),)}
            ),
            "pose": QUICK.pose.model_copy(update={"iterations": 3}),
        }
    )
    for folder in ("a", "b"):
        train_priors(clips[:2], files, short, tmp_path / folder)
    for name in ("motion_prior", "pose_prior", "initial_state"):
        first = (tmp_path / "a" / f"{name}.safetensors").read_bytes()
        assert first == (tmp_path / "b" / f"{name}.safetensors").read_bytes(), name


def test_interrupted_training_ends_with_the_same_weights(clips, files, tmp_path, monkeypatch):
    motions = prepare_motions(clips[:2], files)
    settings = MotionTrainingSettings(
        network=SMALL, phases=(MotionPhase(iterations=6, steps=2, windows=4),)
    )
    monkeypatch.setattr("pipelines.motion_prior.train_motion._KEEP_EVERY", 2)
    whole, _ = train_motion_prior(motions, settings, 0)
    kept = tmp_path / "partial.pt"
    steps = iter(range(4))

    def interrupt(*arguments):
        next(steps)  # the fifth step raises StopIteration
        return original(*arguments)

    original = train_motion._losses
    monkeypatch.setattr(train_motion, "_losses", interrupt)
    with pytest.raises(StopIteration):
        train_motion_prior(motions, settings, 0, kept)
    monkeypatch.setattr(train_motion, "_losses", original)
    resumed, _ = train_motion_prior(motions, settings, 0, kept)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_what_an_interrupted_training_kept_is_there_when_it_is_begun_again(clips, files, tmp_path):
    short = QUICK.model_copy(update={"pose": QUICK.pose.model_copy(update={"iterations": 2})})
    seen = []

    def own_schedule(motions, partial):
        seen.append(partial.is_file())
        partial.write_bytes(b"kept")
        if len(seen) == 1:
            raise KeyboardInterrupt
        return TrainedMotion(MotionPrior(SMALL), [{"loss": 1.0}], {"schedule": "own"})

    with pytest.raises(KeyboardInterrupt):
        train_priors(clips[:2], files, short, tmp_path, own_schedule)
    assert not (tmp_path / "motion_prior.safetensors").exists()
    train_priors(clips[:2], files, short, tmp_path, own_schedule)
    assert seen == [False, True]
    assert not (tmp_path / PARTIAL).exists()
    assert read_metadata(tmp_path / "motion_prior.safetensors")["schedule"] == "own"
