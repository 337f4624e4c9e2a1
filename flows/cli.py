"""Verbs of the command line. Each is one line of the Makefile and one function here."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from flows.environment import configure_logging
from pipelines.disk import disk_failure
from pipelines.errors import OutputFailed, PipelineError, WorkerLost

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2


def run(arguments: Sequence[str]) -> int:
    """Parse, run the verb, and turn errors a user can mend into one message and an exit code.

    Returns:
        0 when all went well, 1 when a unit of work failed or a check found faults, 2 for wrong use.
    """
    options = _parser().parse_args(arguments)
    configure_logging(options.verbose)
    try:
        return int(options.verb(options))
    except PipelineError as error:
        if options.verbose:
            raise
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return EXIT_FAILED if isinstance(error, OutputFailed | WorkerLost) else EXIT_USAGE
    except OSError as error:
        told = disk_failure(error)
        if options.verbose or told is None:
            raise
        sys.stderr.write(f"{type(told).__name__}: {told}\n")
        return EXIT_FAILED
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; run the same command again to go on where it stopped\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prox-humor-gt", description="Pseudo ground truth for PROX, shards and networks of SA-HMR."
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="debug log and full tracebacks")
    verbs = parser.add_subparsers(required=True, metavar="verb")
    for name, function, text in (
        ("pseudo-gt", _pseudo_gt, "regenerate the ground truth and print the table"),
        ("shards", _shards, "write training shards of a finished run, or of true bodies"),
        ("marker-errors", _marker_errors, "fits of a run on PROX quantitative against marker capture"),
        ("moved-scenes", _moved_scenes, "rooms of a PROX tree without what was moved after the scan"),
        ("egobody-capture", _egobody_capture, "prepare one person of EgoBody to be fitted"),
        ("report", _report, "write one page about a finished run: tables, worst frames, 3D view"),
        ("all", _all, "pseudo-gt, shards, train, evaluate, report, one after another"),
        ("demo", _demo, "the same, small, on the embedded data; ends with the report's path"),
        ("plan", _plan, "what a command would run, why, and what it takes: plan [command] key=value"),
        ("status", _status, "how far a run is: status [command] key=value, or status <folder>"),
        ("synthesise", _synthesise, "only write the synthetic PROX tree"),
        ("init", _init, "check one's own capture and write it as a tree; a page says what is wrong"),
        ("capture-example", _capture_example, "write a small capture of one's own, to try init on"),
        ("doctor", _doctor, "say what is present, missing or broken"),
        ("train-priors", _train_priors, "train the shipped priors again"),
        ("calibrate-quality", _calibrate_quality, "make the shipped error model of the scores again"),
        ("train", _train, "train SA-HMR and METRO on shards; goes on where it stopped"),
        ("evaluate", _evaluate, "measure trained networks on held-out shards, in the paper's table"),
        (
            "export-shards",
            _export_shards,
            "shards as AMASS npz, PROXD pickles or SA-HMR's files: to=amass",
        ),
        ("look", _look, "draw samples of shards: a contact sheet, and one sample in 3D"),
        ("ablation", _ablation, "train and measure contact categories, quality weights, true bodies"),
        ("predict", _predict, "SA-HMR on one image: body, contact, overlay picture, GLB"),
        ("server", _server, "run a Prefect server here: pages, schedules, history of runs"),
        ("worker", _worker, "run a worker here that executes what the server schedules"),
        ("deploy", _deploy, "put flows and their schedules on the server"),
        ("schedule-check", _schedule_check, "prove that scheduled runs exist and are executed"),
        ("close-zombies", _close_zombies, "close runs on the server whose process is gone"),
        ("settings", _settings, "print settings as YAML: settings [command] key=value; alone: of all"),
    ):
        verb = verbs.add_parser(name, help=text, description=text)
        verb.add_argument("--config", type=Path, help="YAML that overrides the defaults")
        verb.add_argument("overrides", nargs="*", metavar="key=value", help="single settings")
        verb.set_defaults(verb=function)
    verb = verbs.add_parser("compare", help="compare two metric reports")
    verb.add_argument("first", type=Path)
    verb.add_argument("second", type=Path)
    verb.set_defaults(verb=_compare)
    verb = verbs.add_parser("survey", help="say which data set a folder holds, and what of it")
    verb.add_argument("folder", type=Path)
    verb.add_argument("--body-models", type=Path, help="licensed SMPL-X files; default: the stand-in")
    verb.add_argument("--full", action="store_true", help="look at everyone instead of a few")
    verb.set_defaults(verb=_survey)
    verb = verbs.add_parser("verify", help="check every byte of shards; name damaged samples")
    verb.add_argument("folder", type=Path, help="a set of shards, or a folder of sets")
    verb.add_argument("--quarantine", action="store_true", help="move damaged shards aside")
    verb.set_defaults(verb=_verify)
    verb = verbs.add_parser("migrate-shards", help="carry shards over to the present schema version")
    verb.add_argument("folder", type=Path, help="a set of shards, or a folder of sets")
    verb.set_defaults(verb=_migrate_shards)
    return parser


def _pseudo_gt(options: argparse.Namespace) -> int:
    from flows.pseudo_gt import run_pseudo_gt

    return EXIT_OK if run_pseudo_gt(_load(options)) else EXIT_FAILED


def _shards(options: argparse.Namespace) -> int:
    from flows.shards import run_shards
    from pipelines.config import load_settings
    from pipelines.shards.settings import ShardsSettings

    settings = load_settings(ShardsSettings, options.config, options.overrides)
    return EXIT_OK if run_shards(settings) else EXIT_FAILED


def _marker_errors(options: argparse.Namespace) -> int:
    from pipelines.config import load_settings
    from pipelines.marker_report import MarkerErrorSettings, measure_marker_errors

    settings = load_settings(MarkerErrorSettings, options.config, options.overrides)
    sys.stdout.write(measure_marker_errors(settings))
    return EXIT_OK


def _moved_scenes(options: argparse.Namespace) -> int:
    from pipelines.config import load_settings
    from pipelines.moved_scenes import MovedScenesSettings, write_moved_scenes

    settings = load_settings(MovedScenesSettings, options.config, options.overrides)
    write_moved_scenes(settings, progress=sys.stderr.isatty())
    sys.stdout.write(f'use it: make pseudo-gt SET="... prox.edited_scenes={settings.out_dir}"\n')
    return EXIT_OK


def _egobody_capture(options: argparse.Namespace) -> int:
    from pipelines.config import load_settings
    from pipelines.egobody_capture import EgobodyCaptureSettings, prepare_egobody

    settings = load_settings(EgobodyCaptureSettings, options.config, options.overrides)
    report = prepare_egobody(settings, progress=sys.stderr.isatty())
    sys.stdout.write(report.to_text())
    return EXIT_OK if report.ok else EXIT_FAILED


def _report(options: argparse.Namespace) -> int:
    from flows.report import run_report
    from pipelines.config import load_settings
    from pipelines.report.settings import ReportSettings

    settings = load_settings(ReportSettings, options.config, options.overrides)
    return EXIT_OK if run_report(settings) else EXIT_FAILED


def _all(options: argparse.Namespace) -> int:
    from flows.all_stages import AllSettings, run_all
    from pipelines.config import load_settings

    settings = load_settings(AllSettings, options.config, options.overrides)
    return EXIT_OK if run_all(settings) else EXIT_FAILED


def _demo(options: argparse.Namespace) -> int:
    from flows.all_stages import run_all
    from flows.commands import demo_settings

    return EXIT_OK if run_all(demo_settings(options.config, options.overrides)) else EXIT_FAILED


def _plan(options: argparse.Namespace) -> int:
    from flows.commands import command_and_settings
    from pipelines.progress.plan_text import print_plan, print_sum

    command, settings = command_and_settings(options.overrides, options.config)
    plans = command.plan(settings)
    for name, plan in plans.items():
        print_plan(plan, title=name)
    if len(plans) > 1:
        print_sum(list(plans.values()))
    return EXIT_OK


def _status(options: argparse.Namespace) -> int:
    from flows.commands import status_of
    from pipelines.progress.status_text import print_status

    status = status_of(options.overrides, options.config)
    print_status(status)
    return EXIT_FAILED if status.failed else EXIT_OK


def _synthesise(options: argparse.Namespace) -> int:
    from pipelines.pseudo_gt.data import data_source, list_recordings, prepare_recording

    settings = _load(options)
    data = data_source(settings)
    for recording in list_recordings(settings, data):
        prepare_recording(settings, data, recording, progress=sys.stderr.isatty())
    sys.stdout.write(f"{data.prox_root}\n")
    return EXIT_OK


def _init(options: argparse.Namespace) -> int:
    from pipelines.capture.produce import init_capture
    from pipelines.capture.settings import CaptureSettings
    from pipelines.config import load_settings

    # Paths in a capture's own file start where that file lies.
    start = [f"folder={options.config.parent}"] if options.config is not None else []
    settings = load_settings(CaptureSettings, options.config, [*start, *options.overrides])
    report = init_capture(settings, progress=sys.stderr.isatty())
    sys.stdout.write(report.to_text())
    return EXIT_OK if report.ok else EXIT_FAILED


def _capture_example(options: argparse.Namespace) -> int:
    from pipelines.bodies.files import resolve_body_files
    from pipelines.config import load_settings
    from pipelines.other_trees.capture import CaptureExampleSettings, write_capture_example

    settings = load_settings(CaptureExampleSettings, options.config, options.overrides)
    sys.stdout.write(f"{write_capture_example(settings, resolve_body_files(None))}\n")
    return EXIT_OK


def _doctor(options: argparse.Namespace) -> int:
    from pipelines.bodies.files import resolve_body_files
    from pipelines.other_datasets.survey import survey_of_stranger
    from pipelines.pseudo_gt.check import check_inputs

    settings = _load(options)
    if settings.prox.root is not None:
        files = resolve_body_files(settings.body_models)
        stranger = survey_of_stranger(settings.prox.root, settings.prox.split, files)
        if stranger is not None:
            sys.stdout.write(
                f"prox.root is no tree of PROX {settings.prox.split}\n{stranger.to_text()}\n"
            )
            return EXIT_OK if stranger.ok else EXIT_FAILED
    report = check_inputs(settings)
    sys.stdout.write(report.to_text() + "\n")
    return EXIT_OK if report.ok else EXIT_FAILED


def _train_priors(options: argparse.Namespace) -> int:
    from pipelines.config import load_settings
    from pipelines.prior_training import PriorTrainingSettings, train_shipped_priors

    settings = load_settings(PriorTrainingSettings, options.config, options.overrides)
    sys.stdout.write(f"{train_shipped_priors(settings)}\n")
    return EXIT_OK


def _export_shards(options: argparse.Namespace) -> int:
    from pipelines.config import load_settings
    from pipelines.shards.exports.run import ExportShardsSettings, export_shards

    settings = load_settings(ExportShardsSettings, options.config, options.overrides)
    sys.stdout.write(f"{export_shards(settings)}\n")
    return EXIT_OK


def _look(options: argparse.Namespace) -> int:
    from pipelines.config import load_settings
    from pipelines.shards.look.produce import LookSettings, look_at_shards

    for path in look_at_shards(load_settings(LookSettings, options.config, options.overrides)):
        sys.stdout.write(f"{path}\n")
    return EXIT_OK


def _calibrate_quality(options: argparse.Namespace) -> int:
    from pipelines.config import load_settings
    from pipelines.quality.calibrate import CalibrateQualitySettings, calibrate_quality

    settings = load_settings(CalibrateQualitySettings, options.config, options.overrides)
    sys.stdout.write(calibrate_quality(settings))
    return EXIT_OK


def _predict(options: argparse.Namespace) -> int:
    from pipelines.config import load_settings
    from sahmr.prediction_files import PredictionSettings, predict_files

    settings = load_settings(PredictionSettings, options.config, options.overrides)
    sys.stdout.write(f"{predict_files(settings)}\n")
    return EXIT_OK


def _train(options: argparse.Namespace) -> int:
    from flows.train import run_training
    from pipelines.config import load_settings
    from sahmr.training.settings import TrainingSettings

    settings = load_settings(TrainingSettings, options.config, options.overrides)
    return EXIT_OK if run_training(settings) else EXIT_FAILED


def _evaluate(options: argparse.Namespace) -> int:
    from flows.evaluate import run_evaluation
    from pipelines.config import load_settings
    from sahmr.evaluation.settings import EvaluationSettings

    settings = load_settings(EvaluationSettings, options.config, options.overrides)
    return EXIT_OK if run_evaluation(settings) else EXIT_FAILED


def _ablation(options: argparse.Namespace) -> int:
    from flows.ablation import run_ablation_flow
    from pipelines.config import load_settings
    from sahmr.ablation import AblationSettings

    settings = load_settings(AblationSettings, options.config, options.overrides)
    return EXIT_OK if run_ablation_flow(settings) else EXIT_FAILED


def _survey(options: argparse.Namespace) -> int:
    from pipelines.bodies.files import resolve_body_files
    from pipelines.other_datasets.survey import survey

    found = survey(options.folder, resolve_body_files(options.body_models), full=options.full)
    sys.stdout.write(found.to_text() + "\n")
    return EXIT_OK if found.ok else EXIT_FAILED


def _settings(options: argparse.Namespace) -> int:
    from flows.commands import COMMANDS, command_and_settings
    from pipelines.config import settings_yaml

    if options.overrides or options.config is not None:
        _, settings = command_and_settings(options.overrides, options.config)
        sys.stdout.write(settings_yaml(settings))
        return EXIT_OK
    for name in COMMANDS:
        if name != "all":
            _, settings = command_and_settings([name], None)
            sys.stdout.write(f"# python -m flows settings {name}\n---\n{settings_yaml(settings)}\n")
    return EXIT_OK


def _compare(options: argparse.Namespace) -> int:
    from pipelines.metrics.compare import compare_files

    sys.stdout.write(compare_files(options.first, options.second) + "\n")
    return EXIT_OK


def _verify(options: argparse.Namespace) -> int:
    from pipelines.shards.verify import verify_shards

    report = verify_shards(options.folder, quarantine=options.quarantine)
    sys.stdout.write(report.to_text() + "\n")
    return EXIT_OK if report.ok else EXIT_FAILED


def _migrate_shards(options: argparse.Namespace) -> int:
    from pipelines.shards.migrate import migrate_shards

    sys.stdout.write(f"{migrate_shards(options.folder)} shards carried over\n")
    return EXIT_OK


def _server(options: argparse.Namespace) -> int:
    from flows.deploy.service import start_server

    start_server(_daily(options).server)
    return EXIT_FAILED


def _worker(options: argparse.Namespace) -> int:
    settings = _with_server(options)
    from flows.deploy.service import start_worker
    from flows.deploy.zombies import close_zombies_of_before

    close_zombies_of_before(settings.silent_after_s)
    start_worker(settings)
    return EXIT_FAILED


def _deploy(options: argparse.Namespace) -> int:
    settings = _with_server(options)
    from flows.deploy.deployments import deploy
    from flows.deploy.zombies import close_zombies

    lines = deploy(settings)
    close_zombies(settings.silent_after_s)
    sys.stdout.write("\n".join([*lines, f"run forms: {settings.server.address}/deployments"]) + "\n")
    return EXIT_OK


def _schedule_check(options: argparse.Namespace) -> int:
    settings = _with_server(options)
    from flows.deploy.schedule_check import check_schedules

    sys.stdout.write("\n".join(check_schedules(settings)) + "\n")
    return EXIT_OK


def _close_zombies(options: argparse.Namespace) -> int:
    settings = _with_server(options)
    from flows.deploy.zombies import close_zombies

    sys.stdout.write(f"{len(close_zombies(settings.silent_after_s))} run(s) closed\n")
    return EXIT_OK


def _daily(options: argparse.Namespace):  # type: ignore[no-untyped-def]
    from flows.deploy.settings import DailySettings
    from pipelines.config import load_settings

    return load_settings(DailySettings, options.config, options.overrides)


def _with_server(options: argparse.Namespace):  # type: ignore[no-untyped-def]
    """Settings, once their server answers; Prefect, imported afterwards, then speaks to it."""
    from flows.deploy.service import require_server, use_server

    settings = _daily(options)
    require_server(settings.server)
    use_server(settings.server)
    return settings


def _load(options: argparse.Namespace):  # type: ignore[no-untyped-def]
    from pipelines.config import load_settings
    from pipelines.pseudo_gt.settings import PseudoGtSettings

    return load_settings(PseudoGtSettings, options.config, options.overrides)
