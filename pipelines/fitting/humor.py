"""The HuMoR fit of one recording: windows, stages, rows of the table, checkpoints.

    fits = fit_humor(observations, scene, files, priors, HumorSettings(), checkpoint_dir)
    fits["vposer_t"]      # stages 1-2
    fits["humor"]         # stages 3a-3c, official terms
    fits["prox_humor"]    # stages 3a-3c with PROX's scene terms
    fits["refined"]       # then every frame near that motion, but free of the roll-out

Rows share every stage that is the same for them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import load_smplh
from pipelines.bodies.parts import contact_labels_smplh
from pipelines.errors import DataInvalid, FittingFailed
from pipelines.fitting.frame_curvature import FrameCurvature
from pipelines.fitting.hand_over import Layout, cut_frame_variables, neighbour_targets
from pipelines.fitting.initialise import start_variables
from pipelines.fitting.motion_curvature import MotionCurvature
from pipelines.fitting.objective import StageObjective, require_data
from pipelines.fitting.prediction import (
    FitModels,
    predict_frames,
    predict_motion,
    predict_poses,
    start_motion,
)
from pipelines.fitting.refine import pose_data, pose_variables
from pipelines.fitting.settings import HumorSettings, StageSettings, WindowSettings
from pipelines.fitting.side_swaps import with_sides_mended
from pipelines.fitting.solver import StageResult, minimise
from pipelines.fitting.stage_state import StageState, hash_inputs, read_state, write_state
from pipelines.fitting.variables import Variables, all_finite
from pipelines.fitting.window_data import (
    gather_scene,
    gather_windows,
)
from pipelines.fitting.windows import Window, WindowFit, cut_windows, stitch_windows
from pipelines.geometry.rotations import rotmat_to_rotvec
from pipelines.motion_prior.canonical import parse_floor
from pipelines.motion_prior.checkpoint import Priors
from pipelines.records import (
    FRAME_OK,
    FittedSequence,
    FrameStatus,
    SceneScan,
    SequenceObservations,
    SmplhParameters,
)

LOGGER = logging.getLogger(__name__)

ROWS = ("vposer_t", "humor", "prox_humor", "refined")
"""What a fit can end with, from least to most; `refined` needs stages of kind `poses`."""


def fit_humor(
    observations: SequenceObservations,
    scene: SceneScan | None,
    files: BodyFiles,
    priors: Priors,
    settings: HumorSettings,
    checkpoint_dir: Path | None = None,
    rows: Sequence[str] | None = None,
) -> dict[str, FittedSequence]:
    """Fit one recording; every frame gets a result and a status.

    Args:
        observations: what the camera saw.
        scene: the scanned room; may be None when no row needs it.
        files: body models.
        priors: motion, pose and initial-state priors.
        settings: stages, windows, options.
        checkpoint_dir: a stage's result is kept here and taken up again by a later run with the same
            inputs; None keeps nothing.
        rows: which of `ROWS` to make; None = all that the settings have stages for.

    Raises:
        DataInvalid: observations that count are not finite, or nothing was observed at all.
        SettingsInvalid: a weighted term has nothing to compare with.
        FittingFailed: no window could be fitted.
    """
    recording = _Recording(observations, scene, files, priors, settings, checkpoint_dir)
    return {row: recording.fit(row) for row in rows or rows_of(settings)}


def rows_of(settings: HumorSettings) -> tuple[str, ...]:
    """Rows that these settings have stages for; the last one is the result."""
    return ROWS if settings.pose_stages else ROWS[:-1]


class _Recording:
    """One recording's windows, and the stages run on them so far."""

    def __init__(
        self,
        observations: SequenceObservations,
        scene: SceneScan | None,
        files: BodyFiles,
        priors: Priors,
        settings: HumorSettings,
        checkpoint_dir: Path | None,
    ) -> None:
        if settings.mend_side_swaps:
            observations = with_sides_mended(observations)
        self.observations, self.settings, self.checkpoint_dir = observations, settings, checkpoint_dir
        dtype = torch.float64 if settings.precision == "float64" else torch.float32
        self.gender = observations.gender if settings.gender == "subject" else "neutral"
        working = priors if next(priors.motion.parameters()).dtype == dtype else priors.to(dtype)
        self.models = FitModels(
            body=load_smplh(files, self.gender, settings.num_betas, dtype),
            pose=working.pose.requires_grad_(False).eval(),
            motion=working.motion.requires_grad_(False).eval(),
            initial_state=working.initial_state,
            heading=settings.heading,
        )
        self.motion_layout = self._layout(settings.windows, settings.windows_at_once, dtype)
        self.frame_layout = self.motion_layout
        if settings.windows.frame_stages == "segments":
            runs = settings.windows.model_copy(update={"length": settings.windows.run_length})
            self.frame_layout = self._layout(runs, 1, dtype)
        self.data = self.motion_layout.data
        if not self.data.seen.any():
            raise DataInvalid(
                "the person is seen in no frame: neither keypoints nor depth points",
                where=observations.recording,
                fix="check the keypoints and masks of this recording with `doctor`",
            )
        self.scene = None
        if scene is not None:
            contact = contact_labels_smplh(files) > 0
            self.scene = gather_scene(
                scene, observations.T_world_from_camera, contact, self.models.body.faces, dtype
            )
        self.pose_layout: Layout | None = None
        self.roll_out: FittedSequence | None = None
        self._states: dict[str, StageState] = {}
        self._input_hash = hash_inputs(observations, scene, priors, settings, self.gender)

    def _layout(self, settings: WindowSettings, at_once: int, dtype: torch.dtype) -> Layout:
        windows = cut_windows(self.observations.segment_id, settings)
        if not windows:
            raise DataInvalid(
                "no frame is left to fit",
                where=self.observations.recording,
                fix="lower humor.windows.trim_frames",
            )
        return Layout(windows, gather_windows(self.observations, windows, dtype), at_once)

    def layout(self, kind: str) -> Layout:
        """Windows of a stage of this kind."""
        if kind == "poses":
            assert self.pose_layout is not None  # made when stage 3 is done
            return self.pose_layout
        return self.motion_layout if kind == "motion" else self.frame_layout

    def fit(self, row: str) -> FittedSequence:
        """Run the row's stages that were not run yet, and stitch."""
        stages = list(self.settings.frame_stages)
        if row != "vposer_t":
            scene_terms = row != "humor"
            stages += [
                stage if scene_terms else stage.without_scene() for stage in self.settings.motion_stages
            ]
        if row == "refined":
            stages += self.settings.pose_stages
        for stage in stages:
            data = self.frame_layout.data if stage.kind == "poses" else self.layout(stage.kind).data
            require_data(stage, data, self.scene)
        state = self._start()
        done: list[StageSettings] = []
        for stage in stages:
            if stage.kind == "poses" and done[-1].kind == "motion":
                state = self._leave_roll_out(state)
            done.append(stage)
            state = self._after(done, state)
        self._require_usable(state)
        return self._stitch(row, stages[-1].kind, state)

    def _start(self) -> StageState:
        if "start" not in self._states:
            data = self.frame_layout.data
            variables = start_variables(self.models, data, self.settings.initialisation)
            self._states["start"] = StageState(variables, {}, ~data.seen.numpy())
        return self._states["start"]

    def _after(self, done: list[StageSettings], before: StageState) -> StageState:
        """State after the last of the stages `done`: remembered, read from a checkpoint, or made."""
        key = sha256(
            "\n".join([self._input_hash, *(stage.canonical_json() for stage in done)]).encode()
        ).hexdigest()
        if key in self._states:
            return self._states[key]
        stage = done[-1]
        path = None
        if self.checkpoint_dir is not None:
            path = self.checkpoint_dir / f"stage_{stage.name}-{key[:16]}.npz"
        state = None if path is None else read_state(path, key, self.data.K.dtype)
        if state is None:
            state = self._run(stage, before)
            if path is not None:
                write_state(path, key, state)
        self._states[key] = state
        return state

    def _run(self, stage: StageSettings, before: StageState) -> StageState:
        if stage.kind == "motion" and "latent_motion" not in before.variables:
            before = self._hand_over(before)
        layout, variables = self.layout(stage.kind), before.variables
        failed = before.failed | ~all_finite(variables).numpy()
        alive = np.flatnonzero(~failed)
        result = {name: value.clone() for name, value in variables.items()}
        terms = {f"{stage.name}.{term}": np.full(len(failed), np.nan) for term in stage.active_terms}
        for start in range(0, len(alive), layout.at_once):
            chosen = alive[start : start + layout.at_once]
            part = self._run_batch(stage, result, chosen, failed)
            for name, value in part.variables.items():
                result[name][chosen] = value
            for term, values in part.terms.items():
                terms[f"{stage.name}.{term}"][chosen] = values.double().numpy()
            failed[chosen] |= part.failed.numpy()
        return StageState(result, {**before.terms, **terms}, failed)

    def _hand_over(self, before: StageState) -> StageState:
        """Stage 2 -> stage 3: runs of frames become windows, windows become first states and latents."""
        data = self.motion_layout.data
        variables, failed = before.variables, before.failed
        if self.frame_layout is not self.motion_layout:
            variables, failed = cut_frame_variables(
                variables, self.frame_layout.windows, self.motion_layout.windows, before.failed
            )
        with torch.no_grad():
            started = start_motion(self.models, variables, data.floor_camera, data.lengths.tolist())
        return StageState(started, before.terms, failed | ~data.seen.numpy())

    def _leave_roll_out(self, before: StageState) -> StageState:
        """Stage 3 -> poses: the stitched motion becomes start and reference, cut into runs again."""
        self._require_usable(before)
        runs = self.frame_layout.windows
        self.roll_out = self._stitch("refined", "motion", before)
        variables = pose_variables(self.roll_out, runs, self.data.K.dtype)
        data = pose_data(self.models, self.frame_layout.data, self.roll_out, variables, runs)
        self.pose_layout = Layout(runs, data, 1)
        return StageState(variables, before.terms, (data.frames_used == 0).all(1).numpy())

    def _require_usable(self, state: StageState) -> None:
        if state.failed.all():
            raise FittingFailed(
                "no window of the recording could be fitted",
                where=self.observations.recording,
                found="energies that are not finite from the start",
            )

    def _run_batch(
        self, stage: StageSettings, everything: Variables, chosen: np.ndarray, failed: np.ndarray
    ) -> StageResult:
        started = time.process_time()
        layout = self.layout(stage.kind)
        data = layout.data.select(chosen.tolist())
        variables = {name: value[chosen] for name, value in everything.items()}
        alone = len(chosen) == 1 and stage.kind == "motion" and stage.num_frames is None
        if alone and "rgb_overlap_consist" in stage.active_terms:
            targets = neighbour_targets(self.models, layout, everything, int(chosen[0]), failed)
            data = replace(data, neighbours=targets)
        objective = StageObjective(self.models, data, self.scene, stage, self.settings)
        build = MotionCurvature.build if stage.kind == "motion" else FrameCurvature.build
        result = minimise(objective, variables, build)
        LOGGER.info(
            "%s: stage %s, windows %d-%d of %d: energy %.2f -> %.2f in %d evaluations, "
            "%.2f CPU s per frame",
            self.observations.recording,
            stage.name,
            chosen[0] + 1,
            chosen[-1] + 1,
            len(layout.windows),
            result.history[0],
            result.history[-1],
            result.num_evaluations,
            (time.process_time() - started) / float(data.lengths.sum()),
        )
        return result

    def _stitch(self, row: str, kind: str, state: StageState) -> FittedSequence:
        fits = self._window_fits(kind, state)
        observations, windows = self.observations, self.layout(kind).windows
        num_frames = len(observations.frame_names)
        usable = [not failed for failed in state.failed]
        stitched = stitch_windows(windows, fits, num_frames, self.settings.windows.stitch, usable)
        if kind == "poses":  # a run that could not be refined still is where stage 3 left it
            assert self.roll_out is not None
            return replace(self.roll_out, parameters=stitched.parameters, energies=state.terms)
        status = _frame_status(observations, windows, usable, stitched.window_id)
        floor = observations.floor_camera
        if kind == "motion":
            first = int(np.flatnonzero(usable)[0])
            normal, offset = parse_floor(state.variables["floor_plane"][first])
            floor = np.append(normal.double().numpy(), float(offset))
        return FittedSequence(
            method=row,
            recording=observations.recording,
            gender=self.gender,
            frame_names=observations.frame_names,
            parameters=stitched.parameters,
            status=status,
            window_id=stitched.window_id,
            T_world_from_camera=observations.T_world_from_camera,
            floor_camera=floor,
            contacts=stitched.contacts,
            energies=state.terms,
        )

    def _window_fits(self, kind: str, state: StageState) -> list[WindowFit]:
        fits = []
        for index, window in enumerate(self.layout(kind).windows):
            variables = {name: value[index : index + 1] for name, value in state.variables.items()}
            with torch.no_grad():
                if kind == "frames":
                    prediction = predict_frames(self.models, variables, mesh=False)
                elif kind == "poses":
                    prediction = predict_poses(self.models, variables, mesh=False)
                else:
                    frames = variables["latent_motion"].shape[1] + 1
                    prediction = predict_motion(self.models, variables, frames, mesh=False)
            rotvecs = rotmat_to_rotvec(
                torch.cat([prediction.root_rotmats[0, :, None], prediction.body_rotmats[0]], dim=1)
            )
            parameters = SmplhParameters(
                betas=_double(prediction.betas.expand(window.length, -1)),
                global_orient=_double(rotvecs[: window.length, 0]),
                body_pose=_double(rotvecs[: window.length, 1:].flatten(1)),
                transl=_double(prediction.transl[0, : window.length]),
            )
            motion = prediction.motion
            contacts = None if motion is None else _double(motion.contacts[0, : window.length])
            fits.append(_finite(WindowFit(parameters, contacts)))
        return fits


