"""The paper's figures, readable as code: two kinds of residual block, and the network that stacks them.

Module names are torchvision's, so that its checkpoints, timm's and the tutorial's load key by key.
"""

from __future__ import annotations

from torch import Tensor, nn

from resnet.config import STAGE_PLANES, ResNetConfig


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the resolution at stride 1. No bias: the BatchNorm behind it has one already."""
    return nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, groups=groups, bias=False
    )


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """What `x` goes through on its way around the block.

    The paper draws two kinds. The solid line is the identity: nothing to learn, ``None`` here. The dashed line stands
    where the block changes the shape, so that ``F(x) + x`` could not be added: a 1x1 convolution gives `x` the new
    number of channels, and its stride the new resolution (from 56 x 56 x 64 to 28 x 28 x 128, say).
    """
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(conv(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """``relu(F(x) + shortcut(x))`` with two 3x3 convolutions in F: the block of ResNet-18 and -34."""

    def __init__(self, config: ResNetConfig, in_channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, planes, 3, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv(planes, planes, 3)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(in_channels, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in_channels, H, W) -> (N, planes, H / stride, W / stride)``."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        identity = x if self.downsample is None else self.downsample(x)
        out += identity
        return self.relu(out)  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """``relu(F(x) + shortcut(x))`` where F narrows (1x1), convolves (3x3) and widens again (1x1): ResNet-50 and deeper.

    At 256 channels that is 69,632 weights, against 1,179,648 for two 3x3 convolutions.
    """

    def __init__(self, config: ResNetConfig, in_channels: int, planes: int, stride: int) -> None:
        super().__init__()
        width, out_channels = config.width(planes), planes * config.expansion
        # The paper halves the resolution in the first 1x1, which throws three quarters of the input away unread;
        # torchvision and timm do it in the 3x3 ("v1.5").
        stride1, stride2 = (stride, 1) if config.stride_in_1x1 else (1, stride)
        self.conv1 = conv(in_channels, width, 1, stride1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride2, config.groups)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, out_channels, 1)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in_channels, H, W) -> (N, 4 * planes, H / stride, W / stride)``."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        identity = x if self.downsample is None else self.downsample(x)
        out += identity
        return self.relu(out)  # type: ignore[no-any-return]


class ResNet(nn.Module):
    """A residual network for RGB images: stem, four stages, global average, classifier.

    Args:
        config: what to build. Weights start as the paper's (He initialisation); BatchNorm as the identity.

    References:
        He et al., https://arxiv.org/abs/1512.03385; initialisation: https://arxiv.org/abs/1502.01852
    """

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._stage(0, in_channels=64, stride=1)
        self.layer2 = self._stage(1, in_channels=STAGE_PLANES[0] * config.expansion, stride=2)
        self.layer3 = self._stage(2, in_channels=STAGE_PLANES[1] * config.expansion, stride=2)
        self.layer4 = self._stage(3, in_channels=STAGE_PLANES[2] * config.expansion, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(config.num_features, config.num_classes) if config.include_top else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:  # no memory, no numbers
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _stage(self, index: int, in_channels: int, stride: int) -> nn.Sequential:
        """The blocks of one stage: the first changes the shape (dashed shortcut), the others keep it (solid)."""
        block = BasicBlock if self.config.block == "basic" else Bottleneck
        planes = STAGE_PLANES[index]
        first = block(self.config, in_channels, planes, stride)
        others = (
            block(self.config, planes * self.config.expansion, planes, 1) for _ in range(self.config.depths[index] - 1)
        )
        return nn.Sequential(first, *others)

    def forward_features(self, x: Tensor) -> Tensor:
        """``(N, 3, H, W) -> (N, num_features, H / 32, W / 32)``: the last stage's maps, before the average."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))  # type: ignore[no-any-return]

    def forward_head(self, maps: Tensor) -> Tensor:
        """``(N, num_features, h, w) -> (N, num_classes)`` logits, or ``(N, num_features)`` without a classifier."""
        features: Tensor = self.avgpool(maps).flatten(1)
        return features if self.fc is None else self.fc(features)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, 3, H, W)`` normalised images -> ``(N, num_classes)`` logits; pooled features without `include_top`."""
        return self.forward_head(self.forward_features(x))
