"""Settings of the readers of the other data sets. PROX quantitative takes `ProxSettings`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, PositiveFloat, PositiveInt

from pipelines.config import Settings
from pipelines.records import Gender


class RichSettings(Settings):
    """How a RICH tree is read."""

    root: Path | None = None
    """Folder that holds `bodies/` and `scan_calibration/`."""
    genders: dict[str, Gender] = Field(default_factory=dict)
    """Subject number -> gender; comes before the meta files and the list of women."""
    frame_rate_hz: PositiveFloat = 30.0
    """Nominal; no file tells it."""
    max_transl_m: PositiveFloat = 30.0
    """A body farther from camera 0 is a failure; the outdoor captures are larger than a room."""
    image_size_px: tuple[PositiveInt, PositiveInt] = (4112, 3008)
    """Width, height of an upright camera; others are refused."""


class EgobodySettings(Settings):
    """How an EgoBody tree is read."""

    root: Path | None = None
    """Folder that holds `data_info_release.csv`."""
    frame_rate_hz: PositiveFloat = 30.0
    max_transl_m: PositiveFloat = 10.0
    """A body farther from the master camera is a failure."""
    max_depth_m: PositiveFloat = 6.0
    """Depth from here on is dropped, as by EgoBody's own reader."""
    color_size_px: tuple[PositiveInt, PositiveInt] = (1920, 1080)
    """Width, height."""
    depth_size_px: tuple[PositiveInt, PositiveInt] = (640, 576)
    """Width, height."""


class AmassSettings(Settings):
    """How AMASS motions become clips the motion prior is trained on. Defaults: HuMoR's."""

    root: Path | None = None
    """Folder of the subsets; a missing subset is told, not an error."""
    frame_rate_hz: PositiveFloat = 30.0
    """Frames are picked evenly from the source's; slower sources are left out."""
    keep_middle: float = Field(0.8, gt=0, le=1)
    """Share of each motion that is kept, round its middle."""
    min_seconds: PositiveFloat = 1.0
    """Shorter motions (after cutting) are left out."""
    still_m: PositiveFloat = 0.005
    """A joint that moves less per frame of the source stands still."""
    contact_height_m: PositiveFloat = 0.08
    """Ankles, knees, wrists count as touching up to here above the standing toes."""
    toe_contact_height_m: PositiveFloat = 0.04
    """Toe bases."""
    toe_above_floor_m: float = Field(0.01, ge=0)
    """The floor lies this far below the standing toes' joints."""
    cluster_m: PositiveFloat = 0.005
    """Standing heights nearer than this belong together."""
    cluster_min_samples: PositiveInt = 3
    terrain_height_m: PositiveFloat = 0.04
    """Toes and root both standing this far above the lowest standing: not on one floor."""
    terrain_seconds: PositiveFloat = 0.25
    """For at least so long."""
