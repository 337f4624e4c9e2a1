from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.bodies.files import resolve_body_files
from pipelines.datasets.prox import ProxDataset
from pipelines.datasets.proxd import read_proxd
from pipelines.errors import DataInvalid, SettingsInvalid
from pipelines.records import SyntheticTruth
from pipelines.synthetic.defects import DEFECTS, FIRST_CLIP_FRAMES, GAP_AFTER_FRAME, motion_rows
from pipelines.synthetic.presets import synthetic_preset
from pipelines.synthetic.prox_tree import write_prox_tree
from pipelines.synthetic.truth import read_truth


@dataclass(frozen=True)
class Broken:
    root: Path
    recording: str
    truth: SyntheticTruth
    planted: dict[str, str]

    def path(self, defect: str, folder: str, suffix: str) -> Path:
        base = self.root / "prox" / "qualitative"
        parent = base / "recordings" / self.recording / folder
        if folder in ("keypoints", "PROXD"):
            parent = base / folder / self.recording / ("results" if folder == "PROXD" else "")
        return parent / f"{self.truth.frame_names[DEFECTS[defect]]}{suffix}"


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Broken:
    root = tmp_path_factory.mktemp("defects")
    settings = synthetic_preset("defects").model_copy(update={"sdf_size": 24})
    write_prox_tree(root / "prox", root / "truth", settings, resolve_body_files(None))
    recording = settings.recordings[0].name
    planted = json.loads((root / "truth" / f"{recording}_defects.json").read_text())
    return Broken(root, recording, read_truth(root / "truth", recording), planted)


def test_every_defect_has_a_frame_of_its_own_and_is_listed(broken: Broken) -> None:
    assert len(set(DEFECTS.values())) == len(DEFECTS)
    listed = {broken.truth.frame_names[row]: defect for defect, row in DEFECTS.items()}
    assert broken.planted == listed


def test_two_clips_and_a_gap(broken: Broken) -> None:
    names = broken.truth.frame_names
    clips = [name.split("_")[0] for name in names]
    assert clips == ["s001"] * FIRST_CLIP_FRAMES + ["s004"] * (len(names) - FIRST_CLIP_FRAMES)
    assert names[FIRST_CLIP_FRAMES].startswith("s004_frame_00001__00.00.00.029")
    seconds = [float(name.rsplit(".", 2)[1] + "." + name.rsplit(".", 1)[1]) for name in names]
    assert seconds[GAP_AFTER_FRAME] - seconds[GAP_AFTER_FRAME - 1] > 0.4
    rows = motion_rows(len(names))
    assert rows[GAP_AFTER_FRAME] - rows[GAP_AFTER_FRAME - 1] == 16


def test_images_are_broken_as_planned(broken: Broken) -> None:
    assert not broken.path("color_missing", "Color", ".jpg").exists()
    eight_bit = cv2.imread(str(broken.path("depth_8bit", "Depth", ".png")), cv2.IMREAD_UNCHANGED)
    assert eight_bit is not None
    assert eight_bit.dtype == np.uint8
    assert cv2.imread(str(broken.path("depth_truncated", "Depth", ".png")), cv2.IMREAD_ANYDEPTH) is None
    mask = cv2.imread(str(broken.path("no_person", "BodyIndexColor", ".png")), cv2.IMREAD_GRAYSCALE)
    assert mask is not None
    assert (mask == 255).all()
    low = cv2.imread(str(broken.path("two_people", "BodyIndex", ".png")), cv2.IMREAD_GRAYSCALE)
    assert low is not None
    assert set(np.unique(low)) == {0, 1, 255}
    assert not broken.truth.person_present[DEFECTS["no_person"]]


def test_stranger_comes_first_in_the_keypoints(broken: Broken) -> None:
    people = json.loads(broken.path("two_people", "keypoints", "_keypoints.json").read_text())["people"]
    noses = [person["pose_keypoints_2d"][0] for person in people]
    assert len(people) == 2
    assert noses[0] > noses[1] + 100


def test_fits_are_refused_for_the_right_reason(broken: Broken) -> None:
    good = read_proxd(broken.path("depth_all_zero", "PROXD", "/000.pkl"))
    np.testing.assert_allclose(good["transl"], broken.truth.parameters.transl[33], atol=0.15)
    assert not broken.path("fit_missing", "PROXD", "/000.pkl").exists()
    assert np.isnan(read_proxd(broken.path("fit_nan", "PROXD", "/000.pkl"))["transl"]).all()
    for defect in ("fit_truncated", "fit_with_code"):
        with pytest.raises(DataInvalid):
            read_proxd(broken.path(defect, "PROXD", "/000.pkl"))


def test_the_reader_accounts_for_every_frame(broken: Broken) -> None:
    observations = ProxDataset(broken.root / "prox").observations(broken.recording)
    assert observations.frame_names == broken.truth.frame_names
    status = observations.status
    assert status[DEFECTS["no_person"]] == "no_person"
    untouched = [row for row in range(len(status)) if row not in DEFECTS.values()]
    assert all(status[row] == "" for row in untouched)
    assert len(np.unique(observations.segment_id)) == 3
    assert observations.skipped


def test_a_recording_too_short_for_the_defects_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match="too short"):
        motion_rows(20)
