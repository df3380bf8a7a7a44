"""A process that is a Space on ZeroGPU in everything but the GPU: `spaces` is the real one.

What that asks is answered by `tests.zero.device_api`. The tests start it with the environment of such a Space.

    python -m tests.zero.space              reads commands from its input, e.g. {"do": "train", "folder": "/tmp/a"}
    python -m tests.zero.space page PORT    the whole page
"""

from __future__ import annotations

import sys

import ui.zero  # first, as in app.py

import spaces.zero.torch  # isort: skip
import spaces.zero.wrappers  # isort: skip

import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from gradio.context import LocalContext
from starlette.datastructures import Headers

import app
from tests.zero.device_api import visitor_token
from tests.zero.small import small_job, sums
from train.events import Fitted, Interrupted, Started, Step
from train.loan import Terms
from train.run import run
from ui import loans, run_part
from ui.models import Models

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


@dataclass(frozen=True)
class Brief(Terms):
    """Loans in which there is time for one step alone. A worker that finds the file `dies` is killed after its step."""

    dies: Path = Path("/nowhere")

    def over(self, loan_s: float, spent_s: float, next_s: float) -> bool:
        if self.dies.exists():
            self.dies.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return True


def request(name: str) -> Any:
    """Of a visitor, as Gradio gives it to events."""
    return SimpleNamespace(headers=Headers({"x-ip-token": visitor_token(name), "cookie": "secret"}))


def visitor(name: str) -> ui.zero.Borrower:
    """Whose request has just been answered."""
    LocalContext.request.set(request(name))
    borrower = ui.zero.Borrower()
    borrower.seen()
    LocalContext.request.set(None)
    return borrower


def say(**facts: Any) -> None:
    print("said", json.dumps(facts), flush=True)


def train(folder: str, **settings: Any) -> None:
    """A run until its weights are there."""
    lender = loans.lender(visitor("anna"), Brief(dies=Path(folder) / "dies"))
    steps, events = 0, run(small_job(Path(folder), lender=lender, **settings))
    for event in events:
        steps += isinstance(event, Step)
        if isinstance(event, Interrupted):
            say(interrupted=event.refusal.code, why=str(event.refusal))
        elif isinstance(event, Fitted):
            say(fitted=event.why, sums=sums(event.state_dict), steps=steps)
            events.close()  # type: ignore[attr-defined]
            return
        elif isinstance(event, Started) and event.phase == "measure":  # there are no weights yet
            events.close()  # type: ignore[attr-defined]
            return


def name(photos: list[str], model: str) -> None:
    """Names photos for a visitor, all at once."""
    LocalContext.request.set(request("bert"))
    for row in models.get(model).classifier.predict(photos, top_k=3):
        say(row=[[one.label, one.probability] for one in row.predictions])
    LocalContext.request.set(None)
    say(device=models.get(model).classifier.computed_on.type)


def serve() -> None:
    for line in sys.stdin:
        command = json.loads(line)
        try:
            {"train": train, "name": name}[command.pop("do")](**command)
        except Exception as error:
            say(error=repr(error))
        say(end=True)


def page(port: str) -> None:
    """The page as `app.py` starts it, with loans of a step."""
    lends = loans.lender
    run_part.lender = lambda borrower: lends(borrower, Brief())
    sys.exit(app.main(["--port", port]))


if __name__ == "__main__":
    assert ui.zero.on_zero_gpu()
    no_gpu()
    forbid_backward()
    models = Models()
    page(sys.argv[2]) if sys.argv[1:] else serve()
