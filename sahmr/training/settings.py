"""All settings of a training. Defaults are the paper's; `preset` replaces some before the user's apply.

Source: SA-HMR, configs/pose/*, as told in the networks page, section 9.2; METRO's of section 10.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pydantic import Field, model_validator

from pipelines.config import Settings
from pipelines.pseudo_gt.settings import RunnerSettings
from pipelines.shards.collection import SelectionSettings
from sahmr.data.augment import AugmentationSettings
from sahmr.data.supervision import SupervisionSettings
from sahmr.losses.metro import MetroLossSettings
from sahmr.losses.weights import MeshLossSettings, RootContactLossSettings
from sahmr.networks.mesh_recovery import MeshRecoverySettings
from sahmr.networks.mesh_tokens import MeshTransformerSettings
from sahmr.networks.rcnet import NumCategories, RcnetSettings, paper_settings
from sahmr.networks.sahmr import SahmrSettings
from sahmr.training.presets import PRESETS, PresetName, merged

StageName = Literal["start", "rcnet", "mesh", "metro"]
STAGES: Final[tuple[StageName, ...]] = get_args(StageName)
AFTER: Final[Mapping[str, tuple[StageName, ...]]] = {
    "start": (),
    "rcnet": ("start",),
    "mesh": ("start", "rcnet"),
    "metro": ("start",),
}
"""Trainings that a stage waits for where the same run has them."""
"""In order: METRO from scratch where no METRO checkpoint is given, then the three that start from it."""
CANONICAL_BATCH: Final = 32
"""Batch size that canonical learning rates are for."""


class StageSettings(Settings):
    """How one network is trained."""

    epochs: int = Field(30, ge=1)
    steps: int | None = Field(None, ge=1)
    """Ends after so many steps, whatever `epochs` says."""
    batch_size: int = Field(24, ge=1)
    """Of all processes together."""
    canonical_learning_rate: float = Field(1e-4, gt=0)
    """At a batch of 32; scaled by the batch size."""
    learning_rate: float | None = Field(None, gt=0)
    """Taken as it is, in place of the scaled one."""
    schedule: Literal["step", "cosine"] = "step"
    """Multiply once by `decay_factor`, or fall smoothly to it times the start."""
    decay_at: float = Field(0.5, gt=0, le=1)
    """Share of the training after which the rate steps down."""
    decay_factor: float = Field(0.5, gt=0, le=1)
    warm_up_steps: int = Field(0, ge=0)
    """Steps over which the rate rises from nothing."""
    clip_value: float | None = Field(0.5, gt=0)
    """Every element of the gradient is cut to this, either way; not the gradient's norm."""
    ema_decay: float | None = Field(None, gt=0, lt=1)
    """Validate and keep the moving average of the weights; none when None, as SA-HMR."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the image networks; the sparse network and the losses stay in float32. SA-HMR: float32."""
    validate_every: int | None = Field(None, ge=1)
    """Steps between validations; None: at the end of each epoch."""
    save_every: int | None = Field(None, ge=1)
    """Steps between checkpoints; None: at every validation."""
    log_every: int = Field(20, ge=1)
    """Steps between lines of the log."""

    @property
    def start_rate(self) -> float:
        """Learning rate at the start."""
        if self.learning_rate is not None:
            return self.learning_rate
        return self.canonical_learning_rate * self.batch_size / CANONICAL_BATCH


class RcnetStage(StageSettings):
    """Stage 1: root and contact."""

    canonical_learning_rate: float = Field(5e-4, gt=0)
    losses: RootContactLossSettings = RootContactLossSettings()
    start_depth: float | None = Field(None, gt=0)
    """Start heat map and contact maps near zero and f2 at this value, where a backbone that was trained
    little gives maps of any size. None: random, as SA-HMR."""


class MeshStage(StageSettings):
    """Stage 2: the mesh; RCNet stays frozen, in evaluation mode."""

    losses: MeshLossSettings = MeshLossSettings()


class MetroStage(StageSettings):
    """The baseline."""

    learning_rate: float | None = Field(1e-4, gt=0)
    decay_factor: float = Field(0.1, gt=0, le=1)
    clip_value: float | None = Field(None, gt=0)
    masked_share: float = Field(0.3, ge=0, le=1)
    """Up to this share of the joint tokens, and of the vertex tokens, is hidden in training."""
    losses: MetroLossSettings = MetroLossSettings()


