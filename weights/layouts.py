"""The layouts in which ResNets stand on the Hub and on disk, read as one: pure functions from configs and state dicts.

timm and torchvision share keys; transformers has its own; the tutorial's ``.pth`` files have keys and no config.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from resnet.classifier import DEFAULT_RULE, NoneOfThese
from resnet.config import EXPANSION, STAGE_PLANES, VARIANTS, Block, ResNetConfig, variant_name
from resnet.errors import Refusal
from resnet.naming import MAX_LABEL, class_name, printable
from resnet.network import ResNet
from resnet.preprocess import CropMode, Interpolation, Preprocess

Layout = Literal["timm", "transformers", "pth"]
Json = Mapping[str, Any]
State = dict[str, Tensor]
#: Names of architectures as a file gives them, each with whether the text is surely meant as one.
Architectures = Sequence[tuple[str, bool]]

#: ResNet-200 has 50 blocks; a config beyond these bounds is a mistake or an attack on our memory.
MAX_BLOCKS, MAX_PARAMETERS, MAX_CLASSES = 500, 600_000_000, 100_000

# timm's arguments that change nothing when a network is evaluated.
TIMM_IGNORED = {"drop_rate", "drop_path_rate", "drop_block_rate", "zero_init_last", "scriptable", "exportable"}
# timm's arguments that we build at this value only.
TIMM_FIXED: dict[str, tuple[object, ...]] = {
    "in_chans": (3,), "output_stride": (32,), "global_pool": ("avg",), "stem_width": (64,), "stem_type": ("", None),
    "replace_stem_pool": (False,), "block_reduce_first": (1,), "down_kernel_size": (1,), "avg_down": (False,),
    "channels": ([64, 128, 256, 512],), "act_layer": ("relu", None), "norm_layer": ("batchnorm2d", "batchnorm", None),
    "aa_layer": (None, ""), "block_args": ({}, None),
}  # fmt: skip
# What a text that may be anybody's name for anything is taken for an architecture by.
FAMILIES = re.compile(
    r"re[sx]ne[sxt]|resnext|vgg|densenet|mobilenet|efficientnet|convnext|inception|alexnet|googlenet|squeezenet|"
    r"shufflenet|mnasnet|regnet|nfnet|(^|_)vit|swin|deit",
    re.IGNORECASE,
)
# Parts of a block that weigh its channels or places: squeeze-and-excitation, ECA, CBAM and others.
ATTENTION = re.compile(r"layer\d\.\d+\.(se|se_module|eca|ca|sa|cbam|att|attn|attention)\.")
# What the class of all of them is called: timm's scripts write it where they were told no name.
ANY_RESNET = {"resnet", "resnext", "wideresnet"}
PIL_RESAMPLE: tuple[Interpolation, ...] = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
# transformers' processors for which a single number as `size` means a square; for the others it is the short side.
SQUARE = ("ViT", "DeiT", "Beit", "EfficientNet")


@dataclass(frozen=True)
class Description:
    """What a checkpoint says of itself, whatever the layout."""

    layout: Layout
    config: ResNetConfig
    preprocess: Preprocess
    label_names: tuple[str, ...]
    temperature: float = 1.0
    rule: NoneOfThese = DEFAULT_RULE
    license: str | None = None


def describe(
    name: str, config: Json, preprocessor: Json | None = None, class_indices: Json | None = None
) -> Description:
    """Read a `config.json`, with the files beside it where they are.

    Args:
        name: the checkpoint's, for refusals.
        config: timm's, ours or transformers' `config.json`.
        preprocessor: transformers' `preprocessor_config.json`.
        class_indices: the tutorial's, index -> label, for a config without names.

    Raises:
        Refusal: if it describes anything but a ResNet of ours; says what it is.
    """
    try:
        refuse_problem(config.get("problem_type"), name)
        model_type = config.get("model_type")
        if model_type == "resnet":
            return _describe_transformers(name, config, preprocessor or {})
        if model_type not in (None, "timm_wrapper") and "pretrained_cfg" not in config:
            raise not_a_resnet(name, f"a {model_type} model")
        return _describe_timm(name, config, class_indices)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise Refusal(
            "weights.config", "The config of {name} can't be understood ({reason}); choose another model.",
            name=name, reason=shorten(str(error)) or type(error).__name__,
        ) from error  # fmt: skip


def refuse_problem(problem: object, name: str) -> None:
    """That a network's answers are shares of one name; those of other trainings are no such shares.

    Raises:
        Refusal: naming what it was trained for.
    """
    if problem not in (None, "single_label_classification"):
        raise Refusal(
            "weights.problem", "{name} was trained for {problem}, not to choose one name, so its answers are no "
            "probabilities that add up to one; choose a model for single_label_classification.",
            name=name, problem=shorten(str(problem), 60),
        )  # fmt: skip


def not_a_resnet(name: str, what: str) -> Refusal:
    return Refusal(
        "weights.not_resnet", "{name} is {what}, not a ResNet that can be built here; choose one of {examples} or a "
        "fine-tune of it.",
        name=name, what=shorten(what), examples="resnet18, 34, 50, 101, 152, resnext and wide_resnet",
    )  # fmt: skip


def _bounded(config: ResNetConfig, name: str) -> ResNetConfig:
    if sum(config.depths) > MAX_BLOCKS or config.num_classes > MAX_CLASSES or config.num_parameters > MAX_PARAMETERS:
        raise not_a_resnet(name, "too large a network")
    return config


# -- timm, torchvision, ours -------------------------------------------------------------------------------------------


def _describe_timm(name: str, config: Json, class_indices: Json | None) -> Description:
    cfg: Json = config.get("pretrained_cfg") or config
    architecture = str(config.get("architecture") or cfg.get("architecture") or "")
    if not architecture:
        raise not_a_resnet(name, "a repository whose config.json names no architecture")
    base = VARIANTS.get(architecture.split(".")[0])
    if base is None:
        raise not_a_resnet(name, f"a {architecture}")
    ours: Json = config.get("resnet_demo") or {}
    network = _apply_model_args(name, architecture, base, config.get("model_args") or {})
    network = replace(network, stride_in_1x1=bool(ours.get("stride_in_1x1", False)))
    args: Json = config.get("model_args") or {}
    num_classes = int(args.get("num_classes", config.get("num_classes", cfg.get("num_classes", 1000))))
    if num_classes < 0:
        raise ValueError(f"num_classes is {num_classes}")
    network = _bounded(network.with_classes(num_classes), name)
    labels = config.get("label_names") or cfg.get("label_names") or config.get("labels") or cfg.get("labels")
    if isinstance(labels, Mapping):
        labels = by_index(labels)
    elif labels and not isinstance(labels, list | tuple):
        raise ValueError(f"label_names is {labels!r}; a list is needed")
    labels = labels or by_index(config.get("id2label")) or by_index(class_indices)
    rule: Json = ours.get("none_of_these") or {}
    return Description(
        "timm",
        network,
        _timm_preprocess(cfg),
        label_names(name, network, labels),
        _positive("temperature", ours.get("temperature", 1.0)),
        NoneOfThese(
            _one_of("score", rule["score"], ("probability", "max_logit", "energy")),
            _finite("threshold", rule["threshold"]),
        )
        if rule
        else DEFAULT_RULE,
        license_text(cfg.get("license")) or license_text(config.get("license")),
    )


def _apply_model_args(name: str, architecture: str, base: ResNetConfig, args: Json) -> ResNetConfig:
    """timm's `model_args` on top of a variant; each that we have no equal for is refused by name."""
    changes: dict[str, Any] = {}
    for key, value in args.items():
        if key in TIMM_IGNORED or key == "num_classes":
            continue
        if key == "layers":
            changes["depths"] = tuple(int(depth) for depth in value)
        elif key == "cardinality":
            changes["groups"] = int(value)
        elif key == "base_width":
            changes["width_per_group"] = int(value)
        elif key == "block" and str(value).lower() in ("basicblock", "bottleneck"):
            changes["block"] = "basic" if str(value).lower() == "basicblock" else "bottleneck"
        elif key not in TIMM_FIXED or (list(value) if isinstance(value, tuple) else value) not in TIMM_FIXED[key]:
            raise not_a_resnet(name, f"a {architecture} with {key}={value!r}")
    return replace(base, **changes)


