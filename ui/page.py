"""The whole page: the masthead and its tabs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from ui import api, architecture, classify, finetune
from ui.dataset_view import forget_thumbs
from ui.doors import doors
from ui.fetching import MAX_MB
from ui.jobs import Jobs
from ui.models import Models
from ui.run_part import MAX_MINUTES
from ui.shares import AT_A_TIME, Shares
from ui.texts import both, label, translations
from ui.theme import CSS, LOGO, theme
from ui.visits import GB, MAX_DISK_GB, Visits
from ui.zero import on_zero_gpu
from weights.catalog import FLOWERS

#: Uploads are removed after an hour, looked for every ten minutes.
DELETE_CACHE_S = (600, 3600)
MAX_UPLOAD = f"{MAX_MB}mb"
#: Scripts that mend faults of Gradio's own: it loses an answer now and then, and leaves lists open.
SCRIPTS = [Path(__file__).with_name(name) for name in ("stream.js", "lists.js")]
#: Sessions that Gradio keeps, 0.2 MB each, of which every call of the API is one; the least used go first.
SESSIONS = 1_000
#: Events of all visitors that may wait at the same time.
MAX_WAITING = 1_000


def build(
    default_model: str = FLOWERS, models: Models | None = None, visits: Visits | None = None,
    max_minutes: int = MAX_MINUTES,
) -> gr.Blocks:  # fmt: skip
    """The page.

    Args:
        default_model: what is chosen at first; as whoever starts the page named it, it may be a path.
        models: where models are loaded; made for `default_model` by default.
        visits: what visitors have here; nothing by default.
        max_minutes: that a fine-tuning may take.
    """
    models = models or Models(trusted=(default_model,))
    visits = visits or visits_for(models)
    with gr.Blocks(title="ResNet", analytics_enabled=False, delete_cache=DELETE_CACHE_S) as page:
        words = f"<h1>{both('header.title')}</h1><p>{both('header.sentence')}</p>"
        gr.HTML(f'<header class="masthead">{LOGO}<div>{words}</div></header>', apply_default_css=False)
        visit = finetune.visit_key()
        with gr.Tabs():
            with gr.Tab(label("classify.tab"), id="classify"):
                ready, model_list, places = classify.build(models, default_model)
            with gr.Tab(label("finetune.tab"), id="finetune"):
                finetune.build(visits, models, visit, model_list, MAX_UPLOAD.replace("mb", " MB"), max_minutes)
            with gr.Tab(label("arch.tab"), id="architecture"):
                architecture.build(models, ready, places)
        api.build(models, visits, max_minutes)
    if on_zero_gpu():  # where Gradio would let one event wait, and refuse the others
        page.queue(max_size=MAX_WAITING)
    Shares(page)
    return page  # type: ignore[no-any-return]


def visits_for(models: Models, max_disk_gb: int = MAX_DISK_GB, folder: Path | None = None) -> Visits:
    """What visitors have: without anybody yet, or as it is kept in a folder."""
    max_bytes = max_disk_gb * GB
    return Visits(Jobs(), forget_model=models.forget, forget_folder=forget_thumbs, max_bytes=max_bytes, folder=folder)


def launch_options(host: str | None = None, share: bool = False) -> dict[str, Any]:
    """What the page needs of `launch`, wherever it is launched; `host` and `share` as `launch` gets them."""
    return {
        "app_kwargs": {"middleware": doors(host, share)},
        "theme": theme(),
        "css": CSS,
        "head": "".join(f"<script>{script.read_text(encoding='utf-8')}</script>" for script in SCRIPTS),
        "i18n": translations(),
        "max_file_size": MAX_UPLOAD,
        "state_session_capacity": SESSIONS,
        "max_threads": AT_A_TIME,
        "ssr_mode": False,
        "show_error": False,
        "footer_links": ["settings", "gradio"],
    }
