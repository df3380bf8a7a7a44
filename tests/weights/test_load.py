"""Names: what they may be, and that no name ends in anything but a checkpoint or a sentence."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from resnet.errors import Refusal
from tests.hub.local_hub import LocalHub
from weights.catalog import CATALOG, SHIPPED
from weights.hub import Hub
from weights.load import load

HOSTILE = [
    "",
    " ",
    "\n\t",
    ".",
    "..",
    "/",
    "//",
    "~",
    "~root",
    "~nobody-of-that-name",
    "~nobody-of-that-name/model",
    "/etc",
    "/etc/hostname.of.none",
    "/dev/zero",
    "/dev/null",
    "../x/y",
    "weights/flowers",
    "x/../y",
    "x/..",
    "../../etc/passwd",
    "./weights/flowers",
    "weights/flowers/",
    "weights/flowers/config.json",
    "weights\\flowers",
    "C:\\Windows\\System32",
    "file:///etc/passwd",
    "https://huggingface.co/timm/resnet50.a1_in1k",
    "a/b/c",
    "a..b/c",
    "a--b/c",
    "a/b.git",
    "a/b-",
    "a/b.",
    "-a/b",
    ".a/b",
    "a/.b",
    "a/b@",
    "a/b@@c",
    "a/b@main/../../../secrets",
    "a/b@../main",
    "a/b@" + "0" * 40,
    "a/b@" + "r" * 500,
    "a/b@refs/pr/1",
    "x" * 300 + "/y",
    "a/" + "y" * 300,
    "x" * 5000,
    "a/b\0c",
    "\0",
    "蒲公英/花",
    "а/b",  # a Cyrillic a
    "a/b\u202e",
    "\ud800/b",
    "{}",
    "{name}",
    "{0.__class__}/b",
    "%2e%2e/%2f",
    "a/b?x=1",
    "a/b#c",
    "$HOME/x",
    "`id`",
    "flowers ; rm",
    "resnet50",
    "resnet50.a1_in1k@main@main",
    "model.pth",
    "a/model.pth",
    "x.safetensors",
]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A Hub that nobody answers for; and a current folder without any model."""
    monkeypatch.chdir(tmp_path)
    return Hub("http://127.0.0.1:9", tmp_path / "cache", token=False)


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_any_name_ends_in_a_sentence(nowhere: Hub, name: str, local: bool) -> None:
    with pytest.raises(Refusal) as caught:
        load(name, hub=nowhere, local=local)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert sentence.isprintable()
    assert len(sentence) < 900


def test_random_names_end_in_sentences(nowhere: Hub) -> None:
    rng = random.Random(5)
    alphabet = "ab/.@-_~ \\\0:%é花\n\ud800{}"
    for _ in range(3000):
        name = "".join(rng.choice(alphabet) for _ in range(rng.randrange(12)))
        with pytest.raises(Refusal):
            load(name, hub=nowhere, local=False)


