"""A dataset before it is trained on: classes with thumbnails, what there is to know, what looks unlike the rest."""

from __future__ import annotations

import html
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from PIL import Image as Picture

from resnet.errors import Refusal
from resnet.preprocess import open_image
from train.dataset import Dataset, Image
from train.edits import Edit
from train.findings import Finding, findings
from train.unlike import Unlike
from ui.drawing import data_uri
from ui.texts import Markup, both, plain, sentence

#: Shown of each: classes, thumbnails in a class, findings, images that look unlike the rest.
CLASSES, IN_CLASS, FINDINGS, ODD = 40, 6, 12, 8
#: Side of a thumbnail, in pixels.
SIDE = 64
#: Thumbnails kept in memory, a few kB each.
THUMBS = 4000

# Buttons of the report change the dataset; one listener serves whatever buttons there are.
EDIT_JS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-edit]');
  if (!button) return;
  button.disabled = true;
  const {edit, name} = button.dataset;
  const choice = button.parentElement.querySelector('select');
  trigger('select', {edit, name, label: choice ? choice.value : ''});
});
"""


def dataset_card(dataset: Dataset, odd: Sequence[Unlike], edits: Sequence[Edit]) -> str:
    """The report as HTML. Names of classes and files are a stranger's: they are escaped."""
    report = dataset.report
    short, long = report.short_sides, report.long_sides
    facts = both(
        "data.facts", name=dataset.name, images=f"{report.images:,}", classes=f"{len(report.classes):,}",
        smallest=f"{short[0]} x {long[0]}", median=f"{short[1]} x {long[1]}", largest=f"{short[2]} x {long[2]}",
        formats=", ".join(f"{name} {count:,}" for name, count in report.formats.items()),
    )  # fmt: skip
    return (
        f'<div class="card dataset"><p class="verdict">{facts}</p>{_classes(dataset)}'
        f"{_odd(dataset, odd)}{_findings(findings(report))}{edit_list(edits)}</div>"
    )


def _classes(dataset: Dataset) -> str:
    most = max(one.images for one in dataset.report.classes)
    by_class: dict[str, list[Image]] = {}
    for image in dataset.images:
        by_class.setdefault(image.label, []).append(image)
    rows = []
    for one in dataset.report.classes[:CLASSES]:
        width = f"{100 * one.images / most:.1f}%"
        images = by_class[one.label]
        chosen = images[:: max(1, len(images) // IN_CLASS)][:IN_CLASS]
        thumbs = "".join(f'<img src="{thumb(image.path)}" alt="" title="{plain(image.name)}">' for image in chosen)
        parts = ", ".join(
            f"{part} {getattr(one, part):,}" for part in ("train", "val", "test") if getattr(one, part)
        )  # fmt: skip
        rows.append(
            f'<li><span class="name">{plain(one.label)}</span><span class="count">{one.images:,}'
            + (f" <small>({parts})</small>" if parts else "")
            + f'</span><span class="track"><span class="fill" style="width:{width}"></span></span>'
            f'<span class="thumbs">{thumbs}</span></li>'
        )
    more = len(dataset.report.classes) - CLASSES
    rest = f'<p class="hint">{both("data.more_classes", count=f"{more:,}")}</p>' if more > 0 else ""
    return f'<ul class="classes">{"".join(rows)}</ul>{rest}'


def _odd(dataset: Dataset, odd: Sequence[Unlike]) -> str:
    """Images that look unlike the rest, each with a button that leaves it out."""
    if not odd:
        return ""
    images = {image.name: image for image in dataset.images}
    figures = "".join(
        f'<figure><img src="{thumb(images[one.name].path)}" alt=""><figcaption>'
        f"<b>{plain(one.name)}</b> {', '.join(both(f'unlike.{reason}') for reason in one.reasons)}"
        f"{edit_button('leave', one.name, 'data.leave_out')}</figcaption></figure>"
        for one in odd[:ODD]
        if one.name in images
    )
    more = len(odd) - ODD
    rest = f'<p class="hint">{both("data.more_odd", count=f"{more:,}")}</p>' if more > 0 else ""
    return f'<h3>{both("data.odd")}</h3><div class="odd">{figures}</div>{rest}' if figures else ""


def edit_button(edit: str, name: str, key: str) -> str:
    """A button that edits an image of the dataset."""
    return (
        f'<button type="button" class="small" data-edit="{edit}" data-name="{html.escape(name)}">{both(key)}</button>'
    )


def _findings(found: Sequence[Finding]) -> str:
    if not found:
        return f'<p class="hint">{both("data.clean")}</p>'
    items = "".join(f"<li>{_finding(one)}</li>" for one in found[:FINDINGS])
    more = len(found) - FINDINGS
    rest = (
        f"<details><summary>{both('data.more', count=f'{more:,}')}</summary><ul>"
        + "".join(f"<li>{_finding(one)}</li>" for one in found[FINDINGS:200])
        + "</ul></details>"
        if more > 0
        else ""
    )
    return f'<h3>{both("data.findings")}</h3><ul class="findings">{items}</ul>{rest}'


def _finding(one: Finding) -> str:
    """A finding in both languages, with the images that it is about."""
    if one.code == "unreadable":
        text = _unreadable(str(one.facts["refusal"]), one.names[0], str(one.facts["reason"]))
    else:
        text = both(f"finding.{one.code}", **one.facts)
    names = ", ".join(plain(name) for name in one.names[:6]) + (" …" if len(one.names) > 6 else "")
    return f"{text}{f' <small>{names}</small>' if names else ''}"


def _unreadable(code: str, name: str, reason: str) -> str:
    """The refusal of a file; its translation, where the file's name is all that it needs to know."""
    try:
        return sentence(Refusal(code, "{reason}", reason=reason, name=name))
    except KeyError:
        return plain(reason)


def edit_list(edits: Sequence[Edit]) -> str:
    """What was changed, each with a button that undoes it."""
    if not edits:
        return ""
    items = "".join(
        f"<li>{_edit(edit)} "
        f'<button type="button" class="small" data-edit="undo" data-name="{index}">{both("data.undo")}</button></li>'
        for index, edit in enumerate(edits)
    )
    return f'<h3>{both("data.edits")}</h3><ul class="edits">{items}</ul>'


def _edit(edit: Edit) -> Markup:
    if edit.label is None:
        return Markup(both("data.left_out", name=edit.name))
    return Markup(both("data.moved", name=edit.name, label=edit.label))


_thumbs: OrderedDict[tuple[Path, int], str] = OrderedDict()
_thumbs_lock = threading.Lock()


def thumb(path: Path, side: int = SIDE) -> str:
    """A square thumbnail of an image as a data URI; grey where it can't be read any more."""
    with _thumbs_lock:
        if found := _thumbs.get((path, side)):
            _thumbs.move_to_end((path, side))
            return found
    made = _thumb(path, side)
    with _thumbs_lock:
        _thumbs[path, side] = made
        while len(_thumbs) > THUMBS:
            _thumbs.popitem(last=False)
    return made


def forget_thumbs(folder: Path) -> None:
    """Drop the thumbnails of all that lies in a folder that is gone."""
    with _thumbs_lock:
        for key in [key for key in _thumbs if key[0].is_relative_to(folder)]:
            del _thumbs[key]


def _thumb(path: Path, side: int) -> str:
    try:
        image = open_image(path, path.name)
    except (Refusal, OSError):
        return data_uri(Picture.new("RGB", (side, side), (160, 160, 160)), 70)
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    return data_uri(image.resize((side, side), Picture.Resampling.BILINEAR, (left, top, left + short, top + short)), 75)
