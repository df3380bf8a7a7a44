"""What the doors to the terminal have in common."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from typing import TextIO

import torch

from resnet.errors import Refusal
from resnet.naming import escaped


def run_command(args: argparse.Namespace) -> int:
    """Call ``args.run(args)``; gives its exit code, or 2 after a refusal, which is printed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name need not be text, nor its text in the terminal's code
            stream.reconfigure(errors="backslashreplace")
    try:
        return int(args.run(args))
    except Refusal as refusal:
        say(refusal, file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` has seen enough; what is still in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def add_weights_option(parser: argparse.ArgumentParser) -> None:
    """``--weights``: which of those that a training's checkpoint holds."""
    parser.add_argument(
        "--weights", choices=("raw", "ema"),
        help="of a checkpoint that holds both: as the last step left them, or their average (default: the average)",
    )  # fmt: skip


def say(*texts: object, file: TextIO | None = None) -> None:
    """Print texts, each on lines of its own; whatever a stranger wrote in them stays text."""
    for text in texts:
        print(shown(str(text)), file=file, flush=True)


def shown(lines: str) -> str:
    """Lines in which nothing commands a terminal."""
    return "\n".join(map(escaped, lines.split("\n")))


def as_json(data: object) -> str:
    """One line of JSON that says the same and commands no terminal."""
    text = json.dumps(data, ensure_ascii=False)
    # Only inside of texts is anything but ASCII, and there JSON has such numbers for it.
    return (
        text if text.isprintable() else "".join(one if escaped(one) == one else json.dumps(one)[1:-1] for one in text)
    )


def device_of(name: str | None) -> torch.device | None:
    """The device that was typed; None where none was.

    Raises:
        Refusal: if there is no such device here.
    """
    try:
        return torch.empty(0, device=name).device if name else None
    except (RuntimeError, AssertionError):  # torch asserts that it was compiled for the device
        raise Refusal(
            "device.none", "There is no device {name} here; leave out --device, or use cpu.", name=repr(name)
        ) from None
