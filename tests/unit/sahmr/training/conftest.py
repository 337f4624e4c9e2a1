"""A training of a few steps, of networks as small as they come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sahmr.networks.metro import Metro
from sahmr.networks.weights_file import write_network
from sahmr.training.settings import TrainingSettings

BACKBONE = {
    "width": 4,
    "stem_width": 4,
    "head_width": 2,
    "head_channels": 8,
    "blocks": 1,
    "modules": [1, 1, 1],
    "image_px": 64,
}
MICRO: dict[str, Any] = {
    "tensorboard": False,
    "rcnet_network": {
        "backbone": BACKBONE,
        "nearby": {"voxel_size_m": 0.2},
        "contact_net": {
            "channels_in": 7,
            "channels_linear": 8,
            "channels_down": [8, 8, 8, 8, 8],
            "channels_up": [8, 8, 8, 8],
        },
    },
    "mesh_network": {
        "backbone": BACKBONE,
        "image_px": 64,
        "hidden": [8, 8, 8],
        "outputs": [8, 8, 3],
        "heads": 2,
        "scene_heads": 2,
        "feed_forward": 16,
    },
    **{
        stage: {"batch_size": 4, "steps": 2, "warm_up_steps": 0, "log_every": 1, "validate_every": 1}
        for stage in ("start", "rcnet", "mesh", "metro")
    },
}


@pytest.fixture(scope="session")
def metro_start(tmp_path_factory) -> Path:
    """Weights of a METRO that was not trained, to start the others from."""
    settings = TrainingSettings.model_validate(MICRO)
    path = tmp_path_factory.mktemp("start") / "metro.safetensors"
    write_network(path, Metro(settings.metro_network), {"stage": "start"})
    return path


@pytest.fixture
def micro(body_shards, metro_start, tmp_path) -> Callable[..., TrainingSettings]:
    """Settings of a two-step training; `changes` by top-level name."""

    def make(**changes: Any) -> TrainingSettings:
        tree = {**MICRO, "out_dir": tmp_path / "run", "name": "micro", **changes}
        tree.setdefault("start_from", {"metro": str(metro_start)})
        tree["data"] = {"shards": body_shards()[0].parent, "workers": 0, **tree.get("data", {})}
        return TrainingSettings.model_validate(tree)

    return make
