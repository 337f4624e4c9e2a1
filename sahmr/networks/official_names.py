"""Official parameter names beside ours: one table per checkpoint, read in both directions.

A rule maps everything below a prefix; `#` stands for a number. Names that no forward pass reads are listed
by prefix too: official files hold them, our networks do not, and saving puts them back.

Source: instantiated public modules (tests/goldens/*.json), networks page, section 7.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

Rules = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class NameTable:
    """How one official checkpoint names its tensors."""

    rules: Rules
    """(official prefix, our prefix); the first that fits is taken."""
    unused: tuple[str, ...] = ()
    """Official prefixes of tensors that no forward pass reads."""

    def is_unused(self, official: str) -> bool:
        """True for a tensor that our network does not have on purpose."""
        return any(_pattern(prefix).match(official) for prefix in self.unused)

    def ours(self, official: str) -> str:
        """Our name; an unknown name stays as it is."""
        return _rename(official, self.rules)

    def official(self, ours: str) -> str:
        """The official name of one of our parameters or buffers."""
        return _rename(ours, tuple((our_prefix, prefix) for prefix, our_prefix in self.rules))

    def below(self, official: str, ours: str) -> NameTable:
        """The same table for a network that is part of another one."""
        return NameTable(
            tuple((official + left, ours + right) for left, right in self.rules),
            tuple(official + prefix for prefix in self.unused),
        )


def join(tables: Iterable[NameTable]) -> NameTable:
    """The table of a network made of parts."""
    tables = list(tables)
    return NameTable(
        tuple(rule for table in tables for rule in table.rules),
        tuple(prefix for table in tables for prefix in table.unused),
    )


def _rename(name: str, rules: Rules) -> str:
    for source, target in rules:
        match = _pattern(source).match(name)
        if match:
            pieces = target.split("#")
            numbers = (*match.groups(), "")
            return (
                "".join(piece + number for piece, number in zip(pieces, numbers, strict=True))
                + name[match.end() :]
            )
    return name


def _pattern(prefix: str) -> re.Pattern[str]:
    return re.compile(re.escape(prefix).replace(r"\#", r"(\d+)"))


HRNET = NameTable((("", ""),), unused=("classifier.",))
"""HRNet keeps its official names."""

_STAGE, _LAYER = "trans_encoder.#.", "trans_encoder.#.bert.encoder.layer.#."

_MESH_TRANSFORMER = NameTable(
    (
        ("backbone.", "image_tokens.backbone."),
        ("conv_learn_tokens.", "image_tokens.mix."),
        (_STAGE + "bert.img_embedding.", "stages.#.embed."),
        (_STAGE + "bert.position_embeddings.", "stages.#.positions."),
        (_LAYER + "attention.self.query.", "stages.#.layers.#.query."),
        (_LAYER + "attention.self.key.", "stages.#.layers.#.key."),
        (_LAYER + "attention.self.value.", "stages.#.layers.#.value."),
        (_LAYER + "attention.output.dense.", "stages.#.layers.#.attention_out."),
        (_LAYER + "attention.output.LayerNorm.", "stages.#.layers.#.attention_norm."),
        (_LAYER + "intermediate.dense.", "stages.#.layers.#.widen."),
        (_LAYER + "output.dense.", "stages.#.layers.#.narrow."),
        (_LAYER + "output.LayerNorm.", "stages.#.layers.#.norm."),
        (_STAGE + "cls_head.", "stages.#.head."),
        (_STAGE + "residual.", "stages.#.skip."),
        ("upsampling.", "upsampling.to_middle."),
        ("upsampling2.", "upsampling.to_full."),
    ),
    unused=("backbone.classifier.", _STAGE + "bert.embeddings.", _STAGE + "bert.pooler."),
)
"""What METRO and the mesh recovery network share."""

_CAMERA = NameTable(
    (
        ("cam_param_fc.", "camera_point."),
        ("cam_param_fc2.", "camera_hidden."),
        ("cam_param_fc3.", "camera."),
    )
)

METRO = join([_MESH_TRANSFORMER, _CAMERA])
"""METRO's body network (`metro_3dpw_state_dict.bin`)."""


def _scene_attention(official: str, ours: str) -> NameTable:
    names = (
        ("q_proj.", "query."),
        ("k_proj.", "key."),
        ("v_proj.", "value."),
        ("merge.", "merge."),
        ("norm1.", "merge_norm."),
        ("mlp.0.", "mix."),
        ("mlp.2.", "narrow."),
        ("norm2.", "norm."),
    )
    return NameTable(names).below(official, ours)


MESH_RECOVERY = join(
    [
        _MESH_TRANSFORMER,
        _scene_attention(_STAGE + "bert.encoder.linear_cp.#.", "stages.#.scene_layers.#."),
        _scene_attention(_STAGE + "bert.encoder.loftr_layer.", "stages.#.cross."),
    ]
)
"""SA-HMR's mesh recovery network (`metro_enhanced`)."""

RCNET = NameTable(
    (
        ("root_net.hrnet.", "root_net.backbone."),
        ("root_net.out_conv.", "root_net.maps."),
        ("contact_net.", "contact_net."),
    )
)
"""SA-HMR's root and contact network."""

SAHMR = join([RCNET.below("rcnet.", "rcnet."), MESH_RECOVERY.below("metro_enhanced.", "mesh_recovery.")])
"""Both, as SA-HMR's own files hold them."""
