"""The repository as a Space: its configuration, what it installs, and the folder that `make space` writes."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import yaml
from gradio_client import Client, handle_file

from tests.waiting import PATIENCE_S, until
from weights.catalog import CATALOG
from weights.load import load

ROOT = Path(__file__).resolve().parent.parent
MEGABYTE = 1_000_000
#: Of https://huggingface.co/docs/hub/spaces-config-reference.
FIELDS = {
    "title", "emoji", "colorFrom", "colorTo", "sdk", "python_version", "sdk_version", "suggested_hardware",
    "suggested_storage", "app_file", "app_port", "base_path", "fullWidth", "header", "short_description", "models",
    "datasets", "tags", "thumbnail", "pinned", "hf_oauth", "hf_oauth_scopes", "hf_oauth_expiration_minutes",
    "hf_oauth_authorized_org", "disable_embedding", "startup_duration_timeout", "custom_headers", "preload_from_hub",
    "license",
}  # fmt: skip
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


@pytest.fixture(scope="module")
def space() -> dict[str, Any]:
    """The front matter of the README, which configures a Space."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    assert found, "a Space is configured in the README's first lines"
    configured = yaml.safe_load(found[1])
    assert isinstance(configured, dict)
    return configured


def pinned(package: str) -> str:
    """The version that the tests run with."""
    found = re.search(rf"^{package}==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found
    return found[1]


def test_the_hub_understands_every_field(space: dict[str, Any]) -> None:
    assert set(space) <= FIELDS
    assert {space["colorFrom"], space["colorTo"]} <= COLOURS
    assert 0 < len(space["short_description"]) <= 60
    assert space["title"]
    assert not space["emoji"].isascii()
    assert huggingface_hub.SpaceHardware(space["suggested_hardware"])
    # What the Hub's client reads of it is what stands there.
    card = huggingface_hub.RepoCard.load(ROOT / "README.md", repo_type="space", ignore_metadata_errors=False)
    assert card.data.to_dict() == space


def test_it_starts_what_is_here_with_what_was_tested(space: dict[str, Any]) -> None:
    assert (space["sdk"], space["sdk_version"]) == ("gradio", pinned("gradio"))
    assert space["python_version"] == "3.12", "as text: 3.10 would be read as the number 3.1"
    assert (ROOT / space["app_file"]).is_file()
    heading = (ROOT / "LICENSE").read_text(encoding="utf-8").split("\n\n")[0]
    assert space["license"] == "apache-2.0"
    assert "Apache License" in heading


def test_its_models_are_the_catalogues(space: dict[str, Any]) -> None:
    assert sorted(space["models"]) == sorted(entry.repo for entry in CATALOG.values())
    (line,) = space["preload_from_hub"]
    repo, files = line.split()
    (entry,) = [entry for entry in CATALOG.values() if entry.repo == repo]
    assert entry.megabytes < 60, "it is fetched whenever a Space is built"
    assert files.split(",") == ["config.json", "model.safetensors"]


def test_visitors_who_sign_in_give_the_least(space: dict[str, Any]) -> None:
    assert space["hf_oauth"] is True
    assert space["hf_oauth_scopes"] == ["contribute-repos"]


# -- what is installed -------------------------------------------------------------------------------------------------


@pytest.mark.network
def test_a_space_can_install_it(space: dict[str, Any], tmp_path: Path) -> None:
    """What a Space's builder gives to pip, resolved for the Python of the Space; only metadata is downloaded."""
    report = tmp_path / "report.json"
    wanted = [
        "torch<=2.13.0", f"gradio[oauth,mcp]=={space['sdk_version']}", "uvicorn>=0.14.0", "websockets>=10.4", "spaces",
    ]  # fmt: skip
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--no-input",
            "--report", str(report), "--python-version", space["python_version"], "--only-binary=:all:",
            "--target", str(tmp_path / "nothing"), "-r", "requirements.txt", *wanted,
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=5 * PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    resolved = json.loads(report.read_text())["install"]
    names = {one["metadata"]["name"].lower().replace("_", "-") for one in resolved}
    floors = re.findall(r"^([a-z_]+)>=", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert len(floors) > 5
    assert {floor.replace("_", "-") for floor in floors} | {"spaces", "mcp", "authlib"} <= names
    assert not (tmp_path / "nothing").exists()


# -- what is in the repository -----------------------------------------------------------------------------------------


def tracked() -> dict[str, int]:
    """Every file that a clone has, with its size."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return {name: (ROOT / name).stat().st_size for name in listed.split("\0") if name and (ROOT / name).is_file()}


def test_plain_git_carries_it() -> None:
    sizes = tracked()
    assert len(sizes) > 100
    assert {name: size for name, size in sizes.items() if size > 9.5 * MEGABYTE} == {}
    assert sum(sizes.values()) < 40 * MEGABYTE


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make space` writes."""
    folder = tmp_path_factory.mktemp("made") / "space"
    done = subprocess.run(
        ["make", "space", f"DIR={folder}", f"PYTHON={sys.executable}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "hf upload" in done.stdout
    return folder


def test_the_folder_of_a_space_holds_what_runs_and_nothing_else(written: Path) -> None:
    files = {path.relative_to(written).as_posix(): path.read_bytes() for path in written.rglob("*") if path.is_file()}
    assert {name.split("/")[0] for name in files} == {
        "app.py", "resnet", "weights", "train", "ui", "requirements.txt", "README.md", "LICENSE", "ARCHITECTURE.md",
        "SECURITY.md",
        "docs",
    }  # fmt: skip
    assert all(data == (ROOT / name).read_bytes() for name, data in files.items())
    text = files["README.md"].decode()
    assert text.startswith("---\ntitle:")
    for link in re.findall(r"\]\(([^)\s#]+)", text):
        assert "://" in link or link in files, f"the README leads to {link}, which isn't there"


@pytest.mark.parametrize(
    ("words", "said"), [((), "Name one folder"), (("{tmp}",), "not empty"), (("{tmp}/file/x",), "can't be written")]
)
def test_a_folder_that_is_in_use_stays_as_it_is(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    command = [sys.executable, "space.py", *(word.format(tmp=tmp_path) for word in words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_it_starts_from_nothing_and_names_a_photo(written: Path, tmp_path: Path) -> None:
    """With an empty home, no network and no proxy: what a visitor of a new Space finds."""
    home = tmp_path / "home"
    home.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL", "OMP_NUM_THREADS")}
    environment = {
        **kept, "HOME": str(home), "HF_ENDPOINT": "http://127.0.0.1:9", "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(tmp_path / "uploads"), "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    photo = ROOT / "docs" / "page.png"
    log = tmp_path / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=written, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        client = _client(f"http://127.0.0.1:{port}", process, log, tmp_path)
        said = client.predict(handle_file(photo), top_k=3, api_name="/classify")
        (row,) = load("flowers").classifier().predict([photo], 3)
        assert [one["label"] for one in said["predictions"]] == [one.label for one in row.predictions]
        assert said["probability"] == pytest.approx(row.predictions[0].probability, abs=1e-3)
        with pytest.raises(Exception, match="can't be reached"):
            client.predict(handle_file(photo), model="resnet18.a1_in1k", api_name="/classify")
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
    assert "Traceback" not in log.read_text()


def _client(url: str, process: subprocess.Popen[Any], log: Path, folder: Path) -> Client:
    """Gradio's client, once the page is there."""

    def opened() -> Client | None:
        try:
            return Client(url, verbose=False, download_files=folder)
        except Exception:
            assert process.poll() is None, log.read_text()
            return None

    found = until(opened, log.read_text, every_s=0.2)
    assert found
    return found
