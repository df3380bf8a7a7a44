"""What each layer of a network does, costs and sees, computed from its config: nothing is allocated, nothing runs.

The network is built on the meta device, where tensors have a shape and no memory; the shapes follow from arithmetic.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Literal

import torch
from torch import nn

from resnet.config import ResNetConfig
from resnet.errors import Refusal
from resnet.network import BasicBlock, Bottleneck, ResNet

Kind = Literal["conv", "batch_norm", "relu", "max_pool", "avg_pool", "linear"]
Shortcut = Literal["identity", "projection"]
Depth = Literal["stage", "block", "layer"]
Shape = tuple[int, ...]

#: Sides of an image, in pixels, that are answered for; below, the last stages would see nothing but padding.
IMAGE_SIZES = (32, 4096)
#: Images in a batch that are answered for.
BATCH_SIZES = (1, 65_536)
#: Headings of Table 1 of the paper.
STAGE_NAMES = {"conv1": "conv1", "layer1": "conv2_x", "layer2": "conv3_x", "layer3": "conv4_x", "layer4": "conv5_x"}


@dataclass(frozen=True)
class LayerFacts:
    """One leaf module, in the order of the forward pass.

    A block's ReLU is one module that runs after each of its BatchNorms and after the addition; it stands where it first
    runs. The dashed shortcut's convolution and BatchNorm stand last in their block.

    Args:
        path: of the module, as it is written in the state dict, e.g. ``"layer2.0.conv1"``.
        stage: ``"conv1"``, ``"conv2_x"`` … as in Table 1 of the paper; ``"head"`` for what follows the stages.
        block: index within its stage; None outside of blocks.
        kind: what it is.
        kernel: side of the kernel in pixels; 0 where there is none.
        stride: in pixels of its input.
        groups: of the convolution; 1 elsewhere.
        input_shape: ``(N, C, H, W)``; ``(N, C)`` for the classifier.
        output_shape: likewise.
        parameters: weights and biases; BatchNorm's running statistics are none.
        macs: multiply-accumulates of convolutions and of the classifier, for the whole batch; 0 for the rest, as
            fvcore and torchvision count.
        activation_bytes: of the output in fp32.
        receptive_field: side in pixels of the image that one output can see, along the residual branch, which is the
            longest way; beyond the image's own side it counts padding. The head sees everything: 0.
        receptive_field_start: the first row and column of the image that the output at (0, 0) can see; negative where
            that is padding. The output at ``i`` sees ``receptive_field`` pixels from
            ``receptive_field_start + i * effective_stride`` on.
        effective_stride: pixels of the image between two neighbouring outputs.
        shortcut: of the block that it belongs to: ``"identity"`` (solid line) or ``"projection"`` (dashed); None
            outside of blocks.
    """

    path: str
    stage: str
    block: int | None
    kind: Kind
    kernel: int
    stride: int
    groups: int
    input_shape: Shape
    output_shape: Shape
    parameters: int
    macs: int
    activation_bytes: int
    receptive_field: int
    receptive_field_start: int
    effective_stride: int
    shortcut: Shortcut | None


@dataclass(frozen=True)
class Part:
    """Neighbouring layers taken together: a stage, a block, or one layer alone.

    Args:
        name: ``"conv3_x"``, ``"layer2.0"`` or a layer's path.
        stage: that it belongs to.
        input_shape: of its first layer.
        output_shape: of its last layer, along the residual branch.
        layers: how many leaf modules it has.
        parameters: of all of them.
        macs: of all of them.
        activation_bytes: of all their outputs in fp32.
        receptive_field: of its last layer.
        shortcut: of a block, or of the block that a layer belongs to; None for a stage.
    """

    name: str
    stage: str
    input_shape: Shape
    output_shape: Shape
    layers: int
    parameters: int
    macs: int
    activation_bytes: int
    receptive_field: int
    shortcut: Shortcut | None


@dataclass(frozen=True)
class _Signal:
    """What flows between layers: its shape, how far one of its values sees and from where on, and their distance."""

    shape: Shape
    field: int = 1
    start: int = 0
    step: int = 1


def layers(config: ResNetConfig, image_size: int | tuple[int, int] = 224, batch_size: int = 1) -> list[LayerFacts]:
    """The facts of every leaf module, in the order of the forward pass.

    Args:
        config: what is built.
        image_size: side of the square image in pixels, or ``(height, width)``.
        batch_size: images at a time.

    Raises:
        Refusal: if the image size or the batch size is outside its range; names it.

    References:
        Receptive fields: Araujo et al., "Computing Receptive Fields of Convolutional Neural Networks",
        https://distill.pub/2019/computing-receptive-fields
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    least, most = IMAGE_SIZES
    for side in (height, width):
        if not least <= side <= most:
            raise Refusal(
                "summary.image_size", "The image size is {value} pixels; it must be from {least} to {most}.",
                value=side, least=least, most=most,
            )  # fmt: skip
    least, most = BATCH_SIZES
    if not least <= batch_size <= most:
        raise Refusal(
            "summary.batch_size", "The batch size is {value} images; it must be from {least} to {most}.",
            value=batch_size, least=least, most=most,
        )  # fmt: skip
    return list(_walk(_meta_network(config), _Signal((batch_size, 3, height, width))))


