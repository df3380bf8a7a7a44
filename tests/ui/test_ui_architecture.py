"""What the Architecture tab says, held against the facts that it is made of."""

from __future__ import annotations

import base64
import csv
import html
import io
import itertools
import re
from typing import Any
from xml.etree import ElementTree

import gradio as gr
import pytest
import torch
import torchvision
from torch import nn

from resnet.config import VARIANTS
from resnet.errors import Refusal
from resnet.network import ResNet
from resnet.summary import Depth, layers, parts
from train.methods import METHODS, freeze
from ui.architecture import _drawing, _inside, _Opened, refusing
from ui.blueprint import inside_svg, network_svg, shape_text
from ui.calculator import calculator
from ui.costs import kept, machine_memory, totals, training_bytes
from ui.layer_table import table
from ui.models import Models
from ui.networks import LOADED, Chosen, batch_of, choose, config_of
from ui.texts import TEXTS, sentence

DEPTHS: tuple[Depth, ...] = ("stage", "block", "layer")
#: Beside the parts of the tab that they are about.
EXPLANATIONS = ("degradation", "residual", "batch_norm", "addition", "dashed", "bottleneck")


@pytest.mark.parametrize("vertical", [False, True])
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet152", "resnext50_32x4d"])
def test_the_drawing_has_a_box_for_each_block_and_shortcuts_as_the_paper(name: str, vertical: bool) -> None:
    blocks = parts(layers(VARIANTS[name]), "block")
    root = ElementTree.fromstring(network_svg(blocks, vertical, "a <title>"))
    boxes = {group.get("data-part"): group for group in root.iter("g")}
    assert [part.name for part in blocks if part.shortcut] == [one for one in boxes if one and one.startswith("layer")]
    for part in blocks:
        if part.shortcut:
            arcs = [path.get("class") for path in boxes[part.name].iter("path")]
            assert arcs == [f"arc {part.shortcut}"]
            assert boxes[part.name].get("data-parameters") == f"{part.parameters:,}"
            assert (boxes[part.name].get("aria-label") or "").startswith(f"{part.name}: {shape_text(part.input_shape)}")
    width, height = map(float, (root.get("viewBox") or "").split()[2:])
    for rectangle in root.iter("rect"):
        x, y, w, h = (float(rectangle.get(side) or "nan") for side in ("x", "y", "width", "height"))
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height and min(w, h) > 4


def test_boxes_grow_with_the_cost() -> None:
    blocks = parts(layers(VARIANTS["resnet50"]), "block")
    root = ElementTree.fromstring(network_svg(blocks, False, ""))
    tall = {group.get("data-part"): float(group.find("rect").get("height")) for group in root.iter("g")}  # type: ignore[union-attr, arg-type]
    macs = {part.name: part.macs for part in blocks}
    order = sorted(tall, key=lambda name: macs[str(name)])
    assert all(tall[one] <= tall[other] for one, other in itertools.pairwise(order))


def test_the_inside_shows_each_layer_and_the_way_around() -> None:
    block = [one for one in layers(VARIANTS["resnet50"]) if one.path.startswith("layer2.0.")]
    words = [text.text for text in ElementTree.fromstring(inside_svg(block, "layer2.0")).iter("text")]
    assert words.count("BatchNorm") == 4 and words.count("ReLU") == 3 and "+" in words
    assert {"1x1, 128", "3x3, 128, /2", "1x1, 512", "1x1, 512, /2"} <= set(words)
    assert words[0] == "56 x 56 x 256" and "28 x 28 x 512" in words
    # On the way in, behind each of the eight layers, on the shortcut, behind the addition, and on the way out.
    assert sum(" x " in (word or "") for word in words) == 1 + 8 + 1 + 1 + 1
    solid = [one for one in layers(VARIANTS["resnet18"]) if one.path.startswith("layer1.1.")]
    assert 'class="arc identity"' in inside_svg(solid, "") and 'class="arc projection"' not in inside_svg(solid, "")


def chosen(name: str, side: object = 224, method: str = "", v1: bool = False, loaded: str | None = None) -> Chosen:
    return choose(Models(), name, loaded, v1, side, method)