class DataSettings(Settings):
    """What is trained on."""

    shards: Path = Path("outputs/shards/first-run/shards-fit")
    """Folder of the shards; with `splits.json`, those of its `train` side are trained on, `val` validates."""
    selection: SelectionSettings = SelectionSettings()
    augmentation: AugmentationSettings | None = AugmentationSettings()
    left_out_parts: tuple[str, ...] = SupervisionSettings().left_out_parts
    """Body parts without contact label: the hands, as on PROX."""
    workers: int = Field(2, ge=0)
    """Processes that read ahead; 0 reads between the steps."""
    limit: int | None = Field(None, ge=1)
    """Train on so many samples only, spread evenly; to try things out."""
    validate_on: Literal["val", "train"] = "val"
    """`train`: the training samples, unvaried, to see whether a network can learn them by heart."""
    validation_limit: int | None = Field(None, ge=1)
    """Validate on so many samples, spread evenly."""


class StartSettings(Settings):
    """Weights to start from."""

    metro: Path | None = None
    """METRO: official (`metro_3dpw_state_dict.bin`) or own. None: METRO is first trained from scratch."""
    rcnet: Path | None = None
    """RCNet for the mesh stage: official or own. None: the one trained in stage 1."""


class TrainingSettings(Settings):
    """Everything `make train` does."""

    preset: PresetName = "tiny"
    """`paper`: SA-HMR's sizes and schedules. `tiny`: small networks for the embedded data on a CPU."""
    out_dir: Path = Path("outputs/train")
    name: str | None = None
    """Of the run folder; the preset's when None."""
    data: DataSettings = DataSettings()
    start_from: StartSettings = StartSettings()
    body_models: Path | None = None
    """Folder with smplh/; empty: the licence-free stand-in."""
    part_info: Path | None = None
    """SA-HMR's `seg_part_info.npy`; wanted for official weights."""
    categories: NumCategories = 8
    rcnet_network: RcnetSettings = RcnetSettings()
    """Its contact channels follow from `categories`."""
    mesh_network: MeshRecoverySettings = MeshRecoverySettings()
    """METRO has the same sizes."""
    fixed_upsampling: bool = False
    """Leave the mesh upsampling of METRO and of the mesh network as it starts. Its 12 million weights, each
    moved by the learning rate in every step, else learn few samples by heart before the coarse mesh does."""
    start: MetroStage | None = None
    """METRO from scratch, where `start_from.metro` is not given. None: that file is a must."""
    rcnet: RcnetStage = RcnetStage()
    mesh: MeshStage = MeshStage()
    metro: MetroStage = MetroStage()
    stages: tuple[StageName, ...] = STAGES
    """What to train; the others must be there."""
    seed: int = 66
    device: str = "auto"
    """`cpu`, `cuda`, or `auto`."""
    non_finite: Literal["stop", "skip"] = "stop"
    """At a loss or gradient that is no number: end with an error, or leave that step out. Both name the
    samples; ten steps in a row always end the training."""
    tensorboard: bool = True
    """Also write TensorBoard's files, where it is installed."""
    runner: RunnerSettings = RunnerSettings()
    """Networks that do not wait for each other are trained at the same time."""
    restart: bool = False
    """Throw away an unfinished training of other settings or data in the same folder."""

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, values: Any) -> Any:
        """The preset's values below the user's."""
        if not isinstance(values, dict) or values.get("preset", "tiny") not in PRESETS:
            return values
        return merged(PRESETS[values.get("preset", "tiny")], values)

    @property
    def run_dir(self) -> Path:
        """Where everything of this run goes."""
        return self.out_dir / (self.name or self.preset)

    def stage(self, name: StageName) -> StageSettings:
        """How one network is trained."""
        stage = getattr(self, name)
        assert isinstance(stage, StageSettings)
        return stage

    @property
    def rcnet_with_categories(self) -> RcnetSettings:
        """RCNet's architecture for the chosen categories."""
        wanted = paper_settings(self.categories)
        base = self.rcnet_network
        return base.model_copy(
            update={
                "contact_maps": wanted.contact_maps,
                "contact_net": base.contact_net.model_copy(
                    update={"channels_out": wanted.contact_net.channels_out}
                ),
            }
        )

    @property
    def sahmr_network(self) -> SahmrSettings:
        """Both networks' architecture."""
        return SahmrSettings(rcnet=self.rcnet_with_categories, mesh_recovery=self.mesh_network)

    @property
    def metro_network(self) -> MeshTransformerSettings:
        """METRO's architecture: the mesh network's without the scene stream."""
        fields = set(MeshTransformerSettings.model_fields)
        return MeshTransformerSettings.model_validate(self.mesh_network.model_dump(include=fields))
