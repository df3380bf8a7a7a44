"""`Checkpoint`: weights with all that makes them usable; and the folder that it is saved as, which timm reads too."""

from __future__ import annotations

import codecs
import errno
import json
import os
import pickle
import pickletools
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from resnet.classifier import DEFAULT_RULE, Classifier, NoneOfThese
from resnet.config import ResNetConfig, variant_name
from resnet.errors import Refusal
from resnet.network import ResNet
from resnet.preprocess import Preprocess
from resnet.zip_names import is_zip
from weights import contents, formats, layouts, unpickle
from weights.contents import Contents, Kind

CONFIG, PREPROCESSOR, CLASS_INDICES = "config.json", "preprocessor_config.json", "class_indices.json"
#: What names photos with a saved folder and nothing else of ours; its source is copied as it is.
PREDICT = Path(__file__).with_name("predict.py")
SAFETENSORS, INDEX = "model.safetensors", "model.safetensors.index.json"
BIN, BIN_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
#: Larger files don't travel in plain git on the Hub: the shipped checkpoint is sharded at this size.
SHARD_BYTES = 8_500_000
#: A network of our largest size in files of 10 MB.
MAX_SHARDS = 256
#: What a saved folder may hold of an earlier model.
OURS = re.compile(rf"model(-\d{{5}}-of-\d{{5}})?\.safetensors(\.index\.json)?|{CLASS_INDICES}|{PREDICT.name}")
#: A checkpoint's small files are read whole; none of them is ever near this.
MAX_JSON_BYTES = 16 * 1024**2
# What a pickle says where it names a function or class to call.
CODE_OPCODES = {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "BUILD"}


@dataclass(frozen=True)
class Source:
    """Where a checkpoint came from: `name` as it was asked for; repository, revision and commit where it was the Hub.

    `from_cache` says that the Hub could not be asked, so that this is the last known version.
    """

    name: str
    repo: str | None = None
    revision: str | None = None
    commit: str | None = None
    path: Path | None = None
    from_cache: bool = False


@dataclass(frozen=True)
class Checkpoint:
    """A trained ResNet: what to build, its weights in fp32 under torchvision's keys, and how to use it.

    `raw_config` is the `config.json` that it was read from: what we don't know in it survives a write. `kind` says
    which weights these are where its file tells, `kinds` which are in it, and `ignored` names what else it holds.
    """

    config: ResNetConfig
    state_dict: Mapping[str, Tensor] = field(repr=False)
    preprocess: Preprocess
    label_names: tuple[str, ...]
    temperature: float = 1.0
    rule: NoneOfThese = DEFAULT_RULE
    layout: layouts.Layout = "timm"
    license: str | None = None
    source: Source = field(default_factory=lambda: Source(""))
    raw_config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    kind: Kind | None = None
    kinds: tuple[Kind, ...] = ()
    ignored: tuple[str, ...] = ()

    def network(self, share: bool = False) -> ResNet:
        """The network with these weights, in evaluation mode.

        Args:
            share: whether its parameters are the checkpoint's own tensors (half the memory) or copies.
        """
        with torch.device("meta"):
            network = ResNet(self.config)
        state = self.state_dict if share else {key: value.clone() for key, value in self.state_dict.items()}
        network.load_state_dict(dict(state), assign=True)
        return network.eval()

    def classifier(self, device: torch.device | str | None = None) -> Classifier:
        """Ready to name photos.

        Args:
            device: where to compute; the GPU by default where there is one.
        """
        return Classifier(
            self.network(share=True), self.preprocess, self.label_names, self.temperature, self.rule, device
        )

    @property
    def architecture(self) -> str:
        """The variant's name, or its depths where it has none."""
        name = variant_name(self.config)
        return name or f"ResNet ({self.config.block}, {'-'.join(map(str, self.config.depths))})"

    def facts(self) -> dict[str, object]:
        """What there is to say of it, ready for JSON."""
        source = self.source
        return {
            "name": source.name,
            "architecture": self.architecture,
            "layout": self.layout,
            "parameters": self.config.num_parameters,
            "weights": self.kind,
            "weights_in_file": list(self.kinds),
            "ignored": list(self.ignored),
            "num_classes": len(self.label_names),
            "num_features": self.config.num_features,
            "input_size": self.preprocess.size,
            "interpolation": self.preprocess.interpolation,
            "crop_pct": self.preprocess.crop_pct,
            "stride_in_1x1": self.config.stride_in_1x1,
            "temperature": self.temperature,
            "none_of_these": {"score": self.rule.score, "threshold": self.rule.threshold},
            "license": self.license,
            "repo": source.repo,
            "revision": source.revision,
            "commit": source.commit,
            "path": str(source.path) if source.path else None,
            "from_cache": source.from_cache,
            "label_names": list(self.label_names),
        }


