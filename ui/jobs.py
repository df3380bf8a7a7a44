"""Long work that belongs to the process, not to a page: it waits its turn, runs on a thread, and whoever has its id
looks at it, from as many tabs as they like. Where somebody keeps records of jobs, they outlive the process as well."""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from resnet.errors import Refusal
from ui.words import full_disk

log = logging.getLogger(__name__)

#: ``stopped``: by its owner; what it had then is kept. ``interrupted``: it can go on from what it has.
State = Literal["waiting", "running", "done", "stopped", "interrupted", "failed"]
#: Seconds that a finished job is kept, and jobs that may wait at the same time: more, and nobody's turn comes.
KEEP_S, MAX_WAITING = 3600.0, 20
#: How often a job is begun by one process after the other without coming to anything worth a record.
MAX_STARTS = 3
#: Jobs that a visitor may have running or waiting, and all who come from one address (a class room, for one).
OF_VISITOR, OF_ADDRESS = 2, 10

#: Does the work: told when to stop, it yields events while it goes on. An event says what happened; it is not changed.
Work = Callable[["Stop"], Iterator[Any]]


class Interrupted(Exception):
    """Raised by work that can't go on now, and can later: called again, it goes on from what it has.

    Args:
        refusal: why.
    """

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(str(refusal))


