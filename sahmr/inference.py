"""One image, one box, one scene -> one body in the scene.

from sahmr.export import save_glb, save_overlay

predictor = SahmrPredictor.from_checkpoint(Path("sahmr_prox_e30.pth"))
view = PersonView(image, box_px, K, T_world_from_camera)
body = predictor.predict(view, scene)
save_overlay(Path("overlay.png"), view, body, predictor.faces)
save_glb(Path("body.glb"), view, body, predictor.faces, scene)
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from pipelines.bodies.files import resolve_body_files
from pipelines.datasets.scenes import ScanMesh
from pipelines.metrics.anatomy import load_anatomy
from pipelines.records import SceneScan
from pipelines.shards.scene_cloud import scene_cloud
from sahmr.data.coarse_body import load_categories, load_template
from sahmr.data.crop import Crop, PersonView, prepare_crop
from sahmr.networks.checkpoint import load_sahmr
from sahmr.networks.sahmr import Sahmr, SahmrSettings
from sahmr.networks.weights_file import SUFFIX, read_network
from sahmr.types import (
    BodyTemplate,
    ContactCategories,
    CropCameras,
    MeshPrediction,
    ScenePoints,
)


@dataclass(frozen=True, slots=True, eq=False)
class SahmrPredictor:
    """SA-HMR with everything it needs besides the image."""

    network: Sahmr
    """In evaluation mode; its device is where predictions are made."""
    template: BodyTemplate
    categories: ContactCategories
    faces: Int[np.ndarray, "faces 3"]
    """Of the 6890 vertices."""

    @classmethod
    def from_checkpoint(
        cls,
        path: Path,
        body_models: Path | None = None,
        part_info: Path | None = None,
        settings: SahmrSettings | None = None,
    ) -> SahmrPredictor:
        """Load SA-HMR, official or trained here; the architecture follows from the file.

        Args:
            path: an official checkpoint, or the `.safetensors` of a training.
            body_models: folder of the licensed body files; None takes the stand-in, whose template and parts
                are not those the official weights were trained with.
            part_info: SA-HMR's `seg_part_info.npy`.
            settings: of an official file that is neither preset.

        Raises:
            DataMissing: a file is absent.
            DataInvalid: a file is not what it should be.
        """
        if path.suffix == SUFFIX:
            return cls.from_network(read_network(path, Sahmr).network, body_models, part_info)
        return cls.from_network(load_sahmr(path, settings).network, body_models, part_info)

    @classmethod
    def from_network(
        cls, network: Sahmr, body_models: Path | None = None, part_info: Path | None = None
    ) -> SahmrPredictor:
        """The same for a network in memory; raises as `from_checkpoint`."""
        files = resolve_body_files(body_models)
        categories = load_categories(files, network.settings.rcnet.num_classes, part_info)
        # Channels last: 6 to 13 % faster convolutions on the CPU (batch 1 and 8), equal numbers.
        network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(network, load_template(files), categories, load_anatomy(files).faces)

    @torch.inference_mode()
    def predict(
        self, view: PersonView, scene: SceneScan | ScanMesh | Float[np.ndarray, "points 3"]
    ) -> MeshPrediction:
        """The body of one view, as a batch of one, camera frame; equal inputs give equal results.

        Args:
            view: image, box and camera.
            scene: the scan, or its points in the world frame, about one per 2 cm; empty is allowed and gives
                a body at the unrefined root.

        Raises:
            DataInvalid: the box is empty or beside the image, or the camera is impossible.
        """
        points_world = scene_cloud(scene) if isinstance(scene, SceneScan | ScanMesh) else scene
        crop = prepare_crop(view, points_world, self.network.settings.mesh_recovery.image_px)
        device = next(self.network.parameters()).device
        generator = torch.Generator().manual_seed(zlib.crc32(view.key.encode()))
        crop = _to_device(crop, device)
        return self.network(
            crop.images, crop.cameras, crop.scene, self.template, self.categories, generator
        )


def _to_device(crop: Crop, device: torch.device) -> Crop:
    cameras = CropCameras(crop.cameras.boxes_px.to(device), crop.cameras.K.to(device))
    scene = ScenePoints(crop.scene.points_camera.to(device), crop.scene.batch.to(device))
    return Crop(crop.images.to(device), cameras, scene)
