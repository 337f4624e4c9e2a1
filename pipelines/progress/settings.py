"""Measured rates that plans are estimated from."""

from __future__ import annotations

from pydantic import Field

from pipelines.config import Settings


class PlanRates(Settings):
    """CPU time, disk and memory, measured on 2 cores with one thread a process, stand-in bodies.

    A run that holds times of its own recordings is estimated by those instead.
    """

    synthesise_cpu_s_per_frame: float = Field(0.18, ge=0)
    """Writing a synthetic recording: 302 CPU s of the benchmark preset, 1650 frames."""
    baseline_cpu_s_per_frame: float = Field(1.66, ge=0)
    """PROX-style fit; with the next two 4600 CPU s of the benchmark preset, parted by times of markers."""
    humor_cpu_s_per_frame: float = Field(1.10, ge=0)
    """All HuMoR stages and the refinement; as above. 1.3 on recordings of 90 frames."""
    export_cpu_s_per_frame: float = Field(0.030, ge=0)
    """SMPL-X solution and pickles; as above."""
    metrics_cpu_s_per_frame: float = Field(0.053, ge=0)
    """Metrics of six rows and four pictures: 87 CPU s of the benchmark preset."""
    synthetic_mb_per_frame: float = Field(0.92, ge=0)
    """1.5 GB of synthetic tree for 1650 frames."""
    result_mb_per_frame: float = Field(0.036, ge=0)
    """59 MB of fits, results and pictures for 1650 frames."""
    memory_gb_per_worker: float = Field(1.3, gt=0)
    """Largest resident size seen of a process that fits recordings of 150 to 240 frames."""


class ShardRates(Settings):
    """The same of `shards`."""

    score_cpu_s_per_frame: float = Field(0.045, ge=0)
    """Scoring a fit: 74 CPU s of the benchmark preset, 1650 frames."""
    shard_cpu_s_per_sample: float = Field(0.048, ge=0)
    """Samples of a fit: 13 CPU s for the 275 of the benchmark preset."""
    true_shard_cpu_s_per_sample: float = Field(0.84, ge=0)
    """Samples of true bodies, rendering included: 20 CPU minutes for 1425 of 95 rooms."""
    shard_mb_per_sample: float = Field(0.051, ge=0)
    """14 MB for the 275 samples of the benchmark preset."""
    true_shard_mb_per_sample: float = Field(0.079, ge=0)
    """112 MB for the 1425 samples of true bodies, their scans included."""
    memory_gb_per_worker: float = Field(1.0, gt=0)
    """Largest resident size seen."""


class ReportRates(Settings):
    """The same of `report`."""

    report_cpu_s_per_frame: float = Field(0.046, ge=0)
    """Measuring and drawing six rows: 76 CPU s of the benchmark preset, 1650 frames."""
    page_cpu_s_per_frame: float = Field(0.012, ge=0)
    """19 CPU s for 1650 frames."""
    report_mb_per_frame: float = Field(0.014, ge=0)
    """23 MB for 1650 frames: what is kept of each recording for the page."""
    page_mb_per_frame: float = Field(0.012, ge=0)
    """19.6 MB for 1650 frames."""
    memory_gb_per_worker: float = Field(1.3, gt=0)
    """Largest resident size seen."""
