"""Named sets of values below the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

PresetName = Literal["tiny", "paper"]

_BACKBONE: Final = {
    "width": 12,
    "stem_width": 16,
    "head_width": 16,
    "head_channels": 128,
    "blocks": 1,
    "modules": [1, 1, 1],
    "image_px": 128,
}
_SPARSE: Final = {
    "channels_in": 19,
    "channels_linear": 16,
    "channels_down": [16, 16, 24, 32, 48],
    "channels_up": [48, 32, 24, 16],
    "dropout": 0.1,
}
_NEARBY: Final = {"voxel_size_m": 0.1}
_MESH: Final = {
    "image_px": 128,
    "backbone": _BACKBONE,
    "hidden": [64, 48, 32],
    "outputs": [64, 32, 3],
    "layers": 1,
    "feed_forward": 128,
    "scene_layers": 1,
    "dropout": 0.0,
}
_ROOT_CONTACT_LOSSES: Final = {
    # Beside sums over a thousand cells of eight contact maps the paper's weight leaves the heat map flat.
    "root_heatmap": 10.0,
    "contact_maps": 0.1,
    "mirrored_contact_maps": 0.1,
    "contact_voxel": 10.0,
}
_PACE: Final = {
    "batch_size": 8,
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "decay_factor": 0.02,
    "warm_up_steps": 30,
    # The paper's cut of every element at 0.5 would leave little but the signs of these gradients.
    "clip_value": None,
    "validate_every": 100,
}

PRESETS: Final[Mapping[PresetName, Mapping[str, Any]]] = {
    "paper": {"runner": {"workers": 1}},
    "tiny": {
        "rcnet_network": {"backbone": _BACKBONE, "contact_net": _SPARSE, "nearby": _NEARBY},
        "mesh_network": _MESH,
        "fixed_upsampling": True,
        "start": {**_PACE, "learning_rate": 2e-3, "steps": 300, "masked_share": 0.0},
        "rcnet": {
            **_PACE,
            "learning_rate": 2e-3,
            "steps": 600,
            "losses": _ROOT_CONTACT_LOSSES,
            # f2 is the box's width at the root's depth: 1.15 times a person of 1.6 m, some half bent.
            "start_depth": 1.9,
        },
        "mesh": {**_PACE, "steps": 300},
        "metro": {**_PACE, "steps": 300, "masked_share": 0.0},
        "data": {
            "workers": 0,
            "validation_limit": 64,
            # Boxes of tests are the tightest of training's: with the paper's 0.4 a short training takes the
            # person for smaller than it is there, and puts it 14 % too far off.
            "augmentation": {"zoom": 0.05},
        },
    },
}
"""`paper` is what the defaults say already, one network at a time."""


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two trees of settings; where both say something, the upper one counts."""
    tree = dict(below)
    for name, value in above.items():
        under = tree.get(name)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            tree[name] = merged(under, value)
        else:
            tree[name] = value
    return tree
