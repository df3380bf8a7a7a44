"""The Architecture tab: each layer's shape and cost, drawn and in a table, for any variant and any input size."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gradio as gr
import torch

from resnet.config import VARIANTS, ResNetConfig
from resnet.errors import Refusal
from resnet.summary import Depth, LayerFacts, Part, layers, parts, to_csv
from ui.blueprint import inside_svg, network_svg, shape_text
from ui.classify import SORT_JS
from ui.models import Models
from ui.texts import alert, both, label, sentence

LOADED = "loaded"
#: What the page offers; the terminal takes more.
SIZES, BATCHES = (32, 512), (1, 256)
#: Bytes that Adam keeps for each parameter in fp32: the weight, its gradient and two moments.
ADAM_BYTES = 16
EXPLANATIONS = ("degradation", "residual", "batch_norm", "addition", "dashed", "bottleneck")

# A box of the drawing is a button; choosing one opens its inside.
CHOOSE_JS = """
const choose = (event) => {
  const part = event.target.closest('[data-part]');
  if (!part || (event.type === 'keydown' && event.key !== 'Enter' && event.key !== ' ')) return;
  event.preventDefault();
  element.querySelectorAll('[data-part]').forEach((one) =>
    one.classList.toggle('chosen', one.dataset.part === part.dataset.part));
  trigger('select', {part: part.dataset.part});
};
element.addEventListener('click', choose);
element.addEventListener('keydown', choose);
"""


def build(models: Models, ready: gr.State) -> None:
    """Draw the tab inside of the current Blocks.

    Args:
        models: where the model that is loaded in Classify is found.
        ready: its name, or None.
    """
    with gr.Row(equal_height=True):
        variant = gr.Dropdown(
            [*VARIANTS, (label("arch.loaded"), LOADED)], value="resnet34", label=label("arch.variant"),
            min_width=200, elem_id="variant",
        )  # fmt: skip
        size = gr.Slider(*SIZES, value=224, step=1, label=label("arch.size"), min_width=200, elem_id="size")
        batch = gr.Slider(*BATCHES, value=16, step=1, label=label("arch.batch"), min_width=200, elem_id="batch")
        v1 = gr.Checkbox(label=label("arch.v1"), info=label("arch.v1_info"), min_width=200, elem_id="v1")
    start = _drawn(VARIANTS["resnet34"], 224, 16, "stage")
    totals = gr.HTML(start[0], elem_id="totals", apply_default_css=False)
    drawing = gr.HTML(start[1], js_on_load=CHOOSE_JS, elem_id="drawing", apply_default_css=False)
    inside = gr.HTML(start[2], elem_id="inside", apply_default_css=False)
    depth = gr.Radio(
        [(label(f"arch.depth_{one}"), one) for one in ("stage", "block", "layer")],
        value="stage", label=label("arch.depth"), elem_id="depth",
    )  # fmt: skip
    table = gr.HTML(start[3], js_on_load=SORT_JS, elem_id="layers", elem_classes="listing", apply_default_css=False)
    gr.HTML(_explanations(), elem_id="explanations", apply_default_css=False)

    def show(name: str, loaded: str | None, side: float, count: float, strides: bool, deep: Depth) -> tuple[str, ...]:
        try:
            return _drawn(_config(models, name, loaded, strides), int(side), int(count), deep)
        except Refusal as refusal:
            return alert(sentence(refusal)), "", "", ""

    def open_block(name: str, loaded: str | None, side: float, strides: bool, event: gr.EventData) -> str:
        try:
            return _inside(layers(_config(models, name, loaded, strides), int(side)), str(event.part))
        except Refusal as refusal:
            return alert(sentence(refusal))

    quick: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 8, "api_visibility": "private"}
    gr.on(
        [variant.change, size.change, batch.change, v1.change, depth.change, ready.change],
        show, [variant, ready, size, batch, v1, depth], [totals, drawing, inside, table],
        trigger_mode="always_last", **quick,
    )  # fmt: skip
    # Each choice counts: by default those made while an earlier one is under way are dropped.
    drawing.select(open_block, [variant, ready, size, v1], inside, trigger_mode="multiple", **quick)


def _config(models: Models, name: str, loaded: str | None, v1: bool) -> ResNetConfig:
    """The network that was chosen. A loaded model keeps its own strides; a basic block has no 1x1 to stride in."""
    if name == LOADED:
        if not loaded:
            raise Refusal("arch.none_loaded", "No model is ready in Classify; choose one there, or a variant here.")
        return models.get(loaded).checkpoint.config
    if name not in VARIANTS:
        raise Refusal("arch.unknown", "There is no variant {name}; choose one of the list.", name=repr(name))
    config = VARIANTS[name]
    return replace(config, stride_in_1x1=True) if v1 and config.block == "bottleneck" else config


def _drawn(config: ResNetConfig, size: int, batch: int, depth: Depth) -> tuple[str, str, str, str]:
    """Totals, drawing, the inside of its first dashed block, table."""
    facts = layers(config, size)
    blocks = parts(facts, "block")
    title = f"{len(blocks)} parts, {shape_text(facts[0].input_shape)} → {shape_text(facts[-1].output_shape)}"
    drawing = (
        f'<div class="card drawing">{network_svg(blocks, False, title)}{network_svg(blocks, True, title)}'
        f'<p class="hint"><span class="key solid"></span>{both("arch.solid")} <span class="key dashed"></span>'
        f"{both('arch.dashed')} {both('arch.hint')}</p></div>"
    )
    first = next(part.name for part in blocks if part.shortcut == "projection")
    return _totals(facts, batch), drawing, _inside(facts, first), _table(parts(facts, depth), depth)


# -- the parts ---------------------------------------------------------------------------------------------------------


def _totals(facts: Sequence[LayerFacts], batch: int) -> str:
    """Four large figures, and where they come from by stage; `facts` are those of one image."""
    parameters = sum(one.parameters for one in facts)
    macs = sum(one.macs for one in facts)
    # A ReLU overwrites its input, so it keeps nothing of its own.
    activations = batch * sum(one.activation_bytes for one in facts if one.kind != "relu")
    training = ADAM_BYTES * parameters + activations
    memory, fits = machine_memory(), ""
    if memory:
        key = "arch.fits" if training < memory else "arch.too_large"
        fits = both(key, gigabytes=f"{memory / 1e9:.0f}")
    figures = (
        (f"{parameters / 1e6:.1f} M", both("arch.parameters", exact=f"{parameters:,}")),
        (f"{macs / 1e9:.2f} G", both("arch.macs", exact=f"{macs:,}")),
        (_bytes(activations), both("arch.activations", batch=batch)),
        (_bytes(training), both("arch.training", batch=batch) + f" {fits}"),
    )
    cells = "".join(f"<div><b>{figure}</b><span>{words}</span></div>" for figure, words in figures)
    stages = parts(list(facts), "stage")
    bars = "".join(_bars(stages, field) for field in ("parameters", "macs", "activation_bytes"))
    return f'<div class="figures">{cells}</div><div class="card costs">{bars}</div>'


def _bars(stages: Sequence[Part], field: str) -> str:
    """One bar, divided by stage."""
    values = [getattr(part, field) for part in stages]
    total = sum(values) or 1
    pieces = "".join(
        f'<span class="{html.escape(part.stage)}" style="width:{100 * value / total:.2f}%" '
        f'title="{html.escape(part.stage)}: {100 * value / total:.1f} %"></span>'
        for part, value in zip(stages, values, strict=True)
    )
    words = ", ".join(f"{part.stage} {100 * value / total:.0f} %" for part, value in zip(stages, values, strict=True))
    heading = both(f"arch.cost_{field}")
    return f'<div class="cost"><p>{heading}</p><div class="split">{pieces}</div><small>{words}</small></div>'


def _inside(facts: Sequence[LayerFacts], name: str) -> str:
    """The inside of one block, or the facts of one layer outside of them."""
    block = [one for one in facts if one.block is not None and one.path.startswith(f"{name}.")]
    if not block:
        alone = next((one for one in facts if one.path == name), None)
        if alone is None:
            return ""
        shapes = f"{shape_text(alone.input_shape)} → {shape_text(alone.output_shape)}"
        words = both("arch.alone", shapes=shapes, parameters=f"{alone.parameters:,}", macs=f"{alone.macs / 1e6:,.1f}")
        return f'<div class="card opened"><div><h3>{html.escape(name)}</h3><p>{words}</p></div></div>'
    (part,) = parts(block, "block")
    words = both(
        "arch.inside", parameters=f"{part.parameters:,}", macs=f"{part.macs / 1e6:,.1f}", field=part.receptive_field
    )
    note = both(f"arch.{part.shortcut}")
    return (
        f'<div class="card opened"><div><h3>{html.escape(name)} · {html.escape(part.stage)}</h3>'
        f"<p>{words}</p><p>{note}</p></div>{inside_svg(block, name)}</div>"
    )


COLUMNS = ("name", "output", "shortcut", "layers", "parameters", "macs", "activations", "field")
WORDS = ("name", "output", "shortcut")  # the other columns are numbers


def _table(found: Sequence[Part], depth: Depth) -> str:
    headings = "".join(
        f'<th scope="col" class="{"word" if name in WORDS else "number"}">'
        f'<button type="button">{both(f"arch.column_{name}")}</button></th>'
        for name in COLUMNS
        if name != "shortcut" or depth != "stage"
    )
    rows = "".join(
        f"<tr><td>{html.escape(part.name)}</td><td>{shape_text(part.output_shape)}</td>"
        + ("" if depth == "stage" else f"<td>{both(f'arch.short_{part.shortcut}') if part.shortcut else ''}</td>")
        + "".join(
            f'<td class="number" data-value="{value}">{f"{value:,}" if value else "–"}</td>'
            for value in (part.layers, part.parameters, part.macs, part.activation_bytes, part.receptive_field)
        )
        + "</tr>"
        for part in found
    )
    links = " ".join(
        f'<a download="resnet-{depth}.{ending}" '
        f'href="data:text/{kind};charset=utf-8;base64,{_encoded(text)}">{words}</a>'
        for ending, kind, text, words in (
            ("csv", "csv", to_csv(found), both("arch.csv")),
            ("md", "markdown", to_markdown(found), both("arch.markdown")),
        )
    )
    return (
        f'<div class="scroll"><table><thead><tr>{headings}</tr></thead><tbody>{rows}</tbody></table></div>'
        f'<p class="hint links">{links}</p>'
    )


def to_markdown(found: Sequence[Part]) -> str:
    """A table for a README."""
    lines = ["| | output | parameters | MACs | activations (bytes) | receptive field |", "|---|---|--:|--:|--:|--:|"]
    lines += [
        f"| {part.name} | {shape_text(part.output_shape)} | {part.parameters:,} | {part.macs:,} | "
        f"{part.activation_bytes:,} | {part.receptive_field or ''} |"
        for part in found
    ]
    return "\n".join(lines) + "\n"


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _explanations() -> str:
    """What the tutorial teaches, three sentences each."""
    cards = "".join(
        f'<div class="card"><h3>{both(f"explain.{name}_title")}</h3><p>{both(f"explain.{name}")}</p></div>'
        for name in EXPLANATIONS
    )
    return f'<div class="explanations">{cards}</div>'


def _bytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def machine_memory() -> int:
    """Bytes that training could use here: the GPU's where there is one, else the machine's; 0 where nobody says."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not a Unix
        return 0
