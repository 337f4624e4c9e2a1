"""Prediction from files to files: what `python -m flows predict` does.

Reads an image, a camera and a scan; writes into `out`:

- `overlay.png`: the body over the image, contact points by part;
- `body.glb`: body, contact points and scan, y up;
- `prediction.npz`: vertices and root (camera and world frame), contact points and their classes, faces.
"""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from pipelines.artifacts import write_npz
from pipelines.config import Settings
from pipelines.datasets.layout import read_json
from pipelines.datasets.scenes import read_scan_mesh
from pipelines.errors import DataInvalid, DataMissing
from pipelines.geometry.transforms import transform_points
from sahmr.data.crop import PersonView
from sahmr.export import UpAxis, contact_dots, save_glb, save_overlay
from sahmr.inference import SahmrPredictor
from sahmr.networks.sahmr import SahmrSettings
from sahmr.types import MeshPrediction

logger = logging.getLogger(__name__)


class PredictionSettings(Settings):
    """One image of one person in one scene."""

    checkpoint: Path
    """An official SA-HMR file, or one of ours."""
    image: Path
    box_px: tuple[float, float, float, float]
    """The person: left, up, right, bottom, in pixels of the true (un-mirrored) image."""
    camera: Path
    """JSON with `K` (3x3) and `T_world_from_camera` (4x4)."""
    scene: Path
    """The scan as PLY, world frame, metres."""
    out: Path = Path("outputs/predict")
    mirrored: bool = False
    """The image file is left-right reversed, as the Kinect of PROX writes it."""
    up_axis: UpAxis = "z"
    """Which axis of the world frame points up."""
    body_models: Path | None = None
    """Folder of the licensed body files; without them the stand-in."""
    part_info: Path | None = None
    """SA-HMR's seg_part_info.npy."""
    network: SahmrSettings | None = None
    """Of a checkpoint that is neither preset; else chosen from its shapes."""


def predict_files(settings: PredictionSettings) -> Path:
    """Predict and write everything.

    Returns:
        The folder of the results.

    Raises:
        DataMissing: a file is absent.
        DataInvalid: a file, the box or the camera is not what it should be.
    """
    K, T_world_from_camera = read_camera(settings.camera)
    image = read_image(settings.image, mirrored=settings.mirrored)
    view = PersonView(image, settings.box_px, K, T_world_from_camera, settings.image.stem)
    scene = read_scan_mesh(settings.scene)
    predictor = SahmrPredictor.from_checkpoint(
        settings.checkpoint, settings.body_models, settings.part_info, settings.network
    )
    body = predictor.predict(view, scene)
    save_overlay(settings.out / "overlay.png", view, body, predictor.faces)
    save_glb(settings.out / "body.glb", view, body, predictor.faces, scene, settings.up_axis)
    write_npz(
        settings.out / "prediction.npz", prediction_arrays(view, body) | {"faces": predictor.faces}
    )
    logger.info(
        "root at %s m (camera), %d contact points",
        np.round(body.root_camera[0].cpu().numpy(), 3).tolist(),
        len(contact_dots(body)[0]),
    )
    return settings.out


def prediction_arrays(view: PersonView, body: MeshPrediction) -> dict[str, np.ndarray]:
    """A prediction as named arrays, metres."""
    vertices = body.vertices_camera[0].cpu().numpy()
    used = body.contact_points.in_contact[0].cpu().numpy()
    return {
        "vertices_camera": vertices,
        "vertices_world": transform_points(view.T_world_from_camera, vertices),
        "root_camera": body.root_camera[0].cpu().numpy(),
        "unrefined_root_camera": body.root_contact.root_camera[0].cpu().numpy(),
        "contact_points_camera": body.contact_points.points[0].cpu().numpy()[used],
        "contact_category": body.contact_points.category[0].cpu().numpy()[used],
    }


def read_image(path: Path, *, mirrored: bool) -> UInt8[np.ndarray, "height width 3"]:
    """An image file as RGB of the true image.

    Raises:
        DataMissing: no such file.
        DataInvalid: not an image.
    """
    if not path.is_file():
        raise DataMissing("image not found", where=path, fix="correct the path")
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DataInvalid("not an image that OpenCV can read", where=path, fix="give a JPEG or PNG")
    return np.ascontiguousarray(image[:, :: -1 if mirrored else 1, ::-1])


def read_camera(path: Path) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "4 4"]]:
    """Intrinsics and `T_world_from_camera` of a JSON file.

    Raises:
        DataMissing: no such file.
        DataInvalid: a key is absent or of another shape.
    """
    content = read_json(path)
    try:
        K = np.array(content["K"], dtype=np.float64).reshape(3, 3)
        T = np.array(content["T_world_from_camera"], dtype=np.float64).reshape(4, 4)
    except (KeyError, TypeError, ValueError) as error:
        raise DataInvalid(
            f"camera file is wrong ({type(error).__name__}: {error})",
            where=path,
            expected="K (3x3) and T_world_from_camera (4x4)",
        ) from None
    return K, T
