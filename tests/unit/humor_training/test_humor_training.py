"""HuMoR's schedule by hand and on small motions; the verb on an AMASS fixture."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from flows.cli import run
from pipelines.bodies.files import resolve_body_files
from pipelines.config import load_settings
from pipelines.errors import DataInvalid, SettingsInvalid
from pipelines.humor_training.measure import measure_motion_prior
from pipelines.humor_training.settings import HumorScheduleSettings
from pipelines.humor_training.train import (
    Windows,
    starts_by_clip,
    train_by_humor,
    truth_probability,
    window_losses,
)
from pipelines.motion_prior.checkpoint import PriorSettings, load_priors
from pipelines.motion_prior.network import MotionPrior, MotionPriorSettings
from pipelines.motion_prior.training_data import TrainingClip, TrainingMotions, prepare_motions
from pipelines.other_trees.amass import write_amass_tree
from pipelines.prior_training import PriorTrainingSettings, train_shipped_priors

NARROW = MotionPriorSettings(encoder_widths=(32,) * 4, prior_widths=(32,) * 4, decoder_widths=(32,) * 3)


def walker(frames: int, speed_m: float, name: str = "walker") -> TrainingClip:
    """Glides along y with a swinging arm."""
    rotvecs = np.zeros((frames, 22, 3))
    rotvecs[:, 0, 0] = np.pi / 2
    rotvecs[:, 16, 2] = 0.3 * np.sin(np.arange(frames) / 5)
    transl = np.zeros((frames, 3))
    transl[:, 1] = -speed_m * np.arange(frames)
    transl[:, 2] = 1.0
    return TrainingClip(name, name, "male", np.zeros(10), rotvecs, transl)


@pytest.fixture(scope="module")
def motions() -> TrainingMotions:
    clips = [walker(20, 0.01, "short"), walker(100, 0.03, "long")]
    return prepare_motions(clips, resolve_body_files(None))


def test_the_schedule_is_humors() -> None:
    official = HumorScheduleSettings()
    assert (official.epochs, official.batch_size, official.steps) == (200, 200, 10)
    assert official.milestones == (50, 80, 140)
    assert official.network.encoder_widths == (1024,) * 4
    assert official.weights.kl == 0.0004
    assert [truth_probability(epoch, official) for epoch in (0, 9, 10, 15, 19, 20, 199)] == [
        1.0,
        1.0,
        1.0,
        0.5,
        pytest.approx(0.1),
        0.0,
        0.0,
    ]


def test_clips_are_drawn_uniformly_and_windows_stay_inside(motions: TrainingMotions) -> None:
    starts = starts_by_clip(motions, 4000, 11, torch.Generator().manual_seed(0))
    clips = motions.clip[starts]
    assert torch.equal(motions.clip[starts + 10], clips)
    share = Counter(clips.tolist())[0] / 4000
    assert share == pytest.approx(0.5, abs=0.04)  # uniformly over frames it were 8 of 96


def test_a_decoder_of_zeros_says_that_nothing_changes(motions: TrainingMotions) -> None:
    prior = MotionPrior(NARROW)
    for parameter in prior.decoder.linears[-1].parameters():
        torch.nn.init.zeros_(parameter)
    windows = Windows.at(motions, torch.tensor([0, 30]), 10)
    terms = window_losses(prior, windows, 1.0, torch.Generator().manual_seed(0))
    moved = (windows.past[..., :3] - windows.following[..., :3]).square().mean()
    assert terms["transl"].item() == pytest.approx(float(moved), rel=1e-5)
    assert float(moved) == pytest.approx((0.01**2 + 0.03**2) / 2 / 3, rel=1e-3)
    assert terms["contact"].item() == pytest.approx(np.log(2), rel=1e-5)
    # On from its own predictions it stays at the first state: errors of the pose grow with the steps.
    own = window_losses(prior, windows, 0.0, torch.Generator().manual_seed(0))
    assert own["body_rotmats"].item() > 3 * terms["body_rotmats"].item()


def test_what_is_fed_back_carries_no_gradient(
    motions: TrainingMotions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same gradient as from its own states handed in as if they were the true ones."""
    torch.manual_seed(1)
    prior, decode, own = MotionPrior(NARROW), MotionPrior.decode, []
    windows = Windows.at(motions, torch.tensor([0, 40]), 3)

    def recorded(self: MotionPrior, latent: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        own.append(state.detach())
        return decode(self, latent, state)

    with monkeypatch.context() as patch:
        patch.setattr(MotionPrior, "decode", recorded)
        found = _gradient(prior, windows, truth=0.0)
    given = replace(windows, past=torch.stack(own, dim=1))
    assert not torch.equal(given.past, windows.past)
    torch.testing.assert_close(_gradient(prior, given, truth=1.0), found)


def _gradient(prior: MotionPrior, windows: Windows, truth: float) -> torch.Tensor:
    weights = list(prior.decoder.parameters())
    loss = window_losses(prior, windows, truth, torch.Generator().manual_seed(3))["transl"]
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])


