"""A pickled state dict, read by a process of its own whose memory and time are bounded, and handed on as safetensors.

torch reads pickles without running code (`weights_only`), but a few hundred bytes can still make it fill the memory or
compute for hours. On a page, whose models strangers name, that must be nobody's harm but the reader's own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from pickletools import genops
from tempfile import TemporaryDirectory
from typing import cast

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from resnet.errors import Refusal
from resnet.zip_names import is_zip
from weights import contents
from weights.contents import Contents, Kind
from weights.layouts import check_views

ROOT = Path(__file__).resolve().parents[1]
#: What the process may take beyond what torch takes by itself: its file in three copies, and some room.
ROOM_BYTES = 256 * 1024**2
CPU_S, PATIENCE_S = 60, 180
#: Of what torch lets a pickle call: these take a size.
ROOMY = re.compile(r"(^|[ .])(bytearray|UntypedStorage|TypedStorage|\w*Tensor)$")
#: Those that torch wrote one after the other before it wrote zips.
LEGACY_PICKLES = 5
#: Under which what is not tensors is handed on.
SAID = "said"

#: How numpy writes the kinds of its numbers, and how Python reads them.
NUMBERS = {
    "f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I",
    "u8": "Q", "b1": "?",
}  # fmt: skip


class _NumberKind:
    """What a pickle of numpy's `dtype` becomes: its name and the order of its bytes.

    numpy's own would let a pickle say how its memory is to be taken.
    """

    def __init__(self, code: object = "", *_: object) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: object) -> None:
        self.order = ">" if isinstance(state, tuple) and state[1:2] == (">",) else "<"


def _number(kind: object, data: object = None) -> object:
    """What a pickle of a numpy scalar becomes: a number of Python's, or None where it is none."""
    if not isinstance(kind, _NumberKind) or not isinstance(data, bytes) or not isinstance(kind.code, str):
        return None
    layout = kind.order + NUMBERS.get(kind.code, "x")
    return struct.unpack(layout, data)[0] if kind.code in NUMBERS and len(data) == struct.calcsize(layout) else None


# Training scripts save their options and what they measured beside the tensors. Of all that torch does not read by
# itself these names alone are, and numpy's by functions of ours. For good and not by `safe_globals`: when that ends in
# one thread, it would end for another that is still reading.
torch.serialization.add_safe_globals(
    [
        (argparse.Namespace, "argparse.Namespace"),  # by itself it would go when timm takes away its own
        (_NumberKind, "numpy.dtype"),
        (_number, "numpy.core.multiarray.scalar"),
        (_number, "numpy._core.multiarray.scalar"),
    ]
)


def read_apart(path: Path, name: str, kind: Kind | None = None, more: Sequence[Path] = ()) -> Contents:
    """The weights in a pickled file, read by another process.

    Args:
        path: of the file.
        name: of the checkpoint, for refusals.
        kind: which of the weights, where there are several: by default the average.
        more: the other files of a checkpoint that is divided into several.

    Raises:
        Refusal: as `read_weights` does, or if reading takes more memory or time than such a file needs.
    """
    with TemporaryDirectory(prefix="resnet-") as folder:
        out = Path(folder) / "model.safetensors"
        command = [sys.executable, "-m", "weights.unpickle", str(path.absolute()), name, str(out), kind or ""]
        command += [str(one.absolute()) for one in more]
        quiet = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=quiet, capture_output=True, text=True, timeout=PATIENCE_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise _too_much(path, name) from None
        if done.returncode == 0:
            with safe_open(out, "pt") as file:
                said = json.loads(file.metadata()[SAID])
            return contents.from_json(load_file(out), said)
        try:
            code, sentence, facts = json.loads(done.stdout)
        except ValueError:  # it was ended, or ran out of memory where nothing could be said
            raise _too_much(path, name) from None
        raise Refusal(code, sentence, **facts)


def makes_room(path: Path) -> bool:
    """Whether a pickle names something that torch would let it call with a size, and so fill the memory."""
    try:
        return any(ROOMY.search(name) for name in _globals(path))
    except Exception:  # what is no pickle, torch refuses
        return False


def _globals(path: Path) -> Iterator[str]:
    """What a file's pickles name to be called, as ``"module name"``; reading their instructions runs none of them."""
    if is_zip(path):
        with zipfile.ZipFile(path) as archive:
            pickles = [archive.read(entry) for entry in archive.namelist() if entry.endswith("data.pkl")]
        yield from (str(value) for one in pickles for code, value, _ in genops(one) if code.name == "GLOBAL")
        return
    with path.open("rb") as file:
        for _ in range(LEGACY_PICKLES):
            yield from (str(value) for code, value, _ in genops(file) if code.name == "GLOBAL")


def check_storage(path: Path, name: str) -> None:
    """That a zipped file unpacks to no more than it is; torch never packs what it saves.

    Raises:
        Refusal: if some of it is packed.
    """
    if not is_zip(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # torch says what is wrong with it
    if unpacked > path.stat().st_size:
        raise _too_much(path, name)


def _too_much(path: Path, name: str) -> Refusal:
    return Refusal(
        "weights.unpickle", "{file} of {name} takes more memory or time to read than a file of {size:.1f} MB needs, so "
        "it is not opened; ask for a safetensors file.",
        file=path.name, name=name, size=path.stat().st_size / 1e6,
    )  # fmt: skip


def _limit(size: int) -> None:
    """Bound this process's memory and computing time, where the system can."""
    try:
        import resource
    except ImportError:  # Windows: the caller's patience alone
        return
    taken = Path("/proc/self/statm")
    if taken.exists():
        most = int(taken.read_text().split()[0]) * resource.getpagesize() + 3 * size + ROOM_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + CPU_S
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


def main(argv: list[str]) -> int:
    """Read FILE of NAME, with more FILES, and write OUT: of the weights those of KIND. A refusal goes to stdout."""
    from weights.checkpoint import read_weights

    path, name, out = Path(argv[0]), argv[1], Path(argv[2])
    kind, more = cast("Kind | None", "".join(argv[3:4]) or None), [Path(one) for one in argv[4:]]
    torch.set_num_threads(1)
    _limit(sum(one.stat().st_size for one in (path, *more)))
    try:
        found = read_weights(path, name, kind=kind, more=more)
        check_views(found.state, name)
    except Refusal as refusal:
        sys.stdout.write(json.dumps(refusal.__reduce__()[1]))
        return 2
    said = {SAID: json.dumps(contents.to_json(found))}
    save_file({key: value.contiguous() for key, value in found.state.items()}, out, said)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