def block_layers(block: BasicBlock | Bottleneck, input_shape: Shape, path: str = "block") -> list[LayerFacts]:
    """The facts of one residual block alone; receptive fields are in pixels of its input.

    Args:
        block: on any device, the meta device included.
        input_shape: ``(N, C, H, W)`` with the channels that the block was built for.
        path: what its layers' paths begin with.
    """
    return _block(block, path, _Signal(input_shape), "", 0)[1]


def parts(facts: list[LayerFacts], depth: Depth) -> list[Part]:
    """Layers summed up by stage, by block (a layer outside of blocks stands for itself) or not at all."""

    def key(one: LayerFacts) -> str:
        if depth == "stage":
            return one.stage
        if depth == "block" and one.block is not None:
            return ".".join(one.path.split(".")[:2])
        return one.path

    return [_part(name, list(group), depth) for name, group in itertools.groupby(facts, key)]


def _part(name: str, group: list[LayerFacts], depth: Depth) -> Part:
    branch = [one for one in group if ".downsample." not in one.path] or group
    return Part(
        name, group[0].stage, group[0].input_shape, branch[-1].output_shape, len(group),
        sum(one.parameters for one in group), sum(one.macs for one in group),
        sum(one.activation_bytes for one in group), branch[-1].receptive_field,
        None if depth == "stage" else group[0].shortcut,
    )  # fmt: skip


