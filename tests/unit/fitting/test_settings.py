"""The schedule as data: official numbers, refusals."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipelines.config import validate_settings
from pipelines.errors import SettingsInvalid
from pipelines.fitting.settings import HumorSettings, StageSettings


def test_reference_preset_holds_the_official_schedule() -> None:
    settings = HumorSettings.reference()
    assert [stage.solver.steps for stage in settings.stages] == [30, 70, 30, 25, 15]
    assert {stage.solver.method for stage in settings.stages} == {"reference_lbfgs"}
    assert settings.heading == "acos"
    last = settings.stages[-1].weights
    official = {"motion_prior": 0.075, "joint_consistency": 100, "bone_length": 2000, "contact_vel": 100}
    assert {term: last[term] for term in official} == official
    middle = settings.stages[3]
    assert middle.weights["contact_vel"] == middle.weights["contact_height"] == 0
    assert middle.free == ("latent_motion", "betas", "floor_plane")


def test_fast_preset_minimises_the_official_energy_in_its_last_roll_out() -> None:
    fast, official = (
        settings.motion_stages[-1].without_scene().weights
        for settings in (HumorSettings(), HumorSettings.reference())
    )
    assert fast == official


def test_fast_preset_gives_the_priors_more_weight_from_stage_to_stage() -> None:
    whole = [stage for stage in HumorSettings().motion_stages if stage.num_frames is None]
    official = HumorSettings.reference().motion_stages[-1].weights
    for term in ("motion_prior", "init_motion_prior"):
        shares = [stage.weights[term] / official[term] for stage in whole]
        assert shares == sorted(shares)
        assert shares[0] < shares[-1] == 1


def test_without_scene_drops_only_the_scene_terms() -> None:
    stage = HumorSettings().stages[-1]
    left = stage.without_scene()
    assert set(stage.weights) - set(left.weights) == {"prox_penetration", "prox_contact"}


def test_unknown_term_is_refused() -> None:
    with pytest.raises(ValidationError, match="points3d"):
        StageSettings(name="1", kind="frames", free=("trans",), weights={"points": 1.0})  # type: ignore[dict-item]


def test_stage_without_positive_weight_is_refused() -> None:
    with pytest.raises(ValidationError, match="stage x: no term has a positive weight"):
        StageSettings(name="x", kind="frames", free=("trans",), weights={"points3d": 0.0})


def test_motion_term_in_a_frame_stage_is_refused() -> None:
    with pytest.raises(
        ValidationError, match=r"motion_prior.*do not belong to a stage of kind 'frames'"
    ):
        StageSettings(name="1", kind="frames", free=("trans",), weights={"motion_prior": 1.0})


def test_stages_out_of_order_are_refused() -> None:
    stages = HumorSettings().stages
    motion = HumorSettings().motion_stages[0]
    with pytest.raises(ValidationError, match="come first"):
        HumorSettings(stages=(motion, stages[0]))


def test_free_poses_without_a_motion_are_refused() -> None:
    settings = HumorSettings()
    with pytest.raises(ValidationError, match="needs a stage of kind 'motion' before it"):
        HumorSettings(stages=(*settings.frame_stages, *settings.pose_stages))


def test_misspelt_key_is_named() -> None:
    with pytest.raises(SettingsInvalid, match="did you mean 'heading'"):
        validate_settings(HumorSettings, {"headin": "acos"})


def test_preset_name_in_a_file_fills_the_stages() -> None:
    settings = validate_settings(HumorSettings, {"preset": "reference"})
    assert settings.stages == HumorSettings.reference().stages
