"""``python -m weights list | fetch NAME | show NAME | publish DIR OWNER/NAME``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Never

from tqdm.auto import tqdm

from resnet.errors import Refusal
from resnet.naming import escaped
from resnet.terminal import add_weights_option, as_json, say
from weights.catalog import entries
from weights.checkpoint import Checkpoint
from weights.hub import Hub, Progress
from weights.load import load
from weights.publish import publish


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 where a checkpoint could not be had."""
    parser = argparse.ArgumentParser(
        prog="python -m weights", description="ResNet checkpoints: what there is, fetched and verified."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the catalogue").add_argument(
        "--json", action="store_true", help="one object a line"
    )
    for name, text in (("fetch", "download a checkpoint and verify it"), ("show", "the facts of a checkpoint")):
        command = commands.add_parser(name, help=text)
        command.add_argument("name", help="a name of the list, owner/name[@revision], a folder or a .pth file")
        command.add_argument("--json", action="store_true", help="the facts as one JSON object")
        add_weights_option(command)
        command.add_argument("--cache-dir", help="where files are kept (default: the Hub client's cache)")
    push = commands.add_parser(
        "publish",
        help="push a saved folder to the Hub",
        description="Push a saved folder, with its card, to a new repository on the Hub: all of it in one commit, or "
        "nothing. The token is the one in HF_TOKEN or of `hf auth login`. A name that is taken is refused.",
    )
    push.add_argument("folder", metavar="DIR", type=Path, help="a folder that `python -m train` has written")
    push.add_argument("name", metavar="OWNER/NAME", help="of the new repository; NAME alone is one of your own account")
    push.add_argument("--public", action="store_true", help="everybody may read it (default: you alone)")
    args = parser.parse_args(argv)
    if args.command == "list":
        _list(args.json)
        return 0
    try:
        if args.command == "publish":
            done = publish(args.folder, args.name, public=args.public)
            say(f"{done.url} ({'private' if done.private else 'public'})", *done.loaders)
            return 0
        with _Bar() as bar:
            checkpoint = load(args.name, hub=Hub(cache_dir=args.cache_dir), progress=bar, kind=args.weights)
    except Refusal as refusal:
        say(refusal, file=sys.stderr)
        return 2
    if checkpoint.source.from_cache:
        say("The Hub can't be reached; this is the version in the cache.", file=sys.stderr)
    if args.json:
        say(as_json(checkpoint.facts()))
    elif args.command == "fetch":
        say(checkpoint.source.path)
    else:
        _show(checkpoint)
    return 0


def _list(objects: bool) -> None:
    if objects:
        for entry in entries():
            say(as_json({**vars(entry), "megabytes": round(entry.megabytes, 1)}))
        return
    group = ""
    for entry in entries():
        if entry.group != group:
            group = entry.group
            say(f"\n{group}")
        top1 = f"{entry.top1:.1f} %" if entry.top1 is not None else "-"
        say(
            f"  {entry.name:26}{entry.parameters / 1e6:6.1f} M {entry.megabytes:6.0f} MB  top-1 {top1:>6}  "
            f"{entry.license:13} {entry.good_for}"
        )
    say("\nTop-1: published accuracy on ImageNet. Any other owner/name[@revision] on the Hub works as well.")


def _show(checkpoint: Checkpoint) -> None:
    facts = checkpoint.facts()
    labels = checkpoint.label_names
    facts["label_names"] = (
        ", ".join(labels[:10]) + (f" … ({len(labels)} in all)" if len(labels) > 10 else "") or "none (a base)"
    )
    facts["parameters"] = f"{checkpoint.config.num_parameters:,}"
    facts["weights_in_file"] = " and ".join(checkpoint.kinds) or None
    facts["ignored"] = ", ".join(checkpoint.ignored) or None
    facts["none_of_these"] = f"{checkpoint.rule.score} below {checkpoint.rule.threshold}"
    for key, value in facts.items():
        if value is not None:
            say(f"{key:15} {value}")


class _Bar:
    """A progress bar on stderr, where that is a terminal."""

    def __enter__(self) -> Progress:
        self.bar: tqdm[Never] = tqdm(unit="B", unit_scale=True, disable=not sys.stderr.isatty(), leave=False)
        return self._update

    def __exit__(self, *exc: object) -> None:
        self.bar.close()

    def _update(self, done: int, total: int, file: str) -> None:
        self.bar.total = total
        self.bar.set_description(escaped(file), refresh=False)
        self.bar.update(done - self.bar.n)


if __name__ == "__main__":
    sys.exit(main())
