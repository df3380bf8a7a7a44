"""Layer facts against torchvision's modules under hooks, fvcore's counts and torchvision's published metadata."""

from __future__ import annotations

import csv
import io
import warnings
from dataclasses import replace
from typing import Literal

import pytest
import torch
import torchvision.models as models
from torch import nn

from resnet.config import VARIANTS, ResNetConfig
from resnet.errors import Refusal
from resnet.network import ResNet
from resnet.summary import LayerFacts, block_layers, layers, parts, to_csv
from tests.effort import at_once

SIZES = [(224, 224), (193, 257)]
IN_TORCHVISION = [name for name in VARIANTS if hasattr(models, name)]


def hooked(network: nn.Module, size: tuple[int, int]) -> dict[str, tuple[torch.Size, torch.Size]]:
    """Path of each leaf module -> shapes of input and output at its first call, in torchvision's own forward pass."""
    seen: dict[str, tuple[torch.Size, torch.Size]] = {}

    def watch(path: str, module: nn.Module) -> None:
        def hook(_: nn.Module, args: tuple[torch.Tensor], out: torch.Tensor) -> None:
            seen.setdefault(path, (args[0].shape, out.shape))

        module.register_forward_hook(hook)

    for path, module in network.named_modules():
        if not list(module.children()):
            watch(path, module)
    with torch.no_grad():
        network(torch.empty(2, 3, *size, device="meta"))
    return seen


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", IN_TORCHVISION)
def test_shapes_and_parameters_are_torchvisions(name: str, size: tuple[int, int]) -> None:
    with torch.device("meta"):
        theirs = getattr(models, name)().eval()
    seen = hooked(theirs, size)
    ours = layers(VARIANTS[name], size, batch_size=2)
    assert [one.path for one in ours] == list(seen)
    for one in ours:
        assert (one.input_shape, one.output_shape) == tuple(map(tuple, seen[one.path])), one.path
        module = theirs.get_submodule(one.path)
        assert one.parameters == sum(p.numel() for p in module.parameters()), one.path
        assert one.activation_bytes == 4 * torch.Size(one.output_shape).numel()
        if isinstance(module, nn.Conv2d):
            assert (one.kernel, one.stride, one.groups) == (module.kernel_size[0], module.stride[0], module.groups)


#: One of each kind; what differs between the others is data, whose totals are torchvision's below.
COUNTED = ("resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2")


