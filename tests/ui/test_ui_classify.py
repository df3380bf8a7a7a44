"""What the Classify tab does without a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gradio as gr
import pytest

from resnet.errors import Refusal
from tests.pictures import jpeg, zipped
from ui import many
from ui.answers import progress
from ui.api import sentences
from ui.classify import _choice, model_choices
from ui.jobs import View
from ui.many import shown_as, table
from ui.models import Models
from ui.texts import sentence
from weights.catalog import CATALOG, FLOWERS


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("/tmp/gradio/0123abc/rose.jpg", "rose.jpg"),
        ("/tmp/gradio/0123abc/photos.zip/roses/a.jpg", "roses/a.jpg"),
        ("/tmp/gradio/0123abc/photos.ZIP/a.jpg", "a.jpg"),
        ("/tmp/gradio/0123abc/outer.zip/inner.zip.jpg", "inner.zip.jpg"),
        ("/tmp/gradio/0123abc/photos.zip", "photos.zip"),
        ("rose.jpg", "rose.jpg"),
    ],
)
def test_names_are_shown_without_the_folders_of_the_server(name: str, shown: str) -> None:
    assert shown_as(name) == shown


def test_the_list_holds_the_shipped_model_and_the_catalogue() -> None:
    lines = model_choices(("flowers",))
    assert [value for _, value in lines] == [FLOWERS, *CATALOG]
    for line, value in lines[1:]:
        entry = CATALOG[value]
        for fact in (value, entry.group, f"{entry.parameters / 1e6:.1f} M", "MB", entry.license, f"{entry.top1:.1f} %"):
            assert fact in line


def test_a_path_given_at_the_start_comes_first_in_the_list() -> None:
    assert model_choices(("my/folder",))[0] == ("my/folder", "my/folder")


def test_the_last_choice_wins() -> None:
    choices: list[object] = []
    first = _choice(choices)
    assert first()
    second = _choice(choices)
    assert not first() and second()


def test_no_folder_is_walked_for_a_visitor(make_models: Callable[..., Models], tmp_path: Path) -> None:
    """Gradio's own check goes by the ending of the name; ours does not."""
    folder = tmp_path / "others.zip"
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"")
    ((summary, _, _),) = table(make_models(), [str(folder)], "flowers", 5, gr.Progress())
    assert "others.zip is a folder, not a photo" in summary and "holiday" not in summary


def test_too_many_photos_are_refused_in_a_sentence(
    make_models: Callable[..., Models], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "MAX_PHOTOS", 3)
    paths = [str(tmp_path / f"{number}.jpg") for number in range(4)]
    ((summary, _, _),) = table(make_models(), paths, "flowers", 5, gr.Progress())
    assert "These are 4 photos and the page takes 3" in summary and "python -m resnet classify" in summary


def test_without_photos_or_model_it_says_so(make_models: Callable[..., Models]) -> None:
    ((summary, _, _),) = table(make_models(), [], "flowers", 5, gr.Progress())
    assert "No photos were chosen" in summary
    ((summary, _, _),) = table(make_models(), ["a.jpg"], None, 5, gr.Progress())
    assert "The model is not ready" in summary


def test_no_sentence_says_where_a_file_lies_on_the_server(make_models: Callable[..., Models], tmp_path: Path) -> None:
    """Neither in the table nor in the CSV, of whatever is wrong with a file or an entry of a zip."""
    good, bad, large = jpeg(1), jpeg(2), b"\x89PNG\r\n\x1a\n" + bytes(100)
    album = zipped(tmp_path / "album.zip", {"a/good.jpg": good, "a/bad.jpg": bad, "cut.png": large})
    album.write_bytes(album.read_bytes().replace(bad, bytes(len(bad)), 1))
    (tmp_path / "broken.zip").write_bytes(b"PK")
    paths = [str(album), str(tmp_path / "broken.zip"), str(tmp_path / "gone.jpg")]
    for summary, rows, file in table(make_models(), paths, "flowers", 2, gr.Progress()):
        written = Path(file["value"]).read_text("utf-8-sig")
        assert "album.zip/a/bad.jpg can't be unpacked" in written and "broken.zip is not a zip" in written
        assert len(written.splitlines()) == 6
        for text in (summary, rows["value"], written):
            assert str(tmp_path) not in text and "/tmp" not in text


def test_what_went_wrong_on_the_server_names_no_folder_of_it() -> None:
    refusal = Refusal("disk.write", "{name} can't be written ({reason}).", name="/srv/secret/run-1", reason="full")
    told = progress(View("failed", refusal=refusal), "run:x")["error"]
    with pytest.raises(gr.Error) as raised, sentences("/job"):
        raise refusal
    for text in (sentence(refusal), told, raised.value.message):
        assert text and "run-1" in text and "secret" not in text