def _timm_preprocess(cfg: Json) -> Preprocess:
    """The evaluation transform, with the test values where there are some: the published accuracy is theirs."""
    size = cfg.get("test_input_size") or cfg.get("input_size") or (3, 224, 224)
    if len(size) != 3 or size[0] != 3 or size[1] != size[2]:
        raise ValueError(f"input_size is {list(size)}; square RGB images are needed")
    return Preprocess(
        size=int(size[1]),
        interpolation=_one_of("interpolation", cfg.get("interpolation") or "bicubic", get_args(Interpolation)),
        crop_pct=_share(float(cfg.get("test_crop_pct") or cfg.get("crop_pct") or 0.875)),
        crop_mode=_one_of("crop_mode", cfg.get("crop_mode") or "center", get_args(CropMode)),
        mean=_triple(cfg.get("mean") or (0.485, 0.456, 0.406)),
        std=_triple(cfg.get("std") or (0.229, 0.224, 0.225)),
    )


# -- transformers ------------------------------------------------------------------------------------------------------


def _describe_transformers(name: str, config: Json, preprocessor: Json) -> Description:
    block = _one_of("layer_type", config.get("layer_type", "bottleneck"), tuple(EXPANSION))
    fixed = {"num_channels": 3, "embedding_size": 64, "hidden_act": "relu", "downsample_in_first_stage": False}
    for key, value in fixed.items():
        if config.get(key, value) != value:
            raise not_a_resnet(name, f"a ResNet with {key}={config[key]!r}")
    expected = [planes * EXPANSION[block] for planes in STAGE_PLANES]
    if list(config.get("hidden_sizes", (256, 512, 1024, 2048))) != expected:
        raise not_a_resnet(name, f"a {block} ResNet with hidden_sizes={config.get('hidden_sizes')!r}")
    depths = tuple(int(depth) for depth in config.get("depths", (3, 4, 6, 3)))
    v1 = block == "bottleneck" and bool(config.get("downsample_in_bottleneck", False))
    network = ResNetConfig(block, cast("tuple[int, int, int, int]", depths), stride_in_1x1=v1)
    architectures = config.get("architectures") or ["ResNetForImageClassification"]
    if "ResNetForImageClassification" in architectures:
        labels = by_index(config.get("id2label"))
        # Two is transformers' own default, which it leaves out when it saves.
        network = network.with_classes(len(labels) if labels else int(config.get("num_labels", 2)))
    else:
        labels, network = None, network.with_classes(0)
    network = _bounded(network, name)
    if labels and labels == [f"LABEL_{index}" for index in range(len(labels))]:
        labels = None  # transformers' placeholders say nothing
    return Description(
        "transformers", network, _transformers_preprocess(preprocessor), label_names(name, network, labels),
        license=license_text(config.get("license")),
    )  # fmt: skip