@pytest.mark.parametrize(("name", "size"), [*((name, SIZES[-1]) for name in COUNTED), ("resnet50", SIZES[0])])
def test_macs_are_fvcores(name: str, size: tuple[int, int]) -> None:
    fvcore = pytest.importorskip("fvcore.nn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.device("meta"):
            network = ResNet(VARIANTS[name]).eval()
        network.to_empty(device="cpu")  # it traces a forward pass of real tensors, whatever is in them
        analysis = fvcore.FlopCountAnalysis(network, torch.zeros(1, 3, *size))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        theirs = analysis.by_module_and_operator()
    for one in layers(VARIANTS[name], size):
        if one.kind in ("conv", "linear"):
            assert one.macs == theirs[one.path][one.kind], one.path
        else:
            assert one.macs == 0


@pytest.mark.parametrize("name", IN_TORCHVISION)
def test_totals_are_torchvisions_published_ones(name: str) -> None:
    meta = models.get_model_weights(name).DEFAULT.meta
    ours = layers(VARIANTS[name], 224)
    assert sum(one.parameters for one in ours) == meta["num_params"]
    # ResNeXt-101 64x4d's metadata was taken at its own evaluation size, 224 as the others.
    assert round(sum(one.macs for one in ours) / 1e9, 3) == meta["_ops"]


@pytest.mark.parametrize(
    ("name", "v1", "field"),
    [
        ("resnet18", False, 435), ("resnet34", False, 899), ("resnet50", False, 427), ("resnet101", False, 971),
        ("resnet152", False, 1451), ("resnet50", True, 483), ("resnet101", True, 1027), ("resnet152", True, 1507),
    ],
)  # fmt: skip
def test_receptive_field_of_the_last_stage(name: str, v1: bool, field: int) -> None:
    last = parts(layers(replace(VARIANTS[name], stride_in_1x1=v1)), "stage")[-2]
    assert (last.name, last.receptive_field) == ("conv5_x", field)


def test_receptive_field_is_what_the_gradient_of_one_pixel_reaches() -> None:
    """With positive weights nothing cancels out, so every pixel that can be seen has a gradient."""
    config = ResNetConfig("basic", (1, 1, 1, 1), include_top=False)
    network = ResNet(config).eval()
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.01)
    facts = layers(config, 512)
    for stage in (1, 2, 3, 4):
        image = torch.full((1, 3, 512, 512), 0.5, requires_grad=True)
        x = network.relu(network.bn1(network.conv1(image)))
        x = nn.functional.avg_pool2d(x, 3, 2, 1)  # a maximum would let through one pixel; it sees as far
        for number in range(1, stage + 1):
            x = network.get_submodule(f"layer{number}")(x)
        x[0, 0, x.shape[2] // 2, x.shape[3] // 2].backward()
        assert image.grad is not None
        rows = image.grad[0].abs().sum((0, 2)).nonzero().flatten()
        branch = [one for one in facts if one.path.startswith(f"layer{stage}.") and "downsample" not in one.path]
        assert int(rows[-1] - rows[0] + 1) == branch[-1].receptive_field
        first = branch[-1].receptive_field_start + x.shape[2] // 2 * branch[-1].effective_stride
        assert int(rows[0]) == first
        assert branch[-1].effective_stride == 2 ** (stage + 1)


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_a_block_alone_is_the_block_of_a_network(kind: Literal["basic", "bottleneck"]) -> None:
    config = ResNetConfig(kind, (2, 1, 1, 1), include_top=False)
    with torch.device("meta"):
        block = ResNet(config).layer1[1]
    alone = block_layers(block, (1, 64 * config.expansion, 56, 56), "layer1.1")
    whole = [one for one in layers(config) if one.path.startswith("layer1.1.")]

    def cost(one: LayerFacts) -> tuple[object, ...]:
        return one.path, one.kind, one.input_shape, one.output_shape, one.parameters, one.macs, one.shortcut

    assert [cost(one) for one in alone] == [cost(one) for one in whole]
    assert alone[-1].receptive_field == (5 if kind == "basic" else 3)
    assert alone[-1].receptive_field_start == (-2 if kind == "basic" else -1)


def test_a_table_can_have_further_columns() -> None:
    rows = list(
        csv.DictReader(io.StringIO(to_csv(parts(layers(VARIANTS["resnet18"]), "stage"), learns=[1, 2, 3, 4, 5, 6])))
    )
    assert [row["learns"] for row in rows] == list("123456")
    assert rows[1]["output_shape"] == "1x64x56x56"


def test_shortcuts_are_dashed_where_the_shape_changes() -> None:
    found = {part.name: part.shortcut for part in parts(layers(VARIANTS["resnet34"]), "block") if part.shortcut}
    dashed = [name for name, shortcut in found.items() if shortcut == "projection"]
    assert dashed == ["layer2.0", "layer3.0", "layer4.0"]
    assert len(found) == 16


def test_v1_strides_move_the_resolution_into_the_first_convolution() -> None:
    v1 = {one.path: one for one in layers(replace(VARIANTS["resnet50"], stride_in_1x1=True))}
    v15 = {one.path: one for one in layers(VARIANTS["resnet50"])}
    assert (v1["layer2.0.conv1"].stride, v1["layer2.0.conv2"].stride) == (2, 1)
    assert (v15["layer2.0.conv1"].stride, v15["layer2.0.conv2"].stride) == (1, 2)
    assert v1["layer2.0.conv2"].output_shape == v15["layer2.0.conv2"].output_shape


@pytest.mark.parametrize("depth", ["stage", "block", "layer"])
def test_parts_add_up_at_every_depth(depth: str) -> None:
    facts = layers(VARIANTS["resnet50"], 160, 4)
    found = parts(facts, depth)  # type: ignore[arg-type]
    for name in ("parameters", "macs", "activation_bytes"):
        assert sum(getattr(part, name) for part in found) == sum(getattr(one, name) for one in facts)
    assert sum(part.layers for part in found) == len(facts)
    assert found[0].input_shape == (4, 3, 160, 160)


def test_stages_read_like_table_1_of_the_paper() -> None:
    found = parts(layers(VARIANTS["resnet50"]), "stage")
    assert [(part.name, part.output_shape[2]) for part in found[:5]] == [
        ("conv1", 112), ("conv2_x", 56), ("conv3_x", 28), ("conv4_x", 14), ("conv5_x", 7),
    ]  # fmt: skip
    assert found[-1].output_shape == (1, 1000)


@pytest.mark.parametrize(
    ("size", "batch", "named"),
    [(31, 1, "image size"), (0, 1, "image size"), (-5, 1, "image size"), (10**9, 1, "image size"),
     ((224, 1), 1, "image size"), (224, 0, "batch size"), (224, -1, "batch size"), (224, 10**12, "batch size")],
)  # fmt: skip
def test_absurd_values_are_named_with_their_range(size: int, batch: int, named: str) -> None:
    with pytest.raises(Refusal, match=f"The {named} is .* from .* to .*"):
        layers(VARIANTS["resnet18"], size, batch)


def test_it_is_quick_enough_for_a_slider(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figure is of `bench.layers`; here only that no network is built again, nor anything of its size computed."""
    layers(VARIANTS["resnet152"])
    monkeypatch.setattr(ResNet, "__init__", None)
    at_once(lambda: layers(VARIANTS["resnet152"], 512, 64), most=100_000)
