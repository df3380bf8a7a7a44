"""Every layout against the library that writes it: same logits, same pixels, same names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
import transformers
from PIL import Image
from timm.models._hub import save_config_for_hf
from torch import Tensor

from resnet.config import VARIANTS, ResNetConfig
from resnet.preprocess import Preprocess
from tests.effort import at_once
from weights import layouts
from weights.catalog import CATALOG
from weights.load import load

IMAGENET = tuple(torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
HF = {
    "basic": {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512]},
    "bottleneck": {"layer_type": "bottleneck", "hidden_sizes": [256, 512, 1024, 2048]},
}

# -- timm --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("resnet18", {"num_classes": 5, "drop_rate": 0.1, "drop_path_rate": 0.1, "zero_init_last": False}),
        ("resnet34", {}),
        ("resnet26", {"num_classes": 7}),
        ("resnet50", {"num_classes": 0}),
        ("resnext50_32x4d", {"num_classes": 4}),
        ("wide_resnet50_2", {"num_classes": 3}),
        ("resnet18", {"layers": [2, 2, 2, 3]}),
        ("resnet50", {"layers": [1, 2, 1, 1], "num_classes": 3}),
        ("resnet50", {"layers": [1, 1, 1, 1], "cardinality": 16, "base_width": 8, "num_classes": 3}),
        ("resnet18", {"layers": [1, 1, 1, 1], "num_classes": 0}),
    ],
)
def test_timm_gives_the_same_logits(
    tmp_path: Path, timm_folder: Any, same_logits: Any, pixels: Tensor, name: str, arguments: dict[str, Any]
) -> None:
    network = timm_folder(tmp_path, name, **arguments)
    with torch.inference_mode():
        logits = network(pixels)
    checkpoint = load(str(tmp_path))
    same_logits(checkpoint, logits)
    assert checkpoint.layout == "timm"
    assert checkpoint.config.num_features == network.num_features
    assert checkpoint.config.num_parameters == sum(parameter.numel() for parameter in network.parameters())
    outputs = arguments.get("num_classes", 1000)
    assert checkpoint.label_names == (IMAGENET if outputs == 1000 else tuple(f"class {i}" for i in range(outputs)))


@pytest.mark.parametrize("name", CATALOG)
def test_timm_preprocessing_is_the_one_of_the_published_accuracy(tmp_path: Path, name: str) -> None:
    with torch.device("meta"):
        network = timm.create_model(name, pretrained=False)
    save_config_for_hf(network, str(tmp_path / "config.json"))
    described = layouts.describe(name, json.loads((tmp_path / "config.json").read_text()))
    wanted = timm.data.resolve_model_data_config(network, use_test_size=True)
    preprocess = described.preprocess
    assert (3, preprocess.size, preprocess.size) == tuple(wanted["input_size"])
    assert preprocess.crop_pct == wanted["crop_pct"]
    assert preprocess.interpolation == wanted["interpolation"]
    assert preprocess.mean == tuple(wanted["mean"])
    assert preprocess.std == tuple(wanted["std"])
    assert described.config == VARIANTS[name.split(".")[0]]
    assert described.label_names == IMAGENET
    assert described.license == CATALOG[name].license


@pytest.mark.parametrize("name", ["resnet18.tv_in1k", "resnet50.tv2_in1k", "resnet50.a1_in1k"])
def test_timm_transform_gives_the_same_pixels(tmp_path: Path, a_photo: Image.Image, name: str) -> None:
    with torch.device("meta"):
        network = timm.create_model(name, pretrained=False)
    save_config_for_hf(network, str(tmp_path / "config.json"))
    preprocess = layouts.describe(name, json.loads((tmp_path / "config.json").read_text())).preprocess
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network, use_test_size=True))
    assert _largest_difference(preprocess, preprocess(a_photo), transform(a_photo)) <= 1.001


def _largest_difference(preprocess: Preprocess, ours: Tensor, theirs: Tensor) -> float:
    """In steps of 1/255."""
    assert ours.shape == theirs.shape
    return float(((ours - theirs) * torch.tensor(preprocess.std).view(3, 1, 1)).abs().max() * 255)


TIMM = {"architecture": "resnet50", "num_classes": 3, "pretrained_cfg": {"input_size": [3, 224, 224]}}


@pytest.mark.parametrize(
    ("arguments", "config"),
    [
        ({"layers": [1, 2, 3, 4]}, ResNetConfig("bottleneck", (1, 2, 3, 4), num_classes=3)),
        ({"cardinality": 32, "base_width": 4}, ResNetConfig("bottleneck", (3, 4, 6, 3), 32, 4, num_classes=3)),
        ({"base_width": 128}, ResNetConfig("bottleneck", (3, 4, 6, 3), 1, 128, num_classes=3)),
        ({"block": "BasicBlock"}, ResNetConfig("basic", (3, 4, 6, 3), num_classes=3)),
        ({"block": "bottleneck"}, ResNetConfig("bottleneck", (3, 4, 6, 3), num_classes=3)),
        ({"num_classes": 9}, ResNetConfig("bottleneck", (3, 4, 6, 3), num_classes=9)),
        ({"num_classes": 0}, ResNetConfig("bottleneck", (3, 4, 6, 3), include_top=False, num_classes=1000)),
    ],
)
def test_model_args_are_honoured(arguments: dict[str, Any], config: ResNetConfig) -> None:
    assert layouts.describe("it", {**TIMM, "model_args": arguments}).config == config


@pytest.mark.parametrize("key", sorted(layouts.TIMM_IGNORED))
def test_model_args_of_training_change_nothing(key: str) -> None:
    assert layouts.describe("it", {**TIMM, "model_args": {key: 0.3}}) == layouts.describe("it", TIMM)


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in layouts.TIMM_FIXED.items() for value in values]
)
def test_model_args_with_the_value_that_we_build_are_honoured(key: str, value: object) -> None:
    assert layouts.describe("it", {**TIMM, "model_args": {key: value}}) == layouts.describe("it", TIMM)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("in_chans", 1),
        ("output_stride", 8),
        ("global_pool", "max"),
        ("global_pool", ""),
        ("stem_width", 32),
        ("stem_type", "deep"),
        ("replace_stem_pool", True),
        ("block_reduce_first", 2),
        ("down_kernel_size", 3),
        ("avg_down", True),
        ("channels", [32, 64, 128, 256]),
        ("act_layer", "silu"),
        ("norm_layer", "groupnorm"),
        ("aa_layer", "blurpool"),
        ("block_args", {"attn_layer": "se"}),
        ("block", "SEBottleneck"),
        ("attn_layer", "eca"),
        ("features_only", True),
        ("a_key_of_tomorrow", 1),
    ],
)
def test_model_args_that_we_have_no_equal_for_are_refused_by_name(refused: Any, key: str, value: object) -> None:
    refusal = refused("weights.not_resnet", layouts.describe, "it", {**TIMM, "model_args": {key: value}})
    assert f"{key}={value!r}" in str(refusal)


def test_every_fixed_key_is_refused_at_another_value(refused: Any) -> None:
    for key in layouts.TIMM_FIXED:
        refusal = refused("weights.not_resnet", layouts.describe, "it", {**TIMM, "model_args": {key: "another"}})
        assert key in str(refusal)


@pytest.mark.parametrize(
    "name",
    ["resnet50d", "vit_base_patch16_224", "seresnet50", "resnetv2_50", "resnet26t", "efficientnet_b0", "convnext_tiny"],
)
def test_timm_architectures_that_are_not_ours_say_what_they_are(tmp_path: Path, refused: Any, name: str) -> None:
    with torch.device("meta"):
        network = timm.create_model(name, pretrained=False)
    save_config_for_hf(network, str(tmp_path / "config.json"))
    refusal = refused("weights.not_resnet", layouts.describe, "it", json.loads((tmp_path / "config.json").read_text()))
    assert f"it is a {name}, not a ResNet" in str(refusal)


# -- torchvision -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "classes"),
    [("resnet18", 5), ("resnet34", 1000), ("resnet50", 1000), ("resnext50_32x4d", 7)],
)
def test_torchvision_gives_the_same_logits(
    tmp_path: Path, train: Any, same_logits: Any, pixels: Tensor, name: str, classes: int
) -> None:
    network = train(torchvision.models.get_model, name, num_classes=classes)
    torch.save(network.state_dict(), tmp_path / f"{name}.pth")
    with torch.inference_mode():
        logits = network(pixels)
    checkpoint = load(str(tmp_path / f"{name}.pth"))
    same_logits(checkpoint, logits)
    assert checkpoint.architecture == name
    assert checkpoint.layout == "pth"
    assert checkpoint.label_names == (IMAGENET if classes == 1000 else tuple(f"class {i}" for i in range(classes)))


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("classes", [1000, 5, 0])
def test_the_architecture_of_every_variant_is_read_off_its_shapes(name: str, classes: int) -> None:
    config = VARIANTS[name].with_classes(classes)
    with torch.device("meta"):
        state = timm.create_model(name, pretrained=False, num_classes=classes).state_dict()
    found = layouts.config_from_shapes(state, "it")
    assert found == config
    assert list(layouts.config_from_shapes(dict(reversed(state.items())), "it").depths) == list(config.depths)


# -- transformers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "arguments"),
    [
        ("basic", {"depths": [2, 2, 2, 2], "num_labels": 1000}),
        ("bottleneck", {"depths": [3, 4, 6, 3], "num_labels": 1000}),
        ("bottleneck", {"depths": [1, 2, 1, 1], "num_labels": 3, "downsample_in_bottleneck": True}),
        ("bottleneck", {"depths": [1, 1, 2, 1], "num_labels": 3, "downsample_in_bottleneck": False}),
        ("basic", {"depths": [1, 1, 1, 2], "num_labels": 3, "downsample_in_bottleneck": True}),
        ("basic", {"depths": [1, 1, 1, 1]}),  # two classes: transformers' default, which it leaves out when it saves
    ],
)
def test_transformers_gives_the_same_logits(
    tmp_path: Path, train: Any, same_logits: Any, pixels: Tensor, block: str, arguments: dict[str, Any]
) -> None:
    config = transformers.ResNetConfig(**HF[block], **arguments)
    network = train(transformers.ResNetForImageClassification, config)
    network.save_pretrained(tmp_path)
    with torch.inference_mode():
        logits = network(pixels).logits
    checkpoint = load(str(tmp_path))
    same_logits(checkpoint, logits)
    assert checkpoint.layout == "transformers"
    assert checkpoint.config.stride_in_1x1 == (
        block == "bottleneck" and arguments.get("downsample_in_bottleneck", False)
    )
    outputs = arguments.get("num_labels", 2)
    assert checkpoint.label_names == (IMAGENET if outputs == 1000 else tuple(f"class {i}" for i in range(outputs)))


def test_the_place_of_the_stride_changes_the_logits(tmp_path: Path, train: Any, pixels: Tensor) -> None:
    """Or the test above would prove nothing."""
    config = transformers.ResNetConfig(
        **HF["bottleneck"], depths=[1, 1, 1, 1], num_labels=3, downsample_in_bottleneck=True
    )
    train(transformers.ResNetForImageClassification, config).save_pretrained(tmp_path)
    first = load(str(tmp_path)).network()
    declared = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**declared, "downsample_in_bottleneck": False}))
    second = load(str(tmp_path)).network()
    with torch.inference_mode():
        assert (first(pixels) - second(pixels)).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["ResNetModel", "ResNetBackbone"])
def test_transformers_without_a_classifier_is_a_base(
    tmp_path: Path, train: Any, same_logits: Any, pixels: Tensor, kind: str
) -> None:
    network = train(getattr(transformers, kind), transformers.ResNetConfig(**HF["basic"], depths=[1, 1, 1, 1]))
    network.save_pretrained(tmp_path)
    with torch.inference_mode():
        found = network(pixels)
    features = found.pooler_output.flatten(1) if kind == "ResNetModel" else found.feature_maps[-1].mean((2, 3))
    checkpoint = load(str(tmp_path))
    same_logits(checkpoint, features)
    assert checkpoint.label_names == ()
    assert not checkpoint.config.include_top


def test_transformers_names_are_kept_in_the_order_of_their_numbers(tmp_path: Path, train: Any) -> None:
    names = {index: f"flower {index}" for index in range(12)}  # as text "10" comes before "2"
    config = transformers.ResNetConfig(
        **HF["basic"], depths=[1, 1, 1, 1], id2label=names, label2id={name: index for index, name in names.items()}
    )
    train(transformers.ResNetForImageClassification, config).save_pretrained(tmp_path)
    assert load(str(tmp_path)).label_names == tuple(names.values())


def _processors() -> list[Any]:
    """What people save beside a ResNet, in both of transformers' ways to resize."""
    cases = []
    for family, settings in (
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}}),  # that of microsoft/resnet-50
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 288}, "crop_pct": 0.9}),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}),
        (
            "ConvNextImageProcessor",
            {"size": {"shortest_edge": 224}, "resample": 2, "image_mean": [0.485, 0.456, 0.406]},
        ),
        ("ViTImageProcessor", {}),
        ("ViTImageProcessor", {"size": {"height": 160, "width": 160}, "resample": 3}),
        ("BitImageProcessor", {}),
        ("BitImageProcessor", {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}),
    ):
        for backend in ("", "Pil"):
            cases.append(pytest.param(f"{family}{backend}", settings, id=f"{family}{backend}-{len(str(settings))}"))
    return cases


