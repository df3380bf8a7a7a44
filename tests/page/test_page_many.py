"""Many photos and zips on the page: a row each in the order given, a table that sorts, a CSV that harms nobody."""

from __future__ import annotations

import csv
import io
import re
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from resnet.classifier import Classification, Classifier
from tests.page.conftest import Named, Site, bars, choose_model, choose_photo
from tests.waiting import PATIENCE_S
from ui.models import Models
from weights.hub import Hub

pytestmark = pytest.mark.page
Visit = Callable[..., Page]


def upload(page: Page, paths: list[Path]) -> None:
    page.get_by_role("tab", name=re.compile("Many photos|多张照片")).click()
    page.set_input_files("#files input[type=file]", paths)
    for path in paths:
        page.wait_for_selector(f"#files .file-preview:has-text('{path.stem[:8]}')")
    page.click("#start")


def column(page: Page, number: int) -> list[str]:
    return page.locator(f"#table tbody td:nth-child({number})").all_inner_texts()


def download(page: Page) -> list[dict[str, str]]:
    with page.expect_download() as waiting:
        page.click("#csv")
    assert waiting.value.suggested_filename == "predictions.csv"
    return list(csv.DictReader(io.StringIO(Path(waiting.value.path()).read_text(encoding="utf-8-sig"))))


def without_path(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if key != "path"} for row in rows]


def test_files_get_a_row_each_in_their_order_and_the_terminal_s_csv(visit: Visit, named: list[Named]) -> None:
    chosen = named[::5]
    page = visit()
    upload(page, [one.path for one in chosen])
    expect(page.locator("#table tbody tr")).to_have_count(len(chosen))
    assert column(page, 2) == [one.path.name for one in chosen]
    for number, one in enumerate(chosen):
        first, second = one.predictions[:2]
        assert column(page, 3)[number] == first["label"]
        assert column(page, 4)[number] == f"{100 * first['probability']:.1f} %"
        assert column(page, 5)[number] == f"{second['label']} {100 * second['probability']:.1f} %"
        note = {"none": "May be none of the classes", "close": "First two are close", "clear": ""}[one.verdict]
        assert column(page, 6)[number] == note
    alts = page.locator("#table tbody img").evaluate_all("all => all.map((one) => [one.alt, one.naturalWidth])")
    assert alts == [[one.path.name, 56] for one in chosen]
    assert re.search(rf"Photos: {len(chosen)}, in [\d.]+ s on the CPU", page.inner_text("#summary"))
    rows = download(page)
    assert [row["path"] for row in rows] == [one.path.name for one in chosen]
    assert without_path(rows) == without_path([one.row for one in chosen])  # to the last digit


def test_the_table_sorts_by_each_column(visit: Visit, named: list[Named]) -> None:
    page = visit()
    upload(page, [one.path for one in named[::7]])
    expect(page.locator("#table tbody tr")).to_have_count(len(named[::7]))
    headings = page.locator("#table th button")
    probabilities = sorted(one.predictions[0]["probability"] for one in named[::7])
    shown = [f"{100 * one:.1f} %" for one in probabilities]
    headings.nth(2).click()
    assert column(page, 4) == shown
    expect(page.locator("#table th").nth(3)).to_have_attribute("aria-sort", "ascending")
    headings.nth(2).focus()
    page.keyboard.press("Enter")
    assert column(page, 4) == shown[::-1]
    expect(page.locator("#table th").nth(3)).to_have_attribute("aria-sort", "descending")
    headings.nth(1).click()
    labels = column(page, 3)
    assert labels == sorted(labels) and len(set(labels)) > 1
    assert page.locator("#table th[aria-sort]").count() == 1
    headings.nth(0).click()
    files = column(page, 2)
    assert sorted(files) == sorted(one.path.name for one in named[::7])
    assert files[0] == min(
        files, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
    )


