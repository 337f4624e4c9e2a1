"""A SA-HMR as small as it comes."""

from __future__ import annotations

import pytest

from sahmr.networks.hrnet import HrnetSettings
from sahmr.networks.mesh_recovery import MeshRecoverySettings
from sahmr.networks.rcnet import RcnetSettings
from sahmr.networks.sahmr import SahmrSettings
from sahmr.networks.spvcnn import SpvcnnSettings


@pytest.fixture(scope="session")
def small_sahmr() -> SahmrSettings:
    """Settings of a network that answers in milliseconds."""
    hrnet = HrnetSettings(
        width=4, stem_width=4, head_width=2, head_channels=6, blocks=1, modules=(1, 1, 1)
    )
    return SahmrSettings(
        rcnet=RcnetSettings(
            backbone=hrnet,
            contact_net=SpvcnnSettings(channels_down=(4, 4, 4, 4, 4), channels_up=(4, 4, 4, 4)),
        ),
        mesh_recovery=MeshRecoverySettings(
            backbone=hrnet,
            hidden=(8, 8, 8),
            outputs=(8, 8, 3),
            heads=2,
            scene_heads=2,
            layers=1,
            feed_forward=16,
        ),
    )
