"""Models on the page: chosen from the list or typed, fetched from a Hub that may fail, and never from a path."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from playwright.sync_api import Page, expect
from safetensors.torch import load_file
from timm.data import create_transform, resolve_data_config
from transformers import AutoImageProcessor, ResNetForImageClassification

from resnet.preprocess import open_image
from tests.page.conftest import PETS, SILENCE_S, Named, Site, bars, choose_model, choose_photo, free_port
from ui.models import Models
from weights.hub import Hub

pytestmark = pytest.mark.page
Visit = Callable[..., Page]


def facts(page: Page, model: str) -> str:
    """The line of facts once it is of that repository."""
    page.wait_for_selector(f"#facts .facts:has-text('weights from {model},')")
    return page.inner_text("#facts")


def refused(page: Page, words: str) -> None:
    """Wait for a refusal with those words where the facts stand."""
    page.wait_for_selector(f"#facts .refusal[role=alert]:has-text({json.dumps(words, ensure_ascii=False)})")


def same_bars(shown: list[str], labels: list[str], logits: torch.Tensor) -> None:
    """Names and percentages as another library has them; the last digit may round the other way."""
    top = logits.double().softmax(0).topk(len(shown))
    for line, probability, index in zip(shown, top.values.tolist(), top.indices.tolist(), strict=True):
        name, percent = line.split("\n")
        assert name == labels[index]
        assert float(percent.removesuffix(" %")) == pytest.approx(100 * probability, abs=0.11)


def test_a_list_that_is_left_with_tab_closes(visit: Visit) -> None:
    page = visit()
    choose_model(page, "flowers")
    expect(page.get_by_role("option")).to_have_count(0)


def test_a_model_of_the_list(visit: Visit, hub: Any, rose: Named) -> None:
    page = visit()
    choose_photo(page, rose.path)
    field = page.locator("#model input")
    field.click()
    field.fill("resnet18.a1")
    page.get_by_role("option", name="resnet18.a1_in1k").click()
    line = facts(page, "timm/resnet18.a1_in1k")
    commit = hub.commit_of(hub.files("models", "timm/resnet18.a1_in1k"))
    for fact in ("resnet18", "11.7 M parameters", "1,000 classes", "apache-2.0", "ImageNet top-1 73.2 %", commit[:7]):
        assert fact in line
    page.wait_for_function("document.querySelector('#answer .doubt')?.innerText.includes('1,000')")
    assert page.locator("#top-k input[type=range]").get_attribute("max") == "10"
    # The same names as the real timm gives, from the same files:
    folder = hub.root / "timm/resnet18.a1_in1k"
    config = json.loads((folder / "config.json").read_text())
    network = timm.create_model(config["architecture"], num_classes=config["num_classes"]).eval()
    network.load_state_dict(load_file(folder / "model.safetensors"))
    transform = create_transform(**resolve_data_config({}, pretrained_cfg=config["pretrained_cfg"], use_test_size=True))
    with torch.inference_mode():
        logits = network(transform(open_image(rose.path))[None])[0]
    from torchvision.models import ResNet18_Weights

    same_bars(bars(page), ResNet18_Weights.IMAGENET1K_V1.meta["categories"], logits)


def test_a_typed_revision_of_a_transformers_model(visit: Visit, hub: Any, rose: Named) -> None:
    commit = hub.commit_of(hub.files("models", "tester/pets"))
    page = visit()
    choose_photo(page, rose.path)
    bars(page)
    field = page.locator("#model input")
    field.click()
    field.fill(f"tester/pets@{commit}")
    field.press("Enter")
    line = facts(page, "tester/pets")
    assert commit in line and "12 classes" in line and "4.9 M parameters" in line and "licence not stated" in line
    page.wait_for_selector("#answer .bars:not(:has-text('roses'))")
    page.locator("#top-k input[type=number]").fill("10")
    expect(page.locator("#answer .bars button")).to_have_count(10)
    folder = hub.root / "tester/pets"
    inputs = AutoImageProcessor.from_pretrained(folder, backend="pil")(open_image(rose.path), return_tensors="pt")
    with torch.inference_mode():
        logits = ResNetForImageClassification.from_pretrained(folder).eval()(**inputs).logits[0]
    same_bars(bars(page), list(PETS), logits)
    # Another model, another number of classes: the slider never offers more than there are.
    choose_model(page, "flowers")
    expect(page.locator("#answer .bars button")).to_have_count(5)
    assert page.locator("#top-k input[type=range]").get_attribute("max") == "5"


def test_a_base_says_that_it_names_nothing(visit: Visit, rose: Named) -> None:
    page = visit()
    choose_model(page, "imagenet/base")
    line = facts(page, "imagenet/base")
    assert "no classes" in line and "it names nothing until it is fine-tuned" in line
    choose_photo(page, rose.path)
    page.wait_for_selector("#answer .refusal:has-text('has no classifier')")
    page.get_by_role("tab", name="Many photos").click()
    page.set_input_files("#files input[type=file]", rose.path)
    page.wait_for_selector("#files:has-text('rose')")
    page.click("#start")
    page.wait_for_selector("#summary .refusal:has-text('has no classifier')")


def test_a_slow_download_shows_its_progress_and_can_be_left(visit: Visit, site: Site, hub: Any, rose: Named) -> None:
    hub.fault("held", "tester/slow")
    page = visit()
    choose_photo(page, rose.path)
    bars(page)
    choose_model(page, "tester/slow")
    page.wait_for_selector("#facts:has-text('Loading tester/slow')")
    bar = page.wait_for_selector("#facts [role=progressbar]")
    assert "of 20 MB" in page.inner_text("#facts")
    assert 0 <= int(bar.get_attribute("aria-valuenow") or -1) <= 100
    # Somebody who has changed their mind does not wait for it ...
    choose_model(page, "flowers")
    page.wait_for_selector("#facts:has-text('shipped with this page')")
    # ... and is not given it when it arrives.
    page.evaluate(
        """() => {
          window.told = [];
          new MutationObserver(() => told.push(document.querySelector('#facts').innerText))
            .observe(document.querySelector('#facts'), {childList: true, subtree: true, characterData: true});
        }"""
    )
    hub.release()
    outputs, _ = site.call("load", ["tester/slow", 5, None], site.visit())  # waits for the same download
    assert outputs and "weights from tester/slow" in outputs[0]
    page.locator("#top-k input[type=number]").fill("3")  # answered after whatever was under way
    expect(page.locator("#answer .bars button")).to_have_count(3)
    assert bars(page) == rose.bars[:3]
    assert "shipped with this page" in page.inner_text("#facts")
    assert not [one for one in page.evaluate("told") if "tester/slow" in one]


FAULTS = {
    "tester/gated": ("tester/gated is gated", "tester/gated 需要授权"),
    "tester/norepo": ("There is no model tester/norepo", "没有模型 tester/norepo"),
    "tester/private": ("There is no model tester/private", "没有模型 tester/private"),
    "tester/absent": ("There is no model tester/absent", "没有模型 tester/absent"),
    "tester/norevision": ("tester/norevision has no revision main", "tester/norevision 没有版本 main"),
    "tester/pets@v9": ("tester/pets has no revision v9", "tester/pets 没有版本 v9"),
    "tester/expired": ("does not accept the token", "不接受"),
    "tester/error": ("answered with an error of its own (500)", "自身出错（500）"),
    "tester/ratelimit": ("has had too many requests", "收到的请求过多"),
    "tester/drop": ("of tester/drop arrived incomplete", "tester/drop 的 config.json 没有收完"),
    "tester/truncate": ("of tester/truncate arrived incomplete", "tester/truncate 的 config.json 没有收完"),
    "tester/flip": ("of tester/flip arrived damaged", "tester/flip 的 config.json 传输中损坏"),
    "tester/bert": ("is a bert model, not a ResNet", "不是这里能构建的 ResNet"),
    ".": ("There is no model '.'", "没有名为 '.' 的模型"),
    "/etc": ("There is no model '/etc'", "没有名为 '/etc' 的模型"),
    "../weights": ("There is no model '../weights'", "没有名为 '../weights' 的模型"),
    "weights/flowers": ("There is no model weights/flowers on", "没有模型 weights/flowers"),
}


def test_each_refusal_is_a_sentence_in_both_languages_and_flowers_work_on(visit: Visit, rose: Named) -> None:
    page, chinese = visit(), visit(locale="zh-CN")
    choose_photo(page, rose.path)
    bars(page)
    choose_model(chinese, "tester/timeout")  # some seconds, meanwhile the others
    for name, (words, translated) in FAULTS.items():
        choose_model(page, name)
        refused(page, words)
        assert translated in (page.text_content("#facts .lang-zh") or "")
        expect(page.locator("#facts .lang-en")).to_be_visible()
        expect(page.locator("#facts .lang-zh")).to_be_hidden()
    expect(page.locator("#answer .empty")).to_contain_text("The model is not ready")
    refused(chinese, f"在 {SILENCE_S} 秒内没有回应")
    assert f"did not answer within {SILENCE_S} seconds" in (chinese.text_content("#facts .lang-en") or "")
    expect(chinese.locator("#facts .lang-zh")).to_be_visible()
    expect(chinese.locator("#facts .lang-en")).to_be_hidden()
    choose_model(page, "flowers")
    page.wait_for_selector("#facts .facts b")
    assert bars(page) == rose.bars


def test_without_network_what_is_cached_still_works(
    visit: Visit, serve: Callable[..., Site], hub: Any, tmp_path: Path, rose: Named
) -> None:
    cache, nowhere = tmp_path / "cache", f"http://127.0.0.1:{free_port()}"
    Models(Hub(hub.url, cache, False)).get("tester/pets")
    page = visit(url=serve(Models(Hub(nowhere, cache, False))).url)
    choose_model(page, "tester/hostile")
    refused(page, "can't be reached and tester/hostile is not in the cache")
    choose_model(page, "tester/pets")
    assert "this is the version in the cache" in facts(page, "tester/pets")
    choose_photo(page, rose.path)
    assert len(bars(page)) == 5


def test_a_path_given_at_the_start_stands_in_the_list(visit: Visit, serve: Callable[..., Site], rose: Named) -> None:
    name = "weights/flowers"
    page = visit(url=serve(Models(trusted=(name,)), name).url)
    assert "weights from a local path" in page.inner_text("#facts")
    assert page.input_value("#model input") == name
    choose_photo(page, rose.path)
    assert bars(page) == rose.bars
    choose_model(page, "weights")
    refused(page, "There is no model 'weights'")
    choose_model(page, name)
    page.wait_for_selector("#facts:has-text('weights from a local path')")
