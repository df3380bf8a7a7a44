"""The Fine-tune tab: a zip of class folders, what is in it, and a model of one's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from resnet.errors import Refusal
from resnet.photos import MAX_TOTAL_BYTES
from train.dataset import check
from train.drawn import draw
from train.edits import Edit
from train.ingest import Limits, ingest
from train.writing import write_zip
from ui import run_part
from ui.components import FileInput
from ui.dataset_view import EDIT_JS, dataset_card
from ui.given import told
from ui.models import Models
from ui.texts import both, label
from ui.visits import IDLE_S, Visit, Visits, no_dataset, remove_served, served, with_dataset
from ui.words import refused

STORAGE_KEY = "resnet-visit"
#: What a browser keeps once its visit is over: Gradio's script leaves what it has where it is given nothing.
NO_VISIT = "none"
#: What the small drawn dataset is called.
DRAWN = "drawn-shapes"


def visit_key() -> gr.BrowserState:
    """Where a browser keeps the key of its visit; outside of all tabs, as a tab that is not open has no state."""
    # Gradio encrypts it with a secret that every page gets, so that hides nothing. With one of each process a browser
    # could not even tell the next one what it had here.
    return gr.BrowserState(None, storage_key=STORAGE_KEY, secret=STORAGE_KEY)


def build(
    visits: Visits, models: Models, key: gr.BrowserState, model_list: gr.Dropdown, max_upload: str,
    max_minutes: int = run_part.MAX_MINUTES,
) -> None:  # fmt: skip
    """Draw the tab inside of the current Blocks.

    Args:
        visits: who is here and what they have.
        models: where bases come from and own models go.
        key: of the visit; see `visit_key`.
        model_list: Classify's, which gets the visitor's own models.
        max_upload: the largest file that the page takes, in words.
        max_minutes: that a run may take.
    """
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            archive = FileInput(file_types=[".zip"], label=label("data.drop"), height=150, elem_id="dataset-zip")
            with gr.Row():
                example = gr.Button(label("data.example"), size="sm", elem_id="draw-dataset")
                remove = gr.Button(label("data.remove"), size="sm", elem_id="remove-data")
        with gr.Column(scale=6, min_width=320):
            hint = both("data.hint", limit=max_upload, minutes=f"{IDLE_S / 60:.0f}")
            gr.HTML(f'<p class="hint">{hint}</p>', apply_default_css=False)
    notice = gr.HTML(elem_id="data-notice", apply_default_css=False)
    report = gr.HTML(_no_data(), js_on_load=EDIT_JS, elem_id="dataset", apply_default_css=False)
    with gr.Row():
        pack = gr.Button(label("data.pack"), size="sm", visible=False, elem_id="pack-dataset")
        packed = gr.DownloadButton(label("data.cleaned"), size="sm", visible=False, elem_id="cleaned")

    mistakes, said, looked, of_runs = run_part.build(visits, models, key, model_list, max_minutes)

    outputs = [key, notice, report, pack, packed]

    def upload(
        path: str | None,
        mine: object,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio finds a progress bar by this default)
    ) -> tuple[Any, ...]:
        if not path:
            return tuple(gr.skip() for _ in outputs)
        visit = visits.open(mine)
        return _answered(visit, lambda: _ingest(visits, visit, Path(path), progress))

    def draw_one(mine: object) -> tuple[Any, ...]:
        visit = visits.open(mine)
        return _answered(visit, lambda: _draw(visits, visit))

    def edit(mine: object, event: gr.EventData) -> tuple[Any, ...]:
        visit = visits.open(mine)

        def act() -> None:
            change(visit, told(event, "edit", str), told(event, "name", str), told(event, "label", str, ""))
            visits.save(visit)

        return _answered(visit, act)

    def edit_mistake(mine: object, event: gr.EventData) -> tuple[Any, ...]:
        """Far below the list of changes: what came of it is said here as well."""
        found = edit(mine, event)
        return *found, found[1] or f'<p class="hint" role="status">{both("report.noted")}</p>'

    def forget(mine: object) -> tuple[Any, ...]:
        visits.close(mine)
        gone = f'<p class="hint">{both("data.removed")}</p>'
        return NO_VISIT, gone, _no_data(), *_packing(None), None, *run_part.nothing()

    def restore(mine: object) -> tuple[Any, ...]:
        visit = visits.find(mine)
        if visit is None:  # nothing is said to who has had nothing, or knows it already
            told = (gr.skip(), gr.skip()) if mine in (None, "", NO_VISIT) else (NO_VISIT, _lost())
            return *told, *_views(None)
        return gr.skip(), "", *_views(visit)

    def pack_zip(mine: object) -> tuple[Any, Any]:
        try:
            file = _pack(visits, visits.find(mine))
        except Exception as error:
            return refused(error, "packing a dataset"), gr.skip()
        return "", gr.update(value=served(file), visible=True)

    private: dict[str, Any] = {"api_visibility": "private"}
    page = gr.context.Context.root_block
    assert page is not None
    page.load(restore, key, outputs, show_progress="hidden", **private)
    looked.change(restore, key, outputs, show_progress="hidden", **private)
    data: dict[str, Any] = {"concurrency_limit": 2, "concurrency_id": "data", "show_progress_on": [report], **private}
    archive.upload(upload, [archive, key], outputs, **data)
    example.click(draw_one, key, outputs, **data)
    report.select(edit, key, outputs, trigger_mode="multiple", show_progress="hidden", **private)
    mistakes.select(edit_mistake, key, [*outputs, said], trigger_mode="multiple", show_progress="hidden", **private)
    remove.click(forget, key, [*outputs, archive, *of_runs], show_progress="hidden", **private)
    pack.click(pack_zip, key, [notice, packed], **data)


def _answered(visit: Visit, act: Callable[[], None]) -> tuple[Any, ...]:
    """Do something to a visit's dataset and show what there is then; a refusal stands above what was there before."""
    said = ""
    try:
        act()
    except Exception as error:
        said = refused(error, "a dataset")
    return visit.key, said, *_views(visit)


