"""Photos a second: `python -m resnet classify` beside what one would write with torchvision; paired, in one run.

    python -m bench.classify PHOTOS.zip [--rounds 3] [--limit N]

- `ours`: `Classifier.predict_iter` over the zip, as the terminal and the page use it.
- `loop`: torchvision's ResNet-18 and transforms, one photo after the other.
- `loader`: the same network behind a DataLoader of two workers with batches of 32.

All three read the same entries of the same zip with the same weights; the largest difference of a probability is
printed.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms

from resnet.photos import find_photos
from weights.load import load


class Entries(Dataset[Tensor]):
    """Photos of a zip, transformed; each worker opens the zip for itself."""

    def __init__(self, path: str, names: list[str], transform: Callable[[Image.Image], Tensor]) -> None:
        self.path, self.names, self.transform = path, names, transform
        self.file: zipfile.ZipFile | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Tensor:
        self.file = self.file or zipfile.ZipFile(self.path)
        return self.transform(Image.open(io.BytesIO(self.file.read(self.names[index]))).convert("RGB"))


def main() -> None:
    """Time the three in turn and print medians, ratios and the largest difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", help="a zip of photos")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="only so many photos, evenly spread")
    args = parser.parse_args()

    checkpoint = load("flowers")
    classifier = checkpoint.classifier("cpu")
    photos = find_photos([args.photos])
    photos = photos[:: max(1, len(photos) // args.limit)] if args.limit else photos
    prefix = len(str(Path(args.photos))) + 1
    names = [photo.name[prefix:] for photo in photos]

    network = models.resnet18(num_classes=len(checkpoint.label_names))
    network.load_state_dict(dict(checkpoint.state_dict))
    network.eval()
    preprocess = checkpoint.preprocess
    transform = transforms.Compose(
        [
            transforms.Resize(preprocess.resize),
            transforms.CenterCrop(preprocess.size),
            transforms.ToTensor(),
            transforms.Normalize(preprocess.mean, preprocess.std),
        ]
    )

    def probabilities(logits: Tensor) -> Tensor:
        return logits.div(checkpoint.temperature).softmax(1)

    def ours() -> Tensor:
        found = torch.zeros(len(photos), len(checkpoint.label_names))
        for row, result in enumerate(classifier.predict_iter(photos, top_k=len(checkpoint.label_names))):
            for one in result.predictions:
                found[row, one.index] = one.probability
        return found

    @torch.inference_mode()
    def loop() -> Tensor:
        entries = Entries(args.photos, names, transform)
        return torch.cat([probabilities(network(entries[index][None])) for index in range(len(entries))])

    @torch.inference_mode()
    def loader() -> Tensor:
        batches: Any = DataLoader(Entries(args.photos, names, transform), batch_size=32, num_workers=2)
        return torch.cat([probabilities(network(batch)) for batch in batches])

    rivals: dict[str, Callable[[], Tensor]] = {"ours": ours, "loop": loop, "loader": loader}
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    results: dict[str, Tensor] = {}
    for _ in range(args.rounds):
        for name, run in rivals.items():
            started = time.perf_counter()
            results[name] = run()
            seconds[name].append(time.perf_counter() - started)
    print(f"{len(photos)} photos, {args.rounds} rounds, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name, times in seconds.items():
        pairs = [other / mine for other, mine in zip(times, seconds["ours"], strict=True)]
        rate = len(photos) / statistics.median(times)
        difference = (results[name] - results["ours"]).abs().max().item()
        print(
            f"{name:7} {rate:6.1f} photos/s   ours is {statistics.median(pairs):.2f} times as fast "
            f"({min(pairs):.2f} to {max(pairs):.2f})   largest difference of a probability {difference:.1e}"
        )


if __name__ == "__main__":
    main()
