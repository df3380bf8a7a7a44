"""The Classify tab: one photo with its names, where they were seen and how sure it is; and many photos at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from resnet.classifier import Classification
from resnet.explain import grad_cam
from resnet.photos import Photo
from ui import many
from ui.components import CountInput, PhotoInput
from ui.drawing import data_uri, overlay
from ui.given import told
from ui.models import Load, Loaded, Models
from ui.places import PHOTOS, TABLES, Places
from ui.texts import Markup, alert, both, label, plain, sentence
from ui.words import device_words, not_ready, percent, refused
from weights.catalog import CATALOG, FLOWERS, entries

#: Names that the slider offers at most.
MAX_TOP_K = 10


def build(models: Models, default_model: str) -> tuple[gr.State, gr.Dropdown, Places]:
    """Draw the tab inside of the current Blocks and connect it.

    Returns:
        The name of the model that is ready, the list of models, and the places that photos are worked on in.
    """
    with gr.Row(equal_height=True):
        model = gr.Dropdown(
            choices=model_choices(models.trusted),
            value=default_model,
            label=label("model.label"),
            info=label("model.info"),
            allow_custom_value=True,
            filterable=True,
            scale=3,
            min_width=280,
            elem_id="model",
        )
        top_k = CountInput(
            1, MAX_TOP_K, value=5, step=1, label=label("top_k.label"), scale=1, min_width=200, elem_id="top-k"
        )
    facts = gr.HTML(elem_id="facts", apply_default_css=False)

    with gr.Tabs():
        with gr.Tab(label("one.tab"), id="one"):
            photo, answer, pictures = _one_photo()
        with gr.Tab(label("many.tab"), id="many"):
            files, start, summary, table, download = many.inputs()

    # The model that is ready for this visitor; None while one loads, so that no result is another model's.
    ready = gr.State(None)
    wish, look = gr.State([]), gr.State([])  # the last choice of a model, of a bar or photo: see `_choice`

    async def load(name: str, k: float, wish: list[object]) -> AsyncIterator[tuple[Any, ...]]:
        is_last = _choice(wish)
        async for update in _load(models, str(name or ""), int(k)):
            if not is_last():
                yield gr.skip(), gr.skip(), gr.skip()  # Gradio sends the last update again at the end
                return
            yield update

    async def show(path: str | None, name: str | None, k: float, look: list[object]) -> tuple[Any, Any]:
        is_last = _choice(look)
        shown = await photos.run_photo(name, path or "", lambda: _answer(models, path, name, int(k)))
        return shown if is_last() else (gr.skip(), gr.skip())

    async def explain(path: str | None, name: str | None, look: list[object], event: gr.EventData) -> Any:
        is_last = _choice(look)
        pictures: Any
        try:
            index = told(event, "index", int)
            pictures = await photos.run_photo(name, path or "", lambda: _pictures_for(models, path, name, index))
        except Exception as error:
            pictures = refused(error, "showing where a class was seen")
        return pictures if is_last() else gr.skip()

    async def classify_all(
        paths: list[str] | None,
        name: str | None,
        k: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio finds a progress bar by this default)
    ) -> AsyncIterator[tuple[Any, ...]]:
        async for step in tables.steps(name, lambda: many.table(models, paths or [], name, int(k), progress)):
            yield step

    # Places of their own: a model that loads, or a long table, never stands before somebody's photo.
    photos, tables = Places(models, PHOTOS), Places(models, TABLES)
    quick: dict[str, Any] = {"concurrency_limit": None, "api_visibility": "private"}
    loads: dict[str, Any] = {
        "fn": load, "inputs": [model, top_k, wish], "outputs": [facts, ready, top_k], "show_progress": "hidden",
        "trigger_mode": "multiple", "concurrency_limit": None, "api_visibility": "private",
    }  # fmt: skip
    shows: dict[str, Any] = {
        "fn": show, "inputs": [photo, ready, top_k, look], "outputs": [answer, pictures], "show_progress_on": [answer],
        **quick,
    }  # fmt: skip
    page = gr.context.Context.root_block
    assert page is not None
    gr.on([page.load, model.change], **loads).then(**shows)
    gr.on([photo.change, top_k.change, top_k.release], trigger_mode="always_last", **shows)
    answer.select(explain, [photo, ready, look], pictures, show_progress="hidden", trigger_mode="multiple", **quick)
    start.click(
        classify_all, [files, ready, top_k], [summary, table, download], show_progress_on=[summary],
        concurrency_limit=None, api_visibility="private",
    )  # fmt: skip
    return ready, model, photos


def _choice(choices: list[object]) -> Callable[[], bool]:
    """Note one more choice of a visit, whose calls share the list; tells whether it is still the last, which wins."""
    mine = object()
    choices[:] = [mine]
    return lambda: choices == [mine]


def model_choices(trusted: tuple[str, ...]) -> list[tuple[str, str]]:
    """The list's lines: group, name, parameters, download, licence, accuracy."""
    lines = [(name, name) for name in trusted if name not in CATALOG and name != FLOWERS]
    for entry in entries():
        top1 = f" · ImageNet top-1 {entry.top1:.1f} %" if entry.top1 is not None else ""
        size = f"{entry.parameters / 1e6:.1f} M parameters, {entry.megabytes:.0f} MB"
        # The name first: on a phone the rest is cut off.
        lines.append((f"{entry.name} · {entry.group} · {size} · {entry.license}{top1}", entry.name))
    return lines