def _views(visit: Visit | None) -> tuple[Any, ...]:
    """The report, and the two buttons that pack what was cleaned."""
    dataset = visit.dataset() if visit else None
    if visit is None or dataset is None:
        return _no_data(), *_packing(None)
    drawn = f'<p class="hint">{both("data.drawn")}</p>' if dataset.name == DRAWN else ""
    return drawn + dataset_card(dataset, visit.unlike(), visit.edits), *_packing(visit)


def _packing(visit: Visit | None) -> tuple[Any, Any]:
    return gr.update(visible=bool(visit and visit.edits)), gr.update(visible=False, value=None)


def _lost() -> str:
    """To a browser that has a key nobody knows; it is said once, as the browser forgets the key then."""
    return f'<p class="doubt" role="status">{both("data.lost", minutes=f"{IDLE_S / 60:.0f}")}</p>'


def _no_data() -> str:
    return f'<div class="card empty small"><p>{both("data.empty")}</p></div>'


# -- what happens to a visit -------------------------------------------------------------------------------------------


def _ingest(visits: Visits, visit: Visit, path: Path, progress: gr.Progress) -> None:
    """Unpack and look at an upload; the dataset that was here before is gone only when that went well."""
    limits = Limits(bytes=min(MAX_TOTAL_BYTES, visits.room(visit)))
    folder = visit.new_folder("data")
    try:
        told_how_far = lambda done, total: progress((done, total), unit="photos")  # noqa: E731
        dataset = ingest(path, folder, progress=told_how_far, limits=limits)
        run_part.refuse_many_classes(dataset)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    visits.replace(visit, dataset, folder, path)


def _draw(visits: Visits, visit: Visit) -> None:
    visits.room(visit)
    folder = visit.new_folder("data")
    try:
        draw(folder)
        dataset = replace(ingest(folder), name=DRAWN)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    visits.replace(visit, dataset, folder)


def _pack(visits: Visits, visit: Visit | None) -> Path:
    """The dataset with its edits as a zip, in the place of the one that was packed before."""
    visit, dataset, _ = with_dataset(visit)
    with visit.lock:
        old, visit.packed = visit.packed, None
    if old is not None:
        remove_served(old)
        shutil.rmtree(old.parent, ignore_errors=True)
    visits.room(visit)
    file = visit.new_folder("zip") / "cleaned.zip"
    try:
        write_zip(dataset, file)
    except BaseException:
        shutil.rmtree(file.parent, ignore_errors=True)
        raise
    with visit.lock:
        visit.packed = file
    return file


def change(visit: Visit, edit: str, name: str, to: str = "") -> None:
    """Apply a button of the report: ``leave`` an image out, ``move`` it to another class, ``undo`` an edit.

    Raises:
        Refusal: if there is no such image, edit or class any more, or too little would be left to learn from.
    """
    with visit.lock:
        source = visit.source
        if source is None:
            raise no_dataset()
        names = {image.name for image in source.images}
        before = visit.edits
        if edit == "undo" and name.isdecimal() and int(name) < len(before):
            visit.edits = before[: int(name)] + before[int(name) + 1 :]
        elif edit == "leave" and name in names:
            visit.edits = (*before, Edit(name))
        elif edit == "move" and name in names and to in source.classes:
            visit.edits = (*before, Edit(name, to))
        else:
            raise Refusal(
                "data.edit", "{name} can't be changed like that any more; look at the report again.", name=name[:80]
            )
        try:
            changed = visit.dataset()
            assert changed is not None
            check(changed)
        except Refusal:
            visit.edits = before
            raise
