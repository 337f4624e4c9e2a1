"""Every choice a metric leaves open, with the project's default."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipelines.bodies.joints import IGNORED_BODY25
from pipelines.config import Settings

JointSet = Literal["body25_without_1_9_12", "all25"]


class MetricSettings(Settings):
    """Named options, stored with every result; docs/metrics.md says why each default."""

    keypoint_source: str = Field(
        default="keypoints of the PROX tree",
        description="Name of the detections the reprojection is measured against, for all methods.",
    )
    joint_set: JointSet = Field(
        default="body25_without_1_9_12",
        description="Neck and hips carry no weight in any fit of the PROX family, so they are left out.",
    )
    confidence_threshold: float = Field(
        default=0.75, ge=0, le=1, description="Detections count when strictly above."
    )
    smell_test_px: float = Field(
        default=200.0, gt=0, description="A larger mean reprojection warns of mirrored keypoints."
    )
    visible_below: float = Field(
        default=0.05, ge=0, le=1, description="Visible frame: a smaller share of 22 joints is hidden."
    )
    occluded_above: float = Field(
        default=0.25, ge=0, le=1, description="Occluded frame: a larger share of 22 joints is hidden."
    )
    min_valid_share: float = Field(
        default=0.98,
        ge=0,
        le=1,
        description="Share of the frames with the person seen that a method must fit; less warns.",
    )
    scan_frame_step: int = Field(
        default=5, ge=1, description="Depth-to-body distance is measured on every n-th frame."
    )
    bootstrap_samples: int = Field(default=2000, ge=1, description="Resampled sets for 95 % intervals.")
    bootstrap_seed: int = Field(default=0, ge=0, description="Seed of the resampling.")
    bootstrap_min_recordings: int = Field(
        default=3, ge=2, description="Fewer recordings give no interval."
    )

    @property
    def joint_indices(self) -> tuple[int, ...]:
        """BODY_25 rows of the joint set."""
        left_out = IGNORED_BODY25 if self.joint_set == "body25_without_1_9_12" else ()
        return tuple(joint for joint in range(25) if joint not in left_out)
