"""The HuMoR fit: our solver beside the official optimiser, on one window, with and without scene terms.

Both see the same frames and the same energies and are judged by one function, HuMoR's own last energy on
every depth point (`official_energy`). The official optimiser (torch's L-BFGS, 30/70/70 outer steps) profits
here from our exact nearest-neighbour search and the 22-joint body; HuMoR's own code needs several times as
long for the same steps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.table import BenchmarkTable, Cell
from pipelines.artifacts import read_npz
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import load_smplh
from pipelines.bodies.track import pose_track, truth_track
from pipelines.fitting.humor import fit_humor, rows_of
from pipelines.fitting.official_energy import OfficialEnergy, last_stage, official_energy
from pipelines.fitting.prediction import FitModels
from pipelines.fitting.settings import HumorSettings, SolverSettings, StageSettings
from pipelines.fitting.side_swaps import with_sides_mended
from pipelines.fitting.variables import from_arrays
from pipelines.fitting.window_data import gather_windows
from pipelines.fitting.windows import cut_windows
from pipelines.motion_prior.checkpoint import Priors
from pipelines.pseudo_gt.data import data_source, prepare_recording
from pipelines.pseudo_gt.fit import RecordingJob
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.records import FittedSequence, SceneScan, SequenceObservations
from pipelines.synthetic.truth import read_truth

DESCRIPTION = "the fit of one window of a recording, our solver beside the official optimiser"
ROWS = {"prox_humor": "PROX+HuMoR", "humor": "HuMoR without scene terms"}
"""In this order, so that the first is timed from start to end; the second shares its first stages."""
ENERGY = "official energy"


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A few frames of a synthetic recording and the true bodies in them."""

    observations: SequenceObservations
    scene: SceneScan
    files: BodyFiles
    priors: Priors
    true_vertices_camera: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What one schedule reached, and at what cost."""

    energy: OfficialEnergy
    v2v_mm: float
    cpu_s_per_frame: float

    def numbers(self) -> dict[str, float]:
        """What the table shows, by label."""
        return {
            "V2V to truth (mm)": self.v2v_mm,
            "points with positive weight": float(self.energy.points_weighted.sum()),
            "CPU s per frame": self.cpu_s_per_frame,
            ENERGY: self.energy.total,
            **{f"  {term}": float(value.sum()) for term, value in self.energy.terms.items()},
        }


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What one schedule reached in each row."""

    rows: dict[str, Outcome]
    refined: tuple[float, float] | None
    """V2V (mm) and further CPU seconds per frame of the stages after stage 3, where there are any; the
    official energy knows only rolled-out motion."""


def add_options(parser: argparse._ArgumentGroup) -> None:
    """Which frames, and which schedules."""
    parser.add_argument("--of-preset", default="first-run", help="preset the recording belongs to")
    parser.add_argument("--recording", default="Lounge_00150_01", help="of that preset")
    parser.add_argument("--start", type=int, default=30, help="first frame")
    parser.add_argument("--frames", type=int, default=16, help="frames of the window, at most 60")
    parser.add_argument("--steps", type=float, default=1.0, help="share of the official outer steps")
    parser.add_argument("--ours-only", action="store_true", help="leave the official optimiser out")


def run(options: argparse.Namespace) -> BenchmarkTable:
    """Fit with both schedules and compare."""
    torch.set_num_threads(1)
    window = _load_window(options)
    results = {"ours": _fit(window, _short(HumorSettings(), options.frames))}
    if not options.ours_only:
        reference = _short(HumorSettings.reference(), options.frames)
        results["official optimiser"] = _fit(window, _fewer_steps(reference, options.steps))
    return _tabulate(options, window, results)


def _load_window(options: argparse.Namespace) -> Window:
    settings = PseudoGtSettings(out_dir=options.out / "data", preset=options.of_preset)
    data = data_source(settings)
    prepare_recording(settings, data, options.recording)
    assert data.truth_root is not None
    job = RecordingJob(settings, data, options.recording)
    frames = slice(options.start, options.start + options.frames)
    true_bodies = truth_track(read_truth(data.truth_root, options.recording), job.files)
    return Window(
        observations=with_sides_mended(job.observations.select(frames)),
        scene=job.scene,
        files=job.files,
        priors=job.priors,
        true_vertices_camera=true_bodies.vertices_camera[frames],
    )


def _short(settings: HumorSettings, num_frames: int) -> HumorSettings:
    """Give short windows HuMoR's factor of `init_motion_prior`: both minimise what is measured."""
    scale = last_stage(num_frames).init_motion_scale

    def change(stage: StageSettings) -> StageSettings:
        whole = stage.kind == "motion" and stage.num_frames is None
        return stage.model_copy(update={"init_motion_scale": scale}) if whole else stage

    return settings.model_copy(update={"stages": tuple(change(stage) for stage in settings.stages)})


