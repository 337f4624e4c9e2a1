"""The priors that come with the package."""

from __future__ import annotations

import torch

from pipelines.motion_prior.checkpoint import (
    SHIPPED_FOLDER,
    SHIPPED_INITIAL_STATE,
    SHIPPED_MOTION,
    SHIPPED_POSE,
    load_priors,
    read_metadata,
)


def test_shipped_priors_load_and_are_frozen():
    priors = load_priors()
    assert not priors.motion.training
    assert not priors.pose.training
    assert not any(p.requires_grad for p in (*priors.motion.parameters(), *priors.pose.parameters()))
    assert priors.motion.decoder.net[0].weight.dtype == torch.float32
    double = priors.to(torch.float64)
    assert double.pose.decode(torch.zeros(1, 32, dtype=torch.float64)).dtype == torch.float64
    assert priors.pose.bodyprior_dec_out.weight.dtype == torch.float32


def test_shipped_files_stay_small_and_tell_their_origin():
    files = (SHIPPED_MOTION, SHIPPED_POSE, SHIPPED_INITIAL_STATE)
    assert sum(path.stat().st_size for path in files) < 8_000_000
    for path in files:
        metadata = read_metadata(path)
        assert {"settings", "clips", "seed", "frames_by_family"} <= set(metadata)
    assert "mocap.cs.cmu.edu" in (SHIPPED_FOLDER / "README.md").read_text()
