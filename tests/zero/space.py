"""A process that is a Space on ZeroGPU in everything but the GPU: `spaces` is the real one, and what it asks is answered by
`tests.zero.device_api`. Started by the tests with the environment of such a Space; talks JSON, one line each way.

    python -m tests.zero.space run FOLDER SETTINGS    trains, as a job does
    python -m tests.zero.space name PHOTO             names a photo
    python -m tests.zero.space page PORT              the whole page
"""

from __future__ import annotations

import sys

import ui.zero  # first, as in app.py

import spaces.zero.torch  # isort: skip
import spaces.zero.wrappers  # isort: skip

import json
import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from gradio.context import LocalContext
from starlette.datastructures import Headers
from torch import Tensor

from tests.zero.device_api import visitor_token
from train.loan import Terms

MAIN = os.getpid()


def no_gpu() -> None:
    """The two things that need the GPU itself: a worker is given one, and tensors are moved to it."""
    spaces.zero.torch.init = lambda _: None
    spaces.zero.torch.move = lambda callback=None: None


def forbid_backward() -> None:
    """Going backward in the process that lends would break the GPUs of all that are forked from it."""

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            assert os.getpid() != MAIN, "a backward pass outside of a loan"
            return function(*args, **more)

        return call

    torch.autograd.backward = watched(torch.autograd.backward)
    torch.autograd.grad = watched(torch.autograd.grad)


class Brief(Terms):
    """Loans in which there is time for so many steps alone."""

    def over(self, loan_s: float, spent_s: float, next_s: float) -> bool:
        return True


def sums(state: Mapping[str, Tensor]) -> int:
    return zlib.crc32(str({key: zlib.crc32(value.numpy().tobytes()) for key, value in state.items()}).encode())


def visitor(name: str) -> ui.zero.Borrower:
    """Whoever's request is being answered now."""
    LocalContext.request.set(SimpleNamespace(headers=Headers({"x-ip-token": visitor_token(name)})))
    borrower = ui.zero.Borrower()
    borrower.seen()
    LocalContext.request.set(None)
    return borrower


def say(**facts: Any) -> None:
    print("said", json.dumps(facts), flush=True)


def train(folder: Path, settings: dict[str, Any]) -> None:
    """A run on drawn shapes; told are its events by kind, and its weights."""
    from train.events import Fitted, Interrupted, Lent, Step
    from train.run import run
    from ui.loans import lender

    job = small_job(folder, lender=lender(visitor("anna"), Brief()), **settings)
    steps = loans = 0
    for event in run(job):
        if isinstance(event, Lent):
            loans += 1
            say(loan=loans, device=event.device)
        elif isinstance(event, Step):
            steps += 1
        elif isinstance(event, Interrupted):
            say(interrupted=event.refusal.code, why=str(event.refusal))
        elif isinstance(event, Fitted):
            say(fitted=event.why, sums=sums(event.state_dict), steps=steps, loans=loans)


def small_job(folder: Path, lender: Any = None, **settings: Any) -> Any:
    """Twelve drawn shapes and a network of four blocks; the same in every process."""
    from resnet.config import ResNetConfig
    from resnet.network import ResNet
    from resnet.preprocess import Preprocess
    from train.drawn import draw
    from train.ingest import ingest
    from train.job import Job
    from train.recipe import choose
    from train.split import split
    from weights.checkpoint import Checkpoint, Source

    if not (folder / "shapes").is_dir():
        draw(folder / "shapes", per_class=6)
    dataset = ingest(folder / "shapes")
    parts = split(dataset, 0.3)
    torch.manual_seed(7)
    config = ResNetConfig("basic", (1, 1, 1, 1), include_top=False)
    base = Checkpoint(config, ResNet(config).state_dict(), Preprocess(size=64), (), source=Source("tiny"))
    recipe = choose("all", len(parts.train), **({"epochs": 2, "batch_size": 8, "image_size": 64} | settings))
    return Job(
        dataset, parts, base, recipe, folder / "model", folder / "state", torch.device("cpu"), "shapes", lender=lender
    )


def name(photo: Path) -> None:
    """Names a photo with the model that comes with the project, twice, then a few at once."""
    from ui.models import Models

    classifier = Models().get("flowers").classifier
    for photos in ([photo], [photo], [photo] * 3):
        LocalContext.request.set(SimpleNamespace(headers=Headers({"x-ip-token": visitor_token("bert")})))
        rows = classifier.predict(photos, top_k=5)
        LocalContext.request.set(None)
        for row in rows:
            say(row=[[one.label, one.probability] for one in row.predictions], lent=type(classifier).__name__)


def page(port: int) -> None:
    """The page as `app.py` starts it, with loans of a step or two."""
    import app
    from ui import run_part

    lends = run_part.lender
    run_part.lender = lambda borrower: lends(borrower, Brief())
    sys.exit(app.main(["--port", str(port)]))


if __name__ == "__main__":
    assert ui.zero.on_zero_gpu()
    no_gpu()
    forbid_backward()
    what, *words = sys.argv[1:]
    if what == "run":
        train(Path(words[0]), json.loads(words[1]))
    elif what == "name":
        name(Path(words[0]))
    else:
        page(int(words[0]))
