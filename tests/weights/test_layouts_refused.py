"""Configs and weights that don't fit or mean harm end in a sentence, at once."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from resnet.config import ResNetConfig
from resnet.errors import Refusal
from tests.effort import at_once
from tests.weights.test_layouts import HF, THREE
from weights import layouts
from weights.checkpoint import Checkpoint, read_folder, to_config
from weights.load import load

# -- weights that don't fit --------------------------------------------------------------------------------------------


def test_weights_that_do_not_fit_are_listed(tmp_path: Path, timm_folder: Any, refused: Any) -> None:
    state = timm_folder(tmp_path, layers=[1, 1, 1, 1], num_classes=3).state_dict()
    config = layouts.config_from_shapes(state, "it")
    for key in ("bn1.weight", "layer1.0.conv1.weight"):
        refusal = refused(
            "weights.misfit", layouts.check_fit, config, {k: v for k, v in state.items() if k != key}, "it"
        )
        assert f"1 missing: {key}" in str(refusal)
    refusal = refused(
        "weights.misfit", layouts.check_fit, config, {**state, "layer1.0.se.weight": torch.zeros(3)}, "it"
    )
    assert "1 unknown: layer1.0.se.weight" in str(refusal)
    refusal = refused("weights.misfit", layouts.check_fit, config, {**state, "fc.bias": torch.zeros(4)}, "it")
    assert "1 of another shape: fc.bias is 4 instead of 3" in str(refusal)
    refusal = refused("weights.misfit", layouts.check_fit, config, {**state, "fc.bias": torch.zeros(3).long()}, "it")
    assert "1 of another kind: fc.bias holds int64" in str(refusal)
    deeper = ResNetConfig("basic", (2, 2, 2, 2), num_classes=3)
    refusal = refused("weights.misfit", layouts.check_fit, deeper, state, "it")
    assert "missing: layer1.1.conv1.weight" in str(refusal)
    assert "and 36 more" in str(refusal)


def test_counters_of_batches_may_be_missing(tmp_path: Path, timm_folder: Any, same_logits: Any, pixels: Tensor) -> None:
    """Checkpoints of before PyTorch 0.4.1 have none."""
    network = timm_folder(tmp_path, layers=[1, 1, 1, 1], num_classes=3)
    state = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")
    with torch.inference_mode():
        same_logits(load(str(tmp_path / "old.pth")), network(pixels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision_is_read_as_fp32(tmp_path: Path, timm_folder: Any, dtype: torch.dtype) -> None:
    network = timm_folder(tmp_path, layers=[1, 1, 1, 1], num_classes=3).to(dtype)
    torch.save(network.state_dict(), tmp_path / "other.pth")
    state = load(str(tmp_path / "other.pth")).state_dict
    assert {value.dtype for value in state.values()} == {torch.float32, torch.int64}
    assert torch.equal(state["conv1.weight"], network.conv1.weight.detach().float())


# -- hostile configs ---------------------------------------------------------------------------------------------------


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "change",
    [
        {"model_args": {"layers": [10**9, 2, 2, 2]}},
        {"model_args": {"layers": [10**400, 2, 2, 2]}},
        {"model_args": {"layers": [-1, 2, 2, 2]}},
        {"model_args": {"layers": [2, 2, 2]}},
        {"model_args": {"layers": "many"}},
        {"model_args": {"layers": 5}},
        {"model_args": {"layers": [math.nan] * 4}},
        {"model_args": {"cardinality": 10**9}},
        {"model_args": {"base_width": 10**300}},
        {"model_args": ["layers"]},
        {"model_args": "layers"},
        {"model_args": {"x" * 1000: "y" * 1_000_000}},
        {"model_args": {"\x1b[2J\n": "\x07"}},
        {"num_classes": -1},
        {"num_classes": 10**12},
        {"num_classes": "five"},
        {"num_classes": None},
        {"num_classes": [5]},
        {"architecture": None},
        {"architecture": 3},
        {"architecture": ["resnet50"]},
        {"architecture": "x" * 1_000_000},
        {"pretrained_cfg": [1, 2]},
        {"pretrained_cfg": "a1_in1k"},
        {"pretrained_cfg": {"input_size": [3, 10**9, 10**9]}},
        {"pretrained_cfg": {"input_size": [3, 0, 0]}},
        {"pretrained_cfg": {"input_size": 224}},
        {"pretrained_cfg": {"input_size": [3, 224, 320]}},
        {"pretrained_cfg": {"crop_pct": math.nan}},
        {"pretrained_cfg": {"crop_pct": 1e-300}},
        {"pretrained_cfg": {"crop_pct": 5e-324}},
        {"pretrained_cfg": {"crop_pct": 1.01}},
        {"pretrained_cfg": {"crop_pct": 3}},
        {"pretrained_cfg": {"mean": [math.nan] * 3}},
        {"pretrained_cfg": {"mean": [0.5]}},
        {"pretrained_cfg": {"std": [0, 0, 0]}},
        {"pretrained_cfg": {"std": [math.inf] * 3}},
        {"pretrained_cfg": {"interpolation": "magic"}},
        {"pretrained_cfg": {"crop_mode": "border"}},
        {"resnet_demo": [1]},
        {"resnet_demo": "hot"},
        {"resnet_demo": {"temperature": math.nan}},
        {"resnet_demo": {"temperature": 0}},
        {"resnet_demo": {"temperature": -1}},
        {"resnet_demo": {"temperature": "warm"}},
        {"resnet_demo": {"temperature": math.inf}},
        {"resnet_demo": {"none_of_these": {"score": "probability", "threshold": math.nan}}},
        {"resnet_demo": {"none_of_these": {"score": "oracle", "threshold": 1}}},
        {"resnet_demo": {"none_of_these": {"score": "energy"}}},
        {"resnet_demo": {"none_of_these": [1]}},
        {"label_names": "abc"},
        {"label_names": 3},
        {"label_names": {"a": 1}},
        {"label_names": ["a"] * 100_000},
        {"id2label": ["a", "b", "c"]},
        {"id2label": {"0": "a", "1": "b", "-1": "c"}},
    ],
    ids=lambda change: str(change)[:60],
)
def test_a_hostile_config_ends_in_a_sentence_at_once(change: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        at_once(lambda: layouts.describe("it", {**THREE, **change}))
    assert len(str(caught.value)) < 1200
    assert str(caught.value).isprintable()


def test_a_basic_block_has_no_strided_1x1(refused: Any) -> None:
    refused("weights.config", layouts.describe, "it", {**THREE, "resnet_demo": {"stride_in_1x1": True}})


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "class_indices.json"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a": ' * 3000 + b"1" + b"}" * 3000,
        b"\xff\xfe\x00",
        b'{"architecture": "\\ud800"}',
        b'{"num_classes": ' + b"9" * 10_000 + b"}",
        b" " * (17 * 1024**2),
    ],
    ids=lambda content: repr(content[:12]),
)
def test_files_that_are_no_json_objects_end_in_a_sentence(
    tmp_path: Path, refused: Any, name: str, content: bytes
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(THREE))
    (tmp_path / name).write_bytes(content)
    refusal = refused("weights.json", load, str(tmp_path))
    assert name in str(refusal)


def test_a_folder_in_the_place_of_a_config_ends_in_a_sentence(tmp_path: Path, refused: Any) -> None:
    (tmp_path / "config.json").mkdir()
    refused("weights.json", load, str(tmp_path))


VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 5, 224, 1000, 10**9, -(10**30), 10**400, 0.5, -0.5, 1e308, 1e-308, math.nan,
    math.inf, "", "1", "224", "resnet18", "resnet50", "avg", "a" * 5000, "\x1b[31m\n", "{name}", "{0}", "../../x",
    [], [[]], [1, 2], [1, 2, 3], [3, 224, 224], [2, 2, 2, 2], [None] * 4, ["a", "b", "c"], [math.nan] * 3,
    {}, {"0": "a"}, {"a": {}}, {"height": 224, "width": 224}, {"shortest_edge": -5}, _nested(300),
]  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside of nested lists and dicts."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _places(inner, (*path, key))


def _mutate(rng: random.Random, document: Any) -> None:
    *way, last = rng.choice(list(_places(document)))
    for key in way:
        document = document[key]
    if rng.random() < 0.2:
        del document[last]
    else:
        document[last] = copy.deepcopy(rng.choice(VALUES))


def test_mutated_configs_are_read_or_refused_and_nothing_else() -> None:
    """What can be read can also be written, as JSON."""
    rng = random.Random(20260101)
    ours = {
        **THREE,
        "model_args": {"layers": [1, 1, 1, 1], "drop_rate": 0.1, "block": "basicblock", "in_chans": 3},
        "label_names": ["a", "b", "c"],
        "pretrained_cfg": {
            "input_size": [3, 224, 224], "test_input_size": [3, 288, 288], "crop_pct": 0.9, "test_crop_pct": 1.0,
            "interpolation": "bicubic", "crop_mode": "center", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
            "license": "mit",
        },
        "resnet_demo": {
            "stride_in_1x1": False, "temperature": 1.5, "none_of_these": {"score": "energy", "threshold": 2.0},
        },
    }  # fmt: skip
    theirs = transformers.ResNetConfig(**HF["bottleneck"], num_labels=3).to_dict()
    processor = {
        "image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 224}, "crop_pct": 0.875,
        "crop_size": {"height": 224, "width": 224}, "do_center_crop": True, "do_normalize": True, "resample": 3,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    }  # fmt: skip
    outcomes = {"read": 0, "refused": 0}
    for turn in range(4000):
        # Through JSON, as it comes from a file.
        document = json.loads(json.dumps([ours, None, {"0": "a", "1": "b"}] if turn % 2 else [theirs, processor, None]))
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            _mutate(rng, document)
        config, preprocessor, indices = (*document, None, None, None)[:3]
        if not isinstance(config, dict) or any(
            x is not None and not isinstance(x, dict) for x in (preprocessor, indices)
        ):
            continue  # `read_json` sees to that
        try:
            described = at_once(partial(layouts.describe, "it", config, preprocessor, indices))
        except Refusal as refusal:
            outcomes["refused"] += 1
            assert len(str(refusal)) < 1200, config
            assert str(refusal).isprintable(), config
        else:
            outcomes["read"] += 1
            assert math.isfinite(described.temperature)
            assert math.isfinite(described.rule.threshold)
            assert np.isfinite(described.preprocess.mean + described.preprocess.std).all()
            outputs = described.config.num_classes if described.config.include_top else 0
            assert len(described.label_names) == outputs
            written = Checkpoint(
                described.config, {}, described.preprocess, described.label_names, described.temperature,
                described.rule, described.layout, described.license, raw_config=config,
            )  # fmt: skip
            again = layouts.describe("it", json.loads(json.dumps(to_config(written))))
            assert (again.config, again.label_names) == (described.config, described.label_names)
            json.dumps(written.facts())
    assert min(outcomes.values()) > 500, outcomes


def test_a_whole_folder_of_a_described_network_is_needed(tmp_path: Path, refused: Callable[..., Refusal]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(THREE))
    refused("weights.none", read_folder, tmp_path)