@pytest.fixture
def here(tmp_path: Path, nowhere: Hub, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a model in every place that a name could point to."""
    for folder in ("lab/timm", "flower", "home"):
        shutil.copytree(SHIPPED, tmp_path / "here" / folder, copy_function=os.link)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "here" / "home"))
    return tmp_path / "here"


def test_paths_are_read_where_they_are_allowed(here: Path, nowhere: Hub) -> None:
    for name in ("lab/timm", "./lab/timm", "flower", "flower/", str(here / "flower"), "~", "~/../flower", " flower "):
        checkpoint = load(name, hub=nowhere)
        assert checkpoint.architecture == "resnet18"
        assert checkpoint.source.path
        assert checkpoint.source.path.is_relative_to(here.resolve())
        assert checkpoint.source.repo is None
        assert checkpoint.source.name == name.strip()


@pytest.mark.parametrize(
    "name", ["lab/timm", "./lab/timm", "flower", "{here}/flower", "~", "~/../flower", "../here/flower", "."]
)
def test_paths_are_not_read_where_a_visitor_names_them(here: Path, nowhere: Hub, name: str) -> None:
    name = name.format(here=here)
    with pytest.raises(Refusal) as caught:
        load(name, hub=nowhere, local=False)
    assert caught.value.code == ("hub.offline" if name == "lab/timm" else "weights.name")
    if name != "lab/timm":
        assert "or the path" not in str(caught.value), "a visitor is not told to name one"


def test_a_path_wins_over_the_hub_and_a_visitor_gets_the_hubs(here: Path, client: Hub, hub: Any) -> None:
    assert load("lab/timm", hub=client).label_names == load("flowers").label_names
    assert hub.log == []
    assert load("lab/timm", hub=client, local=False).label_names == ("daisy", "tulip", "none")


def test_a_folder_in_the_way_does_not_hide_a_model_of_the_list(here: Path, nowhere: Hub) -> None:
    shutil.copytree(here / "flower", here / "resnet50.a1_in1k", copy_function=os.link)
    (here / "flowers").mkdir()
    assert load("flowers", hub=nowhere).source.path == SHIPPED
    with pytest.raises(Refusal) as caught:
        load("resnet50.a1_in1k", hub=nowhere)
    assert caught.value.code == "hub.offline"


@pytest.fixture
def timm_hub(repositories: Path, tmp_path: Path) -> Any:
    """A Hub on which `timm/resnet18.a1_in1k` stands (it is another network, of three classes)."""
    root = tmp_path / "root"
    shutil.copytree(repositories / "lab" / "timm", root / "timm" / "resnet18.a1_in1k", copy_function=os.link)
    with LocalHub(root) as server:
        yield server


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("name", ["resnet18.a1_in1k", "timm/resnet18.a1_in1k", " resnet18.a1_in1k\n"])
def test_names_of_the_list_go_to_timm_on_the_hub(timm_hub: Any, tmp_path: Path, name: str, local: bool) -> None:
    checkpoint = load(name, hub=Hub(timm_hub.url, tmp_path / "cache", token=False), local=local)
    assert checkpoint.source.repo == "timm/resnet18.a1_in1k"
    assert checkpoint.source.name == name.strip()
    assert checkpoint.license, "the list knows it where the repository doesn't say"


def test_a_revision_may_be_named(timm_hub: Any, tmp_path: Path) -> None:
    client = Hub(timm_hub.url, tmp_path / "cache", token=False)
    source = load("timm/resnet18.a1_in1k@main", hub=client).source
    assert (source.repo, source.revision) == ("timm/resnet18.a1_in1k", "main")
    assert load(f"timm/resnet18.a1_in1k@{source.commit}", hub=client).source.commit == source.commit


@pytest.mark.parametrize("name", CATALOG)
def test_every_name_of_the_list_asks_for_its_repository(name: str, hub: Any, client: Hub, refused: Any) -> None:
    assert f"timm/{name}" in str(refused("hub.no_repo", load, name, hub=client))
    assert hub.log[0][1].startswith(f"/api/models/timm/{name}")


@pytest.mark.parametrize(("declared", "license_"), [("mit", "mit"), (None, "apache-2.0")])
def test_a_license_that_the_repository_declares_wins_over_the_lists(
    repositories: Path, tmp_path: Path, declared: str | None, license_: str
) -> None:
    folder = tmp_path / "root" / "timm" / "resnet18.a1_in1k"
    shutil.copytree(repositories / "lab" / "timm", folder, copy_function=os.link)
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"]["license"] = declared
    (folder / "config.json").unlink()  # it is a link to what others are served
    (folder / "config.json").write_text(json.dumps(config))
    with LocalHub(tmp_path / "root") as server:
        checkpoint = load("resnet18.a1_in1k", hub=Hub(server.url, tmp_path / "cache", token=False))
    assert checkpoint.license == license_