def taken(listed: str, ending: str = "csv") -> str:
    """What a link below the table gives."""
    data = re.search(rf'{ending}" href="data:text/\w+;charset=utf-8;base64,([^"]+)"', listed)
    assert data
    return base64.b64decode(data[1]).decode()


def cells(listed: str) -> dict[str, list[str]]:
    """Name of each row -> its cells, without markup; the first with what is noted below the name."""
    rows = re.findall(r"<tr[^>]*>(<td>.*?)</tr>", listed)
    found = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]
    return {re.split("<", row[0])[0]: [re.sub(r"<[^>]+>", " ", cell).strip() for cell in row] for row in found}


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_table_says_what_the_facts_say_and_can_be_taken_away(depth: Depth) -> None:
    network = chosen("resnet34", 193)
    listed = table([network], depth)
    found = parts(layers(VARIANTS["resnet34"], 193), depth)
    assert [(name, row[1]) for name, row in cells(listed).items()] == [
        (part.name, shape_text(part.output_shape)) for part in found
    ]
    rows = list(csv.DictReader(io.StringIO(taken(listed))))
    assert [int(row["parameters"]) for row in rows] == [part.parameters for part in found]
    assert len(taken(listed, "md").splitlines()) == len(found) + 2
    assert f"{sum(part.parameters for part in found):,}" in totals([network], 8)


@pytest.mark.parametrize("depth", DEPTHS)
def test_two_side_by_side_mark_what_differs_and_only_that(depth: Depth) -> None:
    first, second = chosen("resnet34"), chosen("resnet50")
    listed = table([first, second], depth)
    theirs = [{part.name: part for part in parts(list(one.facts), depth)} for one in (first, second)]
    found = cells(listed)
    assert set(found) == set(theirs[0]) | set(theirs[1])
    for name, row in found.items():
        here = [one[name] for one in theirs if name in one]
        if len(here) == 1:
            owner = first if name in theirs[0] else second
            assert f"only in {owner.name}" in row[0], name
        parameters = [f"{part.parameters:,}" if part.parameters else "–" for part in here]
        shown = row[3 if depth == "stage" else 4].split()
        assert shown == (parameters if len(set(parameters)) == 2 else parameters[:1]), name
    marked = len(re.findall(r"<td[^>]*differs", listed))
    assert marked == sum(
        len({value(one[name]) for one in theirs}) == 2
        for name in found
        if all(name in one for one in theirs)
        for value in (
            lambda part: part.output_shape, lambda part: part.shortcut, lambda part: part.layers,
            lambda part: part.parameters, lambda part: part.macs, lambda part: part.activation_bytes,
            lambda part: part.receptive_field,
        )
    )  # fmt: skip
    assert "differs" not in table([first, first], depth)
    rows = list(csv.DictReader(io.StringIO(taken(listed))))
    assert [row["network"] for row in rows] == ["resnet34"] * len(theirs[0]) + ["resnet50"] * len(theirs[1])


def test_rows_of_two_networks_keep_the_order_of_the_forward_pass() -> None:
    for names in (("resnet34", "resnet50"), ("resnet50", "resnet18"), ("resnet18", "resnet152")):
        for depth in DEPTHS:
            networks = [chosen(name) for name in names]
            order = list(cells(table(networks, depth)))
            blocks = [".".join(name.split(".")[:2]) for name in order]
            runs = [name for name, _ in itertools.groupby(blocks)]
            assert len(runs) == len(set(runs)), "a block's rows stand together"
            stages = [name.split(".")[0] for name in runs if name.startswith("layer")]
            assert stages == sorted(stages) and order[-1] in ("fc", "head") and order[0] == "conv1"


