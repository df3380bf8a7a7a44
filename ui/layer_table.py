"""The table of the Architecture tab: stages, blocks or every layer, of one network or of two side by side."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, replace

from resnet.summary import Depth, Part, parts, to_csv
from ui.blueprint import shape_text
from ui.networks import Chosen
from ui.texts import TEXTS, both

#: Columns with numbers: a part's field, and what the page calls it.
NUMBERS = {
    "layers": "layers",
    "parameters": "parameters",
    "macs": "macs",
    "activation_bytes": "activations",
    "receptive_field": "field",
}
WORDS = ("name", "output", "shortcut")


@dataclass(frozen=True)
class _Row:
    """A part of a network with how many of its parameters learn."""

    part: Part
    trained: int


def table(networks: Sequence[Chosen], depth: Depth) -> str:
    """One row for each part; where two networks differ, the second's figure stands below the first's, marked."""
    names = _merged([_rows(one, depth) for one in networks])
    method = bool(networks[0].method)
    columns = ["name", "output", *(["shortcut"] if depth != "stage" else []), *NUMBERS.values()]
    columns += ["trained"] if method else []
    headings = "".join(
        f'<th scope="col" data-column="{name}" class="{"word" if name in WORDS else "number"}">'
        f'<button type="button">{both(f"arch.column_{name}")}</button></th>'
        for name in columns
    )
    body = "".join(_line(name, found, networks, columns) for name, found in names.items())
    hint = both("arch.compared", first=networks[0].name, second=networks[-1].name) if len(networks) > 1 else ""
    search = "".join(
        f'<input type="search" class="lang-{short}" placeholder="{html.escape(TEXTS[short]["arch.search"])}" '
        f'aria-label="{html.escape(TEXTS[short]["arch.search"])}">'
        for short in TEXTS
    )
    return (
        f'<div class="tools">{search}<span class="hint">{hint}</span></div>'
        f'<div class="scroll" tabindex="0"><table><thead><tr>{headings}</tr></thead><tbody>{body}</tbody></table>'
        f'<p class="hint nothing" hidden>{both("arch.nothing")}</p></div>'
        f'<p class="hint links">{_links(networks, depth)}</p>'
    )


def _rows(network: Chosen, depth: Depth) -> dict[str, _Row]:
    facts = list(network.facts)
    trained = [one if one.path in network.learns else replace(one, parameters=0) for one in facts]
    return {
        part.name: _Row(part, learning.parameters)
        for part, learning in zip(parts(facts, depth), parts(trained, depth), strict=True)
    }


def _merged(tables: Sequence[dict[str, _Row]]) -> dict[str, list[_Row | None]]:
    """Rows of the same name side by side. What only a later network has stands behind its block, or its stage."""

    def places(row: _Row) -> tuple[tuple[str, ...], ...]:
        words = row.part.name.split(".")
        return (row.part.stage,), (row.part.stage, *words[:2])

    order = list(tables[0].values())
    for other in tables[1:]:
        known = {row.part.name for row in order}
        for row in other.values():
            if row.part.name in known:
                continue
            alike = [index for index, one in enumerate(order) if places(one)[1] == places(row)[1]]
            alike = alike or [index for index, one in enumerate(order) if places(one)[0] == places(row)[0]]
            order.insert(alike[-1] + 1 if alike else len(order), row)
    return {row.part.name: [one.get(row.part.name) for one in tables] for row in order}


def _line(name: str, found: Sequence[_Row | None], networks: Sequence[Chosen], columns: Sequence[str]) -> str:
    here = [row for row in found if row is not None]
    note = ""
    if len(here) < len(found):
        owner = networks[[row is not None for row in found].index(True)]
        note = f"<small>{both('arch.only', name=owner.name)}</small>"
    cells = [f"<td>{html.escape(name)}{note}</td>", _words([shape_text(row.part.output_shape) for row in here])]
    if "shortcut" in columns:
        cells.append(_words([both(f"arch.short_{row.part.shortcut}") if row.part.shortcut else "" for row in here]))
    cells += [_numbers([getattr(row.part, field) for row in here]) for field in NUMBERS]
    if "trained" in columns:
        cells.append(_numbers([row.trained if row.part.parameters else None for row in here], both("arch.frozen")))
    frozen = here[0].part.parameters and not here[0].trained and networks[0].method
    classes = [*(["frozen"] if frozen else []), *(["alone"] if note else [])]
    return f'<tr class="{" ".join(classes)}">{"".join(cells)}</tr>' if classes else f"<tr>{''.join(cells)}</tr>"


def _words(values: Sequence[str]) -> str:
    if len(set(values)) < 2:
        return f"<td>{values[0]}</td>"
    return f'<td class="differs">{values[0]}<small>{values[-1]}</small></td>'


def _numbers(values: Sequence[int | None], zero: str = "–") -> str:
    def shown(value: int | None) -> str:
        return f"{value:,}" if value else zero if value == 0 else "–"

    if len(set(values)) < 2:
        return f'<td class="number" data-value="{values[0] or 0}">{shown(values[0])}</td>'
    return (
        f'<td class="number differs" data-value="{values[0] or 0}">{shown(values[0])}'
        f"<small>{shown(values[-1])}</small></td>"
    )


def _links(networks: Sequence[Chosen], depth: Depth) -> str:
    rows = [(one.name, row) for one in networks for row in _rows(one, depth).values()]
    found = [row.part for _, row in rows]
    extra: dict[str, Sequence[object]] = {"network": [name for name, _ in rows]} if len(networks) > 1 else {}
    if networks[0].method:
        extra["trained_parameters"] = [row.trained for _, row in rows]
    files = (
        ("csv", "csv", to_csv(found, **extra), both("arch.csv")),
        ("md", "markdown", to_markdown(found, extra), both("arch.markdown")),
    )
    name = "-".join(one.name for one in networks)
    return " ".join(
        f'<a download="{html.escape(name)}-{depth}.{ending}" href="data:text/{kind};charset=utf-8;base64,'
        f'{base64.b64encode(text.encode()).decode()}">{words}</a>'
        for ending, kind, text, words in files
    )


def to_markdown(found: Sequence[Part], extra: dict[str, Sequence[object]] | None = None) -> str:
    """A table for a README.

    Args:
        found: its rows.
        extra: further columns by their headings, a value for each row.
    """
    extra = extra or {}
    heading = ["", "output", "parameters", "MACs", "activations (bytes)", "receptive field", *extra]
    lines = [_row(heading), "|---|---|--:|--:|--:|--:|" + "--:|" * len(extra)]
    for index, part in enumerate(found):
        cells = [
            part.name, shape_text(part.output_shape), f"{part.parameters:,}", f"{part.macs:,}",
            f"{part.activation_bytes:,}", str(part.receptive_field or ""),
        ]  # fmt: skip
        further = [values[index] for values in extra.values()]
        lines.append(_row([*cells, *(f"{one:,}" if isinstance(one, int) else _plain(str(one)) for one in further)]))
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """A model's name may be a stranger's: nothing in it may end a cell."""
    return text.replace("|", "\\|").replace("\n", " ")
