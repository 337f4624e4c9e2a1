"""The presets say what the page says."""

import pytest

from pipelines.config import load_settings, validate_settings
from pipelines.errors import SettingsInvalid
from sahmr.networks.mesh_tokens import MeshTransformerSettings
from sahmr.networks.rcnet import paper_settings
from sahmr.networks.sahmr import SahmrSettings
from sahmr.training.schedule import learning_rate, total_steps
from sahmr.training.settings import TrainingSettings
from sahmr.training.stages import stages_to_train

PAPER = load_settings(TrainingSettings, None, ["preset=paper"])


def test_paper_is_section_9_2():
    assert PAPER.rcnet.start_rate == pytest.approx(3.75e-4)
    assert PAPER.mesh.start_rate == pytest.approx(7.5e-5)
    assert PAPER.metro.start_rate == 1e-4
    for stage in (PAPER.rcnet, PAPER.mesh):
        assert (stage.epochs, stage.batch_size, stage.clip_value) == (30, 24, 0.5)
        assert (stage.precision, stage.ema_decay, stage.steps) == ("float32", None, None)
    assert PAPER.seed == 66
    assert PAPER.sahmr_network == SahmrSettings()
    assert PAPER.metro_network == MeshTransformerSettings()
    assert PAPER.metro.masked_share == 0.3


def test_the_rate_halves_with_epoch_16():
    total = total_steps(PAPER.rcnet, steps_per_epoch=640)
    rates = [
        learning_rate(PAPER.rcnet, step, total) for step in (0, 15 * 640 - 1, 15 * 640, 30 * 640 - 1)
    ]
    assert rates == pytest.approx([3.75e-4, 3.75e-4, 1.875e-4, 1.875e-4])


def test_the_cosine_rises_then_falls_to_its_share():
    stage = PAPER.rcnet.model_copy(
        update={"schedule": "cosine", "warm_up_steps": 9, "decay_factor": 0.1}
    )
    rates = [learning_rate(stage, step, 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(3.75e-5, rel=1e-4)
    assert max(rates) == rates[9]
    assert rates[-1] == pytest.approx(3.75e-5, rel=1e-3)


def test_what_the_user_says_counts_more_than_the_preset():
    settings = load_settings(TrainingSettings, None, ["preset=tiny", "rcnet.steps=7"])
    assert settings.rcnet.steps == 7
    assert settings.rcnet.batch_size == TrainingSettings().rcnet.batch_size == 8
    assert settings.mesh_network.hidden != PAPER.mesh_network.hidden
    again = validate_settings(TrainingSettings, settings.model_dump(mode="json"))
    assert again == settings


@pytest.mark.parametrize(("categories", "classes", "maps"), [(8, 8, 8), (1, 2, 1), (432, 432, 432)])
def test_categories_decide_the_channels(categories, classes, maps):
    settings = TrainingSettings(preset="paper", categories=categories)
    assert settings.rcnet_with_categories == paper_settings(categories)
    assert settings.rcnet_with_categories.num_classes == classes
    assert settings.rcnet_with_categories.contact_maps == maps


def test_misspelt_settings_are_named():
    with pytest.raises(SettingsInvalid, match="did you mean 'steps'"):
        load_settings(TrainingSettings, None, ["rcnet.step=7"])


def test_paper_needs_a_metro_to_start_from(tmp_path):
    with pytest.raises(SettingsInvalid, match=r"start_from\.metro"):
        stages_to_train(PAPER)
    given = load_settings(TrainingSettings, None, ["preset=paper", f"start_from.metro={tmp_path}/m.bin"])
    assert stages_to_train(given) == ("rcnet", "mesh", "metro")
    assert stages_to_train(TrainingSettings()) == ("start", "rcnet", "mesh", "metro")