@pytest.mark.parametrize(("kind", "settings"), _processors())
def test_transformers_processors_give_the_same_pixels(
    tmp_path: Path, a_photo: Image.Image, kind: str, settings: dict[str, Any]
) -> None:
    if not hasattr(transformers, kind):
        pytest.skip(f"this transformers has no {kind}")
    processor = getattr(transformers, kind)(**settings)
    processor.save_pretrained(tmp_path)
    config = transformers.ResNetConfig(**HF["basic"], num_labels=3).to_dict()
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    preprocess = layouts.describe("it", config, saved).preprocess
    for photo in (a_photo, a_photo.rotate(90, expand=True), a_photo.resize((333, 700))):
        theirs = processor(photo, return_tensors="pt")["pixel_values"][0]
        ours = preprocess(photo)
        # Resizing tensors, not images, rounds otherwise here and there: two steps of 255 at most, and rarely.
        assert _largest_difference(preprocess, ours, theirs) <= 2.01
        assert float((ours - theirs).abs().mean()) * 255 < (0.05 if kind.endswith("Pil") else 0.5)


def test_transformers_crop_begins_at_the_same_pixel(a_photo: Image.Image) -> None:
    """Where an odd number of pixels is cut off: it rounds down, torchvision and timm to the even number."""
    processor = transformers.ConvNextImageProcessor(size={"shortest_edge": 224})
    config = transformers.ResNetConfig(**HF["basic"], num_labels=3).to_dict()
    preprocess = layouts.describe("it", config, processor.to_dict()).preprocess
    photo = a_photo.resize((259, 256))
    theirs = processor(photo, return_tensors="pt")["pixel_values"][0]
    assert _largest_difference(preprocess, preprocess(photo), theirs) <= 2.01


