"""Settings of the scores: what is measured, what a weight is, what is rejected."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from pipelines.config import Settings

SHIPPED_MODEL = Path(__file__).parent / "weights" / "error_model.json"


class ObservableSettings(Settings):
    """Scales of the observables. The error model belongs to them: it refuses others."""

    points: int = Field(768, ge=1)
    """Depth points of a frame whose distance to the body is looked at."""
    vertex_step: int = Field(6, ge=1)
    """Every n-th body vertex is looked at where all would be too many."""
    explained_mm: float = Field(30.0, gt=0)
    """A depth point nearer to the body's surface than this is explained by it."""
    far_mm: float = Field(200.0, gt=0)
    """Distances between points and surface are cut here: other people, wrong masks."""
    uncovered_mm: float = Field(60.0, gt=0)
    """A surface that should be seen but has no depth point this near is uncovered."""
    behind_mm: float = Field(50.0, gt=0)
    """A surface this far behind the scan is hidden by it."""
    confidence: float = Field(0.3, ge=0, le=1)
    """Keypoints above it count as found."""
    far_px_mm: float = Field(400.0, gt=0)
    """Distances between keypoints and joints are cut here, in mm at the body's depth."""
    median_frames: int = Field(11, ge=3)
    """Frames of the running median that tells a motion's outliers."""
    near_frames: int = Field(3, ge=0)
    """Frames to either side whose trouble counts as near."""
    contact: float = Field(0.5, ge=0, le=1)
    """Predicted contact above it is a claim."""
    edge_frames: int = Field(10, ge=1)
    """So far a seam or an end counts as near."""


class WeightSettings(Settings):
    """Expected error -> confidence weight: 1 up to `full_mm`, then (full_mm / error)^2, 0 from `none_mm`."""

    full_mm: float = Field(20.0, gt=0)
    none_mm: float = Field(80.0, gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> WeightSettings:
        if self.none_mm <= self.full_mm:
            raise ValueError(f"none_mm {self.none_mm} must exceed full_mm {self.full_mm}")
        return self


class RejectSettings(Settings):
    """A frame beyond one of these is left out of training, whatever its weight."""

    expected_error_mm: float = Field(50.0, gt=0)
    """At most."""
    uncovered_share: float = Field(0.6, ge=0, le=1)
    """Of the surface that should be seen, at most."""
    hidden_share: float = Field(0.9, ge=0, le=1)
    """Of the body, behind the scan or outside the image, at most."""
    penetration_mm: float = Field(150.0, gt=0)
    """Deepest vertex, at most."""


class QualitySettings(Settings):
    """Everything a score depends on."""

    observables: ObservableSettings = ObservableSettings()
    weight: WeightSettings = WeightSettings()
    reject: RejectSettings = RejectSettings()
    model: Path | None = None
    """Error model; None = the shipped one."""
