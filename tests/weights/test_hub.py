"""The real client against a Hub on loopback: what it costs, what it verifies, how far it is."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from torch import Tensor

import weights.hub
import weights.load
from resnet.errors import Refusal
from tests.hub.local_hub import LocalHub
from tests.waiting import PATIENCE_S, until
from tests.weights.hubs import WEIGHTS, blobs, downloads, flip
from weights.hub import Hub
from weights.load import load

# -- what it costs -----------------------------------------------------------------------------------------------------


def test_the_first_fetch_brings_what_is_needed_and_no_more(
    client: Hub, hub: Any, expected: Tensor, same_logits: Any
) -> None:
    checkpoint = load("lab/timm", hub=client)
    same_logits(checkpoint, expected)
    assert checkpoint.label_names == ("daisy", "tulip", "none")
    assert sorted(downloads(hub)) == ["config.json", WEIGHTS]
    assert hub.log[0][1].startswith("/api/models/lab/timm")
    source = checkpoint.source
    assert (source.name, source.repo, source.revision, source.from_cache) == ("lab/timm", "lab/timm", "main", False)
    assert source.path and (source.path / WEIGHTS).is_file()
    assert source.commit == source.path.name


def test_a_branch_in_the_cache_costs_one_request(client: Hub, hub: Any, fetched: Any) -> None:
    again = load("lab/timm", hub=client)
    assert [method for method, _ in hub.log] == ["GET"]
    assert hub.log[0][1].startswith("/api/models/lab/timm")
    assert again.source == fetched.source
    assert not again.source.from_cache


def test_a_commit_in_the_cache_costs_none(client: Hub, hub: Any, fetched: Any) -> None:
    pinned = load(f"lab/timm@{fetched.source.commit}", hub=client)
    assert hub.log == []
    assert pinned.source.revision == pinned.source.commit == fetched.source.commit
    assert not pinned.source.from_cache, "a commit is what it is"


def test_a_commit_that_is_not_in_the_cache_is_fetched(client: Hub, hub: Any, tmp_path: Path, fetched: Any) -> None:
    other = Hub(hub.url, tmp_path / "other", token=False)
    assert load(f"lab/timm@{fetched.source.commit}", hub=other).source.commit == fetched.source.commit
    assert sorted(downloads(hub)) == ["config.json", WEIGHTS]


def test_a_branch_that_moved_is_fetched_again_and_the_old_commit_stays(repositories: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(repositories / "lab" / "timm", root / "lab" / "timm", copy_function=os.link)
    with LocalHub(root) as hub:
        client = Hub(hub.url, tmp_path / "cache", token=False)
        before = load("lab/timm", hub=client)
        config = json.loads((root / "lab" / "timm" / "config.json").read_text())
        (root / "lab" / "timm" / "config.json").unlink()  # it is a link to what others are served
        (root / "lab" / "timm" / "config.json").write_text(json.dumps({**config, "label_names": ["x", "y", "z"]}))
        hub.clear()
        after = load("lab/timm", hub=client)
        assert after.label_names == ("x", "y", "z")
        assert after.source.commit != before.source.commit
        assert downloads(hub) == ["config.json"], "the weights are the same, by their hash"
        hub.clear()
        assert load(f"lab/timm@{before.source.commit}", hub=client).label_names == before.label_names
        assert hub.log == []


def test_without_a_network_the_cached_version_is_used_and_says_so(
    repositories: Path, tmp_path: Path, expected: Tensor, same_logits: Any, refused: Any
) -> None:
    with LocalHub(repositories) as hub:
        client = Hub(hub.url, tmp_path / "cache", token=False)
        commit = load("lab/timm", hub=client).source.commit
        listing = client.resolve("lab/timm")
    huggingface_hub.close_session()  # a connection that is kept alive would still be answered
    offline = load("lab/timm", hub=client)
    same_logits(offline, expected)
    assert offline.source.from_cache
    assert offline.source.commit == commit
    assert not load(f"lab/timm@{commit}", hub=client).source.from_cache
    for name in ("lab/transformers", "lab/timm@another-branch", f"lab/timm@{'0' * 40}"):
        assert "`flowers`" in str(refused("hub.offline", load, name, hub=client))
    refused("hub.offline", client.fetch, listing, "README.md")


@pytest.mark.parametrize("kind", ["timeout", "error", "ratelimit"])
def test_with_no_answer_from_the_hub_the_cached_version_is_used(
    client: Hub, hub: Any, fetched: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(weights.hub, "TIMEOUT_S", 0.2)
    hub.fault(kind)
    again = load("lab/timm", hub=client)
    assert again.source == replace(fetched.source, from_cache=True)


@pytest.mark.parametrize("kind", ["norepo", "gated", "norevision", "expired"])
def test_where_the_hub_refuses_the_cache_is_no_way_around(
    client: Hub, hub: Any, fetched: Any, refused: Callable[..., Refusal], kind: str
) -> None:
    code = {"norepo": "no_repo", "norevision": "no_revision", "expired": "token"}.get(kind, kind)
    hub.fault(kind)
    refused(f"hub.{code}", load, "lab/timm", hub=client)


def test_offline_mode_of_the_client_is_honoured(
    client: Hub, hub: Any, fetched: Any, refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert load("lab/timm", hub=client).source.from_cache
    refused("hub.offline", load, "lab/bin", hub=client)
    assert hub.log == []


def test_the_endpoint_is_read_from_the_environment(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    assert load("lab/timm", hub=Hub(cache_dir=tmp_path, token=False)).source.repo == "lab/timm"


def test_the_cache_is_still_the_clients_own(client: Hub, fetched: Any) -> None:
    """What we fetched, other programs find; and the client's tools take no offence at our receipts."""
    path = huggingface_hub.hf_hub_download(
        "lab/timm", WEIGHTS, revision=fetched.source.commit, cache_dir=client.cache_dir, local_files_only=True
    )
    assert Path(path) == fetched.source.path / WEIGHTS
    report = huggingface_hub.scan_cache_dir(client.cache_dir)
    assert report.warnings == []
    assert [repo.repo_id for repo in report.repos] == ["lab/timm"]
    report.delete_revisions(fetched.source.commit).execute()
    assert load("lab/timm", hub=client).source.commit == fetched.source.commit


