"""What a training run says at the end, as HTML: figures with intervals, the classes, a heat map, calibration."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from train.report import Report
from train.shares import Share
from ui.dataset_view import edit_button, thumb
from ui.listing import plain_table
from ui.texts import both, plain
from ui.words import percent

#: Classes of a heat map that can still be read, and images of one of its cells.
MAP_CLASSES, IN_CELL = 20, 24
#: Mistakes in the gallery.
MISTAKES = 12

# A cell of the heat map opens its images, and closes those of the others.
CELLS_JS = """
element.addEventListener('click', (event) => {
  const cell = event.target.closest('button[data-cell]');
  if (!cell) return;
  const open = cell.getAttribute('aria-expanded') === 'true';
  element.querySelectorAll('button[data-cell]').forEach((one) => one.setAttribute('aria-expanded', 'false'));
  element.querySelectorAll('[data-images]').forEach((one) => { one.hidden = true; });
  cell.setAttribute('aria-expanded', String(!open));
  const images = element.querySelector(`[data-images="${cell.dataset.cell}"]`);
  if (images) images.hidden = open;
});
"""


@dataclass(frozen=True)
class Answer:
    """An image that was kept apart: where it lies, its name, and the indices of its class and of what it was named."""

    path: Path
    name: str
    true: int
    named: int


def report_card(report: Report, answers: Sequence[Answer], no_better: bool = False) -> str:
    """Everything but the mistakes.

    Args:
        report: of the model that was kept.
        answers: of the photos that it was judged on.
        no_better: whether training made it no better, so that the first model is what was kept.
    """
    note = f'<p class="doubt">{both("report.no_better")}</p>' if no_better else ""
    return (
        f'<div class="card report">{note}{_figures(report)}{_classes(report)}{heat_map(report, answers)}'
        f"{_calibration(report)}</div>"
    )


def _figures(report: Report) -> str:
    """Accuracy beside the baseline's and the majority's, each with its interval."""
    cells = [(report.accuracy, both("report.accuracy", photos=f"{report.photos:,}"))]
    if compared := report.baseline:
        words = both("report.baseline")
        if compared.only_model or compared.only_baseline:  # else they name all alike, or are the same model
            words += " " + both(
                "report.gain", model=compared.only_model, baseline=compared.only_baseline, p=f"{compared.p_value:.2g}"
            )
        cells.append((compared.accuracy, words))
    cells.append((report.majority_accuracy, both("report.majority", name=report.names[report.majority])))
    if report.top5:
        cells.append((report.top5, both("report.top5")))
    figures = "".join(
        f"<div><b>{share_text(share)}</b><span>{interval(share)}</span><span>{words}</span></div>"
        for share, words in cells
    )
    said = both("report.chosen" if report.chosen else "report.apart")
    return f'<div class="figures">{figures}</div><p class="hint">{said}</p>'


def share_text(share: Share) -> str:
    """A share as a percentage; a dash where nothing was counted."""
    return percent(share.value) if share.value is not None else "–"


def interval(share: Share) -> str:
    """What was counted and its 95 % Wilson interval, as HTML."""
    return both(
        "report.interval", right=f"{share.right:,}", total=f"{share.total:,}", low=f"{100 * share.low:.1f}",
        high=f"{100 * share.high:.1f}",
    )  # fmt: skip


def _classes(report: Report) -> str:
    names = ("class", "photos", "precision", "recall", "interval", "f1")
    rows = (
        (
            plain(one.name),
            f"{one.support:,}",
            share_text(one.precision),
            share_text(one.recall),
            f"{100 * one.recall.low:.1f}–{100 * one.recall.high:.1f} %" if one.support else "–",
            "–" if one.f1 is None else f"{one.f1:.3f}",
        )
        for one in report.classes
    )
    table = plain_table([both(f"report.column_{name}") for name in names], rows, numbers=True)
    return f"<h3>{both('report.classes')}</h3>{table}"


def heat_map(report: Report, answers: Sequence[Answer]) -> str:
    """The confusion matrix: rows by true class, columns by named class; a cell opens its images."""
    names = report.names
    if len(names) > MAP_CLASSES:
        rows = "".join(
            f"<li>{both('report.confused', true=true, named=named, count=count, total=total)}</li>"
            for true, named, count, total in report.confusions()
        )
        return f'<h3>{both("report.confusion")}</h3><ul class="findings">{rows}</ul>'
    heading = "".join(f'<th scope="col"><span>{plain(name)}</span></th>' for name in names)
    lines: list[str] = []
    images: list[str] = []
    for true, counts in enumerate(report.confusion):
        total = sum(counts)
        cells = []
        for named, count in enumerate(counts):
            kind = "right" if true == named else "wrong"
            shade = f"{100 * count / total:.0f}%" if total else "0%"
            cells.append(
                f'<td class="{kind}" style="--share:{shade}"><button type="button" data-cell="{true}-{named}" '
                f'aria-expanded="false"{"" if count else " disabled"} '
                f'aria-label="{plain(f"{names[true]} → {names[named]}: {count}")}">{count:,}</button></td>'
            )
            if count:
                images.append(
                    _cell(true, named, names, [one for one in answers if (one.true, one.named) == (true, named)])
                )
        lines.append(f'<tr><th scope="row"><span>{plain(names[true])}</span></th>{"".join(cells)}</tr>')
    return (
        f'<h3>{both("report.confusion")}</h3><p class="hint">{both("report.confusion_hint")}</p>'
        f'<div class="scroll" tabindex="0"><table class="heat"><thead><tr><td></td>{heading}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>{''.join(images)}"
    )


def _cell(true: int, named: int, names: Sequence[str], answers: Sequence[Answer]) -> str:
    thumbs = "".join(
        f'<img src="{thumb(one.path)}" alt="{plain(one.name)}" title="{plain(one.name)}" loading="lazy">'
        for one in answers[:IN_CELL]
    )
    more = len(answers) - IN_CELL
    words = both("report.cell", true=names[true], named=names[named])
    rest = f'<p class="hint">{both("data.more_odd", count=f"{more:,}")}</p>' if more > 0 else ""
    return f'<div class="cell-images" data-images="{true}-{named}" hidden><p>{words}</p>{thumbs}{rest}</div>'


def _calibration(report: Report) -> str:
    found = report.calibration
    words = both(
        "report.calibration", before=f"{100 * found.before.ece:.1f}", after=f"{100 * found.after.ece:.1f}",
        temperature=f"{found.temperature:.2f}", flagged=share_text(report.flagged),
    )  # fmt: skip
    bars = "".join(
        f'<div class="bin" title="{one.photos}"><i style="height:{100 * one.right / one.photos:.0f}%"></i>'
        f'<em style="bottom:{100 * one.confidence:.0f}%"></em><small>{100 * one.high:.0f}</small></div>'
        for one in found.after.bins
    )
    return (
        f'<h3>{both("report.calibrated")}</h3><p>{words}</p><div class="reliability">{bars}</div>'
        f'<p class="hint">{both("report.reliability")}</p>'
    )


def mistakes_card(report: Report, answers: Sequence[Answer], overlays: dict[str, tuple[str, str]]) -> str:
    """The most confident mistakes, each with where the named and the true class were seen, and what to do about it.

    Args:
        report: of a run.
        answers: to find the files by their names.
        overlays: name of an image -> Grad-CAM for the named and for the true class, as data URIs.
    """
    paths = {one.name: one.path for one in answers}
    figures = []
    for one in report.mistakes[:MISTAKES]:
        if one.file not in paths:
            continue
        pictures = overlays.get(one.file)
        seen = (
            "".join(_picture(*pair) for pair in zip(pictures, (one.named, one.true), strict=True))
            if pictures
            else f'<figure><img src="{thumb(paths[one.file], 150)}" alt=""></figure>'
        )
        options = "".join(
            f'<option value="{html.escape(name)}"{" selected" if name == one.named else ""}>{plain(name)}</option>'
            for name in report.names
        )
        words = both(
            "report.mistake", file=one.file, named=one.named, probability=percent(one.probability), true=one.true,
            true_probability=percent(one.true_probability),
        )  # fmt: skip
        figures.append(
            f'<li><div class="pictures">{seen}</div><p>{words}</p><p class="buttons">'
            f"{edit_button('leave', one.file, 'data.leave_out')}"
            f"{edit_button('move', one.file, 'report.move')}<select>{options}</select></p></li>"
        )
    if not figures:
        return f'<div class="card"><p>{both("report.no_mistakes")}</p></div>'
    return (
        f'<div class="card"><h3>{both("report.mistakes")}</h3><p class="hint">{both("report.mistakes_hint")}</p>'
        f'<ul class="mistakes">{"".join(figures)}</ul></div>'
    )


def _picture(uri: str, name: str) -> str:
    return f'<figure><img src="{uri}" alt=""><figcaption>{both("report.seen", name=name)}</figcaption></figure>'
