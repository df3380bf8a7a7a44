"""Jobs: their order, their owners, their ends."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resnet.errors import Refusal
from tests import waiting
from ui import jobs as module
from ui.jobs import Interrupted, Jobs, Stop, View, Work
from ui.words import refused


def counting(count: int) -> Work:
    def work(stop: Stop) -> Iterator[int]:
        for number in range(count):
            if stop():
                return
            yield number

    return work


def holding(gate: threading.Event) -> Work:
    """Says that it began, and goes on when the gate opens or it is stopped."""

    def work(stop: Stop) -> Iterator[str]:
        yield "began"
        while not gate.wait(0.01):
            if stop():
                yield "kept"
                return
        yield "ended"

    return work


def until(jobs: Jobs, key: str, condition: Callable[[View], bool]) -> View:
    def look() -> View | None:
        view = jobs.look(key)
        assert view is not None
        return view if condition(view) else None

    found = waiting.until(look, lambda: jobs.look(key))
    assert found
    return found


def test_a_job_tells_what_happens_and_ends() -> None:
    jobs = Jobs()
    view = until(jobs, jobs.start(counting(3)), lambda view: view.ended)
    assert (view.state, view.events, view.refusal) == ("done", (0, 1, 2), None)
    assert view.seconds > 0


def test_one_runs_at_a_time_and_the_others_know_their_place() -> None:
    jobs, gate = Jobs(), threading.Event()
    keys = [jobs.start(holding(gate)) for _ in range(3)]
    until(jobs, keys[0], lambda view: view.state == "running")
    views = [jobs.look(key) for key in keys]
    assert [view and (view.state, view.ahead) for view in views] == [("running", 0), ("waiting", 1), ("waiting", 2)]
    jobs.stop(keys[1])
    assert jobs.look(keys[1]) == View("stopped"), "one that waits is over at once"
    assert (view := jobs.look(keys[2])) and view.ahead == 1
    gate.set()
    assert until(jobs, keys[2], lambda view: view.ended).events == ("began", "ended")


def test_a_stopped_job_keeps_what_it_has() -> None:
    jobs, gate = Jobs(), threading.Event()
    key = jobs.start(holding(gate))
    until(jobs, key, lambda view: bool(view.events))
    jobs.stop(key)
    view = until(jobs, key, lambda view: view.ended)
    assert (view.state, view.events) == ("stopped", ("began", "kept"))


def test_a_refusal_and_a_mistake_of_ours_end_a_job_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def refused(_: Stop) -> Iterator[int]:
        yield 1
        raise Refusal("data.one", "Only {count}.", count=1)

    def broken(_: Stop) -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    jobs = Jobs()
    first, second, third = (jobs.start(work) for work in (refused, broken, counting(1)))
    until(jobs, third, lambda view: view.state == "done")
    view = jobs.look(first)
    assert view and view.state == "failed" and str(view.refusal) == "Only 1." and view.events == (1,)
    view = jobs.look(second)
    assert view and view.state == "failed" and view.refusal is None
    assert "ZeroDivisionError" in caplog.text


def test_ids_are_secrets() -> None:
    jobs = Jobs()
    keys = {jobs.start(counting(0)) for _ in range(10)}
    assert len(keys) == 10 and all(len(key) >= 32 for key in keys)
    for other in (None, "", "0", "../etc", next(iter(keys))[:-1]):
        assert jobs.look(other) is None and jobs.folder(other) is None
        jobs.stop(other)
        jobs.forget(other)


def test_too_many_waiting_are_refused() -> None:
    jobs, gate = Jobs(), threading.Event()
    first = jobs.start(holding(gate))
    until(jobs, first, lambda view: view.state == "running")
    for _ in range(module.MAX_WAITING):
        jobs.start(counting(0))
    with pytest.raises(Refusal, match="20 jobs"):
        jobs.start(counting(0))
    gate.set()


def test_nobody_has_more_places_than_their_share() -> None:
    jobs, gate = Jobs(), threading.Event()
    mine, ours = {"visit a": 2, "address x": 3}, {"visit b": 2, "address x": 3}
    keys = [jobs.start(holding(gate), owners=mine) for _ in range(2)]
    until(jobs, keys[0], lambda view: view.state == "running")
    with pytest.raises(Refusal, match="2 of your jobs"):
        jobs.start(holding(gate), owners=mine)
    jobs.start(holding(gate), owners=ours)
    with pytest.raises(Refusal, match="3 of your jobs"):
        jobs.refuse_too_many(ours)
    jobs.start(counting(1), owners={"visit c": 2, "address y": 3})
    jobs.stop(keys[1])
    jobs.start(counting(1), owners=mine)
    gate.set()


def test_what_goes_on_needs_a_place_like_any_other() -> None:
    jobs, gate = Jobs(), threading.Event()

    def work(_: Stop) -> Iterator[str]:
        yield "began"
        raise Interrupted(Refusal("loan.busy", "No GPU was free."))

    key = jobs.start(work, owners={"visit a": 1})
    until(jobs, key, lambda view: view.ended)
    jobs.start(holding(gate), owners={"visit a": 1})
    with pytest.raises(Refusal, match="1 of your jobs"):
        jobs.go_on(key)
    gate.set()


def test_finished_jobs_are_kept_for_a_while_with_their_folders(tmp_path: Path) -> None:
    now = [1000.0]
    jobs = Jobs(keep_s=60, clock=lambda: now[0])
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        (folder / "photo.jpg").write_bytes(b"x")
    first = jobs.start(counting(1), folders[0])
    until(jobs, first, lambda view: view.ended)
    now[0] += 59
    jobs.sweep()
    assert jobs.look(first) and jobs.folder(first) == folders[0]
    second = jobs.start(counting(1), folders[1])
    until(jobs, second, lambda view: view.ended)
    now[0] += 2
    jobs.sweep()
    assert jobs.look(first) is None and not folders[0].exists()
    assert jobs.look(second) is not None and folders[1].exists()


def test_a_job_that_waits_or_runs_is_never_too_old() -> None:
    now = [1000.0]
    jobs, gate = Jobs(keep_s=60, clock=lambda: now[0]), threading.Event()
    keys = [jobs.start(holding(gate)) for _ in range(2)]
    until(jobs, keys[0], lambda view: view.state == "running")
    now[0] += 10_000
    jobs.sweep()
    assert all(jobs.look(key) for key in keys)
    gate.set()


@pytest.mark.parametrize("when", ["waiting", "running", "done"])
def test_what_is_forgotten_leaves_nothing(tmp_path: Path, when: str) -> None:
    jobs, gate = Jobs(), threading.Event()
    folder = tmp_path / "mine"
    folder.mkdir()
    if when == "waiting":
        until(jobs, jobs.start(holding(gate)), lambda view: view.state == "running")
    key = jobs.start(holding(gate) if when == "running" else counting(1), folder)
    if when != "waiting":
        until(jobs, key, lambda view: view.state == when)
    jobs.forget(key)
    waiting.until(lambda: jobs.look(key) is None and not folder.exists())
    gate.set()
    until(jobs, jobs.start(counting(1)), lambda view: view.state == "done")


def test_many_look_while_it_works() -> None:
    jobs = Jobs()
    key = jobs.start(counting(2000))
    seen: list[list[int]] = []

    def watch() -> None:
        sizes = []
        while (view := jobs.look(key)) and not view.ended:
            assert view.events == tuple(range(len(view.events)))
            sizes.append(len(view.events))
        seen.append(sizes)

    threads = [threading.Thread(target=watch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(waiting.PATIENCE_S)
    assert len(seen) == 4 and all(sizes == sorted(sizes) for sizes in seen)
    view = jobs.look(key)
    assert view and len(view.events) == 2000


def test_what_was_interrupted_goes_on_when_its_owner_says_so(tmp_path: Path) -> None:
    now, calls = [1000.0], []
    jobs, gate = Jobs(keep_s=60, clock=lambda: now[0]), threading.Event()
    (tmp_path / "mine").mkdir()

    def work(stop: Stop) -> Iterator[str]:
        calls.append(stop())
        yield f"call {len(calls)}"
        if len(calls) == 1:
            yield "lost"
            raise Interrupted(Refusal("loan.busy", "No GPU was free."))

    key = jobs.start(work, tmp_path / "mine")
    view = until(jobs, key, lambda view: view.ended)
    assert (view.state, str(view.refusal), view.events) == ("interrupted", "No GPU was free.", ("call 1", "lost"))
    other = jobs.start(holding(gate))
    until(jobs, other, lambda view: view.state == "running")
    jobs.go_on(key, lambda event: event != "lost")
    assert jobs.look(key) == View("waiting", 1, ("call 1",)), "behind those who came meanwhile"
    now[0] += 10_000
    jobs.sweep()
    gate.set()
    view = until(jobs, key, lambda view: view.ended)
    assert (view.state, view.refusal, view.events) == ("done", None, ("call 1", "call 2"))
    for one in (key, other, None, "none"):
        jobs.go_on(one)  # of any other job nothing happens
    assert (view := jobs.look(key)) and view.state == "done" and calls == [False, False]
    assert jobs.folder(key) == tmp_path / "mine"


def test_what_was_interrupted_is_forgotten_like_all_that_ended(tmp_path: Path) -> None:
    def work(_: Stop) -> Iterator[str]:
        yield "began"
        raise Interrupted(Refusal("loan.busy", "No GPU was free."))

    now = [1000.0]
    jobs = Jobs(keep_s=60, clock=lambda: now[0])
    for name in ("old", "removed"):
        (tmp_path / name).mkdir()
    old, removed = (jobs.start(work, tmp_path / name) for name in ("old", "removed"))
    for key in (old, removed):
        until(jobs, key, lambda view: view.ended)
    jobs.forget(removed)
    now[0] += 61
    jobs.sweep()
    assert jobs.look(old) is jobs.look(removed) is None and not list(tmp_path.iterdir())


def test_a_job_that_meets_a_full_disk_says_so() -> None:
    def work(_: Stop) -> Iterator[str]:
        yield "began"
        raise OSError(errno.ENOSPC, "No space left on device")

    jobs = Jobs()
    view = until(jobs, jobs.start(work), lambda view: view.ended)
    assert view.state == "failed" and view.refusal and view.refusal.code == "disk.page"
    assert "is full" in refused(OSError(errno.EDQUOT, ""), "x") and "磁盘已满" in refused(
        OSError(errno.ENOSPC, ""), "x"
    )
    assert "is full" not in refused(OSError(errno.EIO, ""), "x")
