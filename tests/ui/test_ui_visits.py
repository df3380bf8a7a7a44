"""A visit: found again by its key alone, over when nobody looks any more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
import torch

from resnet.errors import Refusal
from tests.waiting import PATIENCE_S, until
from train.drawn import draw
from train.edits import Edit
from train.events import Seen
from train.ingest import ingest
from train.writing import write_zip
from ui import finetune
from ui.dataset_view import forget_thumbs, thumb
from ui.jobs import Jobs, Stop
from ui.visits import Run, Visit, Visits


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def visits(now: list[float]) -> Visits:
    def clock() -> float:
        return now[0]

    return Visits(Jobs(keep_s=3600, clock=clock), idle_s=60, clock=clock)


def test_a_visit_is_found_by_its_key_and_nobody_chooses_one(visits: Visits) -> None:
    mine, other = visits.open(None), visits.open("a key of my own")
    assert mine.key != other.key and "a key of my own" not in (mine.key, other.key)
    assert visits.open(mine.key) is mine and visits.find(mine.key) is mine
    for key in (None, "", 0, ["x"], {"key": mine.key}, mine.key[:-1], "../" + mine.key, mine.folder.name):
        assert visits.find(key) is None
    assert mine.folder != other.folder and mine.key not in str(mine.folder), "a path is shown now and then, a key never"


def test_a_visit_ends_when_nobody_looks(visits: Visits, now: list[float]) -> None:
    visit = visits.open(None)
    (visit.new_folder("data") / "photo.jpg").write_bytes(b"x")
    for _ in range(5):
        now[0] += 59
        assert visits.find(visit.key) is visit
    now[0] += 61
    visits.sweep()
    assert visits.find(visit.key) is None and not visit.folder.exists()


def test_a_visit_with_a_job_stays_until_an_hour_after_the_job(visits: Visits, now: list[float]) -> None:
    gate = threading.Event()

    def work(stop: Stop) -> Iterator[str]:
        gate.wait(PATIENCE_S)
        yield "done"

    visit = visits.open(None)
    job = visits.jobs.start(work, visit.new_folder("run"))
    visit.runs = (Run(job, 1, "flowers", "head", None, "mine", 10),)
    now[0] += 10_000
    assert visits.find(visit.key) is visit
    gate.set()
    until(lambda: (view := visits.jobs.look(job)) and view.ended)
    now[0] += 3500
    assert visits.find(visit.key) is visit, "a closed laptop finds its result"
    now[0] += 200
    visits.sweep()
    assert visits.find(visit.key) is None and not visit.folder.exists()


def test_closing_stops_jobs_and_leaves_nothing(visits: Visits) -> None:
    began = threading.Event()

    def work(stop: Stop) -> Iterator[str]:
        began.set()
        until(stop)
        yield "on"

    visit = visits.open(None)
    job = visits.jobs.start(work, visit.new_folder("run"))
    visit.runs = (Run(job, 1, "flowers", "head", None, "mine", 10),)
    assert began.wait(PATIENCE_S)
    visits.close(visit.key)
    until(lambda: visits.jobs.look(job) is None and not visit.folder.exists())
    visits.close(visit.key)
    visits.close(None)


def test_the_dataset_of_a_visit_is_that_with_its_edits(visits: Visits, tmp_path: Path) -> None:
    visit = visits.open(None)
    assert visit.dataset() is None
    draw(tmp_path, per_class=3)
    visit.source = ingest(tmp_path)
    visit.edits = (Edit("star/000.png"),)
    found = visit.dataset()
    assert found and len(found.images) == 11 and len(visit.source.images) == 12
    assert visit.dataset() is found, "computed once"
    visit.edits = ()
    assert visit.dataset() == visit.source


def test_what_a_run_has_seen_tells_what_looks_unlike_the_rest(visits: Visits, tmp_path: Path) -> None:
    visit = visits.open(None)
    draw(tmp_path, per_class=6)
    visit.source = ingest(tmp_path)
    names = [image.name for image in visit.source.images]
    features = torch.ones(len(names), 8) + 0.05 * torch.randn(len(names), 8, generator=torch.Generator().manual_seed(0))
    features[5] = torch.tensor([1.0, -1.0] * 4)
    assert not any("far_in_features" in one.reasons for one in visit.unlike())
    visit.seen_in = Seen(tuple(names[:-1]), features[:-1])  # the last one could not be decoded
    assert [one.name for one in visit.unlike() if "far_in_features" in one.reasons] == [names[5]]
    visit.edits = (Edit(names[5]),)
    assert names[5] not in [one.name for one in visit.unlike()]


def test_no_thumbnail_outlives_its_visit(tmp_path: Path) -> None:
    visits = Visits(Jobs(), forget_folder=forget_thumbs)
    visit = visits.open(None)
    draw(folder := visit.new_folder("data"), per_class=1)
    draw(tmp_path, per_class=1)
    mine, other = folder / "star/000.png", tmp_path / "star/000.png"
    shown = thumb(mine)
    assert thumb(other) == shown
    visits.close(visit.key)
    other.unlink()
    assert thumb(mine) != shown, "grey: the file is gone"
    assert thumb(other) == shown, "kept: its folder is not"


def put(visits: Visits, visit: Visit, count: int = 100) -> Path:
    """A new dataset in a folder of the visit."""
    draw(folder := visit.new_folder("data"), per_class=2)
    (folder / "filler").write_bytes(bytes(count))
    visits.replace(visit, ingest(folder), folder)
    return folder


def test_a_dataset_that_was_replaced_goes_once_no_run_reads_it(visits: Visits) -> None:
    gate = threading.Event()

    def work(stop: Stop) -> Iterator[str]:
        yield "began"
        gate.wait(PATIENCE_S)

    visit = visits.open(None)
    first, second = put(visits, visit), put(visits, visit)
    assert not first.exists() and second.exists()
    job = visits.jobs.start(work)
    visit.runs = (Run(job, 1, "flowers", "head", None, "mine", 8, data=second),)
    third = put(visits, visit)
    visit.runs = (*visit.runs, Run("another", 2, "flowers", "head", None, "mine", 8, data=third))
    visits.sweep()
    assert second.exists(), "a run reads it"
    gate.set()
    until(lambda: (view := visits.jobs.look(job)) and view.ended)
    fourth = put(visits, visit)
    assert not second.exists()
    assert third.exists() and fourth.exists(), "the last run's report shows photos of its own"
    assert visit.folders == (third, fourth)


def test_a_new_upload_takes_the_place_of_the_last_one(visits: Visits, tmp_path: Path) -> None:
    visit = visits.open(None)
    uploads = [tmp_path / name for name in ("a.zip", "b.zip")]
    for upload in uploads:
        upload.write_bytes(b"zip")
        draw(folder := visit.new_folder("data"), per_class=2)
        visits.replace(visit, ingest(folder), folder, upload)
    assert [upload.exists() for upload in uploads] == [False, True]


def test_a_visit_has_a_quarter_of_the_disk_and_all_have_no_more_than_the_whole(tmp_path: Path) -> None:
    visits = Visits(Jobs(), max_bytes=4 * 1024**2)
    all_of_them = [visits.open(None) for _ in range(6)]
    assert visits.room(all_of_them[0]) == 1024**2
    (all_of_them[0].new_folder("data") / "x").write_bytes(bytes(1024**2 - 100))
    assert visits.room(all_of_them[0]) == 100
    (all_of_them[0].new_folder("data") / "x").write_bytes(bytes(100))
    with pytest.raises(Refusal, match="Your data here take 1 MB"):
        visits.room(all_of_them[0])
    for visit in all_of_them[1:5]:
        (visit.new_folder("data") / "x").write_bytes(bytes(1024**2 - 1))
    with pytest.raises(Refusal, match="The data of all visitors take 4 MB"):
        visits.room(all_of_them[5])
    visits.close(all_of_them[0].key)
    assert visits.room(all_of_them[5]) > 0, "it comes back"


def test_packs_don_t_add_up(visits: Visits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    visit = visits.open(None)
    put(visits, visit)
    files = [finetune._pack(visits, visit) for _ in range(3)]
    assert [file.exists() for file in files] == [False, False, True]
    assert len(list(visit.folder.glob("zip-*"))) == 1


def test_a_zip_that_is_more_than_the_room_leaves_what_was_there(tmp_path: Path) -> None:
    visits = Visits(Jobs(), max_bytes=400_000)
    visit = visits.open(None)
    folder = put(visits, visit, 0)
    draw(tmp_path / "more", per_class=60)
    write_zip(ingest(tmp_path / "more"), archive := tmp_path / "more.zip")
    with pytest.raises(Refusal, match="unpacks to more than"):
        finetune._ingest(visits, visit, archive, gr.Progress())
    assert visit.dataset() and folder.exists() and list(visit.folder.iterdir()) == [folder]
