"""What is varied in training: the crop's box, and on request the colours; drawn by sample and epoch.

Source: SA-HMR, lib/datasets/rich/rich_utils.py, as told in the networks page, section 1.1. It turns no image
and mirrors none; the mirrored half of RCNet's batch is made by the network (`Rcnet.maps_with_mirror`).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from jaxtyping import Float, Float32, UInt8
from pydantic import Field

from pipelines.config import Settings
from pipelines.shards.crop import BOX_SCALE, CROP_PX, crop_image


class AugmentationSettings(Settings):
    """How far training crops vary."""

    seed: int = 66
    centre_px: float = Field(10.0, ge=0)
    """The box's middle moves by up to this along each axis, pixels of the full image.

    SA-HMR moves RICH's boxes by 10 pixels of images at a quarter of their size.
    """
    zoom: float = Field(0.4, ge=0)
    """The box's side over the person's is drawn from 1.15 to 1.15 and this."""
    colour_gain: float = Field(0.0, ge=0, lt=1)
    """Each colour channel is multiplied by up to 1 plus or minus this. SA-HMR: none."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredCrop:
    """A crop as a shard holds it: that of `box_px`, and maybe a margin of equal scale all round."""

    image: UInt8[np.ndarray, "stored stored 3"]
    box_px: Float32[np.ndarray, "4"]

    @property
    def margin_px(self) -> int:
        """Crop pixels beyond the box on each side."""
        return (len(self.image) - CROP_PX) // 2

    def cut(
        self, box_px: Float[np.ndarray, "4"] | None = None
    ) -> tuple[UInt8[np.ndarray, "size size 3"], Float32[np.ndarray, "4"]]:
        """The crop of a box near the stored one, by default of the stored one itself, pixel by pixel.

        Beyond the margin it is black, as beyond the photograph.
        """
        margin = self.margin_px
        if box_px is None:
            inner = self.image[margin : margin + CROP_PX, margin : margin + CROP_PX]
            return np.ascontiguousarray(inner), self.box_px
        corner, side = self.box_px[:2], self.box_px[2] - self.box_px[0]
        stored = (box_px.reshape(2, 2) - corner) / side * (CROP_PX - 1) + margin
        left, up, right, bottom = stored.ravel().tolist()
        return crop_image(self.image, (left, up, right, bottom)), box_px.astype(np.float32)


def sample_seed(seed: int, epoch: int, sample_id: str) -> int:
    """One number per run, epoch and sample, so that a resumed run draws what it would have drawn."""
    return int.from_bytes(sha256(f"{seed}/{epoch}/{sample_id}".encode()).digest()[:6], "big")


def augment_crop(
    stored: StoredCrop, settings: AugmentationSettings, seed: int
) -> tuple[UInt8[np.ndarray, "size size 3"], Float32[np.ndarray, "4"]]:
    """A drawn box around the stored one, and its crop."""
    rng = np.random.default_rng(seed)
    box = jitter_box(stored.box_px, settings, rng)
    image, box = stored.cut(box)
    if settings.colour_gain:
        gain = 1 + settings.colour_gain * rng.uniform(-1, 1, 3)
        image = np.clip(np.rint(image * gain), 0, 255).astype(np.uint8)
    return image, box


def jitter_box(
    box_px: Float32[np.ndarray, "4"], settings: AugmentationSettings, rng: np.random.Generator
) -> Float[np.ndarray, "4"]:
    """The square box moved and widened; the stored one is `BOX_SCALE` times the person."""
    left, up, right, bottom = box_px.astype(np.float64)
    centre = np.array([left + right, up + bottom]) / 2
    centre += settings.centre_px * rng.uniform(-1, 1, 2)
    half = (right - left) / 2 * (BOX_SCALE + settings.zoom * rng.uniform()) / BOX_SCALE
    return np.concatenate([centre - half, centre + half])
