"""The models that a page holds: loaded once for all visitors, dropped by size, never with the owner's token."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import ui.models
from resnet.config import VARIANTS, ResNetConfig
from resnet.errors import Refusal
from resnet.preprocess import Preprocess
from tests.ui.conftest import TOKEN
from tests.waiting import PATIENCE_S, until
from ui.models import MAX_LOADING, MAX_WAITING, Models
from weights.hub import Hub
from weights.layouts import Description
from weights.load import load

Make = Callable[..., Models]


def downloads(hub: Any) -> list[str]:
    return [path for method, path in hub.log if method == "GET" and path.endswith(".safetensors")]


def test_visitors_who_want_the_same_model_share_one_download(hub: Any, make_models: Make) -> None:
    models = make_models()
    hub.fault("held", "tester/one")
    together = threading.Barrier(4)

    def visitor() -> Any:
        together.wait()
        return models.start("tester/one")

    with ThreadPoolExecutor(4) as pool:
        started = list(pool.map(lambda _: visitor(), range(4)))
    assert hub.holding.wait(PATIENCE_S)
    hub.release()
    found = [load.future.result(PATIENCE_S) for load in started]
    assert len(downloads(hub)) == 1
    assert all(one is found[0] for one in found)
    assert found[0].classifier.label_names == ("cat", "dog", "pony")


def test_a_load_tells_how_far_it_is(hub: Any, make_models: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 20)
    hub.fault("held", "tester/one")
    under_way = make_models().start("tester/one")
    assert hub.holding.wait(PATIENCE_S)
    until(lambda: under_way.done > under_way.total / 2)
    total = under_way.total
    assert total > 15e6 and under_way.done <= 0.6 * total
    hub.release()
    under_way.future.result(PATIENCE_S)
    assert under_way.total == under_way.done == total


def test_a_failure_is_not_remembered(hub: Any, make_models: Make) -> None:
    models = make_models()
    hub.fault("error", "tester/one", times=1)
    with pytest.raises(Refusal) as refused:
        models.get("tester/one")
    assert refused.value.code == "hub.error"
    assert models.get("tester/one").checkpoint.source.repo == "tester/one"


def test_the_least_used_model_is_dropped_first(make_models: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    models = make_models()
    one = models.get("tester/one")
    monkeypatch.setattr(ui.models, "MAX_BYTES", int(2.5 * one.bytes))
    models.get("tester/two")
    models.get("tester/one")  # used again: now two is the oldest
    models.get("tester/three")
    held = {name: models.start(f"tester/{name}").future.done() for name in ("one", "three", "two")}
    assert held == {"one": True, "three": True, "two": False}
    assert models.get("tester/one") is one


def test_a_model_of_the_owner_that_is_larger_than_all_room_still_works(
    make_models: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui.models, "MAX_BYTES", 1)
    models = make_models(trusted=("tester/one",))
    models.get("flowers")
    one = models.get("tester/one")
    assert models.start("tester/one").future.result() is one
    assert models.start("tester/one").future.done()


def test_the_weights_are_held_once(make_models: Make) -> None:
    found = make_models().get("flowers")
    assert not found.checkpoint.state_dict
    assert found.bytes == 4 * found.checkpoint.config.num_parameters


def test_too_many_loads_are_refused_and_room_is_made_again(hub: Any, make_models: Make) -> None:
    models = make_models()
    hub.fault("timeout")
    waiting = [models.start(f"tester/absent-{number}") for number in range(MAX_LOADING + MAX_WAITING)]
    with pytest.raises(Refusal) as refused:
        models.start("tester/one")
    assert refused.value.code == "model.busy"
    assert models.start("tester/absent-0") is waiting[0]  # who joins a load makes no new one
    hub.clear()
    for one in waiting:
        with pytest.raises(Refusal):
            one.future.result(PATIENCE_S)
    assert models.get("tester/one").classifier.label_names


def test_what_lies_on_this_disk_does_not_wait_for_the_hub(hub: Any, make_models: Make) -> None:
    models = make_models()
    hub.fault("timeout")
    for number in range(MAX_LOADING + 1):
        models.start(f"tester/absent-{number}")
    assert models.start("flowers").future.result(PATIENCE_S).classifier.label_names
    assert not models.start("tester/absent-0").future.done()


def test_a_page_does_not_use_the_token_of_its_owner(
    hub: Any, make_models: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(Refusal) as refused:
        make_models().get("tester/private")
    assert refused.value.code == "hub.no_repo"
    # The token would have opened it:
    assert load("tester/private", hub=Hub(hub.url, tmp_path / "other", None)).label_names == ("cat", "dog", "pony")
    # And so it is for Models as a page makes them:
    assert Models().hub.token is False


@pytest.mark.parametrize(
    "name", [".", "/etc", "../weights", "weights/flowers", "~", "weights", "", " ", "a/b/c", "a b/c"]
)
def test_what_a_visitor_types_is_never_a_path(make_models: Make, hub: Any, name: str) -> None:
    with pytest.raises(Refusal) as refused:
        make_models().get(name)
    assert refused.value.code in ("weights.name", "hub.no_repo")


def test_a_path_given_at_the_start_is_one(make_models: Make) -> None:
    found = make_models(trusted=("weights/flowers",)).get("weights/flowers")
    assert found.classifier.label_names[0] == "daisy"


def test_spellings_of_one_catalogue_name_are_one_model(hub: Any, make_models: Make) -> None:
    hub.fault("timeout")
    models = make_models()
    first = models.start("resnet18.a1_in1k")
    assert models.start(" timm/resnet18.a1_in1k ") is first
    hub.clear()
    assert first.future.exception(PATIENCE_S) is not None


def described(config: ResNetConfig, size: int = 224) -> Description:
    return Description("timm", config, Preprocess(size), ())


def test_what_a_page_can_not_bear_is_refused_before_it_is_fetched(
    make_models: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = make_models()
    wide, deep = ResNetConfig("bottleneck", (3, 4, 23, 3), 32, 32), ResNetConfig("basic", (400, 2, 2, 2))
    for config, size, code in ((wide, 224, "model.large"), (deep, 512, "model.slow"), (VARIANTS["resnet50"], 1024, "")):
        if code:
            with pytest.raises(Refusal) as refused:
                models.admit("tester/much", described(config, size))
            assert refused.value.code == code and "tester/much" in str(refused.value)
        else:
            models.admit("tester/usual", described(config, size))
    monkeypatch.setattr(ui.models, "available_bytes", lambda: 30_000_000)
    with pytest.raises(Refusal) as refused:
        models.admit("tester/small", described(VARIANTS["resnet18"]))
    assert refused.value.code == "model.memory" and "has 30 MB of memory left" in str(refused.value)


def test_a_hub_model_that_is_refused_has_no_weights_fetched(
    hub: Any, make_models: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui.models, "MAX_GMACS", 0)
    models = make_models()
    for ask in (models.get, models.base):
        with pytest.raises(Refusal) as refused:
            ask("tester/one")
        assert refused.value.code == "model.slow"
    assert not downloads(hub)


def test_room_is_made_before_a_model_comes_and_never_of_the_owners(
    hub: Any, make_models: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = make_models(trusted=("flowers",))
    sizes = {name: models.get(name).bytes for name in ("flowers", "tester/one")}
    monkeypatch.setattr(ui.models, "MAX_BYTES", sum(sizes.values()) + 1)
    hub.fault("held", "tester/two")
    coming = models.start("tester/two")
    assert hub.holding.wait(PATIENCE_S)
    assert list(models._ready) == ["flowers"]
    hub.release()
    coming.future.result(PATIENCE_S)
    assert list(models._ready) == ["flowers", "tester/two"]
