"""What other programs would read is the bodies, cameras, crops and contact that the shards hold."""

import cv2
import numpy as np
import pytest
import torch
import trimesh

from flows.cli import run
from pipelines.artifacts import read_npz
from pipelines.bodies.correspondence import smplx_to_smplh_vertices
from pipelines.bodies.files import resolve_body_files
from pipelines.bodies.model import load_smplh, load_smplx
from pipelines.datasets.proxd import BODY_KEYS, read_proxd
from pipelines.errors import DataMissing
from pipelines.safe_pickle import loads
from pipelines.shards.collection import ShardCollection
from pipelines.shards.exports.amass import export_amass, frame_rate_hz
from pipelines.shards.exports.run import ExportShardsSettings, export_shards
from pipelines.shards.exports.sequences import sequences_of
from pipelines.shards.look.posed import pose_sample

FILES = resolve_body_files(None)


@pytest.fixture(scope="module")
def collection(body_shards):
    """One person and shape per recording needs one gender: two samples of each."""
    return ShardCollection(body_shards(num_shards=2, num_samples=2))


@pytest.fixture(scope="module")
def posed(collection):
    bodies = (pose_sample(collection, index, FILES) for index in range(len(collection)))
    return {body.sample.sample_id: body for body in bodies}


def own_name(collection, index):
    return collection[index].recording + ("" if index % 2 == 0 else "_2")


def test_every_sample_is_in_one_sequence(collection):
    sequences = list(sequences_of(collection))
    assert [s.name for s in sequences] == [own_name(collection, index) for index in range(4)]
    assert sorted(index for s in sequences for index in s.indices) == [0, 1, 2, 3]
    for sequence in sequences:  # the fixture's two samples differ in gender
        assert sequence.gender == sequence.samples[0].gender


def test_amass_files_pose_the_same_bodies_in_the_world(collection, posed, tmp_path):
    paths = export_amass(collection, FILES, tmp_path)
    assert len(paths) == 4
    for path in paths:
        stored = read_npz(path)
        assert stored["poses"].shape == (1, 156)
        assert stored["betas"].shape == (16,)
        assert stored["dmpls"].shape == (1, 8)
        assert (stored["poses"][:, 66:] == 0).all()
        model = load_smplh(FILES, str(stored["gender"]), 16)
        values = (
            stored["betas"][None],
            stored["poses"][:, :3],
            stored["poses"][:, 3:66],
            stored["trans"],
        )
        vertices = model(*(torch.tensor(value).float() for value in values)).vertices[0].numpy()
        name = path.stem.removesuffix("_poses").removesuffix("_2") + "/" + str(stored["frame_names"][0])
        np.testing.assert_allclose(vertices, posed[name].vertices_world, atol=1e-5)
        assert abs(vertices[:, 2].min()) < 1e-3  # z is up, and the floor at 0


def test_frame_rates_follow_the_frame_numbers():
    names = [f"s001_frame_{number:05d}__00.00.01.000" for number in (1, 6, 11, 21)]
    assert frame_rate_hz(names) == pytest.approx(6)
    assert frame_rate_hz(names[:1]) == frame_rate_hz(["a", "b"]) == 30


def test_proxd_pickles_pose_nearly_the_same_bodies(collection, posed, tmp_path):
    settings = ExportShardsSettings(
        to="proxd", shards=collection.readers[0].path, out_dir=tmp_path, selection=collection.settings
    )
    root = export_shards(settings) / "PROXD"
    for index in range(2):
        sample = collection[index]
        read = read_proxd(root / own_name(collection, index) / "results" / sample.frame / "000.pkl")
        model = load_smplx(FILES, sample.gender)
        vertices = model(**{key: torch.tensor(read[key])[None] for key in BODY_KEYS}).vertices
        found = smplx_to_smplh_vertices(FILES, vertices)[0].numpy()
        error = np.linalg.norm(found - posed[sample.sample_id].vertices_camera, axis=1)
        assert error.mean() < 0.005


@pytest.fixture(scope="module")
def sahmr_root(collection, tmp_path_factory):
    """SA-HMR's files of the first shard, by the verb."""
    shard, out_dir = collection.readers[0].path, tmp_path_factory.mktemp("export")
    assert run(["export-shards", "to=sahmr_support", f"shards={shard}", f"out_dir={out_dir}"]) == 0
    return out_dir / "sahmr_support"


def test_sahmr_support_files_hold_what_its_loader_reads(collection, posed, sahmr_root):
    root = sahmr_root
    split = root / "sahmr_support" / "test_split"
    metas = np.load(split / "meta" / "test2.npy", allow_pickle=True)
    assert len(metas) == 2
    for meta, index in zip(metas, range(2), strict=True):
        sample, body = collection[index], posed[collection[index].sample_id]
        np.testing.assert_array_equal(meta["test_squared_bbx_lurb"], sample.box_px)
        image = cv2.imread(str(split / "image" / f"{meta['img_key']}.png"))
        np.testing.assert_array_equal(image[..., ::-1], body.crop)
        mesh = trimesh.load(split / "gt_smplx_mesh" / f"{meta['img_key']}.ply", process=False)
        vertices = torch.tensor(np.asarray(mesh.vertices), dtype=torch.float32)[None]
        found = smplx_to_smplh_vertices(FILES, vertices)[0].numpy()
        assert np.linalg.norm(found - body.vertices_world, axis=1).mean() < 0.005
        contact = meta["contact_file"].split("test_contact/")[1]
        bits = np.unpackbits(np.load(split / "contact" / contact), count=6890)
        np.testing.assert_array_equal(bits, sample.vertex_category > 0)
        stored = loads((root / meta["body_file"]).read_bytes(), source=root / meta["body_file"])
        assert set(stored) == {
            "betas", "global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "transl"
        }  # fmt: skip
        parameters = (stored[name] for name in ("betas", "global_orient", "body_pose", "transl"))
        model = load_smplh(FILES, meta["gender"], 16)
        again = model(*(torch.tensor(value)[None] for value in parameters)).vertices[0].numpy()
        np.testing.assert_allclose(again, body.vertices_world, atol=1e-5)


def test_sahmr_cameras_and_clouds(collection, sahmr_root):
    sample, scene = collection[0], collection.scene_of(0)
    folder = sahmr_root / "sahmr_support" / "scene_info" / sample.scene
    storage = cv2.FileStorage(str(folder / "calibration" / "000.xml"), cv2.FILE_STORAGE_READ)
    T_camera_from_world = storage.getNode("CameraMatrix").mat()
    assert T_camera_from_world.shape == (3, 4)
    np.testing.assert_allclose(
        np.vstack([T_camera_from_world, [0, 0, 0, 1]]) @ sample.T_world_from_camera,
        np.eye(4),
        atol=1e-12,
    )
    np.testing.assert_allclose(storage.getNode("Intrinsics").mat(), sample.K)
    cloud = np.load(folder / "scan_camcoord_world.npy", allow_pickle=True).item()
    np.testing.assert_array_equal(cloud["points"], scene.points_world)
    assert cloud["pitch"][0] == pytest.approx(0.04)


def test_what_cannot_be_exported(tmp_path, capsys):
    with pytest.raises(DataMissing, match="no shard to export"):
        export_shards(ExportShardsSettings(to="amass", shards=tmp_path))
    assert run(["export-shards", "to=obj"]) == 2
    assert "amass" in capsys.readouterr().err
