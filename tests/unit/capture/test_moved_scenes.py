"""`moved-scenes` on a PROX tree whose scan shows a chair that is not in the footage."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from flows.cli import EXIT_OK, EXIT_USAGE, run
from pipelines.bodies.files import resolve_body_files
from pipelines.capture.produce import init_capture
from pipelines.config import load_settings
from pipelines.datasets.prox import ProxDataset
from pipelines.datasets.settings import ProxSettings
from pipelines.errors import DataMissing, SettingsInvalid
from pipelines.geometry.signed_distance import SdfGrid
from pipelines.moved_scenes import MovedScenesSettings, write_moved_scenes
from pipelines.pseudo_gt.data import data_source, recording_inputs
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.synthetic.primitives import Solid

RECORDING = "Room_00001_01"
CHAIR = Solid("chair", "box", (0.2, 0.9, 0.3), (0.25, 0.25, 0.3), yaw_rad=0.3)
INSIDE = np.array([[0.2, 0.9, 0.3], [0.1, 0.95, 0.4]])
TABLE = np.array([[1.3, 1.4, 0.36]])


@dataclass(frozen=True)
class ChairTree:
    """A tree with the chair in its room, and the settings that read it."""

    config: Path
    prox: ProxSettings

    def scene(self, edited: Path | None) -> Any:
        assert self.prox.root is not None
        reader = self.prox.model_copy(update={"edited_scenes": edited})
        return ProxDataset(self.prox.root, reader, resolve_body_files(None)).scene(RECORDING)


@pytest.fixture
def tree(spoiled: Callable[..., Any], as_obj: Any, as_mesh: Any, solids: Any) -> ChairTree:
    capture = spoiled(room__obj=as_obj(*as_mesh((*solids, CHAIR))))
    report = init_capture(capture.settings("moved=ignore", "sdf_size=64"))
    assert report.config is not None
    return ChairTree(report.config, load_settings(PseudoGtSettings, report.config).prox)


def distance(scene: Any, points: np.ndarray) -> np.ndarray:
    found: np.ndarray = SdfGrid.from_scene(scene).sample(torch.tensor(points).float()).numpy()
    return found


def test_the_chair_is_taken_out_and_all_else_stays(tree: ChairTree, tmp_path: Path) -> None:
    out = tmp_path / "moved"
    few = {"min_frames": 2}
    found = write_moved_scenes(MovedScenesSettings(prox=tree.prox, moved_parts=few, out_dir=out))
    assert found[RECORDING].parts == 1
    assert found[RECORDING].agree > 0.9
    before, after = tree.scene(None), tree.scene(out)
    gone = np.load(out / "faces" / f"{RECORDING}.npy", allow_pickle=False)
    assert len(after.faces) == len(before.faces) - gone.sum()
    centers = before.vertices_world[before.faces].mean(axis=1)
    truly = (np.abs(CHAIR.signed_distance(centers)) < 0.01) & (centers[:, 2] > 0.02)
    assert (gone & truly).sum() > 0.8 * (gone | truly).sum()
    assert (distance(before, INSIDE) < -0.05).all()
    assert (distance(after, INSIDE) > 0.2).all()
    np.testing.assert_array_equal(distance(after, TABLE), distance(before, TABLE))
    assert cv2.imread(str(out / "pictures" / f"{RECORDING}.png")) is not None


def test_a_run_knows_which_rooms_it_read(tree: ChairTree, tmp_path: Path) -> None:
    out = tmp_path / "moved"
    arguments = [f"prox.root={tree.prox.root}", *reader_settings(tree), f"out_dir={out}"]
    assert run(["moved-scenes", *arguments, "moved_parts.min_frames=2"]) == EXIT_OK
    plain = load_settings(PseudoGtSettings, tree.config)
    edited = load_settings(PseudoGtSettings, tree.config, [f"prox.edited_scenes={out}"])
    hashes = [
        recording_inputs(settings, data_source(settings), RECORDING, "neutral")
        for settings in (plain, edited)
    ]
    assert set(hashes[1]) - set(hashes[0]) == {"edited scene"}
    assert run(["moved-scenes", *arguments, "moved_parts.min_frames=9"]) == EXIT_OK  # 8 frames
    again = recording_inputs(edited, data_source(edited), RECORDING, "neutral")
    assert again["edited scene"] != hashes[1]["edited scene"]
    assert len(tree.scene(out).faces) == len(tree.scene(None).faces)  # the older edit is gone


def reader_settings(tree: ChairTree) -> list[str]:
    sizes = {"color_size_px": tree.prox.color_size_px, "depth_size_px": tree.prox.depth_size_px}
    return [f"prox.{name}={json.dumps(size)}" for name, size in sizes.items()]


def test_nothing_is_taken_out_where_depth_and_scan_disagree(tree: ChairTree, tmp_path: Path) -> None:
    assert tree.prox.root is not None
    pose = tree.prox.root / "qualitative" / "cam2world" / "Room.json"
    T = np.array(json.loads(pose.read_text()))
    T[:3, 3] += [0.3, -0.4, 0.2]
    pose.write_text(json.dumps(T.tolist()))
    settings = MovedScenesSettings(
        prox=tree.prox, moved_parts={"min_frames": 2}, out_dir=tmp_path / "moved"
    )
    found = write_moved_scenes(settings)
    assert found[RECORDING].agree < 0.6
    assert found[RECORDING].parts == 0
    assert not (tmp_path / "moved" / "scenes").exists()


def test_what_is_missing_is_named(
    tree: ChairTree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SettingsInvalid, match=r"prox\.root"):
        write_moved_scenes(MovedScenesSettings())
    with pytest.raises(DataMissing, match=r"no edited scenes[\s\S]*make moved-scenes"):
        tree.scene(tmp_path)
    assert tree.prox.root is not None
    for path in (tree.prox.root / "qualitative/recordings" / RECORDING / "BodyIndex").iterdir():
        path.unlink()
    arguments = [f"prox.root={tree.prox.root}", *reader_settings(tree), f"out_dir={tmp_path}"]
    assert run(["moved-scenes", *arguments]) == EXIT_USAGE
    said = capsys.readouterr().err
    assert "no frame has depth and the sensor's person mask" in said
    assert "no recording could be looked at" in said