def to_csv(found: Sequence[Part | LayerFacts], **columns: Sequence[object]) -> str:
    """A table of facts with a heading; shapes as ``1x64x56x56``.

    Args:
        found: its rows.
        columns: further columns by their headings, a value for each row.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    rows = [asdict(one) | {name: values[index] for name, values in columns.items()} for index, one in enumerate(found)]
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow(["x".join(map(str, cell)) if isinstance(cell, tuple) else cell for cell in row.values()])
    return stream.getvalue()


@lru_cache(maxsize=8)
def _meta_network(config: ResNetConfig) -> ResNet:
    with torch.device("meta"):
        return ResNet(config)


def _walk(network: ResNet, signal: _Signal) -> Iterator[LayerFacts]:
    """The stem, the blocks of the four stages, the head."""
    for name in ("conv1", "bn1", "relu", "maxpool"):
        signal, facts = _leaf(network.get_submodule(name), name, signal, STAGE_NAMES["conv1"])
        # Table 1 counts the pooling to conv2_x, whose resolution it makes.
        yield replace(facts, stage=STAGE_NAMES["layer1"]) if name == "maxpool" else facts
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        for index, block in enumerate(network.get_submodule(stage).children()):
            assert isinstance(block, BasicBlock | Bottleneck)
            signal, found = _block(block, f"{stage}.{index}", signal, STAGE_NAMES[stage], index)
            yield from found
    signal, facts = _leaf(network.avgpool, "avgpool", signal, "head")
    yield facts
    if network.fc is not None:
        signal, facts = _leaf(network.fc, "fc", signal, "head")
        yield facts


def _block(
    block: BasicBlock | Bottleneck, path: str, signal: _Signal, stage: str, index: int
) -> tuple[_Signal, list[LayerFacts]]:
    """One residual block. The branch sees farthest, so its signal is the block's; the shortcut only has to fit it."""
    shortcut: Shortcut = "identity" if block.downsample is None else "projection"
    found: list[LayerFacts] = []
    inside = signal
    for number in (1, 2, 3) if isinstance(block, Bottleneck) else (1, 2):
        for name in (f"conv{number}", f"bn{number}", *(["relu"] if number == 1 else [])):
            inside, facts = _leaf(block.get_submodule(name), f"{path}.{name}", inside, stage, index, shortcut)
            found.append(facts)
    if block.downsample is not None:
        around = signal
        for name in ("0", "1"):
            around, facts = _leaf(
                block.downsample.get_submodule(name), f"{path}.downsample.{name}", around, stage, index, shortcut
            )
            found.append(facts)
        assert around.shape == inside.shape, "what is added must have the same shape"
    return inside, found


def _leaf(
    module: nn.Module,
    path: str,
    signal: _Signal,
    stage: str,
    block: int | None = None,
    shortcut: Shortcut | None = None,
) -> tuple[_Signal, LayerFacts]:
    kind, kernel, stride, padding, groups, macs = _KINDS[type(module)], 0, 1, 0, 1, 0
    out = signal.shape
    if isinstance(module, nn.Conv2d):
        kernel, stride, padding = module.kernel_size[0], module.stride[0], int(module.padding[0])
        groups = module.groups
        out = (out[0], module.out_channels, *(_slide(side, kernel, stride, padding) for side in out[2:]))
        macs = out[0] * out[1] * out[2] * out[3] * kernel * kernel * module.in_channels // groups
    elif isinstance(module, nn.MaxPool2d):
        kernel, stride, padding = (int(one) for one in (module.kernel_size, module.stride, module.padding))  # type: ignore[arg-type]
        out = (*out[:2], *(_slide(side, kernel, stride, padding) for side in out[2:]))
    elif isinstance(module, nn.AdaptiveAvgPool2d):
        out = (*out[:2], 1, 1)
    elif isinstance(module, nn.Linear):
        out = (out[0], module.out_features)
        signal = replace(signal, shape=signal.shape[:2])
        macs = out[0] * module.in_features * module.out_features
    if kind in ("avg_pool", "linear"):
        after = _Signal(out, 0, 0, 0)
    else:
        field = signal.field + max(kernel - 1, 0) * signal.step
        after = _Signal(out, field, signal.start - padding * signal.step, signal.step * stride)
    size = 1
    for side in out:
        size *= side
    parameters = sum(one.numel() for one in module.parameters(recurse=False))
    return after, LayerFacts(
        path, stage, block, kind, kernel, stride, groups, signal.shape, out, parameters, macs, 4 * size, after.field,
        after.start, after.step, shortcut,
    )  # fmt: skip


_KINDS: dict[type[nn.Module], Kind] = {
    nn.Conv2d: "conv",
    nn.BatchNorm2d: "batch_norm",
    nn.ReLU: "relu",
    nn.MaxPool2d: "max_pool",
    nn.AdaptiveAvgPool2d: "avg_pool",
    nn.Linear: "linear",
}


def _slide(side: int, kernel: int, stride: int, padding: int) -> int:
    """How many places a kernel stands at."""
    return (side + 2 * padding - kernel) // stride + 1
