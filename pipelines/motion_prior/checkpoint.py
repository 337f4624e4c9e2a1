"""Loading the three priors: the user's official files by path, or the ones shipped with the package.

    priors = load_priors(PriorSettings())                       # shipped
    priors = load_priors(PriorSettings(motion="humor.pth"))     # official HuMoR, the rest shipped
    priors.motion, priors.pose, priors.initial_state            # frozen, evaluation mode, one dtype

Official files: HuMoR `.pth` (a dict with `model`; keys may carry `module.`), VPoser v1.0 `.pt` (a plain
state dict), `prior_gmm.npz`. Also read: `.safetensors` written by `train_priors`, stored in half
precision and computed in the asked one. Names and shapes must match exactly; only hidden widths may
vary. Nothing is unpickled but tensors.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from pipelines.artifacts import hash_file, read_npz
from pipelines.config import Settings
from pipelines.errors import DataInvalid, DataMissing
from pipelines.motion_prior.initial_state import INITIAL_STATE_SIZE, InitialStatePrior
from pipelines.motion_prior.network import MotionPrior, MotionPriorSettings
from pipelines.motion_prior.pose_prior import PosePrior, PosePriorSettings

SHIPPED_FOLDER = Path(__file__).parent / "weights"
SHIPPED_MOTION = SHIPPED_FOLDER / "motion_prior.safetensors"
SHIPPED_POSE = SHIPPED_FOLDER / "pose_prior.safetensors"
SHIPPED_INITIAL_STATE = SHIPPED_FOLDER / "initial_state.safetensors"

METADATA_KEY = "training"
"""Entry of a safetensors' header that holds its provenance as JSON."""

M = TypeVar("M", bound=nn.Module)


class PriorSettings(Settings):
    """Files of the three priors; None takes the one shipped with the package."""

    motion: Path | None = None
    """HuMoR checkpoint (.pth) or safetensors."""
    pose: Path | None = None
    """VPoser v1.0 snapshot (.pt) or safetensors."""
    initial_state: Path | None = None
    """HuMoR's prior_gmm.npz or safetensors."""


@dataclass(frozen=True, slots=True, eq=False)
class Priors:
    """The three priors of a fit, without gradients of their own, in evaluation mode."""

    motion: MotionPrior
    pose: PosePrior
    initial_state: InitialStatePrior
    provenance: dict[str, str]
    """Prior -> file name and SHA-256."""

    def to(self, dtype: torch.dtype) -> Priors:
        """Copies in another precision."""
        return Priors(
            copy.deepcopy(self.motion).to(dtype),
            copy.deepcopy(self.pose).to(dtype),
            copy.deepcopy(self.initial_state).to(dtype),
            dict(self.provenance),
        )


def load_priors(settings: PriorSettings | None = None, dtype: torch.dtype = torch.float32) -> Priors:
    """Load all three priors.

    Raises:
        DataMissing: a file does not exist.
        DataInvalid: a file cannot be read safely, or its names or shapes are not those of the network.
    """
    settings = settings or PriorSettings()
    motion = settings.motion or SHIPPED_MOTION
    pose = settings.pose or SHIPPED_POSE
    initial_state = settings.initial_state or SHIPPED_INITIAL_STATE
    return Priors(
        load_motion_prior(motion, dtype),
        load_pose_prior(pose, dtype),
        load_initial_state_prior(initial_state, dtype),
        {
            name: f"{path.name} sha256:{hash_file(path)}"
            for name, path in (("motion", motion), ("pose", pose), ("initial_state", initial_state))
        },
    )


def load_motion_prior(path: Path, dtype: torch.dtype = torch.float32) -> MotionPrior:
    """HuMoR's CVAE; its widths are read off the weights."""
    weights = _read_tensors(path, entry="model")
    settings = MotionPriorSettings(
        encoder_widths=_hidden_widths(weights, "encoder", path),
        prior_widths=_hidden_widths(weights, "prior_net", path),
        decoder_widths=_hidden_widths(weights, "decoder", path),
    )
    return _fill(MotionPrior(settings), weights, path, dtype)


def load_pose_prior(path: Path, dtype: torch.dtype = torch.float32) -> PosePrior:
    """VPoser v1.0; its width is read off the weights."""
    weights = _read_tensors(path, entry=None)
    first = weights.get("bodyprior_dec_fc1.weight")
    if first is None or first.ndim != 2:
        raise _wrong_names(path, {"bodyprior_dec_fc1.weight"}, set(weights))
    return _fill(PosePrior(PosePriorSettings(width=first.shape[0])), weights, path, dtype)