def test_what_the_client_has_in_its_cache_already_is_not_fetched_again(client: Hub, hub: Any) -> None:
    huggingface_hub.snapshot_download("lab/timm", cache_dir=client.cache_dir, endpoint=hub.url, token=False)
    hub.clear()
    load("lab/timm", hub=client)
    assert len(hub.log) == 1
    assert downloads(hub) == []


# -- what it verifies --------------------------------------------------------------------------------------------------


def test_a_download_is_verified_once(client: Hub, fetched: Any, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    original = weights.hub._matches
    monkeypatch.setattr(weights.hub, "_matches", lambda path, remote: hashed.append(path) or original(path, remote))
    load("lab/timm", hub=client)
    load(f"lab/timm@{fetched.source.commit}", hub=client)
    assert hashed == []
    load("lab/bin", hub=client)
    assert sorted(path.name for path in hashed) == ["config.json", "pytorch_model.bin"]


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_a_crash_between_download_and_verification_is_caught(
    client: Hub, hub: Any, expected: Tensor, same_logits: Any, refused: Any, name: str
) -> None:
    """What lies in the cache without having been verified is verified before it is used."""
    listing = client.resolve("lab/timm")
    path = huggingface_hub.hf_hub_download(
        "lab/timm", name, revision=listing.commit, cache_dir=client.cache_dir, endpoint=hub.url, token=False
    )
    flip(Path(path).resolve())
    assert name in str(refused("hub.corrupted", load, "lab/timm", hub=client))
    assert not Path(path).exists()
    assert not Path(path).is_symlink()
    same_logits(load("lab/timm", hub=client), expected)


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
@pytest.mark.parametrize(("kind", "code"), [("flip", "hub.corrupted"), ("truncate", "hub.truncated")])
def test_a_damaged_download_is_dropped_and_the_next_try_is_clean(
    client: Hub, hub: Any, expected: Tensor, same_logits: Any, refused: Any, name: str, kind: str, code: str
) -> None:
    listing = client.resolve("lab/timm")
    hub.fault(kind, "lab/timm", times=1)
    refusal = refused(code, client.fetch, listing, name)
    assert f"{name} of lab/timm" in str(refusal)
    assert "try again" in str(refusal)
    assert blobs(client) == [], "nothing bad is left"
    assert client.fetch(listing, name).stat().st_size == listing.files[name].size
    same_logits(load("lab/timm", hub=client), expected)


def test_a_flipped_byte_is_caught_whichever_file_it_hits(
    client: Hub, hub: Any, expected: Tensor, same_logits: Any, refused: Any
) -> None:
    hub.fault("flip", "lab/timm", times=2)
    assert "config.json" in str(refused("hub.corrupted", load, "lab/timm", hub=client))
    assert "config.json" in str(refused("hub.corrupted", load, "lab/timm", hub=client))
    same_logits(load("lab/timm", hub=client), expected)


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_a_connection_that_drops_is_resumed(client: Hub, hub: Any, name: str, impatient: None) -> None:
    listing = client.resolve("lab/timm")
    hub.fault("drop", times=1)
    path = client.fetch(listing, name)
    assert path.stat().st_size == listing.files[name].size
    assert len(downloads(hub)) == 2


def test_a_connection_that_drops_for_good_is_said_to_be_so(
    client: Hub, hub: Any, refused: Any, impatient: None
) -> None:
    listing = client.resolve("lab/timm")
    hub.fault("drop")
    assert "arrived incomplete" in str(refused("hub.truncated", client.fetch, listing, "config.json"))
    hub.clear()
    client.fetch(listing, "config.json")


def test_a_hash_of_another_kind_is_checked_by_what_there_is(client: Hub, refused: Any) -> None:
    """Where the Hub announced no hash at all, the size has to do."""
    listing = client.resolve("lab/timm")
    plain = replace(listing.files["config.json"], git_sha1=None, sha256=None)
    client.fetch(replace(listing, files={"config.json": plain}), "config.json")
    wrong = replace(listing, files={"README.md": replace(listing.files["README.md"], git_sha1="0" * 40)})
    refused("hub.corrupted", client.fetch, wrong, "README.md")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"files": []}', b'{"files": {"a": 1}}', b"\xff\xfe"])
