"""Seconds from a zip to the first model, and images a second of `--method all` beside a plain torchvision loop.

    python -m bench.train DATA.zip [--base flowers] [--epochs 2] [--rounds 2]

Both train the same ResNet from the same weights on the same photos at 224 pixels with batches of 16 in fp32:

- `ours`: `train.run`: photos decoded once, crops cut from the cache while the step before is computed, channels-last,
  frozen BatchNorm statistics, an average of the weights, and layers that stop learning one stage after the other
  (`--freeze-out 1` to measure without).
- `loop`: torchvision's network, ImageFolder, RandomResizedCrop, flip, ColorJitter, a DataLoader with 2 workers, AdamW.

Each round has a seed of its own. Accuracies are on the photos kept apart; the loop's after its last epoch. Images a
second don't count judging.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import models, transforms
from torchvision.datasets import ImageFolder

from train.dataset import Dataset
from train.events import Baseline, Epoch, Finished, Step
from train.ingest import ingest
from train.job import Job
from train.recipe import Recipe, choose
from train.run import run
from train.split import Split, split
from train.writing import write_folders
from weights.checkpoint import Checkpoint
from weights.load import load


def main() -> None:
    """Time both in turn and print medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a zip with a folder for each class")
    parser.add_argument("--base", default="flowers")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--freeze-out", type=float)
    args = parser.parse_args()
    base = load(args.base, local=True)
    rows: dict[str, list[tuple[float, float]]] = {"ours": [], "loop": []}
    first: list[float] = []
    for seed in range(args.rounds):
        with tempfile.TemporaryDirectory() as name:
            folder, began = Path(name), time.perf_counter()
            dataset = ingest(Path(args.data), folder / "data")
            reading = time.perf_counter() - began
            parts = split(dataset, 0.2)
            recipe = choose(
                "all", len(parts.train), epochs=args.epochs, image_size=224, patience=10_000, seed=seed,
                freeze_out=args.freeze_out,
            )  # fmt: skip
            speed, accuracy, baseline = ours(Job(dataset, parts, base, recipe, folder / "out"))
            rows["ours"].append((speed, accuracy))
            first.append(reading + baseline)
            rows["loop"].append(loop(dataset, parts, base, recipe, folder / "split"))
    print(f"{len(parts.train)} photos to learn from, {len(parts.val)} to judge by, {os.cpu_count()} cores")
    print(f"zip to first model: {statistics.median(first):.1f} s")
    speeds = {name: statistics.median(speed for speed, _ in found) for name, found in rows.items()}
    for name, found in rows.items():
        each = ", ".join(f"{100 * accuracy:.1f}" for _, accuracy in found)
        print(f"{name:5} {speeds[name]:7.1f} images/s   accuracy {each} %")
    print(f"ours is {speeds['ours'] / speeds['loop']:.2f} times as fast")


def ours(job: Job) -> tuple[float, float, float]:
    """Images a second, accuracy, seconds from the first photo to the baseline."""
    stamps: list[float] = []
    took: list[tuple[int, float]] = []
    baseline, accuracy = 0.0, 0.0
    for event in run(job):
        if isinstance(event, Baseline):
            baseline = event.seconds
        elif isinstance(event, Step):
            stamps.append(time.perf_counter())
        elif isinstance(event, Epoch):
            took.append((len(stamps) - 1, stamps[-1] - stamps[0]))
            stamps.clear()
            accuracy = event.val_accuracy
        elif isinstance(event, Finished):
            accuracy = event.report.accuracy.value or 0.0
    return pace(job.recipe, took), accuracy, baseline


def pace(recipe: Recipe, took: list[tuple[int, float]]) -> float:
    """Images a second over the whole training: of each epoch its steps but the first, and their seconds."""
    return recipe.batch_size * sum(steps for steps, _ in took) / sum(seconds for _, seconds in took)


def loop(dataset: Dataset, parts: Split, base: Checkpoint, recipe: Recipe, folder: Path) -> tuple[float, float]:
    """Images a second and accuracy of what one would write with torchvision."""
    places = dict.fromkeys(parts.train, "train") | dict.fromkeys(parts.val, "val")
    write_folders(dataset, [places.get(index) for index in range(len(dataset.images))], folder)
    mean, std = base.preprocess.mean, base.preprocess.std
    train = transforms.Compose([
        transforms.RandomResizedCrop(224, (recipe.min_scale, 1.0)), transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(recipe.colour, recipe.colour, recipe.colour), transforms.ToTensor(),
        transforms.Normalize(mean, std),
    ])  # fmt: skip
    judge = transforms.Compose(
        [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize(mean, std)]
    )
    batches = DataLoader(ImageFolder(folder / "train", train), recipe.batch_size, shuffle=True, num_workers=2)
    judged = DataLoader(ImageFolder(folder / "val", judge), 32, num_workers=2)
    torch.manual_seed(recipe.seed)
    network = models.get_model(base.architecture, num_classes=len(dataset.classes))
    body = {key: value for key, value in base.state_dict.items() if not key.startswith("fc.")}
    network.load_state_dict(body, strict=False)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4, weight_decay=recipe.weight_decay)
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    took = []
    for _ in range(recipe.epochs or 1):
        network.train()
        stamps = []
        for images, targets in batches:
            optimizer.zero_grad()
            criterion(network(images), targets).backward()
            optimizer.step()
            stamps.append(time.perf_counter())
        took.append((len(stamps) - 1, stamps[-1] - stamps[0]))
    network.eval()
    right = total = 0
    with torch.inference_mode():
        for images, targets in judged:
            right += int((network(images).argmax(1) == targets).sum())
            total += len(targets)
    return pace(recipe, took), right / total


if __name__ == "__main__":
    main()
