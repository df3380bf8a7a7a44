"""The Architecture tab: what a network is made of, drawn and counted, for any variant and any input size."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import gradio as gr

from resnet.config import VARIANTS
from resnet.errors import Refusal
from resnet.explain import STAGES
from resnet.summary import STAGE_NAMES, parts
from train.methods import METHODS
from ui.blueprint import inside_svg, network_svg, shape_text
from ui.calculator import calculator
from ui.components import AsChosen, AsPicked, AsTyped, PhotoInput
from ui.costs import totals
from ui.given import odd_event, told
from ui.layer_table import table
from ui.listing import LISTING_JS
from ui.models import Models
from ui.networks import BATCHES, CHANNELS, LOADED, SIZES, Chosen, batch_of, choose, loaded_model
from ui.photo_inside import POSITION_JS, filters_card, look_inside
from ui.places import Places
from ui.texts import Markup, both, label
from ui.words import refused

START = "resnet34"
#: Drawings and tables that are made at the same time.
DRAWINGS = 4
#: Methods that differ in what learns, by the end of their texts' keys.
METHOD_KEYS = {one: one.replace("-", "_") for one in METHODS if one != "tutorial"}

# A box of the drawing is a button: pointing at it shows its facts below, choosing it opens its inside.
CHOOSE_JS = """
const facts = (event) => {
  const part = event.target.closest('[data-part]');
  const out = part && part.closest('.drawing').querySelector('.readout');
  if (!out) return;
  out.dataset.shortcut = part.dataset.shortcut;
  out.dataset.frozen = String(part.classList.contains('frozen'));
  out.querySelectorAll('[data-fill]').forEach((one) => { one.textContent = part.dataset[one.dataset.fill]; });
  out.classList.add('filled');
};
const choose = (event) => {
  const part = event.target.closest('[data-part]');
  if (!part || (event.type === 'keydown' && event.key !== 'Enter' && event.key !== ' ')) return;
  event.preventDefault();
  const {part: name, network} = part.dataset;
  element.querySelectorAll('[data-part]').forEach((one) =>
    one.classList.toggle('chosen', one.dataset.part === name && one.dataset.network === network));
  trigger('select', {part: name, network: Number(network)});
};
element.addEventListener('pointerover', facts);
element.addEventListener('focusin', facts);
element.addEventListener('click', choose);
element.addEventListener('keydown', choose);
"""


def build(models: Models, ready: gr.State, places: Places) -> None:
    """Draw the tab inside of the current Blocks.

    Args:
        models: where the model that is loaded in Classify is found.
        ready: its name, or None.
        places: that photos are worked on in.
    """
    variants: list[Any] = [*VARIANTS, (label("arch.loaded"), LOADED)]
    with gr.Row(equal_height=True):
        variant = AsChosen(variants, value=START, label=label("arch.variant"), min_width=200, elem_id="variant")
        second = AsChosen(
            [(label("arch.alone_choice"), ""), *variants], value="", label=label("arch.second"), min_width=200,
            elem_id="second",
        )  # fmt: skip
        method = AsChosen(
            [(label("arch.method_none"), ""), *((label(f"method.{key}"), one) for one, key in METHOD_KEYS.items())],
            value="", label=label("arch.method"), min_width=200, elem_id="method",
        )  # fmt: skip
    with gr.Row(equal_height=True):
        size = AsTyped(*SIZES, value=224, step=1, label=label("arch.size"), min_width=200, elem_id="size")
        batch = AsTyped(*BATCHES, value=16, step=1, label=label("arch.batch"), min_width=200, elem_id="batch")
        v1 = gr.Checkbox(label=label("arch.v1"), info=label("arch.v1_info"), min_width=320, elem_id="v1")
    start = [choose(models, START, None, False, 224)]
    notice = gr.HTML(elem_id="notice", apply_default_css=False)
    figures = gr.HTML(totals(start, 16), elem_id="totals", apply_default_css=False)
    opened = gr.State([None, None, ("", 0)])  # see `_Opened`
    drawing = gr.HTML(_drawing(start, "", 0), js_on_load=CHOOSE_JS, elem_id="drawing", apply_default_css=False)
    _explained("degradation", "residual", "dashed")
    inside = gr.HTML(_inside(start, "", 0), elem_id="inside", apply_default_css=False)
    _explained("batch_norm", "addition")
    depth = gr.Radio(
        [(label(f"arch.depth_{one}"), one) for one in ("stage", "block", "layer")],
        value="stage", label=label("arch.depth"), elem_id="depth",
    )  # fmt: skip
    listed = gr.HTML(
        table(start, "stage"), js_on_load=LISTING_JS, elem_id="layers", elem_classes="listing", apply_default_css=False
    )
    _bottleneck()
    _photo_inside(models, ready, places)

    fields = [variant, second, method, ready, size, v1]

    def networks(name: str, other: str, how: str, loaded: str | None, side: object, strides: bool) -> list[Chosen]:
        return [choose(models, one, loaded, strides, side, how) for one in (name, *([other] if other else []))]

    @refusing(5)
    def shown(*values: Any) -> tuple[Any, ...]:
        *chosen, count, deep, now = values
        found, images = networks(*chosen), batch_of(count)
        part, number = now.block
        drawn = ("", totals(found, images), _drawing(found, part, number))
        return *drawn, _inside(found, part, number) if now.is_last() else gr.skip(), table(found, deep)

    @refusing(2)
    def opened_block(now: _Opened) -> tuple[Any, ...]:
        inside = _inside(networks(*now.chosen), *now.block)
        # What was chosen above meanwhile was drawn with the block that was open before.
        return "", inside if now.is_last() else _inside(networks(*now.newest), *now.block)

    drawings = Places(models, DRAWINGS)

    async def show(*values: Any) -> tuple[Any, ...]:
        now = _Opened(values[-1], values[: len(fields)])
        return await drawings.run(values[fields.index(ready)], lambda: shown(*values[:-1], now))

    async def open_block(
        name: str, other: str, how: str, loaded: str | None, side: object, strides: bool, shared: list[Any],
        event: gr.EventData,
    ) -> tuple[Any, ...]:  # fmt: skip
        try:
            part, number = told(event, "part", str), told(event, "network", int)
            if number not in (0, 1):
                raise odd_event()
        except Refusal as refusal:
            return refused(refusal, "opening a block"), gr.skip()
        now = _Opened(shared, (name, other, how, loaded, side, strides), (part, number))
        return await drawings.run(loaded, lambda: opened_block(now))

    quick: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private"}
    gr.on(
        [one.change for one in (variant, second, method, size, batch, v1, depth, ready)],
        show, [*fields, batch, depth, opened], [notice, figures, drawing, inside, listed],
        trigger_mode="always_last", **quick,
    )  # fmt: skip
    # Each choice counts: by default those made while an earlier one is under way are dropped.
    drawing.select(open_block, [*fields, opened], [notice, inside], trigger_mode="multiple", **quick)


class _Opened:
    """What is chosen above and which block is open, as one call of a session sees it; its calls share the list.

    Two of them may be under way, and the one that began later knows better what is to be seen inside of the block.

    Args:
        shared: token of the last call, what it had chosen, and the block that is open (part, network).
        chosen: what stands in the fields.
        block: to open; the one that is open by default.
    """

    def __init__(self, shared: list[Any], chosen: tuple[Any, ...], block: tuple[str, int] | None = None) -> None:
        self._shared, self._token, self.chosen = shared, object(), chosen
        self.block: tuple[str, int] = block or shared[2]
        shared[:] = [self._token, chosen, self.block]

    @property
    def newest(self) -> tuple[Any, ...]:
        """What stood in the fields when the last call began."""
        return tuple(self._shared[1])

    def is_last(self) -> bool:
        return self._shared[0] is self._token


def refusing(outputs: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What a function refuses is said in its first output; the others stay what they were."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                said = refused(error, "drawing the architecture")
            return said if outputs == 1 else (said, *(gr.skip() for _ in range(outputs - 1)))

        return wrapped

    return decorate


def _explained(*names: str) -> None:
    """What the tutorial teaches, beside what it is about; three sentences each."""
    cards = "".join(
        f'<div class="card"><h3>{both(f"explain.{name}_title")}</h3><p>{both(f"explain.{name}")}</p></div>'
        for name in names
    )
    gr.HTML(f'<div class="explanations">{cards}</div>', apply_default_css=False)


# -- the drawing -------------------------------------------------------------------------------------------------------


def _drawing(networks: Sequence[Chosen], part: str, number: int) -> str:
    """One network, or two on one scale, with what the box that is pointed at says."""
    found = [parts(list(one.facts), "block") for one in networks]
    most = max(block.macs for blocks in found for block in blocks)
    drawings = []
    opened, owner = _opened(networks, part, number)
    for index, (chosen, blocks) in enumerate(zip(networks, found, strict=True)):
        ends = f"{shape_text(chosen.facts[0].input_shape)} → {shape_text(chosen.facts[-1].output_shape)}"
        title = f"{chosen.name}: {ends}"
        caption = f"<h3>{html.escape(chosen.name)}</h3>" if len(networks) > 1 else ""
        drawings.append(
            caption
            + "".join(
                network_svg(
                    blocks, vertical, title, number=index, most=most, opened=opened if owner == index else "",
                    frozen=_frozen(chosen),
                )
                for vertical in (False, True)
            )
        )  # fmt: skip
    key = (
        f'<span class="key solid"></span>{both("arch.solid")} <span class="key dashed"></span>{both("arch.dashed")} '
        + (f'<span class="key faded"></span>{both("arch.faded")} ' if networks[0].method else "")
        + both("arch.hint")
    )
    readout = both(
        "arch.readout",
        **{name: Markup(f'<b data-fill="{name}"></b>') for name in ("part", "shapes", "parameters", "macs", "field")},
    )
    notes = "".join(f'<span class="of-{kind}">{both(f"arch.of_{kind}")}</span>' for kind in ("identity", "projection"))
    return (
        f'<div class="card drawing">{"".join(drawings)}<p class="hint">{key}</p>'
        f'<p class="readout" aria-live="polite">{readout}{notes}<span class="of-frozen">{both("arch.of_frozen")}</span>'
        "</p></div>"
    )


def _frozen(chosen: Chosen) -> set[str]:
    """Names of blocks, and of layers outside of them, in which nothing learns; pooling goes with what it follows."""
    learning: dict[str, bool] = {}
    learns = True
    for one in chosen.facts:
        name = ".".join(one.path.split(".")[:2]) if one.block is not None else one.path
        learns = one.path in chosen.learns if one.parameters else learns
        learning[name] = learning.get(name, False) or learns
    return {name for name, any_learns in learning.items() if not any_learns}


def _opened(networks: Sequence[Chosen], part: str, number: int) -> tuple[str, int]:
    """The part whose inside is shown: the one that was chosen, or, where there is none of that name, one to begin with.

    The first dashed shortcut is the most telling.
    """
    number = min(number, len(networks) - 1)
    facts = networks[number].facts
    if part and any(one.path == part or one.path.startswith(f"{part}.") for one in facts):
        return part, number
    return next(one.name for one in parts(list(facts), "block") if one.shortcut == "projection"), number


def _inside(networks: Sequence[Chosen], part: str, number: int) -> str:
    """The inside of one block, or the facts of one layer outside of them."""
    name, number = _opened(networks, part, number)
    facts = networks[number].facts
    owner = f" · {html.escape(networks[number].name)}" if len(networks) > 1 else ""
    block = [one for one in facts if one.block is not None and one.path.startswith(f"{name}.")]
    if not block:
        alone = next(one for one in facts if one.path == name)
        shapes = f"{shape_text(alone.input_shape)} → {shape_text(alone.output_shape)}"
        words = both("arch.alone", shapes=shapes, parameters=f"{alone.parameters:,}", macs=f"{alone.macs / 1e6:,.1f}")
        return f'<div class="card opened"><div><h3>{html.escape(name)}{owner}</h3><p>{words}</p></div></div>'
    (found,) = parts(block, "block")
    words = both(
        "arch.inside", parameters=f"{found.parameters:,}", macs=f"{found.macs / 1e6:,.1f}", field=found.receptive_field
    )
    note = both(f"arch.{found.shortcut}")
    frozen = f"<p>{both('arch.block_frozen')}</p>" if name in _frozen(networks[number]) else ""
    return (
        f'<div class="card opened"><div><h3>{html.escape(name)} · {html.escape(found.stage)}{owner}</h3>'
        f"<p>{words}</p><p>{note}</p>{frozen}</div>{inside_svg(block, name)}</div>"
    )


# -- the parts below ---------------------------------------------------------------------------------------------------


def _bottleneck() -> None:
    """The calculator: a field for the channels, and both blocks."""
    gr.HTML(f"<h2>{both('explain.bottleneck_title')}</h2>", elem_classes="heading", apply_default_css=False)
    with gr.Row(equal_height=True):
        channels = AsTyped(
            *CHANNELS, value=256, step=4, label=label("arch.channels"), min_width=200, elem_id="channels"
        )
        with gr.Column(min_width=320):
            gr.HTML(f'<p class="hint">{both("explain.bottleneck")}</p>', apply_default_css=False)
    notice = gr.HTML(elem_id="channels-notice", apply_default_css=False)
    shown = gr.HTML(calculator(256), elem_id="calculator", apply_default_css=False)

    @refusing(2)
    def show(count: object) -> tuple[str, str]:
        return "", calculator(count)

    channels.change(
        show, channels, [notice, shown], trigger_mode="always_last", show_progress="hidden", concurrency_limit=8,
        api_visibility="private",
    )  # fmt: skip


def _photo_inside(models: Models, ready: gr.State, places: Places) -> None:
    """A photo and a stage give the strongest maps; the filters need no photo."""
    gr.HTML(
        f'<h2>{both("arch.photo_title")}</h2><p class="hint">{both("arch.photo_words")}</p>', elem_classes="heading",
        apply_default_css=False,
    )  # fmt: skip
    empty = f'<div class="card empty"><p>{both("arch.photo_empty")}</p></div>'
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            photo = PhotoInput(
                label=label("photo.label"), sources=["upload", "clipboard"], image_mode=None, type="filepath",
                height=240, elem_id="inside-photo", buttons=[],
            )  # fmt: skip
            stage = AsPicked(
                [(STAGE_NAMES[one], one) for one in STAGES], value="layer4", label=label("arch.stage"), elem_id="stage"
            )
            filters = gr.HTML(elem_id="filters", apply_default_css=False)
        with gr.Column(scale=7, min_width=320):
            maps = gr.HTML(empty, js_on_load=POSITION_JS, elem_id="maps", apply_default_css=False)

    @refusing(1)
    def seen(path: str, name: str | None, where: str) -> str:
        return look_inside(loaded_model(models, name), path, where)

    @refusing(1)
    def filters_of(name: str | None) -> str:
        return filters_card(models.get(name).filters, models.title(name)) if name else ""

    async def show(path: str | None, name: str | None, where: str) -> str:
        return str(await places.run_photo(name, path, lambda: seen(path, name, where))) if path else empty

    async def show_filters(name: str | None) -> str:
        return str(await places.run(name, lambda: filters_of(name)))

    gr.on(
        [photo.change, stage.change, ready.change], show, [photo, ready, stage], maps, trigger_mode="always_last",
        show_progress_on=[maps], concurrency_limit=None, api_visibility="private",
    )  # fmt: skip
    ready.change(show_filters, ready, filters, show_progress="hidden", concurrency_limit=None, api_visibility="private")
