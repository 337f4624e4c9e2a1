"""The PROX-style baseline: one RGB-D fit of SMPL-X per frame, no frame knows its neighbour.

    parts = read_contact_parts(segments_folder)
    fitted = fit_prox_style(observations, scene, files, parts, priors.pose, settings)

Energies, weights and stages are those of PROX's PROXD setting (`energies.py`,
`settings.py`). Differs from PROX: self-collision is left out; the visible set is held
fixed within an optimiser round; a faster optimiser by default (`solver.method: lbfgs` is PROX's);
four starts turned about the upright body's axis by default (`orientation_try: official` is PROX's);
s2m over a fixed number of points scaled to all of them; frames without keypoints or without depth are
flagged instead of ending the run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from pipelines.artifacts import code_version, read_npz, write_npz
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import load_smplx
from pipelines.bodies.parts import HEAD_PART, PROX_CONTACT_PARTS, head_vertices_smplx
from pipelines.bodies.smplx_model import SmplxBody
from pipelines.errors import DataInvalid
from pipelines.fitting.prox_style.body import NUM_PARAMETERS, PoseDecoder, to_smplx_parameters
from pipelines.fitting.prox_style.objective import BodySets, FrameData, Objective, SceneTerms
from pipelines.fitting.prox_style.pairs import ContactScene, ScanPoints
from pipelines.fitting.prox_style.settings import ProxStyleSettings
from pipelines.fitting.prox_style.starts import FramesFit, fit_frames
from pipelines.geometry.signed_distance import SdfGrid
from pipelines.geometry.transforms import to_tensor
from pipelines.records import FRAME_OK, FittedSequence, FrameStatus, SceneScan, SequenceObservations

_log = logging.getLogger(__name__)

METHOD = "prox_style"
_CODE = ("pipelines/fitting/prox_style", "pipelines/bodies", "pipelines/geometry")


def fit_prox_style(
    observations: SequenceObservations,
    scene: SceneScan,
    files: BodyFiles,
    segments: Mapping[str, Int[np.ndarray, " ids"]],
    pose_prior: PoseDecoder,
    settings: ProxStyleSettings,
    checkpoint: Path | None = None,
    progress: bool = False,
) -> FittedSequence:
    """Fit every usable frame of a recording.

    Args:
        observations: camera frame; the subject's gender is used.
        scene: world frame.
        files: body models.
        segments: SMPL-X vertex ids of the seven contact parts, and under `body_mask` those of the head;
            without it the head is read from the folder of the body models.
        pose_prior: VPoser's decoder, in evaluation mode.
        settings: weights, starts, solver.
        checkpoint: folder for finished groups of frames; a rerun with the same inputs takes them up.
        progress: show a bar.

    Returns:
        SMPL-X parameters and the status of every frame. `energies` holds per frame: the unweighted terms
        (jaw: weighted per axis), the weighted `total` of the last stage, and the counts `num_points`,
        `num_visible`, `num_contact`, `num_evaluations`, the number of the start that won, `start_won`,
        and `at_limit`, 1 where a limit of the solver cut a stage short; NaN where nothing was fitted.

    Raises:
        DataInvalid: a contact part is missing.
    """
    body = load_smplx(files, observations.gender)
    sets = _body_sets(segments, files, len(body.skinning.template))
    terms = _scene_terms(scene, observations)
    if isinstance(pose_prior, nn.Module):
        pose_prior.eval()
    status = _statuses(observations)
    fitted = np.flatnonzero([reason == FRAME_OK for reason in status])
    parameters = torch.zeros(len(status), NUM_PARAMETERS)
    energies: dict[str, Float[np.ndarray, " frames"]] = {}
    groups = [
        fitted[start : start + settings.frames_per_chunk]
        for start in range(0, len(fitted), settings.frames_per_chunk)
    ]
    inputs = ""
    if checkpoint is not None:
        inputs = _hash_inputs(scene, observations, body, sets, pose_prior, settings)
    for group in tqdm(groups, desc=f"{observations.recording} prox-style", disable=not progress):
        data = _frame_data(observations, group, settings.num_points)
        path = None if checkpoint is None else checkpoint / f"{METHOD}_{group[0]:06d}.npz"
        fit = _read_group(path, key := _hash_group(inputs, data) if path is not None else "")
        if fit is None:
            fit = fit_frames(Objective(data, terms, sets, body, pose_prior, settings))
            _write_group(path, key, fit)
        parameters[group] = torch.as_tensor(np.where(fit.finite[:, None], fit.parameters, 0.0))
        for frame in group[~fit.finite]:
            status[frame] = "fit_not_finite"
        for name, values in fit.values.items():
            energies.setdefault(name, np.full(len(status), np.nan))[group] = values
    energies["num_points"] = observations.num_points.astype(np.float64)
    _log.info("%s: %d of %d frames fitted", observations.recording, len(fitted), len(status))
    return FittedSequence(
        method=METHOD,
        recording=observations.recording,
        gender=observations.gender,
        frame_names=observations.frame_names,
        parameters=to_smplx_parameters(parameters, pose_prior),
        status=tuple(status),
        window_id=np.arange(len(status)),
        T_world_from_camera=observations.T_world_from_camera,
        floor_camera=observations.floor_camera,
        energies=energies,
    )


def _statuses(observations: SequenceObservations) -> list[FrameStatus]:
    """Why a frame cannot be fitted: the reader's reason, else what PROX needs and it lacks."""
    status = list(observations.status)
    for frame, reason in enumerate(status):
        if reason != FRAME_OK:
            continue
        if not (observations.keypoints_confidence[frame] > 0).any():
            status[frame] = "no_keypoints"
        elif observations.num_points[frame] == 0:
            status[frame] = "no_depth"
    return status


