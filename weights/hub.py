"""Files of a model repository on the Hugging Face Hub: fetched by the real client, verified, refused in a sentence.

The client keeps files in its own cache (`HF_HUB_CACHE`). Beside each repository there we keep a receipt, which lets us
do with one request for a branch and none for a pinned commit, and which says what has been verified: the client checks
a file's size, not its hash.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from huggingface_hub import (
    HfApi,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from tqdm.auto import tqdm

from resnet.errors import Refusal
from weights.layouts import license_text

#: Called with (bytes so far, bytes in all, file name) while a file arrives; may raise to stop the download.
Progress = Callable[[int, int, str], None]

#: Seconds of silence after which a request is given up; 10, or what HF_HUB_ETAG_TIMEOUT says, as for the client itself.
TIMEOUT_S = float(constants.HF_HUB_ETAG_TIMEOUT)
#: No checkpoint of a ResNet is larger; what is, would fill the disk of whoever runs the page.
MAX_TOTAL_BYTES = 2 * 1024**3

# Plain HTTP, whose time-outs and broken connections we can tell apart; Xet's client tries for minutes and says nothing.
if "HF_HUB_DISABLE_XET" not in os.environ:
    constants.HF_HUB_DISABLE_XET = True
# Its telemetry asks the Hub for a list of agents first: a request that is nobody's here.
if "HF_HUB_DISABLE_TELEMETRY" not in os.environ:
    constants.HF_HUB_DISABLE_TELEMETRY = True

COMMIT = re.compile(r"[0-9a-f]{40}")
# The client's base class of everything that goes wrong on the wire (httpx's or httpx2's, by its version).
HTTP_ERROR: type[BaseException] = HfHubHTTPError.__mro__[1]
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What a cache folder that can't be written to (or is no folder at all) answers.
NO_CACHE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
# The client's names of a connection that ended in the middle of an answer.
CUT_OFF = ("RemoteProtocolError", "ReadError")


@dataclass(frozen=True)
class RemoteFile:
    """What the Hub announces of a file: its size in bytes and its hash (sha256 for large files, git's for small)."""

    size: int
    sha256: str | None
    git_sha1: str | None


@dataclass(frozen=True)
class Listing:
    """A repository at one commit: its files by path, and whether this is known from the cache alone."""

    repo: str
    revision: str
    commit: str
    files: dict[str, RemoteFile]
    license: str | None = None
    from_cache: bool = False


class Hub:
    """A Hub, a cache folder and a token.

    Args:
        endpoint: the Hub's address; ``HF_ENDPOINT`` or huggingface.co by default.
        cache_dir: where files are kept; the client's own cache by default.
        token: as the client takes it: None for the one that is signed in on this machine, False for none at all.
        kind: of the repositories that it is asked for.
        max_bytes: that it may add to the cache; of what it has added, the oldest files go. What was there before stays.
            None for no limit.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        kind: Literal["model", "dataset"] = "model",
        max_bytes: int | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._added: dict[tuple[str, str, str], tuple[Path, Path, int]] = {}  # file -> where it and its mark lie, bytes
        self._lock = threading.Lock()
        self.endpoint = endpoint or os.environ.get("HF_ENDPOINT") or constants.ENDPOINT
        self.cache_dir = Path(cache_dir or constants.HF_HUB_CACHE)
        self.token = token
        self.kind = kind

    def resolve(self, repo: str, revision: str | None = None) -> Listing:
        """Which commit a revision is, and what it holds.

        One request for a branch or a tag; none for a commit that was resolved before. Without an answer, the last
        known commit of that revision is taken from the cache, and says so in `from_cache`.

        Args:
            repo: ``"owner/name"``.
            revision: branch, tag or commit; ``"main"`` by default.

        Raises:
            Refusal: no such repository, gated or private, no such revision, no network and nothing cached, no answer.
        """
        revision = revision or "main"
        if COMMIT.fullmatch(revision) and (known := self._read_receipt(repo, revision, revision)):
            return known
        facts = {"repo": repo, "revision": revision, "host": self.host}
        try:
            with self._sentences(**facts):
                api = HfApi(endpoint=self.endpoint, token=self.token)
                ask = api.dataset_info if self.kind == "dataset" else api.model_info
                info = ask(repo, revision=revision, files_metadata=True, timeout=TIMEOUT_S)
        except Refusal as refusal:
            if refusal.code in ("hub.offline", "hub.offline_data", "hub.timeout", "hub.error", "hub.busy"):
                commit = self._read_ref(repo, revision)
                if commit and (known := self._read_receipt(repo, revision, commit, from_cache=True)):
                    return known
            raise
        files = {
            sibling.rfilename: RemoteFile(
                sibling.size or 0, sibling.lfs.sha256 if sibling.lfs else None, None if sibling.lfs else sibling.blob_id
            )
            for sibling in info.siblings or []
        }
        licence = info.card_data.get("license") if info.card_data else None
        listing = Listing(repo, revision, str(info.sha), files, license_text(licence))
        with self._sentences(**facts):
            self._write_receipt(listing)
        return listing

    def fetch(self, listing: Listing, name: str, progress: Progress | None = None) -> Path:
        """One file of a listing, verified; downloaded only if it is not in the cache already.

        Raises:
            Refusal: if it can't be had, or what arrived is not what the Hub announced; the bad file is gone then, so
                that the next try is a clean one.
        """
        remote = listing.files[name]
        facts = {"repo": listing.repo, "revision": listing.revision, "host": self.host, "file": name}
        cached = try_to_load_from_cache(
            listing.repo, name, cache_dir=self.cache_dir, revision=listing.commit, repo_type=self.kind
        )
        if isinstance(cached, str) and self._is_verified(listing, name):
            return Path(cached)
        if remote.size > MAX_TOTAL_BYTES:
            raise Refusal(
                "hub.too_large", "{file} of {repo} is {size:.1f} GB, more than any ResNet; choose another model.",
                size=remote.size / 1024**3, **facts,
            )  # fmt: skip
        with self._sentences(**facts):
            if not isinstance(cached, str):
                # Asked by ourselves first: where the Hub refuses, the client would try for minutes and then say only
                # that the file is not in the cache.
                url = hf_hub_url(
                    listing.repo, name, repo_type=self.kind, revision=listing.commit, endpoint=self.endpoint
                )
                get_hf_file_metadata(url, token=self.token, timeout=TIMEOUT_S, endpoint=self.endpoint)
            path = Path(
                hf_hub_download(
                    listing.repo, name, revision=listing.commit, cache_dir=self.cache_dir, endpoint=self.endpoint,
                    token=self.token, etag_timeout=TIMEOUT_S, tqdm_class=_reporter(progress, remote.size, name),
                    repo_type=self.kind,
                )
            )  # fmt: skip
            if not _matches(path, remote):
                self._drop(path)
                raise Refusal(
                    "hub.corrupted", "{file} of {repo} arrived damaged (its hash is not the announced one) and was "
                    "removed; try again.", **facts,
                )  # fmt: skip
            self._mark_verified(listing, name)
            if not isinstance(cached, str):
                self._add(listing, name, path)
        return path

    def _add(self, listing: Listing, name: str, path: Path) -> None:
        """Note what came into the cache, and drop what came first where that is too much; never of the same model."""
        if self._max_bytes is None:
            return
        with self._lock:
            self._added[listing.repo, listing.commit, name] = path, self._mark(listing, name), listing.files[name].size
            for key, (old, mark, _) in list(self._added.items()):
                if sum(size for _, _, size in self._added.values()) <= self._max_bytes:
                    break
                if key[:2] != (listing.repo, listing.commit):
                    mark.unlink(missing_ok=True)
                    self._drop(old)
                    del self._added[key]

    # -- the receipt ---------------------------------------------------------------------------------------------------

    def _folder(self, repo: str) -> Path:
        return self.cache_dir / repo_folder_name(repo_id=repo, repo_type=self.kind) / ".verified"

    def _write_receipt(self, listing: Listing) -> None:
        folder = self._folder(listing.repo)
        if not (folder / f"{listing.commit}.json").exists():
            files = {name: [file.size, file.sha256, file.git_sha1] for name, file in listing.files.items()}
            _write_atomically(
                folder / f"{listing.commit}.json", json.dumps({"license": listing.license, "files": files})
            )
        _write_atomically(folder / "refs" / quote(listing.revision, safe=""), listing.commit)

    def _read_ref(self, repo: str, revision: str) -> str | None:
        with contextlib.suppress(OSError, ValueError):
            commit = (self._folder(repo) / "refs" / quote(revision, safe="")).read_text().strip()
            return commit if COMMIT.fullmatch(commit) else None
        return None

    def _read_receipt(self, repo: str, revision: str, commit: str, from_cache: bool = False) -> Listing | None:
        try:
            data = json.loads((self._folder(repo) / f"{commit}.json").read_text())
            files = {name: RemoteFile(*fields) for name, fields in data["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return Listing(repo, revision, commit, files, license_text(data.get("license")), from_cache)

    def _mark(self, listing: Listing, name: str) -> Path:
        remote = listing.files[name]
        digest = remote.sha256 or remote.git_sha1 or hashlib.sha256(name.encode()).hexdigest()
        return self._folder(listing.repo) / "files" / digest

    def _is_verified(self, listing: Listing, name: str) -> bool:
        return self._mark(listing, name).exists()

    def _mark_verified(self, listing: Listing, name: str) -> None:
        _write_atomically(self._mark(listing, name), name)

    @staticmethod
    def _drop(path: Path) -> None:
        """Remove a file from the client's cache: the name in the snapshot and the blob that it points to."""
        blob = path.resolve()
        path.unlink(missing_ok=True)
        blob.unlink(missing_ok=True)

    # -- the refusals --------------------------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        """Its address without the protocol, as sentences name it."""
        return re.sub(r"^https?://", "", self.endpoint).rstrip("/")

    @contextlib.contextmanager
    def _sentences(self, **facts: str) -> Iterator[None]:
        """Turn whatever the client raises into one sentence with what to do next."""
        try:
            yield
        except Refusal:
            raise
        except GatedRepoError:
            raise Refusal(
                "hub.gated", "{repo} is gated: accept its terms on {host}, sign in with `hf auth login` and try again.",
                **facts,
            ) from None  # fmt: skip
        except (RepositoryNotFoundError, HFValidationError):  # the latter: no repository can have such a name
            if self.kind == "dataset":
                raise Refusal(
                    "hub.no_dataset", "There is no dataset {repo} on {host}, or it is private: check the spelling, or "
                    "sign in with `hf auth login`.", **facts,
                ) from None  # fmt: skip
            raise Refusal(
                "hub.no_repo", "There is no model {repo} on {host}, or it is private: check the spelling, or sign in "
                "with `hf auth login`.", **facts,
            ) from None  # fmt: skip
        except RevisionNotFoundError:
            raise Refusal(
                "hub.no_revision", "{repo} has no revision {revision}; leave it out to get the newest.", **facts
            ) from None
        except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
            raise self._no_answer(error, facts) from None
        except EntryNotFoundError:
            raise Refusal(
                "hub.no_file", "{repo} no longer holds {file}; try again.", **{"file": "a file", **facts}
            ) from None
        except HfHubHTTPError as error:
            raise self.refused(error, facts) from None
        except OSError as error:
            if error.errno in FULL_DISK:
                raise Refusal(
                    "hub.disk_full", "The disk is full, so {repo} can't be stored; free some space in {folder} "
                    "and try again.",
                    folder=str(self.cache_dir), **facts,
                ) from None  # fmt: skip
            if "Consistency check failed" in str(error):
                raise self._truncated(facts) from None
            if error.errno in NO_CACHE:
                raise Refusal(
                    "hub.no_cache", "Models can't be stored in {folder}; set HF_HOME to a folder that may be written.",
                    folder=str(self.cache_dir), **facts,
                ) from None  # fmt: skip
            raise self._no_answer(error, facts) from None
        except Exception as error:
            if not isinstance(error, HTTP_ERROR):
                raise
            if "file" in facts and type(error).__name__ in CUT_OFF:
                raise self._truncated(facts) from None
            raise self._no_answer(error, facts) from None

    def refused(self, error: HfHubHTTPError, facts: dict[str, str]) -> Refusal:
        """What the Hub's answer means for whoever reads."""
        status = error.response.status_code
        if status == 401:
            return Refusal(
                "hub.token", "{host} does not accept the token that is signed in here: run `hf auth login` again, or "
                "`hf auth logout` for public models.", **facts,
            )  # fmt: skip
        if status == 403:
            return Refusal("hub.forbidden", "{host} does not let this account read {repo}; ask its owner.", **facts)
        if status == 429:
            return Refusal(
                "hub.busy", "{host} has had too many requests from here; wait a minute and try again.", **facts
            )
        return Refusal(
            "hub.error", "{host} answered with an error of its own ({status}); try again in a few minutes.",
            status=status, **facts,
        )  # fmt: skip

    def _truncated(self, facts: dict[str, str]) -> Refusal:
        return Refusal(
            "hub.truncated", "{file} of {repo} arrived incomplete and was not kept; try again.",
            **{"file": "A file", **facts},
        )  # fmt: skip

    def _no_answer(self, error: BaseException, facts: dict[str, str]) -> Refusal:
        """Why a file could not be had, by what is at the root of the client's error."""
        for cause in causes(error):
            if isinstance(cause, HfHubHTTPError):
                return self.refused(cause, facts)
        return self.timed_out(TIMEOUT_S, facts) if is_timeout(error) else self._offline(facts)

    def timed_out(self, seconds: float, facts: dict[str, str]) -> Refusal:
        """It has said nothing for so long."""
        return Refusal(
            "hub.timeout", "{host} did not answer within {seconds:.0f} seconds; check the connection and try again.",
            seconds=seconds, **facts,
        )  # fmt: skip

    def _offline(self, facts: dict[str, str]) -> Refusal:
        if self.kind == "dataset":
            return Refusal(
                "hub.offline_data", "{host} can't be reached and {repo} is not in the cache: connect and try again, or "
                "name a zip or a folder.", **facts,
            )  # fmt: skip
        return Refusal(
            "hub.offline", "{host} can't be reached and {repo} is not in the cache: connect and try again, or use "
            "`flowers`, which needs no network.", **facts,
        )  # fmt: skip


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_timeout(error: BaseException) -> bool:
    """Whether a time-out is at the root of an error of the client."""
    return any(isinstance(cause, TimeoutError) or "Timeout" in type(cause).__name__ for cause in causes(error))


def _matches(path: Path, remote: RemoteFile) -> bool:
    """Whether a file is what the Hub announced, by the strongest hash that it gave."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:  # another thread found the same file damaged and dropped it
        return False
    if size != remote.size:
        return False
    if remote.sha256:
        digest, expected = hashlib.sha256(), remote.sha256
    elif remote.git_sha1:
        digest, expected = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False), remote.git_sha1
    else:
        return True
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest() == expected


def _write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _reporter(progress: Progress | None, total: int, name: str) -> type[Any]:
    """A tqdm that draws nothing and tells `progress` instead.

    The client makes several of them for one file (what came over the wire, what is on disk; again after a retry): the
    one that is furthest is told, so that the numbers only grow.
    """
    furthest = 0

    class Reporter(tqdm):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.seen = int(kwargs.get("initial") or 0)
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal furthest
            self.seen += int(n or 0)
            if progress and self.seen > furthest:
                furthest = self.seen
                progress(min(furthest, total), total, name)
            return None

    return Reporter
