"""What contact categories, quality weights and the labels' error do to a trained network.

Trains one network per variant and measures all of them on the same held-out true bodies:

| row | trained on | contact categories |
| --- | --- | --- |
| `metro`, `sahmr_8`, `sahmr_432`, `sahmr_1` | true bodies of the generator | as named |
| `fitted` | fits, with their quality weights | 8 |
| `fitted_unweighted` | the same fits, all alike | 8 |
| `fitted_true` | the same images with their true bodies | 8 |

Networks with other categories start from the same METRO as `sahmr_8`; those on other data from one trained on
that data, so that no truth reaches a network of fits.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from pydantic import Field

from pipelines.artifacts import write_text
from pipelines.config import Settings
from pipelines.errors import DataMissing
from pipelines.shards.reader import ShardReader
from sahmr.evaluation.definitions import DEFINITIONS
from sahmr.evaluation.evaluate import SAMPLE_ERRORS, evaluate
from sahmr.evaluation.report import markdown
from sahmr.evaluation.sample_errors import read_sample_errors
from sahmr.evaluation.settings import EvaluationSettings
from sahmr.evaluation.table import Evaluation, paired_difference
from sahmr.evaluation.true_of_fits import write_true_of_fits
from sahmr.networks.rcnet import NumCategories
from sahmr.training.settings import DataSettings, StageName, StartSettings, TrainingSettings
from sahmr.training.stages import stages_to_train, train_stage, weights_path

logger = logging.getLogger(__name__)

VariantName = Literal["sahmr_8", "sahmr_432", "sahmr_1", "fitted", "fitted_unweighted", "fitted_true"]
REPORT: Final = "ablation.md"
_MAKE_TRUTH: Final = "make shards CONFIG=configs/shards/truth.yaml"
_MAKE_FITS: Final = "make shards"
_COMPARED: Final = ("g_mpjpe_v1", "mpjpe_v1", "pene_v1")
_QUESTIONS: Final = (
    ("the labels' error", "fitted", "fitted_true"),
    ("leaving out quality weights", "fitted_unweighted", "fitted"),
    ("one category instead of 8", "sahmr_1", "sahmr_8"),
    ("432 categories instead of 8", "sahmr_432", "sahmr_8"),
)


class AblationSettings(Settings):
    """What is trained and measured."""

    shards: Path = Path("outputs/shards/rooms-96/shards-truth")
    """True bodies of the generator: trained on, and measured on their test side."""
    fitted: Path = Path("outputs/shards/first-run/shards-fit")
    """Fits to train on; read only where a variant needs them."""
    truth: Path = Path("outputs/pseudo-gt/first-run/data/truth")
    """True bodies of the same recordings."""
    variants: tuple[VariantName, ...] = (
        "sahmr_8",
        "sahmr_432",
        "sahmr_1",
        "fitted",
        "fitted_unweighted",
        "fitted_true",
    )
    steps: int | None = Field(None, ge=1)
    """At most so many steps per network; None: as the training's preset says. A result with fewer says so."""
    training: TrainingSettings = TrainingSettings()
    """Of every network; data, categories and start follow from the variant."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """Of all of them; shards and rows follow."""
    out_dir: Path = Path("outputs/ablation")


@dataclass(frozen=True, slots=True)
class _Variant:
    data: Literal["shards", "fitted", "true of fitted"]
    categories: NumCategories = 8
    use_weights: bool = True


_VARIANTS: Final[dict[str, _Variant]] = {
    "sahmr_8": _Variant("shards"),
    "sahmr_432": _Variant("shards", 432),
    "sahmr_1": _Variant("shards", 1),
    "fitted": _Variant("fitted"),
    "fitted_unweighted": _Variant("fitted", use_weights=False),
    "fitted_true": _Variant("true of fitted"),
}


def run_ablation(settings: AblationSettings) -> Evaluation:
    """Train what is not trained yet, measure, write `ablation.md` beside the evaluation's files.

    Raises:
        DataMissing: shards are not there.
        DataInvalid: shards are not what they should be, or a folder holds a training of another kind.
        FittingFailed: a training ended without a usable network.
    """
    require_shards(settings)
    rows: dict[str, Path] = {}
    for name in settings.variants:
        training = variant_settings(settings, name)
        for stage in stages_to_train(training):
            logger.info("%s: %s", name, stage)
            train_stage(training, stage)
        rows[name] = weights_path(training, "mesh")
        if "metro" in training.stages:
            rows["metro"] = weights_path(training, "metro")
    measured = settings.evaluation.model_copy(
        update={
            "train": None,
            "rows": rows,
            "shards": settings.shards,
            "out_dir": settings.out_dir,
            "name": "evaluation",
        }
    )
    evaluation = evaluate(measured)
    lines = [markdown(evaluation)]
    if found := costs(measured):
        lines += ["## What each choice costs", ""]
        lines.append("| choice | metric | difference, same samples | 95 % by recording |")
        lines.append("| --- | --- | ---: | ---: |")
        lines += [f"| {' | '.join(row)} |" for row in found]
    lines += ["", steps_line(settings), *weights_lines(settings), ""]
    write_text(settings.out_dir / REPORT, "\n".join(lines))
    return evaluation


def require_shards(settings: AblationSettings) -> None:
    """Fail at once where a variant has nothing to train on.

    Raises:
        DataMissing: shards or the truth of the fitted recordings are not there.
    """
    wanted = [(settings.shards, _MAKE_TRUTH)]
    if any(_VARIANTS[name].data != "shards" for name in settings.variants):
        wanted.append((settings.fitted, _MAKE_FITS))
    if "fitted_true" in settings.variants:
        wanted.append((settings.truth, "make pseudo-gt"))
    for folder, command in wanted:
        if not folder.is_dir():
            raise DataMissing(
                "the ablation has nothing to train on here",
                where=folder,
                fix=f"run `{command}`, or give the folder, or leave those variants out",
            )


def variant_settings(settings: AblationSettings, name: VariantName) -> TrainingSettings:
    """The training of one variant; writes the shards of `fitted_true` if they are not there.

    Raises:
        DataMissing: fits or their truth are not there.
    """
    variant, base = _VARIANTS[name], settings.training
    data: DataSettings = base.data.model_copy(
        update={
            "shards": _data_of(settings, variant),
            "selection": base.data.selection.model_copy(update={"use_weights": variant.use_weights}),
        }
    )
    runs = settings.out_dir / "runs"
    stages: tuple[StageName, ...] = ("start", "rcnet", "mesh")
    start = base.start_from
    if name == "sahmr_8":
        stages = (*stages, "metro")
    elif variant.data == "shards" and start.metro is None and "sahmr_8" in settings.variants:
        start = StartSettings(metro=runs / "sahmr_8" / "start" / "best.safetensors")
    update = {
        "out_dir": runs,
        "name": name,
        "data": data,
        "categories": variant.categories,
        "stages": stages,
        "start_from": start,
    }
    for stage in ("start", "rcnet", "mesh", "metro"):
        own = getattr(base, stage)
        if settings.steps is not None and own is not None:
            fewer = min(settings.steps, own.steps or settings.steps)
            update[stage] = own.model_copy(update={"steps": fewer})
    return base.model_copy(update=update)


def _data_of(settings: AblationSettings, variant: _Variant) -> Path:
    if variant.data == "true of fitted":
        return write_true_of_fits(
            settings.fitted, settings.truth, settings.out_dir / "shards-true-of-fitted"
        )
    return settings.shards if variant.data == "shards" else settings.fitted


def costs(measured: EvaluationSettings) -> list[tuple[str, ...]]:
    """How much worse each choice makes the network, on the same samples."""
    ids, errors = read_sample_errors(measured.folder / SAMPLE_ERRORS)
    found: list[tuple[str, ...]] = []
    for choice, with_it, without in _QUESTIONS:
        if with_it not in errors or without not in errors:
            continue
        for key in _COMPARED:
            if key not in errors[with_it].values:
                continue
            cost = paired_difference(ids, errors[with_it], errors[without], key, measured.intervals)
            spread = "too few recordings"
            if cost.interval is not None:
                spread = " to ".join(f"{end:+.3g}" for end in cost.interval)
            found.append((choice, DEFINITIONS[key].title, f"{cost.value:+.3g} {cost.unit}", spread))
    return found


def weights_lines(settings: AblationSettings) -> list[str]:
    """How much the quality weights differ: where they do not, leaving them out changes nothing."""
    if not {"fitted", "fitted_unweighted"} <= set(settings.variants):
        return []
    weights = np.concatenate(
        [ShardReader(path).column("weight") for path in sorted(settings.fitted.glob("*.h5"))]
    )
    low, mean, high = float(weights.min()), float(weights.mean()), float(weights.max())
    same = " **All alike: the fits were not scored.**" if low == high else ""
    return ["", f"Quality weights of the fits: {low:.2f} to {high:.2f}, mean {mean:.2f}.{same}"]


def steps_line(settings: AblationSettings) -> str:
    """With how many steps the networks were trained."""
    told = []
    for stage in ("start", "rcnet", "mesh", "metro"):
        own = getattr(variant_settings(settings, settings.variants[0]), stage)
        if own is not None:
            told.append(f"{stage} {own.steps or 'by epochs'}")
    short = " **A shortened run: read nothing into it but that it works.**" if settings.steps else ""
    return f"Steps: {', '.join(told)}; preset {settings.training.preset}.{short}"
