"""Which tree a folder is, and what a wrong folder is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import DataMissing
from pipelines.other_datasets.trees import TreeKind, recognise, require_tree

TOPS: dict[TreeKind, tuple[str, ...]] = {
    "PROX quantitative": ("recordings/", "cam2world/", "vicon2scene.json"),
    "PROX qualitative": ("recordings/", "cam2world/", "PROXD/"),
    "RICH": ("scan_calibration/", "bodies/"),
    "EgoBody": ("data_info_release.csv", "calibrations/"),
    "SA-HMR support for RICH": ("scene_info/",),
    "SA-HMR support for PROX": ("vicon/", "meta/"),
    "AMASS": ("KIT/3/walk_poses.npz",),
}


def make(folder: Path, kind: TreeKind) -> Path:
    for name in TOPS[kind]:
        path = folder / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.touch()
    return folder


@pytest.mark.parametrize("kind", TOPS)
def test_every_kind_is_recognised_and_returned(kind: TreeKind, tmp_path: Path) -> None:
    assert recognise(tmp_path) is None
    make(tmp_path, kind)
    assert recognise(tmp_path) == kind
    assert require_tree(tmp_path, kind, setting="a.root") == tmp_path


def test_the_folder_of_the_archive_is_looked_into(tmp_path: Path) -> None:
    make(tmp_path / "sahmr_support", "SA-HMR support for RICH")
    found = require_tree(tmp_path, "SA-HMR support for RICH", inside="sahmr_support", setting="a.root")
    assert found == tmp_path / "sahmr_support"


@pytest.mark.parametrize("depth", [1, -1])
def test_a_folder_too_many_or_too_few_is_told(depth: int, tmp_path: Path) -> None:
    tree = make(tmp_path / "download" / "tree", "RICH")
    asked = tree.parent if depth == 1 else tree / "bodies"
    with pytest.raises(DataMissing, match="not a tree of RICH") as error:
        require_tree(asked, "RICH", setting="rich.root")
    which = "deeper" if depth == 1 else "higher"
    assert f"the tree lies a folder {which}, in {tree}" in str(error.value)
    assert f"set rich.root to {tree}" in str(error.value)


def test_another_data_set_is_named(tmp_path: Path) -> None:
    make(tmp_path, "EgoBody")
    with pytest.raises(DataMissing, match="a tree of EgoBody") as error:
        require_tree(tmp_path, "RICH", setting="rich.root")
    assert "scan_calibration/ with bodies/" in str(error.value)


def test_an_absent_and_a_foreign_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="no such folder"):
        require_tree(tmp_path / "nowhere", "RICH", setting="rich.root")
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(DataMissing, match=r"holiday\.jpg"):
        require_tree(tmp_path, "RICH", setting="rich.root")
