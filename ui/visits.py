"""What a visitor has here: a folder of their own, a dataset with its edits, and the runs on it.

A visit is found by a secret that only the visitor's browser keeps, so that a reload, a lost connection or another tab
finds everything again, and nobody else does. It ends when nobody has looked at it for a while and no job of it is left.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gradio.processing_utils import hash_file
from gradio.utils import get_upload_folder

from resnet.errors import Refusal
from train.dataset import Dataset
from train.edits import Edit, edited
from train.events import Seen
from train.unlike import Unlike, in_order, unlike
from ui.callers import caller
from ui.jobs import OF_ADDRESS, OF_VISITOR, Jobs
from ui.zero import Borrower

#: Seconds without a look after which a visit is over. The page looks every few seconds while it is open.
IDLE_S = 900.0
#: Gigabytes that all visits may have on disk, unless whoever starts the page says otherwise.
MAX_DISK_GB, GB = 20, 1024**3
#: What the names of own models begin with; no model of the Hub is called so.
OWN = "run:"


@dataclass(frozen=True)
class Run:
    """A training of this visit: its job, and what was asked for."""

    job: str
    number: int
    base: str
    method: str
    minutes: float | None
    dataset: str
    images: int
    device: str = ""
    data: Path | None = None

    @property
    def model(self) -> str:
        """The name under which its model is kept: as secret as the job."""
        return OWN + self.job


@dataclass
class Visit:
    """Everything of one visitor. Its fields change under `lock` only."""

    key: str
    folder: Path
    seen: float
    source: Dataset | None = None
    edits: tuple[Edit, ...] = ()
    runs: tuple[Run, ...] = ()
    uploads: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()  # of the data sets it has had; the last is that of `source`
    packed: Path | None = None
    borrower: Borrower = field(default_factory=Borrower, repr=False)
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    seen_in: Seen | None = field(default=None, repr=False)
    _edited: tuple[Dataset, tuple[Edit, ...], Dataset] | None = field(default=None, repr=False)
    _unlike: tuple[Dataset, Seen | None, tuple[Unlike, ...]] | None = field(default=None, repr=False)

    def dataset(self) -> Dataset | None:
        """The dataset with its edits; computed once for these."""
        with self.lock:
            if self.source is None:
                return None
            if self._edited is None or self._edited[0] is not self.source or self._edited[1] != self.edits:
                self._edited = self.source, self.edits, edited(self.source, self.edits)
            return self._edited[2]

    def unlike(self) -> tuple[Unlike, ...]:
        """Images that look unlike the rest, by what a run has seen in them as well once there was one."""
        with self.lock:
            dataset, seen, known = self.dataset(), self.seen_in, self._unlike
        if dataset is None:
            return ()
        if known is not None and known[0] is dataset and known[1] is seen:
            return known[2]
        # Not under the lock: with 10,000 images it takes a second.
        found = unlike(dataset, in_order(dataset, seen.names, seen.features) if seen else None)
        self._unlike = dataset, seen, found
        return found

    def new_folder(self, kind: str) -> Path:
        """An empty folder of this visit."""
        self.folder.mkdir(parents=True, exist_ok=True)  # only now: a full disk keeps nobody from looking
        return Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=self.folder))


def with_dataset(visit: Visit | None) -> tuple[Visit, Dataset, tuple[Edit, ...]]:
    """A visit, its dataset with its edits, and these.

    Raises:
        Refusal: if it is over, or has none.
    """
    if visit is None:
        raise no_dataset()
    with visit.lock:
        dataset, edits = visit.dataset(), visit.edits
    if dataset is None:
        raise no_dataset()
    return visit, dataset, edits


def no_dataset() -> Refusal:
    """Of a visit that is over, or has brought nothing."""
    return Refusal("data.none", "There is no dataset any more; bring the zip again.")


def owners(visit: Visit | None) -> dict[str, int]:
    """Whose a job is that is begun now, and how many each may have: the visit's, where there is one, and the caller's.

    A visit is had for the asking; an address is not. A program has no visit, only its address.
    """
    who = caller()
    if not who:  # then all who are unknown have what one address has
        return {f"visit {visit.key}": OF_VISITOR} if visit else {"program": OF_ADDRESS}
    of_address = {f"address {who}": OF_ADDRESS}
    return of_address | ({f"visit {visit.key}": OF_VISITOR} if visit else {f"program {who}": OF_VISITOR})


def bytes_in(folder: Path) -> int:
    """What all files below a folder take; those that are being removed count for nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 (of 100,000 files)
    return total


def remove_served(file: Path) -> None:
    """Remove the copy that Gradio made of a file to serve it, under the hash of its content."""
    with suppress(OSError):
        (Path(get_upload_folder()) / hash_file(file) / file.name).unlink()


