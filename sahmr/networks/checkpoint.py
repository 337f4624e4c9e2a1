"""Official checkpoints into our networks, strictly, and back under the same names.

    loaded = load_sahmr(Path("sahmr_rich_e30.pth"))     # preset chosen from the shapes
    loaded.network, loaded.preset, loaded.epoch
    save_checkpoint(Path("again.pth"), loaded)          # the same keys, the unused ones included

A file is a flat state dict (METRO, HRNet) or SA-HMR's {"network": {"net." + name: tensor}, "epoch": int}.
Every tensor of the network must be there with its shape and finite, and nothing else may be, but for what
`official_names` lists as never read. Nothing is unpickled but tensors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from pipelines.artifacts import atomic_path
from pipelines.errors import DataInvalid, DataMissing
from sahmr.networks.hrnet import Hrnet, HrnetSettings, HrnetWithHead
from sahmr.networks.mesh_recovery import MeshRecovery
from sahmr.networks.mesh_tokens import MeshTransformerSettings
from sahmr.networks.metro import Metro
from sahmr.networks.official_names import HRNET, METRO, RCNET, SAHMR, NameTable
from sahmr.networks.rcnet import (
    VOTE_CHANNELS,
    NumCategories,
    Rcnet,
    RcnetSettings,
    paper_settings,
    released_settings,
)
from sahmr.networks.sahmr import Sahmr, SahmrSettings

logger = logging.getLogger(__name__)

WRAPPER_PREFIX = "net."
"""Before every name in SA-HMR's own files."""
_NAMED_KEYS = 4
"""How many wrong keys an error names."""

Preset = Literal["paper", "released"]
N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True, slots=True, eq=False)
class Loaded(Generic[N]):
    """A network with its weights, in evaluation mode, and what its file held besides."""

    network: N
    names: NameTable
    unused: dict[str, Tensor] = field(default_factory=dict)
    """Tensors under their official names that no forward pass reads; kept to be saved again."""
    epoch: int | None = None
    """Set for SA-HMR's own files."""
    preset: Preset | None = None
    """Set for RCNet and SA-HMR where it is one of the two."""


def load_hrnet(
    path: Path, settings: HrnetSettings | None = None, ignore: Sequence[str] = ()
) -> Loaded[HrnetWithHead]:
    """HRNet-W64 for image classification; its classifier is not used.

    Args:
        path: the checkpoint.
        settings: of the architecture; the official one when None.
        ignore: prefixes of official names that the caller knows to be of no use, kept like the unused ones.

    Raises:
        DataMissing: no such file.
        DataInvalid: not readable as tensors alone, or not this network's names, shapes and finite values.
    """
    return _load(path, lambda _: HrnetWithHead(settings), HRNET, ignore)


def load_hrnet_branches(
    path: Path, settings: HrnetSettings | None = None, ignore: Sequence[str] = ()
) -> Loaded[Hrnet]:
    """HRNet-W64 without head; arguments and errors as `load_hrnet`."""
    return _load(path, lambda _: Hrnet(settings), HRNET, ignore)


def load_metro(
    path: Path, settings: MeshTransformerSettings | None = None, ignore: Sequence[str] = ()
) -> Loaded[Metro]:
    """METRO's body network (`metro_3dpw_state_dict.bin`); arguments and errors as `load_hrnet`."""
    return _load(path, lambda _: Metro(settings), METRO, ignore)


def load_rcnet(
    path: Path, settings: RcnetSettings | None = None, ignore: Sequence[str] = ()
) -> Loaded[Rcnet]:
    """RCNet.

    Args:
        path: the checkpoint.
        settings: forces an architecture; without them the preset is read off the shapes.
        ignore: prefixes of official names that the caller knows to be of no use, kept like the unused ones.

    Raises:
        DataMissing: no such file.
        DataInvalid: not readable as tensors alone, of another preset than the settings, of no known preset,
            or not this network's names, shapes and finite values.
    """

    def build(weights: Mapping[str, Tensor]) -> Rcnet:
        return Rcnet(settings or rcnet_preset(weights, path)[1])

    return _load(path, build, RCNET, ignore)


def load_sahmr(
    path: Path, settings: SahmrSettings | None = None, ignore: Sequence[str] = ()
) -> Loaded[Sahmr]:
    """RCNet and the mesh recovery network in one file; arguments and errors as `load_rcnet`."""

    def build(weights: Mapping[str, Tensor]) -> Sahmr:
        return Sahmr(settings or SahmrSettings(rcnet=rcnet_preset(weights, path, "rcnet.")[1]))

    return _load(path, build, SAHMR, ignore)


def rcnet_preset(
    weights: Mapping[str, Tensor], where: object, prefix: str = ""
) -> tuple[Preset, RcnetSettings]:
    """The preset whose shapes a checkpoint of RCNet has.

    Raises:
        DataInvalid: a deciding tensor is missing, or their shapes fit no preset.
    """
    names = {
        "maps": f"{prefix}root_net.out_conv.weight",
        "linear": f"{prefix}contact_net.fc_in.weight",
        "classes": f"{prefix}contact_net.classifier.0.weight",
    }
    absent = [name for name in names.values() if name not in weights]
    if absent:
        raise _wrong_names(where, absent, [])
    rows = {what: weights[name].shape[0] for what, name in names.items()}
    for preset, settings in _presets():
        wanted = {
            "maps": 2 + settings.feature_channels + settings.contact_maps,
            "linear": settings.contact_net.channels_linear,
            "classes": VOTE_CHANNELS + settings.num_classes,
        }
        if rows == wanted:
            return preset, settings
    raise DataInvalid(
        "the checkpoint's shapes fit neither the paper's nor the released architecture",
        where=where,
        expected="rows 42 / 32 / 12 (paper; 35 / 32 / 6 and 466 / 32 / 436 with 1 and 432 categories) or "
        "41 / 35 / 12 (released)",
        found="; ".join(f"{names[what]}: {tuple(weights[names[what]].shape)}" for what in rows),
        fix="give the settings it was trained with",
    )


