"""Settings of `init`: what was captured, with what camera, in what units and frames."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from pipelines.config import Settings
from pipelines.records import Gender


class CheckSettings(Settings):
    """When a capture counts as consistent."""

    sampled_frames: PositiveInt = 40
    """Frames looked at for the static background."""
    near_m: PositiveFloat = 0.05
    """A background pixel agrees with the scan when their depths differ by less."""
    good_share: float = Field(0.6, gt=0, le=1)
    """Of the background pixels must agree."""
    better_by: float = Field(0.15, gt=0, le=1)
    """Another reading (inverted pose, other unit) is proposed when so much more of the pixels agree."""
    leak_share: float = Field(0.02, gt=0, le=1)
    """Share of wrong signs among places known to be free or solid that is worth a warning; at five
    times that it is an error."""


class MovedSettings(Settings):
    """When a part of the scan counts as moved."""

    sampled_frames: PositiveInt = 60
    """Frames looked at."""
    min_frames: PositiveInt = 5
    """A pixel must show its background in so many of them."""
    beyond_m: PositiveFloat = 0.08
    """A piece of scan is not there when the camera sees so much farther in its direction."""
    beyond_share: float = Field(0.01, ge=0)
    """Added per metre of depth: noise grows with it."""
    confirm_m: PositiveFloat = 0.03
    """A piece this near to measured background is where it was scanned."""
    reach_m: PositiveFloat = 0.06
    """Pieces not confirmed within this distance of a moved one belong to it, and so on from piece to
    piece: what stands too close to a wall or the floor to be seen past."""
    max_reach_m: PositiveFloat = 0.3
    """But no farther than this from what the camera saw through."""
    min_area_m2: PositiveFloat = 0.02
    """Smaller parts are noise."""


class CaptureSettings(Settings):
    """Everything `make init` needs. Relative paths start at `folder`."""

    folder: Path = Path()
    """Where the capture lies; the folder of the YAML file when one is given."""
    out: Path = Path("outputs/capture")
    """Tree to write, in PROX's layout (relative to the working directory)."""
    scene: str = Field("Room", pattern=r"^[A-Za-z0-9]+$")
    subject: PositiveInt = 1
    """Number of the person; with scene and take the recording's name."""
    take: PositiveInt = 1
    gender: Gender = "neutral"

    color: Path
    """Folder of colour images (png, jpg, bmp)."""
    depth: Path
    """Folder of 16-bit depth PNGs; matched to colour by name, else by the number in the name."""
    masks: Path | None = None
    """Folder of person masks of the colour images, any of black or white for the person; None = the
    person is what stands before the scan in depth."""
    keypoints: Path | None = None
    """Folder of OpenPose JSON files (BODY_25), one per colour image."""
    others: Path | None = None
    """The same for people in the picture who are not to be fitted: they are cut out of the person's mask."""
    mirrored: bool = False
    """Images are left-right reversed on disk, as Kinect One writes them."""
    frame_rate_hz: PositiveFloat = 30.0

    color_camera: Path
    """Intrinsics of the colour camera."""
    depth_camera: Path | None = None
    """Intrinsics of the depth camera; None = the colour camera's file, or aligned depth."""
    depth_to_color: Path | None = None
    """`T_color_from_depth`; None = from the camera files, or the identity for aligned depth."""
    depth_to_color_is: Literal["color_from_depth", "depth_from_color"] = "color_from_depth"
    depth_aligned: bool = False
    """Depth was resampled into the colour camera (RealSense `align`, `transformed_depth`)."""
    depth_unit_m: PositiveFloat = 0.001
    """Metres of one step of the depth images: Azure Kinect 0.001, RealSense its depth_scale."""
    max_depth_m: float = Field(8.0, gt=0, le=8)
    """Depth from here on is dropped; PROX's 16 bits of 1/8 mm end soon after 8 m."""

    scan: Path
    """Triangle mesh of the room: ply or obj."""
    scan_unit_m: PositiveFloat = 1.0
    """Metres of the scan's unit; 0.001 for millimetres."""
    camera_pose: Path
    """4x4 pose of the colour camera in the scan: json, yaml, txt or npy."""
    camera_pose_is: Literal["world_from_camera", "camera_from_world"] = "world_from_camera"
    camera_axes: Literal["opencv", "opengl"] = "opencv"
    """x right, y down, z forward; or x right, y up, z back (Blender, ARKit)."""
    pose_unit_m: PositiveFloat = 1.0
    """Metres of the pose's translation."""

    sdf_size: int = Field(256, ge=16)
    """Nodes along each axis of the signed distance grid."""
    sdf_margin_m: PositiveFloat = 0.35
    """How far the grid reaches beyond the scan."""
    fill_floor: bool = True
    """Close holes of the floor with its plane."""
    min_part_m2: float = Field(0.005, ge=0)
    """Loose parts of the scan smaller than this are dust."""
    moved: Literal["remove", "report", "ignore"] = "remove"
    """Parts of the scan that stand elsewhere in the footage: take them out of the scene that fits see,
    only report them, or do not look."""
    body_models: Path | None = None
    """Licensed bodies, for the contact parts; None = the stand-in."""
    jpeg_quality: int = Field(92, ge=1, le=100)
    check: CheckSettings = CheckSettings()
    moved_parts: MovedSettings = MovedSettings()

    def path(self, path: Path) -> Path:
        """A path of the capture."""
        return self.folder / path

    @property
    def recording(self) -> str:
        """Name of the recording in the tree."""
        return f"{self.scene}_{self.subject:05d}_{self.take:02d}"
