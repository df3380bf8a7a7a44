"""What a visitor has here: a folder of their own, a dataset with its edits, and the runs on it.

A visit is found by a secret that only the visitor's browser keeps, so that a reload, a lost connection or another tab
finds everything again, and nobody else does. It ends when nobody has looked at it for a while and no job of it is left.

Where the page was given a folder for it, a visit outlives the process: beside what it has lie records of it
(`ui.records`). They hold hashes of the secrets, so that whoever reads them can't open anything.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from gradio.processing_utils import hash_file, save_file_to_cache
from gradio.utils import get_upload_folder

from resnet.errors import Refusal
from train.dataset import ClassCount, Dataset, Group, Image, IngestReport, LeftOut, Unreadable
from train.edits import Edit, edited
from train.events import Seen
from train.unlike import Unlike, in_order, unlike
from ui.callers import caller
from ui.jobs import OF_ADDRESS, OF_VISITOR, Jobs
from ui.records import Records, refuse_others
from ui.zero import Borrower

log = logging.getLogger(__name__)

#: Seconds without a look after which a visit is over. The page looks every few seconds while it is open.
IDLE_S = 900.0
#: Gigabytes that all visits may have on disk, unless whoever starts the page says otherwise.
MAX_DISK_GB, GB = 20, 1024**3
#: What the names of own models begin with; no model of the Hub is called so.
OWN = "run:"
#: Seconds after which it is noted on disk that somebody still looks at a visit.
NOTED_S = 60.0
#: Records: of a visit, in its folder, and of a dataset, in the folder with its images.
VISIT, DATASET = "visit.json", "dataset.json"


def hashed(secret: str) -> str:
    """What is kept of a secret. It was drawn from so many that nobody finds it by trying, so it needs no salt."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def job_id(key: str, number: int) -> str:
    """The secret of a visit's run, which follows from that of the visit: so it need not be kept anywhere."""
    found = hmac.digest(key.encode(), f"job {number}".encode(), "sha256")
    return base64.urlsafe_b64encode(found[:24]).decode()


@dataclass(frozen=True)
class Wishes:
    """How a run is to learn, as its visitor said it."""

    minutes: float
    epochs: int | None
    batch_size: int | None
    rate: float | None
    image_size: int | None
    share: float
    seed: int | None


@dataclass(frozen=True)
class Run:
    """A training of this visit: its job, and what was asked for.

    `id` is the secret whose hash is the job's name; it is empty until the visitor of an earlier process comes back.
    """

    job: str
    number: int
    base: str
    method: str
    minutes: float | None
    dataset: str
    images: int
    device: str = ""
    data: Path | None = None
    folder: Path | None = None
    wishes: Wishes | None = None
    edits: tuple[Edit, ...] = ()
    id: str = field(default="", repr=False, metadata={"secret": True})

    @property
    def model(self) -> str:
        """The name under which its model is kept: as secret as its id."""
        return OWN + self.id


@dataclass(frozen=True)
class Kept:
    """The record of a visit: the hash of its key, when it was looked at (by the wall clock), and what it has."""

    name: str
    seen: float
    folders: tuple[Path, ...]
    edits: tuple[Edit, ...]
    runs: tuple[Run, ...]


RECORDS = Records(
    Kept, Run, Wishes, Edit, Dataset, Image, IngestReport, ClassCount, LeftOut, Unreadable, Group
)  # fmt: skip


@dataclass
class Visit:
    """Everything of one visitor. Its fields change under `lock` only.

    `name` is the hash of `key`, which is empty until the visitor of an earlier process comes back.
    """

    key: str = field(repr=False)
    name: str
    folder: Path
    seen: float
    source: Dataset | None = None
    edits: tuple[Edit, ...] = ()
    runs: tuple[Run, ...] = ()
    uploads: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()  # of the data sets it has had; the last is that of `source`
    packed: Path | None = None
    noted: float = 0.0  # `seen`, as the record has it
    closed: bool = False
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
        return owner(visit) if visit else {"program": OF_ADDRESS}
    return {f"address {who}": OF_ADDRESS} | (owner(visit) if visit else {f"program {who}": OF_VISITOR})


