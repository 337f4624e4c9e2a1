"""RCNet: where the root is, and which scene points the body touches.

    prediction = Rcnet(paper_settings())(images, cameras, scene)
    prediction.refined_root_camera                      # r*
    contact_points(prediction, generator)               # what the mesh network reads

Source: SA-HMR, supplement section 1.1; lib/networks/pose/root_contact/rc_net.py, as told in the networks
page, sections 3 and 4.
"""

from __future__ import annotations

import logging
from typing import Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipelines.config import Settings
from sahmr.networks.contact_module import NearbySettings, nearby_voxels, refine_root
from sahmr.networks.crop_geometry import require_finite, sample_map, unit_in_box
from sahmr.networks.hrnet import HrnetSettings
from sahmr.networks.root_head import RootNet, locate_root
from sahmr.networks.spvcnn import SPVCNN, SpvcnnSettings
from sahmr.ops.sparse_tensor import PointCloud
from sahmr.types import ContactVoxels, CropCameras, RootContactPrediction, RootMaps, ScenePoints

logger = logging.getLogger(__name__)

NumCategories = Literal[1, 8, 432]
"""Contact categories as the paper counts them: 8 and 432 include "none", 1 does not."""

VOTE_CHANNELS: Final = 4
"""Confidence and offset, before the class logits."""


class RcnetSettings(Settings):
    """Sizes and radii; the defaults are the `paper` preset."""

    backbone: HrnetSettings = HrnetSettings()
    contact_maps: int = 8
    """Channels of f4: with "none" in the paper (8), without it in the released code (7)."""
    contact_net: SpvcnnSettings = SpvcnnSettings()
    nearby: NearbySettings = NearbySettings()
    far_root_m: float = 0.5
    """In training, an initial root farther than this from the truth does not serve as anchor."""
    anchor_noise_m: float = 0.5
    """Standard deviation, on every axis, of the anchor round the truth that takes its place."""

    @property
    def feature_channels(self) -> int:
        """Channels of f3; the sparse network reads them beside the offset to the anchor."""
        return self.contact_net.channels_in - 3

    @property
    def num_classes(self) -> int:
        """Contact classes, "none" included."""
        return self.contact_net.channels_out - VOTE_CHANNELS


def paper_settings(categories: NumCategories = 8) -> RcnetSettings:
    """As the paper states the network, with one of its three sets of contact categories."""
    classes, maps = {1: (2, 1), 8: (8, 8), 432: (432, 432)}[categories]
    contact_net = SpvcnnSettings(channels_out=VOTE_CHANNELS + classes)
    return RcnetSettings(contact_maps=maps, contact_net=contact_net)


def released_settings() -> RcnetSettings:
    """As the public code builds it; the released weights need this."""
    contact_net = SpvcnnSettings(channels_linear=35, downsample_rounding="trunc")
    return RcnetSettings(contact_maps=7, contact_net=contact_net)


class Rcnet(nn.Module):
    """Root maps from the image, then votes and contact classes from the scene around the root."""

    def __init__(self, settings: RcnetSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or RcnetSettings()
        self.root_net = RootNet(settings.backbone, settings.feature_channels, settings.contact_maps)
        self.contact_net = SPVCNN(settings.contact_net)

    def forward(
        self,
        images: Float[Tensor, "batch 3 height width"],
        cameras: CropCameras,
        scene: ScenePoints,
        true_root_camera: Float[Tensor, "batch 3"] | None = None,
        generator: torch.Generator | None = None,
    ) -> RootContactPrediction:
        """Predict root and contact.

        Args:
            images: RGB in 0..1, minus the ImageNet mean, over its standard deviation.
            cameras: where each crop lies, and its intrinsics.
            scene: the scene points inside each view frustum (`crop_geometry.in_frustum`).
            true_root_camera: given in training; takes the place of anchors that are far off.
            generator: of the noise on those.

        Raises:
            DataInvalid: the images are not finite.
        """
        require_finite("images", images)
        return self.from_maps(self.root_net(images), cameras, scene, true_root_camera, generator)

    def maps_with_mirror(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> tuple[RootMaps, Float[Tensor, "batch contact_maps map_height map_width"]]:
        """For training: the maps of the images (for `from_maps`), and f4 of their mirror images.

        Both halves run as one batch, so batch norms see the mirrored images too, as in SA-HMR's training.
        Only the contact maps of the mirrored half have a loss.
        """
        maps = self.root_net(torch.cat([images, images.flip(3)]))
        count = len(images)
        straight = RootMaps(
            maps.root_heatmap[:count], maps.depth[:count], maps.features[:count], maps.contact[:count]
        )
        return straight, maps.contact[count:]

    def from_maps(
        self,
        maps: RootMaps,
        cameras: CropCameras,
        scene: ScenePoints,
        true_root_camera: Float[Tensor, "batch 3"] | None = None,
        generator: torch.Generator | None = None,
    ) -> RootContactPrediction:
        """Everything after the 2D network."""
        cell, root = locate_root(maps, cameras)
        anchor = self._anchor(root, true_root_camera, generator)
        voxels = nearby_voxels(scene, anchor, self.settings.nearby)
        features = voxel_features(voxels, anchor, maps, cameras)
        outputs = self.contact_net(PointCloud(features, voxels.index.to(features), voxels.batch))
        confidence, offsets, logits = outputs.split((1, 3, self.settings.num_classes), dim=1)
        refined = refine_root(voxels, confidence[:, 0], offsets, root)
        without_scene = len(root) - len(voxels.batch.unique())
        if without_scene:
            logger.warning(
                "%d of %d samples see no scene point: their root is not refined",
                without_scene,
                len(root),
            )
        return RootContactPrediction(
            maps=maps,
            root_heatmap_px=cell,
            root_camera=root,
            anchor_camera=anchor,
            voxels=voxels,
            confidence=confidence[:, 0],
            offsets=offsets,
            logits=logits,
            refined_root_camera=refined,
            num_without_scene=without_scene,
        )

    def _anchor(
        self,
        root: Float[Tensor, "batch 3"],
        true_root: Float[Tensor, "batch 3"] | None,
        generator: torch.Generator | None,
    ) -> Float[Tensor, "batch 3"]:
        if true_root is None:
            return root
        settings = self.settings
        return replace_far(root, true_root, settings.far_root_m, settings.anchor_noise_m, generator)


def voxel_features(
    voxels: ContactVoxels,
    anchor_camera: Float[Tensor, "batch 3"],
    maps: RootMaps,
    cameras: CropCameras,
) -> Float[Tensor, "voxels channels"]:
    """Per voxel: the way from its centre to the anchor, and the image features its centre projects to."""
    unit = unit_in_box(voxels.centres_camera, voxels.batch, cameras)
    sampled = sample_map(maps.features, unit, voxels.batch)
    return torch.cat([anchor_camera[voxels.batch] - voxels.centres_camera, sampled], dim=1)


@torch.no_grad()
def replace_far(
    root: Float[Tensor, "batch 3"],
    true_root: Float[Tensor, "batch 3"],
    far_m: float,
    noise_m: float,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "batch 3"]:
    """The truth with Gaussian noise on all three axes where a root is farther than `far_m` from it."""
    noise = torch.randn(true_root.shape, generator=generator, dtype=root.dtype).to(root.device)
    far = torch.linalg.vector_norm(root - true_root, dim=1, keepdim=True) > far_m
    return torch.where(far, true_root + noise_m * noise, root)
