"""Your photo inside: the maps that answer most to it, what one position of them can see, and the first filters."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from resnet.errors import Refusal
from resnet.explain import STAGES, ActivationMap, activation_maps
from resnet.photos import Photo
from resnet.preprocess import Pixels, open_image
from resnet.summary import STAGE_NAMES, LayerFacts, layers
from ui.drawing import colors, data_uri
from ui.models import Loaded
from ui.texts import Markup, both

MAPS = 16

# A position is chosen on any map, by pointing or with the arrow keys; it is marked on all of them, and what it can see
# is drawn on the photo.
POSITION_JS = """
const place = (row, column) => {
  const box = element.querySelector('.inside-photo');
  if (!box) return;
  const number = (key) => Number(box.dataset[key]);
  const limit = (value, most) => Math.max(0, Math.min(most, value));
  row = limit(row, number('rows') - 1);
  column = limit(column, number('columns') - 1);
  Object.assign(box.dataset, {row, column});
  for (const [name, value, count] of [['y', row, number('rows')], ['x', column, number('columns')]]) {
    box.style.setProperty('--' + name, 100 * value / count + '%');
    box.style.setProperty('--n' + name, 100 / count + '%');
  }
  const side = number('side'), facts = {row: row + 1, column: column + 1};
  for (const [name, index, size] of [['y', row, 'height'], ['x', column, 'width']]) {
    const from = number('start') + index * number('step'), to = from + number('field');
    const first = limit(from, side), last = limit(to, side);
    const rect = box.querySelector('rect.field');
    rect.setAttribute(name, first);
    rect.setAttribute(size, last - first);
    const cell = box.querySelector('rect.cell');
    cell.setAttribute(name, limit((from + to - number('step')) / 2, side));
    cell.setAttribute(size, number('step'));
    facts[name + '1'] = first;
    facts[name + '2'] = last;
  }
  box.querySelectorAll('[data-fill]').forEach((one) => { one.textContent = facts[one.dataset.fill]; });
};
const start = () => {
  const box = element.querySelector('.inside-photo');
  if (box && box.dataset.row !== undefined && !box.style.getPropertyValue('--x')) {
    place(Number(box.dataset.row), Number(box.dataset.column));
  }
};
element.addEventListener('click', (event) => {
  const map = event.target.closest('.map button');
  if (!map || event.detail === 0) return; // a key, not a pointer
  const box = element.querySelector('.inside-photo'), area = map.getBoundingClientRect();
  place(Math.floor((event.clientY - area.top) / area.height * Number(box.dataset.rows)),
        Math.floor((event.clientX - area.left) / area.width * Number(box.dataset.columns)));
});
element.addEventListener('keydown', (event) => {
  const step = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key];
  if (!step || !event.target.closest('.map button')) return;
  event.preventDefault();
  const box = element.querySelector('.inside-photo');
  place(Number(box.dataset.row) + step[0], Number(box.dataset.column) + step[1]);
});
// Gradio puts other texts and attributes into what stands here where the form is the same.
new MutationObserver(start).observe(element, {childList: true, subtree: true, characterData: true, attributes: true});
start();
"""


def look_inside(found: Loaded, path: str, stage: str) -> str:
    """The photo as the network saw it, and the strongest maps of a stage.

    Raises:
        Refusal: if the photo can't be read, or there is no such stage.
    """
    if stage not in STAGES:
        raise Refusal("arch.stage", "There is no stage {name}; choose one of the list.", name=repr(stage)[:40])
    photo = Photo(Path(path).name, Path(path))
    classifier = found.classifier
    crop = classifier.preprocess.pixels(open_image(photo.read(), photo.name))
    batch = classifier.preprocess.normalize([crop], classifier.device)
    maps = activation_maps(classifier.network, batch, stage, MAPS)
    facts = layers(found.checkpoint.config, classifier.preprocess.size)
    last = [one for one in facts if one.path.startswith(f"{stage}.") and ".downsample." not in one.path][-1]
    return _card(crop, maps, last, found.checkpoint.architecture)


def _card(crop: Pixels, maps: list[ActivationMap], last: LayerFacts, architecture: str) -> str:
    rows, columns = maps[0].values.shape
    # Where the strongest map is strongest.
    row, column = divmod(int(maps[0].values.argmax()), columns)
    side = crop.shape[0]
    data = {
        "rows": rows, "columns": columns, "side": side, "start": last.receptive_field_start,
        "step": last.effective_stride, "field": last.receptive_field, "row": row, "column": column,
    }  # fmt: skip
    figures = "".join(
        f'<figure class="map"><button type="button" aria-labelledby="map-{one.channel}">'
        f'<img src="{_map_uri(one)}" alt=""><i></i></button>'
        f'<figcaption id="map-{one.channel}">'
        f"{both('arch.map', channel=one.channel, maximum=f'{one.maximum:.2f}')}</figcaption></figure>"
        for one in maps
    )
    attributes = " ".join(f'data-{name}="{value}"' for name, value in data.items())
    seen = both(
        "arch.position", rows=rows, columns=columns, field=last.receptive_field, side=side,
        **{name: _slot(name) for name in ("row", "column", "x1", "x2", "y1", "y2")},
    )  # fmt: skip
    title = both(
        "arch.maps", count=len(maps), channels=last.output_shape[1], stage=STAGE_NAMES[last.path.split(".")[0]],
        model=architecture,
    )  # fmt: skip
    return (
        f'<div class="card inside-photo" {attributes}><div class="seen">'
        f'<svg viewBox="0 0 {side} {side}" role="img" aria-labelledby="seen-field">'
        f'<image href="{data_uri(Image.fromarray(crop))}" width="{side}" height="{side}"/>'
        f'<rect class="field"/><rect class="cell"/></svg><p id="seen-field" aria-live="polite">{seen}</p></div>'
        f'<div><p class="hint">{title}</p><div class="maps">{figures}</div></div></div>'
    )


def _slot(name: str) -> Markup:
    """A number that the page fills in."""
    return Markup(f'<b data-fill="{name}">…</b>')


def filters_card(filters: Tensor, model: str) -> str:
    """The filters of the first convolution as one picture, 8 x 8, each stretched to its own range.

    Args:
        filters: ``(64, 3, 7, 7)``.
        model: its name; HTML-escaped here.
    """
    count, _, side, _ = filters.shape
    across = 8
    strongest = filters.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
    shown = (127.5 + 127.5 * filters / strongest).round().byte().permute(0, 2, 3, 1).numpy()
    gap = 1
    canvas = np.zeros((-(-count // across) * (side + gap) - gap, across * (side + gap) - gap, 4), np.uint8)
    for index, one in enumerate(shown):
        top, left = (side + gap) * (index // across), (side + gap) * (index % across)
        canvas[top : top + side, left : left + side, :3] = one
        canvas[top : top + side, left : left + side, 3] = 255
    words = both("arch.filters", count=count, side=side, model=model)
    return (
        f'<div class="card filters"><img src="{_png(Image.fromarray(canvas, "RGBA"))}" alt="{count} filters">'
        f"<p>{words}</p></div>"
    )


def _map_uri(one: ActivationMap) -> str:
    """A map in colours, from 0 to its own maximum, one pixel for each position."""
    scaled = one.values / max(one.maximum, 1e-12)
    return _png(Image.fromarray(colors(scaled.astype(np.float32)).round().astype(np.uint8)))


def _png(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