def owner(visit: Visit) -> dict[str, int]:
    """Whose a job is as far as it is kept: nobody's address is."""
    return {f"visit {visit.name}": OF_VISITOR}


def bytes_in(folder: Path) -> int:
    """What all files below a folder take; those that are being removed count for nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 (of 100,000 files)
    return total


def served(file: Path) -> str:
    """A copy of a visit's file in the only folder that Gradio serves files from, whichever folder visits lie in."""
    return str(save_file_to_cache(file, get_upload_folder()))


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
        folder: where they are kept when this process ends; None where they end with it.
        wall: what time it is for whoever starts this process next.
    """

    def __init__(
        self,
        jobs: Jobs,
        idle_s: float = IDLE_S,
        clock: Callable[[], float] = time.monotonic,
        forget_model: Callable[[str], None] = lambda _: None,
        forget_folder: Callable[[Path], None] = lambda _: None,
        max_bytes: int = MAX_DISK_GB * GB,
        folder: Path | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._max_bytes = max_bytes
        self.jobs = jobs
        self._forget_model, self._forget_folder = forget_model, forget_folder
        self.idle_s = idle_s
        self._clock, self._wall = clock, wall
        self._visits: dict[str, Visit] = {}  # by the hashes of their keys
        self._lock = threading.Lock()
        self.kept, self._left = folder is not None, False
        # Removed with this object, unless somebody keeps it.
        self._temporary = None if folder else tempfile.TemporaryDirectory(
            prefix="resnet-visits-", ignore_cleanup_errors=True
        )  # fmt: skip
        self._root = Path(self._temporary.name) if self._temporary else folder or Path()
        if self.kept:
            self._load()

    def find(self, key: object) -> Visit | None:
        """The visit of that key, which is being looked at now; None if there is none."""
        self.sweep()
        with self._lock:
            visit = self._visits.get(hashed(key)) if isinstance(key, str) else None
            if visit is not None:
                self._look(visit)
        if visit is not None and isinstance(key, str) and not visit.key:  # of an earlier process
            with visit.lock:
                visit.key = key
                visit.runs = tuple(replace(run, id=job_id(key, run.number)) for run in visit.runs)
        return visit

    def of_job(self, job: str) -> Visit | None:
        """The visit that a job of this name belongs to, which is being looked at now; None if there is none."""
        with self._lock:
            found = (one for one in self._visits.values() if any(run.job == job for run in one.runs))
            visit = next(found, None)
            if visit is not None:
                self._look(visit)
            return visit

    def all(self) -> list[Visit]:
        """All that there are, which are not looked at by that."""
        with self._lock:
            return list(self._visits.values())

    def _look(self, visit: Visit) -> None:
        visit.seen = self._clock()
        visit.borrower.seen()

    def open(self, key: object) -> Visit:
        """The visit of that key, or a new one with a key of its own: a visitor can't choose one."""
        if (visit := self.find(key)) is not None:
            return visit
        with self._lock:
            fresh = secrets.token_urlsafe(24)
            name, folder = hashed(fresh), self._root / f"visit-{secrets.token_hex(8)}"
            visit = self._visits[name] = Visit(fresh, name, folder, self._clock())
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
        if (left := self._max_bytes - bytes_in(self._root)) <= 0:
            raise Refusal(
                "disk.visits", "The data of all visitors take {limit} MB, which is the most that they may have; try "
                "again in a while.",
                limit=self._max_bytes // 1024**2,
            )  # fmt: skip
        return min(own, left)

    def replace(self, visit: Visit, dataset: Dataset, folder: Path, upload: Path | None = None) -> None:
        """A new dataset, in a folder of the visit, begins without edits; the old one goes where no run reads it."""
        if self.kept:
            self._write(folder / DATASET, dataset, visit.folder)
        with visit.lock:
            old, visit.uploads = visit.uploads, (upload,) if upload else ()
            visit.source, visit.edits, visit.seen_in = dataset, (), None
            visit.folders = (*visit.folders, folder)
        self.save(visit)
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
        if gone:
            self.save(visit)
        for folder in gone:
            shutil.rmtree(folder, ignore_errors=True)
            self._forget_folder(folder)

    def close_all(self, patience_s: float = 5.0) -> None:
        """End all visits, as this process ends; a job that runs is given a while to notice.

        What is kept stays as it is, for the next process to go on from.
        """
        if self._temporary is None:
            self._leave()
            return
        for visit in self.all():
            self._close(visit)
        self.jobs.end(patience_s)
        self._temporary.cleanup()

    def _leave(self) -> None:
        for visit in self.all():
            self.save(visit)
        self._left = True
        self.jobs.leave()

    def close(self, key: object) -> None:
        """End a visit: its jobs stop, its folder is removed, and what was uploaded for it or served of it as well."""
        with self._lock:
            visit = self._visits.get(hashed(key)) if isinstance(key, str) else None
        if visit is not None:
            self._close(visit)

    def _close(self, visit: Visit) -> None:
        with self._lock:
            self._visits.pop(visit.name, None)
        with visit.lock:
            visit.closed = True  # nothing is written any more
            with suppress(OSError):  # what is left where this process is killed now is nobody's
                (visit.folder / VISIT).unlink()
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
            if visit.seen - visit.noted > NOTED_S:
                self.save(visit)
        quiet = [visit for visit in visits if visit.seen < old]
        for visit in quiet:
            if not self._left and not any(self.jobs.look(run.job) for run in visit.runs):
                self._close(visit)

    # -- on disk -------------------------------------------------------------------------------------------------------

    def save(self, visit: Visit) -> None:
        """Keep a visit as it is now, where visits are kept and it has anything."""
        with visit.lock:
            if not self.kept or self._left or visit.closed or not visit.folder.is_dir():
                return
            seen = self._wall() - (self._clock() - visit.seen)
            kept = Kept(visit.name, seen, visit.folders, visit.edits, visit.runs)
            self._write(visit.folder / VISIT, kept, visit.folder)
            visit.noted = visit.seen

    @staticmethod
    def _write(file: Path, content: object, root: Path) -> None:
        """A visitor goes on with what they have also where it can't be kept."""
        try:
            RECORDS.write(file, content, root)
        except Exception:
            log.exception("%s could not be kept on disk", file.name)

    def dataset_in(self, visit: Visit, folder: Path | None) -> Dataset:
        """A dataset of an earlier process, without edits, by the folder of its images.

        Raises:
            Refusal: if it is not there, or can't be read.
        """
        try:
            found = RECORDS.read(folder / DATASET, visit.folder) if folder else None
        except (OSError, ValueError) as error:
            log.warning("a dataset that was kept is passed over: %s", error)
            found = None
        if not isinstance(found, Dataset):
            raise no_dataset()
        return found

    def _load(self) -> None:
        """Have the visits of earlier processes; what can't be read is passed over and stays where it is."""
        for folder in sorted(self._root.iterdir()):
            try:
                refuse_others(folder)
                visit = self._read(folder)
            except Exception as error:
                log.warning("%s is passed over: %s", folder.name, error)
                continue
            if visit is not None:
                self._visits[visit.name] = visit

    def _read(self, folder: Path) -> Visit | None:
        """A visit, by its folder; what a process was killed over, and what no record knows, is removed there."""
        if not folder.name.startswith("visit-"):
            raise ValueError("it is no visit")
        if not (folder / VISIT).exists():
            shutil.rmtree(folder, ignore_errors=True)
            return None
        kept = RECORDS.read(folder / VISIT, folder)
        if not isinstance(kept, Kept):
            raise ValueError("it is no visit")
        known = {folder / VISIT, *kept.folders, *(run.folder for run in kept.runs)}
        for other in set(folder.iterdir()) - known:
            shutil.rmtree(other, ignore_errors=True)
            with suppress(OSError):
                other.unlink()
        seen = self._clock() - max(0.0, self._wall() - kept.seen)
        visit = Visit("", kept.name, folder, seen, None, kept.edits, kept.runs, folders=kept.folders, noted=seen)
        if visit.folders:
            with suppress(Refusal):  # which is in the log
                visit.source = self.dataset_in(visit, visit.folders[-1])
        return visit
