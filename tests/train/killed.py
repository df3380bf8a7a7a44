"""A small training, and the same as a process of its own, to be killed or divided: it says how far it is."""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

import train.run
from resnet.config import ResNetConfig
from resnet.network import ResNet
from resnet.preprocess import Preprocess
from tests.zero.small import sums
from train import fit, plan, reading
from train.distributed import processes
from train.drawn import draw
from train.events import Fitted, Step
from train.ingest import ingest
from train.job import Job
from train.methods import Method
from train.recipe import choose
from train.run import run
from train.split import split
from weights.checkpoint import Checkpoint, Source

#: Who looks at the time.
CLOCKED = (fit, plan, reading, train.run)


def small_job(data: Path, out: Path, state: Path | None, method: Method = "all", **settings: Any) -> Job:
    """Three epochs on photos that are drawn into a folder; the weights are the same each time."""
    draw(data / "drawn", per_class=6)
    dataset = ingest(data / "drawn")
    torch.manual_seed(7)
    config = ResNetConfig("basic", (1, 1, 1, 1), include_top=False)
    base = Checkpoint(config, ResNet(config).state_dict(), Preprocess(size=64), (), source=Source("tiny"))
    parts = split(dataset, 0.3)
    recipe = choose(method, len(parts.train), **({"epochs": 3, "batch_size": 8} | settings))
    return Job(dataset, parts, base, recipe, out, state, torch.device("cpu"))


def clock(seconds: float) -> Any:
    """Stands in for the module `time`: each look at it takes so long, whatever else the machine does."""
    ticks = itertools.count(1)
    return SimpleNamespace(monotonic=lambda: seconds * next(ticks))


def main(out: Path, state: Path, method: Method = "all", **settings: Any) -> None:
    """Train; of several processes the first speaks, and waits after each step for a line or the end of its input."""
    with processes() as rank, tempfile.TemporaryDirectory() as folder:
        own = clock(0.5 + 0.1 * rank)  # no two machines' are alike
        for module in CLOCKED:
            module.time = own  # type: ignore[attr-defined]
        for event in run(small_job(Path(folder), out, state, method, **settings)):
            if isinstance(event, Step) and rank == 0:
                say("step", event.epoch, event.progress, event.loss)
                sys.stdin.readline()
            if isinstance(event, Fitted):
                say("sums", rank, sums(event.state_dict))


def say(*words: object) -> None:
    """A line in one write: `print` without a buffer makes several, among which another process's words may come."""
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:4], **json.loads(sys.argv[4] if sys.argv[4:] else "{}"))  # type: ignore[arg-type]
