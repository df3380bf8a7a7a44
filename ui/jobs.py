"""Long work that belongs to the process, not to a page: it waits its turn, runs on a thread, and whoever has its id
looks at it, from as many tabs as they like."""

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


@dataclass
class _Job:
    work: Work
    folder: Path | None
    owners: Mapping[str, int] = field(default_factory=dict)
    stop: Stop = field(default_factory=Stop)
    state: State = "waiting"
    events: list[Any] = field(default_factory=list)
    refusal: Refusal | None = None
    began: float = 0.0
    ended: float = 0.0


class Jobs:
    """Runs jobs one after the other; thread-safe.

    A job's id is a secret that is shown to nobody but its owner: who has it may look, stop and take the result.

    Args:
        keep_s: seconds that a job is kept after its end, with its folder.
        clock: what time it is, in seconds.
    """

    def __init__(self, keep_s: float = KEEP_S, clock: Callable[[], float] = time.monotonic) -> None:
        self.keep_s = keep_s
        self._clock = clock
        self._jobs: dict[str, _Job] = {}  # in the order in which they came
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def start(self, work: Work, folder: Path | None = None, owners: Mapping[str, int] | None = None) -> str:
        """Let a job wait for its turn.

        Args:
            work: what it does.
            folder: its own, which is removed when the job is forgotten; None if there is none.
            owners: whose it is, and how many of each may run or wait at the same time.

        Returns:
            Its id.

        Raises:
            Refusal: if too many are waiting, or an owner has too many.
        """
        self.sweep()
        key = secrets.token_urlsafe(24)
        with self._changed:
            self._refuse_too_many(owners or {})
            self._jobs[key] = _Job(work, folder, owners or {})
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="jobs", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return key

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
            self._jobs[key] = self._jobs.pop(key)  # behind those who came meanwhile
            self._changed.notify_all()

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
            if job.state == "waiting":
                job.state, job.ended = "stopped", self._clock()

    def forget(self, key: str | None) -> None:
        """Stop a job and remove all that it has; while it runs, as soon as it has ended."""
        self.stop(key)
        with self._changed:
            job = self._jobs.get(key or "")
            if job is None:
                return
            if job.state == "running":
                job.ended = -1.0  # its end is its removal: see `_serve`
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
            gone = [self._jobs.pop(key) for key in keys]
        for job in gone:
            _remove(job.folder)

    def _serve(self) -> None:
        while True:
            with self._changed:
                while (found := self._next()) is None:
                    self._changed.wait()
                key, job = found
                job.state, job.began = "running", self._clock()
            state, refusal = self._run(job)
            with self._changed:
                forgotten = job.ended < 0
                job.state, job.refusal, job.ended = state, refusal, self._clock()
                if state != "interrupted":
                    job.work = _nothing  # it holds the data
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


def _nothing(_: Stop) -> Iterator[Any]:
    return iter(())


def _remove(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
