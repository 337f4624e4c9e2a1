"""Settings of the whole run: one tree of the settings of its parts."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from pipelines.config import Settings, load_settings
from pipelines.datasets.settings import ProxSettings
from pipelines.errors import DataInvalid, DataMissing
from pipelines.fitting.prox_style.settings import ProxStyleSettings
from pipelines.fitting.settings import HumorSettings
from pipelines.metrics.settings import MetricSettings
from pipelines.motion_prior.checkpoint import PriorSettings
from pipelines.synthetic.presets import PresetName

STORED: Final = "settings.yaml"
"""Lies in the run's folder once the run is finished."""
RUN_FIRST: Final = "run `make pseudo-gt` first, or set run= to the folder of a run"


class RunnerSettings(Settings):
    """Where recordings are fitted."""

    kind: Literal["thread", "process", "dask", "ray"] = Field(
        default="process",
        description="Fits are Python-heavy: processes scale, threads share one lock; Dask and Ray reach "
        "other machines.",
    )
    workers: int = Field(default=2, ge=1, description="Recordings fitted at the same time.")
    address: str | None = Field(
        default=None,
        description="Of a Dask scheduler (tcp://host:8786) or a Ray cluster, whose workers are then used; "
        "empty = workers on this machine.",
    )


class ExportSettings(Settings):
    """What is written beside the SMPL+H result."""

    smplx: bool = Field(
        default=True, description="Also solve SMPL-X parameters and write PROXD-style pickles."
    )


class PictureSettings(Settings):
    """Pictures of fitted bodies over the colour images."""

    frames_per_recording: int = Field(default=4, ge=0, description="0 = no pictures.")


class PseudoGtSettings(Settings):
    """Everything `make pseudo-gt` does."""

    out_dir: Path = Field(default=Path("outputs/pseudo-gt"), description="Run folders go below it.")
    preset: PresetName = Field(
        default="first-run", description="Embedded data to make and fit when prox.root is not set."
    )
    synthetic_seed: int = Field(default=0, ge=0, description="Seed of the embedded data.")
    body_models: Path | None = Field(
        default=None, description="Folder with smplx/ and smplh/; empty = the licence-free stand-in."
    )
    prox: ProxSettings = ProxSettings()
    priors: PriorSettings = PriorSettings()
    baseline: ProxStyleSettings = ProxStyleSettings()
    humor: HumorSettings = HumorSettings()
    metrics: MetricSettings = MetricSettings()
    export: ExportSettings = ExportSettings()
    pictures: PictureSettings = PictureSettings()
    runner: RunnerSettings = RunnerSettings()
    inputs: Literal["listing", "content"] = Field(
        default="listing",
        description="Recognise changed input files by name, size and time, or by their bytes.",
    )

    @property
    def name(self) -> str:
        """Name of the run folder: the preset, or the name of the PROX folder."""
        return self.preset if self.prox.root is None else self.prox.root.resolve().name

    @property
    def run_dir(self) -> Path:
        """Where everything of this run goes."""
        return self.out_dir / self.name


def read_run(folder: Path) -> PseudoGtSettings:
    """Settings of a finished run, with the folder as it is given: it may have been moved.

    Raises:
        DataMissing: no run, or it is not finished.
        DataInvalid: the folder was renamed.
    """
    stored = folder / STORED
    if not stored.is_file():
        raise DataMissing(
            "no finished pseudo-gt run",
            where=folder,
            expected=f"{STORED} and recordings/",
            fix=RUN_FIRST,
        )
    run = load_settings(PseudoGtSettings, stored).model_copy(update={"out_dir": folder.parent})
    if run.run_dir != folder:
        raise DataInvalid(
            "the folder of a run has another name than the run",
            where=folder,
            expected=run.name,
            found=folder.name,
            fix=f"call the folder {run.name}",
        )
    return run
