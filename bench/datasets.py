"""What is said of whole datasets: classes, parts, sizes, what is left out, copies, and what looks unlike the rest.

    python -m bench.datasets DATA.zip... [--base NAME]

With `--base`, a model's name or folder, its features are looked at as well, as on the page once a run has begun.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from train.ingest import ingest
from train.unlike import unlike
from weights.load import load


def main() -> None:
    """Print a few lines for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="zips or folders with a folder for each class")
    parser.add_argument("--base", metavar="NAME")
    args = parser.parse_args()
    classifier = load(args.base, local=True).classifier("cpu") if args.base else None
    for path in args.data:
        with tempfile.TemporaryDirectory() as name:
            began = time.perf_counter()
            dataset = ingest(Path(path), Path(name) / "data")
            found, took = dataset.report, time.perf_counter() - began
            print(f"{path}: {len(dataset.images):,} images in {len(found.classes)} classes, read in {took:.1f} s")
            for one in found.classes:
                print(f"  {one.label}: {one.images} (train {one.train}, val {one.val}, test {one.test})")
            print(f"  short sides {found.short_sides}, long sides {found.long_sides}, {dict(found.formats)}")
            print(f"  copies: {len(found.exact)} groups to the byte, {len(found.near)} to the eye")
            print(f"  left out: {vars(found.left_out)}")
            features = classifier.features([image.path for image in dataset.images]) if classifier else None
            odd = unlike(dataset, features)
            print(f"  unlike the rest: {len(odd)} ({100 * len(odd) / len(dataset.images):.1f} %)")
            for image in odd[:5]:
                print(f"    {image.name}: {', '.join(image.reasons)}")


if __name__ == "__main__":
    main()