@pytest.mark.parametrize(
    "kind", ["ViTImageProcessor", "BitImageProcessor", "ConvNextImageProcessor", "DeiTImageProcessor"]
)
def test_a_size_of_one_number_means_what_it_means_to_that_processor(kind: str, a_photo: Image.Image) -> None:
    """As files of some years ago have it, under the key of those years."""
    processor = getattr(transformers, f"{kind}Pil")(size=192, do_center_crop=False)
    saved = {"feature_extractor_type": kind.replace("ImageProcessor", "FeatureExtractor"), "size": 192}
    config = transformers.ResNetConfig(**HF["basic"], num_labels=3).to_dict()
    preprocess = layouts.describe("it", config, saved).preprocess
    square = "height" in dict(processor.size)
    assert (preprocess.crop_mode == "squash") == square
    assert preprocess.size == 192
    if square:
        pixels = processor(a_photo, return_tensors="pt", do_normalize=False)["pixel_values"][0]
        assert tuple(pixels.shape) == (3, 192, 192)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"num_channels": 1}, "num_channels=1"),
        ({"embedding_size": 32}, "embedding_size=32"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"downsample_in_first_stage": True}, "downsample_in_first_stage=True"),
        ({"hidden_sizes": [128, 256, 512, 1024]}, "hidden_sizes=[128, 256, 512, 1024]"),
    ],
)
def test_transformers_resnets_that_are_not_ours_say_what_they_are(
    refused: Any, change: dict[str, Any], what: str
) -> None:
    config = {**transformers.ResNetConfig(**HF["basic"], num_labels=3).to_dict(), **change}
    assert what in str(refused("weights.not_resnet", layouts.describe, "it", config))


