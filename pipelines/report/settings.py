"""Settings of `make report`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from pipelines.config import Settings
from pipelines.pseudo_gt.settings import RunnerSettings


class MeasureSettings(Settings):
    """Per-frame figures."""

    contact_m: float = Field(0.02, gt=0)
    """A vertex outside the scene touches it when nearer than this, as in the synthetic truth."""


class WorstSettings(Settings):
    """Pictures of the worst frames, chosen by the result's own figures."""

    frames: int = Field(2, ge=0)
    """Pictures of each recording."""
    apart_s: float = Field(0.5, ge=0)
    """Two pictures of a recording are at least this far apart."""
    panel_px: int = Field(360, ge=64)
    """Edge of one panel."""
    jpeg_quality: int = Field(88, ge=1, le=100)
    """Of the pictures in the page."""
    stretch_s: float = Field(1.0, gt=0)
    """Length of the stretch that is named as a recording's worst."""


class ViewSettings(Settings):
    """The 3D view."""

    recordings: int = Field(10, ge=0)
    """The worst so many recordings are in it; about 1 MB each with the defaults."""
    frame_step: int = Field(3, ge=1)
    """Every so-manieth frame."""
    max_frames: int = Field(120, ge=1)
    """Of a recording; longer ones take larger steps."""
    body_vertices: Literal[6890, 1723, 431] = 1723
    """Level of the mesh pyramid."""
    scene_vertices: int = Field(15000, ge=100)
    """A scan with more vertices is thinned out until it has no more."""
    unit_m: float = Field(0.002, gt=0)
    """Step in which positions are stored."""


class ReportSettings(Settings):
    """Everything `make report` does."""

    run: Path = Path("outputs/pseudo-gt/first-run")
    """Folder of the pseudo-gt run."""
    out_dir: Path | None = None
    """Where the report goes; empty = `<run>/report`."""
    recordings: tuple[str, ...] = ()
    """Names or patterns; empty = every measured recording of the run."""
    explain_above: float = Field(1.25, ge=1)
    """A recording's figure is named as a reason when it exceeds the run's median so many times."""
    measure: MeasureSettings = MeasureSettings()
    worst: WorstSettings = WorstSettings()
    view: ViewSettings = ViewSettings()
    rerun: bool = False
    """Also write `<recording>.rrd` for the rerun viewer; needs `pip install -e ".[rerun]"`."""
    runner: RunnerSettings = RunnerSettings()

    @property
    def folder(self) -> Path:
        """Where the report goes."""
        return self.run / "report" if self.out_dir is None else self.out_dir
