"""Every choice a metric leaves open, with the project's default."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipelines.bodies.joints import IGNORED_BODY25
from pipelines.config import Settings

JointSet = Literal["body25_without_1_9_12", "all25"]


class MetricSettings(Settings):
    """Named options printed with every result; docs/metrics.md says why each default."""

    keypoint_source: str = "keypoints of the PROX tree"
    """Which detections the reprojection is measured against; one set for all methods."""
    joint_set: JointSet = "body25_without_1_9_12"
    """Neck and both hips carry no weight in any fit of the PROX family, so they are left out."""
    confidence_threshold: float = Field(0.75, ge=0, le=1)
    """Detections count when strictly above (stated with the published table)."""
    smell_test_px: float = Field(200.0, gt=0)
    """A mean reprojection above this warns of mirrored or left/right-unswapped keypoints."""
    visible_below: float = Field(0.05, ge=0, le=1)
    """A frame is visible when a smaller share of the 22 joints is hidden."""
    occluded_above: float = Field(0.25, ge=0, le=1)
    """A frame is occluded when a larger share of the 22 joints is hidden."""
    min_valid_share: float = Field(0.98, ge=0, le=1)
    """Share of the frames with the person seen that a method must fit; less is reported."""
    scan_frame_step: int = Field(5, ge=1)
    """Depth-to-body distance is measured on every n-th frame (it costs most)."""
    bootstrap_samples: int = Field(2000, ge=1)
    bootstrap_seed: int = 0
    bootstrap_min_recordings: int = Field(3, ge=2)
    """Fewer recordings give no interval."""

    @property
    def joint_indices(self) -> tuple[int, ...]:
        """BODY_25 rows of the joint set."""
        left_out = IGNORED_BODY25 if self.joint_set == "body25_without_1_9_12" else ()
        return tuple(joint for joint in range(25) if joint not in left_out)