def _transformers_preprocess(cfg: Json) -> Preprocess:
    """ConvNext's processor (that of `microsoft/resnet-50`) and the plain ones, as one of our transforms."""
    kind = str(cfg.get("image_processor_type") or cfg.get("feature_extractor_type") or "ConvNextImageProcessor")
    size = cfg.get("size", {"shortest_edge": 224})
    if isinstance(size, int):
        size = {"height": size, "width": size} if kind.startswith(SQUARE) else {"shortest_edge": size}
    crop = cfg.get("crop_size")
    crop = crop if isinstance(crop, int) else int(crop["height"]) if crop else None
    crop_pct, crop_mode = 1.0, "center_floor"
    if "height" in size:
        side, crop_mode = int(size["height"]), "squash"
        if int(size["width"]) != side:
            raise ValueError(f"size is {size}; square images are needed")
    else:
        side = int(size["shortest_edge"])
        if kind.startswith("ConvNext"):
            if side < 384:
                crop_pct = _crop_pct(side, int(side / float(cfg.get("crop_pct") or 0.875)))
            else:
                crop_mode = "squash"  # warped without a crop, from 384 pixels on
    if crop is not None and cfg.get("do_center_crop", False):
        side, crop_pct = crop, _crop_pct(crop, side)
    standard = bool(cfg.get("do_normalize", True))
    return Preprocess(
        size=side,
        interpolation=PIL_RESAMPLE[range(len(PIL_RESAMPLE))[int(cfg.get("resample", 3))]],
        crop_pct=_share(crop_pct),
        crop_mode=cast("CropMode", crop_mode),
        mean=_triple(cfg.get("image_mean") or (0.485, 0.456, 0.406)) if standard else (0.0, 0.0, 0.0),
        std=_triple(cfg.get("image_std") or (0.229, 0.224, 0.225)) if standard else (1.0, 1.0, 1.0),
    )


def _crop_pct(size: int, resize: int) -> float:
    """The share that makes `Preprocess.resize` give back `resize` exactly, in spite of its rounding down."""
    share = size / resize
    return share if math.floor(size / share) == resize else size / (resize + 0.5)