# -- reading -----------------------------------------------------------------------------------------------------------


def read_json(path: Path, name: str) -> dict[str, Any]:
    """A JSON object from a small file.

    Raises:
        Refusal: if it is no JSON object.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError("too large")
        data = json.loads(_decoded(path.read_bytes()))
        json.dumps(data, ensure_ascii=False).encode()  # half of a surrogate pair is JSON, but no text
    except (ValueError, RecursionError, IsADirectoryError):
        data = None
    except OSError:
        raise _unreadable(path, name) from None
    if not isinstance(data, dict):
        raise Refusal(
            "weights.json",
            "{file} of {name} is not a JSON object; fetch it again or mend it.",
            file=path.name,
            name=name,
        )
    return data


def _decoded(data: bytes) -> str:
    """Text as Windows may write it too: with a mark in front, or in Chinese with GBK.

    Raises:
        ValueError: if it is neither; other old encodings pass for GBK, and make rare characters of their own.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    with suppress(UnicodeDecodeError):
        return data.removeprefix(codecs.BOM_UTF8).decode()
    text = data.decode("gbk")
    chinese = re.sub(r"[\x00-\x7f]", "", text)
    if len(chinese.encode("gb2312", "ignore")) < 0.9 * len(chinese.encode("gbk")):
        raise ValueError("no Chinese")
    return text


def read_weights(
    path: Path, name: str, apart: bool = False, kind: Kind | None = None, more: Sequence[Path] = ()
) -> Contents:
    """A ``.safetensors`` or a pickled file -> the network's weights in it, with torchvision's keys.

    Args:
        path: of the file.
        name: of the checkpoint, for refusals.
        apart: whether a pickle is read by a process of its own, as what a stranger named must be.
        kind: which of the weights, where there are several: by default the average.
        more: the other files of a checkpoint that is divided into several; only together are their keys understood.

    Raises:
        Refusal: if it is damaged, could only be read by running code that is inside of it, or would fill the memory.
    """
    if apart and path.suffix != ".safetensors":
        return unpickle.read_apart(path, name, kind, more)
    if not more:
        return contents.take(_loaded(path, name), name, kind)
    merged: layouts.State = {}
    for one in (path, *more):
        merged |= contents.part(_loaded(one, name), name)
    return contents.take(merged, name, kind)


def _loaded(path: Path, name: str) -> object:
    """Whatever a file holds."""
    pickled = path.suffix != ".safetensors"
    try:
        formats.refuse_other(path, _owner(path, name))
        if not pickled:
            return _with_facts(path)
        unpickle.check_storage(path, name)
        if unpickle.makes_room(path):
            raise _pickle(path, name)
        if formats.is_torn(path):
            raise _broken(path, name)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Refusal:
        raise
    except MemoryError:
        raise Refusal("weights.memory", "{name} does not fit into this machine's memory.", name=name) from None
    except (PermissionError, FileNotFoundError):
        raise _unreadable(path, name) from None
    except Exception as error:  # a reader given a broken file raises whatever it likes
        if pickled and _holds_code(path, error):
            raise _pickle(path, name) from None
        raise _broken(path, name) from None


def _with_facts(path: Path) -> dict[str, object]:
    """The tensors of a ``.safetensors`` file, beside the texts that it says of them."""
    with safe_open(path, "pt") as file:
        facts = file.metadata() or {}
    return {**facts, **load_file(path)}