@pytest.mark.parametrize("kind", ["ViTConfig", "BertConfig", "RegNetConfig", "ConvNextConfig"])
def test_other_models_of_transformers_say_what_they_are(tmp_path: Path, refused: Any, kind: str) -> None:
    config = getattr(transformers, kind)()
    config.save_pretrained(tmp_path)
    refusal = refused("weights.not_resnet", layouts.describe, "it", json.loads((tmp_path / "config.json").read_text()))
    assert f"a {config.model_type} model" in str(refusal)


def test_timm_inside_of_transformers_is_read_too(
    tmp_path: Path, timm_folder: Any, same_logits: Any, pixels: Tensor
) -> None:
    """`TimmWrapperForImageClassification` saves timm's config with a prefix on every key."""
    network = timm_folder(tmp_path / "timm", num_classes=3, config={"label_names": ["a", "b", "c"]})
    config = json.loads((tmp_path / "timm" / "config.json").read_text())
    config.pop("model_args")  # transformers stumbles over them
    (tmp_path / "timm" / "config.json").write_text(json.dumps(config))
    wrapper = transformers.TimmWrapperForImageClassification.from_pretrained(tmp_path / "timm")
    wrapper.save_pretrained(tmp_path / "wrapped")
    with torch.inference_mode():
        logits = network(pixels)
    checkpoint = load(str(tmp_path / "wrapped"))
    same_logits(checkpoint, logits)
    assert checkpoint.label_names == ("a", "b", "c")


