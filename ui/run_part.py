"""The lower half of the Fine-tune tab: settings, the run under way, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from resnet.errors import Refusal
from train.dataset import Dataset
from train.edits import edited
from train.events import Seen
from train.methods import METHODS
from train.recipe import Recipe
from train.recipe import choose as choose_recipe
from ui.classify import model_choices
from ui.components import CountInput
from ui.dataset_view import EDIT_JS
from ui.jobs import Stop, Work
from ui.kept_runs import keeping, read
from ui.loans import lender
from ui.models import Models
from ui.publish_part import build as build_publishing
from ui.report_view import CELLS_JS, mistakes_card, report_card
from ui.texts import both, label
from ui.training import Result, panel, result_of, runs_table, still_true, training_device, work
from ui.visits import OWN, Run, Visit, Visits, Wishes, hashed, job_id, owner, owners, served, with_dataset
from ui.words import refused
from weights.catalog import FLOWERS

#: Minutes that a run may take at most, unless whoever starts the page says otherwise.
MAX_MINUTES = 60
#: Classes that a model can learn here: with more, the first model alone takes hours.
MAX_CLASSES = 1_000
#: Seconds between two looks at a run, and at nothing but whether the visitor is still there.
LOOK_S, STAY_S = 1.0, 60.0


def build(
    visits: Visits, models: Models, key: gr.BrowserState, model_list: gr.Dropdown, max_minutes: int = MAX_MINUTES
) -> tuple[gr.HTML, gr.HTML, gr.State, Sequence[gr.Component]]:
    """Draw it inside of the current tab.

    Args:
        visits: who is here and what they have.
        models: where bases come from and own models go.
        key: of the visit.
        model_list: Classify's, which gets the visitor's own models.
        max_minutes: that a run may take.

    Returns:
        The gallery of mistakes, whose buttons edit the dataset; what is said of such an edit; how many times a run has
        seen the dataset, which changes what looks unlike the rest; and what is emptied when the visit is over.
    """
    with gr.Row(equal_height=True):
        base = gr.Dropdown(
            model_choices(models.trusted), value=FLOWERS, allow_custom_value=True, label=label("run.base"),
            info=label("run.base_info"), scale=3, min_width=280, elem_id="base",
        )  # fmt: skip
        method = gr.Dropdown(
            [(label(f"run.method_{one.replace('-', '_')}"), one) for one in METHODS], value="all",
            label=label("run.method"), info=label("run.method_info"), scale=3, min_width=240, elem_id="transfer",
        )  # fmt: skip
        minutes = CountInput(
            1, max_minutes, value=min(5, max_minutes), step=1, label=label("run.minutes"),
            info=label("run.minutes_info"), scale=2, min_width=200, elem_id="minutes",
        )  # fmt: skip
    with gr.Accordion(label("run.more"), open=False):
        with gr.Row():
            epochs = gr.Number(None, label=label("run.epochs"), precision=0, min_width=140)
            batch_size = gr.Number(None, label=label("run.batch_size"), precision=0, min_width=140)
            rate = gr.Number(None, label=label("run.rate"), min_width=140)
            image_size = gr.Number(None, label=label("run.image_size"), precision=0, min_width=140)
            share = gr.Slider(0.05, 0.5, value=0.2, step=0.05, label=label("run.share"), min_width=140)
            seed = gr.Number(0, label=label("run.seed"), precision=0, min_width=140)
        gr.HTML(f'<p class="hint">{both("run.more_hint")}</p>', apply_default_css=False)
    with gr.Row():
        start = gr.Button(label("run.start"), variant="primary", elem_id="start-run")
        stop = gr.Button(label("run.stop"), visible=False, elem_id="stop-run")
        go_on = gr.Button(label("run.go_on"), variant="primary", visible=False, elem_id="go-on")
    notice = gr.HTML(elem_id="run-notice", apply_default_css=False)
    progress = gr.HTML(elem_id="run", apply_default_css=False)
    download = gr.DownloadButton(label("run.download"), visible=False, elem_id="model-zip")
    shown = gr.State("")  # the job whose result this page has, and which of its models
    build_publishing(visits, models, key, shown)
    report = gr.HTML(js_on_load=CELLS_JS, elem_id="run-report", apply_default_css=False)
    mistakes = gr.HTML(js_on_load=EDIT_JS, elem_id="mistakes", apply_default_css=False)
    said = gr.HTML(elem_id="mistakes-notice", apply_default_css=False)
    table = gr.HTML(elem_id="runs", apply_default_css=False)
    look, stay = gr.Timer(LOOK_S, active=False), gr.Timer(STAY_S)
    offered = gr.State(())  # the own models that Classify's list has
    looked = gr.State("")  # the run that saw last what is in the dataset

    outputs = [notice, progress, stop, go_on, download, report, mistakes, said, table, look, shown, offered, looked]

    def begin(mine: object, *wishes: Any) -> tuple[Any, ...]:
        visit = visits.find(mine)
        try:
            begin_run(visits, models, visit, *wishes, max_minutes=max_minutes, owners=owners(visit))
        except Exception as error:
            return refused(error, "starting a run"), *(gr.skip() for _ in outputs[1:])
        return _views(visits, visit, "")

    def tick(mine: object, seen: str) -> tuple[Any, ...]:
        return _views(visits, visits.find(mine), seen)

    def halt(mine: object, seen: str) -> tuple[Any, ...]:
        visit = visits.find(mine)
        if visit and visit.runs:
            visits.jobs.stop(visit.runs[-1].job)
        return _views(visits, visit, seen)

    def offer(mine: object, chosen: object) -> Any:
        own = _own_models(visits, models, visits.find(mine))
        gone = isinstance(chosen, str) and chosen.startswith(OWN) and chosen not in [name for _, name in own]
        choices = [*own, *model_choices(models.trusted)]
        return gr.update(choices=choices, value=FLOWERS) if gone else gr.update(choices=choices)

    def resume(mine: object, seen: str) -> tuple[Any, ...]:
        visit = visits.find(mine)
        try:
            if visit and visit.runs:
                visits.jobs.go_on(visit.runs[-1].job, still_true)
        except Exception as error:
            return refused(error, "going on with a run"), *(gr.skip() for _ in outputs[1:])
        return _views(visits, visit, seen)

    def stays(mine: object) -> None:
        visits.find(mine)

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    page = gr.context.Context.root_block
    assert page is not None
    wishes = [base, method, minutes, epochs, batch_size, rate, image_size, share, seed]
    start.click(begin, [key, *wishes], outputs, **private)
    stop.click(halt, [key, shown], outputs, **private)
    go_on.click(resume, [key, shown], outputs, **private)
    look.tick(tick, [key, shown], outputs, concurrency_limit=8, **private)
    stay.tick(stays, key, None, **private)
    page.load(tick, [key, shown], outputs, **private)
    # The list of models is no output of what runs every second: somebody may be typing there.
    offered.change(offer, [key, model_list], model_list, **private)
    return mistakes, said, looked, outputs


def begin_run(
    visits: Visits, models: Models, visit: Visit | None, base: str, method: Any, minutes: float, epochs: Any,
    batch_size: Any, rate: Any, image_size: Any, share: float, seed: Any, *, max_minutes: int = MAX_MINUTES,
    owners: Mapping[str, int] | None = None,
) -> Run:  # fmt: skip
    """Let a run wait for its turn.

    Args:
        visits: where it runs.
        models: where bases come from.
        visit: whose dataset is learnt from; what is wished for stands behind it.
        max_minutes: that it may take, also where epochs are given.
        owners: whose it is; see `Jobs.start`.

    Raises:
        Refusal: if there is no dataset, it has too many classes, a setting is outside of its range, or too many are
            waiting.
    """
    visit, dataset, edits = with_dataset(visit)
    refuse_many_classes(dataset)

    wishes = Wishes(
        minutes, _number(epochs), _number(batch_size), rate or None, _number(image_size), min(0.5, max(0.05, share)),
        _number(seed),
    )  # fmt: skip
    _recipe(method, wishes, 100)  # what is refused is said now
    visits.room(visit)
    with visit.lock:
        data = visit.folders[-1] if visit.folders else None
        folder = visit.new_folder("run")
        number = len(visit.runs) + 1
        secret = job_id(visit.key, number)
        one = Run(
            hashed(secret), number, base, method, None if epochs else minutes, dataset.name, len(dataset.images),
            training_device(models), data, folder, wishes, edits, secret,
        )  # fmt: skip
        start = _work(models, visit, one, lambda: dataset, max_minutes)
        try:
            visits.jobs.start(start, folder, owners, one.job, keeping(folder) if visits.kept else None)
        except Refusal:
            folder.rmdir()
            raise
        visit.runs = (*visit.runs, one)
        visits.save(visit)
    return one


def go_on(visits: Visits, models: Models, max_minutes: int = MAX_MINUTES) -> None:
    """Have the runs of earlier processes: those that ended with what came of them, the others in the same order."""
    known = [(visit, run, kept) for visit in visits.all() for run in visit.runs if (kept := read(run.folder))]
    for visit, run, kept in sorted(known, key=lambda one: one[2].place):
        assert run.folder is not None  # it was read
        if kept.state == "running":
            kept = replace(kept, events=tuple(filter(still_true, kept.events)))
        start = _work(models, visit, run, _dataset_of(visits, visit, run), max_minutes)
        visits.jobs.again(run.job, kept, start, run.folder, owner(visit), keeping(run.folder))


def _dataset_of(visits: Visits, visit: Visit, run: Run) -> Callable[[], Dataset]:
    """What a run of an earlier process learns from, read when its turn comes."""
    return lambda: edited(visits.dataset_in(visit, run.data), run.edits)


def _work(models: Models, visit: Visit, one: Run, dataset: Callable[[], Dataset], max_minutes: int) -> Work:
    """The work of a run, which is the same in the process that it began in and in another one."""
    assert one.folder is not None and one.wishes is not None
    folder, wishes = one.folder, one.wishes

    def start(stop: Stop) -> Iterator[Any]:
        data = dataset()
        does = work(
            data, (one.base or "").strip(), lambda photos: _recipe(one.method, wishes, photos), wishes.share, folder,
            models, f"{data.name} · {one.method}", lender(visit.borrower), one.edits, _keeper(visit, data), max_minutes,
        )  # fmt: skip
        yield from does(stop)

    return start


def _recipe(method: Any, wishes: Wishes, photos: int) -> Recipe:
    budget = None if wishes.epochs or method == "tutorial" else wishes.minutes
    return choose_recipe(
        method, photos, minutes=budget, epochs=wishes.epochs, batch_size=wishes.batch_size,
        learning_rate=wishes.rate, image_size=wishes.image_size, seed=wishes.seed,
    )  # fmt: skip


def refuse_many_classes(dataset: Dataset) -> None:
    """See that a network can learn these classes here.

    Raises:
        Refusal: if there are too many.
    """
    if (count := len(dataset.classes)) > MAX_CLASSES:
        raise Refusal(
            "data.many_classes", "{name} holds {count} classes and the page learns {limit} at most; leave some out, or "
            "use `python -m train`.",
            name=dataset.name, count=f"{count:,}", limit=f"{MAX_CLASSES:,}",
        )  # fmt: skip


def _keeper(visit: Visit, dataset: Dataset) -> Callable[[Seen], None]:
    """Keeps with the dataset what a run saw in it, unless another one has come meanwhile."""

    def keep(seen: Seen) -> None:
        with visit.lock:
            if visit.source is not None and visit.source.name == dataset.name:
                known = {image.name for image in visit.source.images}
                if known.issuperset(seen.names):
                    visit.seen_in = seen

    return keep


def _number(value: Any) -> int | None:
    return int(value) if value not in (None, "") else None


def _views(visits: Visits, visit: Visit | None, shown: str) -> tuple[Any, ...]:
    """What the page shows of a visit's last run; a result that it has already is not sent again."""
    if visit is None or not visit.runs:
        return nothing()
    one = visit.runs[-1]
    views = [visits.jobs.look(run.job) for run in visit.runs]
    view = views[-1]
    active = view is not None and not view.ended
    found = result_of(view)
    packed = found.archive if found else None
    state = f"{one.job} {found.folder.name if found else ''}" if view and view.ended else ""
    if state and state == shown:
        return *(gr.skip() for _ in range(9)), gr.Timer(active=False), *(gr.skip() for _ in range(3))
    rows = [(run, seen, result_of(seen)) for run, seen in zip(visit.runs, views, strict=True)]
    return (
        "",
        panel(view, one),
        gr.update(visible=active),
        gr.update(visible=view is not None and view.state == "interrupted"),
        gr.update(visible=packed is not None, value=served(packed) if packed else None),
        *((gr.skip(), gr.skip()) if active else _told(one, found) if found else ("", "")),
        gr.skip() if active else "",
        runs_table(rows),
        gr.Timer(active=active),
        state,
        tuple(f"{run.model} {left.folder.name}" for run, _, left in rows if left is not None),
        str(id(visit.seen_in)) if visit.seen_in else "",
    )


def _own_models(visits: Visits, models: Models, visit: Visit | None) -> list[tuple[str, str]]:
    """Titles and names of a visit's models, for Classify's list; from here on they can be loaded."""
    own = []
    for run in visit.runs if visit else ():
        if (found := result_of(visits.jobs.look(run.job))) is not None:
            share = 100 * (found.report.accuracy.value or 0)
            title = f"{run.number}: {run.dataset} · {run.method} · {share:.1f} %"
            models.add(run.model, found.folder, title)
            own.append((title, run.model))
    return own


def _told(one: Run, found: Result) -> tuple[str, str]:
    """The report and the gallery of mistakes."""
    no_better = found.kept == "baseline"
    return (
        report_card(found.report, found.answers, no_better),
        mistakes_card(found.report, found.answers, found.overlays),
    )


def nothing() -> tuple[Any, ...]:
    """The page of a visit without runs."""
    hidden = gr.update(visible=False)
    return "", "", hidden, hidden, hidden, "", "", "", "", gr.Timer(active=False), "", (), ""
