"""Measured rates that plans are estimated from."""

from __future__ import annotations

from pydantic import Field

from pipelines.config import Settings


class PlanRates(Settings):
    """CPU time, disk and memory, measured on 2 cores with one thread a process, stand-in bodies.

    A run that holds times of its own recordings is estimated by those instead.
    """

    synthesise_cpu_s_per_frame: float = Field(0.26, ge=0)
    """Writing a synthetic recording; time between the markers of the benchmark preset, 1650 frames."""
    baseline_cpu_s_per_frame: float = Field(1.04, ge=0)
    """PROX-style fit; benchmark preset, 1650 frames."""
    humor_cpu_s_per_frame: float = Field(0.96, ge=0)
    """All HuMoR stages and the refinement; benchmark preset, 1650 frames."""
    export_cpu_s_per_frame: float = Field(0.032, ge=0)
    """SMPL-X solution and pickles; time between markers, 1650 frames."""
    metrics_cpu_s_per_frame: float = Field(0.070, ge=0)
    """Metrics of six rows and four pictures; time between markers, 1650 frames."""
    synthetic_mb_per_frame: float = Field(0.92, ge=0)
    """1.5 GB of synthetic tree for 1650 frames."""
    result_mb_per_frame: float = Field(0.036, ge=0)
    """59 MB of fits, results and pictures for 1650 frames."""
    memory_gb_per_worker: float = Field(1.3, gt=0)
    """Largest resident size seen of a process that fits recordings of 150 to 240 frames."""


class ShardRates(Settings):
    """The same of `shards`."""

    score_cpu_s_per_frame: float = Field(0.08, ge=0)
    """Scoring a fit."""
    shard_cpu_s_per_sample: float = Field(0.045, ge=0)
    """Samples of a fit."""
    true_shard_cpu_s_per_sample: float = Field(0.58, ge=0)
    """Samples of true bodies, rendering included: 3.5 CPU minutes for 24 rooms of 15 samples."""
    shard_mb_per_sample: float = Field(0.037, ge=0)
    """6.7 MB for the 180 samples of the first-run preset."""
    memory_gb_per_worker: float = Field(1.0, gt=0)
    """Largest resident size seen."""


class ReportRates(Settings):
    """The same of `report`."""

    report_cpu_s_per_frame: float = Field(0.06, ge=0)
    """Measuring and drawing six rows; benchmark preset: 122 s for 1650 frames less page and start."""
    page_cpu_s_per_frame: float = Field(0.009, ge=0)
    """15 s for 1650 frames."""
    report_mb_per_frame: float = Field(0.006, ge=0)
    """What is kept of each recording for the page."""
    page_mb_per_frame: float = Field(0.012, ge=0)
    """19.7 MB for 1650 frames."""
    memory_gb_per_worker: float = Field(1.3, gt=0)
    """Largest resident size seen."""
