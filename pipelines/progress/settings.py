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
