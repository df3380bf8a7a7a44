"""Datasets of the Hub: the real client and a Hub on loopback, from a name to a dataset, or to a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resnet.errors import Refusal
from tests import local_models
from tests.hub.local_hub import LocalHub
from tests.pictures import pictures, tree, zipped
from tests.waiting import PATIENCE_S
from train.__main__ import main
from train.dataset import Dataset
from train.ingest import ingest
from train.opening import open_dataset
from train.unpack import Limits
from weights.datasets import _leads_out
from weights.hub import Hub

ROOT = Path(__file__).resolve().parents[2]
MANY = pictures(*(f"{label}/{number}.jpg" for label in ("ants", "bees") for number in range(6)))
PARTS = {f"{part}/{name}": data for part, half in (("train", "01234"), ("val", "5")) for name, data in MANY.items()
         if name[-5] in half}  # fmt: skip
BITMAPS = pictures(*(f"{label}/{number}.bmp" for label in ("ants", "bees") for number in range(3)), first=50)
BESIDE = {"README.md": b"---\nlicense: mit\n---\n", ".gitattributes": b"*.jpg filter=lfs", "data/x.parquet": b"PAR1"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("hub")
    lab = root / "datasets" / "lab"
    tree(
        lab / "folders", {**{f"images/{name}": data for name, data in MANY.items()}, **BESIDE, "__MACOSX/._a.jpg": b"x"}
    )
    tree(lab / "parts", {**PARTS, **BESIDE})
    tree(lab / "zips", BESIDE)
    for part in ("train", "val"):
        zipped(lab / "zips" / "data" / f"{part}.zip", {name.split("/", 1)[1]: data for name, data in PARTS.items()
                                                       if name.startswith(part)})  # fmt: skip
    tree(lab / "shrunk", BESIDE)
    for part in ("train", "val"):
        zipped(lab / "shrunk" / f"{part}.zip", BITMAPS, zipfile.ZIP_DEFLATED)
    tree(lab / "wrapped", BESIDE)
    for part in ("train", "val"):
        zipped(lab / "wrapped" / f"{part}.zip", {name: data for name, data in PARTS.items() if name.startswith(part)})
    tree(lab / "parquet", BESIDE)
    tree(lab / "private", MANY)
    tree(lab / "deep", {f"{'a/' * 33}{name}": data for name, data in MANY.items()})
    tree(lab / "loose", {name.replace("/", "-"): data for name, data in MANY.items()})
    tree(lab / "nested", {**MANY, "README.md": b""})
    zipped(lab / "nested" / "bad.zip", {"../../up.jpg": MANY["ants/0.jpg"]})
    local_models.write_config(root / "lab" / "model", {})
    with LocalHub(root, token="hf_right") as hub:
        hub.private.add("lab/private")
        yield hub


@pytest.fixture
def hub(running: Any) -> Iterator[Any]:
    running.clear()
    yield running
    running.clear()


@pytest.fixture
def client(hub: Any, tmp_path: Path) -> Hub:
    return Hub(hub.url, tmp_path / "cache", False, "dataset")


def contents(dataset: Dataset) -> dict[tuple[str, str | None], set[bytes]]:
    """What is in each class and part, by the bytes."""
    found: dict[tuple[str, str | None], set[bytes]] = {}
    for image in dataset.images:
        found.setdefault((image.label, image.split), set()).add(image.path.read_bytes())
    return found


def expected(files: dict[str, bytes], tmp_path: Path) -> dict[tuple[str, str | None], set[bytes]]:
    return contents(ingest(tree(tmp_path / "expected", files)))


@pytest.mark.parametrize(
    ("name", "files"), [("folders", MANY), ("parts", PARTS), ("zips", PARTS), ("wrapped", PARTS), ("parts@main", PARTS)]
)
def test_folders_and_zips_of_the_hub(client: Hub, tmp_path: Path, name: str, files: dict[str, bytes]) -> None:
    dataset = open_dataset(f"hf://datasets/lab/{name}", tmp_path / "data", hub=client)
    assert contents(dataset) == expected(files, tmp_path)
    assert dataset.name == name.split("@")[0]
    assert not dataset.report.left_out.unreadable


def test_only_what_can_be_used_is_fetched_and_once(hub: Any, client: Hub, tmp_path: Path) -> None:
    first = open_dataset("hf://datasets/lab/folders", tmp_path / "a", hub=client)
    fetched = [path for method, path in hub.log if method == "GET" and "/resolve/" in path]
    assert len(fetched) == len(set(fetched)) == len(MANY) + 1
    assert not any("parquet" in path or "README" in path for path in fetched)
    hub.clear()
    again = open_dataset("hf://datasets/lab/folders", tmp_path / "b", hub=client)
    assert contents(again) == contents(first)
    assert not [path for _, path in hub.log if "/resolve/" in path]
    assert again.report.left_out.ignored == {"macos": 1}


def test_without_network_it_comes_from_the_cache(hub: Any, client: Hub, tmp_path: Path) -> None:
    first = open_dataset("hf://datasets/lab/parts", tmp_path / "a", hub=client)
    away = Hub("http://127.0.0.1:9", client.cache_dir, False, "dataset")
    assert contents(open_dataset("hf://datasets/lab/parts", tmp_path / "b", hub=away)) == contents(first)


def refused(code: str, said: str, name: str, folder: Path, hub: Hub, limits: Limits = Limits()) -> None:  # noqa: B008
    with pytest.raises(Refusal) as caught:
        open_dataset(name, folder, hub=hub, limits=limits)
    sentence = str(caught.value)
    assert caught.value.code == code, sentence
    assert said in sentence
    assert sentence.endswith(".") and sentence.isprintable()


def test_what_can_not_be_had_is_a_sentence(hub: Any, client: Hub, tmp_path: Path, impatient: None) -> None:
    here = tmp_path / "data"
    for code, said, name in (
        ("hub.no_dataset", "There is no dataset lab/nothing on 127.0.0.1", "lab/nothing"),
        ("hub.no_dataset", "There is no dataset lab/model on", "lab/model"),
        ("hub.no_dataset", "There is no dataset lab/private on", "lab/private"),
        ("hub.no_revision", "lab/folders has no revision v7", "lab/folders@v7"),
        ("data.hub_empty", "lab/parquet holds neither images nor zips", "lab/parquet"),
        ("data.no_folders", "loose holds 12 images but no class folders", "lab/loose"),
        ("zip.parent", "bad.zip holds a path that leads out of it, ../../up.jpg", "lab/nested"),
        ("data.hub_name", "'hf://datasets/lab' is no dataset of the Hub", "lab"),
        ("data.hub_name", "is no dataset of the Hub", "lab/folders/images"),
        ("data.hub_name", "is no dataset of the Hub", "../../etc"),
    ):
        refused(code, said, f"hf://datasets/{name}", here, client)
    refused("data.hub_name", "'hf://lab/folders' is no dataset", "hf://lab/folders", here, client)
    for kind, code, said in (
        ("gated", "hub.gated", "lab/zips is gated: accept its terms on"),
        ("expired", "hub.token", "does not accept the token"),
        ("error", "hub.error", "answered with an error of its own (500)"),
        ("ratelimit", "hub.busy", "has had too many requests"),
        ("flip", "hub.corrupted", "arrived damaged"),
        ("drop", "hub.truncated", "arrived incomplete"),
    ):
        hub.fault(kind, "lab/zips")
        refused(code, said, "hf://datasets/lab/zips", here, Hub(hub.url, tmp_path / f"cache-{kind}", False, "dataset"))
        hub.clear()
    refused(
        "hub.offline_data", "can't be reached and lab/folders is not in the cache", "hf://datasets/lab/folders", here,
        Hub("http://127.0.0.1:9", tmp_path / "empty", False, "dataset"),
    )  # fmt: skip


def test_folders_that_are_too_deep_are_refused(hub: Any, client: Hub, tmp_path: Path) -> None:
    refused("photos.deep", "lab/deep holds folders in more than 32 levels", "hf://datasets/lab/deep", tmp_path, client)


def test_too_much_is_refused_before_it_is_fetched(hub: Any, client: Hub, tmp_path: Path) -> None:
    for limits in (Limits(entries=12), Limits(bytes=1000)):
        refused("data.hub_large", "lab/folders holds 13 images", "hf://datasets/lab/folders", tmp_path, client, limits)
    assert not [path for _, path in hub.log if "/resolve/" in path]
    # What comes out of all zips counts together.
    name, size = "hf://datasets/lab/shrunk", 2 * sum(len(data) for data in BITMAPS.values())
    open_dataset(name, tmp_path / "fits", hub=client, limits=Limits(entries=12, bytes=size))
    refused("zip.total", "val.zip unpacks to more than", name, tmp_path / "no", client, Limits(bytes=size - 1))
    refused("zip.entries", "val.zip has more than 5", name, tmp_path / "nor", client, Limits(entries=11))


@pytest.mark.parametrize(
    "name", ["../up.jpg", "a/../../up.jpg", "/etc/a.jpg", "a\\b.jpg", "C:/a.jpg", "a//b.jpg", "a\0.jpg"]
)
def test_names_that_lead_out_are_known(name: str) -> None:
    assert _leads_out(name)
    assert not _leads_out("train/黄蜂/a b.jpg")


def test_the_commands_take_such_a_name(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., tuple[int, str, str]]
) -> None:
    """Split, then train, as typed in a terminal; nothing but the client's cache is left behind."""
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    code, _, said = command(main, "hf://datasets/lab/nothing")
    assert code == 2
    assert said.startswith("There is no dataset lab/nothing") and said.count("\n") == 1
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    environment = {**kept, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "OMP_NUM_THREADS": "1"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "train", *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    out = tmp_path / "out"
    done = run("split", "hf://datasets/lab/zips", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert {path.read_bytes() for path in out.rglob("*.jpg")} == set(PARTS.values())
    done = run("hf://datasets/lab/parts", "--method", "head", "--image-size", "64", "--out", str(tmp_path / "model"))
    assert done.returncode == 0, done.stderr
    assert "hf://datasets/lab/parts" in (tmp_path / "model" / "README.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf", "model", "out"]