# -- the parts ---------------------------------------------------------------------------------------------------------

# A bar is a button: choosing it shows where its class was seen. One listener serves whatever bars there are.
BARS_JS = """
element.addEventListener('click', (event) => {
  const bar = event.target.closest('button[data-index]');
  if (!bar) return;
  const all = element.querySelectorAll('button[data-index]');
  all.forEach((one) => one.setAttribute('aria-pressed', String(one === bar)));
  trigger('select', {index: Number(bar.dataset.index)});
});
"""


def _one_photo() -> tuple[PhotoInput, gr.HTML, gr.HTML]:
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            photo = PhotoInput(
                label=label("photo.label"),
                sources=["upload", "webcam", "clipboard"],
                image_mode=None,
                type="filepath",
                height=340,
                elem_id="photo",
                buttons=["fullscreen"],
            )
            gr.Examples(
                [[gr.media.get_image(name)] for name in ("cheetah.jpg", "lion.jpg", "bus.png", "tower.jpg")],
                [photo],
                label=label("examples.label"),
                api_visibility="private",
            )
        with gr.Column(scale=6, min_width=320):
            answer = gr.HTML(
                _empty(both("answer.empty")), js_on_load=BARS_JS, elem_id="answer", apply_default_css=False
            )
            pictures = gr.HTML(elem_id="pictures", apply_default_css=False)
    return photo, answer, pictures


# -- one photo ---------------------------------------------------------------------------------------------------------


async def _load(models: Models, name: str, top_k: int) -> AsyncIterator[tuple[Any, ...]]:
    """Wait for a model without holding a thread, however many visitors wait; then say what it is."""
    try:
        load = models.start(name)
        while not load.future.done():
            yield _loading(models.title(name), load), None, gr.skip()
            await asyncio.sleep(0.1)
        found = load.future.result()
    except Exception as error:
        yield refused(error, f"loading {name!r}"), None, gr.skip()
        return
    most = max(2, min(MAX_TOP_K, len(found.checkpoint.label_names) or MAX_TOP_K))
    yield _facts(found), name, gr.update(maximum=most, value=min(top_k, most))


def _loading(title: str, load: Load) -> str:
    """How far a download is, once its size is known."""
    text, bar = both("facts.loading", name=title), ""
    if load.total:
        text += both("facts.progress", done=f"{load.done / 1e6:.0f}", total=f"{load.total / 1e6:.0f}")
        share = 100 * load.done / load.total
        bar = (
            f'<span class="track" role="progressbar" aria-valuenow="{share:.0f}" aria-label="{plain(title)}">'
            f'<span class="fill" style="width:{share:.1f}%"></span></span>'
        )
    return f'<div class="facts"><span>{text}</span>{bar}</div>'