class Visits:
    """All visits of this process; thread-safe.

    Args:
        jobs: where their runs are.
        idle_s: seconds without a look after which one is over.
        clock: what time it is, in seconds.
        forget_model: told the name of each model of a visit that is over.
        forget_folder: told its folder.
        max_bytes: that all of them may have on disk, and one of them a quarter of.
    """

    def __init__(
        self,
        jobs: Jobs,
        idle_s: float = IDLE_S,
        clock: Callable[[], float] = time.monotonic,
        forget_model: Callable[[str], None] = lambda _: None,
        forget_folder: Callable[[Path], None] = lambda _: None,
        max_bytes: int = MAX_DISK_GB * GB,
    ) -> None:
        self._max_bytes = max_bytes
        self.jobs = jobs
        self._forget_model, self._forget_folder = forget_model, forget_folder
        self.idle_s = idle_s
        self._clock = clock
        self._visits: dict[str, Visit] = {}
        self._lock = threading.Lock()
        self._root = tempfile.TemporaryDirectory(prefix="resnet-visits-", ignore_cleanup_errors=True)

    def find(self, key: object) -> Visit | None:
        """The visit of that key, which is being looked at now; None if there is none."""
        self.sweep()
        with self._lock:
            visit = self._visits.get(key) if isinstance(key, str) else None
            if visit is not None:
                visit.seen = self._clock()
                visit.borrower.seen()
            return visit

    def open(self, key: object) -> Visit:
        """The visit of that key, or a new one with a key of its own: a visitor can't choose one."""
        if (visit := self.find(key)) is not None:
            return visit
        with self._lock:
            fresh = secrets.token_urlsafe(24)
            folder = Path(self._root.name) / f"visit-{secrets.token_hex(8)}"
            visit = self._visits[fresh] = Visit(fresh, folder, self._clock())
            visit.borrower.seen()
            return visit

    def room(self, visit: Visit) -> int:
        """Bytes that a visit may still write.

        Raises:
            Refusal: if there are none.
        """
        most = self._max_bytes // 4
        if (own := most - bytes_in(visit.folder)) <= 0:
            raise Refusal(
                "disk.visit", "Your data here take {limit} MB, which is the most that you may have; remove them and "
                "begin again.",
                limit=most // 1024**2,
            )  # fmt: skip
        if (left := self._max_bytes - bytes_in(Path(self._root.name))) <= 0:
            raise Refusal(
                "disk.visits", "The data of all visitors take {limit} MB, which is the most that they may have; try "
                "again in a while.",
                limit=self._max_bytes // 1024**2,
            )  # fmt: skip
        return min(own, left)

    def replace(self, visit: Visit, dataset: Dataset, folder: Path, upload: Path | None = None) -> None:
        """A new dataset, in a folder of the visit, begins without edits; the old one goes where no run reads it."""
        with visit.lock:
            old, visit.uploads = visit.uploads, (upload,) if upload else ()
            visit.source, visit.edits, visit.seen_in = dataset, (), None
            visit.folders = (*visit.folders, folder)
        self._remove_uploads(visit, [path for path in old if path != upload])
        self.drop_unread(visit)

    def drop_unread(self, visit: Visit) -> None:
        """Remove data sets that were replaced and that no run reads; the last run shows photos of its own one."""
        with visit.lock:
            views = [(run, self.jobs.look(run.job)) for run in visit.runs]
            read = {run.data for run, view in views[-1:]} | {
                run.data for run, view in views if view and view.state in ("waiting", "running", "interrupted")
            }
            gone = [folder for folder in visit.folders[:-1] if folder not in read]
            visit.folders = tuple(folder for folder in visit.folders if folder not in gone)
        for folder in gone:
            shutil.rmtree(folder, ignore_errors=True)
            self._forget_folder(folder)

    def close_all(self, patience_s: float = 5.0) -> None:
        """End all visits, as this process ends; a job that runs is given a while to notice."""
        with self._lock:
            keys = list(self._visits)
        for key in keys:
            self.close(key)
        self.jobs.end(patience_s)
        self._root.cleanup()

    def close(self, key: object) -> None:
        """End a visit: its jobs stop, its folder is removed, and what was uploaded for it or served of it as well."""
        with self._lock:
            visit = self._visits.pop(key, None) if isinstance(key, str) else None
        if visit is not None:
            for run in visit.runs:
                self.jobs.forget(run.job)
                self._forget_model(run.model)
            self._remove_uploads(visit, visit.uploads)
            for file in visit.folder.rglob("*.zip"):
                remove_served(file)
            shutil.rmtree(visit.folder, ignore_errors=True)
            self._forget_folder(visit.folder)

    def _remove_uploads(self, visit: Visit, uploads: Iterable[Path]) -> None:
        """Gradio keeps the same bytes once: what somebody else has brought as well stays until they are gone too."""
        with self._lock:
            others = {path for other in self._visits.values() if other is not visit for path in other.uploads}
        for path in uploads:
            if path not in others:
                with suppress(OSError):
                    path.unlink()

    def sweep(self) -> None:
        """End the visits that nobody looks at any more; one with a job, or with what a job left, stays."""
        self.jobs.sweep()
        with self._lock:
            old = self._clock() - self.idle_s
            visits = list(self._visits.values())
        for visit in visits:
            if len(visit.folders) > 1:
                self.drop_unread(visit)
        quiet = [visit for visit in visits if visit.seen < old]
        for visit in quiet:
            if not any(self.jobs.look(run.job) for run in visit.runs):
                self.close(visit.key)
