"""From the committed seed to model files in the licensed models' formats, once per machine.

The files lie in a cache folder named after the seed and the code that expands it. They are written to
a temporary folder that is renamed when whole, so any number of processes may do this at once.
"""

from __future__ import annotations

import io
import logging
import os
import pickle  # written, never read: readers go through pipelines.safe_pickle
import shutil
import time
import uuid
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int

from pipelines.artifacts import StageKey, code_version, hash_file, why_not_done, write_json, write_marker
from pipelines.bodies.joints import SMPLH_PARENTS, SMPLX_PARENTS
from pipelines.bodies.standin.correctives import pose_correctives
from pipelines.bodies.standin.hands import HandSpace, left_hand_space
from pipelines.bodies.standin.joint_regressor import h36m_regressor
from pipelines.bodies.standin.pyramid import PyramidLevel, pyramid_matrices
from pipelines.bodies.standin.seed import SEED_PATH, Seed, read_seed
from pipelines.errors import DataInvalid

log = logging.getLogger(__name__)

CACHE_VARIABLE = "PROX_HUMOR_GT_CACHE"
SMPLX_PELVIS = (0.0, -0.35, 0.01)
SMPLH_PELVIS = (0.0, -0.22, 0.03)
"""Where the template's pelvis sits, about as in the licensed files: not at the origin, and not at the
same place, so that a forgotten offset shows as 13 cm."""
_ROOT_PARENT = 2**32 - 1
_STAGE = "standin"
_STALE_AFTER_S = 24 * 3600
_COMPRESSION_LEVEL = 1
"""The correctives are mostly zeros: level 1 makes 5 MB of 77 and costs 0.1 s to read."""


