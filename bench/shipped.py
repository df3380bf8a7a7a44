"""The shipped flowers checkpoint measured anew, beside what its card says.

    python -m bench.shipped FLOWERS.zip [--others PATH...]

FLOWERS.zip is the set that it was trained on; accuracy, calibration and the share of flowers that are flagged as none
of the classes are of the photos that training kept apart (15 %, drawn by seed 0). `--others` are photos that show none
of the five: how many of them are flagged. The exit code is 1 where a figure is another than the card's; a photo or two
on an edge may fall otherwise on another CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys

from train.__main__ import main as train
from weights.catalog import SHIPPED
from weights.load import load


def main() -> int:
    """Print what was found and what was told, a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flowers", help="a zip or a folder with a folder for each of the five classes")
    parser.add_argument("--others", nargs="+", default=[], metavar="PATH", help="photos that show none of them")
    args = parser.parse_args()

    told = json.loads((SHIPPED / "metrics.json").read_text())
    words = ["evaluate", args.flowers, "--part", "val", "--val", "0.15", "--json"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = train([*words, *(["--others", *args.others] if args.others else [])])
    if code:
        return code
    found = json.loads(printed.getvalue())
    ece, flagged = found["stored_temperature"]["ece"], found["none_of_these"]["flagged"]["value"]
    rows = [
        ("photos", found["photos"], told["photos"], found["photos"] == told["photos"]),
        ("named rightly", found["accuracy"]["right"], told["accuracy"]["right"],
         abs(found["accuracy"]["right"] - told["accuracy"]["right"]) <= 2),
        ("accuracy", f"{found['accuracy']['value']:.4f}", ">= 0.94", found["accuracy"]["value"] >= 0.94),
        ("calibration error", f"{ece:.4f}", "< 0.035", ece < 0.035),
        ("flowers flagged", f"{flagged:.4f}", "<= 0.05", flagged <= 0.05),
        ("temperature", f"{load('flowers').temperature:.4f}", f"{told['calibration']['temperature']:.4f}",
         load("flowers").temperature == told["calibration"]["temperature"]),
    ]  # fmt: skip
    print(f"{'':20}{'found':>10}{'told':>10}")
    for name, value, expected, same in rows:
        print(f"{name:20}{value!s:>10}{expected!s:>10}{'' if same else '   differs'}")
    for path, share in found["others"].items():
        print(f"flagged of {path}: {100 * share['value']:.1f} % of {share['total']}")
    return 0 if all(same for *_, same in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
