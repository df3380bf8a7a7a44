"""Publishing to the Hub on loopback by the real client: what arrives, who reads it, and each way to fail."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor

import weights.publish
from resnet.classifier import NoneOfThese
from resnet.config import ResNetConfig
from resnet.network import ResNet
from resnet.preprocess import Preprocess
from resnet.rows import to_json
from tests.hub.local_hub import LocalHub
from tests.waiting import PATIENCE_S
from weights.__main__ import main
from weights.catalog import SHIPPED
from weights.checkpoint import Checkpoint, read_folder, write_folder
from weights.hub import Hub
from weights.load import load
from weights.publish import publish

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "hf_of_the_tester"
CARD = """---
license: mit
library_name: timm
pipeline_tag: image-classification
base_model: someone/net
model-index:
- name: flowers
  results:
  - task: {type: image-classification}
    dataset: {name: photos, type: imagefolder}
    metrics:
    - {type: accuracy, value: 0.9}
---
# Flowers

`DIR` is the folder that this file is in. With the project that trained it:

python -m resnet classify photo.jpg --model DIR

model = timm.create_model("local-dir:DIR", pretrained=True).eval()  # or "hf-hub:OWNER/NAME"
"""


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Hub with one account, `tester`, one token, and a model `tester/taken`."""
    root = tmp_path_factory.mktemp("hub")
    (root / "tester" / "taken").mkdir(parents=True)
    (root / "tester" / "taken" / "README.md").write_text("# Somebody's\n")
    with LocalHub(root, token=TOKEN) as hub:
        yield hub


