"""What a ResNet is made of, as data: `ResNetConfig`, and the variants that have names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Block = Literal["basic", "bottleneck"]

#: How many times wider a block's output is than its 3x3 convolutions.
EXPANSION: dict[Block, int] = {"basic": 1, "bottleneck": 4}

#: Planes (width before expansion) of the four stages, as in Table 1 of the paper.
STAGE_PLANES = (64, 128, 256, 512)


@dataclass(frozen=True)
class ResNetConfig:
    """The shape of a residual network.

    Args:
        block: ``"basic"`` (two 3x3 convolutions; ResNet-18, -34) or ``"bottleneck"`` (1x1, 3x3, 1x1; -50 and deeper).
        depths: how many blocks each of the four stages has.
        groups: groups of the 3x3 convolution of a bottleneck (ResNeXt's cardinality).
        width_per_group: channels of each of those groups where a stage has 64 planes.
        stride_in_1x1: where a bottleneck halves the resolution: in its first 1x1 (the paper, "v1") or in its 3x3
            (torchvision, timm, "v1.5", the default).
        num_classes: outputs of the classifier.
        include_top: whether there is a classifier at all; without it the network returns pooled features.

    Raises:
        ValueError: if the numbers describe no network that can be built.

    References:
        He et al., "Deep Residual Learning for Image Recognition", https://arxiv.org/abs/1512.03385
        Xie et al., "Aggregated Residual Transformations", https://arxiv.org/abs/1611.05431
        Zagoruyko & Komodakis, "Wide Residual Networks", https://arxiv.org/abs/1605.07146
    """

    block: Block
    depths: tuple[int, int, int, int]
    groups: int = 1
    width_per_group: int = 64
    stride_in_1x1: bool = False
    num_classes: int = 1000
    include_top: bool = True

    def __post_init__(self) -> None:
        if self.block not in EXPANSION:
            raise ValueError(f"block is {self.block!r}; it must be one of {', '.join(EXPANSION)}")
        if len(self.depths) != 4 or any(depth < 1 for depth in self.depths):
            raise ValueError(f"depths are {self.depths}; four stages of at least one block each are needed")
        if self.groups < 1 or self.width_per_group < 1:
            raise ValueError(f"groups ({self.groups}) and width_per_group ({self.width_per_group}) must be at least 1")
        if self.block == "basic" and (self.groups, self.width_per_group) != (1, 64):
            raise ValueError("a basic block has no groups and no width_per_group: only a bottleneck does")
        if self.block == "basic" and self.stride_in_1x1:
            raise ValueError("a basic block has no 1x1 convolution to put the stride in: only a bottleneck does")
        if self.num_classes < 1:
            raise ValueError(
                f"num_classes is {self.num_classes}; use include_top=False for a network without a classifier"
            )

    @property
    def expansion(self) -> int:
        return EXPANSION[self.block]

    @property
    def num_features(self) -> int:
        """Channels of the last stage: the length of the vector that the classifier reads."""
        return STAGE_PLANES[-1] * self.expansion

    def width(self, planes: int) -> int:
        """Channels of a block's 3x3 convolutions in a stage of `planes`."""
        return int(planes * self.width_per_group / 64) * self.groups

    @property
    def num_parameters(self) -> int:
        """Weights and biases of the whole network (BatchNorm's running statistics are not parameters)."""
        total, channels = 7 * 7 * 3 * 64 + 2 * 64, 64
        for planes, depth in zip(STAGE_PLANES, self.depths, strict=True):
            width, out = self.width(planes), planes * self.expansion
            for index in range(depth):
                if self.block == "basic":
                    total += 9 * channels * width + 9 * width * out + 2 * (width + out)
                else:
                    total += channels * width + 9 * width * width // self.groups + width * out + 2 * (2 * width + out)
                if index == 0 and (planes > 64 or channels != out):
                    total += channels * out + 2 * out  # the dashed shortcut's 1x1 convolution and its BatchNorm
                channels = out
        return total + (self.num_features + 1) * self.num_classes * self.include_top

    def with_classes(self, num_classes: int) -> ResNetConfig:
        """The same network with a classifier of `num_classes`, or without one for 0."""
        if num_classes == 0:
            return replace(self, include_top=False)
        return replace(self, include_top=True, num_classes=num_classes)


#: The variants that torchvision and timm have names for.
VARIANTS: dict[str, ResNetConfig] = {
    "resnet18": ResNetConfig("basic", (2, 2, 2, 2)),
    "resnet34": ResNetConfig("basic", (3, 4, 6, 3)),
    "resnet26": ResNetConfig("bottleneck", (2, 2, 2, 2)),
    "resnet50": ResNetConfig("bottleneck", (3, 4, 6, 3)),
    "resnet101": ResNetConfig("bottleneck", (3, 4, 23, 3)),
    "resnet152": ResNetConfig("bottleneck", (3, 8, 36, 3)),
    "resnet200": ResNetConfig("bottleneck", (3, 24, 36, 3)),
    "resnext50_32x4d": ResNetConfig("bottleneck", (3, 4, 6, 3), groups=32, width_per_group=4),
    "resnext101_32x4d": ResNetConfig("bottleneck", (3, 4, 23, 3), groups=32, width_per_group=4),
    "resnext101_32x8d": ResNetConfig("bottleneck", (3, 4, 23, 3), groups=32, width_per_group=8),
    "resnext101_64x4d": ResNetConfig("bottleneck", (3, 4, 23, 3), groups=64, width_per_group=4),
    "wide_resnet50_2": ResNetConfig("bottleneck", (3, 4, 6, 3), width_per_group=128),
    "wide_resnet101_2": ResNetConfig("bottleneck", (3, 4, 23, 3), width_per_group=128),
}


def variant_name(config: ResNetConfig) -> str | None:
    """The name of the variant with this body (whatever its classifier and strides), or None where it has none."""
    for name, variant in VARIANTS.items():
        if replace(config, num_classes=1000, include_top=True, stride_in_1x1=False) == variant:
            return name
    return None
