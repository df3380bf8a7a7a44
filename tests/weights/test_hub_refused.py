"""Each way that a Hub can fail, and that a token stays where it belongs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import weights.hub
import weights.load
from resnet.errors import Refusal
from tests.hub.local_hub import LocalHub
from tests.weights.hubs import WEIGHTS, blobs, downloads
from weights.hub import Hub
from weights.load import load

# -- each way to fail --------------------------------------------------------------------------------------------------

FAULTS = {
    "norepo": ("hub.no_repo", "There is no model lab/timm on "),
    "gated": ("hub.gated", "lab/timm is gated: accept its terms on "),
    "norevision": ("hub.no_revision", "lab/timm has no revision main"),
    "expired": ("hub.token", "hf auth login"),
    "error": ("hub.error", "(500); try again in a few minutes"),
    "ratelimit": ("hub.busy", "wait a minute"),
    "timeout": ("hub.timeout", "did not answer within 1 seconds"),
}


@pytest.mark.parametrize("late", [False, True], ids=["at the listing", "at a file"])
@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_has_its_own_sentence_at_once(
    client: Hub, hub: Any, refused: Any, monkeypatch: pytest.MonkeyPatch, kind: str, late: bool
) -> None:
    monkeypatch.setattr(weights.hub, "TIMEOUT_S", 0.6)
    waits: list[float] = []
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", waits.append)  # before it tries again
    code, words = FAULTS[kind]
    listing = client.resolve("lab/timm") if late else None
    hub.fault(kind, "lab/timm")
    refusal = refused(code, *((client.fetch, listing, WEIGHTS) if listing else (client.resolve, "lab/timm")))
    assert not waits, "nobody waits for a second try"
    assert words in str(refusal)
    assert refusal.facts["repo"] == "lab/timm"
    assert refusal.facts["host"] in hub.url
    hub.clear()
    assert load("lab/timm", hub=client).label_names, "nothing is left of the failure"


def test_a_revision_that_does_not_exist_is_named(client: Hub, refused: Any) -> None:
    refusal = refused("hub.no_revision", load, "lab/timm@v9", hub=client)
    assert str(refusal) == "lab/timm has no revision v9; leave it out to get the newest."


def test_a_short_commit_is_resolved(client: Hub, fetched: Any) -> None:
    assert load(f"lab/timm@{fetched.source.commit[:7]}", hub=client).source.commit == fetched.source.commit


def test_a_file_that_is_gone_is_said_to_be_so(client: Hub, refused: Any) -> None:
    listing = client.resolve("lab/timm")
    gone = replace(listing, files={"gone.json": listing.files["config.json"]})
    assert "gone.json" in str(refused("hub.no_file", client.fetch, gone, "gone.json"))


def test_no_hub_at_all_is_said_to_be_so(tmp_path: Path, refused: Any) -> None:
    for endpoint in ("http://127.0.0.1:9", "http://no-such-host.invalid"):
        refusal = refused("hub.offline", load, "lab/timm", hub=Hub(endpoint, tmp_path / "cache", token=False))
        assert str(refusal).startswith(endpoint.removeprefix("http://"))


def test_a_full_disk_is_said_to_be_full(hub: Any, small_disk: Path, refused: Any) -> None:
    client = Hub(hub.url, small_disk / "cache", token=False)
    refusal = refused("hub.disk_full", load, "lab/timm", hub=client)
    assert str(small_disk) in str(refusal)
    kept = sum(path.stat().st_size for path in small_disk.rglob("*") if path.is_file() and not path.is_symlink())
    assert kept < 100_000, "what could not be kept whole is not kept"


def test_a_disk_that_is_full_from_the_start_is_said_to_be_full(hub: Any, small_disk: Path, refused: Any) -> None:
    with (small_disk / "filler").open("wb") as filler, pytest.raises(OSError, match="space"):
        while True:
            filler.write(bytes(65536))
            filler.flush()
    refused("hub.disk_full", load, "lab/timm", hub=Hub(hub.url, small_disk / "cache", token=False))


def test_a_cache_that_may_not_be_written_says_what_to_do(hub: Any, read_only: Path, refused: Any) -> None:
    refusal = refused("hub.no_cache", load, "lab/timm", hub=Hub(hub.url, read_only / "cache", token=False))
    assert "HF_HOME" in str(refusal)
    assert str(read_only) in str(refusal)


def test_a_file_in_the_place_of_the_cache_says_what_to_do(hub: Any, tmp_path: Path, refused: Any) -> None:
    (tmp_path / "file").write_text("")
    for cache in (tmp_path / "file", tmp_path / "file" / "below"):
        refused("hub.no_cache", load, "lab/timm", hub=Hub(hub.url, cache, token=False))


# -- tokens ------------------------------------------------------------------------------------------------------------

SECRET = "hf_AVerySecretTokenOfATest"


@pytest.fixture
def private_hub(repositories: Path) -> Any:
    with LocalHub(repositories, token=SECRET) as server:
        server.private.add("lab/timm")
        yield server


def test_a_private_repository_is_read_with_its_token_only(private_hub: Any, tmp_path: Path, refused: Any) -> None:
    assert load("lab/timm", hub=Hub(private_hub.url, tmp_path / "a", token=SECRET)).label_names
    refused("hub.no_repo", load, "lab/timm", hub=Hub(private_hub.url, tmp_path / "b", token=False))
    refused("hub.token", load, "lab/timm", hub=Hub(private_hub.url, tmp_path / "c", token="hf_AnotherToken"))


def test_no_token_is_sent_where_none_is_to_be_used(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []
    handler = hub.server.RequestHandlerClass
    original = handler.general_fault

    def spy(self: Any, found: dict[str, str]) -> bool:
        seen.append(self.headers.get("Authorization"))
        return original(self, found)

    monkeypatch.setattr(handler, "general_fault", spy)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    load("lab/timm", hub=Hub(hub.url, tmp_path / "a", token=False))
    assert seen
    assert set(seen) == {None}
    seen.clear()
    load("lab/timm", hub=Hub(hub.url, tmp_path / "b"))
    assert set(seen) == {f"Bearer {SECRET}"}, "whoever is signed in on this machine uses their own token"


def test_a_token_is_never_stored_nor_said(
    private_hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    monkeypatch.setattr(weights.hub, "TIMEOUT_S", 0.2)
    client = Hub(private_hub.url, tmp_path / "cache", token=SECRET)
    said = []
    for kind in (*FAULTS, "flip", "truncate", None):
        if kind:
            private_hub.fault(kind)
        try:
            said.append(load("lab/timm", hub=client).source)
        except Refusal as refusal:
            said += [refusal, refusal.facts]
        private_hub.clear()
    assert len(said) == 2 * (len(FAULTS) + 2) + 1
    assert SECRET not in repr(said) + "".join(str(one) for one in said)
    assert SECRET not in caplog.text + "".join(capfd.readouterr())
    stored = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert stored
    assert not [path for path in stored if SECRET.encode() in path.read_bytes() or SECRET in str(path)]


# -- what would fill a disk --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "class_indices.json"])
def test_a_small_file_that_is_large_is_refused_before_it_is_fetched(name: str, tmp_path: Path, refused: Any) -> None:
    """300 MB of settings would come, and be read into memory."""
    folder = tmp_path / "hub/lab/large"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"architecture": "resnet18", "num_classes": 2}')
    with (folder / name).open("r+b" if name == "config.json" else "wb") as file:
        file.truncate(17 * 1024**2)
    with LocalHub(tmp_path / "hub") as hub:
        refusal = refused("hub.large_file", load, "lab/large", hub=Hub(hub.url, tmp_path / "cache", False))
        assert f"{name} of lab/large is 17 MB, and no ResNet's is larger than 16 MB" in str(refusal)
        assert name not in [path.rsplit("/", 1)[1] for _, path in hub.log]


def test_what_was_fetched_first_goes_where_there_is_too_much(repositories: Path, tmp_path: Path) -> None:
    """What was in the cache before is not ours to remove; what is gone is fetched again when it is asked for."""
    for number, name in enumerate(("timm", "one", "two")):
        shutil.copytree(repositories / "lab/timm", folder := tmp_path / "hub/lab" / name)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"number": number}))
    with LocalHub(tmp_path / "hub") as hub:
        load("lab/timm", hub=(first := Hub(hub.url, tmp_path / "cache", False)))
        before = set(blobs(first))
        size = sum(path.stat().st_size for path in before)
        bounded = Hub(hub.url, tmp_path / "cache", False, max_bytes=size + 1000)
        for name in ("lab/one", "lab/two"):
            load(name, hub=bounded)
        kept = sum(path.stat().st_size for path in set(blobs(bounded)) - before)
        assert before <= set(blobs(bounded)) and kept <= size + 1000
        again = len(downloads(hub))
        load("lab/timm", hub=bounded)
        load("lab/two", hub=bounded)
        assert len(downloads(hub)) == again, "still there"
        load("lab/one", hub=bounded)
        assert WEIGHTS in downloads(hub)[again:], "it had gone"
