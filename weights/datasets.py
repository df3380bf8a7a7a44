"""Image folders of the Hugging Face Hub: ``hf://datasets/OWNER/NAME[@REVISION]``, fetched and verified like models."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from resnet.errors import Refusal
from weights.hub import MAX_TOTAL_BYTES, Hub
from weights.layouts import shorten
from weights.load import HUB_NAME

PREFIX = "hf://"
DATASETS = f"{PREFIX}datasets/"
#: Files that arrive at the same time: most are small, and each takes some requests.
WORKERS = 8


@dataclass(frozen=True)
class Fetched:
    """Files of a dataset's repository: what each is called there, and where it lies here."""

    repo: str
    commit: str
    files: tuple[tuple[str, Path], ...]


def fetch_dataset(
    name: str,
    suffixes: Collection[str],
    most_files: int,
    most_bytes: int,
    hub: Hub | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Fetched:
    """The files of a dataset that have these endings; others are not fetched.

    They stay in the client's cache, so that a second time, and a try after a lost connection, needs only the rest.

    Args:
        name: ``hf://datasets/OWNER/NAME``, with ``@REVISION`` for another than the newest.
        suffixes: in lower case, with the dot.
        most_files: that are fetched.
        most_bytes: of all of them.
        hub: where to fetch from; one of datasets.
        progress: called with files so far and in all.

    Raises:
        Refusal: if there is no such dataset, nothing in it that could be used, or too much; or as `Hub.fetch`.
    """
    match = HUB_NAME.fullmatch(name.removeprefix(DATASETS)) if name.startswith(DATASETS) else None
    if match is None:
        raise Refusal(
            "data.hub_name", "{name} is no dataset of the Hub; write hf://datasets/OWNER/NAME, and @REVISION behind it "
            "where it is not the newest.",
            name=shorten(repr(name)),
        )  # fmt: skip
    hub = hub or Hub(kind="dataset")
    listing = hub.resolve(match["repo"], match["revision"])
    wanted = sorted(file for file in listing.files if PurePosixPath(file).suffix.lower() in suffixes)
    if not wanted:
        raise Refusal(
            "data.hub_empty", "{repo} holds neither images nor zips of them, in files of their own; choose a dataset "
            "with a folder of images for each class.",
            repo=listing.repo,
        )  # fmt: skip
    size = sum(listing.files[file].size for file in wanted)
    if (
        len(wanted) > most_files
        or size > most_bytes
        or any(listing.files[one].size > MAX_TOTAL_BYTES for one in wanted)
    ):
        raise Refusal(
            "data.hub_large", "{repo} holds {count} images and zips of {size:.1f} GB together; {most} files and "
            "{limit:.1f} GB are the most, {each:.1f} GB for one.",
            repo=listing.repo, count=f"{len(wanted):,}", size=size / 1024**3, most=f"{most_files:,}",
            limit=most_bytes / 1024**3, each=MAX_TOTAL_BYTES / 1024**3,
        )  # fmt: skip
    for file in wanted:
        if _leads_out(file):  # the Hub takes no such name; who else answers in its place may give one
            raise Refusal(
                "data.hub_path", "{repo} holds {file}, a name that leads out of it; nothing of it was fetched.",
                repo=listing.repo, file=shorten(repr(file)),
            )  # fmt: skip
    found = []
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="fetch") as pool:
        coming = [pool.submit(hub.fetch, listing, file) for file in wanted]
        try:
            for done, (file, future) in enumerate(zip(wanted, coming, strict=True), start=1):
                found.append((file, future.result().resolve()))
                if progress:
                    progress(done, len(wanted))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return Fetched(listing.repo, listing.commit, tuple(found))


def _leads_out(file: str) -> bool:
    """Whether a name would lie somewhere else than in its repository's folder."""
    parts = file.split("/")
    return not file.isprintable() or "\\" in file or ":" in parts[0] or any(part in ("", ".", "..") for part in parts)
