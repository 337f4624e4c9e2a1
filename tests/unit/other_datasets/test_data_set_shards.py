"""`make shards` over RICH, EgoBody and PROX quantitative, by the setting `source` alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.bodies.files import BodyFiles
from pipelines.config import load_settings
from pipelines.errors import DataInvalid, DataMissing, SettingsInvalid
from pipelines.other_datasets.rich.dataset import RichDataset
from pipelines.shards.collection import ShardCollection
from pipelines.shards.describe import describe_shards
from pipelines.shards.produce import open_source, plan_production, write_planned_shard
from pipelines.shards.schema import touching_vertices
from pipelines.shards.settings import ShardsSettings
from pipelines.shards.validate import validate_shard

YOGA = "Pavallion_013_yoga2-013-cam_03"
TWO = "ParkingLot1_004_005_greetingchattingeating1"


def produced(out: Path, source: str, root: Path, *overrides: str) -> ShardsSettings:
    """What the flow does, without Prefect."""
    given = [f"source={source}", f"data.{source}.root={root}", f"out_dir={out}", "frame_stride=1"]
    settings = load_settings(ShardsSettings, None, [*given, *overrides])
    production = plan_production(settings)
    for shard in production.shards:
        write_planned_shard(settings, shard)
    describe_shards(production, production.shards)
    return settings


@pytest.fixture(scope="module")
def rich(rich_root: Path, tmp_path_factory: pytest.TempPathFactory) -> ShardsSettings:
    return produced(tmp_path_factory.mktemp("shards"), "rich", rich_root)


def test_rich_is_split_as_rich_says_and_nothing_is_lost_unsaid(rich: ShardsSettings) -> None:
    folder = rich.folder
    assert folder.parts[-2:] == ("rich", "shards-rich")
    splits = json.loads((folder / "splits.json").read_text())
    assert splits["name"] == "official"
    assert splits["no_two_sides_share"] == "both"
    assert splits["recordings"][YOGA] == "test"
    assert splits["recordings"][f"{TWO}-004-cam_00"] == "train"
    frames = json.loads((folder / "stats.json").read_text())["frames"]
    assert frames["frames"] == 3 * 6  # three frames, six people before cameras
    assert frames["frames"] == frames["kept"] + sum(frames["skipped"].values())
    for path in folder.glob("*.h5"):
        assert validate_shard(path) == ()


def test_richs_own_contact_lies_beside_ours(
    rich: ShardsSettings, rich_root: Path, files: BodyFiles
) -> None:
    data = RichDataset(rich_root, files)
    samples = ShardCollection(sorted(rich.folder.glob("*.h5")))
    assert set(samples.kinds) == {"dataset"}
    labelled = 0
    for sample in samples:
        sequence, subject, _ = sample.recording.rsplit("-", 2)
        try:
            own = data.contact(sequence, subject, sample.frame).contact
        except (DataMissing, DataInvalid):
            assert not sample.has_own_contact
            assert len(sample.own_contact) == 0
            assert np.array_equal(touching_vertices(sample), sample.vertex_category > 0)
            continue
        labelled += 1
        assert sample.has_own_contact
        assert np.array_equal(np.flatnonzero(own), sample.own_contact)
        assert np.array_equal(touching_vertices(sample), own)
        # Within 2 cm of the room: all of them within our 7 cm, where a contact part is asked.
        ours = sample.vertex_category > 0
        assert (ours & own).sum() > 20
    assert 0 < labelled < len(samples)
    statistics = json.loads((rich.folder / "stats.json").read_text())
    assert statistics["own_contact"] == labelled
    assert f"(`own_contact`): {labelled} usable samples" in (rich.folder / "README.md").read_text()


def test_no_path_of_this_machine_is_stored(rich: ShardsSettings, rich_root: Path) -> None:
    for name in ("settings.yaml", "README.md", "stats.json"):
        assert str(rich_root) not in (rich.folder / name).read_text()


def test_a_second_run_writes_nothing_anew(rich: ShardsSettings) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in rich.folder.iterdir()}
    production = plan_production(rich)
    for shard in production.shards:
        write_planned_shard(rich, shard)
    assert {path.name: path.stat().st_mtime_ns for path in rich.folder.iterdir()} == before


def test_egobody(egobody_root: Path, tmp_path: Path) -> None:
    settings = produced(tmp_path, "egobody", egobody_root, 'data.people=["*-master"]')
    splits = json.loads((settings.folder / "splits.json").read_text())
    assert splits["name"] == "official"
    samples = ShardCollection(sorted(settings.folder.glob("*.h5")))
    assert {sample.recording.rsplit("-", 1)[1] for sample in samples} == {"master"}
    assert not any(sample.has_own_contact for sample in samples)
    assert all((sample.vertex_category > 0).any() for sample in samples)


def test_prox_quantitative_is_a_test_set(quantitative: object, tmp_path: Path) -> None:
    root = quantitative.root  # type: ignore[attr-defined]
    settings = produced(tmp_path, "prox_quantitative", root)
    assert json.loads((settings.folder / "splits.json").read_text())["recordings"] == {
        "vicon_03301_01": "test"
    }
    stats = json.loads((settings.folder / "stats.json").read_text())
    assert stats["frames"]["frames"] == 9
    assert stats["frames"]["skipped"]["fit_missing"] == 1
    assert stats["frames"]["skipped"]["fit_not_finite"] == 1
    samples = ShardCollection(sorted(settings.folder.glob("*.h5")))
    assert {sample.gender for sample in samples} == {"male"}


def test_a_source_without_a_root_or_with_an_idle_pattern_is_refused(rich_root: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"source=egobody[\s\S]*data\.egobody\.root"):
        open_source(ShardsSettings(source="egobody"))
    given = ["source=rich", f"data.rich.root={rich_root}", 'data.people=["Gym_*"]']
    with pytest.raises(DataMissing, match=r"nobody matches Gym_\*[\s\S]*data\.people"):
        open_source(load_settings(ShardsSettings, None, given))


def test_settings_of_other_sources_say_where_shards_go() -> None:
    assert ShardsSettings(source="rich").stride == 15
    assert ShardsSettings(source="prox_quantitative").stride == 1
    assert ShardsSettings(source="egobody").folder == Path("outputs/shards/egobody/shards-egobody")