def _share(crop_pct: float) -> float:
    if not 0.01 <= crop_pct <= 1:
        raise ValueError(f"crop_pct is {crop_pct}; it must be from 0.01 to 1")
    return crop_pct


def from_transformers(key: str) -> str:
    """torchvision's key for one of transformers'; what is none of these stays."""
    key = re.sub(r"^resnet\.", "", key)
    key = re.sub(r"^classifier\.1\.", "fc.", key)
    key = re.sub(r"^embedder\.embedder\.convolution\.", "conv1.", key)
    key = re.sub(r"^embedder\.embedder\.normalization\.", "bn1.", key)
    if match := re.fullmatch(r"encoder\.stages\.(\d)\.layers\.(\d+)\.(.+)", key):
        block = f"layer{int(match[1]) + 1}.{match[2]}."
        rest = (
            match[3]
            .replace("shortcut.convolution.", "downsample.0.")
            .replace("shortcut.normalization.", "downsample.1.")
        )
        if inner := re.fullmatch(r"layer\.(\d)\.(convolution|normalization)\.(.+)", rest):
            rest = f"{'conv' if inner[2] == 'convolution' else 'bn'}{int(inner[1]) + 1}.{inner[3]}"
        key = block + rest
    return key


# -- state dicts -------------------------------------------------------------------------------------------------------


def config_from_shapes(state: State, name: str) -> ResNetConfig:
    """The architecture, read off the shapes of a state dict with torchvision's keys.

    Where a bottleneck strides can't be seen in shapes: torchvision's place (the 3x3) is taken.

    Raises:
        Refusal: if the keys are not those of a ResNet.
    """
    if kind := _of_another_kind(state):
        raise not_a_resnet(name, kind)
    depths = []
    for stage in (1, 2, 3, 4):
        blocks = {match[1] for key in state if (match := re.match(rf"layer{stage}\.(\d+)\.", key))}
        depths.append(len(blocks))
    first = state.get("layer1.0.conv1.weight")
    second = state.get("layer1.0.conv2.weight")
    stem = state.get("conv1.weight")
    if 0 in depths or first is None or second is None or stem is None or tuple(stem.shape) != (64, 3, 7, 7):
        some = ", ".join(shorten(key, 40) for key in list(state)[:3]) or "nothing"
        raise not_a_resnet(name, f"a network with the keys {some} …")
    block: Block = "bottleneck" if "layer1.0.conv3.weight" in state else "basic"
    try:
        groups = second.shape[0] // second.shape[1] if block == "bottleneck" else 1
        width = first.shape[0] // groups if block == "bottleneck" else 64
        network = ResNetConfig(block, cast("tuple[int, int, int, int]", tuple(depths)), groups, width)
        top = state.get("fc.weight")
        return _bounded(network.with_classes(0 if top is None else int(top.shape[0])), name)
    except (ValueError, ZeroDivisionError, IndexError) as error:
        raise not_a_resnet(name, f"a network that is none ({error})") from error


def _of_another_kind(state: State) -> str | None:
    """Which kind of ResNet it is that can't be built here, as far as its keys and shapes tell."""
    if "layer1.0.conv1.weight" not in state:
        return None
    stem = state.get("conv1.weight")
    if stem is None and "conv1.0.weight" in state:
        return "a ResNet with a stem of several convolutions (conv1.0.weight …)"
    if attention := next((key for key in state if ATTENTION.match(key)), None):
        squeeze = re.search(r"\.se(_module)?\.fc|\.se_module\.|\.se\.\d", attention)
        return f"a ResNet with {'squeeze-and-excitation' if squeeze else 'attention'} ({shorten(attention, 60)})"
    if "bn1.weight" in state and "bn1.running_mean" not in state:
        return "a ResNet with GroupNorm or another norm that keeps no statistics (no bn1.running_mean)"
    if stem is None or stem.ndim != 4 or tuple(stem.shape) == (64, 3, 7, 7):
        return None
    shape = f"(conv1.weight is {_shape(stem)})"
    if stem.shape[1] == 1:
        return f"a ResNet for images of one channel {shape}"
    if stem.shape[1] != 3:
        return f"a ResNet for images of {stem.shape[1]} channels {shape}"
    if tuple(stem.shape[2:]) == (3, 3):
        return f"a ResNet with a 3x3 stem, as for images of 32 pixels {shape}"
    return f"a ResNet with another stem {shape}"