def test_totals_of_two_networks_are_given_as_ratios() -> None:
    text = totals([chosen("resnet34"), chosen("resnet50")], 16)
    assert f"×{25_557_032 / 21_797_672:.2f}" in text and "25.6 M" in text and "4.09 G" in text
    assert text.count("resnet50: <b>") == 4 and text.count('class="split"') == 6


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("method", ["", *METHODS])
def test_what_learns_is_what_the_trainer_lets_learn(name: str, method: str) -> None:
    """Counted from a real network that went through the trainer's `freeze`."""
    network = ResNet(VARIANTS[name])
    if method:
        freeze(network, method)  # type: ignore[arg-type]
    learning = sum(one.numel() for one in network.parameters() if one.requires_grad)
    one = chosen(name, method=method)
    assert sum(layer.parameters for layer in one.facts if layer.path in one.learns) == learning
    for depth in DEPTHS:
        listed = table([one], depth)
        if method:
            rows = csv.DictReader(io.StringIO(taken(listed)))
            assert sum(int(row["trained_parameters"]) for row in rows) == learning
            assert ("frozen" in listed) == (learning < one.parameters)
        else:
            assert "trained_parameters" not in taken(listed)
    if method:
        assert f"{learning:,}" in totals([one], 16) and f"{one.parameters - learning:,}" in totals([one], 16)
    drawn = _drawing([one], "", 0)
    faded = set(re.findall(r'class="part \S+ frozen[^"]*"[^>]*data-part="([^"]+)"', drawn))
    expected = {"head": {"conv1", "maxpool", "avgpool"}, "last-stage": {"conv1", "maxpool"}}.get(method, set())
    names = [part.name for part in parts(list(one.facts), "block") if part.shortcut]
    expected |= {block for block in names if expected and (method == "head" or not block.startswith("layer4"))}
    assert faded == expected


def test_a_frozen_trunk_needs_no_gradients_no_moments_and_no_activations() -> None:
    one, head = chosen("resnet50"), chosen("resnet50", method="head")
    assert training_bytes(head, 16) == 4 * 25_557_032 + 12 * 2_049_000 + 16 * 4 * 1000
    activations = sum(layer.activation_bytes for layer in one.facts if layer.kind != "relu")
    assert training_bytes(one, 16) == 16 * 25_557_032 + 16 * activations
    assert training_bytes(chosen("resnet50", method="all"), 16) == training_bytes(one, 16)
    assert (
        training_bytes(head, 16) < training_bytes(chosen("resnet50", method="last-stage"), 16) < training_bytes(one, 16)
    )


def test_training_memory_is_near_what_autograd_keeps() -> None:
    """Held against the tensors that torch really saves for the way back."""
    network = ResNet(VARIANTS["resnet18"]).train()
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = network(torch.randn(2, 3, 128, 128))
    weights = {one.untyped_storage().data_ptr() for one in network.parameters()}
    theirs = sum(size for place, size in saved.items() if place not in weights)
    one = chosen("resnet18", 128)
    ours = 2 * sum(layer.activation_bytes for layer in kept(one))
    assert out.shape == (2, 1000)
    assert ours == pytest.approx(theirs, rel=0.1)


def test_training_memory_grows_with_the_batch_and_is_compared_with_this_machine() -> None:
    def figures(batch: int) -> str:
        return totals([chosen("resnet50")], batch)

    assert "1.84 GB" in figures(16) and figures(16) != figures(256)
    assert machine_memory() > 0
    assert f"{machine_memory() / 1e9:.0f} GB" in figures(16)


def test_a_block_that_was_opened_stays_open_where_there_is_one_of_its_name() -> None:
    deep, shallow = chosen("resnet34"), chosen("resnet18")
    assert "layer3.5 ·" in _inside([deep], "layer3.5", 0)
    assert "layer2.0 ·" in _inside([shallow], "layer3.5", 0), "none there: the first dashed one"
    assert "layer1.0 · conv2_x · resnet50" in _inside([shallow, chosen("resnet50")], "layer1.0", 1)
    assert "layer1.0 · conv2_x</h3>" in _inside([shallow], "layer1.0", 1), "the second network is gone"
    assert "maxpool" in _inside([deep], "maxpool", 0)
    drawn = _drawing([deep, shallow], "layer3.1", 1)
    assert re.findall(r'chosen"[^>]*data-part="([^"]+)"[^>]*data-network="(\d)"', drawn) == [("layer3.1", "1")] * 2


