from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipelines.errors import DataMissing
from pipelines.metrics.charts import _stage_place, save_energy_chart, save_headline_chart
from pipelines.metrics.overlay import (
    PANEL_PX,
    default_methods,
    penetration_colors,
    save_overlays,
    spread_frames,
)
from pipelines.metrics.summary import summarise


def _faces():
    """A few visible triangles among the made-up vertices."""
    faces = np.zeros((13776, 3), dtype=np.int64)
    faces[:2000] = np.arange(6000).reshape(2000, 3)
    return faces


@pytest.fixture
def room(recording):
    corners = np.array([[-4.0, 0, 0], [4, 0, 0], [4, 4, 0], [-4, 4, 0]])  # the floor, world frame
    scene = replace(recording.scene, vertices_world=corners, faces=np.array([[0, 1, 2], [0, 2, 3]]))
    return replace(recording, scene=scene)


def test_pictures_show_every_method_beside_the_truth(room, shifted, tmp_path):
    tracks = {
        name: shifted(room.truth_track, name, (0.0, 0.02, 0.0))
        for name in ("prox_style", "humor", "prox_humor")
    }
    image = np.full((1080, 1920, 3), (200, 30, 30), dtype=np.uint8)
    paths = save_overlays(
        tmp_path,
        tracks,
        room.observations,
        room.scene,
        _faces(),
        lambda name: image,
        truth_track=room.truth_track,
        num_frames=1,
    )
    assert [path.name for path in paths] == ["s001_frame_00006.png"]
    picture = cv2.imread(str(paths[0]))[..., ::-1]
    assert picture.shape[1] == 3 * PANEL_PX  # baseline, result, truth
    assert (picture[40, 5] == (200, 30, 30)).all()  # the colour image, still RGB
    first = [path.read_bytes() for path in paths]
    save_overlays(
        tmp_path,
        tracks,
        room.observations,
        room.scene,
        _faces(),
        lambda name: image,
        truth_track=room.truth_track,
        num_frames=1,
    )
    assert [path.read_bytes() for path in paths] == first


def test_a_missing_colour_image_does_not_stop_the_picture(room, tmp_path, caplog):
    def missing(name):
        raise DataMissing(f"no image {name}")

    tracks = {"humor": room.truth_track}
    args = (room.observations, room.scene, _faces(), missing)
    assert len(save_overlays(tmp_path, tracks, *args, num_frames=1)) == 1
    assert "no colour image behind the picture" in caplog.text


def test_no_common_valid_frame_makes_no_picture(room, tmp_path):
    track = replace(room.truth_track, valid=np.zeros(12, dtype=bool))
    args = (room.observations, room.scene, _faces(), lambda name: None)
    assert save_overlays(tmp_path, {"a": track}, *args) == []
    assert save_overlays(tmp_path, {"a": room.truth_track}, *args, num_frames=0) == []


def test_frames_are_spread_evenly_over_the_valid_ones(room):
    valid = np.ones(12, dtype=bool)
    valid[:4] = False
    track = replace(room.truth_track, valid=valid)
    assert spread_frames({"a": track, "b": room.truth_track}, 4) == [5, 7, 9, 11]
    assert spread_frames({"a": track}, 100) == list(range(4, 12))


def test_columns_are_the_baseline_and_the_result_when_both_are_there():
    assert default_methods(["humor", "prox_style", "prox_humor"]) == [
        "prox_style",
        "prox_humor",
    ]
    assert default_methods(["humor", "prox_humor"]) == ["humor", "prox_humor"]


def test_penetration_is_coloured_by_depth_and_only_below_zero():
    colors = penetration_colors(np.array([0.1, 0.0, -0.001, -0.05, -0.5]), (0.5, 0.6, 0.7))
    np.testing.assert_allclose(colors[:2], [[0.5, 0.6, 0.7]] * 2)
    darkness = colors[2:].sum(axis=1)
    assert darkness[0] > darkness[1] > darkness[2]


def test_stages_are_drawn_in_the_order_they_run():
    ran = ["1", "lift", "2", "3a", "light", "3b", "3c", "refine"]
    assert sorted(["own", *reversed(ran)], key=_stage_place) == [*ran, "own"]


def test_charts_are_written_and_equal_input_gives_equal_bytes(measured, fit, tmp_path):
    table = summarise([measured(f"Room_0000{i}_01") for i in range(3)], preset="first-run")
    energies = {
        "scan": np.linspace(3, 1, 12),
        "1.joints2d": np.array([5.0, 4.0]),
        "2.joints2d": np.array([3.0, 1.0]),
        "total": np.array(2.0),
    }
    sequence = fit("prox_humor", np.repeat([0, 1], 6), energies=energies)
    for name in ("a", "b"):
        save_headline_chart(tmp_path / f"{name}.png", table)
        save_energy_chart(tmp_path / f"{name}_energy.png", sequence)
    for kind in ("", "_energy"):
        first = (tmp_path / f"a{kind}.png").read_bytes()
        assert first == (tmp_path / f"b{kind}.png").read_bytes()
        picture = cv2.imread(str(tmp_path / f"a{kind}.png"))
        assert picture.min() < 100  # something is drawn