def refuse_unknown(architectures: Architectures, name: str) -> None:
    """That each architecture which a file names for its weights is one of ours; some others have the same keys.

    Raises:
        Refusal: naming one that is not.
    """
    for said, sure in architectures:
        if _variant(said) is None and (sure or FAMILIES.search(said)) and _squeezed(said) not in ANY_RESNET:
            raise Refusal(
                "weights.stated", "{name} says of itself that it is a {stated}, which can't be built here; choose one "
                "of {examples}, or if it is one of them, save its `state_dict()` alone.",
                name=name, stated=said, examples="resnet18, 34, 50, 101, 152, resnext and wide_resnet",
            )  # fmt: skip


def check_stated(architectures: Architectures, args: Json, config: ResNetConfig, name: str) -> None:
    """That the weights are those of the architectures which their file names.

    Args:
        architectures: as they are named, each with whether it is surely one.
        args: timm's arguments, with which each was built.
        config: what the weights are of.
        name: of the checkpoint, for refusals.

    Raises:
        Refusal: if one is not ours, was built with what we have no equal for, or has other weights.
    """
    refuse_unknown(architectures, name)
    found = replace(config.with_classes(1000), stride_in_1x1=False)
    for said, _ in architectures:
        variant = _variant(said)
        if variant is None:
            continue
        try:
            wanted = _apply_model_args(name, said, variant, args)
        except (ValueError, TypeError) as error:
            raise not_a_resnet(name, f"a {said} that is none ({error})") from error
        if wanted != found:
            raise Refusal(
                "weights.stated_other", "{name} says of itself that it is a {stated}, but its weights are those of "
                "another network ({found}); name the file that belongs to it.",
                name=name, stated=said, found=_in_words(found),
            )  # fmt: skip


def _variant(said: str) -> ResNetConfig | None:
    """The variant of that name, however it is written; timm's older names tell in front what it was trained on."""
    squeezed = re.sub(r"^(tv|ssl|swsl|ig)(?=resne)", "", _squeezed(said))
    return next((config for variant, config in VARIANTS.items() if _squeezed(variant) == squeezed), None)


def _squeezed(said: str) -> str:
    """``torchvision.models.ResNet-50``, ``timm/resnet50.a1_in1k`` -> ``resnet50``."""
    last = said.lower().split("/")[-1]
    part = last.split(".")[-1 if last.startswith(("torchvision.", "timm.")) else 0]
    return re.sub(r"[-_\s]", "", part)


def _in_words(config: ResNetConfig) -> str:
    return variant_name(config) or f"{config.block}, {'-'.join(map(str, config.depths))}"


def check_fit(config: ResNetConfig, state: State, name: str) -> State:
    """The state dict in fp32, once its keys and shapes are those of the architecture (batch counters may be missing).

    Numbers are converted only now: a file of a few bytes can hold a tensor of terabytes, as a view.

    Raises:
        Refusal: listing the keys that are missing, too many, or of another shape or kind, or that hold no numbers; or
            if fewer numbers are in memory than the shapes tell.
    """
    with torch.device("meta"):
        expected = ResNet(config).state_dict()
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    extra = [key for key in state if key not in expected]
    shapes = [
        f"{key} is {_shape(state[key])} instead of {_shape(expected[key])}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    kinds = [
        f"{key} holds {str(state[key].dtype).removeprefix('torch.')}"
        for key in expected
        if key in state and expected[key].is_floating_point() and not state[key].is_floating_point()
    ]
    found = [("missing", missing), ("unknown", extra), ("of another shape", shapes), ("of another kind", kinds)]
    if any(keys for _, keys in found):
        problems = "; ".join(f"{len(keys)} {what}: {_some(keys)}" for what, keys in found if keys)
        raise Refusal(
            "weights.misfit", "The weights of {name} don't fit the architecture that its config declares ({problems}); "
            "use the config that belongs to them.", name=name, problems=problems,
        )  # fmt: skip
    check_views({key: value for key, value in state.items() if key in expected}, name)
    zero = torch.tensor(0)
    whole = {key: state.get(key, zero).detach().to(expected[key].dtype).contiguous() for key in expected}
    # A sum shows in one pass whether a NaN or an infinity is among the numbers.
    if damaged := [key for key, value in whole.items() if not value.sum().isfinite()]:
        raise Refusal(
            "weights.no_number", "The weights of {name} are not all numbers ({problems}); its training went astray, or "
            "the file is damaged: use another one.", name=name, problems=_some(damaged),
        )  # fmt: skip
    return whole


