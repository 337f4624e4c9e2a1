"""SA-HMR's own files, in the layout of RICH's test split: the one that holds crops instead of images.

    sahmr_support/scene_info/<scene>/calibration/<camera>.xml     T_world_to_camera 3x4, K, no distortion
    sahmr_support/scene_info/<scene>/scan_camcoord_world.npy      {"points", "pitch"}, world frame
    sahmr_support/test_split/meta/test<count>.npy                 one dict per sample
    sahmr_support/test_split/image/<img_key>.png                  224 x 224
    sahmr_support/test_split/gt_smplx_mesh/<img_key>.ply          SMPL-X, 10475 vertices, world frame
    sahmr_support/test_split/contact/<recording>/<frame>/<subject>.npy    6890 bits
    bodies/test/<recording>/<frame>/<subject>.pkl                 SMPL+H parameters, world frame

Source: SA-HMR, lib/datasets/rich, as told in the networks page, section 11. Its image keys are not known;
ours are recording and frame.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
import trimesh
from jaxtyping import Float, Float64, Int, UInt8
from trimesh.exchange.ply import export_ply

from pipelines.artifacts import write_bytes, write_text
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import load_smplx
from pipelines.bodies.rigid_motion import move_parameters
from pipelines.bodies.transfer import solve_smplx_from_smplh
from pipelines.geometry.transforms import invert
from pipelines.records import SmplhParameters
from pipelines.shards.collection import ShardCollection
from pipelines.shards.crop import CROP_PX, decode_crop
from pipelines.shards.exports.sequences import ExportSequence, sequences_of
from pipelines.shards.schema import ShardSample, ShardScene, touching_vertices

_SCAN: Final = "scan_camcoord"
_HANDS: Final = 45


def export_sahmr_support(collection: ShardCollection, files: BodyFiles, out_dir: Path) -> list[Path]:
    """Write everything below `out_dir`; returns the paths of the images and of the list of samples."""
    support, split = out_dir / "sahmr_support", out_dir / "sahmr_support" / "test_split"
    cameras: dict[str, dict[bytes, int]] = {}
    metas, written = [], []
    for sequence in sequences_of(collection):
        scene = collection.scene_of(sequence.indices[0])
        known = cameras.setdefault(scene.scene, {})
        if not known:
            _write_scene(support / "scene_info" / scene.scene, scene)
        camera = known.setdefault(_camera_bytes(sequence), len(known))
        _write_calibration(support / "scene_info" / scene.scene, camera, sequence)
        meshes, faces = _smplx_meshes(sequence, files)
        world = sequence.parameters_world(files)
        for row, sample in enumerate(sequence.samples):
            meta = _meta(sequence, sample, camera)
            image = split / "image" / f"{meta['img_key']}.png"
            write_bytes(image, _crop_png(sample))
            mesh = export_ply(trimesh.Trimesh(meshes[row], faces, process=False))
            write_bytes(split / "gt_smplx_mesh" / f"{meta['img_key']}.ply", mesh)
            bits = np.packbits(touching_vertices(sample))
            write_bytes(split / "contact" / meta["contact_file"].split("/", 1)[1], _npy(bits))
            write_bytes(out_dir / meta["body_file"], _dumps(_body(world, row)))
            metas.append(meta)
            written.append(image)
    listing = split / "meta" / f"test{len(metas)}.npy"
    content = np.empty(len(metas), dtype=object)
    content[:] = metas
    write_bytes(listing, _npy(content))
    return [*written, listing]


def _meta(sequence: ExportSequence, sample: ShardSample, camera: int) -> dict[str, Any]:
    key = f"{sequence.name}_{sample.frame}"
    place = f"{sequence.name}/{sample.frame}/{sample.subject}"
    return {
        "img_key": key,
        "img_file": f"images_ds4/test/{sequence.name}/cam_{camera:02d}/{sample.frame}_{camera:02d}.png",
        "body_file": f"bodies/test/{place}.pkl",
        "contact_file": f"test_contact/{place}.npy",
        "cam_key": f"{sample.scene}_{camera}",
        "cam_id": camera,
        "frame_name": sample.frame,
        "seq_name": sequence.name,
        "cap_name": sample.scene,
        "scan_name": _SCAN,
        "scene_key": f"{sample.scene}_{_SCAN}",
        "gender": sample.gender,
        "test_squared_bbx_lurb": sample.box_px,
    }


def _body(world: SmplhParameters, row: int) -> dict[str, Float[np.ndarray, " numbers"]]:
    zeros = np.zeros(_HANDS, np.float32)
    return {
        "betas": world.betas[row],
        "global_orient": world.global_orient[row],
        "body_pose": world.body_pose[row],
        "left_hand_pose": zeros,
        "right_hand_pose": zeros,
        "transl": world.transl[row],
    }


def _smplx_meshes(
    sequence: ExportSequence, files: BodyFiles
) -> tuple[Float[np.ndarray, "frames 10475 3"], Int[np.ndarray, "faces 3"]]:
    """SMPL-X bodies over the SMPL+H ones, world frame."""
    solved = solve_smplx_from_smplh(files, sequence.gender, sequence.parameters()).parameters
    world = move_parameters(files, sequence.gender, solved, sequence.T_world_from_camera)
    model = load_smplx(files, sequence.gender)
    given = {name: torch.tensor(getattr(world, name)).float() for name in world.__slots__}
    with torch.no_grad():
        return model(**given).vertices.numpy(), model.faces.numpy()


def _write_scene(folder: Path, scene: ShardScene) -> None:
    pitch = [float(scene.pitch_m)] * 3
    content = np.array({"points": scene.points_world, "pitch": pitch}, dtype=object)
    write_bytes(folder / f"{_SCAN}_world.npy", _npy(content))


def _write_calibration(folder: Path, camera: int, sequence: ExportSequence) -> None:
    """OpenCV's XML, as RICH's cameras."""
    T_camera_from_world: Float64[np.ndarray, "4 4"] = invert(sequence.T_world_from_camera)
    storage = cv2.FileStorage(
        ".xml", cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY | cv2.FILE_STORAGE_FORMAT_XML
    )
    storage.write("CameraMatrix", T_camera_from_world[:3])
    storage.write("Intrinsics", sequence.samples[0].K)
    storage.write("Distortion", np.zeros((1, 8)))
    write_text(folder / "calibration" / f"{camera:03d}.xml", storage.releaseAndGetString())


def _camera_bytes(sequence: ExportSequence) -> bytes:
    return sequence.T_world_from_camera.tobytes() + sequence.samples[0].K.tobytes()


def _crop_png(sample: ShardSample) -> bytes:
    image: UInt8[np.ndarray, "stored stored 3"] = decode_crop(sample.crop_jpeg, sample.sample_id)
    margin = (len(image) - CROP_PX) // 2
    inner = image[margin : margin + CROP_PX, margin : margin + CROP_PX]
    done, buffer = cv2.imencode(".png", inner[..., ::-1])
    assert done
    return bytes(buffer.tobytes())


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=array.dtype == object)
    return _for_numpy_1(stream.getvalue()) if array.dtype == object else stream.getvalue()


def _dumps(content: Mapping[str, Any]) -> bytes:
    return _for_numpy_1(pickle.dumps(dict(content), protocol=2))


def _for_numpy_1(pickled: bytes) -> bytes:
    """NumPy 2 names its module numpy._core, which SA-HMR's NumPy does not know."""
    old, new = b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"
    return pickled.replace(old, new)
