"""``python -m train split DATA --out DIR``: a dataset kept apart in two."""

from __future__ import annotations

import argparse
import io
import os
import sys

from resnet.errors import Refusal
from train import splitting


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit code is 2 where nothing could be done."""
    parser = argparse.ArgumentParser(prog="python -m train", description="From a pile of images to a checkpoint.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("split", help="write a dataset as folders train/class and val/class")
    splitting.add_arguments(command)
    command.set_defaults(run=splitting.run)
    args = parser.parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a class's name need not be text in the terminal's code
            stream.reconfigure(errors="backslashreplace")
    try:
        return int(args.run(args))
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` has seen enough; what is still in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
