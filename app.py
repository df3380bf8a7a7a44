"""Start the page: ``python app.py``, then http://127.0.0.1:7860."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # nothing leaves this machine unasked

import ui.zero  # noqa: F401, I001 (on ZeroGPU, `spaces` is imported before all that knows CUDA)

from resnet.errors import Refusal
from ui.models import Models
from ui.own_folder import ended_by_sigterm, own_folders
from ui.page import build, launch_options, visits_for
from ui.records import kept_folder
from ui.run_part import MAX_MINUTES, go_on
from ui.sweeper import Sweeper
from ui.visits import GB, MAX_DISK_GB
from weights.catalog import FLOWERS
from weights.hub import Hub


def whole(what: str, most: int) -> Callable[[str], int]:
    """A whole number from 1 on, for an option."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of {what} from 1 to {most:,}")
        return int(text)

    return read


def folder(text: str) -> Path:
    """A folder's name, for an option: where a variable is empty, nothing was named."""
    if not text.strip():
        raise argparse.ArgumentTypeError("no folder is named")
    return Path(text)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A page that names what is in a photo with a ResNet.")
    parser.add_argument(
        "--host",
        default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        help="address to listen on (default: this machine alone)",
    )
    parser.add_argument(
        "--port", type=int, default=int(os.environ.get("GRADIO_SERVER_PORT", "7860")), help="default: 7860"
    )
    parser.add_argument("--share", action="store_true", help="also open a public link through Gradio")
    parser.add_argument(
        "--model",
        default=FLOWERS,
        metavar="NAME",
        help="model chosen at first: a name of the list, owner/name[@revision], a folder or a .pth file",
    )
    parser.add_argument("--mcp", action="store_true", help="also offer its jobs as tools of an MCP server")
    parser.add_argument(
        "--max-minutes", type=whole("minutes", 10_000), default=MAX_MINUTES, metavar="M",
        help=f"that a fine-tuning may take at most, whatever its settings say (default: {MAX_MINUTES})",
    )  # fmt: skip
    parser.add_argument(
        "--max-disk", type=whole("GB", 100_000), default=MAX_DISK_GB, metavar="GB",
        help=f"that visitors may have on disk, and models that they name, each (default: {MAX_DISK_GB})",
    )  # fmt: skip
    parser.add_argument(
        "--data", type=folder, metavar="DIR", default=os.environ.get("RESNET_DATA") or None,
        help="keep what visitors have (data sets, runs, models) in DIR, for the page that is started there next; "
        "without it, all of that ends with the page (also: RESNET_DATA in the environment)",
    )  # fmt: skip
    args = parser.parse_args(argv)
    if args.mcp and importlib.util.find_spec("mcp") is None:
        print('--mcp needs a package that is not installed: pip install "gradio[mcp]".', file=sys.stderr)
        return 2
    try:
        keeps = kept_folder(args.data) if args.data else nullcontext(None)
        with ended_by_sigterm(), keeps as kept, own_folders() as uploads:
            return serve(args, uploads, kept)
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before there was a page to close
        return 0
    except OSError as error:
        print(f"There is no place for temporary files ({error}); set TMPDIR to a folder of yours.", file=sys.stderr)
        return 2


def serve(args: argparse.Namespace, uploads: Path, kept: Path | None = None) -> int:
    """Serve the page until it is ended; then all that its visitors had is removed, unless it is kept in a folder."""
    models = Models(Hub(token=False, max_bytes=args.max_disk * GB), trusted=(args.model,))
    try:
        models.get(args.model)  # a model that can't be had is said here, not on the page
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 2
    visits = visits_for(models, args.max_disk, kept)
    page = build(args.model, models, visits, max_minutes=args.max_minutes)
    go_on(visits, models, args.max_minutes)
    Sweeper(page, visits, uploads).start()
    try:
        page.launch(
            server_name=args.host,
            server_port=args.port,
            share=args.share,
            mcp_server=args.mcp or None,
            **launch_options(args.host, args.share),
        )
    except OSError as error:
        print(f"The page can't listen on {args.host}:{args.port} ({error}); try another --port.", file=sys.stderr)
        return 2
    finally:
        visits.close_all()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # all is removed; a download on another thread would hold the process up for minutes
