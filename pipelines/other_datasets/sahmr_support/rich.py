"""SA-HMR's support files for RICH: the samples of its three splits, their truth and their scenes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from pipelines.bodies.correspondence import smplx_to_smplh_vertices
from pipelines.bodies.files import BodyFiles
from pipelines.errors import DataInvalid, DataMissing
from pipelines.other_datasets.images import read_color
from pipelines.other_datasets.rich.calibration import RichCamera, read_camera
from pipelines.other_datasets.rich.dataset import ROTATED
from pipelines.other_datasets.sahmr_support.files import (
    NUM_SMPLH,
    box_of,
    field_of,
    read_contact,
    read_mesh,
    read_objects,
    read_scene,
    tail_after,
    tail_of,
)
from pipelines.other_datasets.sahmr_support.records import Box, SupportSample, SupportScene
from pipelines.other_datasets.trees import require_tree
from pipelines.records import Gender
from pipelines.safe_pickle import load_pickle

Split = Literal["train", "val", "test"]
CROP_PX: Final = 224
IMAGE_SIZE_PX: Final = (4112, 3008)
REDUCTION: Final = 4
"""Images of train and val are a quarter of the size that K and boxes belong to."""
INTERVAL: Final[dict[Split, int]] = {"train": 15, "val": 30}
FIRST_FRAME: Final = 46
"""Earlier frames are left out. Source: SA-HMR, lib/datasets/rich/rich_pose.py."""
DROPPED_SEQUENCE: Final = "LectureHall_009_021_reparingprojector1"
_FIX: Final = "unpack SA-HMR's RICH support archive into rich.root"


class RichSupport:
    """SA-HMR's `sahmr_support` folder for RICH.

    Quirks of the source, all dealt with here:
      - meta files are pickles and object arrays; they are read as data only;
      - paths in them lie on the authors' disk; only their last parts count;
      - the test split comes as finished 224 px crops with SMPL-X meshes in the world; train and val are
        quarter-size images beside the support folder, with SMPL+H parameters, whereas K and boxes belong
        to the full size;
      - contact labels are 6890 bits packed into 862 bytes;
      - a scene's key is its capture and its scan's name up to `camcoord`;
      - train and val are thinned by frame and camera, start at frame 46, leave out one sequence, and
        leave out boxes whose centre is outside the image.
    """

    def __init__(self, root: Path, body_files: BodyFiles) -> None:
        """Find the tree; reads nothing yet.

        Args:
            root: RICH's folder with `sahmr_support` in it, or that folder itself.
            body_files: body models; their transfer matrix carries SMPL-X meshes to SMPL+H.

        Raises:
            DataMissing: not such a folder.
        """
        self.root = require_tree(
            root, "SA-HMR support for RICH", inside="sahmr_support", setting="rich.root"
        )
        self.body_files = body_files
        self._scenes = lru_cache(1)(self._read_scene)

    def samples(self, split: Split) -> tuple[SupportSample, ...]:
        """Every sample of a split, in the order of the meta file.

        Raises:
            DataMissing: the split's meta file is absent.
            DataInvalid: a sample is not understood.
        """
        if split == "test":
            return tuple(self._test_sample(meta) for meta in self._test_meta())
        return tuple(self._drawn(split))

    def scene(self, scene: str) -> SupportScene:
        """Voxel cloud and distance grid of a scene by its key.

        Raises:
            DataMissing: no scene of this key.
        """
        return self._scenes(scene)

    def image(self, sample: SupportSample) -> UInt8[np.ndarray, "height width 3"]:
        """RGB: the crop (test), or the whole image at a quarter of its size (train, val)."""
        if sample.is_crop:
            return read_color(sample.image, (CROP_PX, CROP_PX))
        width, height = sample.image_size_px
        return read_color(sample.image, (width // REDUCTION, height // REDUCTION))

    def contact(self, sample: SupportSample) -> Bool[np.ndarray, "6890"]:
        """RICH's contact labels."""
        return (
            np.zeros(NUM_SMPLH, dtype=bool) if sample.contact is None else read_contact(sample.contact)
        )

    def truth_world(self, sample: SupportSample) -> Float[np.ndarray, "6890 3"]:
        """The true mesh of a test sample, carried over from SMPL-X to SMPL+H.

        Raises:
            DataMissing: the sample's truth are parameters (train, val).
        """
        if sample.mesh is None:
            raise DataMissing("only test samples have meshes", where=sample.key, expected="split test")
        vertices = torch.as_tensor(read_mesh(sample.mesh))[None]
        return smplx_to_smplh_vertices(self.body_files, vertices)[0].numpy()

    def parameters(self, sample: SupportSample) -> dict[str, Float[np.ndarray, " numbers"]]:
        """The true SMPL+H parameters of a train or val sample: world, full flat-mean hands, by name.

        Raises:
            DataMissing: the sample's truth is a mesh (test), or the file is absent.
            DataInvalid: not a dict of arrays.
        """
        if sample.parameters is None:
            raise DataMissing("test samples have meshes only", where=sample.key)
        content = load_pickle(sample.parameters)
        if not isinstance(content, dict):
            raise DataInvalid(
                "no dict of parameters", where=sample.parameters, found=type(content).__name__
            )
        return {str(name): np.asarray(value, np.float64).reshape(-1) for name, value in content.items()}

    @cached_property
    def cameras(self) -> dict[str, RichCamera]:
        """Every calibrated camera by its key, `<capture>_<number>`."""
        files = sorted((self.root / "scene_info").glob("*/calibration/*.xml"))
        return {f"{path.parent.parent.name}_{int(path.stem)}": read_camera(path) for path in files}

    @cached_property
    def scene_files(self) -> dict[str, Path]:
        """The voxel cloud of every scene by its key."""
        files = sorted((self.root / "scene_info").glob("*/*_world.npy"))
        return {_scene_key(path.parent.name, path.name): path for path in files}

    def _test_meta(self) -> list[Any]:
        folder = self.root / "test_split" / "meta"
        paths = sorted(folder.glob("test*.npy"))
        if len(paths) != 1:
            raise DataMissing(
                "meta data of the test split not found",
                where=folder,
                expected="one file test<number>.npy",
                found=", ".join(path.name for path in paths) or "none",
                fix=_FIX,
            )
        return list(np.atleast_1d(read_objects(paths[0])))

    def _test_sample(self, meta: Any) -> SupportSample:
        folder = self.root / "test_split"
        key = str(field_of(meta, "img_key", folder / "meta"))
        labels = tail_after(field_of(meta, "contact_file", key), "test_contact")
        return self._sample(
            meta,
            key,
            image=folder / "image" / f"{key}.png",
            is_crop=True,
            box_px=box_of(field_of(meta, "test_squared_bbx_lurb", key), key),
            mesh=folder / "gt_smplx_mesh" / f"{key}.ply",
            parameters=None,
            contact=folder / "contact" / labels,
        )

    def _drawn(self, split: Split) -> Iterator[SupportSample]:
        """The samples of train or val that SA-HMR's own rule keeps."""
        folder = self.root / f"{split}_split"
        metas, boxes = (
            load_pickle(folder / "meta" / name) for name in ("idx2meta.pkl", "img2gtbbx.pkl")
        )
        for meta in metas.values() if isinstance(metas, dict) else metas:
            key = str(field_of(meta, "img_key", folder))
            frame = int(field_of(meta, "frame_name", key))
            camera = int(field_of(meta, "cam_id", key))
            if frame < FIRST_FRAME or (frame + camera) % INTERVAL[split] != 0:
                continue
            if meta.get("seq_name") == DROPPED_SEQUENCE:
                continue
            box_px = box_of(field_of(boxes, key, folder), key)
            if not _centred_inside(box_px, _image_size(str(field_of(meta, "cap_name", key)), camera)):
                continue
            image, body, contact = (
                tail_of(field_of(meta, name, key), 3)
                for name in ("img_file", "body_file", "contact_file")
            )
            yield self._sample(
                meta,
                key,
                image=self.root.parent / "images_ds4" / split / image,
                is_crop=False,
                box_px=box_px,
                mesh=None,
                parameters=self.root.parent / "bodies" / split / body,
                contact=folder / "contact" / contact,
            )

    def _sample(
        self,
        meta: Any,
        key: str,
        *,
        image: Path,
        is_crop: bool,
        box_px: Box,
        mesh: Path | None,
        parameters: Path | None,
        contact: Path,
    ) -> SupportSample:
        camera_key = str(field_of(meta, "cam_key", key))
        if camera_key not in self.cameras:
            raise DataMissing(
                f"sample {key}: no calibration of camera {camera_key}",
                where=self.root / "scene_info",
                found=", ".join(self.cameras),
                fix=_FIX,
            )
        camera = self.cameras[camera_key]
        capture, _, number = camera_key.rpartition("_")
        return SupportSample(
            key=key,
            recording=str(field_of(meta, "seq_name", key)),
            frame=str(field_of(meta, "frame_name", key)),
            subject=contact.stem,
            gender=_gender(field_of(meta, "gender", key), key),
            scene=str(field_of(meta, "scene_key", key)),
            image=image,
            is_crop=is_crop,
            box_px=box_px,
            is_square=is_crop,
            image_size_px=_image_size(capture, int(number)),
            K=camera.K,
            T_world_from_camera=camera.T_world_from_camera,
            mesh=mesh,
            parameters=parameters,
            contact=contact,
        )

    def _read_scene(self, scene: str) -> SupportScene:
        if scene not in self.scene_files:
            raise DataMissing(
                f"no scene {scene}",
                where=self.root / "scene_info",
                found=", ".join(self.scene_files),
                fix=_FIX,
            )
        cloud = self.scene_files[scene]
        stem = cloud.name.removesuffix("_world.npy")
        return read_scene(
            cloud, cloud.with_name(f"{stem}_mysdf.json"), cloud.with_name(f"{stem}_mysdf.npy")
        )


def _scene_key(capture: str, name: str) -> str:
    head, mark, _ = name.partition("camcoord")
    return f"{capture}_{head}{mark}"


def _image_size(capture: str, camera: int) -> tuple[int, int]:
    width, height = IMAGE_SIZE_PX
    return (height, width) if (capture, camera) in ROTATED else (width, height)


def _centred_inside(box_px: Box, size_px: tuple[int, int]) -> bool:
    left, up, right, bottom = box_px
    u, v = (left + right) / 2, (up + bottom) / 2
    return 0 <= u < size_px[0] and 0 <= v < size_px[1]


def _gender(value: Any, key: str) -> Gender:
    for gender in get_args(Gender):
        if value == gender:
            return gender
    raise DataInvalid(f"sample {key}: unknown gender", expected=", ".join(get_args(Gender)), found=value)