def check_views(state: Mapping[str, Tensor], name: str) -> None:
    """That each number of a state dict lies in memory by itself; a view can show one of them as billions.

    Raises:
        Refusal: if there are fewer numbers than the shapes tell.
    """
    shown = sum(value.numel() * value.element_size() for value in state.values())
    storages = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in state.values()}
    if shown > sum(storages.values()):
        raise Refusal(
            "weights.views", "The weights of {name} repeat {held:.1f} MB of numbers as {shown:.1f} MB, which no "
            "trained network does; ask for a safetensors file.",
            name=name, held=sum(storages.values()) / 1e6, shown=shown / 1e6,
        )  # fmt: skip


def _some(keys: Sequence[str]) -> str:
    return ", ".join(shorten(key, 80) for key in keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"


# -- small things ------------------------------------------------------------------------------------------------------


def label_names(name: str, config: ResNetConfig, labels: Sequence[object] | None) -> tuple[str, ...]:
    """A name for each output: those given, else ImageNet's for 1000 outputs, else ``class 0``, ``class 1`` …

    Raises:
        Refusal: if there are as many names as there aren't outputs, or one is no name but a book.
    """
    outputs = config.num_classes if config.include_top else 0
    if labels and outputs:
        if len(labels) != outputs:
            raise Refusal(
                "weights.labels", "{name} gives {given} class names for {outputs} outputs; mend its config or its "
                "class_indices.json.", name=name, given=len(labels), outputs=outputs,
            )  # fmt: skip
        texts = [str(label) for label in labels]
        if (longest := max(map(len, texts))) > MAX_LABEL:
            raise Refusal(
                "weights.long_label", "{name} gives a class a name of {length} characters, {label}; {limit} are the "
                "most: choose another model, or mend its config or its class_indices.json.",
                name=name, length=f"{longest:,}", label=shorten(max(texts, key=len), 60), limit=f"{MAX_LABEL:,}",
            )  # fmt: skip
        return tuple(map(class_name, texts))
    if outputs == 1000:
        from torchvision.models import ResNet18_Weights  # the names of ImageNet's classes, in order

        return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
    return tuple(f"class {index}" for index in range(outputs))


def license_text(value: object) -> str | None:
    """What a config or a card says of its licence, where that is a text or some of them; None where it is not."""
    several = value if isinstance(value, list | tuple) else (value,)
    texts = [shorten(one).strip() for one in several[:10] if isinstance(one, str)]
    return shorten(", ".join(filter(None, texts))) or None


def by_index(mapping: Mapping[Any, Any] | None) -> list[str] | None:
    """``{"0": "daisy", "1": …}``, or turned round, ``{"daisy": 0, …}`` as image folders have it -> names in order.

    Raises:
        ValueError: if the indices are not 0, 1, 2 …
    """
    if not mapping:
        return None
    pairs = [(label, index) for index, label in mapping.items()]
    if _are_indices(mapping.values()) or not any(map(_is_number, mapping)):
        pairs = list(mapping.items())
    if not all(_is_number(index) for _, index in pairs):
        raise ValueError("class indices must be 0, 1, 2 …")
    names = {int(index): str(label) for label, index in pairs}
    if sorted(names) != list(range(len(mapping))):
        raise ValueError("class indices must be 0, 1, 2 …")
    return [names[index] for index in range(len(names))]


def _is_number(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool) and str(value)[:20].isdecimal()


def _are_indices(values: Collection[object]) -> bool:
    """Whether these are the numbers 0, 1, 2 … themselves; of names that are numbers a file makes texts."""
    return all(type(value) is int for value in values) and set(values) == set(range(len(values)))


def shorten(text: str, limit: int = 200) -> str:
    """What a stranger wrote, fit to stand in a sentence: on one line, of bounded length."""
    return printable(text if len(text) <= limit else f"{text[: limit - 2]} …")


def _one_of(key: str, value: object, allowed: tuple[Any, ...]) -> Any:
    if value not in allowed:
        raise ValueError(f"{key} is {value!r}; it must be one of {', '.join(allowed)}")
    return value


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    first, second, third = (_finite("mean and std", value) for value in values)
    return first, second, third


def _finite(key: str, value: object) -> float:
    number = float(cast("float", value))
    if not math.isfinite(number):
        raise ValueError(f"{key} must be finite")
    return number


def _positive(key: str, value: object) -> float:
    number = float(cast("float", value))
    if not 0 < number < math.inf:
        raise ValueError(f"{key} is {value}; it must be above 0")
    return number
