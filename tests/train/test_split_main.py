"""``python -m train split`` as a person runs it: what it writes, what it prints, what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.pictures import PHOTOS, jpeg, pictures, tree, zipped
from train import writing
from train.__main__ import main
from train.ingest import ingest

ROOT = Path(__file__).resolve().parents[2]
MANY = pictures(*(f"set/{label}/{number}.jpg" for label in ("ants", "bees") for number in range(10)))


def files(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that it says, with exit code 2."""
    assert main(["split", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "Traceback" not in err
    return err.strip()


@pytest.mark.parametrize("as_zip", [True, False])
@pytest.mark.parametrize("how", [[], ["--copy"], ["--link"]])
def test_a_dataset_in_two(tmp_path: Path, capsys: pytest.CaptureFixture[str], as_zip: bool, how: list[str]) -> None:
    source = zipped(tmp_path / "x.zip", MANY) if as_zip else tree(tmp_path / "x", MANY)
    out = tmp_path / "new" / "out"
    assert main(["split", str(source), "--val", "0.3", "--out", str(out), *how]) == 0
    written = files(out)
    assert Counter(name.rsplit("/", 1)[0] for name in written) == {
        "train/ants": 7, "train/bees": 7, "val/ants": 3, "val/bees": 3,
    }  # fmt: skip
    assert {"set/" + name.split("/", 1)[1]: data for name, data in written.items()} == MANY
    assert os.listdir(out.parent) == ["out"]  # noqa: PTH208 (hidden ones too)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split() for line in printed] == [
        ["ants", "train", "7", "val", "3"],
        ["bees", "train", "7", "val", "3"],
        ["in", "all", "train", "14", "val", "6"],
    ]
    linked = {file.stat().st_nlink for file in out.rglob("*.jpg")}
    assert linked == ({2} if how == ["--link"] and not as_zip else {1})


def test_what_was_written_is_read_again_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["split", str(tree(tmp_path / "x", MANY)), "--out", str(tmp_path / "a"), "--seed", "3"])
    dataset = ingest(tmp_path / "a")
    assert Counter(image.split for image in dataset.images) == {"train": 16, "val": 4}
    capsys.readouterr()
    assert main(["split", str(tmp_path / "a"), "--out", str(tmp_path / "b"), "--val", "0.5"]) == 0
    assert files(tmp_path / "b") == files(tmp_path / "a")
    assert "The val part was given and is kept as it is." in capsys.readouterr().out
    main(["split", str(tmp_path / "x"), "--out", str(tmp_path / "c"), "--seed", "3"])
    main(["split", str(tmp_path / "x"), "--out", str(tmp_path / "d"), "--seed", "4"])
    assert files(tmp_path / "a") == files(tmp_path / "c") != files(tmp_path / "d")


def test_what_a_person_should_know_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = pictures(*(f"train/{label}/{number}.jpg" for label in ("ants", "bees") for number in range(5)))
    entries |= {
        "val/ants/1.jpg": entries["train/ants/0.jpg"], "val/ants/2.jpg": jpeg(90), "notes.txt": b"x",
        "train/bees/cut.jpg": jpeg(91)[:800], "test/ants/1.jpg": jpeg(92), "test/bees/1.jpg": jpeg(93),
    }  # fmt: skip
    source = zipped(tmp_path / "x.zip", entries)
    assert main(["split", str(source), "--out", str(tmp_path / "a")]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split() == ["ants", "train", "5", "val", "2", "test", "1"]
    assert "1 of its images have a copy in train (val/ants/1.jpg)" in out
    assert "No image of bees was given to val." in out
    assert "2 images are the same, in train and val. train/ants/0.jpg, val/ants/1.jpg" in err
    assert "notes.txt" in err and "Left out: train/bees/cut.jpg. cut.jpg is damaged" in err
    assert main(["split", str(source), "--out", str(tmp_path / "b"), "--drop-leaked"]) == 0
    assert "train 4" in capsys.readouterr().out.splitlines()[0]
    assert not (tmp_path / "b" / "train" / "ants" / "0.jpg").exists()
    assert len(files(tmp_path / "b")) == len(files(tmp_path / "a")) - 1


def test_one_image_with_two_labels_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tree(tmp_path / "x", MANY | {"set/bees/wrong.jpg": MANY["set/ants/3.jpg"]})
    assert main(["split", str(source), "--out", str(tmp_path / "a")]) == 0
    out, err = capsys.readouterr()
    assert "Groups of copies or look-alikes: 1; each stands on one side." in out
    assert "2 images are the same, in ants, bees. ants/3.jpg, bees/wrong.jpg" in err


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    good = zipped(tmp_path / "x.zip", MANY)
    used = tree(tmp_path / "used", {"file": b"x"})
    assert "is not empty" in refused(capsys, good, "--out", used)
    assert files(used) == {"file": b"x"}
    assert "can't be written" in refused(capsys, good, "--out", good)
    assert "can't be written" in refused(capsys, good, "--out", good / "below")
    assert "There is no gone.zip" in refused(capsys, tmp_path / "gone.zip", "--out", tmp_path / "out")
    one = zipped(tmp_path / "one.zip", pictures("ants/1.jpg", "ants/2.jpg"))
    assert "only one class, ants" in refused(capsys, one, "--out", tmp_path / "out")
    monkeypatch.setattr(
        writing.os, "link", lambda *args: (_ for _ in ()).throw(OSError(18, "Invalid cross-device link"))
    )
    assert "copy instead" in refused(capsys, good, "--out", tmp_path / "out", "--link")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.zip", "used", "x.zip"]


def test_an_empty_folder_that_was_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    one = zipped(tmp_path / "one.zip", pictures("ants/1.jpg", "ants/2.jpg"))
    refused(capsys, one, "--out", tmp_path / "out")
    assert main(["split", str(zipped(tmp_path / "x.zip", MANY)), "--out", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("share", ["0", "1", "-0.2", "20", "many", "nan"])
def test_a_share_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], share: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["split", "x.zip", "--out", str(tmp_path / "out"), f"--val={share}"])
    assert caught.value.code == 2
    assert f"{share} is not a number between 0 and 1" in capsys.readouterr().err


def test_class_names_that_are_no_file_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = pictures(*(f"{label}/{number}.jpg" for label in ("aa:b", "aa?b", "ü 花") for number in range(4)))
    assert main(["split", str(zipped(tmp_path / "x.zip", entries)), "--out", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out" / "val").iterdir()} == {"aa_b", "aa_b (2)", "ü 花"}
    assert len(files(tmp_path / "out")) == 12


def test_from_a_terminal_that_knows_no_umlauts(tmp_path: Path) -> None:
    entries = pictures(*(f"{label}/{number}.jpg" for label in ("gänse", "花") for number in range(4)))
    done = subprocess.run(
        [sys.executable, "-m", "train", "split", zipped(tmp_path / "x.zip", entries), "--out", tmp_path / "out"],
        cwd=ROOT, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[0].split() == ["g\\xe4nse", "train", "3", "val", "1"]
    assert done.stderr.splitlines()[0] == "Few images of g\\xe4nse: 4."


def test_a_part_that_was_given_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = PHOTOS / "hymenoptera"
    assert main(["split", str(source), "--val", "0.1", "--out", str(tmp_path / "out"), "--link"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ants                train 7       val 4",
        "bees                train 6       val 4",
        "in all              train 13      val 8",
        "The val part was given and is kept as it is.",
    ]
    assert len(files(tmp_path / "out")) == 21
