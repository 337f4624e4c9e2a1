"""SPVCNN, the sparse point-voxel network behind contact and root refinement.

A U-Net over voxels at strides 1 to 16 with a branch over the points themselves, joined three times. Names
of modules are the official ones, so its checkpoints load as they are (`contact_net.` of RCNet).

    network = SPVCNN(SpvcnnSettings())
    outputs = network(PointCloud(features, coordinates, batch))     # (points, 12)

Source: SA-HMR, backbone/spvcnn.py (after spvnas); Tang et al., "Searching Efficient 3D Architectures with
Sparse Point-Voxel Convolution", ECCV 2020.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.config import Settings
from pipelines.errors import DataInvalid
from sahmr.ops.convolution import (
    Backend,
    RowBatchNorm,
    SparseBatchNorm,
    SparseConvolution,
    SparseReLU,
    concatenate,
)
from sahmr.ops.devoxelize import devoxelize
from sahmr.ops.products import RowLinear
from sahmr.ops.sparse_tensor import PointCloud, Rounding, SparseTensor
from sahmr.ops.voxelize import PointVoxelLinks


class SpvcnnSettings(Settings):
    """Sizes of the network; the defaults are the `paper` preset."""

    channels_in: int = 35
    """Per voxel: offset to the root (3) and image features (32)."""
    channels_linear: int = 32
    """Output of the first linear layer: 32 in the paper, 35 in the released weights."""
    channels_out: int = 12
    """Confidence, offset (3) and one logit per contact class."""
    channels_down: tuple[int, int, int, int, int] = (32, 32, 64, 128, 256)
    """Stem and the four stages at strides 2, 4, 8, 16."""
    channels_up: tuple[int, int, int, int] = (256, 128, 96, 96)
    """The four stages back at strides 8, 4, 2, 1."""
    dropout: float = 0.3
    """Share of features dropped before the first and the third stage upwards."""
    downsample_rounding: Rounding = "floor"
    """`trunc` for the released weights."""
    backend: Backend = "torch"


class SPVCNN(nn.Module):
    """Features of points -> outputs of points, through the voxels around them."""

    def __init__(self, settings: SpvcnnSettings | None = None) -> None:
        super().__init__()
        settings = settings or SpvcnnSettings()
        self.settings = settings
        backend = settings.backend
        c0, c1, c2, c3, c4 = settings.channels_down
        u1, u2, u3, u4 = settings.channels_up
        self.fc_in = RowLinear(settings.channels_in, settings.channels_linear)
        self.stem = nn.Sequential(
            SparseConvolution(settings.channels_linear, c0, backend=backend),
            SparseBatchNorm(c0),
            SparseReLU(),
            SparseConvolution(c0, c0, backend=backend),
            SparseBatchNorm(c0),
            SparseReLU(),
        )
        self.stage1 = _down_stage(c0, c1, backend)
        self.stage2 = _down_stage(c1, c2, backend)
        self.stage3 = _down_stage(c2, c3, backend)
        self.stage4 = _down_stage(c3, c4, backend)
        self.up1 = _up_stage(c4, u1, c3, backend)
        self.up2 = _up_stage(u1, u2, c2, backend)
        self.up3 = _up_stage(u2, u3, c1, backend)
        self.up4 = _up_stage(u3, u4, c0, backend)
        self.point_transforms = nn.ModuleList(
            nn.Sequential(RowLinear(before, after), RowBatchNorm(after), nn.ReLU(inplace=True))
            for before, after in ((c0, c4), (c4, u2), (u2, u4))
        )
        self.classifier = nn.Sequential(RowLinear(u4, settings.channels_out))

    def forward(self, points: PointCloud) -> Float[Tensor, "points channels"]:
        """Outputs per point, in the order of the points; an empty cloud gives no rows.

        Raises:
            DataInvalid: wrong number of channels, or a feature or coordinate is not finite.
        """
        _check(points, self.settings.channels_in)
        if len(points.features) == 0:
            return points.features.new_zeros(0, self.settings.channels_out)
        links = PointVoxelLinks(points, self.settings.downsample_rounding)
        z = self.fc_in(points.features)
        x0 = self.stem(links.voxelize(z, 1))
        z0 = devoxelize(x0, links)

        x1 = self.stage1(links.voxelize(z0, 1))
        x2 = self.stage2(x1)
        x3 = self.stage3(x2)
        x4 = self.stage4(x3)
        z1 = devoxelize(x4, links) + self.point_transforms[0](z0)

        y1 = _climb(self.up1, self._dropped(links.voxelize(z1, 16)), x3)
        y2 = _climb(self.up2, y1, x2)
        z2 = devoxelize(y2, links) + self.point_transforms[1](z1)

        y3 = _climb(self.up3, self._dropped(links.voxelize(z2, 4)), x1)
        y4 = _climb(self.up4, y3, x0)
        z3 = devoxelize(y4, links) + self.point_transforms[2](z2)
        return self.classifier(z3)

    def _dropped(self, tensor: SparseTensor) -> SparseTensor:
        return tensor.with_features(F.dropout(tensor.features, self.settings.dropout, self.training))


class ResidualBlock(nn.Module):
    """Two convolutions of size 3 and a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, backend: Backend) -> None:
        super().__init__()
        self.net = nn.Sequential(
            SparseConvolution(channels_in, channels_out, backend=backend),
            SparseBatchNorm(channels_out),
            SparseReLU(),
            SparseConvolution(channels_out, channels_out, backend=backend),
            SparseBatchNorm(channels_out),
        )
        self.downsample: nn.Module = nn.Identity()
        if channels_in != channels_out:
            self.downsample = nn.Sequential(
                SparseConvolution(channels_in, channels_out, size=1), SparseBatchNorm(channels_out)
            )

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """Same cells, other channels."""
        total = self.net(tensor).features + self.downsample(tensor).features
        return tensor.with_features(F.relu(total, inplace=True))


