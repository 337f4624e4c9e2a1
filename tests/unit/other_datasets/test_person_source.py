"""People of RICH become samples of shards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pipelines.bodies.correspondence import smplx_to_smplh_vertices
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import load_smplh, load_smplx
from pipelines.bodies.track import parameter_tensors
from pipelines.errors import DataInvalid
from pipelines.other_datasets.egobody.dataset import EgobodyDataset
from pipelines.other_datasets.people import people_of_egobody, people_of_prox, people_of_rich
from pipelines.other_datasets.prox_quantitative import ProxQuantitative
from pipelines.other_datasets.rich.dataset import RichDataset
from pipelines.other_datasets.settings import RichSettings
from pipelines.shards.person_source import PersonSource
from pipelines.shards.plan import plan_shards
from pipelines.shards.produce import ShardWork
from pipelines.shards.settings import ShardsSettings

TWO = "ParkingLot1_004_005_greetingchattingeating1"
YOGA = "Pavallion_013_yoga2-013-cam_03"


@pytest.fixture
def source(rich_root: Path, files: BodyFiles) -> PersonSource:
    settings = ShardsSettings(source="truth", frame_stride=1)
    return PersonSource(settings, files, people_of_rich(RichDataset(rich_root, files)))


def test_everyone_before_every_camera_is_a_candidate(source: PersonSource) -> None:
    found = {candidate.member.recording: candidate for candidate in source.candidates()}
    assert sorted(found) == [
        *(f"{TWO}-{subject}-{view}" for subject in ("004", "005") for view in ("cam_00", "cam_01")),
        "Pavallion_013_yoga2-013-cam_00",
        YOGA,
    ]
    assert found[f"{TWO}-004-cam_01"].rows == (0,)
    assert found[f"{TWO}-004-cam_01"].left_out == {"fit_not_finite": 1, "image_missing": 1}
    assert found[f"{TWO}-005-cam_00"].rows == (0, 2)
    assert found[YOGA].member.subjects == ("013",)


def test_bodies_are_the_data_sets_own(source: PersonSource, rich_root: Path, files: BodyFiles) -> None:
    made = source.recording(YOGA)
    own = RichDataset(rich_root, files).bodies("Pavallion_013_yoga2", "013", "cam_03").parameters
    with torch.no_grad():
        smplx = load_smplx(files, "female")(**parameter_tensors(own)).vertices
        true = smplx_to_smplh_vertices(files, smplx)
        smplh = load_smplh(files, "female", 16)(**parameter_tensors(made.bodies)).vertices
    distance_mm = 1e3 * (smplh - true).norm(dim=-1).mean(dim=1).numpy()
    assert distance_mm.max() < 8
    assert np.allclose(made.expected_error_mm, distance_mm, atol=0.1)
    assert made.reject_reason == ("", "", "")


def test_samples_show_the_person_and_touch_the_floor(source: PersonSource) -> None:
    chosen = [c for c in source.candidates() if c.member.recording == YOGA]
    (shard,) = plan_shards(chosen, {YOGA: "test"}, samples_per_shard=10)
    work = ShardWork(source.settings, source, shard)
    (scene,) = work.scenes()
    assert scene.scene == "Pavallion_scan_yoga_scene_camcoord"
    samples = list(work.samples())
    assert [sample.frame for sample in samples] == ["00048", "00050"]
    assert work.accounts[YOGA].skipped == {"image_invalid": 1}  # cut short on disk
    image = cv2.imdecode(samples[0].crop_jpeg, cv2.IMREAD_COLOR)[..., ::-1].astype(int)
    margin = (image.shape[0] - 224) // 2
    skin = np.abs(image - [217, 153, 128]).max(axis=2) < 30
    rows, columns = np.nonzero(skin[margin : margin + 224, margin : margin + 224])
    assert abs((rows.min() + rows.max()) / 2 - 111.5) < 6
    assert abs((columns.min() + columns.max()) / 2 - 111.5) < 6
    assert (samples[0].vertex_category > 0).sum() > 50
    assert len(samples[0].contact_rows) > 10


def test_inputs_change_with_the_files_and_with_how_they_are_read(
    source: PersonSource, rich_root: Path, files: BodyFiles, copied: Callable[[Path], Path]
) -> None:
    before = source.inputs(YOGA)
    assert before == source.inputs("Pavallion_013_yoga2-013-cam_00")
    root = copied(rich_root)
    scan = RichDataset(root, files).scan("Pavallion_013_yoga2")
    content = bytearray(scan.read_bytes())
    content[content.index(b"end_header\n") + len(b"end_header\n")] ^= 1  # one coordinate, by a hair
    scan.write_bytes(content)
    other = PersonSource(source.settings, files, people_of_rich(RichDataset(root, files)))
    assert _changed(before, other.inputs(YOGA)) == {"input 1"}
    for given in ({"max_conversion_mm": 5.0}, {"rich": RichSettings(max_transl_m=9.0)}):
        data = source.settings.data.model_copy(update=given)
        settings = source.settings.model_copy(update={"data": data})
        stricter = PersonSource(settings, files, source.entries.values())
        assert _changed(before, stricter.inputs(YOGA)) == {"reader"}
    fewer = source.settings.data.model_copy(update={"people": (YOGA,), "rich": RichSettings(root=root)})
    settings = source.settings.model_copy(update={"data": fewer})
    assert PersonSource(settings, files, source.entries.values()).inputs(YOGA) == before


def _changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def test_other_data_sets_are_listed_too(
    quantitative: object, egobody_root: Path, files: BodyFiles
) -> None:
    prox = list(people_of_prox(ProxQuantitative(quantitative.root, files)))  # type: ignore[attr-defined]
    assert [entry.name for entry in prox] == ["vicon_03301_01"]
    egobody = list(people_of_egobody(EgobodyDataset(egobody_root, files), "train"))
    assert len(egobody) == 2 * 3
    for entry in (*prox, *egobody):
        person = entry.read()
        assert all(path.exists() for path in entry.inputs)
        assert len(entry.name) <= 64
        assert len(person.subject) <= 32
        assert len(entry.mesh().faces) > 100
        name = person.bodies.frame_names[0]
        width, height = person.view.image_size_px
        assert entry.image(name).shape == (height, width, 3)


def test_two_people_of_one_name_are_refused(source: PersonSource, files: BodyFiles) -> None:
    twice = [*source.entries.values()] * 2
    with pytest.raises(DataInvalid, match="people share a name"):
        PersonSource(source.settings, files, twice).candidates()
