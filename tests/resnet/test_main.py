"""``python -m resnet classify``: what is printed, what is written, and with what the terminal is left."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pty
import select
import subprocess
import sys
import termios
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torchvision
from PIL import Image

from resnet.__main__ import main
from resnet.classifier import Classification, Classifier, Prediction
from resnet.config import VARIANTS
from resnet.errors import Refusal
from resnet.naming import escaped
from resnet.rows import header, to_json, to_table
from tests import local_models
from tests.waiting import PATIENCE_S
from weights.load import load

ROOT = Path(__file__).resolve().parent.parent.parent
FLOWERS = ["daisy", "dandelion", "roses", "sunflowers", "tulips"]
CLASSIFY = [sys.executable, "-m", "resnet", "classify"]
#: Found from any folder; and what is printed waits in a buffer, as it does where nobody asked otherwise.
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory, photo: Callable[..., Image.Image]) -> Path:
    """A folder with photos above and below, a file that is none, and a zip beside it."""
    folder = tmp_path_factory.mktemp("photos") / "album"
    (folder / "below").mkdir(parents=True)
    for index, name in enumerate(["b.jpg", "a.png", "below/c.webp", "z.jpg"]):
        photo(200 + index, 160, index).save(folder / name)
    (folder / "broken.jpg").write_bytes((folder / "b.jpg").read_bytes()[:700])
    (folder / "notes.txt").write_text("no photo")
    with zipfile.ZipFile(folder.parent / "album.zip", "w") as archive:
        for name in ("z.jpg", "a.png", "broken.jpg"):
            archive.write(folder / name, f"in/{name}")
    return folder


@pytest.fixture(scope="module")
def flowers() -> Classifier:
    return load("flowers").classifier("cpu")


def _run(*arguments: object, cwd: Path = ROOT, **settings: Any) -> subprocess.CompletedProcess[str]:
    command = [*CLASSIFY, *map(str, arguments)]
    settings = {"env": ENVIRONMENT, "capture_output": True, "encoding": "utf-8", "timeout": PATIENCE_S} | settings
    return subprocess.run(command, cwd=cwd, **settings)


def _rows(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


# -- as a program ------------------------------------------------------------------------------------------------------


def test_json_lines_of_a_folder_a_zip_and_a_file(album: Path, flowers: Classifier) -> None:
    """From any folder, with relative paths, through real pipes."""
    done = _run("album", "album.zip", "album/b.jpg", "--json", "--top-k", 3, cwd=album.parent)
    rows = _rows(done.stdout)
    assert [row["path"] for row in rows] == [
        *("album/a.png", "album/b.jpg", "album/below/c.webp", "album/broken.jpg", "album/z.jpg"),
        *("album.zip/in/z.jpg", "album.zip/in/a.png", "album.zip/in/broken.jpg", "album/b.jpg"),
    ]
    for row in rows:
        if "broken" in row["path"]:
            assert row.keys() == {"path", "error"}
            assert "broken.jpg" in row["error"] and row["error"].endswith(".")
            continue
        assert row.keys() == {"path", "predictions", "verdict"}
        assert len(row["predictions"]) == 3
        for one in row["predictions"]:
            assert one.keys() == {"label", "probability"} and one["label"] in FLOWERS
        # To the last digit what the page and the library say.
        source = album / row["path"].removeprefix("album.zip/in/").removeprefix("album/")
        (expected,) = flowers.predict([source], top_k=3)
        assert row["predictions"] == to_json(expected)["predictions"]
    assert done.returncode == 1
    assert done.stderr == "2 of 9 could not be classified.\n", "and no progress bar where nobody watches"


def test_a_line_is_printed_as_soon_as_it_is_known(album: Path, tmp_path: Path) -> None:
    """Behind the first photo stands one that does not end until the first line has been read."""
    slow = tmp_path / "slow.jpg"
    os.mkfifo(slow)
    process = subprocess.Popen(
        [*CLASSIFY, str(album / "a.png"), str(slow), "--json", "--batch-size", "1"],
        cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout
    try:
        assert select.select([process.stdout], [], [], PATIENCE_S)[0]
        assert json.loads(process.stdout.readline())["path"] == str(album / "a.png")
        slow.write_bytes(b"no image")
        assert json.loads(process.stdout.readline()).keys() == {"path", "error"}
        assert process.wait(PATIENCE_S) == 1
    finally:
        process.kill()
        process.stdout.close()


def test_a_reader_that_leaves_early_is_no_error(album: Path, tmp_path: Path) -> None:
    """As ``| head -1`` does, also with a table."""
    processes = [
        subprocess.Popen(
            [*CLASSIFY, *[str(album / "a.png")] * 30, "--json", "--batch-size", "1", *more],
            cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for more in ([], ["--csv", str(tmp_path / "table.csv")])
    ]  # fmt: skip
    for process in processes:
        assert process.stdout and process.stderr
        assert json.loads(process.stdout.readline())["path"] == str(album / "a.png")
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE_S) == 0
        process.stderr.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a file's name is always text")
def test_a_name_that_is_no_text_has_its_row(album: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    odd = os.fsdecode(b"\xff\xfe.png")
    for name in ("a.png", odd, "花.png"):
        (folder / name).write_bytes((album / "a.png").read_bytes())
    table = tmp_path / "table.csv"
    done = _run(folder, "--json", "--csv", table)
    assert (done.returncode, done.stderr) == (0, "")
    assert {Path(row["path"]).name for row in _rows(done.stdout)} == {"a.png", odd, "花.png"}
    assert len(list(csv.reader(table.open(encoding="utf-8-sig", newline="")))) == 4
    plain = _run(folder)
    assert (plain.returncode, plain.stderr) == (0, "")
    assert len(plain.stdout.splitlines()) == 3


def test_a_progress_bar_where_somebody_watches(album: Path) -> None:
    """stderr is a terminal, stdout a pipe: the bar is on the one and the rows are on the other."""
    watched, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    try:
        streams = {"capture_output": False, "stdout": subprocess.PIPE, "stderr": terminal}
        done = _run(album / "a.png", album / "b.jpg", "--json", **streams)
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal says that the other side is gone
            while chunk := os.read(watched, 4096):
                shown += chunk
    finally:
        os.close(watched)
    assert b"2/2" in shown and b"photos" in shown
    assert len(_rows(done.stdout)) == 2
    assert done.returncode == 0


# -- in this process ---------------------------------------------------------------------------------------------------


def _main(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["classify", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_lines_for_people(album: Path, capsys: pytest.CaptureFixture[str], flowers: Classifier) -> None:
    code, out, err = _main(capsys, album / "b.jpg", album / "gone.jpg", "--top-k", 2)
    assert code == 1
    first, second = out.splitlines()
    (expected,) = flowers.predict([album / "b.jpg"], top_k=2)
    for one in expected.predictions:
        assert f"{one.label} {one.probability:.1%}" in first
    assert first.startswith(f"{album / 'b.jpg'}: ")
    note = {"none": "may be none", "close": "are close", "clear": ""}[expected.verdict]
    assert note in first
    assert second == f"{album / 'gone.jpg'}: There is no file gone.jpg; check the path."
    assert err == "1 of 2 could not be classified.\n"


@pytest.mark.parametrize("batch_size", [1, 5, 32])
def test_the_batch_size_changes_nothing(
    album: Path, capsys: pytest.CaptureFixture[str], batch_size: int, flowers: Classifier
) -> None:
    paths = [album / "z.jpg", album / "broken.jpg", album, album / "gone.jpg", album / "a.png"]
    code, out, _ = _main(capsys, *paths, "--json", "--batch-size", batch_size)
    inside = ["a.png", "b.jpg", "below/c.webp", "broken.jpg", "z.jpg"]
    names = ["z.jpg", "broken.jpg", *inside, "gone.jpg", "a.png"]
    assert code == 1
    assert _rows(out) == [to_json(row) for path in names for row in flowers.predict([str(album / path)])]


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (5, 5), (10, 5), (1000, 5)])
def test_top_k_is_at_most_all(album: Path, capsys: pytest.CaptureFixture[str], top_k: int, count: int) -> None:
    code, out, _ = _main(capsys, album / "a.png", "--json", "--top-k", top_k)
    assert code == 0
    (row,) = _rows(out)
    assert len(row["predictions"]) == count
    assert {one["label"] for one in row["predictions"]} <= set(FLOWERS)


def test_a_table(album: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, flowers: Classifier) -> None:
    path = tmp_path / "table.csv"
    code, out, _ = _main(capsys, album, album / "gone.jpg", "--csv", path, "--top-k", 2)
    assert code == 1 and len(out.splitlines()) == 6
    assert path.read_bytes().startswith(b"\xef\xbb\xbf"), "by which spreadsheets know UTF-8"
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file))
    columns = ["path", "label_1", "probability_1", "label_2", "probability_2", "verdict", "error"]
    assert all(list(row) == columns for row in table)
    names = ["a.png", "b.jpg", "below/c.webp", "broken.jpg", "z.jpg", "gone.jpg"]
    assert [row["path"] for row in table] == [str(album / name) for name in names]
    for row in table:
        (expected,) = flowers.predict([row["path"]], top_k=2)
        if expected.refusal:
            assert row["error"] == str(expected.refusal)
            assert {row[column] for column in columns[1:-1]} == {""}
        else:
            assert (row["label_1"], row["label_2"]) == tuple(one.label for one in expected.predictions)
            assert float(row["probability_1"]) == expected.predictions[0].probability
            assert (row["verdict"], row["error"]) == (expected.verdict, "")


def test_a_table_has_no_more_columns_than_there_are_classes(
    album: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _main(capsys, album / "a.png", "--csv", tmp_path / "table.csv", "--top-k", 99)
    with (tmp_path / "table.csv").open(encoding="utf-8-sig", newline="") as file:
        columns, row = csv.reader(file)
    assert columns == header(5) and len(row) == len(columns)


def test_a_table_that_can_not_be_written(album: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere" / "table.csv"):
        code, out, err = _main(capsys, album / "a.png", "--csv", path)
        assert (code, out) == (2, "")
        assert str(path) in err and err.count("\n") == 1 and err.endswith(".\n")


def test_only_a_zip_that_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK")
    (tmp_path / "empty").mkdir()
    code, out, err = _main(capsys, tmp_path / "broken.zip", tmp_path / "empty", tmp_path / "gone", "--json")
    assert code == 1
    rows = _rows(out)
    assert [row["path"] for row in rows] == [str(tmp_path / name) for name in ("broken.zip", "empty", "gone")]
    assert all(row.keys() == {"path", "error"} for row in rows)
    assert err == "3 of 3 could not be classified.\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "no such model"], "no such model"),
        (["--device", "abacus"], "abacus"),
        (["--device", "cuda:99"], "cuda:99"),
    ],
    ids=str,
)
def test_where_nothing_can_be_done(
    album: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    code, out, err = _main(capsys, album / "a.png", *arguments)
    assert (code, out) == (2, "")
    assert says in err and err.count("\n") == 1 and err.endswith(".\n")


def test_a_base_names_nothing(tmp_path: Path, album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    local_models.write_base(tmp_path / "base")
    code, out, err = _main(capsys, album / "a.png", "--model", tmp_path / "base")
    assert (code, out) == (2, "")
    assert "no classifier" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        *([], ["classify"], ["classify", "a.jpg", "--top-k", "0"], ["classify", "a.jpg", "--top-k", "many"]),
        *(["classify", "a.jpg", "--batch-size", "0"], ["classify", "a.jpg", "--batch-size", "-1"], ["name"]),
    ],
    ids=str,
)
def test_a_wrong_command_line(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("usage:") and "_positive" not in err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["classify", "--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    for option in ("--model", "--top-k", "--batch-size", "--csv", "--json", "PATH"):
        assert option in out


# -- rows --------------------------------------------------------------------------------------------------------------


def test_a_row_is_as_wide_as_its_header() -> None:
    names = (Prediction("ant", 0.7, 0), Prediction("bee", 0.3, 1))
    refused = Refusal("image.broken", "{name} is damaged.", name="a.jpg")
    for top_k in (1, 2, 4):
        for row in (Classification("a.jpg", names, "close"), Classification("a.jpg", refusal=refused)):
            assert len(to_table(row, row.name, top_k)) == len(header(top_k))
    assert to_table(Classification("a.jpg", names, "close"), "b.jpg", 1) == ["b.jpg", "ant", 0.7, "close", ""]
    assert to_table(Classification("a.jpg", refusal=refused), "a.jpg", 1) == ["a.jpg", "", "", "", "a.jpg is damaged."]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_name_is_no_formula(text: str) -> None:
    """Also of a file, and in a sentence that begins with its name."""
    row = Classification(text, (Prediction(text, 0.5, 0),))
    path, label, probability, *_ = to_table(row, text, 1)
    shown = f"'{escaped(text)}"
    assert (path, label, probability) == (shown, shown, 0.5)
    refused = Refusal("image.broken", "{name} is damaged.", name=text)
    said = to_table(Classification("a.jpg", refusal=refused), "a.jpg", 1)[-1]
    # A tab stands there as its number already, and begins nothing.
    assert said == (f"'{text} is damaged." if text.isprintable() else f"{escaped(text)} is damaged.")


def test_json_is_exactly_what_the_readme_says() -> None:
    names = (Prediction("ant", 0.7, 4), Prediction("bee", 0.3, 1))
    assert to_json(Classification("a.jpg", names, "close")) == {
        "path": "a.jpg",
        "predictions": [{"label": "ant", "probability": 0.7}, {"label": "bee", "probability": 0.3}],
        "verdict": "close",
    }
    refused = Refusal("image.broken", "{name} is damaged.", name="a.jpg")
    assert to_json(Classification("a.jpg", refusal=refused)) == {"path": "a.jpg", "error": "a.jpg is damaged."}


def test_layers_of_every_variant_as_csv_agree_with_torchvision(tmp_path: Path) -> None:
    for name in VARIANTS:
        table = tmp_path / f"{name}.csv"
        assert main(["layers", name, "--depth", "layer", "--csv", str(table)]) == 0
        rows = list(csv.DictReader(table.open(encoding="utf-8-sig")))
        if hasattr(torchvision.models, name):
            meta = torchvision.models.get_model_weights(name).DEFAULT.meta
            assert sum(int(row["parameters"]) for row in rows) == meta["num_params"]
            assert round(sum(int(row["macs"]) for row in rows) / 1e9, 3) == meta["_ops"]


@pytest.mark.parametrize("depth", ["stage", "block", "layer"])
def test_layers_prints_a_line_for_each_part(depth: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", "resnet50", "--depth", depth, "--image-size", "193x257", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sum(line["parameters"] for line in lines) == 25_557_032
    assert main(["layers", "flowers", "--depth", depth]) == 0
    assert "11,179,077" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["nope"], "no model 'nope'"), (["resnet18", "--image-size", "8"], "The image size is 8 pixels")],
)
def test_layers_refuses_in_a_sentence(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("size", ["-5", "1x2x3", "big", "", "2.5"])
def test_layers_names_the_option_that_makes_no_sense(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["layers", "resnet18", f"--image-size={size}"])
    assert "--image-size" in capsys.readouterr().err
