"""Fuzz what reads strangers' bytes: ``python -m tests.fuzz image --seconds 600``; without a name, all in turn.

What ends in anything but an answer or a refusal is kept in `tests/fuzz/corpus/NAME/`, which the suite reads again.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
import traceback
from pathlib import Path

from tests.fuzz.fuzzing import CORPUS, failure
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each (60)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    wrong = 0
    for name in args.names or TARGETS:
        target = TARGETS[name]
        seeds, rng, tried, found = target.seeds(), random.Random(args.seed), 0, set[str]()
        end = time.monotonic() + args.seconds
        while time.monotonic() < end:
            data = mutated(rng, seeds)
            tried += 1
            if (error := failure(target, data)) is not None:
                last = traceback.extract_tb(error.__traceback__)[-1]
                kind = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
                if kind not in found:
                    found.add(kind)
                    folder = CORPUS / name
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / f"{hashlib.sha256(data).hexdigest()[:12]}{target.suffix}").write_bytes(data)
                    print(f"{name}: {kind}: {error}")
        wrong += len(found)
        print(f"{name}: {tried:,} tried in {args.seconds:.0f} s, {len(found)} kinds of failure")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
