"""A Space on ZeroGPU: the only place that knows `spaces`, which is installed on such a Space and imported first.

There, CUDA exists only inside of decorated calls. Each asks for a GPU for so many seconds, in the name of the visitor
whose request is being answered, and is computed by a forked process.
"""

from __future__ import annotations

try:
    import spaces
    from spaces.config import Config
except ImportError:
    spaces = None

import contextvars
import logging
import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, ParamSpec, TypeVar, cast

from gradio.context import LocalContext
from starlette.datastructures import Headers

from resnet.errors import Refusal
from train.loan import lost

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

#: What ZeroGPU reads in a request: whose quota it is, and whether a browser asks.
HEADERS = ("x-ip-token", "x-gradio-user")


def on_zero_gpu() -> bool:
    """Whether this is a Space on ZeroGPU."""
    return spaces is not None and bool(Config.zero_gpu)


def gpu(seconds: Callable[..., int]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: on ZeroGPU the function, or the generator, runs where a GPU is; elsewhere it stays what it is.

    What is given to it and what comes back is pickled, and should hold no tensors: they would travel through shared
    memory, of which a container has little.

    Args:
        seconds: the arguments of a call -> for how long it needs the GPU at most.
    """

    def decorate(task: Callable[P, R]) -> Callable[P, R]:
        return cast(Callable[P, R], spaces.GPU(duration=seconds)(task)) if on_zero_gpu() else task

    return decorate


class Borrower:
    """In whose name GPUs are lent to work that outlives its event: the visitor's, as last seen.

    Of their requests no more is remembered than ZeroGPU reads, in memory alone, and the next one replaces it, as these
    tokens are good for a short while.
    """

    def __init__(self) -> None:
        self._request: SimpleNamespace | None = None
        self._page: Any = None

    def seen(self) -> None:
        """Remember the request that is being answered now, if any."""
        request = LocalContext.request.get(None)
        if on_zero_gpu() and request is not None:
            kept = {name: value for name in HEADERS if (value := request.headers.get(name)) is not None}
            self._request, self._page = SimpleNamespace(headers=Headers(kept)), LocalContext.blocks.get(None)

    def iterate(self, generator: Iterator[Any]) -> Iterator[Any]:
        """What a decorated generator yields, asked for in the visitor's name.

        Raises:
            Refusal: if no GPU is lent, or it was taken back.
        """
        context = contextvars.Context()
        context.run(LocalContext.request.set, cast(Any, self._request))
        context.run(LocalContext.blocks.set, self._page)  # a fork closes the page's connections by it
        nothing = object()
        while True:
            try:
                value = context.run(next, generator, nothing)
            except Exception as error:
                raise refusal_of(error) from error
            if value is nothing:
                return
            yield value


def refusal_of(error: Exception) -> Refusal:
    """What `spaces` raises where no GPU is lent, or one was taken back, in a sentence."""
    title, said = getattr(error, "title", ""), str(getattr(error, "message", error))
    if "No GPU was available" in said:
        return Refusal("loan.busy", "No GPU was free; go on in a while.")
    if title in ("ZeroGPU quota exceeded", "ZeroGPU pending credits exceeded"):
        if wait := re.search(r"Try again in ((?:\d+ days?, )?\d+:\d+:\d+)", said):
            return Refusal(
                "loan.quota_wait", "Your GPU quota is used up; go on in {wait} (hours:minutes:seconds).",
                wait=wait.group(1),
            )  # fmt: skip
        return Refusal("loan.quota", "The GPU quota is used up; go on later.")
    if title == "ZeroGPU illegal duration":
        return Refusal(
            "loan.long", "The GPU is not lent to you for as long as this takes; choose smaller images or a smaller "
            "network.",
        )  # fmt: skip
    if title == "ZeroGPU worker error" and "aborted" in said:
        return lost()
    if "Expired" in said:
        return Refusal(
            "loan.expired", "The page was closed for too long for a GPU to be lent in your name; now that it is open, "
            "go on.",
        )  # fmt: skip
    log.error("a GPU could not be had: %s %s", title, said, exc_info=error)
    return Refusal("loan.failed", "The GPU failed, or could not be had; go on later.")
