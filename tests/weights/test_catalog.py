"""The models on offer, against what torchvision and timm publish."""

from __future__ import annotations

import pytest
import timm
import torchvision

from weights.catalog import CATALOG, FLOWERS, SHIPPED, entries
from weights.load import load

#: timm's results/results-imagenet.csv of August 2026, the rows at 288 pixels.
TIMM_TOP1 = {
    "resnet18.a1_in1k": 73.164,
    "resnet34.a1_in1k": 77.930,
    "resnet50.a1_in1k": 81.240,
    "resnet101.a1_in1k": 82.326,
    "resnet152.a1_in1k": 82.742,
}
DEPTHS = (18, 34, 50, 101, 152)
OTHERS = ("resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2")


def test_these_are_on_offer() -> None:
    wanted = [f"resnet{depth}.{tag}" for tag in ("tv_in1k", "a1_in1k") for depth in DEPTHS]
    wanted += [f"resnet{depth}.tv2_in1k" for depth in (50, 101, 152)]
    wanted += [f"{name}.tv_in1k" for name in OTHERS]
    assert sorted(CATALOG) == sorted(wanted)
    assert [entry.name for entry in entries()] == [FLOWERS, *CATALOG]
    assert all(entry.name == name for name, entry in CATALOG.items())


def _published(name: str) -> torchvision.models.WeightsEnum:
    variant, tag = name.split(".")
    weights = torchvision.models.get_model_weights(variant)
    return weights["IMAGENET1K_V2" if tag == "tv2_in1k" else "IMAGENET1K_V1"]


@pytest.mark.parametrize("name", [name for name in CATALOG if "tv" in name.split(".")[1]])
def test_accuracy_is_what_torchvision_published(name: str) -> None:
    entry, meta = CATALOG[name], _published(name).meta
    assert entry.top1 == pytest.approx(meta["_metrics"]["ImageNet-1K"]["acc@1"], abs=1e-9)
    assert entry.top1_source.startswith("torchvision")


@pytest.mark.parametrize("name", TIMM_TOP1)
def test_accuracy_is_what_timm_published(name: str) -> None:
    assert CATALOG[name].top1 == TIMM_TOP1[name]
    assert CATALOG[name].top1_source.startswith("timm")
    assert timm.get_pretrained_cfg(name).test_input_size == (3, 288, 288)


@pytest.mark.parametrize("name", CATALOG)
def test_parameters_are_torchvisions(name: str) -> None:
    entry = CATALOG[name]
    assert entry.parameters == _published(name.replace("a1_", "tv_")).meta["num_params"]
    assert entry.megabytes == pytest.approx(entry.parameters * 4 / 1e6)


@pytest.mark.parametrize("name", CATALOG)
def test_the_repository_and_the_licence_are_timms(name: str) -> None:
    published = timm.get_pretrained_cfg(name)
    assert published is not None
    assert CATALOG[name].repo == f"timm/{name}" == published.hf_hub_id
    assert CATALOG[name].license == published.license
    assert CATALOG[name].license == ("apache-2.0" if "a1" in name else "bsd-3-clause")


def test_the_shipped_one_is_what_the_list_says() -> None:
    (entry,) = (entry for entry in entries() if entry.name == FLOWERS)
    checkpoint = load(FLOWERS)
    assert entry.parameters == checkpoint.config.num_parameters
    assert entry.license == checkpoint.license
    assert entry.top1 is None
    on_disk = sum(part.stat().st_size for part in SHIPPED.glob("*.safetensors")) / 1e6
    assert entry.megabytes == pytest.approx(on_disk, rel=0.01)


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_every_entry_is_good_for_something_in_one_line(entry: object) -> None:
    line = entry.good_for  # type: ignore[attr-defined]
    assert line.isprintable()
    assert 20 < len(line) <= 90
    assert line[0].isupper() or line.startswith("torchvision") or line.startswith("timm")
    assert line.endswith(".")


def test_no_two_are_good_for_the_same() -> None:
    lines = [entry.good_for for entry in entries()]
    assert len(set(lines)) == len(lines)


def test_what_is_said_of_sizes_is_true() -> None:
    for entry in entries():
        if " MB" in entry.good_for:
            assert f" {entry.megabytes:.0f} MB" in entry.good_for
    most = max(CATALOG.values(), key=lambda entry: entry.top1 or 0)
    assert "most accurate here" in most.good_for
    for name, of in (("resnet18.a1_in1k", "18"), ("resnet34.a1_in1k", "34")):
        peers = [entry for entry in CATALOG.values() if entry.name.startswith(f"resnet{of}.")]
        assert CATALOG[name] == max(peers, key=lambda entry: entry.top1 or 0)
        assert f"most accurate at {of} layers" in CATALOG[name].good_for