def test_a_zip_with_broken_entries(visit: Visit, named: list[Named], tmp_path: Path) -> None:
    photos = named[:3]
    archive = tmp_path / "holiday.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as opened:
        opened.writestr("flowers/first.jpg", photos[0].path.read_bytes())
        opened.writestr("flowers/broken.jpg", photos[1].path.read_bytes()[:500])
        opened.writestr("readme.txt", "not a photo")
        opened.writestr("__MACOSX/flowers/._first.jpg", b"a shadow")
        opened.writestr("=cmd|'calc'!A0/two.jpg", photos[1].path.read_bytes())
        opened.writestr("flipped.jpg", photos[2].path.read_bytes())
        opened.writestr("../../etc/three.jpg", photos[2].path.read_bytes())
    data = bytearray(archive.read_bytes())
    at = data.index(photos[2].path.read_bytes())
    data[at + 1000] ^= 1  # the checksum of the first of the two no longer fits
    archive.write_bytes(data)
    page = visit()
    upload(page, [archive, photos[0].path])
    expect(page.locator("#table tbody tr")).to_have_count(6)
    names = ["flowers/first.jpg", "flowers/broken.jpg", "=cmd|'calc'!A0/two.jpg", "flipped.jpg", "../../etc/three.jpg"]
    assert column(page, 2) == [*names, photos[0].path.name]
    notes = column(page, 6)
    assert "broken.jpg is damaged or cut off" in notes[1]
    assert "can't be unpacked: the archive is damaged there" in notes[3]
    assert "Not readable: 2; the notes say why." in page.inner_text("#summary")
    rows = download(page)
    assert rows[1]["error"] and rows[3]["error"] and not rows[1]["label_1"]
    assert rows[2]["path"] == "'=cmd|'calc'!A0/two.jpg"  # a text, not a formula
    readable = [(0, photos[0]), (2, photos[1]), (4, photos[2]), (5, photos[0])]
    assert without_path([rows[number] for number, _ in readable]) == without_path([one.row for _, one in readable])
    assert not any(cell[:1] in "=+-@" for row in rows for cell in row.values() if cell)


def test_labels_that_look_like_formulas_are_harmless_in_the_csv(visit: Visit, rose: Named) -> None:
    page = visit()
    choose_model(page, "tester/hostile")
    page.wait_for_selector("#facts:has-text('weights from tester/hostile')")
    upload(page, [rose.path])
    expect(page.locator("#table tbody tr")).to_have_count(1)
    row = download(page)[0]
    labels = [row[f"label_{rank}"] for rank in range(1, 6)]
    assert '\'=cmd|"/C calc"!A0' in labels and '<img src=x onerror="alert(1)">' in labels


def test_what_is_no_archive_and_an_archive_without_photos(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "no-archive.zip").write_bytes(b"PK\x03\x04 not really")
    with zipfile.ZipFile(tmp_path / "text-only.zip", "w") as opened:
        opened.writestr("readme.txt", "no photo")
    page = visit()
    upload(page, [tmp_path / "no-archive.zip", tmp_path / "text-only.zip"])
    expect(page.locator("#table tbody tr")).to_have_count(2)
    notes = column(page, 6)
    assert "no-archive.zip is not a zip archive or is cut off" in notes[0]
    assert "text-only.zip holds no images" in notes[1]


def test_without_photos_it_says_what_to_do(visit: Visit) -> None:
    for locale, words in (("en-US", "No photos were chosen"), ("zh-CN", "还没有选择照片")):
        page = visit(locale=locale)
        page.get_by_role("tab", name=re.compile("Many photos|多张照片")).click()
        page.click("#start")
        page.wait_for_selector(f"#summary .refusal:has-text('{words}')")
        expect(page.locator("#table table")).to_have_count(0)


def test_a_long_table_stands_before_nobody_s_photo(
    visit: Visit, serve: Callable[..., Site], named: list[Named], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A table that does not go on until somebody else's photo has been named."""
    gate, predict_iter = threading.Event(), Classifier.predict_iter

    def halting(self: Classifier, images: Iterable[Any], *args: Any, **named: Any) -> Iterator[Classification]:
        for done, row in enumerate(predict_iter(self, images, *args, **named), start=1):
            if done == 9:
                assert gate.wait(PATIENCE_S)
            yield row

    monkeypatch.setattr(Classifier, "predict_iter", halting)
    archive = tmp_path / "many-photos.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for one in named[:40]:
            opened.writestr(one.path.name, one.path.read_bytes())
    url = serve(Models(Hub("http://127.0.0.1:9", tmp_path / "cache", False))).url
    long, quick = visit(url=url), visit(url=url)
    upload(long, [archive])
    long.wait_for_selector("#summary:has-text('8/40')")
    choose_photo(quick, named[0].path)
    assert bars(quick) == named[0].bars
    assert long.locator("#table table").count() == 0  # still at it
    gate.set()
    expect(long.locator("#table tbody tr")).to_have_count(40)