def cache_folder() -> Path:
    """`$PROX_HUMOR_GT_CACHE`, else `~/.cache/prox-humor-gt`."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "prox-humor-gt"


def standin_folder(cache: Path | None = None) -> Path:
    """The folder of the stand-in's files; expands and verifies them where needed.

    Raises:
        DataInvalid: the cache folder cannot be written.
    """
    return _verified(cache if cache is not None else cache_folder())


@lru_cache(maxsize=8)
def _verified(cache: Path) -> Path:
    key = _key()
    folder = cache / f"standin-{sha256(key.content_hash().encode()).hexdigest()[:12]}"
    reason = why_not_done(folder, key)
    if reason is None:
        return folder
    log.info("expanding the stand-in bodies into %s (%s; once, a few seconds)", folder, reason)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _remove_stale(cache)
        _expand_atomically(folder, key)
    except OSError as error:
        raise DataInvalid(
            f"the stand-in bodies cannot be written: {error}",
            where=cache,
            fix=f"set {CACHE_VARIABLE} to a folder with 100 MB of free space",
        ) from None
    log.info("stand-in bodies ready")
    return folder


def _key() -> StageKey:
    rooms = ("correctives", "expand", "hands", "joint_regressor", "pyramid", "seed", "surface_points")
    code = code_version(*(f"pipelines/bodies/standin/{room}" for room in rooms))
    return StageKey(_STAGE, settings_hash="", inputs={"seed": hash_file(SEED_PATH)}, code=code)


def _expand_atomically(folder: Path, key: StageKey) -> None:
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")
    try:
        expand(read_seed(), temporary)
        files = [path for path in temporary.rglob("*") if path.is_file()]
        write_marker(temporary, key, files)
        _move_into_place(temporary, folder, key)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move_into_place(temporary: Path, folder: Path, key: StageKey) -> None:
    try:
        temporary.rename(folder)
    except OSError:
        if why_not_done(folder, key) is None:
            return  # another process was faster
        # What lies there is damaged: put it aside under a name of our own, then take its place.
        aside = temporary.with_name(f"{temporary.name}.old.tmp")
        folder.rename(aside)
        temporary.rename(folder)
        shutil.rmtree(aside, ignore_errors=True)


def _remove_stale(cache: Path) -> None:
    """Temporary folders of processes that were killed."""
    for path in cache.glob(".standin-*.tmp"):
        if time.time() - path.stat().st_mtime > _STALE_AFTER_S:
            shutil.rmtree(path, ignore_errors=True)


def expand(seed: Seed, folder: Path) -> None:
    """Write every model file below `folder`."""
    for name in ("smplx", "smplh", "body_segments"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _write_smplx(seed, folder / "smplx")
    _write_smplh(seed, folder / "smplh")
    _write_transfer(seed, folder / "smplx2smplh_deftrafo_setup.pkl")
    template = seed.shapes["neutral"].template[seed.smplx_of_smplh]
    np.save(folder / "J_regressor_h36m.npy", h36m_regressor(seed.smplh_regressor, template))
    _write_pyramid(seed, template, folder / "mesh_downsampling.npz")
    for name, ids in seed.segments.items():
        inside = np.isin(seed.smplx_faces, ids).all(axis=1)
        content = {"verts_ind": ids.tolist(), "faces_ind": np.flatnonzero(inside).tolist()}
        write_json(folder / "body_segments" / f"{name}.json", content)


def _write_smplx(seed: Seed, folder: Path) -> None:
    left, right = _hands()
    neutral = seed.shapes["neutral"].template
    joints = seed.smplx_regressor @ neutral
    posedirs = pose_correctives(neutral, joints, seed.weights, SMPLX_PARENTS)
    for gender, shape in seed.shapes.items():
        arrays = {
            "v_template": _placed(shape.template, seed.smplx_regressor, SMPLX_PELVIS),
            "f": seed.smplx_faces.astype(np.uint32),
            "shapedirs": np.concatenate([shape.smplx_shapes, seed.expressions], axis=2),
            "posedirs": posedirs,
            "J_regressor": seed.smplx_regressor,
            "weights": seed.weights,
            "kintree_table": _kintree(SMPLX_PARENTS),
            **_hand_arrays(left, right),
            "hands_coeffsl": left.coefficients,
            "hands_coeffsr": right.coefficients,
            "lmk_faces_idx": seed.landmark_faces,
            "lmk_bary_coords": seed.landmark_weights,
            "dynamic_lmk_faces_idx": seed.contour_faces,
            "dynamic_lmk_bary_coords": seed.contour_weights,
        }
        _write_compressed(folder / f"SMPLX_{gender.upper()}.npz", arrays)


def _write_smplh(seed: Seed, folder: Path) -> None:
    left, right = _hands()
    neutral = seed.shapes["neutral"].template[seed.smplx_of_smplh]
    joints = seed.smplh_regressor @ neutral
    posedirs = pose_correctives(neutral, joints, seed.smplh_weights, SMPLH_PARENTS)
    for gender, shape in seed.shapes.items():
        template = shape.template[seed.smplx_of_smplh]
        arrays = {
            "v_template": _placed(template, seed.smplh_regressor, SMPLH_PELVIS),
            "f": seed.smplh_faces.astype(np.uint32),
            "shapedirs": shape.smplh_shapes,
            "posedirs": posedirs,
            "J_regressor": seed.smplh_regressor,
            "weights": seed.smplh_weights,
            "kintree_table": _kintree(SMPLH_PARENTS),
        }
        # AMASS's layout for HuMoR, and the name under which smplx looks (it also wants the hands).
        (folder / gender).mkdir()
        _write_compressed(folder / gender / "model.npz", arrays)
        _write_compressed(folder / f"SMPLH_{gender.upper()}.npz", arrays | _hand_arrays(left, right))


def _write_transfer(seed: Seed, path: Path) -> None:
    """One-hot rows: SMPL+H is a subset of SMPL-X here (the licensed matrix holds fitted weights)."""
    count, source_count = len(seed.smplx_of_smplh), 2 * len(seed.weights)
    entries = (np.ones(count), (np.arange(count), seed.smplx_of_smplh))
    matrix = scipy.sparse.csr_matrix(entries, shape=(count, source_count))
    path.write_bytes(pickle.dumps({"mtx": matrix}, protocol=2))


def _write_pyramid(seed: Seed, template: Float[np.ndarray, "6890 3"], path: Path) -> None:
    levels = [PyramidLevel(np.arange(len(template)), seed.smplh_faces)]
    for ids, faces in zip(seed.pyramid_ids, seed.pyramid_faces, strict=True):
        levels.append(PyramidLevel(ids, faces))
    arrays: dict[str, Any] = {}
    for name, matrices in pyramid_matrices(template, levels).items():
        arrays[name] = np.empty(len(matrices), dtype=object)
        arrays[name][:] = matrices
    with path.open("wb") as stream:
        np.savez(stream, **arrays)


@lru_cache(maxsize=1)
def _hands() -> tuple[HandSpace, HandSpace]:
    left = left_hand_space()
    return left, left.mirrored()


def _hand_arrays(left: HandSpace, right: HandSpace) -> dict[str, np.ndarray]:
    return {
        "hands_componentsl": left.components,
        "hands_componentsr": right.components,
        "hands_meanl": left.mean,
        "hands_meanr": right.mean,
    }


def _placed(
    template: Float[np.ndarray, "verts 3"],
    regressor: Float[np.ndarray, "joints verts"],
    pelvis: tuple[float, float, float],
) -> Float[np.ndarray, "verts 3"]:
    """The template moved so that its pelvis joint is where the format has it."""
    return template + (np.array(pelvis) - regressor[0] @ template)


def _kintree(parents: tuple[int, ...]) -> Int[np.ndarray, "2 joints"]:
    return np.array([(_ROOT_PARENT, *parents[1:]), range(len(parents))], np.int64)


def _write_compressed(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """An npz like `np.savez_compressed` makes, at the fastest compression level."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy")  # carries a fixed time: equal arrays, equal bytes
            archive.writestr(
                member, content.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION_LEVEL
            )
