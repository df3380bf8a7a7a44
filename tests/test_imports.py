"""The architecture of the house, read from the imports: app -> ui -> train -> weights -> resnet, never up."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: From the bottom to the top; a module may import from its own floor and those below.
FLOORS = ("resnet", "weights", "train", "ui", "app")
#: What the packages may know of the world outside, and who may know it.
GUESTS = {
    "torch": FLOORS, "torchvision": ("resnet", "weights", "train"), "numpy": FLOORS, "PIL": FLOORS, "tqdm": FLOORS,
    "pi_heif": ("resnet",),
    "safetensors": ("weights", "train"), "huggingface_hub": ("weights", "train", "ui"), "gradio": ("ui", "app"),
    "starlette": ("ui",), "spaces": ("ui",), "httpx": ("ui",), "safehttpx": ("ui",), "gradio_client": ("ui",),
    "sklearn": ("train",), "onnx": ("train",), "onnxruntime": ("train",), "onnxscript": ("train",),
}  # fmt: skip
STANDARD = sys.stdlib_module_names


def sources() -> list[Path]:
    files = [file for floor in FLOORS for file in sorted((ROOT / floor).rglob("*.py"))]
    return [ROOT / "app.py", *files]


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """The top package of everything that is imported anywhere in a module, inside of functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield package if node.level else (node.module or "").split(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            argument = node.args[0] if node.args else None
            yield str(argument.value).split(".")[0] if isinstance(argument, ast.Constant) else "?"


def violations(path: str, source: str) -> list[str]:
    """What is wrong with the imports and with the loading of a module, one line each."""
    floor = path.split("/")[0].removesuffix(".py")
    door = path.endswith("__main__.py")
    tree, found = ast.parse(source), []
    for name in imported(tree, floor):
        if name in FLOORS:
            allowed = name not in ("ui", "app") if door else FLOORS.index(name) <= FLOORS.index(floor)
        else:
            allowed = name in STANDARD - {"shelve", "marshal"} or floor in GUESTS.get(name, ())
        if not allowed:
            found.append(f"{path} imports {name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            safe = {word.arg: ast.unparse(word.value) for word in node.keywords}.get("weights_only") == "True"
            found += [] if safe else [f"{path} unpickles"]
        if re.fullmatch(r"pickle\.(loads?|Unpickler)", ast.unparse(node) if isinstance(node, ast.Attribute) else ""):
            found.append(f"{path} unpickles")
    return found


def test_one_module_knows_zero_gpu() -> None:
    knows = [file for file in sources() if "spaces" in imported(ast.parse(file.read_text(encoding="utf-8")), "")]
    assert [file.name for file in knows] == ["zero.py"]
    first = next(node for node in ast.parse((ROOT / "app.py").read_text(encoding="utf-8")).body if _is_ours(node))
    assert ast.unparse(first) == "import ui.zero", "it comes before all that knows CUDA"


def _is_ours(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom) and next(imported(node, "")) in (*FLOORS, "torch", "gradio")


@pytest.mark.parametrize("file", sources(), ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_down(file: Path) -> None:
    assert violations(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source", "wrong"),
    [
        ("resnet/a.py", "import gradio as gr", True),
        ("resnet/a.py", "from huggingface_hub import HfApi", True),
        ("resnet/a.py", "from weights.load import load", True),
        ("resnet/a.py", "def f():\n    from weights.load import load", True),
        ("resnet/a.py", "import importlib\nimportlib.import_module('weights.load')", True),
        ("resnet/__main__.py", "from weights.load import load", False),
        ("resnet/__main__.py", "from ui.page import build", True),
        ("weights/a.py", "from resnet.network import ResNet", False),
        ("weights/a.py", "import timm", True),
        ("weights/a.py", "import pickle\npickle.loads(b'')", True),
        ("weights/a.py", "import pickle\nisinstance(error, pickle.UnpicklingError)", False),
        ("weights/a.py", "import torch\ntorch.load('x.pth')", True),
        ("weights/a.py", "import torch\ntorch.load('x.pth', weights_only=True)", False),
        ("train/a.py", "from ui.jobs import Job", True),
        ("ui/a.py", "from app import main", True),
        ("ui/a.py", "from .drawing import overlay", False),
        ("app.py", "from ui.page import build", False),
    ],
)
def test_the_reader_sees_what_is_wrong(path: str, source: str, wrong: bool) -> None:
    assert bool(violations(path, source)) == wrong
