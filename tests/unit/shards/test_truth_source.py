"""Made-up recordings: who is in them, and what happens when the generator refuses one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import pipelines.shards.truth_source as module
from pipelines.errors import FittingFailed
from pipelines.shards.plan import PlannedShard, RecordingPart
from pipelines.shards.produce import ShardWork
from pipelines.shards.settings import ShardsSettings, TruthSettings
from pipelines.shards.source import RecordingRefused
from pipelines.shards.truth_source import TruthSource, truth_recordings
from pipelines.synthetic.presets import synthetic_preset


def settings(**changes: object) -> ShardsSettings:
    return ShardsSettings(source="truth", frame_stride=5, truth=TruthSettings(**changes))  # type: ignore[arg-type]


def test_every_recording_has_a_room_of_its_own_and_people_go_round():
    made = truth_recordings(settings(scenes=24, subjects=6))
    assert len({recording.spec.scene for recording in made}) == 24
    assert Counter(recording.subject for recording in made) == dict.fromkeys(
        {recording.subject for recording in made}, 4
    )
    assert len({recording.subject for recording in made}) == 6
    assert Counter(recording.spec.gender for recording in made) == {"male": 12, "female": 12}
    for recording in made:  # a person is one body: one seed of the generator and one number
        number, seed = recording.subject.split("-")
        assert (int(number), int(seed)) == (recording.spec.subject, recording.settings.seed)


def test_men_and_women_do_the_same_things():
    made = truth_recordings(settings(scenes=96, subjects=48))
    families = {
        gender: {r.spec.family for r in made if r.spec.gender == gender} for gender in ("male", "female")
    }
    assert families["male"] == families["female"]
    assert len(families["male"]) == 14


def test_no_seed_is_one_of_the_fitted_recordings():
    fitted = {
        spec.seed for name in ("first-run", "benchmark") for spec in synthetic_preset(name).recordings
    }
    made = truth_recordings(settings())
    assert min(recording.spec.seed for recording in made) > max(fitted)
    with pytest.raises(ValueError, match="greater than or equal to 1000"):
        TruthSettings(seed=5)


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds asked for; the first two of a recording are refused."""
    asked: list[int] = []

    def prepare(tree, spec, files):
        asked.append(spec.seed)
        if spec.seed < 2_000_000:
            raise FittingFailed("the room cuts 19 mm into the body", where="bed")
        raise StopIteration("drawn")

    monkeypatch.setattr(module, "prepare", prepare)
    return asked


def test_a_refused_motion_is_drawn_again(refusing: list[int]):
    source = TruthSource(settings(scenes=1))
    (name,) = source.recordings
    with pytest.raises(StopIteration, match="drawn"):
        source.scene(name)
    assert refusing == [1000, 1_001_000, 2_001_000]


def test_a_recording_refused_for_good_is_skipped_and_counted(refusing: list[int]):
    given = settings(scenes=1, max_draws=2, num_frames=12)
    source = TruthSource(given)
    (name,) = source.recordings
    with pytest.raises(RecordingRefused, match=r"in 2 draws[\s\S]*walk"):
        source.recording(name)
    shard = PlannedShard("train-00000", "train", (RecordingPart(name, 0, 12),))
    work = ShardWork(given, source, shard)
    assert list(work.scenes()) == []
    assert list(work.samples()) == []
    assert work.summary()["frames"][name] == {
        "frames": 12,
        "kept": 0,
        "rejected": {},
        "skipped": {"frame_stride": 9, "recording_refused": 3},
    }


def test_sets_lie_in_folders_of_their_own():
    made = ShardsSettings(source="truth", out_dir=Path("out"))
    assert made.folder == Path("out/rooms/shards-truth")
    fitted = ShardsSettings(run=Path("outputs/pseudo-gt/first-run"), out_dir=Path("out"))
    assert fitted.folder == Path("out/first-run/shards-fit")
    assert (fitted.stride, made.stride) == (1, 12)
    assert fitted.portable().canonical_json().count("outputs") == 0
