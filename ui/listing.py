"""The page's tables: headings that sort and a field that searches, which outlast a new table; and plain ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: Choosing a heading sorts by its column, numbers as numbers; choosing it again turns the order round. What is typed
#: into a search field hides the rows that lack one of its words. A table that replaces this one is treated alike: where
#: it is of the same form, Gradio only puts other texts and attributes into this one.
LISTING_JS = """
const state = {column: null, down: false, query: ''};
const observer = new MutationObserver(() => apply());
const apply = () => {
  observer.disconnect();
  const body = element.querySelector('tbody');
  for (const box of element.querySelectorAll('input[type="search"]')) { // one for each language
    if (box.value !== state.query) box.value = state.query;
  }
  if (body) {
    const words = state.query.toLowerCase().split(' ').filter(Boolean);
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    const none = element.querySelector('.nothing');
    if (none) none.hidden = [...body.rows].some((row) => !row.hidden);
    const heading = [...element.querySelectorAll('th')].find((one) => name(one) === state.column);
    element.querySelectorAll('th[aria-sort]').forEach((one) => one.removeAttribute('aria-sort'));
    if (heading) {
      heading.setAttribute('aria-sort', state.down ? 'descending' : 'ascending');
      const key = (row) => row.cells[heading.cellIndex].dataset.value ?? row.cells[heading.cellIndex].textContent;
      const order = (one, other) => key(one).localeCompare(key(other), undefined, {numeric: true});
      body.append(...[...body.rows].sort((one, other) => (state.down ? -1 : 1) * order(one, other)));
    }
  }
  observer.observe(element, {childList: true, subtree: true, characterData: true, attributes: true});
};
const name = (heading) => heading.dataset.column ?? String(heading.cellIndex);
element.addEventListener('click', (event) => {
  const button = event.target.closest('th button');
  if (!button) return;
  const column = name(button.closest('th'));
  state.down = state.column === column && !state.down;
  state.column = column;
  apply();
});
element.addEventListener('input', (event) => {
  if (!event.target.matches('input[type="search"]')) return;
  state.query = event.target.value;
  apply();
});
apply();
"""


def plain_table(headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = False) -> str:
    """A table that neither sorts nor searches.

    Args:
        headings: of its columns, HTML.
        rows: their cells, HTML.
        numbers: whether all columns but the first hold numbers.
    """

    def cell(tag: str, column: int, text: str) -> str:
        kind = ' class="number"' if numbers and column else ""
        scope = ' scope="col"' if tag == "th" else ""
        return f"<{tag}{scope}{kind}>{text}</{tag}>"

    heading = "".join(cell("th", *pair) for pair in enumerate(headings))
    body = "".join(f"<tr>{''.join(cell('td', *pair) for pair in enumerate(row))}</tr>" for row in rows)
    return (
        '<div class="listing"><div class="scroll" tabindex="0"><table><thead>'
        f"<tr>{heading}</tr></thead><tbody>{body}</tbody></table></div></div>"
    )
