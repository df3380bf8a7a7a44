"""Folders that end with their process, and what a killed one leaves."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from gradio.context import LocalContext
from gradio.processing_utils import save_file_to_cache

from tests.waiting import PATIENCE_S
from ui.given import upload
from ui.jobs import Jobs
from ui.own_folder import UPLOADS, own_folder, own_folders
from ui.sweeper import KEEP_S, Sweeper
from ui.visits import Visits

ROOT = Path(__file__).resolve().parents[2]
HOLDS = """
import pathlib, sys
from ui.own_folder import own_folder
with own_folder(pathlib.Path(sys.argv[1])) as folder:
    (folder / "photo.jpg").write_bytes(b"x")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_leaves_nothing_for_long(tmp_path: Path) -> None:
    """Its folder goes when the next one starts; that of one that lives stays, and so does what is not ours."""
    holds = [sys.executable, "-c", HOLDS, str(tmp_path)]
    killed, living = (
        subprocess.Popen(holds, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    assert killed.stdout and living.stdout
    dead, alive = (Path(one.stdout.readline().strip()) for one in (killed, living) if one.stdout)
    (other := tmp_path / "of-another-program").mkdir()
    (tmp_path / "resnet-page-link").symlink_to(other)
    (other / "kept").write_bytes(b"x")
    killed.kill()
    killed.wait(PATIENCE_S)
    assert (dead / "photo.jpg").exists()
    with own_folder(tmp_path) as mine:
        assert not dead.exists() and (alive / "photo.jpg").exists() and mine.is_dir()
        assert (other / "kept").exists()
    assert not mine.exists()
    living.communicate("", PATIENCE_S)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["of-another-program", "resnet-page-link"]


@pytest.mark.parametrize("said", [False, True], ids=["nobody", "whoever starts the page"])
def test_all_temporary_files_are_in_it(said: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv(UPLOADS, raising=False)
    if said:
        monkeypatch.setenv(UPLOADS, str(tmp_path / "said"))
    with own_folders() as uploads:
        descriptor, name = tempfile.mkstemp()
        os.close(descriptor)
        assert os.environ[UPLOADS] == str(uploads) and uploads.is_dir()
        assert Path(name).parent != tmp_path and uploads.is_relative_to(tmp_path / "said") == said
    assert [one.name for one in tmp_path.rglob("*")] == (["said"] if said else [])
    assert tempfile.tempdir == str(tmp_path) and os.environ.get(UPLOADS) == (str(tmp_path / "said") if said else None)


def test_what_is_old_is_swept_whoever_has_forgotten_it(tmp_path: Path) -> None:
    """Also what was broken off in the middle of an upload; examples stay."""
    for name in ("hash/photo.jpg", "tmpbroken", "examples/one.jpg", "empty/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    kept = SimpleNamespace(keep_in_cache={str(tmp_path / "examples/one.jpg")})
    page, now = SimpleNamespace(blocks={1: kept, 2: object()}), [time.time()]
    visits = Visits(Jobs(), idle_s=60, clock=lambda: now[0])
    (folder := visits.open(None).new_folder("data")).joinpath("x").write_bytes(b"x")
    sweeper = Sweeper(page, visits, tmp_path, lambda: now[0])
    sweeper.sweep()
    assert len(list(tmp_path.rglob("*.*"))) == 2 and folder.exists()
    now[0] += KEEP_S + 60
    sweeper.sweep()
    assert [one.name for one in tmp_path.rglob("*")] == ["examples", "one.jpg"]
    assert not folder.exists(), "nobody had to come for that"


def test_what_the_page_fetched_itself_is_known_to_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UPLOADS, str(tmp_path))
    page = SimpleNamespace(upload_file_set=set())
    token = LocalContext.blocks.set(page)  # type: ignore[arg-type]
    try:
        path = upload("photo", "data:image/png;base64,aGVsbG8=")
    finally:
        LocalContext.blocks.reset(token)
    assert path.read_bytes() == b"hello" and page.upload_file_set == {str(path)}


def test_with_a_visit_goes_what_was_uploaded_for_it_and_served_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(UPLOADS, str(tmp_path))
    visits = Visits(Jobs())
    one, two = visits.open(None), visits.open(None)
    mine, ours = tmp_path / "mine.zip", tmp_path / "ours.zip"
    for path in (mine, ours):
        path.write_bytes(b"zip")
    one.uploads, two.uploads = (mine, ours), (ours,)
    packed = one.new_folder("zip") / "cleaned.zip"
    packed.write_bytes(b"photos")
    served = Path(save_file_to_cache(packed, str(tmp_path)))
    assert served.exists() and served != packed
    visits.close(one.key)
    assert not mine.exists() and not served.exists() and not packed.exists()
    assert ours.exists(), "somebody else has brought the same bytes"
    visits.close_all()
    assert not ours.exists()
