"""SA-HMR's support files for PROX quantitative: its samples, their truth and the one scene."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from pipelines.bodies.correspondence import smplx_to_smplh_vertices
from pipelines.bodies.files import BodyFiles
from pipelines.datasets.calibration import read_rigid
from pipelines.datasets.images import read_color
from pipelines.datasets.layout import FrameName, RecordingName, gender_of, read_json
from pipelines.errors import DataInvalid
from pipelines.geometry.transforms import transform_points
from pipelines.other_datasets.sahmr_support.files import (
    NUM_SMPLH,
    box_of,
    field_of,
    read_mesh,
    read_scene,
    tail_after,
)
from pipelines.other_datasets.sahmr_support.records import SupportSample, SupportScene
from pipelines.other_datasets.trees import require_tree
from pipelines.safe_pickle import load_pickle

IMAGE_SIZE_PX: Final = (1920, 1080)
SCENE: Final = "vicon"


class ProxSupport:
    """SA-HMR's `sahmr_support` folder for PROX quantitative.

    Quirks of the source, all dealt with here:
      - images are mirrored like all of PROX's; boxes, K and meshes belong to the true image;
      - true meshes are SMPL-X in the camera, where RICH's are in the world;
      - the colour calibration gives f and c only;
      - paths in the meta file lie on the authors' disk: what follows `mosh/` and `recordings/` counts;
      - there are no contact labels: every vertex counts as free, so that ConFE equals PenE.
    """

    def __init__(self, root: Path, body_files: BodyFiles) -> None:
        """Find the tree; reads nothing yet.

        Args:
            root: the folder with `sahmr_support` in it, or that folder itself.
            body_files: body models; their transfer matrix carries SMPL-X meshes to SMPL+H.

        Raises:
            DataMissing: not such a folder.
        """
        self.root = require_tree(
            root, "SA-HMR support for PROX", inside="sahmr_support", setting="prox.root"
        )
        self.body_files = body_files

    def samples(self) -> tuple[SupportSample, ...]:
        """Every sample, in the order of the meta file.

        Raises:
            DataMissing: a meta file is absent.
            DataInvalid: a sample is not understood.
        """
        path = self.root / "meta" / "mosh_mesh_test.pkl"
        metas, boxes = load_pickle(path), load_pickle(self.root / "img2gtbbx" / "mosh_mesh.pkl")
        if not isinstance(metas, list):
            raise DataInvalid("no list of samples", where=path, found=type(metas).__name__)
        return tuple(self._sample(meta, boxes) for meta in metas)

    def image(self, sample: SupportSample) -> UInt8[np.ndarray, "height width 3"]:
        """RGB, the whole true image."""
        return read_color(sample.image, sample.image_size_px)

    def contact(self, sample: SupportSample) -> Bool[np.ndarray, "6890"]:
        """All false."""
        return np.zeros(NUM_SMPLH, dtype=bool)

    def truth_world(self, sample: SupportSample) -> Float[np.ndarray, "6890 3"]:
        """The true mesh, carried over from SMPL-X to SMPL+H and from the camera to the world."""
        assert sample.mesh is not None, "every sample has a mesh here"
        vertices = torch.as_tensor(read_mesh(sample.mesh))[None]
        camera = smplx_to_smplh_vertices(self.body_files, vertices)[0].numpy()
        return transform_points(sample.T_world_from_camera, camera)

    @cached_property
    def scene(self) -> SupportScene:
        """The one scene."""
        folder = self.root / SCENE
        return read_scene(
            folder / "vicon_voxel_world.npy", folder / "vicon.json", folder / "vicon_sdf.npy"
        )

    @cached_property
    def intrinsics(self) -> Float[np.ndarray, "3 3"]:
        """K of the colour camera, pixels."""
        path = self.root / SCENE / "calibration" / "Color.json"
        content = read_json(path)
        try:
            (fx, fy), (cx, cy) = (np.array(content[key], np.float64).reshape(2) for key in ("f", "c"))
        except (KeyError, TypeError, ValueError) as error:
            raise DataInvalid(
                f"calibration is wrong ({type(error).__name__}: {error})",
                where=path,
                expected="f [2], c [2]",
            ) from None
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])

    @cached_property
    def camera_pose(self) -> Float[np.ndarray, "4 4"]:
        """`T_world_from_camera`."""
        return read_rigid(self.root / SCENE / "calibration" / "cam2world_vicon.json", "cam2world")

    def _sample(self, meta: Any, boxes: Any) -> SupportSample:
        key = str(field_of(meta, "img_key", self.root / "meta"))
        image = tail_after(field_of(meta, "img_file", key), "recordings")
        name, frame = RecordingName.parse(image.parts[0]), FrameName.parse(image.stem)
        if name is None or frame is None:
            raise DataInvalid(
                f"sample {key}: no PROX image",
                expected="recordings/<recording>/Color/<frame>.jpg",
                found=image,
            )
        return SupportSample(
            key=key,
            recording=image.parts[0],
            frame=image.stem,
            subject=f"{name.subject:05d}",
            gender=gender_of(image.parts[0], name.subject, {}),
            scene=str(field_of(meta, "scene_name", key)),
            image=self.root / "image" / image,
            is_crop=False,
            box_px=box_of(field_of(boxes, key, self.root / "img2gtbbx"), key),
            is_square=False,
            image_size_px=IMAGE_SIZE_PX,
            K=self.intrinsics,
            T_world_from_camera=self.camera_pose,
            mesh=self._mesh(tail_after(field_of(meta, "body_file", key), "mosh")),
            parameters=None,
            contact=None,
        )

    def _mesh(self, tail: Path) -> Path:
        """The mesh of a body file; its name may be that of the parameters it was made from."""
        path = self.root / "gt_mosh_mesh" / tail
        return path if path.suffix == ".ply" else path.with_suffix(".ply")