def _pickle(path: Path, name: str) -> Refusal:
    return Refusal(
        "weights.pickle", "{file} of {name} is a pickle that holds more than tensors and could run code, so it "
        "is not opened; ask for a safetensors file or save its `state_dict()`.",
        file=path.name, name=_owner(path, name),
    )  # fmt: skip


def _holds_code(path: Path, error: Exception) -> bool:
    """Whether torch refused a file for the functions and classes in it, rather than for damage."""
    if is_zip(path):
        return isinstance(error, pickle.UnpicklingError)
    try:
        with path.open("rb") as file:  # reading its instructions runs none of them
            instructions = {opcode.name for opcode, _, _ in pickletools.genops(file)}
    except Exception:  # it is no pickle at all
        return False
    return "GLOBAL" in str(error) or not CODE_OPCODES.isdisjoint(instructions)


def _owner(path: Path, name: str) -> str:
    """What a file is of: the checkpoint, or the folder that it lies in where it is the whole checkpoint."""
    return name if name != path.name else path.absolute().parent.name or "/"


def _broken(path: Path, name: str) -> Refusal:
    return Refusal(
        "weights.broken", "{file} of {name} is damaged or cut off; fetch or copy it again.",
        file=path.name, name=_owner(path, name),
    )  # fmt: skip


def _unreadable(path: Path, name: str) -> Refusal:
    return Refusal(
        "weights.unreadable", "{file} of {name} may not be read; check its permissions.",
        file=path.name, name=_owner(path, name),
    )  # fmt: skip


def read_folder(
    folder: Path,
    name: str | None = None,
    source: Source | None = None,
    apart: bool = False,
    kind: Kind | None = None,
) -> Checkpoint:
    """A folder as the Hub has it (timm's, transformers' or ours, sharded or not) -> Checkpoint.

    Args:
        folder: with its `config.json`.
        name: for refusals; the folder's by default.
        source: where it came from.
        apart: whether a pickle is read by a process of its own.
        kind: which of the weights, where there are several: by default the average.

    Raises:
        Refusal: if something of it is missing, damaged, or no ResNet.
    """
    name = name or folder.resolve().name or str(folder)
    try:
        files = {file.name for file in folder.iterdir()}
    except OSError:
        raise _unreadable(folder, name) from None
    if CONFIG not in files:
        raise Refusal(
            "weights.no_config", "{name} has no config.json, so nothing says what it is; name a model's folder or its "
            ".pth file.",
            name=name,
        )  # fmt: skip
    described, config = describe_folder(folder, files, name)
    first, *more = (folder / part for part in weight_files(files, name, lambda file: read_json(folder / file, name)))
    found = read_weights(first, name, apart, kind, more)
    layouts.refuse_unknown(found.architectures, name)
    return _checkpoint(described, found, name, source or Source(name, path=folder.resolve()), config)


def describe_folder(folder: Path, files: Collection[str], name: str) -> tuple[layouts.Description, dict[str, Any]]:
    """What a folder's small files say of it, with its config.json; no weights are read.

    Args:
        folder: with a `config.json` in it.
        files: the names of those that are there to be read.
        name: the checkpoint's, for refusals.

    Raises:
        Refusal: if it describes anything but a ResNet of ours.
    """
    config = read_json(folder / CONFIG, name)
    preprocessor = read_json(folder / PREPROCESSOR, name) if PREPROCESSOR in files else None
    indices = read_json(folder / CLASS_INDICES, name) if CLASS_INDICES in files else None
    return layouts.describe(name, config, preprocessor, indices), config


def weight_files(files: set[str], name: str, read_index: Any) -> list[str]:
    """Which of a folder's files hold the weights: safetensors first, whole or in shards, then pickles.

    Raises:
        Refusal: if there are none, or the index names others than are there.
    """
    if SAFETENSORS in files:
        return [SAFETENSORS]
    if INDEX in files:
        return _shards(read_index(INDEX), ".safetensors", files, name)
    if BIN in files:
        return [BIN]
    if BIN_INDEX in files:
        return _shards(read_index(BIN_INDEX), ".bin", files, name)
    if others := formats.of_others(files):
        raise formats.other(others[0], name)
    raise Refusal(
        "weights.none", "{name} holds no weights ({wanted}); choose another model.",
        name=name, wanted=f"{SAFETENSORS} or {BIN}",
    )  # fmt: skip


