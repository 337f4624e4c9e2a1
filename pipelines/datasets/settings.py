"""Settings of the data-set readers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from pipelines.config import Settings
from pipelines.records import Gender

FloorSource = Literal["auto", "scan", "humor_floors", "humor_planes"]
KeypointsFrame = Literal["raw", "flipped"]


class ProxSettings(Settings):
    """How a PROX tree is read. Every number that decides what a fit sees is here."""

    root: Path | None = None
    """Folder that holds `qualitative/`, or that folder itself; None = the embedded synthetic tree."""
    split: Literal["qualitative", "quantitative"] = "qualitative"
    """Which half of PROX, where root holds both."""
    recordings: tuple[str, ...] = ()
    """Names or patterns (`N3*`); empty = all."""
    genders: dict[str, Gender] = Field(default_factory=dict)
    """Subject number or recording name -> gender; comes before `genders_file` and PROX's own list."""
    genders_file: Path | None = None
    """JSON with the same content as `genders`."""

    keypoints_folder: str = "keypoints"
    keypoints_frame: Literal["auto", "raw", "flipped"] = "auto"
    """Image OpenPose saw: `raw` files (mirrored), `flipped` (true) images, or find out."""
    keypoint_min_confidence: float = Field(0.2, ge=0, le=1)
    """A keypoint below takes no part in deciding whether, where and which person is seen. The
    confidences handed to the fits are never altered."""
    person_min_keypoints: PositiveInt = 3
    """Confident body keypoints that make a frame fit-able without depth."""

    person_mask: Literal["color", "depth"] = "color"
    """`BodyIndexColor` (as the PROX and HuMoR fits use) or the sensor's own `BodyIndex`."""
    num_points: PositiveInt = 4096
    """Depth points per frame after subsampling or cyclic repetition; HuMoR's number."""
    points_seed: int = Field(0, ge=0)
    person_min_points: PositiveInt = 64
    """Depth points that make a frame fit-able without keypoints (a foot at 3 m gives about 100)."""

    frame_rate_hz: PositiveFloat = 30.0
    """PROX qualitative is 30, quantitative 5."""
    gap_intervals: float = Field(1.5, gt=1)
    """A step between frames longer than this many nominal intervals cuts the motion (see frames.py)."""
    max_frames: PositiveInt | None = None
    """Read only the first frames of each recording."""
    trim_frames: int = Field(0, ge=0)
    """Leave out at both ends of a recording; HuMoR's evaluation leaves out 90."""

    floor: FloorSource = "auto"
    """`auto` = HuMoR's floors/<Scene>.txt where present, else estimated from the scan."""
    sdf_normals: bool = False
    """Also load <Scene>_normals.npy (200 MB at 256^3)."""
    sdf_mismatch_m: PositiveFloat = 0.05
    """Median distance of scan vertices from the SDF's surface above which the two do not belong
    together (never less than one voxel)."""
    edited_scenes: Path | None = None
    """Folder that `moved-scenes` wrote: rooms without what was moved, by recording. Where it has none, the
    tree's own scene counts."""
    max_transl_m: PositiveFloat = 10.0
    """A released fit farther from the camera is a failure (datasets page, 1.13)."""

    color_size_px: tuple[PositiveInt, PositiveInt] = (1920, 1080)
    """Width, height of colour images and their masks; others are refused."""
    depth_size_px: tuple[PositiveInt, PositiveInt] = (512, 424)
    """Width, height of depth images."""
