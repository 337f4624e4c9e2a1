"""SA-HMR: RCNet, then the mesh recovery network on the scene points in contact.

    network = Sahmr(SahmrSettings()).eval()
    body = network(images, cameras, scene, template, categories, generator)
    body.vertices_camera                                # (batch, 6890, 3), metres

Source: SA-HMR, main paper Fig. 2; lib/networks/pose/sahmr/sahmr.py, as told in the networks page.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipelines.config import Settings
from sahmr.networks.contact_module import NUM_CONTACT_POINTS, contact_points
from sahmr.networks.mesh_recovery import MeshRecovery, MeshRecoverySettings
from sahmr.networks.rcnet import Rcnet, RcnetSettings, replace_far
from sahmr.types import (
    BodyTemplate,
    ContactCategories,
    ContactPoints,
    CropCameras,
    MeshPrediction,
    RootContactPrediction,
    ScenePoints,
)


class SahmrSettings(Settings):
    """Both networks."""

    rcnet: RcnetSettings = RcnetSettings()
    mesh_recovery: MeshRecoverySettings = MeshRecoverySettings()
    num_contact_points: int = NUM_CONTACT_POINTS
    far_root_m: float = 0.5
    """In training, a refined root farther than this from the truth is replaced."""
    root_noise_m: float = 0.08
    """Standard deviation, on every axis, of what takes its place round the truth."""


class Sahmr(nn.Module):
    """The whole network. RCNet is trained before and alone: here it stays frozen, in evaluation mode."""

    def __init__(self, settings: SahmrSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or SahmrSettings()
        self.rcnet = Rcnet(settings.rcnet).requires_grad_(False).eval()
        self.mesh_recovery = MeshRecovery(settings.mesh_recovery)

    def train(self, mode: bool = True) -> Sahmr:
        """Set the mesh network's mode; RCNet's batch norms never leave evaluation mode."""
        super().train(mode)
        self.rcnet.eval()
        return self

    def forward(
        self,
        images: Float[Tensor, "batch 3 height width"],
        cameras: CropCameras,
        scene: ScenePoints,
        template: BodyTemplate,
        categories: ContactCategories,
        generator: torch.Generator | None = None,
        true_root_camera: Float[Tensor, "batch 3"] | None = None,
    ) -> MeshPrediction:
        """Recover bodies in their scenes.

        Args:
            images: RGB in 0..1, minus the ImageNet mean, over its standard deviation.
            cameras: where each crop lies, and its intrinsics.
            scene: the scene points inside each view frustum (`crop_geometry.in_frustum`).
            template: the body the vertex tokens start from.
            categories: which part each contact class stands for.
            generator: draws contact points where there are too many.
            true_root_camera: given in training; takes the place of refined roots that are far off.

        Raises:
            DataInvalid: the images are not finite.
        """
        with torch.no_grad():
            root_contact = self.rcnet(images, cameras, scene)
        return self.recover(images, root_contact, template, categories, generator, true_root_camera)

    def recover(
        self,
        images: Float[Tensor, "batch 3 height width"],
        root_contact: RootContactPrediction,
        template: BodyTemplate,
        categories: ContactCategories,
        generator: torch.Generator | None = None,
        true_root_camera: Float[Tensor, "batch 3"] | None = None,
        contact: ContactPoints | None = None,
    ) -> MeshPrediction:
        """The second half: bodies from what RCNet said.

        Arguments as of `forward`; `contact` is given where the points were drawn before, camera frame.
        """
        root = root_contact.refined_root_camera
        if true_root_camera is not None:
            settings = self.settings
            root = replace_far(
                root, true_root_camera, settings.far_root_m, settings.root_noise_m, generator
            )
        if contact is None:
            contact = contact_points(root_contact, generator, self.settings.num_contact_points)
        contact_root = ContactPoints(contact.points - root[:, None], contact.category)
        mesh = self.mesh_recovery(images, contact_root, template, categories)
        vertices_camera = mesh.vertices_root + root[:, None]
        return MeshPrediction(vertices_camera, root, mesh, contact, root_contact)