def _shards(index: Mapping[str, Any], suffix: str, files: set[str], name: str) -> list[str]:
    """The files of an index."""
    named = index.get("weight_map")
    shards = sorted({str(shard) for shard in named.values()}) if isinstance(named, dict) else []
    absent = [shard for shard in shards if shard not in files or not shard.endswith(suffix)]
    if len(shards) > MAX_SHARDS:
        raise Refusal(
            "weights.many_shards", "{name} is divided into {count} files, and {limit} are the most; save it in fewer.",
            name=name, count=f"{len(shards):,}", limit=MAX_SHARDS,
        )  # fmt: skip
    if shards and not absent:
        return shards
    raise Refusal(
        "weights.shards", "{name} is incomplete: its index names {missing}, which is not there; fetch "
        "or copy it again.",
        name=name, missing=layouts.shorten(", ".join(absent[:3])) or "no file",
    )  # fmt: skip


def read_file(path: Path, kind: Kind | None = None) -> Checkpoint:
    """One ``.pth`` or ``.safetensors`` file, as the tutorial's scripts leave it, with a `class_indices.json` beside it.

    Args:
        path: of the file.
        kind: which of the weights, where there are several: by default the average.

    Raises:
        Refusal: if it holds no ResNet, or its names don't match its outputs.
    """
    name = path.name
    found = read_weights(path, name, kind=kind)
    config = config_of(found, name)
    labels = found.labels or _labels_beside(path, name, config)
    described = layouts.Description("pth", config, Preprocess(), layouts.label_names(name, config, labels))
    return _checkpoint(described, found, name, Source(str(path), path=path.resolve()), {})


def _labels_beside(path: Path, name: str, config: ResNetConfig) -> Sequence[str] | None:
    """The names in the `class_indices.json` of a file's folder."""
    indices = path.parent / CLASS_INDICES
    try:
        labels = layouts.by_index(read_json(indices, name)) if indices.is_file() else None
    except ValueError as error:
        raise Refusal(
            "weights.config", "The config of {name} can't be understood ({reason}); choose another model.",
            name=name, reason=str(error),
        ) from None  # fmt: skip
    if labels and len(labels) != config.num_classes and config.num_classes == 1000:
        return None  # the tutorial keeps `resnet34-pre.pth` (ImageNet) beside the flowers' class_indices.json
    return labels


def config_of(found: Contents, name: str) -> ResNetConfig:
    """The architecture of weights without a config: read off their shapes, and the one that their file names, if any.

    Raises:
        Refusal: if it is no ResNet of ours, or another than the file says.
    """
    layouts.refuse_problem(found.problem, name)
    layouts.refuse_unknown(found.architectures, name)
    config = layouts.config_from_shapes(found.state, name)
    layouts.check_stated(found.architectures, found.model_args, config, name)
    return config


def _checkpoint(
    described: layouts.Description, found: Contents, name: str, source: Source, raw: Mapping[str, Any]
) -> Checkpoint:
    return Checkpoint(
        described.config,
        layouts.check_fit(described.config, found.state, name),
        described.preprocess,
        described.label_names,
        described.temperature,
        described.rule,
        described.layout,
        described.license,
        source,
        raw,
        found.kind,
        found.kinds,
        found.ignored,
    )


# -- writing -----------------------------------------------------------------------------------------------------------