def start_from_metro(metro: Metro, network: Rcnet | MeshRecovery) -> list[str]:
    """Copy METRO's weights into a network to be trained.

    RCNet takes the backbone without its head; the mesh recovery network takes all but the camera.

    Returns:
        Our names of the tensors that keep their own start.
    """
    state = metro.state_dict()
    if isinstance(network, Rcnet):
        source, target = "image_tokens.backbone.", "root_net.backbone."
        state = {
            name.replace(source, target, 1): tensor
            for name, tensor in state.items()
            if name.startswith(source)
        }
    own = network.state_dict()
    state = {name: tensor for name, tensor in state.items() if name in own}
    network.load_state_dict(state, strict=False)
    return sorted(set(own) - set(state))


def official_state(loaded: Loaded[N]) -> dict[str, Tensor]:
    """All tensors under their official names, sorted, the unused ones included."""
    ours = {loaded.names.official(name): value for name, value in loaded.network.state_dict().items()}
    return dict(sorted({**ours, **loaded.unused}.items()))


def save_checkpoint(path: Path, loaded: Loaded[N]) -> None:
    """Write the official form: flat, or wrapped as SA-HMR does where an epoch is known."""
    state: dict[str, Any] = official_state(loaded)
    if loaded.epoch is not None:
        network = {WRAPPER_PREFIX + name: tensor for name, tensor in state.items()}
        state = {"network": network, "epoch": loaded.epoch}
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def _presets() -> list[tuple[Preset, RcnetSettings]]:
    categories: tuple[NumCategories, ...] = (8, 1, 432)
    return [("released", released_settings()), *(("paper", paper_settings(c)) for c in categories)]


def _load(
    path: Path,
    build: Callable[[Mapping[str, Tensor]], N],
    names: NameTable,
    ignore: Sequence[str],
) -> Loaded[N]:
    names = replace(names, unused=(*names.unused, *ignore))
    weights, epoch = _read(path)
    unused = {name: tensor for name, tensor in weights.items() if names.is_unused(name)}
    used = {name: tensor for name, tensor in weights.items() if name not in unused}
    with torch.device("meta"):  # no memory and no time for weights that are replaced at once
        network = build(weights)
    _fill(network, used, names, path)
    if unused:
        logger.info("%s: %d tensors are never read, e.g. %s", path, len(unused), next(iter(unused)))
    return Loaded(network.eval(), names, unused, epoch, _preset_of(network))


def _preset_of(network: nn.Module) -> Preset | None:
    rcnet = network.rcnet if isinstance(network, Sahmr) else network
    if not isinstance(rcnet, Rcnet):
        return None
    return next((preset for preset, settings in _presets() if settings == rcnet.settings), None)


def _fill(network: nn.Module, used: Mapping[str, Tensor], names: NameTable, path: Path) -> None:
    wanted = {names.official(name): (name, tensor) for name, tensor in network.state_dict().items()}
    missing, extra = sorted(set(wanted) - set(used)), sorted(set(used) - set(wanted))
    if missing or extra:
        raise _wrong_names(path, missing, extra)
    wrong = [
        f"{name}: expected {tuple(ours.shape)}, found {tuple(used[name].shape)}"
        for name, (_, ours) in wanted.items()
        if ours.shape != used[name].shape
    ]
    if wrong:
        raise DataInvalid(
            f"{len(wrong)} tensor(s) have the wrong shape: {'; '.join(wrong[:_NAMED_KEYS])}",
            where=path,
            fix="leave the settings out to have the preset chosen from the shapes",
        )
    for name, tensor in used.items():
        if not bool(tensor.isfinite().all()):
            raise DataInvalid(f"{name} holds values that are not finite", where=path)
    state = {ours: used[name].to(tensor.dtype) for name, (ours, tensor) in wanted.items()}
    network.load_state_dict(state, assign=True)


def _read(path: Path) -> tuple[dict[str, Tensor], int | None]:
    """Tensors by official name, and the epoch of SA-HMR's own files."""
    if not path.is_file():
        raise DataMissing("checkpoint not found", where=path, fix="correct the path")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataInvalid(
            f"checkpoint cannot be read as tensors alone: {error}",
            where=path,
            fix="download it again, or re-save only its state dict where you trust the file",
        ) from None
    epoch = None
    if isinstance(content, Mapping) and isinstance(content.get("network"), Mapping):
        epoch = content.get("epoch")
        content = {str(k).removeprefix(WRAPPER_PREFIX): v for k, v in content["network"].items()}
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise DataInvalid(
            "checkpoint holds no state dict",
            where=path,
            expected='a mapping of names to tensors, or one under "network"',
            found=type(content).__name__,
        )
    return dict(content), epoch if isinstance(epoch, int) else None


def _wrong_names(where: object, missing: list[str], extra: list[str]) -> DataInvalid:
    def some(names: list[str]) -> str:
        return f"{len(names)}" + (f", e.g. {names[:_NAMED_KEYS]}" if names else "")

    return DataInvalid(
        "the checkpoint's tensors are not those of this network",
        where=where,
        expected=f"missing here: {some(missing)}",
        found=f"unknown: {some(extra)}",
        fix="give the file of this network (HRNet, METRO, RCNet or SA-HMR), whole and of its official form; "
        "tensors known to be of no use can be named by `ignore`",
    )