def test_a_damaged_receipt_is_only_written_again(client: Hub, hub: Any, fetched: Any, content: bytes) -> None:
    folder = client.cache_dir / "models--lab--timm" / ".verified"
    commit = fetched.source.commit
    for receipt in (folder / f"{commit}.json", folder / "refs" / "main"):
        receipt.write_bytes(content)
    assert load(f"lab/timm@{commit}", hub=client).source.commit == commit
    assert load("lab/timm", hub=client).source.commit == commit
    assert downloads(hub) == []


# -- progress ----------------------------------------------------------------------------------------------------------


def test_progress_grows_to_the_whole(client: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1 << 20)
    calls: list[tuple[int, int, str]] = []
    load("lab/timm", hub=client, progress=lambda *call: calls.append(call))
    done = [call[0] for call in calls]
    size = client.resolve("lab/timm").files[WEIGHTS].size
    assert done == sorted(set(done)), "it only grows"
    assert len(done) >= size >> 20
    assert done[-1] == size
    assert {call[1:] for call in calls} == {(size, WEIGHTS)}


def test_progress_runs_over_all_shards(client: Hub, repositories: Path, tmp_path: Path) -> None:
    from weights.checkpoint import read_folder, write_folder

    root = tmp_path / "root"
    write_folder(read_folder(repositories / "lab" / "timm"), root / "lab" / "sharded", shard_bytes=3_000_000)
    parts = sorted((root / "lab" / "sharded").glob("*.safetensors"))
    calls: list[tuple[int, int, str]] = []
    with LocalHub(root) as hub:
        client = Hub(hub.url, tmp_path / "cache", token=False)
        checkpoint = load("lab/sharded", hub=client, progress=lambda *call: calls.append(call))
        assert sorted(downloads(hub)) == sorted(
            ["config.json", "class_indices.json", "model.safetensors.index.json", *(part.name for part in parts)]
        )
    total = sum(part.stat().st_size for part in parts)
    done = [call[0] for call in calls]
    assert len(parts) > 2
    assert done == sorted(set(done))
    assert done[-1] == total
    assert {call[1] for call in calls} == {total}
    assert [call[2] for call in calls if call[2]] == sorted(call[2] for call in calls)
    assert checkpoint.label_names == ("daisy", "tulip", "none")


