"""From a name to a verified Checkpoint: the one function behind the page, the terminal and the trainer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from resnet.errors import Refusal
from weights import checkpoint, layouts
from weights.catalog import CATALOG, FLOWERS, SHIPPED
from weights.checkpoint import Checkpoint, Source, read_file, read_folder, read_json
from weights.contents import Kind
from weights.hub import MAX_TOTAL_BYTES, Hub, Listing, Progress

HUB_NAME = re.compile(
    r"(?P<repo>[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*)(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9_./-]*))?"
)
#: Refuses what a checkpoint describes, or returns.
Admit = Callable[[layouts.Description], object]
#: No file beside the weights is larger.
SMALL_BYTES = 16 * 1024**2
SMALL_FILES = (checkpoint.CONFIG, checkpoint.PREPROCESSOR, checkpoint.CLASS_INDICES)


def load(
    name: str,
    *,
    hub: Hub | None = None,
    progress: Progress | None = None,
    local: bool = True,
    admit: Admit | None = None,
    kind: Kind | None = None,
) -> Checkpoint:
    """The checkpoint of that name.

    Args:
        name: a name of the catalogue (``flowers``, ``resnet50.a1_in1k``), ``owner/name`` or ``owner/name@revision`` on
            the Hub, or the path of a folder or a ``.pth`` file. A name of the catalogue is never a path (``./flowers``
            is); a path wins over the Hub where both exist.
        hub: where to fetch from, with which token.
        progress: called with (bytes so far, bytes in all, file) while a file arrives.
        local: whether paths are allowed; never for a name that a visitor typed. A pickle from the Hub is then read by
            a process of its own.
        admit: called with what a repository of the Hub says of itself, before its weights are fetched; it may refuse.
        kind: which weights of a training's checkpoint: the raw ones, or their average, which is the default where there
            is one.

    Raises:
        Refusal: one sentence on what is wrong and what to do.
    """
    name = name.strip()
    if name == FLOWERS:
        return replace(read_folder(SHIPPED, FLOWERS, kind=kind), source=Source(FLOWERS, path=SHIPPED))
    entry = CATALOG.get(name) or CATALOG.get(name.removeprefix("timm/"))
    if entry is not None:
        found = _from_hub(entry.repo, None, name, hub or Hub(), progress, local, admit, kind)
        return found if found.license else replace(found, license=entry.license)
    path = _existing(name) if local else None
    if path and path.is_dir():
        return replace(read_folder(path, kind=kind), source=Source(name, path=path.resolve()))
    if path and path.is_file():
        return read_file(path, kind)
    match = HUB_NAME.fullmatch(name)
    if match and not (local and name.endswith((".pth", ".pt", ".safetensors"))):
        return _from_hub(match["repo"], match["revision"], name, hub or Hub(), progress, local, admit, kind)
    raise Refusal(
        "weights.name", "There is no model {name}: use a name of the list, owner/name of a model on the Hub"
        + (", or the path of a folder or a .pth file." if local else "."),
        name=layouts.shorten(repr(name)),
    )  # fmt: skip


def _existing(name: str) -> Path | None:
    """The file or folder of that name, where there is one."""
    try:
        path = Path(name).expanduser()
        return path if name and path.exists() else None
    except (OSError, RuntimeError, ValueError):  # too long for a name, in a folder that is closed, of an unknown ~user
        return None


def _from_hub(
    repo: str,
    revision: str | None,
    name: str,
    hub: Hub,
    progress: Progress | None,
    local: bool,
    admit: Admit | None,
    kind: Kind | None,
) -> Checkpoint:
    listing = hub.resolve(repo, revision)
    if checkpoint.CONFIG not in listing.files:
        raise layouts.not_a_resnet(repo, "a repository without a config.json")
    small = {file: _fetch_small(hub, listing, file) for file in SMALL_FILES if file in listing.files}
    folder = small[checkpoint.CONFIG].parent
    # The config first: what is no ResNet is refused before its weights are downloaded.
    described, _ = checkpoint.describe_folder(folder, small, repo)
    if admit:
        admit(described)
    top_level = {file for file in listing.files if len(PurePosixPath(file).parts) == 1}
    parts = checkpoint.weight_files(top_level, repo, lambda file: read_json(_fetch_small(hub, listing, file), repo))
    total = sum(listing.files[part].size for part in parts)
    if total > MAX_TOTAL_BYTES:
        raise Refusal(
            "hub.too_large", "{file} of {repo} is {size:.1f} GB, more than any ResNet; choose another model.",
            file="The checkpoint", repo=repo, size=total / 1024**3,
        )  # fmt: skip
    _fetch_parts(hub, listing, parts, total, progress)
    source = Source(name, repo, listing.revision, listing.commit, folder, listing.from_cache)
    found = read_folder(folder, repo, source, apart=not local, kind=kind)
    return found if found.license else replace(found, license=listing.license)


def _fetch_small(hub: Hub, listing: Listing, file: str) -> Path:
    """A file that says something of the weights.

    Raises:
        Refusal: as `Hub.fetch`, or if it is far larger than what there could be to say.
    """
    if (size := listing.files[file].size) > SMALL_BYTES:
        raise Refusal(
            "hub.large_file", "{file} of {repo} is {size} MB, and no ResNet's is larger than {limit} MB; choose "
            "another model.",
            file=file, repo=listing.repo, size=-(-size // 1024**2), limit=SMALL_BYTES // 1024**2,
        )  # fmt: skip
    return hub.fetch(listing, file)


def _fetch_parts(hub: Hub, listing: Listing, parts: list[str], total: int, progress: Progress | None) -> None:
    before = 0
    for part in parts:
        report = (lambda done, _, file, start=before: progress(start + done, total, file)) if progress else None
        hub.fetch(listing, part, report)
        before += listing.files[part].size