# -- names -------------------------------------------------------------------------------------------------------------

THREE = {"architecture": "resnet18", "num_classes": 3}


@pytest.mark.parametrize(
    ("config", "indices"),
    [
        ({"label_names": ["a", "b", "c"]}, None),
        ({"label_names": {"2": "c", "0": "a", "1": "b"}}, None),
        ({"labels": ["a", "b", "c"]}, None),
        ({"pretrained_cfg": {"label_names": ["a", "b", "c"]}}, None),
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, None),
        ({}, {"0": "a", "1": "b", "2": "c"}),
        ({"label_names": ["a", "b", "c"]}, {"0": "x", "1": "y", "2": "z"}),
    ],
)
def test_names_of_classes_are_found_where_they_are(config: dict[str, Any], indices: dict[str, str] | None) -> None:
    assert layouts.describe("it", {**THREE, **config}, class_indices=indices).label_names == ("a", "b", "c")


def test_names_that_do_not_match_the_outputs_are_refused(refused: Any) -> None:
    refusal = refused("weights.labels", layouts.describe, "it", {**THREE, "label_names": ["a", "b"]})
    assert "2 class names for 3 outputs" in str(refusal)


@pytest.mark.parametrize(
    "indices",
    [
        {"0": "a", "1": "b", "3": "c"},
        {"a": 1, "b": 2, "c": 3},
        {"0": "a", "1": "b", "2": "c", "02": "d"},
        {"a": 0, "b": 0, "c": 1},
        {"a": "b", "c": "d"},
        {"a": True, "b": False},
        {"0": "a", "b": "1"},
        {"0": "a", "²": "b"},
        {"a": 0.0, "b": 1.0},
        {"a": -1, "b": 0},
        {"9" * 5000: "a"},
    ],
)
def test_class_indices_with_gaps_are_refused(refused: Any, indices: dict[str, Any]) -> None:
    refused("weights.config", layouts.describe, "it", THREE, class_indices=indices)


