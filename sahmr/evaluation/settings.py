"""Settings of `make evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from pipelines.config import Settings
from pipelines.contact.settings import ContactSettings
from pipelines.shards.collection import SelectionSettings
from pipelines.shards.splits import Split
from sahmr.evaluation.metro_placement import PlacementSettings
from sahmr.evaluation.table import IntervalSettings


class EvaluationSettings(Settings):
    """Which networks are measured, on which samples, how."""

    train: Path | None = Path("outputs/train/tiny")
    """Folder of a training: its SA-HMR and METRO are measured. None: only `rows`."""
    rows: dict[str, Path] = Field(default_factory=dict)
    """More rows: name -> weights, own (.safetensors) or official. A row of the training has that name too:
    `metro`, `sahmr_1`, `sahmr_8`, `sahmr_432`; another name makes a row of its own."""
    samples: Literal["shards", "support"] = "shards"
    """`support`: the samples that SA-HMR itself is measured on, from its folder `support`."""
    support: Path | None = None
    """SA-HMR's support folder for RICH or PROX quantitative; beside shards, only its grids are used."""
    shards: Path | None = None
    """Folder of shards to measure on. None: the training's."""
    split: Split | Literal["auto", "all"] = "auto"
    """Side of the folder's split. auto: the test side; where there is none `val`, then `train`, and the
    table says that nothing was held out."""
    selection: SelectionSettings = SelectionSettings()
    limit: int | None = Field(None, ge=1)
    """Measure so many samples only, spread evenly; to try things out."""
    pseudo_gt: Path | None = None
    """Shards of fitted bodies of the same samples: the row Dataset GT then measures these fits against the
    reference. None: it measures how the reference itself sits in the scene."""
    grids: Literal["auto", "prox", "generated", "support", "none"] = "auto"
    """Distance grids for PenE and ConFE: of a PROX tree, of the generator's rooms, made again, or of SA-HMR's
    support folder. auto: `support` where it is given, else `prox` for fitted and `generated` for true bodies;
    where they are not found, PenE and ConFE are left out, with a warning."""
    prox_root: Path | None = None
    """PROX tree with the scenes' grids, for fitted bodies and for PROX quantitative. None: that of the run
    the fits come from."""
    runs: Path = Path("outputs/pseudo-gt")
    """Where pseudo-gt runs lie; the shards say the name of theirs."""
    contact: ContactSettings = ContactSettings()
    """What counts as contact of a predicted body; as the shards' own labels."""
    placement: PlacementSettings = PlacementSettings()
    intervals: IntervalSettings = IntervalSettings()
    batch_size: int = Field(8, ge=1)
    device: str = "auto"
    """`cpu`, `cuda`, or `auto`."""
    pictures: int = Field(6, ge=0)
    """Samples in each picture of the worst and of the best; 0 makes none."""
    body_models: Path | None = None
    """Folder with smplh/; None: the licence-free stand-in."""
    part_info: Path | None = None
    """SA-HMR's `seg_part_info.npy`; wanted for official weights."""
    out_dir: Path = Path("outputs/evaluate")
    name: str | None = None
    """Of the result's folder; that of the training when None."""

    @model_validator(mode="after")
    def _support_brings_all(self) -> EvaluationSettings:
        idle = {
            "shards": self.shards is not None,
            "split": self.split not in ("auto", "test"),
            "grids": self.grids in ("prox", "generated"),
            "pseudo_gt": self.pseudo_gt is not None,
        }
        given = [name for name, is_given in idle.items() if is_given]
        if self.samples == "support" and given:
            raise ValueError(
                "samples=support are SA-HMR's own test samples with its own grids; leave out "
                + ", ".join(given)
            )
        return self

    @property
    def folder(self) -> Path:
        """Where the results go."""
        own = self.train.name if self.train is not None else "rows"
        own += "-support" if self.samples == "support" else ""
        return self.out_dir / (self.name or own)