def _facts(found: Loaded) -> str:
    checkpoint = found.checkpoint
    source = checkpoint.source
    entry = CATALOG.get(source.name.removeprefix("timm/"))
    where = (
        both("facts.hub", repo=source.repo, revision=source.revision, commit=(source.commit or "")[:7])
        if source.repo
        else both("facts.shipped" if source.name == FLOWERS else "facts.local")
    )
    parts = [
        f"<b>{plain(checkpoint.architecture)}</b>",
        both("facts.parameters", millions=f"{checkpoint.config.num_parameters / 1e6:.1f}"),
        both("facts.classes", count=f"{len(checkpoint.label_names):,}")
        if checkpoint.label_names
        else both("facts.base"),
        both("facts.size", size=checkpoint.preprocess.size),
        both("facts.license", license=checkpoint.license) if checkpoint.license else both("facts.no_license"),
        where,
    ]
    if entry and entry.top1 is not None:
        parts.insert(3, both("facts.top1", top1=f"{entry.top1:.1f}"))
    notes = [both("facts.from_cache")] if source.from_cache else []
    if checkpoint.kind == "ema":
        notes.append(both("facts.average"))
    if not checkpoint.label_names:
        notes.append(both("facts.base_note"))
    if checkpoint.ignored:
        notes.append(both("facts.ignored", names=", ".join(checkpoint.ignored)))
    inner = "".join(f"<span>{part}</span>" for part in parts) + "".join(
        f'<span class="note">{note}</span>' for note in notes
    )
    return f'<div class="facts">{inner}</div>'


def _empty(text: str) -> str:
    return f'<div class="card empty"><p>{text}</p></div>'


def _answer(models: Models, path: str | None, name: str | None, top_k: int) -> tuple[str, str]:
    """The card with the names, and the pictures beside it."""
    if not path:
        return _empty(both("answer.empty")), ""
    if not name:
        return _empty(sentence(not_ready())), ""  # why it can't be had stands above, where it was chosen
    try:
        found = models.get(name)
        started = time.perf_counter()
        (row,) = found.classifier.predict_iter([_photo(path)], top_k, keep_crops=True)
        seconds = time.perf_counter() - started
        if row.refusal:
            return alert(sentence(row.refusal)), ""
        return _card(found, row, seconds), _pictures(found, row, row.predictions[0].index)
    except Exception as error:
        return refused(error, f"classifying with {name!r}"), ""


def _photo(path: str) -> Photo:
    return Photo(Path(path).name, Path(path))


def _card(found: Loaded, row: Classification, seconds: float) -> str:
    best = row.predictions[0]
    doubt = ""
    if row.verdict == "none":
        doubt = both("doubt.none", count=f"{len(found.classifier.label_names):,}")
    elif row.verdict == "close":
        doubt = both("doubt.close", first=best.label, second=_second(found, row))
    bars = "".join(
        f'<li><button type="button" data-index="{one.index}" aria-pressed="{"true" if one is best else "false"}">'
        f'<span class="name">{plain(one.label)}</span><span class="percent">{percent(one.probability)}</span>'
        f'<span class="track"><span class="fill" style="width:{100 * one.probability:.2f}%"></span></span>'
        "</button></li>"
        for one in row.predictions
    )
    took = both("answer.time", ms=f"{1000 * seconds:.0f}", device=Markup(device_words(found.classifier.computed_on)))
    return (
        '<div class="card" aria-live="polite">'
        f'<p class="answer">{plain(best.label)} <small>{percent(best.probability)}</small></p>'
        + (f'<p class="doubt">{doubt}</p>' if doubt else "")
        + f'<ol class="bars">{bars}</ol><p class="hint">{took} {both("answer.hint")}</p></div>'
    )


def _second(found: Loaded, row: Classification) -> str:
    return row.predictions[1].label if len(row.predictions) > 1 else "?"


def _pictures(found: Loaded, row: Classification, index: int) -> str:
    """What the network saw, and where it saw a class."""
    assert row.crop is not None
    classifier = found.classifier
    batch = classifier.preprocess.normalize([row.crop], classifier.device)
    heat = grad_cam(classifier.network, batch, index)[0]
    name = classifier.label_names[index]
    side = classifier.preprocess.size
    figures = (
        (data_uri(Image.fromarray(row.crop)), both("pictures.crop", size=side), f"{side} x {side}"),
        (data_uri(overlay(row.crop, heat)), both("pictures.heat", name=name), f"Grad-CAM: {name}"),
    )
    drawn = "".join(
        f'<figure><img src="{uri}" alt="{plain(alt)}"><figcaption>{caption}</figcaption></figure>'
        for uri, caption, alt in figures
    )
    return f'<div class="pictures">{drawn}</div>'


def _pictures_for(models: Models, path: str | None, name: str | None, index: int) -> str:
    """The pictures for a class that was chosen among the bars."""
    if not path or not name:
        return ""
    found = models.get(name)
    if not 0 <= index < len(found.classifier.label_names):
        return ""
    (row,) = found.classifier.predict_iter([_photo(path)], 1, keep_crops=True)
    return "" if row.refusal else _pictures(found, row, index)