@pytest.mark.parametrize(
    ("indices", "labels"),
    [
        ({"a": 0, "b": 1, "c": 2}, ("a", "b", "c")),
        ({"b": 1, "c": 2, "a": 0}, ("a", "b", "c")),
        ({"a": "0", "b": "1", "c": "2"}, ("a", "b", "c")),
        ({"7": 2, "3": 0, "5": 1}, ("3", "5", "7")),  # folders that are called by numbers
        ({"1": 0, "2": 1, "0": 2}, ("1", "2", "0")),
        ({"0": "1", "1": "2", "2": "0"}, ("1", "2", "0")),  # names that are numbers
    ],
)
def test_class_indices_may_be_turned_round(indices: dict[str, Any], labels: tuple[str, ...]) -> None:
    assert layouts.describe("it", THREE, class_indices=indices).label_names == labels


@pytest.mark.parametrize("long", ["x" * 1001, "花" * 5_000_000, {"x": "y" * 1000}])
def test_a_name_that_is_a_book_is_refused_at_once(refused: Any, long: Any) -> None:
    for config, indices in (
        ({"label_names": ["a", "b", long]}, None),
        ({"id2label": {"0": "a", "1": long, "2": "c"}}, None),
        ({}, {"0": long, "1": "b", "2": "c"}),
    ):
        refusal = at_once(
            lambda: refused("weights.long_label", layouts.describe, "it", {**THREE, **config}, class_indices=indices)  # noqa: B023
        )
        assert len(str(refusal)) < 300
    named = layouts.describe("it", {**THREE, "label_names": ["a", "b", "x" * 1000]}).label_names
    assert named[2] == "x" * 1000


def test_names_are_made_fit_to_print() -> None:
    described = layouts.describe("it", {**THREE, "label_names": ["a\nb", "\x1b[2Jc", "蒲公英\u3000"]})
    assert described.label_names == ("a b", "[2Jc", "蒲公英")


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("mit", "mit"), (" mit\n", "mit"), (["mit"], "mit"), (["mit", "apache-2.0", 3, ""], "mit, apache-2.0"),
        (3, None), (True, None), ({"name": "mit"}, None), ([], None), ([["mit"]], None), ("", None), (None, None),
        ("x" * 1_000_000, f"{'x' * 198} …"), (["x" * 150] * 1000, f"{'x' * 150}, {'x' * 46} …"),
        ("\x1b[2Jmit", "[2Jmit"),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_a_licence_is_a_text_or_some(said: object, read: str | None) -> None:
    for config in (
        {**THREE, "license": said},
        {**THREE, "pretrained_cfg": {"license": said}},
        {"model_type": "resnet", "license": said},
    ):
        assert layouts.describe("it", config).license == read
    assert layouts.describe("it", {**THREE, "license": "mit", "pretrained_cfg": {"license": said}}).license == (
        read or "mit"
    )
