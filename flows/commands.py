"""The commands that work through stages: the settings of each, where its results go, and its plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flows.all_stages import AllSettings
from pipelines.config import Settings, load_settings
from pipelines.errors import SettingsInvalid
from pipelines.progress.plan import Plan, plan_run
from pipelines.progress.plan_report import plan_report_run, reckon_report
from pipelines.progress.plan_shards import plan_shards_run, reckon_shards
from pipelines.progress.status import RunStatus, expected_recordings, run_status
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.report.settings import ReportSettings
from pipelines.shards.settings import ShardsSettings
from sahmr.evaluation.plan import plan_evaluation, reckon_evaluation
from sahmr.evaluation.settings import EvaluationSettings
from sahmr.training.plan import plan_training, reckon_training
from sahmr.training.settings import TrainingSettings

DEMO_CONFIG: Final = Path(__file__).resolve().parent.parent / "configs" / "demo.yaml"


@dataclass(frozen=True, slots=True)
class Command:
    """A verb with stages."""

    record: type[Settings]
    folder: Callable[[Any], Path]
    """Of the results."""
    plan: Callable[[Any], Mapping[str, Plan]]
    """By verb."""


def plan_all(settings: AllSettings) -> dict[str, Plan]:
    """Plans of all stages; what comes after stages that will run is reckoned from the frames to come."""
    fits = plan_run(settings.pseudo_gt)
    frames = sum({stage.unit: stage.amount for stage in fits.stages}.values())
    files = reckon_shards(settings.shards, frames) if fits.open else plan_shards_run(settings.shards)
    networks = reckon_training(settings.train, frames) if files.open else plan_training(settings.train)
    table = (
        reckon_evaluation(settings.evaluate, frames)
        if networks.open
        else plan_evaluation(settings.evaluate)
    )
    page = reckon_report(settings.report, frames) if fits.open else plan_report_run(settings.report)
    return {"pseudo-gt": fits, "shards": files, "train": networks, "evaluate": table, "report": page}


COMMANDS: Final[Mapping[str, Command]] = {
    "pseudo-gt": Command(PseudoGtSettings, lambda s: s.run_dir, lambda s: {"pseudo-gt": plan_run(s)}),
    "shards": Command(ShardsSettings, lambda s: s.folder, lambda s: {"shards": plan_shards_run(s)}),
    "train": Command(TrainingSettings, lambda s: s.run_dir, lambda s: {"train": plan_training(s)}),
    "evaluate": Command(
        EvaluationSettings, lambda s: s.folder, lambda s: {"evaluate": plan_evaluation(s)}
    ),
    "report": Command(ReportSettings, lambda s: s.folder, lambda s: {"report": plan_report_run(s)}),
    "all": Command(AllSettings, lambda s: s.pseudo_gt.run_dir, plan_all),
}
"""By verb; `demo` is `all` with the settings of `configs/demo.yaml`."""


def command_and_settings(words: Sequence[str], config: Path | None) -> tuple[Command, Settings]:
    """`[verb] key=value ...` -> the verb, `pseudo-gt` where none is named, and its settings.

    Raises:
        SettingsInvalid: no such verb, or wrong settings.
    """
    name, overrides = "pseudo-gt", list(words)
    if overrides and "=" not in overrides[0]:
        name = overrides.pop(0)
    if name == "demo":
        return COMMANDS["all"], demo_settings(config, overrides)
    if name not in COMMANDS:
        raise SettingsInvalid("no such command", expected=", ".join([*COMMANDS, "demo"]), found=name)
    command = COMMANDS[name]
    return command, load_settings(command.record, config, overrides)


def demo_settings(config: Path | None, overrides: Sequence[str]) -> AllSettings:
    """The settings of `configs/demo.yaml`, or of the user's own file."""
    return load_settings(AllSettings, DEMO_CONFIG if config is None else config, overrides)


def status_of(words: Sequence[str], config: Path | None) -> RunStatus:
    """How far a run is, given by its folder or as `command_and_settings`.

    Raises:
        DataMissing: there is no such folder.
        SettingsInvalid: no such verb, or wrong settings.
    """
    if len(words) == 1 and "=" not in words[0] and words[0] not in (*COMMANDS, "demo"):
        return run_status(Path(words[0]))
    command, settings = command_and_settings(words, config)
    expected = expected_recordings(settings) if isinstance(settings, PseudoGtSettings) else ()
    return run_status(command.folder(settings), expected)
