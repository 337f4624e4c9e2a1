"""HuMoR's own schedule of training its CVAE.

Source: HuMoR, train/train_humor.py, losses/humor_loss.py and configs/train_humor.cfg, as told in the fitting
page, section 5.
"""

from __future__ import annotations

from pydantic import Field, PositiveFloat, PositiveInt

from pipelines.config import Settings
from pipelines.motion_prior.network import MotionPriorSettings
from pipelines.motion_prior.train_motion import MotionLossWeights

_OFFICIAL_WEIGHTS = MotionLossWeights(
    transl=1.0,
    transl_velocity=1.0,
    root_rotmat=1.0,
    root_angular_velocity=1.0,
    body_rotmats=1.0,
    joints=1.0,
    joints_velocity=1.0,
    body_model_joints=1.0,
    joint_consistency=1.0,
    contact=0.01,
    contact_velocity=0.01,
    kl=0.0004,
)


class HumorScheduleSettings(Settings):
    """Defaults: HuMoR's."""

    network: MotionPriorSettings = MotionPriorSettings()
    """Of the official widths."""
    epochs: PositiveInt = 200
    batch_size: PositiveInt = 200
    steps: PositiveInt = 10
    """Transitions of a window: 11 frames."""
    batches_per_epoch: PositiveInt | None = None
    """Empty = as many as draw every clip once. No source tells how long an epoch is."""
    learning_rate: PositiveFloat = 1e-4
    milestones: tuple[int, ...] = (50, 80, 140)
    """Epochs after which the rate is multiplied by `decay`."""
    decay: float = Field(0.5, gt=0, le=1)
    kl_ramp_epochs: int = Field(50, ge=0)
    """The weight of the KL divergence grows from 0 over so many epochs."""
    truth_epochs: int = Field(10, ge=0)
    """Up to here every transition starts from the true state."""
    own_epochs: int = Field(20, ge=0)
    """From here on from the network's own, detached; between the two by a falling probability. The best
    epoch is looked for from here on."""
    weights: MotionLossWeights = _OFFICIAL_WEIGHTS
    validation_windows: PositiveInt = 400
    """Drawn once from the validation motions."""