def _fewer_steps(settings: HumorSettings, share: float) -> HumorSettings:
    def change(stage: StageSettings) -> StageSettings:
        solver: SolverSettings = stage.solver
        steps = max(1, round(share * solver.steps))
        return stage.model_copy(update={"solver": solver.model_copy(update={"steps": steps})})

    return settings.model_copy(update={"stages": tuple(change(stage) for stage in settings.stages)})


def _fit(window: Window, settings: HumorSettings) -> Result:
    """Each row takes up the checkpoints of those before, so its time is what it adds."""
    last = settings.motion_stages[-1].name
    outcomes, refined = {}, None
    with TemporaryDirectory() as name:
        folder, known = Path(name), set[Path]()
        for row in ROWS:
            fitted, spent = _fit_row(window, settings, row, folder)
            (checkpoint,) = set(folder.glob(f"stage_{last}-*.npz")) - known
            known.add(checkpoint)
            energy = judge(window, settings, read_npz(checkpoint))
            outcomes[row] = Outcome(energy, _v2v_mm(window, fitted), spent)
        if settings.pose_stages:
            fitted, spent = _fit_row(window, settings, rows_of(settings)[-1], folder)
            refined = (_v2v_mm(window, fitted), spent)
    return Result(outcomes, refined)


def _fit_row(
    window: Window, settings: HumorSettings, row: str, folder: Path
) -> tuple[FittedSequence, float]:
    """One row, and the CPU seconds per frame it took."""
    started = time.process_time()
    fitted = fit_humor(
        window.observations, window.scene, window.files, window.priors, settings, folder, rows=(row,)
    )[row]
    return fitted, (time.process_time() - started) / len(fitted.status)


def _v2v_mm(window: Window, fitted: FittedSequence) -> float:
    vertices = pose_track(fitted, window.files).vertices_camera
    return 1000 * float(np.linalg.norm(vertices - window.true_vertices_camera, axis=-1).mean())


def judge(window: Window, settings: HumorSettings, arrays: Mapping[str, np.ndarray]) -> OfficialEnergy:
    """The official energy of a checkpoint's variables, in double precision."""
    observations, double = window.observations, torch.float64
    gender = observations.gender if settings.gender == "subject" else "neutral"
    priors = window.priors.to(double)
    models = FitModels(
        body=load_smplh(window.files, gender, settings.num_betas, double),
        pose=priors.pose,
        motion=priors.motion,
        initial_state=priors.initial_state,
        heading="acos",
    )
    windows = cut_windows(observations.segment_id, settings.windows)
    data = gather_windows(observations, windows, double)
    return official_energy(models, data, from_arrays(arrays, double))


def _tabulate(
    options: argparse.Namespace, window: Window, results: Mapping[str, Result]
) -> BenchmarkTable:
    rows: list[tuple[Cell, ...]] = []
    for row, title in ROWS.items():
        columns = [result.rows[row].numbers() for result in results.values()]
        rows.append((title, *("" for _ in columns), *_compared(len(columns), "")))
        for label in columns[0]:
            cells = [numbers[label] for numbers in columns]
            rows.append((f"  {label}", *cells, *_compared(len(columns), _against(label, cells))))
    header = ["", *results, *_compared(len(results), "ours against it")]
    observed = int(results["ours"].rows["humor"].energy.points_observed.sum())
    refined = [
        f"{name}, refined free of the roll-out: V2V {result.refined[0]:.1f} mm, "
        f"{result.refined[1]:.2f} CPU s per frame on top of {ROWS['prox_humor']}."
        for name, result in results.items()
        if result.refined is not None
    ]
    last = options.start + options.frames - 1
    return BenchmarkTable(
        name="fitting",
        title=f"The HuMoR fit of {options.recording}, frames {options.start}-{last}",
        columns=tuple(header),
        rows=tuple(rows),
        notes=(
            f"{observed} depth points in all. Energies leave the scene terms out, also where they were "
            "minimised.",
            f"CPU s of {ROWS['humor']}: what it takes on top of the row above, sharing the first stages.",
            *refined,
        ),
        conditions={
            "preset": options.of_preset,
            "recording": options.recording,
            "frames": [options.start, options.start + len(window.observations.frame_names)],
            "share of the official outer steps": options.steps,
            "priors": dict(window.priors.provenance),
        },
    )


def _compared(num_schedules: int, cell: str) -> tuple[str, ...]:
    """A cell of the last column, where there is anything to compare."""
    return (cell,) if num_schedules == 2 else ()


def _against(label: str, cells: Sequence[float]) -> str:
    """Energies may be negative, so they are compared by their difference, all else by the ratio."""
    ours, theirs = cells[0], cells[-1]
    is_energy = label == ENERGY or label.startswith(" ")
    return f"{ours - theirs:+.4g}" if is_energy else f"x {ours / theirs:.3f}"
