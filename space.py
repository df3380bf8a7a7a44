"""Write the folder of a Hugging Face Space: ``python space.py DIR``, or ``make space DIR``.

What a Space needs is the app with its packages and weights, the floors that it installs, the README whose first lines
configure it, and what that README shows or links to. Tests, bench and what develops the project stay here.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PARTS = ("app.py", "resnet", "weights", "train", "ui", "requirements.txt", "README.md", "LICENSE")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit code is 2 where nothing could be written."""
    words = sys.argv[1:] if argv is None else argv
    if len(words) != 1 or words[0].startswith("-"):
        print("Name one folder to write: make space DIR=/tmp/space", file=sys.stderr)
        return 2
    folder = Path(words[0]).expanduser()
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            print(f"{folder} is there and not empty; name another folder, or remove it first.", file=sys.stderr)
            return 2
        names = files()
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    except OSError as error:
        print(f"{folder} can't be written ({error.strerror}); name another folder.", file=sys.stderr)
        return 2
    megabytes = sum((folder / name).stat().st_size for name in names) / 1e6
    print(f"{folder}: {len(names)} files, {megabytes:.0f} MB. Upload it: hf upload OWNER/NAME {folder} --type space")
    return 0


def files() -> list[str]:
    """What belongs into a Space, as paths relative to the repository: only what git knows, so nothing left about."""
    tracked = _tracked(*PARTS)
    return sorted({*tracked, *_tracked(*_shown())})


def _shown() -> list[str]:
    """Files of the repository that the README shows or links to."""
    links = re.findall(r"\]\(([^)\s#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    return [link for link in links if "://" not in link]


def _tracked(*paths: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *paths], cwd=ROOT, capture_output=True, check=True, text=True, encoding="utf-8"
    )
    return [name for name in listed.stdout.split("\0") if name]


if __name__ == "__main__":
    sys.exit(main())
