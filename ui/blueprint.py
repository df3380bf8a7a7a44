"""The network as an SVG: blocks as boxes, shortcuts as arcs, solid and dashed as the paper draws them."""

from __future__ import annotations

import html
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from resnet.summary import LayerFacts, Part

#: Units of the drawing along which the network runs, at the least, for each box.
STEP = 21
#: Across: the smallest and the largest box.
THIN, THICK = 26, 118
MARGIN = 16


@dataclass(frozen=True)
class _Box:
    part: Part
    start: float  # along the network
    size: float  # across it, by cost


def network_svg(
    blocks: Sequence[Part], vertical: bool, title: str, *, number: int = 0, most: int = 0, opened: str = "",
    frozen: Collection[str] = (),
) -> str:  # fmt: skip
    """Stem to head.

    Args:
        blocks: the network at depth ``"block"``.
        vertical: from top to bottom, for a phone; from left to right otherwise.
        title: what the drawing shows, for screen readers; HTML-escaped here.
        number: of this network where several are drawn.
        most: MACs of the largest box, so that two drawings have one scale; this network's own for 0.
        opened: the part whose inside is shown.
        frozen: names of parts whose parameters don't learn.
    """
    boxes = _boxes(blocks, most)
    step = max(STEP, 0 if vertical else 1080 / len(boxes))
    along = len(boxes) * step + 2 * MARGIN
    # Lying, it has words above: of the stem and the head.
    centre = 82.0 if vertical else 100.0
    across = centre + THICK / 2 + 36
    width, height = (across + 130, along) if vertical else (along, across)
    drawn: list[str] = []
    stage = ""
    # What a stage gives on: conv2_x begins with a pooling, whose shape is not yet the blocks'.
    ends = {one.part.stage: one.part.output_shape for one in boxes if one.part.shortcut}
    for box in boxes:
        start = MARGIN + box.start * step
        if box.part.stage != stage:
            stage = box.part.stage
            drawn.append(_label(box.part, ends.get(stage, box.part.output_shape), start, centre, vertical))
        classes = [box.part.stage, *(["frozen"] if box.part.name in frozen else [])]
        classes += ["chosen"] if box.part.name == opened else []
        drawn.append(_shape(box, start, step, centre, vertical, " ".join(classes), number))
    kind = "down" if vertical else "across"
    return (
        f'<svg class="blueprint {kind}" viewBox="0 0 {width:.0f} {height:.0f}" role="group" '
        f'aria-label="{html.escape(title)}">{"".join(drawn)}</svg>'
    )


def shown_parts(blocks: Sequence[Part]) -> list[Part]:
    """Blocks, and the layers outside of them that do work; BatchNorm and ReLU of the stem belong to its convolution."""
    return [part for part in blocks if part.shortcut or part.name in ("conv1", "maxpool", "avgpool", "fc")]


def _boxes(blocks: Sequence[Part], most: int) -> list[_Box]:
    shown = shown_parts(blocks)
    most = most or max(part.macs for part in shown)
    return [_Box(part, index, THIN + (THICK - THIN) * math.sqrt(part.macs / most)) for index, part in enumerate(shown)]


def _place(x: float, y: float, vertical: bool) -> str:
    """A point given along and across the network."""
    return f"{y:.1f} {x:.1f}" if vertical else f"{x:.1f} {y:.1f}"


def _shape(box: _Box, start: float, step: float, centre: float, vertical: bool, classes: str, number: int) -> str:
    part, gap = box.part, min(5.0, step / 5)
    length = step - gap
    near = centre - box.size / 2
    if vertical:
        rectangle = f'x="{near:.1f}" y="{start:.1f}" width="{box.size:.1f}" height="{length:.1f}"'
    else:
        rectangle = f'x="{start:.1f}" y="{near:.1f}" width="{length:.1f}" height="{box.size:.1f}"'
    arc = ""
    if part.shortcut:  # up in the gap before the box, over it, and down in the gap behind it
        begin, end, top = start - gap / 2 + 1, start + length + gap / 2 - 1, near - 9
        way = [(begin, centre), (begin, top), (end, top), (end, centre)]
        line = "L".join(_place(*point, vertical) for point in way)
        arc = f'<path class="arc {part.shortcut}" d="M{line}"/>'
    facts = {
        "part": part.name,
        "shapes": f"{shape_text(part.input_shape)} → {shape_text(part.output_shape)}",
        "parameters": f"{part.parameters:,}",
        "macs": f"{part.macs / 1e6:,.1f}",
        "field": str(part.receptive_field or ""),
        "shortcut": part.shortcut or "",
        "network": str(number),
    }
    # A name has no language; the line below the drawing says the rest in both when the box is reached.
    words = f"{part.name}: {facts['shapes']}"
    data = " ".join(f'data-{name}="{html.escape(value)}"' for name, value in facts.items())
    return (
        f'<g class="part {html.escape(classes)}" role="button" tabindex="0" aria-label="{html.escape(words)}" {data}>'
        f'{arc}<rect {rectangle} rx="4"/></g>'
    )