def _frame_status(
    observations: SequenceObservations,
    windows: Sequence[Window],
    usable: Sequence[bool],
    window_id: np.ndarray,
) -> tuple[FrameStatus, ...]:
    """The observation's own reason first; then frames no usable window holds."""
    covered = np.zeros(len(window_id), dtype=bool)
    for window, good in zip(windows, usable, strict=True):
        covered[window.frames] |= good
    status: list[FrameStatus] = []
    for frame, reason in enumerate(observations.status):
        if reason == FRAME_OK and window_id[frame] < 0:
            status.append("trimmed")
        elif reason == FRAME_OK and not covered[frame]:
            status.append("fit_failed")
        else:
            status.append(reason)
    return tuple(status)


def _finite(fit: WindowFit) -> WindowFit:
    """Numbers of a failed window that are not finite become 0, so that no NaN leaves the fit."""
    parameters = {
        name: np.nan_to_num(getattr(fit.parameters, name), nan=0.0, posinf=0.0, neginf=0.0)
        for name in ("betas", "global_orient", "body_pose", "transl")
    }
    contacts = None if fit.contacts is None else np.nan_to_num(fit.contacts, nan=0.0)
    return replace(fit, parameters=SmplhParameters(**parameters), contacts=contacts)


def _double(tensor: Tensor) -> np.ndarray:
    return tensor.double().numpy().copy()
