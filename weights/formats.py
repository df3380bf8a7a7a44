"""What a file is that is no checkpoint of ours, by its first bytes or its name: a refusal gives the reason."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from resnet.errors import Refusal
from resnet.zip_names import is_zip

#: So much of a file is looked at; a zip's list of contents besides.
HEAD_BYTES = 512
# Other libraries' files by their first bytes …
MAGIC = {
    "Keras (HDF5)": re.compile(rb"\x89HDF\r\n\x1a\n"),
    "TensorFlow Lite": re.compile(rb".{4}TFL3", re.DOTALL),
    "ONNX": re.compile(rb"\x08[\x01-\x20]\x12[\x01-\x40][ -~]{2}"),  # its version, and by whom it was written
}
# … and by their names.
SUFFIXES = {
    ".h5": "Keras (HDF5)", ".hdf5": "Keras (HDF5)", ".keras": "Keras", ".onnx": "ONNX", ".tflite": "TensorFlow Lite",
    ".pb": "TensorFlow", ".msgpack": "Flax", ".pdparams": "PaddlePaddle", ".npz": "NumPy", ".mlmodel": "Core ML",
}  # fmt: skip
PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype\s+html|html|head|\?xml)", re.IGNORECASE)
POINTER = b"version https://git-lfs.github.com/spec/"


def refuse_other(path: Path, name: str) -> None:
    """That a file is none of those that people take for a checkpoint.

    Args:
        path: of the file.
        name: of what it belongs to, for refusals.

    Raises:
        Refusal: saying what it is and what to do.
        OSError: if it can't be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(POINTER):
        raise Refusal(
            "weights.pointer", "{file} of {name} is a pointer of Git LFS, which stands for the file and is not it; run "
            "`git lfs pull` there, or download the file itself.", file=path.name, name=name,
        )  # fmt: skip
    if PAGE.match(head):
        raise Refusal(
            "weights.page", "{file} of {name} is a web page that was saved in place of the file; download the file "
            "itself.", file=path.name, name=name,
        )  # fmt: skip
    inside = _entries(path)
    if any(entry.endswith("constants.pkl") for entry in inside) and any("/code/" in entry for entry in inside):
        raise Refusal(
            "weights.torchscript", "{file} of {name} is a TorchScript program, which holds code beside its weights and "
            "is not opened; where you trust it, save `torch.jit.load(file).state_dict()` and use that.",
            file=path.name, name=name,
        )  # fmt: skip
    kind = next((kind for kind, magic in MAGIC.items() if magic.match(head)), None)
    kind = kind or ("Keras" if "model.weights.h5" in inside else SUFFIXES.get(path.suffix.lower()))
    if kind:
        raise other(path.name, name, kind)


def other(file: str, name: str, kind: str | None = None) -> Refusal:
    """Of a file of another library."""
    return Refusal(
        "weights.format", "{file} of {name} is a file of {kind}, and PyTorch's and safetensors are read here; choose a "
        "file of these, or train the network anew.",
        file=file, name=name, kind=kind or SUFFIXES[Path(file).suffix.lower()],
    )  # fmt: skip


def of_others(files: set[str]) -> list[str]:
    """Those that are other libraries' by their names."""
    return sorted(file for file in files if Path(file).suffix.lower() in SUFFIXES)


def is_torn(path: Path) -> bool:
    """Whether a zipped file's numbers are others than were written, by the sums that it keeps of them."""
    if not is_zip(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if not entry.CRC:  # torch can be told to save without
                    continue
                with archive.open(entry) as file:
                    while file.read(1 << 20):
                        pass
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError):
        return True
    return False


def _entries(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return []