def test_progress_grows_across_a_connection_that_dropped(client: Hub, hub: Any, impatient: None) -> None:
    listing = client.resolve("lab/timm")
    hub.fault("drop", times=1)
    done: list[int] = []
    client.fetch(listing, WEIGHTS, lambda so_far, total, name: done.append(so_far))
    assert done == sorted(set(done))
    assert done[-1] == listing.files[WEIGHTS].size


def test_progress_of_two_bars_for_one_file_grows_all_the_same() -> None:
    """With Xet, which the real Hub speaks, the client counts what came over the wire and what is on disk apart."""
    reporting = pytest.importorskip("huggingface_hub.utils._xet_progress_reporting")
    calls: list[int] = []
    bar = weights.hub._reporter(lambda done, total, name: calls.append(done), 1000, WEIGHTS)

    class Report:
        total_bytes = 1000
        total_bytes_completion_rate = total_transfer_bytes_completion_rate = 5.0

        def __init__(self, transferred: int, written: int) -> None:
            self.total_transfer_bytes_completed, self.total_bytes_completed = transferred, written

    with reporting.XetDownloadProgressReporter(
        reconstruction_desc="a", total=1000, log_level=20, name="a", tqdm_class=bar
    ) as reporter:
        for step in ((100, 0), (400, 100), (700, 500), (700, 900), (700, 1000)):
            reporter.update_progress(Report(*step))
    assert calls == [100, 400, 500, 700, 900, 1000]


def test_a_download_can_be_stopped_and_taken_up_again(client: Hub, hub: Any) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int, name: str) -> None:
        raise Stop

    listing = client.resolve("lab/timm")
    with pytest.raises(Stop):
        client.fetch(listing, WEIGHTS, stop)
    assert blobs(client) == []
    assert client.fetch(listing, WEIGHTS).is_file()


# -- several at once ---------------------------------------------------------------------------------------------------


def test_two_threads_may_fetch_the_same_at_once(client: Hub, hub: Any, expected: Tensor, same_logits: Any) -> None:
    hub.fault("held", "lab/timm")
    found: list[Any] = []
    errors: list[BaseException] = []

    def fetch() -> None:
        try:
            found.append(load("lab/timm", hub=client))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert hub.holding.wait(PATIENCE_S), "none of them is done before the last has begun"
    until(lambda: sum(path.startswith("/api/models/") for _, path in hub.log) == 3)
    hub.clear()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert errors == []
    for checkpoint in found:
        same_logits(checkpoint, expected)
    assert len(found) == 3
    assert len(blobs(client)) == 2


def test_two_threads_that_get_a_damaged_file_both_end_in_a_sentence(client: Hub, hub: Any) -> None:
    listing = client.resolve("lab/timm")
    hub.fault("flip", "lab/timm")
    outcomes: list[object] = []

    def fetch() -> None:
        try:
            outcomes.append(client.fetch(listing, WEIGHTS))
        except BaseException as error:
            outcomes.append(getattr(error, "code", error))

    threads = [threading.Thread(target=fetch) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert outcomes == ["hub.corrupted"] * 3
    hub.clear()
    assert client.fetch(listing, WEIGHTS).is_file()
