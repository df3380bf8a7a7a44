"""Bad input, through the page and past it: a sentence or a plain refusal each, and the server lives on."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.page.conftest import HOSTILE, ROOT, Named, Site, bars, choose_model, choose_photo

pytestmark = pytest.mark.page
Visit = Callable[..., Page]
#: More than this no photo may cost, whatever the page has trained before.
GROWTH_MEGABYTES = 700


def huge_png(side: int = 30_000) -> bytes:
    """A valid PNG of `side` x `side` pixels in one bit each, about 100 KB, that unpacks to 900 megapixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def bad_photos(rose: Named) -> dict[str, tuple[bytes, str, str]]:
    """File name -> its bytes, and what the page says of it in English and in Chinese."""
    dot = io.BytesIO()
    Image.new("RGB", (1, 1), "red").save(dot, "PNG")
    photo = rose.path.read_bytes()
    return {
        "text.jpg": (b"This is not an image.", "text.jpg is not an image", "text.jpg 不是这里能读取的图像"),
        "empty.png": (b"", "empty.png is not an image", "empty.png 不是这里能读取的图像"),
        "cut.jpg": (photo[: len(photo) // 2], "cut.jpg is damaged or cut off", "cut.jpg 已损坏或不完整"),
        "dot.png": (dot.getvalue(), "dot.png is 1 x 1 pixels", "dot.png 只有 1 x 1 像素"),
        "huge.png": (huge_png(), "huge.png has more than 50 million pixels", "huge.png 超过 50 百万像素"),
    }


def file(path: object) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def harmless(text: str) -> None:
    """An answer gives nothing away."""
    for secret in ("Traceback", "root:", 'File \\"', "site-packages", "Error("):
        assert secret not in text


@pytest.fixture(autouse=True)
def forget_peak(request: pytest.FixtureRequest) -> None:
    """What other tests made of the page's memory is not counted here."""
    request.getfixturevalue("site").forget_peak()


def alive(site: Site, rose: Named) -> None:
    """The server still names a photo, and has not grown."""
    session = site.visit()
    outputs, _ = site.call("show", [file(site.upload(rose.path.read_bytes())), None, 5, None], session)
    assert outputs and rose.predictions[0]["label"] in outputs[0]
    assert site.peak_megabytes() - site.held < GROWTH_MEGABYTES


def test_a_bad_photo_is_a_sentence(
    visit: Visit, site: Site, bad_photos: dict[str, tuple[bytes, str, str]], rose: Named, tmp_path: Path
) -> None:
    page = visit()
    for name, (data, english, chinese) in bad_photos.items():
        (tmp_path / name).write_bytes(data)
        choose_photo(page, tmp_path / name)
        page.wait_for_selector(f"#answer .refusal[role=alert]:has-text('{english}')")
        assert chinese in (page.text_content("#answer .lang-zh") or "")
        assert page.inner_text("#pictures") == ""
        page.click("#photo button[aria-label='Remove Image']")
        page.wait_for_selector("#answer .empty")
    choose_photo(page, rose.path)
    assert bars(page) == rose.bars
    alive(site, rose)


def test_bad_photos_among_many_get_a_row_each(
    visit: Visit, bad_photos: dict[str, tuple[bytes, str, str]], rose: Named, tmp_path: Path
) -> None:
    paths = [rose.path]
    for name, (data, _, _) in bad_photos.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)
    page = visit()
    page.get_by_role("tab", name="Many photos").click()
    page.set_input_files("#files input[type=file]", paths)
    page.wait_for_selector("#files:has-text('huge')")
    page.click("#start")
    expect(page.locator("#table tbody tr")).to_have_count(len(paths))
    notes = page.locator("#table td.note").all_inner_texts()
    assert notes[0] == ""
    for note, (_, english, _) in zip(notes[1:], bad_photos.values(), strict=True):
        assert english in note
    assert "Not readable: 5; the notes say why." in page.inner_text("#summary")


def test_a_path_that_was_not_uploaded_is_not_opened(site: Site, rose: Named, tmp_path: Path) -> None:
    session = site.visit()
    upload = Path(site.upload(rose.path.read_bytes()))
    link, folder = tmp_path / "link.jpg", tmp_path / "folder.jpg"
    link.symlink_to("/etc/passwd")
    folder.mkdir()
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(rose.path.read_bytes())
    for path in (
        "/etc/passwd", str(ROOT / "app.py"), "app.py", "weights/flowers/config.json", str(photo), str(rose.path),
        str(link), str(folder), "/", ".", "", str(upload.parent.parent / "../../log.txt"), "/dev/zero", "/dev/stdin",
        f"{upload.parent}/../../../../../../../../etc/passwd", "file:///etc/passwd", "\x00", "a" * 5000,
    ):  # fmt: skip
        for function, data in (("show", [file(path), None, 5, None]), ("classify_all", [[file(path)], None, 5])):
            outputs, text = site.call(function, data, session)
            harmless(text)
            assert outputs is None, (path, function)
    # A folder inside of the uploads can be named, and is no photo:
    for path in (upload.parent, upload.parent.parent):
        outputs, text = site.call("show", [file(str(path)), None, 5, None], session)
        harmless(text)
        assert outputs is None or "is a folder, not a photo" in outputs[0]
    alive(site, rose)


def test_no_event_takes_anything_but_uploads(site: Site, rose: Named, tmp_path: Path) -> None:
    """Every input of every event, also of those that only the page's own JavaScript calls, marked as a file and not."""
    session = site.visit()
    uploads = Path(site.upload(rose.path.read_bytes())).parent
    folder, link, pipe = (uploads / name for name in ("folder.png", "link.png", "pipe.png"))
    secret = tmp_path / "secret.png"
    Image.new("RGB", (64, 64), "red").save(secret)
    folder.mkdir()
    link.symlink_to(secret)
    os.mkfifo(pipe)
    never = [str(one) for one in (secret, tmp_path / "missing.png", link, pipe, folder, "/dev/ptmx", "/proc/self/mem")]
    fields = {one["id"]: one for one in site.config["components"]}
    taken = set()
    for function in site.config["dependencies"]:
        inputs = [fields[one] for one in function["inputs"]]
        for place, field in enumerate(inputs):
            if field["type"] == "state" or function["api_name"] == "load":
                continue  # a visitor has no say in it, or names a model
            takes_files = field["type"] in ("image", "file", "api", "dataset")
            taken |= {(function["api_name"], place)} if takes_files else set()
            for path in never if takes_files else never[:1]:
                for sent in ({"path": path}, file(path), {"path": path, "url": "/x", "meta": None}):
                    data = [one["props"].get("value") for one in inputs]
                    data[place] = [sent] if field["props"].get("file_count") == "multiple" else sent
                    outputs, text = site.call(function["api_name"], data, session)
                    harmless(text)
                    assert not takes_files or "data:image" not in text, (function["api_name"], path, sent)
                    assert "secret" not in str(outputs), (function["api_name"], path, sent)
    assert {("show", 0), ("show_3", 0), ("classify_all", 0), ("upload", 0), ("classify", 0)} <= taken
    alive(site, rose)


def test_nobody_lists_the_uploads_of_others(site: Site, rose: Named) -> None:
    """`find_photos` walks folders; the folder of all uploads must not be one that a visitor may name."""
    others = Path(site.upload(rose.path.read_bytes(), "holiday.jpg"))
    session = site.visit()
    for path in (others.parent.parent, others.parent):
        outputs, _ = site.call("classify_all", [[file(str(path))], None, 5], session)
        assert "holiday" not in str(outputs)


UNCLEAR = "reload the page and choose again"
NUMBERS = ("x", None, -5, 1e9, 10**30, {}, [], True, "5; drop", 0)


@pytest.mark.parametrize("k", NUMBERS, ids=repr)
def test_a_wrong_number_of_names(site: Site, rose: Named, k: Any) -> None:
    session = site.visit()
    outputs, text = site.call("show", [file(site.upload(rose.path.read_bytes())), None, k, None], session)
    harmless(text)
    assert outputs is None or 1 <= outputs[0].count("data-index") <= 5


@pytest.mark.parametrize(
    "event",
    [{"index": index} for index in ("x", None, -1, 5, 10**30, [], {}, "__class__", 1.5)] + [{}, None, [], "index"],
    ids=repr,
)
def test_a_wrong_bar(site: Site, rose: Named, event: Any) -> None:
    session, answer = site.visit(), site.component("answer")
    outputs, text = site.call(
        "explain", [file(site.upload(rose.path.read_bytes())), None, None], session, event_data=event, trigger=answer
    )
    harmless(text)
    index = event.get("index") if isinstance(event, dict) else None
    assert outputs is not None and (outputs[0] == "" if type(index) is int else UNCLEAR in outputs[0])


ODD: tuple[Any, ...] = (None, [], "x", 5, {}, {"edit": 5}, {"part": None, "network": 0}, {"part": "x", "network": "1"},
    {"part": "x", "network": 7}, {"part": "x", "network": True}, {"edit": "leave", "name": ["x"]},
    {"edit": "move", "name": "x", "label": {"x": 1}}, {"edit": "undo", "name": -1},
)  # fmt: skip


@pytest.mark.parametrize("event", ODD, ids=repr)
def test_events_that_the_page_never_sends_are_refused(site: Site, event: Any) -> None:
    """Of each function that is told something of its event; it is nobody's mistake but the sender's."""
    session = site.visit()
    fields = {one["id"]: one["props"].get("value") for one in site.config["components"]}
    for name, elem_id in (("open_block", "drawing"), ("edit", "dataset"), ("edit_mistake", "mistakes")):
        data = [fields[one] for one in site.function(name)["inputs"]]
        outputs, text = site.call(name, data, session, event_data=event, trigger=site.component(elem_id))
        harmless(text)
        assert outputs is not None, (name, text)
        assert any(UNCLEAR in str(one) for one in outputs), (name, outputs)


@pytest.mark.parametrize(
    "name",
    [5, None, [], {}, True, "", "a" * 100_000, "\x00", "a/b\n", "../../etc/passwd", "x/../y", "%2e/etc", "ö/ü"],
    ids=lambda name: repr(name)[:20],
)  # fmt: skip
def test_a_wrong_model(site: Site, name: Any) -> None:
    outputs, text = site.call("load", [name, 5, None], site.visit())
    harmless(text)
    assert outputs is None or ('role="alert"' in outputs[0] and "wrong here that should not have" not in outputs[0])


@pytest.mark.parametrize(
    "data", [[], [None], "x", None, {}, [1] * 50, [{"path": 5}, None, 5, None], ["x", None, 5, None]], ids=repr
)
def test_wrong_data(site: Site, data: Any) -> None:
    outputs, text = site.call("show", data, site.visit())
    harmless(text)
    assert outputs is None


@pytest.mark.parametrize("index", [99, -1, "x", None, 1e9])
def test_a_wrong_function(site: Site, rose: Named, index: Any) -> None:
    body = {"data": [], "fn_index": index, "session_hash": "abc", "event_data": None, "trigger_id": None}
    for path in ("/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/run/show"):
        status, text = site.post(path, json.dumps(body).encode())
        assert status >= 400
        harmless(text)
    for garbage in (b"", b"{", b"[]", b"\xff" * 100):
        status, text = site.post("/gradio_api/queue/join", garbage)
        assert status >= 400
        harmless(text)
    alive(site, rose)


def test_names_of_strangers_are_text(visit: Visit, rose: Named, tmp_path: Path) -> None:
    """Labels of a hostile checkpoint and names of files are shown as they are; `visit` fails if a script ran."""
    page = visit()
    choose_model(page, "tester/hostile")
    page.wait_for_selector("#facts:has-text('weights from tester/hostile')")
    choose_photo(page, rose.path)
    shown = {line.split("\n")[0] for line in bars(page)}
    assert shown == set(HOSTILE)
    for bar in page.locator("#answer .bars button").all():
        bar.click()
        expect(bar).to_have_attribute("aria-pressed", "true")
        label = bar.locator(".name").inner_text()
        page.wait_for_function(
            "label => document.querySelectorAll('#pictures img')[1]?.alt === 'Grad-CAM: ' + label", arg=label
        )
    page.get_by_role("tab", name="Many photos").click()
    names = ["<img src=x onerror=alert(3)>.jpg", "=cmd|'calc'!A0.jpg", "a&b\"c'd.jpg", "@SUM(1+1).jpg", "花 {0}.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(rose.path.read_bytes())
    (tmp_path / "<script>alert(4)<.jpg").write_bytes(b"no image")
    packed = '"><img src=x onerror=alert(7)>.jpg'  # Gradio tames the names of uploads, not those inside of them
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr(packed, rose.path.read_bytes())
        archive.writestr("<img src=x onerror=alert(8)>.png", b"no image")
    uploads = [*names, "<script>alert(4)<.jpg", "packed.zip"]
    page.set_input_files("#files input[type=file]", [tmp_path / name for name in uploads])
    page.wait_for_selector("#files:has-text('packed')")
    page.click("#start")
    expect(page.locator("#table tbody tr")).to_have_count(8)
    assert page.locator("#table td.file").all_inner_texts()[6] == packed
    assert page.locator("#table img").last.get_attribute("alt") == packed
    assert "<img src=x onerror=alert(8)>.png is not an image" in page.locator("#table td.note").last.inner_text()
    assert page.locator("#table td.file").all_inner_texts()[4].startswith("花")
    choose_model(page, "<img src=x onerror=alert(5)>")
    page.wait_for_selector("#facts .refusal:has-text('<img src=x onerror=alert(5)>')")
    choose_model(page, "tester/<svg onload=alert(6)>")
    page.wait_for_selector("#facts .refusal:has-text('<svg onload=alert(6)>')")
    assert page.locator("img[src=x], #facts svg, #table script, #answer script").count() == 0


def test_a_large_photo_of_a_camera_is_named_in_bounded_memory(site: Site, rose: Named) -> None:
    """48 megapixels, more than once at a time."""
    rng = np.random.default_rng(0)
    tile = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(tile).resize((8000, 6000)).save(buffer, "JPEG", quality=60)
    session = site.visit()
    outputs, _ = site.call("show", [file(site.upload(buffer.getvalue())), None, 5, None], session)
    assert outputs and outputs[0].count("data-index") == 5
    alive(site, rose)