@pytest.fixture
def hub(account: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """That Hub without faults and with nothing published, for a process that nobody is signed in on."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nowhere/token")
    monkeypatch.setenv("HF_ENDPOINT", account.url)
    account.clear()
    account.role = "write"
    shutil.rmtree(account.written, ignore_errors=True)
    account.written.mkdir()
    account.private.clear()
    yield account
    account.clear()


@pytest.fixture(scope="module")
def saved(train: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved folder with a card, metrics and two files that are nobody's business."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    state = train(ResNet, ResNetConfig("basic", (1, 1, 1, 1), num_classes=3), seed=3).state_dict()
    config = ResNetConfig("basic", (1, 1, 1, 1), num_classes=3)
    labels = ("daisy", "tulip", "none")
    write_folder(
        Checkpoint(config, state, Preprocess(64), labels, 0.7, NoneOfThese("energy", 1.5), license="mit"), folder
    )
    (folder / "README.md").write_text(CARD)
    (folder / "metrics.json").write_text('{"accuracy": 0.9}\n')
    (folder / ".env").write_text("PASSWORD=secret\n")
    (folder / "notes.txt").write_text("secret\n")
    return folder


def _published(hub: Any, repo: str) -> dict[str, Path]:
    return {name: path for name, path in (hub.files("models", repo) or {}).items() if name != ".gitattributes"}


def _writes(hub: Any) -> list[str]:
    return [path for method, path in hub.log if method in ("POST", "PUT", "DELETE")]


# -- what arrives ------------------------------------------------------------------------------------------------------


def test_the_whole_folder_arrives_in_one_commit_and_nothing_else(hub: Any, saved: Path) -> None:
    done = publish(saved, "tester/flowers", token=TOKEN)
    found = _published(hub, "tester/flowers")
    assert set(found) == {
        "config.json", "model.safetensors", "class_indices.json", "predict.py", "README.md", "metrics.json",
    }  # fmt: skip
    for name, path in found.items():
        if name != "README.md":
            assert path.read_bytes() == (saved / name).read_bytes(), name
    assert sum("/commit/" in path for path in _writes(hub)) == 1
    assert (done.repo, done.url, done.private) == ("tester/flowers", f"{hub.url}/tester/flowers", True)
    assert done.commit == hub.commit_of(hub.files("models", "tester/flowers"))
    assert hub.private == {"tester/flowers"}


def test_its_card_keeps_its_metadata_and_loads_it_from_there(hub: Any, saved: Path) -> None:
    publish(saved, "tester/flowers", token=TOKEN, public=True)
    card = _published(hub, "tester/flowers")["README.md"].read_text()
    before, after = (yaml.safe_load(text.split("---\n")[1]) for text in (CARD, card))
    assert after == before
    assert 'timm.create_model("hf-hub:tester/flowers", pretrained=True).eval()\n' in card
    assert "--model tester/flowers\n" in card
    assert "DIR" not in card and "OWNER" not in card
    assert hub.private == set()


def test_a_folder_without_a_card_gets_the_least(hub: Any, saved: Path, tmp_path: Path) -> None:
    for number, text in enumerate([None, "# Mine\n", "---\ntags: [mine]\n---\n# Mine\n"]):
        folder = tmp_path / str(number)
        shutil.copytree(saved, folder)
        (folder / "README.md").unlink() if text is None else (folder / "README.md").write_text(text)
        (folder / "predict.py").unlink()
        publish(folder, f"tester/card-{number}", token=TOKEN)
        found = _published(hub, f"tester/card-{number}")
        card = found["README.md"].read_text()
        data = yaml.safe_load(card.split("---\n")[1])
        assert (data["library_name"], data["pipeline_tag"], data["license"]) == ("timm", "image-classification", "mit")
        assert data.get("tags") == (["mine"] if number == 2 else None)
        assert ("# Mine" if text else f"# card-{number}") in card
        assert "predict.py" in found


def test_a_name_alone_is_one_of_the_own_account(hub: Any, saved: Path) -> None:
    assert publish(saved, " flowers ", token=TOKEN).repo == "tester/flowers"
    assert _published(hub, "tester/flowers")


def test_it_loads_from_there_with_the_same_logits(
    hub: Any, saved: Path, tmp_path: Path, pixels: Tensor, same_logits: Any
) -> None:
    """By our loader, and by the real timm in a process of its own, from a private repository."""
    done = publish(saved, "tester/flowers", token=TOKEN)
    with torch.inference_mode():
        logits = read_folder(saved).network()(pixels)
    found = load("tester/flowers", hub=Hub(hub.url, tmp_path / "cache", TOKEN))
    same_logits(found, logits, atol=0)
    assert found.source.commit == done.commit
    assert (found.temperature, found.rule, found.license) == (0.7, NoneOfThese("energy", 1.5), "mit")
    script = (
        f"import timm, torch; torch.set_num_threads(1); model = {done.loaders[0]}.eval();"
        f"torch.save((model(torch.load({str(tmp_path / 'pixels.pt')!r}, weights_only=True)).detach(),"
        f" model.pretrained_cfg['label_names']), {str(tmp_path / 'theirs.pt')!r})"
    )
    torch.save(pixels, tmp_path / "pixels.pt")
    environment = {
        **os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
    }  # fmt: skip
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=PATIENCE_S)
    theirs, names = torch.load(tmp_path / "theirs.pt", weights_only=True)
    assert torch.allclose(theirs, logits, atol=1e-5), (theirs - logits).abs().max()
    assert names == ["daisy", "tulip", "none"]


def test_shards_become_the_one_file_that_timm_reads(hub: Any, tmp_path: Path) -> None:
    done = publish(SHIPPED, "tester/flowers", token=TOKEN, public=True)
    found = _published(hub, "tester/flowers")
    assert {name for name in found if "model" in name} == {"model.safetensors"}
    here, there = read_folder(SHIPPED), load("tester/flowers", hub=Hub(hub.url, tmp_path / "cache", token=False))
    assert there.source.commit == done.commit
    assert all(torch.equal(there.state_dict[key], value) for key, value in here.state_dict.items())


# -- in a terminal -----------------------------------------------------------------------------------------------------


def test_from_a_shell_and_back_by_its_name(
    hub: Any, saved: Path, tmp_path: Path, a_photo: Image.Image, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    a_photo.save(tmp_path / "photo.png")
    environment = {
        **os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN,
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip

    done = run("weights", "publish", str(saved), "tester/flowers")
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [
            f"{hub.url}/tester/flowers (private)",
            'timm.create_model("hf-hub:tester/flowers", pretrained=True)',
            "python -m resnet classify PHOTO --model tester/flowers",
        ],
    ), done.stderr
    assert TOKEN not in done.stdout + done.stderr
    named = json.loads(
        run("resnet", "classify", "--json", "--model", "tester/flowers", str(tmp_path / "photo.png")).stdout
    )
    (row,) = read_folder(saved).classifier("cpu").predict([tmp_path / "photo.png"])
    assert named["predictions"] == to_json(row)["predictions"]
    for path in (tmp_path / "home").rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    again = command(main, "publish", str(saved), "tester/flowers", "--public")
    assert again == (2, "", f"There is a model tester/flowers on {hub.url[7:]} already; choose another name.\n")


def test_the_token_is_the_environments_and_public_is_asked_for(
    hub: Any, saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["publish", str(saved), "tester/flowers", "--public"]) == 2
    said = capsys.readouterr()
    assert "set HF_TOKEN or sign in" in said.err and said.out == ""
    assert hub.log == []
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert main(["publish", str(saved), "tester/flowers", "--public"]) == 0
    assert "(public)" in capsys.readouterr().out
    assert hub.private == set() and _published(hub, "tester/flowers")


# -- what can go wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["", " ", "/", "a/", "/a", "a/b/c", "a b/c", "../x", "a/..", "a/.b", "-a/b", "a/b.git", "a/b--c", "a/é", "a/b@main",
     "a/" + "x" * 97, "https://huggingface.co/a/b", "a/b\nc", "tester/x?y=1"],
)  # fmt: skip
def test_a_name_that_can_not_be_is_refused_before_anything_is_asked(
    hub: Any, saved: Path, name: str, refused: Any
) -> None:
    refused("publish.name", publish, saved, name, token=TOKEN)
    assert hub.log == []


def test_what_is_no_saved_model_is_refused_before_anything_is_asked(
    hub: Any, saved: Path, tmp_path: Path, timm_folder: Any, refused: Any
) -> None:
    def attempt(code: str, folder: Path) -> None:
        refused(code, publish, folder, "tester/flowers", token=TOKEN)

    attempt("publish.no_folder", tmp_path / "nothing")
    attempt("publish.no_folder", saved / "config.json")
    attempt("weights.no_config", tmp_path)
    timm_folder(tmp_path / "theirs", layers=[1, 1, 1, 1], num_classes=3)
    attempt("publish.not_ours", tmp_path / "theirs")
    broken = tmp_path / "broken"
    shutil.copytree(saved, broken)
    whole = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    attempt("weights.broken", broken)
    (broken / "model.safetensors").unlink()
    attempt("weights.none", broken)
    (broken / "model.safetensors").write_bytes(whole)
    assert hub.log == []
    (broken / "README.md").write_text("---\n{ this: is: no: yaml\n---\n# A\n")
    attempt("publish.card", broken)
    assert _writes(hub) == []


def test_a_name_that_is_taken_stays_as_it_is(hub: Any, saved: Path, refused: Any) -> None:
    before = {name: path.read_bytes() for name, path in hub.files("models", "tester/taken").items()}
    refused("publish.taken", publish, saved, "tester/taken", token=TOKEN)
    hub.fault("taken", "tester/flowers")
    refused("publish.taken", publish, saved, "tester/flowers", token=TOKEN)
    assert {name: path.read_bytes() for name, path in hub.files("models", "tester/taken").items()} == before
    assert not any("delete" in path or "commit" in path for path in _writes(hub))


def test_somebody_elses_name_is_refused(hub: Any, saved: Path, refused: Any) -> None:
    assert "somebody" in str(refused("publish.forbidden", publish, saved, "somebody/flowers", token=TOKEN))
    assert hub.files("models", "somebody/flowers") is None


@pytest.mark.parametrize("token", ["hf_wrong", "hf_with a space", "hf_\nnewline", "hf_日本", "x" * 600])
def test_a_wrong_token_is_refused_and_not_repeated(hub: Any, saved: Path, token: str, refused: Any) -> None:
    refusal = refused("publish.token", publish, saved, "tester/flowers", token=token)
    assert token not in str(refusal) and token not in str(refusal.facts)
    assert _writes(hub) == []


def test_an_expired_token_is_refused(hub: Any, saved: Path, refused: Any) -> None:
    hub.fault("expired")
    refused("publish.token", publish, saved, "tester/flowers", token=TOKEN)
    assert hub.files("models", "tester/flowers") is None


def test_a_token_that_may_only_read_is_refused_before_anything_is_written(hub: Any, saved: Path, refused: Any) -> None:
    hub.role = "read"
    refused("publish.read_only", publish, saved, "tester/flowers", token=TOKEN)
    assert _writes(hub) == []


def test_a_sign_in_that_may_not_create_is_not_called_expired(hub: Any, saved: Path, refused: Any) -> None:
    hub.role = "sign-in"
    refused("publish.forbidden", publish, saved, "tester/flowers", token=TOKEN)
    assert hub.files("models", "tester/flowers") is None


def test_the_hubs_own_reason_is_said_in_one_sentence(hub: Any, saved: Path, refused: Any) -> None:
    hub.fault("forbidden", "tester/flowers")
    refused("publish.forbidden", publish, saved, "tester/flowers", token=TOKEN)
    hub.clear()
    hub.fault("gated", "tester/flowers")
    refusal = refused("publish.not_taken", publish, saved, "tester/flowers", token=TOKEN)
    assert "(Access to model tester/flowers is restricted), so nothing was published" in str(refusal)


@pytest.mark.parametrize(
    ("fault", "code"),
    [("lost", "publish.lost"), ("gated", "publish.not_taken"), ("norepo", "publish.not_taken"), ("error", "hub.error"),
     ("expired", "publish.token")],
)  # fmt: skip
def test_what_fails_in_the_middle_leaves_nothing(
    hub: Any, saved: Path, fault: str, code: str, refused: Any, impatient: None
) -> None:
    """The repository was created; the fault is of a request about it, most of them of the first."""
    hub.fault(fault, "tester/flowers")
    refused(code, publish, saved, "tester/flowers", token=TOKEN)
    hub.clear()
    assert hub.files("models", "tester/flowers") is None
    assert publish(saved, "tester/flowers", token=TOKEN).repo == "tester/flowers", "and then it goes through"


def test_a_hub_that_fails_at_once_is_said_to(hub: Any, saved: Path, refused: Any) -> None:
    hub.fault("error")
    refused("hub.error", publish, saved, "tester/flowers", token=TOKEN)
    hub.clear()
    hub.fault("ratelimit")
    refused("hub.busy", publish, saved, "tester/flowers", token=TOKEN)


def test_a_hub_that_says_nothing_is_given_up(
    hub: Any, saved: Path, refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights.publish, "SILENCE_S", 0.3)
    hub.fault("timeout")
    refused("hub.timeout", publish, saved, "tester/flowers", token=TOKEN)


def test_no_hub_at_all_is_said(saved: Path, hub: Any, refused: Any) -> None:
    refused("publish.lost", publish, saved, "tester/flowers", token=TOKEN, endpoint="http://127.0.0.1:9")


def test_what_can_not_be_removed_is_said(hub: Any, saved: Path, refused: Any, impatient: None) -> None:
    hub.fault("lost", "tester/flowers")
    hub.fault("stuck", "tester/flowers")
    assert "tester/flowers" in str(refused("publish.left", publish, saved, "tester/flowers", token=TOKEN))
    assert _published(hub, "tester/flowers") == {}


def test_a_removal_is_tried_again(hub: Any, saved: Path, refused: Any, impatient: None) -> None:
    hub.fault("lost", "tester/flowers")
    hub.fault("stuck", "tester/flowers", times=1)
    refused("publish.lost", publish, saved, "tester/flowers", token=TOKEN)
    assert hub.files("models", "tester/flowers") is None


def test_a_base_is_published_without_what_only_classes_need(
    hub: Any, saved: Path, tmp_path: Path, refused: Any
) -> None:
    """No names, no `predict.py`; what arrives is what was saved, to the byte."""
    checkpoint = read_folder(saved)
    base = replace(
        checkpoint, config=checkpoint.config.with_classes(0), label_names=(),
        state_dict={key: value for key, value in checkpoint.state_dict.items() if not key.startswith("fc.")},
    )  # fmt: skip
    write_folder(base, tmp_path / "base")
    publish(tmp_path / "base", "tester/base", token=TOKEN)
    found = _published(hub, "tester/base")
    assert set(found) == {"config.json", "model.safetensors", "README.md"}
    sent = hashlib.sha256(found["model.safetensors"].read_bytes()).hexdigest()
    assert sent == hashlib.sha256((tmp_path / "base" / "model.safetensors").read_bytes()).hexdigest()
