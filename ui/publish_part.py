"""Below a finished run: its model becomes a repository in the visitor's account on the Hugging Face Hub."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Any

import gradio as gr
from huggingface_hub import get_token

from resnet.errors import Refusal
from ui.accounts import has_login, token_for, where
from ui.models import Models
from ui.texts import Markup, both, label
from ui.training import Result, result_of
from ui.visits import Run, Visits
from ui.words import refused
from weights.publish import Published, publish

PRIVATE, PUBLIC = "private", "public"


def build(visits: Visits, models: Models, key: gr.BrowserState, shown: gr.State) -> None:
    """Draw it inside of the current tab; it is there while a finished run is.

    Args:
        visits: who is here and what they have.
        models: which know the Hub.
        key: of the visit.
        shown: the job whose result the page shows, and which of its models; ``""`` while it shows none.
    """
    page = gr.context.Context.root_block
    assert page is not None
    with gr.Accordion(label("publish.title"), open=False, visible=False, elem_id="publish") as part:
        gr.HTML(f'<p class="hint">{both("publish.about")}</p>', apply_default_css=False)
        with gr.Row():
            name = gr.Textbox(
                label=label("publish.name"), info=label("publish.name_info"), max_length=200, scale=3, min_width=260,
                elem_id="publish-name",
            )  # fmt: skip
            access = gr.Radio(
                [(label("publish.private"), PRIVATE), (label("publish.public"), PUBLIC)], value=PRIVATE,
                label=label("publish.access"), scale=2, min_width=240, elem_id="publish-access",
            )  # fmt: skip
        note = gr.HTML(elem_id="publish-note", apply_default_css=False)
        token = gr.Textbox(
            label=label("publish.token"), info=label("publish.token_info"), type="password", max_length=500,
            visible=not has_login(), elem_id="publish-token",
            html_attributes=gr.InputHTMLAttributes(autocomplete="off", spellcheck=False),
        )  # fmt: skip
        if has_login():
            gr.LoginButton(elem_id="sign-in")
        push = gr.Button(label("publish.start"), variant="primary", elem_id="publish-start")
        answer = gr.HTML(elem_id="published", apply_default_css=False)

    def offer(mine: object, job: str, known: gr.OAuthProfile | None, request: gr.Request) -> tuple[Any, ...]:
        found = _finished(visits, mine, job)
        if found is None:
            return gr.update(visible=False), gr.skip(), "", gr.update(value=""), gr.skip(), ""
        place = where(page, request)
        proposed = f"{known.username}/{_slug(found[0].dataset)}" if known else _slug(found[0].dataset)
        words = "signed" if place == "local" and get_token() else place
        hint = f'<p class="hint">{both(f"publish.note_{words}")}</p>'
        typing = gr.update(visible=place == "local", value="")
        return gr.update(visible=True), proposed, hint, typing, gr.update(visible=place != "elsewhere"), ""

    def send(
        mine: object, job: str, wanted: str, who: str, typed: str, signed_in: gr.OAuthToken | None, request: gr.Request
    ) -> tuple[str, str]:
        try:
            found = _finished(visits, mine, job)
            if found is None:
                raise Refusal("publish.no_run", "There is no finished run any more; train again.")
            done = publish(
                found[1].folder, wanted or "", public=who == PUBLIC, endpoint=models.hub.endpoint,
                token=token_for(where(page, request), typed, signed_in), shown=found[0].dataset,
            )  # fmt: skip
        except Exception as error:
            return refused(error, "publishing a model"), ""
        return _done(done), ""

    private: dict[str, Any] = {"api_visibility": "private"}
    shown.change(
        offer, [key, shown], [part, name, note, token, push, answer], show_progress="hidden", **private
    )  # fmt: skip
    push.click(
        send, [key, shown, name, access, token], [answer, token], show_progress_on=[answer], concurrency_limit=2,
        concurrency_id="publish", **private,
    )  # fmt: skip


def _finished(visits: Visits, mine: object, job: str) -> tuple[Run, Result] | None:
    """A visitor's own run and what came of it; None if it is somebody else's, has not ended, or is gone."""
    visit = visits.find(mine)
    run = next((run for run in visit.runs if run.job == job.split(" ")[0]), None) if visit else None
    found = result_of(visits.jobs.look(run.job)) if run else None
    return (run, found) if run and found else None


def _slug(name: str) -> str:
    """A name that a repository can have, after a dataset's."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return f"{'-'.join(re.findall(r'[A-Za-z0-9]+', plain))[:60].strip('-') or 'my'}-resnet"


def _done(done: Published) -> str:
    """The link, and the lines that load it."""
    url = html.escape(done.url)
    link = Markup(f'<a href="{url}" target="_blank" rel="noopener noreferrer">{html.escape(done.repo)}</a>')
    lines = "".join(f"<pre><code>{html.escape(line)}</code></pre>" for line in done.loaders)
    said = both("publish.done_private" if done.private else "publish.done_public", link=link)
    later = f'<p class="hint">{both("publish.sign_in_first")}</p>' if done.private else ""
    return f'<div class="card done links" role="status"><p>{said}</p><p>{both("publish.load")}</p>{lines}{later}</div>'
