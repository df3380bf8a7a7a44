"""``python -m weights``: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import PATIENCE_S
from weights.__main__ import main
from weights.catalog import CATALOG, entries

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """A function: arguments -> (exit code, stdout, stderr), with the Hub on loopback and a cache of its own."""
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.delenv("HF_TOKEN", raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        cache = () if arguments[0] == "list" else ("--cache-dir", str(tmp_path / "cache"))
        code = main([*arguments, *cache])
        return code, *capsys.readouterr()

    return call


def test_list_shows_every_model_with_what_decides(run: Any) -> None:
    code, out, err = run("list")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    for entry in entries():
        (line,) = (line for line in lines if line.startswith(f"  {entry.name} "))
        assert f"{entry.parameters / 1e6:.1f} M" in line
        assert entry.license in line
        assert entry.good_for in line
        assert (f"{entry.top1:.1f} %" if entry.top1 else "-") in line
    assert max(map(len, lines)) < 170


def test_list_as_json_is_one_object_a_line(run: Any) -> None:
    _, out, _ = run("list", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["name"] for row in rows] == ["flowers", *CATALOG]
    assert all({"parameters", "license", "top1", "top1_source", "good_for", "megabytes"} <= row.keys() for row in rows)
    assert rows[1]["top1"] == CATALOG[rows[1]["name"]].top1


def test_fetch_prints_where_the_files_are(run: Any, hub: Any) -> None:
    code, out, err = run("fetch", "lab/timm")
    assert (code, err) == (0, "")
    assert (Path(out.strip()) / "model.safetensors").is_file()
    hub.clear()
    assert run("fetch", "lab/timm") == (0, out, "")
    assert len(hub.log) == 1


def test_fetch_as_json_prints_the_facts(run: Any) -> None:
    code, out, _ = run("fetch", "lab/timm", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["repo"] == facts["name"] == "lab/timm"
    assert facts["revision"] == "main"
    assert len(facts["commit"]) == 40
    assert facts["label_names"] == ["daisy", "tulip", "none"]
    assert facts["architecture"] == "ResNet (basic, 1-1-1-1)"
    assert facts["from_cache"] is False


def test_show_tells_the_facts_of_a_checkpoint(run: Any, tmp_path: Path) -> None:
    code, out, err = run("show", "flowers")
    assert (code, err) == (0, "")
    facts = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert facts["architecture"] == "resnet18"
    assert facts["parameters"] == "11,179,077"
    assert facts["license"] == "mit"
    assert facts["label_names"] == "daisy, dandelion, roses, sunflowers, tulips"
    code, out, _ = run("show", "flowers", "--json")
    facts = json.loads(out)
    assert facts["parameters"] == 11_179_077
    assert set(facts["none_of_these"]) == {"score", "threshold"}


def test_show_shortens_a_thousand_names_and_names_a_base(run: Any, tmp_path: Path, timm_folder: Any) -> None:
    timm_folder(tmp_path / "thousand", layers=[1, 1, 1, 1])
    _, out, _ = run("show", str(tmp_path / "thousand"))
    assert "tench, goldfish, " in out
    assert "(1000 in all)" in out
    timm_folder(tmp_path / "base", layers=[1, 1, 1, 1], num_classes=0)
    _, out, _ = run("show", str(tmp_path / "base"))
    assert "none (a base)" in out


@pytest.mark.parametrize("command", ["fetch", "show"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lab/nothing", "There is no model lab/nothing"),
        ("nothing", "There is no model 'nothing'"),
        ("lab/vit", "vit_base_patch16_224"),
        ("lab/timm@v9", "no revision v9"),
        ("", "There is no model ''"),
    ],
)
def test_what_can_not_be_had_is_one_line_on_stderr_and_exit_code_2(
    run: Any, command: str, name: str, words: str
) -> None:
    code, out, err = run(command, name)
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1


def test_a_cached_version_is_said_to_be_one(run: Any, hub: Any) -> None:
    run("fetch", "lab/timm")
    hub.fault("error")
    code, out, err = run("fetch", "lab/timm", "--json")
    assert code == 0
    assert json.loads(out)["from_cache"] is True
    assert err == "The Hub can't be reached; this is the version in the cache.\n"


def test_wrong_arguments_are_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["nothing"], ["fetch"], ["show"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
    assert "usage: python -m weights" in capsys.readouterr().err


def test_from_a_shell_the_environment_says_where(hub: Any, tmp_path: Path) -> None:
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGINGFACE_"))},
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
    }
    process = subprocess.run(
        [sys.executable, "-m", "weights", "fetch", "lab/timm"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert (process.returncode, process.stderr) == (0, "")
    folder = Path(process.stdout.strip())
    assert folder.is_relative_to((tmp_path / "home").resolve())
    assert (folder / "model.safetensors").is_file()


def test_what_is_not_there_is_a_line(run: Any) -> None:
    code, out, err = run("show", "lab/nothing")
    assert (code, out) == (2, "")
    assert err.startswith("There is no model lab/nothing on 127.0.0.1") and len(err.splitlines()) == 1


def test_a_process_of_its_own_asks_no_more_than_it_says(hub: Any, tmp_path: Path) -> None:
    """With the client as it comes: what its telemetry would ask for is a request too."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}

    def show(name: str) -> dict[str, Any]:
        hub.clear()
        command = [sys.executable, "-m", "weights", "show", name, "--json"]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=True
        )
        return json.loads(done.stdout)

    commit = show("lab/timm")["commit"]
    assert all("/lab/timm/" in path for _, path in hub.log)
    assert show("lab/timm")["commit"] == commit
    assert len(hub.log) == 1, hub.log
    assert show(f"lab/timm@{commit}")["commit"] == commit
    assert hub.log == []
