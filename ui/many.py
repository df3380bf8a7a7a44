"""Many photos at once: a table and a CSV."""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from resnet.classifier import Classification
from resnet.errors import Refusal
from resnet.photos import Photo, find_photos
from resnet.rows import header, to_table
from ui.components import FileInput
from ui.drawing import thumbnail
from ui.listing import LISTING_JS
from ui.models import Models
from ui.texts import Markup, both, label, plain, sentence
from ui.words import device_words, not_ready, percent, refused

#: Photos in one table; more belong into the terminal.
MAX_PHOTOS = 2_000


def inputs() -> tuple[FileInput, gr.Button, gr.HTML, gr.HTML, gr.DownloadButton]:
    """The field for files, the button, and where summary, table and CSV will stand."""
    files = FileInput(
        file_count="multiple", file_types=["image", ".zip"], label=label("many.files"), height=170, elem_id="files"
    )
    start = gr.Button(label("many.start"), variant="primary", elem_id="start")
    summary = gr.HTML(
        f'<p class="hint summary">{both("many.hint", limit=f"{MAX_PHOTOS:,}")}</p>',
        elem_id="summary",
        apply_default_css=False,
    )
    table = gr.HTML(
        visible=False, js_on_load=LISTING_JS, elem_id="table", elem_classes="listing", apply_default_css=False
    )
    download = gr.DownloadButton(label("many.csv"), visible=False, elem_id="csv")
    return files, start, summary, table, download


def table(
    models: Models, paths: list[str], name: str | None, top_k: int, progress: gr.Progress
) -> Iterator[tuple[Any, ...]]:
    """Summary, table and CSV of many photos; the progress is shown where the summary will stand."""
    hidden = gr.update(visible=False)
    try:
        with tempfile.TemporaryDirectory(prefix="resnet-") as folder:  # Gradio copies what it serves
            yield _classify_many(models, paths, name, top_k, progress, Path(folder) / "predictions.csv")
    except Exception as error:
        yield refused(error, f"classifying {len(paths)} files with {name!r}"), hidden, hidden


def _classify_many(
    models: Models, paths: list[str], name: str | None, top_k: int, progress: gr.Progress, csv_path: Path
) -> tuple[Any, ...]:
    photos = photos_of(paths)
    if not name:
        raise not_ready()
    classifier = models.get(name).classifier
    k = max(1, min(top_k, len(classifier.label_names)))
    started = time.perf_counter()
    rows, cells, failed = [], [], 0
    for done, row in enumerate(classifier.predict_iter(photos, max(2, k), keep_crops=True), start=1):
        failed += row.refusal is not None
        shown = shown_as(row.name)
        rows.append(_row(row, shown))
        cells.append(to_table(for_visitors(row), shown, k))
        if done % 8 == 0 or done == len(photos):
            progress((done, len(photos)), unit="photos")
    seconds = time.perf_counter() - started
    with csv_path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(header(k))
        writer.writerows(cells)
    text = both(
        "many.done", count=f"{len(rows):,}", seconds=f"{seconds:.1f}", rate=f"{len(rows) / max(seconds, 1e-6):.0f}",
        device=Markup(device_words(classifier.computed_on)),
    )  # fmt: skip
    failures = both("many.failed", count=failed) if failed else ""
    return (
        f'<p class="summary">{text} {failures}</p>',
        gr.update(value=_html_table(rows), visible=True),
        gr.update(value=str(csv_path), visible=True),
    )


def photos_of(paths: list[str]) -> list[Photo]:
    """The photos in a visitor's files and zips.

    Raises:
        Refusal: if there are no files, too many photos in them, or one is a folder.
    """
    if not paths:
        raise Refusal("photos.none", "No photos were chosen; drop some, or a zip, into the field above.")
    for path in paths:
        if Path(path).is_dir():  # what lies in a folder was perhaps uploaded by others
            raise Refusal("image.folder", "{name} is a folder, not a photo; choose a file in it.", name=Path(path).name)
    photos = find_photos(paths)
    if len(photos) > MAX_PHOTOS:
        raise Refusal(
            "photos.many", "These are {count} photos and the page takes {limit}; use `python -m resnet classify` for "
            "more.",
            count=f"{len(photos):,}", limit=f"{MAX_PHOTOS:,}",
        )  # fmt: skip
    return photos


def for_visitors(row: Classification) -> Classification:
    """The same, in which no sentence says where a file lies on the server."""
    return replace(row, refusal=row.refusal.without_folders()) if row.refusal else row


def shown_as(name: str) -> str:
    """A photo's name without the server's folders: the upload's own name, or its place inside of the zip."""
    path = Path(name)
    for parent in path.parents:
        if parent.suffix.lower() == ".zip":
            return str(path.relative_to(parent))
    return path.name


def _row(row: Classification, shown: str) -> str:
    """One row of the table, as HTML. Names are strangers' texts and are escaped."""
    name, picture, cells = plain(shown), "", ("", "", "")
    if row.crop is not None:
        picture = f'<img src="{thumbnail(row.crop)}" width="56" height="56" alt="{name}">'
    if row.refusal:
        note = sentence(row.refusal)
    else:
        first, second = row.predictions[0], row.predictions[1] if len(row.predictions) > 1 else None
        runner_up = f"{plain(second.label)} <small>{percent(second.probability)}</small>" if second else ""
        cells = (f"<b>{plain(first.label)}</b>", percent(first.probability), runner_up)
        note = both(f"note.{row.verdict}") if row.verdict != "clear" else ""
    sort = f"{row.predictions[0].probability:.6f}" if row.predictions else "-1"
    return (
        f'<tr><td class="photo">{picture}</td><td class="file">{name}</td><td>{cells[0]}</td>'
        f'<td class="number" data-value="{sort}">{cells[1]}</td><td>{cells[2]}</td><td class="note">{note}</td></tr>'
    )


def _html_table(rows: list[str]) -> str:
    names = ("photo", "file", "name", "probability", "runner_up", "note")
    headings = "".join(
        f'<th scope="col">{text}</th>'
        if name == "photo"
        else f'<th scope="col"><button type="button">{text}</button></th>'
        for name in names
        for text in [both(f"column.{name}")]
    )
    return f'<div class="scroll"><table><thead><tr>{headings}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