def test_training_learns_resumes_and_repeats(motions: TrainingMotions, tmp_path: Path) -> None:
    settings = HumorScheduleSettings(
        network=NARROW,
        epochs=6,
        batch_size=8,
        steps=3,
        batches_per_epoch=10,
        learning_rate=1e-3,
        truth_epochs=1,
        own_epochs=3,
        validation_windows=20,
    )
    prior, history = train_by_humor(motions, motions, settings, 5)
    assert [line["epoch"] for line in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1]["validation"] < history[0]["validation"]
    path = tmp_path / "partial.pt"
    stopped = _Stop(3)
    with pytest.raises(KeyboardInterrupt):
        train_by_humor(stopped.around(motions), motions, settings, 5, path)
    assert path.is_file()
    resumed, again = train_by_humor(motions, motions, settings, 5, path)
    assert again == history
    for name, value in prior.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


class _Stop:
    """Interrupts after some epochs of ten batches."""

    def __init__(self, epochs: int) -> None:
        self.left = 10 * epochs

    def around(self, motions: TrainingMotions) -> TrainingMotions:
        outer = self

        class Counted(TrainingMotions):
            __slots__ = ()

            def windows(self, starts, length):  # type: ignore[no-untyped-def]
                if outer.left == 0:
                    raise KeyboardInterrupt
                outer.left -= 1
                return TrainingMotions.windows(self, starts, length)

        fields = TrainingMotions.__slots__
        return Counted(*(getattr(motions, name) for name in fields))


def test_a_prior_is_measured_against_standing_still(motions: TrainingMotions) -> None:
    prior = MotionPrior(NARROW)
    for parameter in prior.decoder.linears[-1].parameters():
        torch.nn.init.zeros_(parameter)
    found = measure_motion_prior(prior, motions, horizons=(1, 10, 500))
    assert found["joints_mm_1"] == pytest.approx(found["still_mm_1"], rel=1e-3)
    assert found["joints_mm_10"] == pytest.approx(found["still_mm_10"], rel=1e-3)
    assert 10 < found["still_mm_1"] < 40
    assert found["windows_1"] == 18 - 1 + 98 - 1
    assert "joints_mm_500" not in found
    with pytest.raises(DataInvalid, match="no clip is long enough"):
        measure_motion_prior(prior, motions, horizons=(500,))


def test_amass_must_be_given() -> None:
    with pytest.raises(SettingsInvalid, match=r"amass\.root"):
        train_shipped_priors(PriorTrainingSettings(motions="amass"))


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["ours", "humor"])
def test_the_verb_trains_on_amass_and_measures(
    schedule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_amass_tree(tmp_path / "amass")
    widths = json.dumps(NARROW.model_dump())
    out = tmp_path / "priors"
    given = [
        "motions=amass",
        f"amass.root={tmp_path / 'amass'}",
        f"schedule={schedule}",
        f"out_dir={out}",
        f"training.motion.network={widths}",
        'training.motion.phases=[{"iterations": 3, "steps": 2, "windows": 4}]',
        "training.pose.iterations=2",
        "training.initial_state.components=2",
        f"humor.network={widths}",
        "humor.epochs=2",
        "humor.batch_size=4",
        "humor.validation_windows=4",
    ]
    load_settings(PriorTrainingSettings, None, given)
    assert run(["train-priors", *given]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    told = json.loads((out / "training.json").read_text())
    assert (told["motions"], told["schedule"]) == ("AMASS", schedule)
    assert told["left_out"]["terrain"] == 1
    assert set(told["clips"]) == {"ACCAD/f/bytes", "CMU/01/stand_slide_stand"}
    measured = json.loads((out / "measured.json").read_text())
    assert set(measured) == {"val"}  # no motion of the test split in the fixture
    assert set(measured["val"]) == {"trained", "shipped"}
    assert measured["val"]["trained"]["joints_mm_1"] > 0
    named = {"motion": "motion_prior", "pose": "pose_prior", "initial_state": "initial_state"}
    files = {name: out / f"{file}.safetensors" for name, file in named.items()}
    assert load_priors(PriorSettings(**files)).motion.settings == NARROW
    assert not (out / "motion_prior.partial.pt").exists()
