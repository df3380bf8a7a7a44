"""``python -m train DATA`` trains; ``python -m train split DATA --out DIR`` keeps a dataset apart in two."""

from __future__ import annotations

import argparse
import io
import os
import sys

from resnet.errors import Refusal
from train import export, splitting, training


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit code is 2 where nothing could be done."""
    words = list(sys.argv[1:] if argv is None else argv)
    # What is no command is data: training is what one comes here for.
    if words[:1] == ["split"]:
        parser = argparse.ArgumentParser(
            prog="python -m train split", description="Write a dataset as folders train/class and val/class."
        )
        splitting.add_arguments(parser)
        parser.set_defaults(run=splitting.run)
        args = parser.parse_args(words[1:])
    elif words[:1] == ["export"]:
        parser = argparse.ArgumentParser(prog="python -m train export", description="Write a model for other runtimes.")
        export.add_arguments(parser)
        parser.set_defaults(run=export.run)
        args = parser.parse_args(words[1:])
    else:
        parser = argparse.ArgumentParser(
            prog="python -m train", description="From a pile of images to a checkpoint.",
            epilog="Also: python -m train split DATA --out DIR, and python -m train export DIR --onnx.",
        )  # fmt: skip
        training.add_arguments(parser)
        parser.set_defaults(run=training.run)
        args = parser.parse_args(words)
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