class Stop:
    """Whether the owner asked a job to stop; the work looks at it and ends with what it has."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def ask(self) -> None:
        self._asked.set()

    def __call__(self) -> bool:
        return self._asked.is_set()


@dataclass(frozen=True)
class View:
    """A job as it is now.

    Args:
        state: where it is.
        ahead: how many jobs run or wait before it.
        events: all that happened so far, in order.
        refusal: why it failed or was interrupted; None with ``failed`` is a mistake of ours.
        seconds: since it began to run, until it ended.
        stopping: whether it was asked to stop and has not yet.
    """

    state: State
    ahead: int = 0
    events: tuple[Any, ...] = ()
    refusal: Refusal | None = None
    seconds: float = 0.0
    stopping: bool = False

    @property
    def ended(self) -> bool:
        return self.state not in ("waiting", "running")


@dataclass(frozen=True)
class Kept:
    """What is kept of a job for the next process.

    Args:
        state: as of `View`.
        place: in the line: the lowest is the first.
        events: as of `View`.
        refusal: as of `View`.
        seconds: that it ran.
        ended: when, in seconds of the wall clock; 0 if it has not.
        starts: how often it was begun since it came to something.
    """

    state: State
    place: int = 0
    events: tuple[Any, ...] = ()
    refusal: Refusal | None = None
    seconds: float = 0.0
    ended: float = 0.0
    starts: int = 0


@dataclass(frozen=True)
class Keeping:
    """Where a job is kept.

    Args:
        write: given a job whenever its state changes, and after events that are worth it.
        worth: whether an event is.
    """

    write: Callable[[Kept], None]
    worth: Callable[[Any], bool] = lambda _: False


@dataclass
class _Job:
    work: Work
    folder: Path | None
    owners: Mapping[str, int] = field(default_factory=dict)
    records: Keeping | None = None
    place: int = 0
    stop: Stop = field(default_factory=Stop)
    state: State = "waiting"
    events: list[Any] = field(default_factory=list)
    refusal: Refusal | None = None
    began: float = 0.0
    ended: float = 0.0
    starts: int = 0
    forgotten: bool = False
    writing: threading.Lock = field(default_factory=threading.Lock)


class Jobs:
    """Runs jobs one after the other; thread-safe.

    A job has a name, by which it is looked at, stopped and forgotten. What its owner has is a secret (`ui.visits.Run`)
    of which the name is a hash, so that a record opens nothing.

    Args:
        keep_s: seconds that a job is kept after its end, with its folder.
        clock: what time it is, in seconds.
        wall: the same as whoever starts this process next will know it.
    """

    def __init__(
        self, keep_s: float = KEEP_S, clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.keep_s = keep_s
        self._clock, self._wall = clock, wall
        self._left = False
        self._jobs: dict[str, _Job] = {}  # in the order in which they came
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def start(
        self, work: Work, folder: Path | None = None, owners: Mapping[str, int] | None = None, name: str | None = None,
        records: Keeping | None = None,
    ) -> str:  # fmt: skip
        """Let a job wait for its turn.

        Args:
            work: what it does.
            folder: its own, which is removed when the job is forgotten; None if there is none.
            owners: whose it is, and how many of each may run or wait at the same time.
            name: of its own; a new one by default.
            records: where it is kept.

        Returns:
            Its name.

        Raises:
            Refusal: if too many are waiting, or an owner has too many.
        """
        self.sweep()
        key = name or secrets.token_urlsafe(24)
        with self._changed:
            self._refuse_too_many(owners or {})
            job = self._jobs[key] = _Job(work, folder, owners or {}, records, self._last_place() + 1)
            self._wake()
        self._keep(job)
        return key

    def again(
        self, name: str, kept: Kept, work: Work, folder: Path, owners: Mapping[str, int], records: Keeping
    ) -> None:
        """Have a job of an earlier process; one that ran or waited then waits. The first of the line comes first.

        Args:
            name: of the job.
            kept: what its last record says.
            work: what it does; called if it has not ended.
            folder: as of `start`.
            owners: as of `start`; nobody is refused here.
            records: where it is kept.
        """
        state, refusal = kept.state, kept.refusal
        if state == "running":
            state = "waiting"
            if kept.starts >= MAX_STARTS:  # it may be what ends the processes
                state, refusal = "interrupted", _ends_the_page(kept.starts)
        ended = 0.0
        if state not in ("waiting", "running"):
            ended = self._clock() - max(0.0, self._wall() - kept.ended if kept.ended else 0.0)
        job = _Job(
            work if state in ("waiting", "interrupted") else _nothing, folder, owners, records, kept.place,
            state=state, events=list(kept.events), refusal=refusal, began=ended - kept.seconds if ended else 0.0,
            ended=ended, starts=kept.starts,
        )  # fmt: skip
        with self._changed:
            self._jobs[name] = job
            self._wake()

    def _wake(self) -> None:
        """Let the thread see that there is something new. The lock is held."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="jobs", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _last_place(self) -> int:
        return max((job.place for job in self._jobs.values()), default=0)

    def _keep(self, job: _Job) -> None:
        """Have a job as it is now in its record. Nobody loses their job where that can't be written."""
        if job.records is None:
            return
        with job.writing:  # what is written last is what is true
            with self._changed:
                if self._left or job.forgotten:
                    return
                seconds = (job.ended or self._clock()) - job.began if job.began else 0.0
                ended = self._wall() - (self._clock() - job.ended) if job.ended else 0.0
                kept = Kept(job.state, job.place, tuple(job.events), job.refusal, seconds, ended, job.starts)
            try:
                job.records.write(kept)
            except Exception:
                log.exception("a job could not be kept on disk")

    def leave(self) -> None:
        """This process ends and the next one goes on: from now on nothing of a job is written or removed."""
        with self._changed:
            self._left = True
            jobs = list(self._jobs.values())
        for job in jobs:
            with job.writing:
                pass

    def go_on(self, key: str | None, keep: Callable[[Any], bool] = lambda _: True) -> None:
        """Let a job that was interrupted wait for its turn again; of any other nothing happens.

        Args:
            key: its id.
            keep: which of the events so far are still true.

        Raises:
            Refusal: if too many are waiting, or an owner has too many.
        """
        with self._changed:
            job = self._jobs.get(key or "")
            if key is None or job is None or job.state != "interrupted":
                return
            self._refuse_too_many(job.owners)
            job.events[:] = filter(keep, job.events)
            job.state, job.stop, job.refusal, job.began, job.ended = "waiting", Stop(), None, 0.0, 0.0
            job.place, job.starts = self._last_place() + 1, 0
            self._jobs[key] = self._jobs.pop(key)  # behind those who came meanwhile
            self._changed.notify_all()
        self._keep(job)

    def refuse_too_many(self, owners: Mapping[str, int]) -> None:
        """See that there is a place for one more.

        Raises:
            Refusal: as `start`.
        """
        with self._changed:
            self._refuse_too_many(owners)

    def _refuse_too_many(self, owners: Mapping[str, int]) -> None:
        active = [job for job in self._jobs.values() if job.state in ("waiting", "running")]
        for owner, most in owners.items():
            if (count := sum(owner in job.owners for job in active)) >= most:
                raise Refusal(
                    "job.own", "{count} of your jobs run or wait already; wait until one has ended, or stop it.",
                    count=count,
                )  # fmt: skip
        waiting = sum(job.state == "waiting" for job in self._jobs.values())
        if waiting >= MAX_WAITING:
            raise Refusal("job.busy", "{count} jobs are waiting already; try again in a while.", count=waiting)

    def look(self, key: str | None) -> View | None:
        """A job as it is now; None if there is none of that id, or not any more."""
        with self._changed:
            job = self._jobs.get(key or "")
            if job is None:
                return None
            ahead = 0
            if job.state == "waiting":
                for other in self._jobs.values():
                    if other is job:
                        break
                    ahead += other.state in ("waiting", "running")
            until = job.ended or self._clock()
            seconds = until - job.began if job.began else 0.0
            stopping = job.stop() and job.state == "running"
            return View(job.state, ahead, tuple(job.events), job.refusal, seconds, stopping)

    def folder(self, key: str | None) -> Path | None:
        """A job's own folder."""
        with self._changed:
            job = self._jobs.get(key or "")
            return job.folder if job else None

    def stop(self, key: str | None) -> None:
        """Ask a job to end with what it has; one that still waits is over at once."""
        with self._changed:
            job = self._jobs.get(key or "")
            if job is None:
                return
            job.stop.ask()
            if job.state != "waiting":
                return
            job.state, job.ended = "stopped", self._clock()
        self._keep(job)

    def forget(self, key: str | None) -> None:
        """Stop a job and remove all that it has; while it runs, as soon as it has ended."""
        self.stop(key)
        with self._changed:
            job = self._jobs.get(key or "")
            if job is None:
                return
            job.forgotten = True
            if job.state == "running":  # its end is its removal: see `_serve`
                return
            del self._jobs[key or ""]
        _remove(job.folder)

    def end(self, patience_s: float) -> None:
        """Forget all jobs, and wait a while for one that runs to notice."""
        with self._changed:
            keys = list(self._jobs)
        for key in keys:
            self.forget(key)
        with self._changed:
            self._changed.wait_for(lambda: not self._jobs, patience_s)

    def sweep(self) -> None:
        """Forget jobs that ended long ago."""
        with self._changed:
            old = self._clock() - self.keep_s
            keys = [
                key for key, job in self._jobs.items() if job.state not in ("waiting", "running") and job.ended < old
            ]
            gone = [] if self._left else [self._jobs.pop(key) for key in keys]
        for job in gone:
            job.forgotten = True
            _remove(job.folder)

    def _serve(self) -> None:
        while True:
            with self._changed:
                while (found := self._next()) is None:
                    self._changed.wait()
                key, job = found
                job.state, job.began = "running", self._clock()
                job.starts += 1
            self._keep(job)
            state, refusal = self._run(job)
            with self._changed:
                forgotten = job.forgotten
                job.state, job.refusal, job.ended = state, refusal, self._clock()
                if state != "interrupted":
                    job.work = _nothing  # it holds the data
            self._keep(job)
            if forgotten:
                _remove(job.folder)
                with self._changed:
                    del self._jobs[key]
                    self._changed.notify_all()
            self.sweep()

    def _next(self) -> tuple[str, _Job] | None:
        return next(((key, job) for key, job in self._jobs.items() if job.state == "waiting"), None)

    def _run(self, job: _Job) -> tuple[State, Refusal | None]:
        try:
            for event in job.work(job.stop):
                with self._changed:
                    job.events.append(event)
                if job.records and job.records.worth(event):
                    job.starts = 0
                    self._keep(job)
        except Interrupted as interrupted:
            return "interrupted", interrupted.refusal
        except Refusal as refusal:
            return "failed", refusal.kept()
        except Exception as error:
            if (full := full_disk(error)) is not None:
                return "failed", full
            log.exception("a job failed")
            return "failed", None
        return ("stopped" if job.stop() else "done"), None


def _ends_the_page(count: int) -> Refusal:
    """Of a job that was under way each time that the process was ended from outside."""
    return Refusal(
        "job.killed", "The page was ended {count} times while this ran, each time before it came to an epoch's end; "
        "go on, or choose a smaller network or fewer photos.",
        count=count,
    )  # fmt: skip


def _nothing(_: Stop) -> Iterator[Any]:
    return iter(())


def _remove(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
