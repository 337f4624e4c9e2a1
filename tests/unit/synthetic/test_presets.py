from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipelines.synthetic.motions import HELD_OUT_FAMILIES
from pipelines.synthetic.presets import (
    RecordingSpec,
    SyntheticSettings,
    subject_betas,
    synthetic_preset,
)

PRESETS = ("tiny", "first-run", "benchmark", "defects")


@pytest.mark.parametrize("name", PRESETS)
def test_recordings_have_rooms_of_their_own_and_held_out_motions(name: str) -> None:
    recordings = synthetic_preset(name).recordings  # type: ignore[arg-type]
    scenes = [spec.scene for spec in recordings]
    assert len(set(scenes)) == len(scenes)
    assert all(spec.family in HELD_OUT_FAMILIES for spec in recordings)


def test_first_run_has_one_sitting_and_one_female_recording() -> None:
    recordings = synthetic_preset("first-run").recordings
    assert len(recordings) == 2
    assert any("sit" in spec.family for spec in recordings)
    assert sum(spec.gender == "female" for spec in recordings) == 1


def test_benchmark_shares_nothing_with_the_first_run() -> None:
    benchmark, first = synthetic_preset("benchmark"), synthetic_preset("first-run")
    assert len(benchmark.recordings) >= 8
    assert len({spec.seed for spec in benchmark.recordings}) == 3
    assert min(spec.num_frames for spec in benchmark.recordings) >= 150
    for field in ("scene", "subject", "seed"):
        shown = {getattr(spec, field) for spec in first.recordings}
        assert not shown & {getattr(spec, field) for spec in benchmark.recordings}


def test_names_and_genders_follow_prox() -> None:
    spec = RecordingSpec(scene="Attic", subject=159, take=2, family="walk", num_frames=10, seed=0)
    assert spec.name == "Attic_00159_02"
    assert spec.gender == "female"
    assert spec.model_copy(update={"subject": 160}).gender == "male"


def test_a_scene_name_that_prox_could_not_parse_is_refused() -> None:
    with pytest.raises(ValidationError, match="pattern"):
        RecordingSpec(scene="Big_Room", subject=1, family="walk", num_frames=10, seed=0)


def test_betas_are_fixed_for_a_subject_and_bounded() -> None:
    assert (subject_betas(0, 34) == subject_betas(0, 34)).all()
    assert (subject_betas(0, 34) != subject_betas(0, 35)).any()
    assert abs(subject_betas(1, 34)).max() <= 2


def test_two_recordings_in_one_room_are_refused() -> None:
    spec = RecordingSpec(scene="Attic", subject=159, family="walk", num_frames=10, seed=0)
    both = (spec, spec.model_copy(update={"take": 2}))
    with pytest.raises(ValidationError, match="share a scene: Attic"):
        SyntheticSettings(preset="own", recordings=both)