def _label(part: Part, shape: Sequence[int], start: float, centre: float, vertical: bool) -> str:
    """The stage's name and the shape that it makes."""
    text = f"{part.stage} · {shape_text(shape)}"
    if vertical:
        return f'<text x="{centre + THICK / 2 + 10:.0f}" y="{start + 12:.1f}">{html.escape(text)}</text>'
    # Stem and head have no arcs, so their words stand above; the stages' below, where there is room for them.
    above = part.shortcut is None and part.name != "maxpool"
    y = centre - THICK / 2 - 30 if above else centre + THICK / 2 + 16
    x, anchor = (start + 40, "end") if part.stage == "head" else (start, "start")
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(part.stage)}</text>'
        f'<text x="{x:.1f}" y="{y + 14:.1f}" text-anchor="{anchor}">{shape_text(shape)}</text>'
    )


def shape_text(shape: Sequence[int]) -> str:
    """``(N, C, H, W)`` -> ``"56 x 56 x 64"``, as the paper writes it; ``(N, C)`` -> ``"1000"``."""
    return " x ".join(map(str, (*shape[2:], shape[1])))


def inside_svg(layers: Sequence[LayerFacts], title: str) -> str:
    """One block: its layers from top to bottom with the shapes on the arrows, and the way around them.

    Args:
        layers: the leaf modules of one block, as `resnet.summary.layers` orders them.
        title: for screen readers.
    """
    branch = [one for one in layers if ".downsample." not in one.path]
    relu = next(one for one in branch if one.kind == "relu")
    path: list[LayerFacts] = []
    norms = [one for one in branch if one.kind == "batch_norm"]
    for one in branch:
        if one.kind == "relu":
            continue
        path.append(one)
        if one.kind == "batch_norm" and one is not norms[-1]:
            path.append(relu)  # one module, which runs behind each BatchNorm but the last
    around = [one for one in layers if ".downsample." in one.path]
    left, width, high, gap = 150, 170, 28, 24
    y = 26.0
    drawn = [_text(left + width / 2, 16, shape_text(branch[0].input_shape), "middle")]
    shape = branch[0].input_shape
    for one in path:
        shape = shape if one.kind != "conv" else one.output_shape
        drawn.append(_line(left + width / 2, y, y + gap - 6))
        y += gap - 4
        drawn.append(
            f'<rect class="{one.kind}" x="{left}" y="{y:.0f}" width="{width}" height="{high}" rx="5"/>'
            + _text(left + width / 2, y + 19, _named(one), "middle")
        )
        y += high
        drawn.append(_text(left + width / 2 + 8, y + 15, shape_text(shape), "start"))
    plus = y + gap + 8
    centre = left + width / 2
    drawn.append(_line(centre, y, plus - 13))
    drawn.append(
        f'<circle class="plus" cx="{centre}" cy="{plus:.0f}" r="11"/>' + _text(centre, plus + 5, "+", "middle")
    )
    kind = "projection" if around else "identity"
    drawn.append(f'<path class="arc {kind}" d="M{centre} 30H70V{plus:.0f}H{centre - 13}" marker-end="url(#tip)"/>')
    words = [*map(_named, around), shape_text(shape)] if around else ["x", shape_text(shape)]
    for row, word in enumerate(words):
        drawn.append(_text(62, plus / 2 + 18 * row, word, "end"))
    drawn.append(_line(centre, plus + 11, plus + 26))
    drawn.append(_text(centre + 8, plus + 23, shape_text(shape), "start"))
    drawn.append(
        f'<rect class="relu" x="{left}" y="{plus + 30:.0f}" width="{width}" height="{high}" rx="5"/>'
        + _text(centre, plus + 49, "ReLU", "middle")
        + _text(centre, plus + 78, shape_text(shape), "middle")
    )
    tip = '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    return (
        f'<svg class="inside" viewBox="-40 0 400 {plus + 88:.0f}" role="img" aria-label="{html.escape(title)}">'
        f'{tip}<path d="M0 0L8 4L0 8z"/></marker></defs>{"".join(drawn)}</svg>'
    )


def _named(one: LayerFacts) -> str:
    if one.kind == "conv":
        groups = f", {one.groups} groups" if one.groups > 1 else ""
        return (
            f"{one.kernel}x{one.kernel}, {one.output_shape[1]}"
            + (f", /{one.stride}" if one.stride > 1 else "")
            + groups
        )
    return {"batch_norm": "BatchNorm", "relu": "ReLU"}.get(one.kind, one.kind)


def _line(x: float, start: float, end: float) -> str:
    return f'<path class="flow" d="M{x:.1f} {start:.1f}V{end:.1f}" marker-end="url(#tip)"/>'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{html.escape(words)}</text>'