@pytest.mark.parametrize(("channels", "basic", "bottleneck"), [(256, 1_179_648, 69_632), (64, 73_728, 4_352)])
def test_the_calculator_counts_weights_as_torch_does(channels: int, basic: int, bottleneck: int) -> None:
    theirs = {
        "basic": torchvision.models.resnet.BasicBlock(channels, channels),
        "bottleneck": torchvision.models.resnet.Bottleneck(channels, channels // 4),
    }
    for name, expected in (("basic", basic), ("bottleneck", bottleneck)):
        convolutions = [one for one in theirs[name].modules() if isinstance(one, nn.Conv2d)]
        assert sum(one.weight.numel() for one in convolutions) == expected
        assert f"= <b>{expected:,}</b>" in calculator(channels)
    for formula in re.findall(r'class="formula">(.*?) = <b>([\d,]+)', calculator(channels)):
        assert eval(formula[0].replace("×", "*")) == int(formula[1].replace(",", ""))
    assert calculator(channels).count('class="inside"') == 2


def test_what_is_chosen_or_typed_becomes_a_network_or_a_sentence() -> None:
    models = Models()
    assert config_of(models, "resnet50", None, True).stride_in_1x1
    assert config_of(models, "resnet34", None, True) == VARIANTS["resnet34"]
    assert config_of(models, LOADED, "flowers", False).num_classes == 5
    for name, loaded in (("<b>vgg16</b>", None), (LOADED, None), ("/etc/passwd", None)):
        with pytest.raises(Refusal, match="choose"):
            config_of(models, name, loaded, False)
    with pytest.raises(Refusal, match="choose"):
        chosen("resnet18", method="lora")
    for opened in ("layer9.9", "<script>", "layer1.0.conv1<"):
        assert "<script" not in _inside([chosen("resnet18")], opened, 0)
        assert "layer2.0" in _inside([chosen("resnet18")], opened, 0)


BAD = [None, "", "224", float("nan"), float("inf"), -1, 0, 1.5, 10**30, True, [224], {"a": 1}]


@pytest.mark.parametrize("value", BAD, ids=repr)
def test_a_bad_number_names_its_field_and_range(value: object) -> None:
    for function, words in (
        (lambda: chosen("resnet18", value), ("image side", "32 to 512", "图像边长", "32 到 512")),
        (lambda: batch_of(value), ("batch", "1 to 256", "批大小", "1 到 256")),
        (lambda: calculator(value), ("channels", "8 to 2048", "通道数", "8 到 2048")),
    ):
        with pytest.raises(Refusal) as caught:
            function()
        assert all(word in sentence(caught.value) for word in words)
    for channels in (257, 4, 2052):
        with pytest.raises(Refusal, match="4 divides"):
            calculator(channels)


def test_what_is_refused_changes_nothing_but_the_notice() -> None:
    def function(bad: bool) -> tuple[str, str, str]:
        if bad:
            raise Refusal("arch.size", "The image side is {value}.", value=1, least=2, most=3)
        return "", "a", "b"

    guarded = refusing(3)(function)
    assert guarded(False) == ("", "a", "b")
    said, *others = guarded(True)
    assert 'role="alert"' in said and others == [gr.skip(), gr.skip()]
    said, *others = refusing(2)(lambda: 1 / 0)()
    assert "ZeroDivision" not in said and 'role="alert"' in said and others == [gr.skip()]


def test_explanations_have_three_sentences_at_most() -> None:
    for language, stop in (("en", r"[.!?](?= |$)"), ("zh", "[。！？]")):
        for name in EXPLANATIONS:
            assert 1 <= len(re.findall(stop, html.unescape(TEXTS[language][f"explain.{name}"]))) <= 3, (language, name)


def test_the_newest_choice_is_seen_inside_of_the_block_that_is_open() -> None:
    """A block that is opened while something else is chosen above is drawn with that, whichever ends first."""
    shared: list[Any] = [None, None, ("", 0)]
    opening = _Opened(shared, ("resnet50", "", "head"), ("layer1.1", 0))
    assert opening.is_last()
    choosing = _Opened(shared, ("resnet50", "", "all"))
    assert choosing.is_last() and choosing.block == ("layer1.1", 0)
    assert not opening.is_last() and opening.newest == ("resnet50", "", "all")
    again = _Opened(shared, ("resnet50", "", "all"), ("layer2.0", 1))
    assert not choosing.is_last() and again.is_last() and _Opened(shared, ()).block == ("layer2.0", 1)
