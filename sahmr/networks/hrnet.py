"""HRNet: four branches of falling resolution that keep exchanging what they see.

    features = Hrnet(HrnetSettings())(images)          # branches at 1/4, 1/8, 1/16 and 1/32 of 224 px
    summary = HrnetWithHead(HrnetSettings())(images)   # (batch, 2048, 7, 7)

Parameter names are those of the official W64 files. `Hrnet` is RCNet's backbone (it reads branch 0),
`HrnetWithHead` METRO's.

Source: HRNet-Image-Classification, lib/models/cls_hrnet.py, as told in the networks page, section 2.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pipelines.config import Settings

BOTTLENECK_EXPANSION: Final = 4


class HrnetSettings(Settings):
    """Widths and depths; the defaults are W64."""

    width: int = 64
    """Channels of the finest branch; each coarser one has twice as many."""
    stem_width: int = 64
    """Channels of the two stride-2 convolutions before the branches, and of the bottlenecks after them."""
    head_width: int = 32
    """Bottleneck width of the head on the finest branch (its output has four times as many channels)."""
    head_channels: int = 2048
    """Channels of the head's output."""
    blocks: int = 4
    """Residual blocks per branch and module, and bottlenecks before the branches."""
    modules: tuple[int, int, int] = (1, 4, 3)
    """Exchange modules of stages 2, 3 and 4."""
    image_px: int | None = None
    """Crops are first resized to this; None takes them as they come (SA-HMR). For small presets."""

    def branch_widths(self, branches: int = 4) -> list[int]:
        """Channels of the first so many branches."""
        return [self.width * 2**branch for branch in range(branches)]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv3(channels, channels), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = _conv3(channels, channels), nn.BatchNorm2d(channels)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Refine the features."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + x)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; the output is four times as wide."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        outputs = BOTTLENECK_EXPANSION * width
        self.conv1, self.bn1 = _conv1(inputs, width), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv3(width, width), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv1(width, outputs), nn.BatchNorm2d(outputs)
        self.downsample = (
            None
            if inputs == outputs
            else nn.Sequential(_conv1(inputs, outputs), nn.BatchNorm2d(outputs))
        )

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs height width"]:
        """Refine the features."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + shortcut)


class ExchangeModule(nn.Module):
    """Residual blocks on each branch, then every branch receives the sum of all."""

    def __init__(self, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        branches = range(len(widths))
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width) for _ in range(blocks))) for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_fusion(widths, source, target) for source in branches) for target in branches
        )

    def forward(self, xs: Sequence[Float[Tensor, "batch _ _ _"]]) -> list[Float[Tensor, "batch _ _ _"]]:
        """Exchange; branch counts, widths and sizes stay."""
        xs = [branch(x) for branch, x in zip(self.branches, xs, strict=True)]
        fused = []
        for paths in self.fuse_layers:
            assert isinstance(paths, nn.ModuleList)
            total = paths[0](xs[0])
            for path, x in zip(paths[1:], xs[1:], strict=True):
                total = total + path(x)
            fused.append(F.relu(total))
        return fused


class Hrnet(nn.Module):
    """The backbone without a head."""

    def __init__(self, settings: HrnetSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or HrnetSettings()
        stem = settings.stem_width
        self.conv1, self.bn1 = _conv3(3, stem, stride=2), nn.BatchNorm2d(stem)
        self.conv2, self.bn2 = _conv3(stem, stem, stride=2), nn.BatchNorm2d(stem)
        wide = BOTTLENECK_EXPANSION * stem
        self.layer1 = nn.Sequential(
            *(Bottleneck(stem if block == 0 else wide, stem) for block in range(settings.blocks))
        )
        widths = settings.branch_widths()
        self.transition1 = nn.ModuleList(
            [nn.Sequential(*_step(wide, widths[0], 1)), _new_branch(wide, widths[1])]
        )
        self.stage2 = self._stage(2)
        self.transition2 = nn.ModuleList([nn.Identity(), nn.Identity(), _new_branch(*widths[1:3])])
        self.stage3 = self._stage(3)
        self.transition3 = nn.ModuleList([*(nn.Identity() for _ in range(3)), _new_branch(*widths[2:4])])
        self.stage4 = self._stage(4)
        _initialise(self)

    def _stage(self, branches: int) -> nn.Sequential:
        settings = self.settings
        widths = settings.branch_widths(branches)
        modules = settings.modules[branches - 2]
        return nn.Sequential(*(ExchangeModule(widths, settings.blocks) for _ in range(modules)))

    def branches(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> list[Float[Tensor, "batch _ _ _"]]:
        """Features of the four branches, finest (1/4 of the image) first."""
        size = self.settings.image_px
        if size is not None and images.shape[2:] != (size, size):
            # Corner pixels stay on the box's corners, as everywhere (`crop_geometry`).
            images = F.interpolate(images, (size, size), mode="bilinear", align_corners=True)
        x = F.relu(self.bn1(self.conv1(images)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.layer1(x)
        xs = self.stage2([transition(x) for transition in self.transition1])
        xs = self.stage3([*xs, self.transition2[2](xs[-1])])
        return self.stage4([*xs, self.transition3[3](xs[-1])])

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch channels fine_height fine_width"]:
        """The finest branch after all exchange: RCNet's image features f.

        Args:
            images: RGB in 0..1, minus the ImageNet mean, over its standard deviation.
        """
        return self.branches(images)[0]


class HrnetWithHead(Hrnet):
    """The backbone whose head gathers all branches on the coarsest grid."""

    def __init__(self, settings: HrnetSettings | None = None) -> None:
        super().__init__(settings)
        settings = self.settings
        widths = [settings.head_width * 2**branch for branch in range(4)]
        self.incre_modules = nn.ModuleList(
            nn.Sequential(Bottleneck(inputs, width))
            for inputs, width in zip(settings.branch_widths(), widths, strict=True)
        )
        channels = [BOTTLENECK_EXPANSION * width for width in widths]
        self.downsamp_modules = nn.ModuleList(
            nn.Sequential(*_step(fine, coarse, 2, bias=True))
            for fine, coarse in itertools.pairwise(channels)
        )
        outputs = settings.head_channels
        self.final_layer = nn.Sequential(
            nn.Conv2d(channels[-1], outputs, 1), nn.BatchNorm2d(outputs), nn.ReLU()
        )
        _initialise(self)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch channels coarse_height coarse_width"]:
        """Features on 1/32 of the image: (batch, 2048, 7, 7) for 224 px and W64.

        Args:
            images: RGB in 0..1, minus the ImageNet mean, over its standard deviation.
        """
        xs = self.branches(images)
        y = self.incre_modules[0](xs[0])
        for widen, downsample, x in zip(
            self.incre_modules[1:], self.downsamp_modules, xs[1:], strict=True
        ):
            y = widen(x) + downsample(y)
        return self.final_layer(y)


def _fusion(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """The path from one branch to another: widen and shrink, or narrow and enlarge."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            _conv1(widths[source], widths[target]),
            nn.BatchNorm2d(widths[target]),
            nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"),
        )
    steps = target - source
    narrow = [nn.Sequential(*_step(widths[source], widths[source], 2)) for _ in range(steps - 1)]
    last = nn.Sequential(
        _conv3(widths[source], widths[target], stride=2), nn.BatchNorm2d(widths[target])
    )
    return nn.Sequential(*narrow, last)


def _new_branch(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Sequential(*_step(inputs, outputs, 2)))


def _step(inputs: int, outputs: int, stride: int, bias: bool = False) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=bias)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]


def _conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


def _conv1(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, bias=False)


def _initialise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
