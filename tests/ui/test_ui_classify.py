"""What the Classify tab does without a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gradio as gr
import pytest

from ui import many
from ui.classify import _choice, model_choices
from ui.many import shown_as, table
from ui.models import Models
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
