"""What outlives the process, as files of JSON: frozen dataclasses with what is in them, written in one go.

Nothing is ever unpickled. A record is read only where nobody but this user can have written it.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

from resnet.errors import Refusal

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Of what is written here: another one can't be read, and is passed over.
VERSION = 1
LOCK, VISITS = "resnet-page.lock", "visits"
#: Marks what JSON has no word for.
KIND = "@"


class Unknown(ValueError):
    """A record that is damaged, of another version, or not ours."""


class Records:
    """Reads and writes records of some kinds.

    Args:
        kinds: the dataclasses that may stand in them, told apart by their names.
    """

    def __init__(self, *kinds: type) -> None:
        self._kinds = {kind.__name__: kind for kind in kinds}

    def write(self, file: Path, content: object, root: Path) -> None:
        """Replace a record in a folder that is there.

        Args:
            file: to write.
            content: texts, numbers, tuples, mappings, paths and dataclasses of these kinds.
            root: that its paths lie in; they are written without it.

        Raises:
            OSError: if it can't be written; what was there is as it was then.
        """
        text = json.dumps({"version": VERSION, "content": self._plain(content, root)}, separators=(",", ":"))
        descriptor, unfinished = tempfile.mkstemp(".part", f".{file.name}-", file.parent)  # for this user alone
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as opened:
                opened.write(text)
                opened.flush()
                os.fsync(opened.fileno())
            Path(unfinished).replace(file)
        except BaseException:
            with suppress(OSError):
                Path(unfinished).unlink()
            raise

    def read(self, file: Path, root: Path) -> Any:
        """What `write` was given.

        Raises:
            Unknown: if it was written by somebody else, or is not whole.
            OSError: if it can't be read.
        """
        refuse_others(file)
        try:
            data = json.loads(file.read_bytes())
            if not isinstance(data, dict) or data.get("version") != VERSION:
                raise Unknown("it is of another version")
            return self._made(data["content"], root)
        except Unknown:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise Unknown(f"it is damaged ({type(error).__name__})") from error

    def _plain(self, value: Any, root: Path) -> Any:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, tuple | list):
            return [self._plain(one, root) for one in value]
        if isinstance(value, Path):
            return {KIND: "path", "path": value.relative_to(root).as_posix()}
        if isinstance(value, bytes):
            return {KIND: "bytes", "bytes": base64.b64encode(value).decode("ascii")}
        if isinstance(value, Mapping):
            return {KIND: "mapping", "items": [[key, self._plain(one, root)] for key, one in value.items()]}
        if isinstance(value, Refusal):
            made_of = cast("tuple[str, str, dict[str, object]]", value.__reduce__()[1])
            return {KIND: "refusal", "of": [self._plain(one, root) for one in made_of]}
        if is_dataclass(value) and self._kinds.get(type(value).__name__) is type(value):
            kept = {one.name: self._plain(getattr(value, one.name), root) for one in fields(value) if _kept(one)}
            return {KIND: type(value).__name__, **kept}
        raise TypeError(f"{type(value).__name__} can't be kept")

    def _made(self, data: Any, root: Path) -> Any:
        if isinstance(data, list):
            return tuple(self._made(one, root) for one in data)
        if not isinstance(data, dict):
            return data
        kind = data[KIND]
        if kind == "path":
            return _inside(root, data["path"])
        if kind == "bytes":
            return base64.b64decode(data["bytes"], validate=True)
        if kind == "mapping":
            return {key: self._made(one, root) for key, one in data["items"]}
        if kind == "refusal":
            code, sentence, facts = (self._made(one, root) for one in data["of"])
            return Refusal(code, sentence, **facts)
        return self._kinds[kind](**{key: self._made(one, root) for key, one in data.items() if key != KIND})


def _kept(one: Any) -> bool:
    """A field with a secret says so, and is not written."""
    return not one.metadata.get("secret")


def _inside(root: Path, text: str) -> Path:
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts:
        raise Unknown("it names a path that is not its own")
    return root / path


def refuse_others(path: Path) -> None:
    """See that nobody but this user can have written a file, or what is in a folder.

    Raises:
        Unknown: if it belongs to another user, others may write to it, or it is a link.
        OSError: if there is none.
    """
    found = path.lstat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise Unknown("it is neither a file nor a folder")
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        raise Unknown("it belongs to another user")
    if hasattr(os, "getuid") and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unknown("others may write to it")


@contextmanager
def kept_folder(folder: Path) -> Iterator[Path]:
    """The folder in `folder` that visits are kept in, which no other process has while the block runs.

    What is made from now on is readable to this user alone.

    Raises:
        Refusal: if it can't be made, is not this user's alone to write to, or another process has it.
    """
    before = os.umask(0o077)
    try:
        root = folder.expanduser().resolve()
        try:
            root.mkdir(parents=True, exist_ok=True)
            refuse_others(root)
            (visits := root / VISITS).mkdir(exist_ok=True)
            refuse_others(visits)
            visits.chmod(0o700)
            lock = (root / LOCK).open("ab")
        except Unknown as error:
            raise Refusal(
                "keep.others", "{folder} can't keep what visitors have ({reason}); name a folder that is yours and "
                "that nobody else may write to.",
                folder=str(folder), reason=str(error),
            ) from None  # fmt: skip
        except OSError as error:
            raise Refusal(
                "keep.folder", "{folder} can't keep what visitors have ({reason}); name a folder that can be written.",
                folder=str(folder), reason=error.strerror or type(error).__name__,
            ) from None  # fmt: skip
        with lock:
            _lock(lock, folder)
            yield visits
    finally:
        os.umask(before)


def _lock(file: Any, folder: Path) -> None:
    """The system releases it with the process, however that ends."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Refusal(
            "keep.used", "Another page keeps its visitors' data in {folder}; end it first, or name another folder.",
            folder=str(folder),
        ) from None  # fmt: skip