def load_initial_state_prior(path: Path, dtype: torch.dtype = torch.float32) -> InitialStatePrior:
    """The mixture over first states."""
    arrays = _read_mixture(path)
    names = {"weights", "means", "covariances"}
    if set(arrays) != names:
        raise _wrong_names(path, names, set(arrays))
    count = arrays["weights"].shape[0] if arrays["weights"].ndim == 1 else 0
    expected = {
        "weights": (count,),
        "means": (count, INITIAL_STATE_SIZE),
        "covariances": (count, INITIAL_STATE_SIZE, INITIAL_STATE_SIZE),
    }
    found = {name: tuple(arrays[name].shape) for name in expected}
    if found != expected or count == 0:
        raise DataInvalid(
            "mixture arrays have the wrong shapes", where=path, expected=expected, found=found
        )
    try:
        prior = InitialStatePrior(arrays["weights"], arrays["means"], arrays["covariances"])
    except RuntimeError as error:
        raise DataInvalid(f"mixture covariance is not positive definite: {error}", where=path) from None
    return prior.to(dtype).eval()


def read_metadata(path: Path) -> dict[str, Any]:
    """Provenance stored in one of our safetensors (settings, data, seed, losses)."""
    with safe_open(path, framework="pt") as archive:
        metadata = archive.metadata() or {}
    return json.loads(metadata.get(METADATA_KEY, "{}"))


def _read_tensors(path: Path, entry: str | None) -> dict[str, Tensor]:
    _require_file(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataInvalid(
            f"checkpoint cannot be read as tensors alone: {error}",
            where=path,
            fix="download it again, or re-save only its state dict where you trust the file",
        ) from None
    if entry is not None and isinstance(content, Mapping) and entry in content:
        content = content[entry]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise DataInvalid(
            "checkpoint holds no state dict",
            where=path,
            expected="a mapping of names to tensors" + (f", or one under {entry!r}" if entry else ""),
            found=type(content).__name__,
        )
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as archive:
            return {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise DataInvalid(f"safetensors cannot be read: {error}", where=path) from None


def _read_mixture(path: Path) -> dict[str, Tensor]:
    _require_file(path)
    if path.suffix == ".safetensors":
        stored = _read_safetensors(path)
        factor = stored.pop("cholesky", None)
        if factor is not None:
            factor = factor.double()
            stored["covariances"] = factor @ factor.mT
        return stored
    return {name: torch.from_numpy(np.asarray(array)) for name, array in read_npz(path).items()}


def _fill(model: M, weights: Mapping[str, Tensor], path: Path, dtype: torch.dtype) -> M:
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if set(expected) != set(weights):
        raise _wrong_names(path, set(expected), set(weights))
    wrong = [
        f"{name}: expected {shape}, found {tuple(weights[name].shape)}"
        for name, shape in expected.items()
        if tuple(weights[name].shape) != shape
    ]
    if wrong:
        raise DataInvalid(
            f"{len(wrong)} tensor(s) have the wrong shape: {'; '.join(wrong[:4])}", where=path
        )
    broken = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise DataInvalid(f"{broken[0]} holds values that are not finite", where=path)
    model.to(dtype).load_state_dict(weights)
    return model.requires_grad_(False).eval()


def _hidden_widths(weights: Mapping[str, Tensor], module: str, path: Path) -> tuple[int, ...]:
    count = 3 if module == "decoder" else 4
    names = [f"{module}.net.{3 * index}.bias" for index in range(count)]
    if not all(name in weights for name in names):
        with torch.device("meta"):
            official = MotionPrior()
        raise _wrong_names(path, set(official.state_dict()), set(weights))
    return tuple(weights[name].shape[0] for name in names)


def _wrong_names(path: Path, expected: set[str], found: set[str]) -> DataInvalid:
    missing, surplus = sorted(expected - found), sorted(found - expected)
    return DataInvalid(
        "the file's entries are not those of this prior",
        where=path,
        expected=f"{len(expected)} entries, missing here: {missing[:4]}",
        found=f"{len(found)} entries, unknown: {surplus[:4]}",
        fix="give HuMoR's .pth as motion, VPoser v1.0 (not v2) as pose, prior_gmm.npz as initial_state",
    )


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise DataMissing(
            "prior not found",
            where=path,
            fix="correct the path under priors, or leave it out to use the shipped prior",
        )
