"""What outlives the process: visits, their runs, and whom they open to."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from resnet.errors import Refusal
from tests.waiting import PATIENCE_S, until
from train.drawn import draw
from train.edits import Edit
from train.events import Baseline, Epoch, Event, Skipped, Started, Step, Unwritten
from train.ingest import ingest
from train.shares import Share
from ui import kept_runs
from ui.jobs import MAX_STARTS, Interrupted, Jobs, Keeping, Kept, Stop
from ui.models import Models
from ui.records import LOCK, VISITS, Records, Unknown, kept_folder
from ui.run_part import begin_run, go_on
from ui.visits import DATASET, VISIT, Run, Visit, Visits, Wishes, hashed, job_id

EVENTS: tuple[Event, ...] = (
    Started("read", 8), Baseline(Share(3, 4), 0.1, 1.5), Step(1, 0.1, 0.7, 1e-4, 18.0, 2.5),
    Epoch(1, 0.7, float("inf"), 1 / 3, 1e-4, 0.5, True), Skipped("\udc80.jpg", "It is broken.", "image.broken"),
)  # fmt: skip
WISHES = Wishes(1, 3, None, None, 64, 0.2, 0)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    with kept_folder(tmp_path / "data") as folder:
        yield folder


@pytest.fixture
def now() -> list[float]:
    return [1_000_000.0]


@pytest.fixture
def make(data: Path, now: list[float]) -> Callable[[], Visits]:
    """A function: -> the visits of a process that has just begun, whose monotonic clock begins with it."""

    def begin() -> Visits:
        began = now[0]

        def clock() -> float:
            return 5.0 + now[0] - began

        jobs = Jobs(clock=clock, wall=lambda: now[0])
        return Visits(jobs, idle_s=60, clock=clock, folder=data, wall=lambda: now[0])

    return begin


def with_photos(visits: Visits) -> Visit:
    visit = visits.open(None)
    draw(folder := visit.new_folder("data"), per_class=3)
    visits.replace(visit, ingest(folder), folder)
    return visit


def with_run(visits: Visits, visit: Visit, state: Any = "done", **more: Any) -> Run:
    """A run of which there is a record, as if it had been made by an earlier process."""
    folder, number = visit.new_folder("run"), len(visit.runs) + 1
    secret = job_id(visit.key, number)
    run = Run(
        hashed(secret), number, "flowers", "head", 1.0, "mine", 12, "", visit.folders[-1], folder, WISHES, visit.edits,
        secret,
    )  # fmt: skip
    kept_runs.keeping(folder).write(Kept(state, events=EVENTS, ended=1_000_000.0, seconds=61.0, **more))
    visit.runs = (*visit.runs, run)
    visits.save(visit)
    return run


def test_a_visit_with_its_edits_and_runs_is_found_by_its_key_alone(make: Callable[[], Visits], data: Path) -> None:
    before = make()
    visit, other = with_photos(before), with_photos(before)
    visit.edits = (Edit("star/000.png"), Edit("star/001.png", "circle"))
    run = with_run(before, visit)
    before.close_all()

    after = make()
    assert len(after.all()) == 2 and all(not one.key for one in after.all())
    go_on(after, cast(Models, None))
    for wrong in (None, "", visit.name, run.job, visit.folder.name, visit.key[:-1], visit.key + "="):
        assert after.find(wrong) is None
    found = after.find(visit.key)
    assert found is not None and found.key == visit.key and found.edits == visit.edits
    assert found.source == visit.source and found.dataset() == visit.dataset()
    assert found.runs == (run,) and found.runs[0].model == run.model, "the secret follows from the key"
    view = after.jobs.look(hashed(run.id))
    assert view and (view.state, view.events, view.seconds) == ("done", EVENTS, 61.0)
    assert after.jobs.look(run.id) is None and after.of_job(run.job) is found
    assert after.find(other.key) not in (None, found)
    found.edits = ()
    after.save(found)
    assert (again := make().find(visit.key)) and again.edits == ()


def test_nothing_on_disk_opens_anything(make: Callable[[], Visits], data: Path) -> None:
    visits = make()
    visit = with_photos(visits)
    run = with_run(visits, visit)
    secrets = [one.encode() for one in (visit.key, run.id)]
    for path in (data.parent, *data.parent.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
        assert not any(one in (path.read_bytes() if path.is_file() else b"") + str(path).encode() for one in secrets)
    assert visit.key not in repr(visit) and run.id not in repr(run)


def damage(file: Path, change: str) -> None:
    text = file.read_text()
    changed = {
        "cut": lambda: text[: len(text) // 2],
        "empty": lambda: "",
        "version": lambda: text.replace('"version":1', '"version":2'),
        "field": lambda: text.replace('"seen"', '"looked"'),
        "kind": lambda: text.replace('"Kept"', '"Popen"'),
        "path": lambda: text.replace('"path":"data', '"path":"../data'),
        "absolute": lambda: text.replace('"path":"data', '"path":"/data'),
        "deep": lambda: "[" * 100_000,
        "list": lambda: "[1]",
    }[change]()
    assert changed != text
    file.write_text(changed)


@pytest.mark.parametrize("change", ["cut", "empty", "version", "field", "kind", "path", "absolute", "deep", "list"])
def test_what_is_damaged_or_of_another_version_is_passed_over(
    change: str, make: Callable[[], Visits], data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = make()
    visit, other = with_photos(before), with_photos(before)
    damage(visit.folder / VISIT, change)
    (data / "of-somebody-else").mkdir()
    (data / "visit-file").write_text("x")
    after = make()
    assert after.find(visit.key) is None and after.find(other.key) is not None
    assert f"{visit.folder.name} is passed over" in caplog.text and "of-somebody-else is passed over" in caplog.text
    assert (visit.folder / DATASET).parent.is_dir() and (data / "of-somebody-else").is_dir(), "not ours to remove"


@pytest.mark.parametrize("what", ["folder", "record"])
@pytest.mark.parametrize("how", ["writable", "link", "owner"])
def test_what_others_could_have_written_is_passed_over(
    what: str, how: str, make: Callable[[], Visits], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit = with_photos(make())
    path = visit.folder if what == "folder" else visit.folder / VISIT
    if how == "writable":
        path.chmod(0o720)
    elif how == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    assert make().find(visit.key) is None


def test_a_run_or_a_dataset_that_is_damaged_costs_no_more_than_itself(
    make: Callable[[], Visits], caplog: pytest.LogCaptureFixture
) -> None:
    before = make()
    visit = with_photos(before)
    runs = [with_run(before, visit), with_run(before, visit)]
    assert runs[0].folder
    damage(runs[0].folder / kept_runs.RUN, "cut")
    damage(visit.folders[-1] / DATASET, "version")
    after = make()
    go_on(after, cast(Models, None))
    found = after.find(visit.key)
    assert found and found.dataset() is None and found.runs == tuple(runs)
    assert [after.jobs.look(run.job) is None for run in runs] == [True, False]
    assert "is passed over" in caplog.text


def test_a_crash_in_the_middle_leaves_the_last_good_one(
    make: Callable[[], Visits], monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = make()
    visit = with_photos(visits)
    visit.edits = (Edit("star/000.png"),)

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        visits.save(visit)  # is logged, and nobody is kept from going on
    assert not list(visit.folder.glob(".*.part"))
    (visit.folder / ".visit.json-x.part").write_text("half")
    (visit.folder / "data-unpacked-by-a-process-that-was-killed").mkdir()
    (visits._root / "visit-0123456789abcdef").mkdir()
    assert (found := make().find(visit.key)) and found.edits == ()
    assert sorted(one.name for one in visit.folder.iterdir()) == sorted([VISIT, visit.folders[0].name])
    assert [one.name for one in visits._root.iterdir()] == [visit.folder.name]


def test_a_visit_ends_by_the_wall_clock(make: Callable[[], Visits], now: list[float]) -> None:
    before = make()
    visit, kept = with_photos(before), with_photos(before)
    with_run(before, kept)
    now[0] += 50
    assert before.find(visit.key)
    before.close_all()
    now[0] += 50
    after = make()
    go_on(after, cast(Models, None))
    assert after.find(visit.key) and after.find(kept.key), "whose run ended less than an hour ago"
    now[0] += 61
    after.sweep()
    assert not visit.folder.exists() and after.find(kept.key)
    now[0] += 3600
    assert make().find(visit.key) is None
    last = make()
    go_on(last, cast(Models, None))
    last.sweep()
    assert not list(last._root.iterdir())


def test_that_somebody_looks_is_noted_now_and_then(make: Callable[[], Visits], now: list[float]) -> None:
    visits = make()
    visit = with_photos(visits)
    written = (visit.folder / VISIT).stat().st_mtime_ns
    for _ in range(10):
        now[0] += 5
        visits.find(visit.key)
    assert (visit.folder / VISIT).stat().st_mtime_ns == written
    for _ in range(10):
        now[0] += 5
        visits.find(visit.key)
    now[0] += 20
    assert make().find(visit.key), "no look was noted, and it would be over"


def test_what_is_removed_stays_removed(make: Callable[[], Visits], data: Path) -> None:
    visits = make()
    visit = with_photos(visits)
    with_run(visits, visit)
    visits.close(visit.key)
    visits.save(visit)
    assert not list(data.iterdir()) and make().all() == []


def recorded() -> tuple[list[Kept], Keeping]:
    written: list[Kept] = []
    return written, Keeping(written.append, lambda event: event == "worth it")


def test_a_job_is_kept_when_it_changes_and_not_at_every_tick() -> None:
    written, keeping = recorded()
    jobs = Jobs()

    def work(_: Stop) -> Iterator[str]:
        yield from ("tick", "tick", "worth it", "tick")

    name = jobs.start(work, name="mine", records=keeping)
    until(lambda: written and written[-1].state == "done")
    assert name == "mine" and written[-1].events == ("tick", "tick", "worth it", "tick") and written[-1].ended
    assert [len(one.events) for one in written if one.state == "running"] == [0, 3]
    assert [one.starts for one in written if one.state == "running"] == [1, 0]


def test_jobs_of_an_earlier_process_go_on_in_their_order(tmp_path: Path) -> None:
    jobs, ran = Jobs(), list[str]()
    gate = threading.Event()

    def work(name: str) -> Callable[[Stop], Iterator[str]]:
        def does(_: Stop) -> Iterator[str]:
            gate.wait(PATIENCE_S)
            ran.append(name)
            yield name

        return does

    kept = {"first": Kept("running", 3, ("before",)), "ended": Kept("done", 4), "second": Kept("waiting", 5)}
    _, keeping = recorded()
    for name, one in kept.items():
        jobs.again(name, one, work(name), tmp_path, {}, keeping)
    new = jobs.start(work("new"))
    assert (view := jobs.look("second")) and (view.state, view.ahead) == ("waiting", 1)
    gate.set()
    until(lambda: (view := jobs.look(new)) and view.ended)
    assert ran == ["first", "second", "new"]
    assert (view := jobs.look("first")) and view.events == ("before", "first")
    assert (view := jobs.look("ended")) and view.state == "done"


def test_a_job_that_ends_the_process_again_and_again_waits_for_its_owner(tmp_path: Path) -> None:
    jobs = Jobs()
    written, keeping = recorded()
    jobs.again("bad", Kept("running", 1, starts=MAX_STARTS), lambda _: iter(("ok",)), tmp_path, {}, keeping)
    view = jobs.look("bad")
    assert view and view.state == "interrupted" and "was ended 3 times" in str(view.refusal)
    jobs.go_on("bad")
    until(lambda: written and written[-1].state == "done")


def test_a_process_that_leaves_writes_and_removes_nothing(tmp_path: Path) -> None:
    jobs, gate = Jobs(), threading.Event()
    written, keeping = recorded()

    def work(_: Stop) -> Iterator[str]:
        gate.wait(PATIENCE_S)
        yield "worth it"
        raise OSError("its temporary files are gone")

    (folder := tmp_path / "run").mkdir()
    name = jobs.start(work, folder, records=keeping)
    until(lambda: written and written[-1].state == "running")
    jobs.leave()
    gate.set()
    until(lambda: (view := jobs.look(name)) and view.ended)
    jobs.sweep()
    assert written[-1].state == "running" and folder.exists()


def test_an_interrupted_job_stays_one(tmp_path: Path) -> None:
    jobs = Jobs()
    written, keeping = recorded()

    def work(_: Stop) -> Iterator[str]:
        raise Interrupted(Refusal("loan.busy", "No GPU was free; go on in a while."))
        yield

    name = jobs.start(work, tmp_path, records=keeping)
    until(lambda: written and written[-1].state == "interrupted")
    after = Jobs()
    after.again(name, written[-1], lambda _: iter(("on",)), tmp_path, {}, keeping)
    assert (view := after.look(name)) and view.state == "interrupted" and view.refusal
    after.go_on(name)
    until(lambda: (view := after.look(name)) and view.state == "done")


def test_a_run_that_begins_is_kept_with_what_was_asked_for(
    make: Callable[[], Visits], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    def work(dataset: Any, base: str, recipe: Any, share: float, *_: Any) -> Callable[[Stop], Iterator[Any]]:
        def does(_: Stop) -> Iterator[Any]:
            gate.wait(PATIENCE_S)
            yield Skipped("x", f"{base} {recipe(50).seed} {share} {len(dataset.images)}", "x")

        return does

    monkeypatch.setattr("ui.run_part.work", work)
    models = Models(device="cpu")
    before = make()
    visit = with_photos(before)
    visit.edits = (Edit("star/000.png"),)
    one = begin_run(before, models, visit, "flowers", "all", 1, 2, 8, 0.0, 64, 0.01, 7)
    until(lambda: (view := before.jobs.look(one.job)) and view.state == "running")
    visit.edits = ()
    before.close_all()
    after = make()
    go_on(after, models)
    gate.set()
    until(lambda: (view := after.jobs.look(one.job)) and view.state == "done")
    assert (view := after.jobs.look(one.job)) and view.events == (Skipped("x", "flowers 7 0.05 11", "x"),)


def test_records_hold_what_they_know_and_nothing_else(tmp_path: Path) -> None:
    refusal = Refusal("data.none", "{name} is {what}.", name="x\x1b", what=3)
    kept = Kept("failed", 1, (*EVENTS, Unwritten(refusal)), refusal)
    file = tmp_path / "run.json"
    kept_runs.RECORDS.write(file, kept, tmp_path)
    found = kept_runs.RECORDS.read(file, tmp_path)
    assert str(found.refusal) == str(refusal) and found.refusal.facts == refusal.facts
    assert replace(found, refusal=None, events=found.events[:-1]) == replace(kept, refusal=None, events=EVENTS)
    for odd in (object(), Path("/etc/passwd"), Kept("done", events=(WISHES,))):
        with pytest.raises((TypeError, ValueError)):
            kept_runs.RECORDS.write(file, odd, tmp_path)
    assert kept_runs.RECORDS.read(file, tmp_path).state == "failed", "what was there before"
    file.write_text(json.dumps({"version": 1, "content": {"@": "Wishes"}}))
    with pytest.raises(Unknown):
        Records(Wishes).read(file, tmp_path)


def test_a_folder_is_one_page_s_and_its_owner_s_alone(tmp_path: Path) -> None:
    folder = tmp_path / "deep/data"
    with kept_folder(folder) as visits:
        assert visits == folder / VISITS and stat.S_IMODE(visits.stat().st_mode) == 0o700
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and stat.S_IMODE((folder / LOCK).stat().st_mode) == 0o600
        with pytest.raises(Refusal, match="Another page keeps its visitors' data in"), kept_folder(folder):
            pass
    (other := tmp_path / "other").mkdir()
    with kept_folder(folder), kept_folder(other):
        pass  # free again, and not the only one
    other.chmod(0o770)
    with pytest.raises(Refusal, match="others may write to it"), kept_folder(other):
        pass
    (tmp_path / "file").write_text("x")
    with pytest.raises(Refusal, match="name a folder that can be written"), kept_folder(tmp_path / "file"):
        pass


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    with pytest.raises(Refusal, match="it belongs to another user"), kept_folder(tmp_path):
        pass