def to_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """`config.json` as timm reads it; ours is under `resnet_demo`; what was there before and isn't ours stays."""
    network, preprocess = checkpoint.config, checkpoint.preprocess
    timm_like = checkpoint.layout == "timm"
    raw = dict(checkpoint.raw_config) if timm_like else {}
    name = variant_name(network)
    architecture = name or ("resnet18" if network.block == "basic" else "resnet50")
    args = {"layers": list(network.depths)} if name is None else {}
    if name is None and (network.groups, network.width_per_group) != (1, 64):
        args |= {"cardinality": network.groups, "base_width": network.width_per_group}  # type: ignore[dict-item]
    known_args = {key: value for key, value in (raw.get("model_args") or {}).items() if key in layouts.TIMM_IGNORED}
    num_classes = len(checkpoint.label_names)
    cfg = dict(raw.get("pretrained_cfg") or {})
    for stale in ("test_input_size", "test_crop_pct", "label_names", "labels"):
        cfg.pop(stale, None)
    cfg |= {
        "input_size": [3, preprocess.size, preprocess.size],
        "interpolation": preprocess.interpolation,
        "crop_pct": preprocess.crop_pct,
        "crop_mode": preprocess.crop_mode,
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "num_classes": num_classes,
        "first_conv": "conv1",
        "classifier": "fc",
    }
    if checkpoint.license:
        cfg["license"] = checkpoint.license
    config = {
        **raw,
        "architecture": architecture,
        "num_classes": num_classes,
        "num_features": network.num_features,
        "global_pool": "avg",
        "label_names": list(checkpoint.label_names),
        "pretrained_cfg": cfg,
        "resnet_demo": {
            **(raw.get("resnet_demo") or {}),
            "stride_in_1x1": network.stride_in_1x1,
            "temperature": checkpoint.temperature,
            "none_of_these": {"score": checkpoint.rule.score, "threshold": checkpoint.rule.threshold},
        },
    }
    config.pop("model_args", None)
    if args or known_args:
        config["model_args"] = {**known_args, **args}
    if not checkpoint.label_names:
        config.pop("label_names")
    return config


def write_folder(checkpoint: Checkpoint, folder: Path, half: bool = True, shard_bytes: int | None = None) -> None:
    """Save as a folder that `read_folder` and timm read, and that names photos by itself; other files in it stay.

    Args:
        checkpoint: what to save.
        folder: made if it isn't there.
        half: matrices and filters as fp16, half the size; biases and BatchNorm, whose statistics need it, stay fp32.
        shard_bytes: largest size of one file of weights; a single file by default, since timm reads no shards.

    Raises:
        OSError: if it can't be written, e.g. with ``errno.ENOSPC``; what was in the folder is as it was then.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(prefix=".unfinished-", dir=folder) as name:
            _write(checkpoint, unfinished := Path(name), half, shard_bytes)
            new = {file.name for file in unfinished.iterdir()}
            for file in folder.iterdir():
                if OURS.fullmatch(file.name) and file.name not in new:
                    file.unlink()  # a shard of an earlier model must not pass for one of this
            for file in unfinished.iterdir():
                file.replace(folder / file.name)
    except BaseException:
        if made:
            with suppress(OSError):
                folder.rmdir()
        raise


def _write(checkpoint: Checkpoint, folder: Path, half: bool, shard_bytes: int | None) -> None:
    state = {
        key: (value.half() if half and value.ndim > 1 else value).clone().contiguous()
        for key, value in checkpoint.state_dict.items()
    }
    total = sum(value.numel() * value.element_size() for value in state.values())
    pattern = "model{suffix}.safetensors"
    try:
        save_torch_state_dict(state, folder, filename_pattern=pattern, max_shard_size=shard_bytes or total)
    except SafetensorError as error:  # the system's own number of the error is in its text alone
        found = re.search(r"os error (\d+)", str(error))
        number = int(found[1]) if found else errno.EIO
        raise OSError(number, os.strerror(number)) from error
    _write_json(folder / CONFIG, to_config(checkpoint))
    for part in folder.glob("model*.safetensors"):  # written through a temporary file, which only its owner may read
        part.chmod((folder / CONFIG).stat().st_mode & 0o777)
    if checkpoint.label_names:
        _write_json(folder / CLASS_INDICES, {str(index): label for index, label in enumerate(checkpoint.label_names)})
        shutil.copyfile(PREDICT, folder / PREDICT.name)


def _write_json(path: Path, data: object) -> None:
    # A name that is no text (of a file, in what it says of its origin) is no reason to lose a model.
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", errors="replace")
