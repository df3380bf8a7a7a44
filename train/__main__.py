"""``python -m train DATA`` trains; ``split``, ``evaluate`` and ``export`` are what comes before and after."""

from __future__ import annotations

import argparse
import sys

from resnet.terminal import run_command
from train import evaluate, export, splitting, training

COMMANDS = {
    "split": (splitting, "Write a dataset as folders train/class and val/class."),
    "evaluate": (evaluate, "Measure a model on photos whose classes are known."),
    "export": (export, "Write a model for other runtimes."),
}
ALSO = "Also: python -m train split DATA --out DIR, evaluate DATA --model NAME, and export DIR --onnx."


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit code is 2 where nothing could be done."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in COMMANDS:
        command = words.pop(0)
        module, description = COMMANDS[command]
        parser = argparse.ArgumentParser(prog=f"python -m train {command}", description=description)
    else:  # what is no command is data: training is what one comes here for
        module, description = training, "From a pile of images to a checkpoint."
        parser = argparse.ArgumentParser(prog="python -m train", description=description, epilog=ALSO)
    module.add_arguments(parser)
    parser.set_defaults(run=module.run)
    return run_command(parser.parse_args(words))


if __name__ == "__main__":
    sys.exit(main())
