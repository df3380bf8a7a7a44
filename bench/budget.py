"""How well a training keeps its time budget, in earnest.

    python -m bench.budget DATA.zip [--base flowers] [--method all] [--minutes 0.5 1 2]

For each budget the share of it that was used, from the first photo that is read to the model that is written.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from train.events import Step
from train.ingest import ingest
from train.job import Job
from train.recipe import choose
from train.run import run
from train.split import split
from weights.load import load


def main() -> None:
    """Print a line for each budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a zip with a folder for each class")
    parser.add_argument("--base", default="flowers")
    parser.add_argument("--method", default="all")
    parser.add_argument("--minutes", type=float, nargs="+", default=[0.5, 1, 2])
    args = parser.parse_args()
    base = load(args.base, local=True)
    for minutes in args.minutes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            dataset = ingest(Path(args.data), folder / "data")
            parts = split(dataset, 0.2)
            recipe = choose(args.method, len(parts.train), minutes=minutes, patience=10_000)
            job = Job(dataset, parts, base, recipe, folder / "out", None, torch.device("cpu"), "bench.budget")
            began = time.perf_counter()
            steps = sum(isinstance(event, Step) for event in run(job))
            taken = time.perf_counter() - began
            print(f"{minutes:g} min: {taken:.1f} s taken, {100 * taken / (60 * minutes):.0f} %, {steps} steps told")


if __name__ == "__main__":
    main()
