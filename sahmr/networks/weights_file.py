"""Networks trained here, as safetensors: weights under our own names, and what they are in the header.

    write_network(path, network, provenance)
    trained = read_network(path, Sahmr)                 # architecture, weights, provenance
    trained.network                                     # in evaluation mode

Official files are read and written by `sahmr.networks.checkpoint`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pipelines.artifacts import atomic_path
from pipelines.config import Settings, validate_settings
from pipelines.errors import DataInvalid, DataMissing
from sahmr.networks.mesh_tokens import MeshTransformerSettings
from sahmr.networks.metro import Metro
from sahmr.networks.rcnet import Rcnet, RcnetSettings
from sahmr.networks.sahmr import Sahmr, SahmrSettings

SUFFIX: Final = ".safetensors"
_MODE: Final = 0o644
_HEADER: Final = "prox-humor-gt network"
_KINDS: Final[dict[str, tuple[type[Any], type[Settings]]]] = {
    "rcnet": (Rcnet, RcnetSettings),
    "sahmr": (Sahmr, SahmrSettings),
    "metro": (Metro, MeshTransformerSettings),
}

N = TypeVar("N", Rcnet, Sahmr, Metro)


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNetwork(Generic[N]):
    """A network read from its file, in evaluation mode."""

    network: N
    provenance: dict[str, Any]
    """What it was trained on and how, as its training wrote it."""


def write_network(
    path: Path,
    network: Rcnet | Sahmr | Metro,
    provenance: Mapping[str, Any],
    state: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a network whole or not at all.

    Args:
        path: ends in `.safetensors`.
        network: gives architecture and weights.
        provenance: JSON that says where the weights come from; no path of this machine.
        state: weights to write in place of the network's own, by the same names.
    """
    kind = next(name for name, (network_type, _) in _KINDS.items() if type(network) is network_type)
    header = {
        "kind": kind,
        "settings": network.settings.model_dump(mode="json"),
        "provenance": dict(provenance),
    }
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in (state or network.state_dict()).items()
    }
    with atomic_path(path) as temporary:
        # One entry only: safetensors writes several in no fixed order.
        save_file(tensors, temporary, metadata={_HEADER: json.dumps(header, sort_keys=True)})
        temporary.chmod(_MODE)  # safetensors keeps its files to their owner


def read_network(path: Path, network_type: type[N]) -> TrainedNetwork[N]:
    """Build the network that a file says it holds, and fill it.

    Raises:
        DataMissing: no such file.
        DataInvalid: not such a file, of another kind of network, or names, shapes or values are wrong.
    """
    header, tensors = _read(path)
    kind = next(name for name, (known, _) in _KINDS.items() if known is network_type)
    if header["kind"] != kind:
        raise DataInvalid(
            "the file holds another network", where=path, expected=kind, found=header["kind"]
        )
    settings = validate_settings(_KINDS[kind][1], header["settings"], source=path)
    with torch.device("meta"):  # no memory and no time for weights that are replaced at once
        network = network_type(cast(Any, settings))
    _require_same(network.state_dict(), tensors, path)
    network.load_state_dict(tensors, assign=True)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not (kind == "sahmr" and name.startswith("rcnet.")))
    return TrainedNetwork(network.eval(), header["provenance"])


def read_provenance(path: Path) -> dict[str, Any]:
    """What a network was trained on and how; raises as `read_network`."""
    return _read(path, weights=False)[0]["provenance"]


def _read(path: Path, weights: bool = True) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise DataMissing("trained network not found", where=path, fix="train it first: `make train`")
    try:
        with safe_open(path, framework="pt") as archive:
            header = json.loads((archive.metadata() or {}).get(_HEADER, "null"))
            names = archive.keys() if weights else []
            tensors = {name: archive.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise DataInvalid(f"trained network cannot be read: {error}", where=path) from None
    if not isinstance(header, dict) or header.get("kind") not in _KINDS:
        raise DataInvalid(
            "not a network written by this program",
            where=path,
            expected=f"a safetensors file with the header {_HEADER!r}",
            fix="official checkpoints are given where official files are asked for",
        )
    return header, tensors


def _require_same(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    wrong = sorted(
        name
        for name in set(shapes) | set(found)
        if name not in found or shapes.get(name) != tuple(found[name].shape)
    )
    if wrong:
        name = wrong[0]
        raise DataInvalid(
            f"{len(wrong)} tensor(s) are not those of the network the file says it holds",
            where=f"{path}, {name}",
            expected=shapes.get(name, "no such tensor"),
            found=tuple(found[name].shape) if name in found else "missing",
        )
    broken = [name for name, tensor in found.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise DataInvalid("weights are not finite", where=f"{path}, {broken[0]}")
