"""What the Architecture tab says, held against the facts that it is made of."""

from __future__ import annotations

import base64
import csv
import html
import io
import itertools
import re
from xml.etree import ElementTree

import pytest

from resnet.config import VARIANTS
from resnet.errors import Refusal
from resnet.summary import layers, parts
from ui.architecture import EXPLANATIONS, LOADED, _config, _drawn, _inside, machine_memory, to_markdown
from ui.blueprint import inside_svg, network_svg, shape_text
from ui.models import Models
from ui.texts import TEXTS


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
            assert f"{part.parameters:,} parameters" in (boxes[part.name].get("aria-label") or "")
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
    solid = [one for one in layers(VARIANTS["resnet18"]) if one.path.startswith("layer1.1.")]
    assert 'class="arc identity"' in inside_svg(solid, "") and 'class="arc projection"' not in inside_svg(solid, "")


@pytest.mark.parametrize("depth", ["stage", "block", "layer"])
def test_the_table_says_what_the_facts_say_and_can_be_taken_away(depth: str) -> None:
    totals, _, _, table = _drawn(VARIANTS["resnet34"], 193, 8, depth)  # type: ignore[arg-type]
    found = parts(layers(VARIANTS["resnet34"], 193), depth)  # type: ignore[arg-type]
    rows = re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td>", table)
    assert rows == [(part.name, shape_text(part.output_shape)) for part in found]
    data = re.search(r'href="data:text/csv;charset=utf-8;base64,([^"]+)"', table)
    assert data
    taken = list(csv.DictReader(io.StringIO(base64.b64decode(data[1]).decode())))
    assert [int(row["parameters"]) for row in taken] == [part.parameters for part in found]
    assert len(to_markdown(found).splitlines()) == len(found) + 2
    assert f"{sum(part.parameters for part in found):,}" in totals


def test_training_memory_grows_with_the_batch_and_is_compared_with_this_machine() -> None:
    def figures(batch: int) -> str:
        return _drawn(VARIANTS["resnet50"], 224, batch, "stage")[0]

    assert "1.84 GB" in figures(16) and figures(16) != figures(256)
    assert machine_memory() > 0
    assert f"{machine_memory() / 1e9:.0f} GB" in figures(16)


def test_what_is_chosen_or_typed_becomes_a_network_or_a_sentence() -> None:
    models = Models()
    assert _config(models, "resnet50", None, True).stride_in_1x1
    assert _config(models, "resnet34", None, True) == VARIANTS["resnet34"]
    assert _config(models, LOADED, "flowers", False).num_classes == 5
    for name, loaded in (("<b>vgg16</b>", None), (LOADED, None), ("/etc/passwd", None)):
        with pytest.raises(Refusal, match="choose"):
            _config(models, name, loaded, False)
    assert _inside(layers(VARIANTS["resnet18"]), "layer9.9") == ""
    assert _inside(layers(VARIANTS["resnet18"]), "<script>") == ""


def test_explanations_have_three_sentences_at_most() -> None:
    for language, stop in (("en", r"[.!?](?= |$)"), ("zh", "[。！？]")):
        for name in EXPLANATIONS:
            assert 1 <= len(re.findall(stop, html.unescape(TEXTS[language][f"explain.{name}"]))) <= 3, (language, name)
