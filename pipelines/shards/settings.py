"""Settings of `make shards`."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from pipelines.config import Settings
from pipelines.contact.settings import ContactSettings
from pipelines.datasets.settings import ProxSettings
from pipelines.other_datasets.settings import EgobodySettings, RichSettings
from pipelines.pseudo_gt.settings import RunnerSettings
from pipelines.quality.settings import QualitySettings
from pipelines.shards.scene_cloud import SCENE_PITCH_M
from pipelines.shards.splits import SplitChoice, SplitSettings

ShardSource = Literal["fit", "truth", "rich", "egobody", "prox_quantitative"]
DEFAULT_STRIDES: Final[dict[ShardSource, int]] = {
    "fit": 1,
    "truth": 12,
    "rich": 15,
    "egobody": 15,
    "prox_quantitative": 1,
}
"""Frames of RICH and EgoBody lie 1/30 s apart; 15 is SA-HMR's interval for training on RICH."""


class SampleSettings(Settings):
    """What goes into a sample."""

    crop_margin_px: int = Field(48, ge=0)
    """Crop pixels stored beyond the box on each side. SA-HMR's training moves the box by 10 image pixels and
    widens it by up to 0.4 of the person: 39 + 5 crop pixels for a person of 450 pixels."""
    jpeg_quality: int = Field(95, ge=1, le=100)
    """Of the crops."""
    pitch_m: float = Field(SCENE_PITCH_M, gt=0)
    """Edge of the cells of the scene cloud, one point each; finer than the networks' 5 cm voxels."""
    scene_margin_m: float = Field(1.0, ge=0)
    """A scene without SDF reaches this far beyond its scan."""
    min_share_in_scene: float = Field(0.5, ge=0, le=1)
    """A body with less than this share of its vertices inside the scene's grid is skipped."""
    contact: ContactSettings = ContactSettings()


class TruthSettings(Settings):
    """Recordings of the synthetic generator that are made into shards without being fitted."""

    name: str = Field("rooms", pattern=r"^[A-Za-z0-9_-]+$")
    """Of this set of recordings: a folder below `out_dir`."""
    seed: int = Field(1000, ge=1000)
    """Of bodies, rooms and motions; seeds below 1000 belong to the recordings that are fitted."""
    scenes: int = Field(24, ge=1)
    """Recordings; each has a room of its own."""
    subjects: int = Field(12, ge=1)
    """People, half of them women."""
    num_frames: int = Field(180, ge=4)
    """Of each recording, at 30 a second. Lying down takes its time: in 2 s no bed fits under the body."""
    families: tuple[str, ...] = ()
    """Motion families; empty = all of the generator."""
    occluded_shares: tuple[float, ...] = (0.0, 0.2, 0.4)
    """Wanted share of frames in which the room hides part of the person, recording by recording."""
    clutter: int = Field(4, ge=0)
    """Pieces standing about, at most."""
    max_draws: int = Field(4, ge=1)
    """The generator refuses a motion whose furniture would cut into the body; so often it is drawn anew."""
    max_hidden_share: float = Field(0.7, ge=0, le=1)
    """Frames with more of the joints hidden or outside the image are rejected."""
    max_conversion_mm: float = Field(8.0, gt=0)
    """Frames whose SMPL+H body lies farther from the true SMPL-X body are rejected."""


class DataSetSettings(Settings):
    """Data sets whose own bodies become samples."""

    rich: RichSettings = RichSettings()
    egobody: EgobodySettings = EgobodySettings()
    prox_quantitative: ProxSettings = ProxSettings()
    """Half and frame rate are those of the quantitative set, whatever is given here."""
    body_models: Path | None = None
    """Folder of licensed SMPL-X and SMPL+H files; None = the stand-in."""
    people: tuple[str, ...] = ()
    """Names or patterns of those to take, one person before one camera: `Pavallion_*-cam_00`; empty = all."""
    max_conversion_mm: float = Field(8.0, gt=0)
    """Frames whose SMPL+H body lies farther from the data set's SMPL-X body are rejected."""

    def portable(self) -> DataSetSettings:
        """The same without where things lie."""
        nowhere = {"root": None}
        return self.model_copy(
            update={
                "body_models": None,
                "rich": self.rich.model_copy(update=nowhere),
                "egobody": self.egobody.model_copy(update=nowhere),
                "prox_quantitative": self.prox_quantitative.model_copy(update=nowhere),
            }
        )


class ShardsSettings(Settings):
    """Everything `make shards` does."""

    source: ShardSource = "fit"
    """`fit`: the bodies of a pseudo-gt run. `truth`: true bodies of the generator, not fitted. Others: the
    bodies that a data set brings itself, read from `data.<source>.root`."""
    run: Path = Path("outputs/pseudo-gt/first-run")
    """Folder of the pseudo-gt run, for `fit`."""
    skip_unfitted: bool = False
    """Leave out recordings that the run has not finished; otherwise they are an error."""
    scored: bool = True
    """Score every frame of a fit first, beside the run's fits; otherwise all weigh 1 and none is rejected."""
    quality: QualitySettings = QualitySettings()
    truth: TruthSettings = TruthSettings()
    data: DataSetSettings = DataSetSettings()
    out_dir: Path = Path("outputs/shards")
    """Shards go to `<out_dir>/<name of the run or set>/shards-<source>/`."""
    frame_stride: int | None = Field(None, ge=1)
    """Take every so-manieth frame; empty = every frame of a fit and of PROX quantitative, every
    twelfth of truth, every fifteenth of RICH and EgoBody."""
    samples_per_shard: int = Field(4096, ge=1)
    """At most; about 60 KB each."""
    sample: SampleSettings = SampleSettings()
    split: SplitChoice = "auto"
    """`own`: as `own_split` says, or an error. `auto`: the same, and where the recordings do not allow it the
    nearest that they do; a data set that has a split of its own keeps it. `official`: that one, or an error.
    `humor-prox`: HuMoR's test scenes of PROX. `train-only`: no split."""
    own_split: SplitSettings = SplitSettings()
    runner: RunnerSettings = RunnerSettings()

    @property
    def name(self) -> str:
        """Of the set of shards."""
        names: dict[ShardSource, str] = {"fit": self.run.name, "truth": self.truth.name}
        return names.get(self.source, self.source)

    @property
    def folder(self) -> Path:
        """Where the shards of these settings go; one kind of body in one folder."""
        return self.out_dir / self.name / f"shards-{self.source}"

    def portable(self) -> ShardsSettings:
        """The same without what belongs to this machine: where things lie, and how many workers it has."""
        here = {"run": Path(self.run.name), "out_dir": Path(), "runner": RunnerSettings()}
        return self.model_copy(update={**here, "data": self.data.portable()})

    @property
    def stride(self) -> int:
        """Of the frames."""
        return DEFAULT_STRIDES[self.source] if self.frame_stride is None else self.frame_stride
