"""Pictures of shards show the samples they say, in the right places and colours."""

import base64
import re

import cv2
import numpy as np
import pytest
import trimesh

from flows.cli import run
from pipelines.bodies.files import resolve_body_files
from pipelines.contact.colors import CATEGORY_COLORS
from pipelines.errors import DataMissing
from pipelines.shards.collection import SelectionSettings, ShardCollection
from pipelines.shards.look.contact_sheet import contact_sheet, crop_pixels, draw_tile
from pipelines.shards.look.posed import pose_sample
from pipelines.shards.look.produce import LookSettings, choose_samples, look_at_shards
from pipelines.shards.look.sample_page import build_scene, sample_page

LEFT, RIGHT = (tuple(round(255 * part) for part in CATEGORY_COLORS[k]) for k in (0, 1))


@pytest.fixture(scope="module")
def collection(body_shards):
    return ShardCollection(body_shards(), SelectionSettings(use_rejected=True))


@pytest.fixture(scope="module")
def posed(collection):
    return pose_sample(collection, 0, resolve_body_files(None))


def test_the_body_fills_the_crop_as_the_box_rule_says(posed):
    pixels = crop_pixels(posed)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    assert (high - low).max() == pytest.approx(223 / 1.15, abs=0.1)
    np.testing.assert_allclose((low + high) / 2, 111.5, atol=0.1)


def test_a_tile_shows_the_soles_in_their_colours(posed):
    tile = draw_tile(posed)
    assert tile.shape[1] == 224
    found = [np.argwhere((tile[:224] == color).all(axis=2)) for color in (LEFT, RIGHT)]
    for pixels in found:
        assert len(pixels) > 20
        assert pixels[:, 0].min() > 170  # the feet are at the bottom
    assert found[0][:, 1].mean() > found[1][:, 1].mean()  # who faces us has the left foot on our right


def test_a_contact_sheet_holds_all_tiles_and_a_legend(posed):
    sheet = contact_sheet([posed] * 5, columns=3)
    assert sheet.shape[:2] == (2 * (224 + 46 + 6) + 6 + 30, max(3 * 230 + 6, 6 + 700))
    bottom = sheet[-30:].reshape(-1, 3)
    for color in CATEGORY_COLORS:
        assert (bottom == np.round(255 * np.array(color)).astype(np.uint8)).all(axis=1).any()


def test_the_scene_holds_body_contact_room_and_camera_in_one_frame(posed):
    scene = build_scene(posed)
    assert {"body", "contact", "scene", "scene-far", "camera"} <= set(scene.geometry)
    parts = scene.geometry
    floor = parts["contact"].vertices
    assert len(floor) == 8 * len(posed.sample.contact_rows)
    assert np.abs(floor[:, 1]).max() < 0.04  # y is up, the floor of the room is at 0
    assert parts["body"].vertices[:, 1].min() == pytest.approx(0, abs=1e-3)
    colors = {tuple(color[:3]) for color in np.asarray(parts["contact"].visual.vertex_colors)}
    assert colors == {LEFT, RIGHT}
    camera = posed.sample.T_world_from_camera[:3, 3]
    apex = np.array([camera[0], camera[2], -camera[1]])
    assert np.linalg.norm(parts["camera"].vertices - apex, axis=1).min() < 0.02


def test_the_page_needs_nothing_from_elsewhere(posed):
    page = sample_page(posed)
    assert posed.sample.sample_id in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=\"?(https?:)?//", page)
    glb = re.search(r'base64_data="([A-Za-z0-9+/=]+)"', page)[1]
    loaded = trimesh.load(trimesh.util.wrap_as_stream(base64.b64decode(glb)), file_type="glb")
    assert len(loaded.geometry) == 5
    picture = re.search(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)[1]
    assert cv2.imdecode(np.frombuffer(base64.b64decode(picture), np.uint8), 1).shape == (270, 224, 3)


@pytest.mark.parametrize(
    ("order", "expected"),
    [("spread", [0, 2, 5, 7]), ("worst", [7, 6, 5, 4]), ("best", [0, 1, 2, 3])],
)
def test_which_samples_are_shown(order, expected, collection):
    chosen = choose_samples(collection, LookSettings(order=order, columns=2, rows=2))
    assert chosen == expected


def test_drawn_samples_are_the_same_again(collection):
    settings = LookSettings(order="random", columns=2, rows=2)
    drawn = choose_samples(collection, settings)
    assert drawn == choose_samples(collection, settings)
    assert len(set(drawn)) == 4
    assert len(choose_samples(collection, LookSettings())) == 8


def test_the_verb_writes_both(body_shards, tmp_path, capsys):
    shard = body_shards()[1]
    name = ShardCollection([shard])[2].sample_id
    out = [f"shards={shard}", f"out_dir={tmp_path}", "columns=2", "rows=1", f"sample={name}"]
    assert run(["look", *out]) == 0
    written = capsys.readouterr().out.split()
    assert written == [str(tmp_path / "contact-sheet.png"), str(tmp_path / "sample.html")]
    assert cv2.imread(written[0]).shape[0] > 224
    assert f"<title>{name}</title>" in (tmp_path / "sample.html").read_text()


def test_nothing_to_look_at(body_shards, tmp_path):
    with pytest.raises(DataMissing, match="no shard to look at"):
        look_at_shards(LookSettings(shards=tmp_path, out_dir=tmp_path))
    folder = body_shards()[0].parent
    with pytest.raises(
        DataMissing, match=r"no sample is called x[\s\S]*Room0_00034_01/s001_frame_00000"
    ):
        look_at_shards(LookSettings(shards=folder, out_dir=tmp_path, sample="x", columns=1, rows=1))