def _body_sets(
    segments: Mapping[str, Int[np.ndarray, " ids"]], files: BodyFiles, num_vertices: int
) -> BodySets:
    missing = [part for part in PROX_CONTACT_PARTS if part not in segments]
    if missing:
        raise DataInvalid(
            "contact parts are missing", expected=PROX_CONTACT_PARTS, found=sorted(segments)
        )
    head = segments[HEAD_PART] if HEAD_PART in segments else head_vertices_smplx(files.segments)
    is_head = np.zeros(num_vertices, dtype=bool)
    is_head[head] = True
    contact = np.concatenate([segments[part] for part in PROX_CONTACT_PARTS])
    return BodySets(torch.as_tensor(contact.astype(np.int64)), is_head)


def _scene_terms(scene: SceneScan, observations: SequenceObservations) -> SceneTerms:
    lengths = None
    if scene.sdf_normals is not None:
        lengths = to_tensor(np.linalg.norm(scene.sdf_normals, axis=-1))
    return SceneTerms(
        T_world_from_camera=to_tensor(observations.T_world_from_camera),
        sdf=SdfGrid.from_scene(scene),
        normal_lengths=lengths,
        contact=ContactScene(scene),
    )


def _frame_data(
    observations: SequenceObservations, frames: Int[np.ndarray, " frames"], num_points: int
) -> FrameData:
    scans, means = [], []
    for frame in frames:
        full = int(observations.num_points[frame])
        # A frame with fewer points than the record holds repeats them: take each once.
        points = observations.points_camera[frame][: max(full, 1)].astype(np.float64)
        means.append(points.mean(axis=0))
        if len(points) > num_points:
            points = points[np.linspace(0, len(points) - 1, num_points).round().astype(np.int64)]
        scans.append(ScanPoints.build(points, full))
    return FrameData(
        keypoints_px=to_tensor(observations.keypoints_px[frames]),
        confidence=to_tensor(observations.keypoints_confidence[frames]),
        scans=tuple(scans),
        initial_transl=to_tensor(np.stack(means)),
        K=to_tensor(observations.K),
    )


def _hash_inputs(
    scene: SceneScan,
    observations: SequenceObservations,
    body: SmplxBody,
    sets: BodySets,
    pose_prior: PoseDecoder,
    settings: ProxStyleSettings,
) -> str:
    """What a group's result depends on besides its own frames."""
    digest = sha256((settings.canonical_json() + code_version(*_CODE)).encode())
    with torch.no_grad():
        # The decoder is a function: its answers to fixed questions identify it.
        answers = pose_prior.decode(torch.linspace(-2, 2, 32).expand(4, 32).cumsum(0))
    arrays: tuple[Tensor | np.ndarray, ...] = (
        answers,
        body.skinning.template,
        body.skinning.blendshapes,
        body.skinning.weights,
        sets.contact_ids,
        sets.is_head,
        scene.vertices_world,
        scene.faces,
        scene.sdf_m,
        scene.sdf_min_world,
        scene.sdf_max_world,
        observations.T_world_from_camera,
    )
    for array in arrays:
        digest.update(np.asarray(array).tobytes())
    return digest.hexdigest()


def _hash_group(inputs: str, data: FrameData) -> str:
    digest = sha256(inputs.encode())
    for array in (data.keypoints_px, data.confidence, data.initial_transl, data.K):
        digest.update(array.numpy().tobytes())
    for scan in data.scans:
        digest.update(scan.points_camera.tobytes() + str(scan.weight).encode())
    return digest.hexdigest()


def _read_group(path: Path | None, key: str) -> FramesFit | None:
    """A finished group made from the same inputs; None when there is none that can be used."""
    if path is None or not path.is_file():
        return None
    try:
        stored = read_npz(path)
    except DataInvalid:
        _log.warning("%s cannot be read and is made again", path)
        return None
    if str(stored.pop("key", "")) != key:
        return None
    parameters, finite = stored.pop("parameters"), stored.pop("finite")
    return FramesFit(parameters, finite, stored)


def _write_group(path: Path | None, key: str, fit: FramesFit) -> None:
    if path is not None:
        arrays = {"parameters": fit.parameters, "finite": fit.finite, "key": np.array(key)}
        write_npz(path, arrays | fit.values)