class ScaleChange(nn.Module):
    """A convolution of size and step 2, down or (transposed) up, with batch norm and ReLU."""

    def __init__(self, channels_in: int, channels_out: int, *, up: bool, backend: Backend) -> None:
        super().__init__()
        self.net = nn.Sequential(
            SparseConvolution(channels_in, channels_out, 2, 2, transposed=up, backend=backend),
            SparseBatchNorm(channels_out),
            SparseReLU(),
        )

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """To the cells of twice or half the stride."""
        return self.net(tensor)


def _down_stage(channels_in: int, channels_out: int, backend: Backend) -> nn.Sequential:
    return nn.Sequential(
        ScaleChange(channels_in, channels_in, up=False, backend=backend),
        ResidualBlock(channels_in, channels_out, backend),
        ResidualBlock(channels_out, channels_out, backend),
    )


def _up_stage(
    channels_in: int, channels_out: int, channels_skip: int, backend: Backend
) -> nn.ModuleList:
    """Scale change, then the residual blocks after the skip connection has joined."""
    blocks = nn.Sequential(
        ResidualBlock(channels_out + channels_skip, channels_out, backend),
        ResidualBlock(channels_out, channels_out, backend),
    )
    return nn.ModuleList([ScaleChange(channels_in, channels_out, up=True, backend=backend), blocks])


def _climb(stage: nn.ModuleList, below: SparseTensor, skip: SparseTensor) -> SparseTensor:
    scale_change, blocks = stage
    return blocks(concatenate(scale_change(below), skip))


def _check(points: PointCloud, channels_in: int) -> None:
    if points.features.shape[1] != channels_in:
        raise DataInvalid(
            "points have the wrong number of features",
            expected=channels_in,
            found=points.features.shape[1],
        )
    for name, values in (("features", points.features), ("coordinates", points.coordinates)):
        bad = int((~values.isfinite()).any(dim=1).sum())
        if bad:
            raise DataInvalid(
                f"{name} of the point cloud are not finite",
                expected="finite numbers",
                found=f"{bad} of {len(values)} points with NaN or infinity",
                fix="look at the depth, the camera and the image the points were made from",
            )
