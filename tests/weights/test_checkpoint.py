"""Files and folders: what the tutorial leaves behind, what is damaged or dangerous, and what we write ourselves."""

from __future__ import annotations

import collections
import errno
import json
import os
import pickle
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from resnet.classifier import NoneOfThese
from resnet.config import VARIANTS, ResNetConfig
from resnet.preprocess import Preprocess
from tests.disks import mounted
from train.__main__ import main as evaluate
from weights.catalog import SHIPPED
from weights.checkpoint import Checkpoint, Source, read_folder, write_folder
from weights.load import load

LABELS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
INDICES = json.dumps({str(index): label for index, label in enumerate(LABELS)})


@pytest.fixture(scope="module")
def network(train: Any) -> Any:
    """torchvision's block in the smallest ResNet that has its keys, with the tutorial's five classes."""
    basic = torchvision.models.resnet.BasicBlock
    return train(torchvision.models.ResNet, basic, [1, 1, 1, 1], num_classes=5)


@pytest.fixture(scope="module")
def state(network: Any) -> dict[str, Tensor]:
    return dict(network.state_dict())


@pytest.fixture(scope="module")
def logits(network: Any, pixels: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(pixels)


# -- what the tutorial leaves behind -----------------------------------------------------------------------------------


def _prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: collections.OrderedDict(state),
        lambda state: {"state_dict": state, "epoch": 3, "best_acc1": 91.5, "arch": "resnet18"},
        lambda state: {"model": state, "args": {"lr": 0.1, "sizes": [1, 2]}},
        lambda state: {"model": {"state_dict": state}},
        lambda state: _prefixed(state, "module."),
        lambda state: {"state_dict": _prefixed(state, "module.")},
        lambda state: {"model": _prefixed(state, "module.")},
        lambda state: _prefixed(state, "_orig_mod."),
        lambda state: {key: torch.nn.Parameter(value.float()) for key, value in state.items()},
    ],
    ids=[
        "plain",
        "ordered",
        "state_dict",
        "model",
        "nested",
        "module",
        "both",
        "model+module",
        "compiled",
        "parameters",
    ],
)
def test_state_dicts_are_found_however_they_were_saved(
    tmp_path: Path, state: Any, logits: Tensor, same_logits: Any, wrap: Callable[[Any], Any], zipped: bool
) -> None:
    path = tmp_path / "resNet.pth"
    torch.save(wrap(state), path, _use_new_zipfile_serialization=zipped)
    checkpoint = load(str(path))
    same_logits(checkpoint, logits)
    assert checkpoint.label_names == tuple(f"class {index}" for index in range(5))


def test_an_optimizer_beside_the_weights_does_no_harm(
    tmp_path: Path, network: Any, state: Any, logits: Tensor, same_logits: Any
) -> None:
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    torch.save({"optimizer": optimizer.state_dict(), "model": state}, tmp_path / "last.pth")
    same_logits(load(str(tmp_path / "last.pth")), logits)


def test_the_tutorials_names_are_read_from_beside_it(tmp_path: Path, state: Any) -> None:
    torch.save(state, tmp_path / "resNet34.pth")
    (tmp_path / "class_indices.json").write_text(INDICES)
    checkpoint = load(str(tmp_path / "resNet34.pth"))
    assert checkpoint.label_names == LABELS
    assert checkpoint.source == Source(str(tmp_path / "resNet34.pth"), path=(tmp_path / "resNet34.pth").resolve())


def test_the_tutorials_pretrained_file_keeps_imagenets_names(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = torchvision.models.resnet34().state_dict()
    zeros = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in shapes.items()}
    torch.save(zeros, tmp_path / "resnet34-pre.pth")
    (tmp_path / "class_indices.json").write_text(INDICES)
    checkpoint = load(str(tmp_path / "resnet34-pre.pth"))
    assert checkpoint.architecture == "resnet34"
    assert checkpoint.label_names == tuple(torchvision.models.ResNet34_Weights.DEFAULT.meta["categories"])
    assert checkpoint.preprocess == Preprocess(224, "bilinear", 0.875)


def test_names_that_do_not_match_the_file_are_refused(tmp_path: Path, state: Any, refused: Any) -> None:
    torch.save(state, tmp_path / "resNet34.pth")
    (tmp_path / "class_indices.json").write_text(json.dumps({"0": "a", "1": "b"}))
    assert "2 class names for 5 outputs" in str(refused("weights.labels", load, str(tmp_path / "resNet34.pth")))
    (tmp_path / "class_indices.json").write_text(json.dumps({"daisy": 0}))
    refused("weights.config", load, str(tmp_path / "resNet34.pth"))
    (tmp_path / "class_indices.json").write_text("daisy, dandelion")
    refused("weights.json", load, str(tmp_path / "resNet34.pth"))


def test_a_lone_safetensors_file_is_read(tmp_path: Path, state: Any, logits: Tensor, same_logits: Any) -> None:
    save_file(state, tmp_path / "some.safetensors")
    same_logits(load(str(tmp_path / "some.safetensors")), logits)


def test_a_file_without_a_classifier_is_a_base(tmp_path: Path, state: Any, refused: Any, a_photo: Image.Image) -> None:
    torch.save({key: value for key, value in state.items() if not key.startswith("fc.")}, tmp_path / "base.pth")
    checkpoint = load(str(tmp_path / "base.pth"))
    assert checkpoint.label_names == ()
    assert not checkpoint.config.include_top
    assert "fine-tuned" in str(refused("model.base", checkpoint.classifier("cpu").predict, [a_photo]))


def test_only_the_strides_of_a_bottleneck_are_a_guess(train: Any, tmp_path: Path) -> None:
    """They can't be seen in shapes; torchvision's place is taken, whose file it most likely is."""
    network = train(torchvision.models.ResNet, torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], num_classes=3)
    torch.save(network.state_dict(), tmp_path / "a.pth")
    assert load(str(tmp_path / "a.pth")).config == ResNetConfig("bottleneck", (1, 1, 1, 1), num_classes=3)


# -- what must not be opened -------------------------------------------------------------------------------------------


class Touch:
    """Unpickling it runs a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(
    tmp_path: Path, state: Any, refused: Any, protocol: int
) -> None:
    marker, path = tmp_path / "marker", tmp_path / "evil.pth"
    attacks = [lambda: path.write_bytes(pickle.dumps({"conv1.weight": Touch(marker)}, protocol))]
    if protocol == 2:  # as `torch.save` writes
        attacks += [
            lambda: torch.save({**state, "x": Touch(marker)}, path),
            lambda: torch.save({"state_dict": state, "x": Touch(marker)}, path, _use_new_zipfile_serialization=False),
        ]
    for attack in attacks:
        attack()
        assert "evil.pth" in str(refused("weights.pickle", load, str(path)))
        assert not marker.exists()
    pickle.loads(pickle.dumps(Touch(marker), protocol))
    assert marker.exists(), "or the attack is none"


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_whole_pickled_network_is_refused(tmp_path: Path, network: Any, refused: Any, zipped: bool) -> None:
    torch.save(network, tmp_path / "whole.pth", _use_new_zipfile_serialization=zipped)
    refusal = refused("weights.pickle", load, str(tmp_path / "whole.pth"))
    assert "state_dict()" in str(refusal)


def test_a_torchscript_archive_is_refused(tmp_path: Path, refused: Any) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "script.pt"))
    refused("weights.pickle", load, str(tmp_path / "script.pt"))


# -- what is damaged, or something else --------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ".bin"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        b"a text that somebody wrote\n" * 20,
        b"configuration\nof something\n" * 20,  # to a pickle, c is the instruction to import
        b"<!DOCTYPE html><html>404</html>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
        b"\x80\x02",
        b"PK\x03\x04 and no more",
        random.Random(0).randbytes(100_000),
        random.Random(1).randbytes(7),
        (2**40).to_bytes(8, "little") + b"{}",  # a safetensors header of a terabyte
    ],
    ids=lambda content: repr(content[:10]),
)
def test_a_file_that_is_no_checkpoint_is_said_to_be_damaged(
    tmp_path: Path, refused: Any, suffix: str, content: bytes
) -> None:
    (tmp_path / f"file{suffix}").write_bytes(content)
    refusal = refused("weights.broken", load, str(tmp_path / f"file{suffix}"))
    assert str(refusal).startswith(f"file{suffix} of {tmp_path.name} is damaged")


@pytest.mark.parametrize("layout", ["zip", "legacy", "safetensors"])
def test_a_file_that_is_cut_off_anywhere_is_said_to_be_damaged(
    tmp_path: Path, state: Any, refused: Any, layout: str
) -> None:
    path = tmp_path / ("whole.safetensors" if layout == "safetensors" else "whole.pth")
    small = {key: value[:1] if value.ndim else value for key, value in state.items()}
    small = {key: value.clone() for key, value in small.items()}
    if layout == "safetensors":
        save_file(small, path)
    else:
        torch.save(small, path, _use_new_zipfile_serialization=layout == "zip")
    whole = path.read_bytes()
    rng = random.Random(2)
    lengths = {0, 1, 2, 8, 9, 100, len(whole) // 2, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(60))}
    for length in lengths:
        path.write_bytes(whole[:length])
        refused("weights.broken", load, str(path))


def test_flipped_bytes_never_end_in_anything_but_a_sentence(tmp_path: Path, state: Any) -> None:
    """A lone file has no hash to be held against: most of its bytes are numbers, which nobody can miss."""
    from resnet.errors import Refusal

    rng = random.Random(3)
    small = {key: (value[:1] if value.ndim else value).clone() for key, value in state.items()}
    codes = collections.Counter()
    for layout in ("zip", "legacy", "safetensors"):
        path = tmp_path / ("a.safetensors" if layout == "safetensors" else "a.pth")
        if layout == "safetensors":
            save_file(small, path)
        else:
            torch.save(small, path, _use_new_zipfile_serialization=layout == "zip")
        whole = bytearray(path.read_bytes())
        for _ in range(300):
            damaged = bytearray(whole)
            for _ in range(rng.choice((1, 1, 8, 64))):
                damaged[rng.randrange(min(len(damaged), 20_000))] = rng.randrange(256)
            path.write_bytes(damaged)
            with pytest.raises(Refusal) as caught:  # without damage it would be refused too: its tensors are slices
                load(str(path))
            codes[caught.value.code] += 1
    assert codes["weights.broken"] > 100, codes


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), None, {}, 5, {"epoch": 3}, {"model": {"a": 1}}, "text"])
def test_a_file_without_a_state_dict_says_so(tmp_path: Path, refused: Any, content: Any) -> None:
    torch.save(content, tmp_path / "a.pth")
    refused("weights.no_state", load, str(tmp_path / "a.pth"))


@pytest.mark.parametrize("name", ["vgg11", "densenet121", "mobilenet_v3_small", "vit_b_16"])
def test_other_networks_are_said_to_be_no_resnet(tmp_path: Path, refused: Any, name: str) -> None:
    with torch.device("meta"):
        shapes = torchvision.models.get_model(name, num_classes=2).state_dict()
    state = {key: torch.zeros(min(value.numel(), 2)) for key, value in shapes.items()}
    torch.save(state, tmp_path / f"{name}.pth")
    refusal = refused("weights.not_resnet", load, str(tmp_path / f"{name}.pth"))
    assert next(iter(state)) in str(refusal)


def test_resnets_of_other_kinds_are_refused_by_their_keys(tmp_path: Path, refused: Any) -> None:
    for name, key in (("seresnet50", "layer1.0.se.fc1.weight"), ("resnet50d", "conv1.0.weight")):
        with torch.device("meta"):
            shapes = timm.create_model(name, pretrained=False).state_dict()
        torch.save({k: torch.zeros(()).expand(v.shape) for k, v in shapes.items()}, tmp_path / f"{name}.pth")
        with pytest.raises(Exception, match=key) as caught:
            load(str(tmp_path / f"{name}.pth"))
        assert getattr(caught.value, "code", "").startswith("weights.")


@pytest.mark.parametrize(
    ("key", "tensor", "code"),
    [
        ("fc.weight", torch.zeros(1, dtype=torch.half).expand(10**7, 10**6), "weights.not_resnet"),  # 20 TB as fp16
        ("layer4.0.conv2.weight", torch.zeros(1, dtype=torch.half).expand(10**7, 10**6), "weights.misfit"),
        ("layer1.0.conv2.weight", torch.zeros(1).expand(10**9, 1, 3, 3), "weights.misfit"),
        ("fc.weight", torch.zeros(5, 512, dtype=torch.long), "weights.misfit"),
        ("fc.weight", torch.zeros(5, 512, dtype=torch.complex64), "weights.misfit"),
        ("fc.weight", torch.zeros(5, 512).to_sparse(), "weights.no_state"),
        ("fc.weight", torch.empty(5, 512, device="meta"), "weights.no_state"),
        ("fc.weight", torch.tensor(5.0), "weights.not_resnet"),
        ("fc.weight", torch.zeros(0, 512), "weights.misfit"),
        ("fc.bias", torch.zeros(6), "weights.misfit"),
        ("layer1.0.conv1.weight", torch.tensor(1.0), "weights.misfit"),
        ("layer1.0.conv2.weight", torch.zeros(0, 64, 3, 3), "weights.misfit"),
        ("conv1.weight", torch.zeros(64, 1, 7, 7), "weights.not_resnet"),
        ("layer1." + "9" * 5000 + ".conv1.weight", torch.zeros(1), "weights.misfit"),
        ("embedder.embedder." + "9" * 5000, torch.zeros(1), "weights.misfit"),
        ("\x1b[2J" * 1000, torch.zeros(1), "weights.misfit"),
        ("fc.bias", torch.full((5,), torch.nan), "weights.no_number"),
        ("bn1.running_var", torch.ones(64).index_fill(0, torch.tensor(3), torch.inf), "weights.no_number"),
        ("fc.weight", torch.full((5, 512), -torch.inf, dtype=torch.half), "weights.no_number"),
        ("bn1.weight", torch.full((64,), 1e300, dtype=torch.double), "weights.no_number"),
    ],
    ids=range(20),
)
def test_hostile_tensors_and_keys_end_in_a_sentence(
    tmp_path: Path, state: Any, refused: Any, key: str, tensor: Tensor, code: str
) -> None:
    torch.save({**state, key: tensor}, tmp_path / "a.pth")
    assert (tmp_path / "a.pth").stat().st_size < 25e6
    refused(code, load, str(tmp_path / "a.pth"))


@pytest.fixture
def as_nobody() -> Iterator[Callable[[], None]]:
    """A function that takes root's rights away until the test ends."""
    user = os.geteuid()
    yield lambda: os.seteuid(65534) if user == 0 else None
    os.seteuid(user)


def test_files_that_may_not_be_read_are_said_to_be_so(state: Any, refused: Any, as_nobody: Callable[[], None]) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others altogether
        folder = Path(name)
        folder.chmod(0o755)
        torch.save(state, folder / "a.pth")
        for closed in ("config", "folder", "weights"):
            (folder / closed).mkdir()
            (folder / closed / "config.json").write_text(json.dumps({"architecture": "resnet18", "num_classes": 5}))
            save_file(state, folder / closed / "model.safetensors")
        for path in ("a.pth", "config/config.json", "folder", "weights/model.safetensors"):
            (folder / path).chmod(0o000)
        try:
            as_nobody()
            for path in ("a.pth", "config", "weights"):
                refused("weights.unreadable", load, str(folder / path))
            refused("weights.unreadable", load, str(folder / "folder"))
            refused("weights.name", load, str(folder / "folder" / "config.json"))
        finally:
            os.seteuid(os.getuid())
            (folder / "folder").chmod(0o755)


# -- folders -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, timm_folder: Any) -> Path:
    """As timm writes it, with keys that we know nothing of at every level."""
    target = tmp_path / "a-model"
    timm_folder(target, layers=[1, 1, 1, 1], num_classes=3, config={"label_names": ["a", "b", "c"]})
    config = json.loads((target / "config.json").read_text())
    config["somebody"] = {"else": ["s", 1.5, None, True, "蒲公英"]}
    config["pretrained_cfg"]["paper_ids"] = "arXiv:1512.03385"
    config["model_args"]["drop_rate"] = 0.25
    config["resnet_demo"] = {"provenance": {"seed": 7}, "temperature": 1.5}
    (target / "config.json").write_text(json.dumps(config))
    (target / "README.md").write_text("# A model\n")
    return target


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("shard_bytes", [None, 3_000_000, 1])
def test_a_folder_comes_back_as_it_was_written(
    tmp_path: Path, folder: Path, half: bool, shard_bytes: int | None
) -> None:
    before = replace(
        read_folder(folder),
        rule=NoneOfThese("energy", 2.25),
        temperature=0.45,
        license="mit",
        preprocess=Preprocess(256, "bicubic", 0.9, "squash", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
    )
    target = tmp_path / "saved" / "deep"
    write_folder(before, target, half=half, shard_bytes=shard_bytes)
    parts = sorted(target.glob("model*.safetensors"))
    assert (len(parts) > 1) == bool(shard_bytes)
    assert (target / "model.safetensors.index.json").exists() == bool(shard_bytes)
    after = read_folder(target)
    for key in ("config", "preprocess", "label_names", "temperature", "rule", "license", "layout"):
        assert getattr(after, key) == getattr(before, key)
    for key, value in before.state_dict.items():
        wanted = value.half().float() if half and value.ndim > 1 else value
        assert torch.equal(after.state_dict[key], wanted), key
    again = tmp_path / "again"
    write_folder(after, again, half=half, shard_bytes=shard_bytes)
    for file in target.iterdir():
        assert (again / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.parametrize("shard_bytes", [None, 3_000_000])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, folder: Path, shard_bytes: int | None) -> None:
    """Wherever it fills: in the first file of weights, in a later one, or in the small files behind them."""
    checkpoint = read_folder(folder)
    with mounted(tmp_path / "disk", "size=40m") as disk:
        saved = disk / "model"
        write_folder(checkpoint, saved, half=False)
        before = {file.name: file.read_bytes() for file in saved.iterdir()}
        needed = sum(len(content) for content in before.values()) // 2
        for room in (0, 4096, needed // 2, needed - 40_000):
            with (disk / "filler").open("wb") as filler:
                filler.write(bytes(shutil.disk_usage(disk).free - room))
            for target in (saved, disk / "new"):
                with pytest.raises(OSError, match="No space left") as caught:
                    write_folder(checkpoint, target, shard_bytes=shard_bytes)
                assert caught.value.errno == errno.ENOSPC
            assert {file.name: file.read_bytes() for file in saved.iterdir()} == before
            assert not (disk / "new").exists()
            (disk / "filler").unlink()
        write_folder(checkpoint, saved, shard_bytes=shard_bytes)
        assert read_folder(saved).label_names == checkpoint.label_names


def test_nothing_of_an_earlier_model_stays(tmp_path: Path, folder: Path) -> None:
    checkpoint = read_folder(folder)
    write_folder(checkpoint, tmp_path / "saved", shard_bytes=3_000_000)
    (tmp_path / "saved" / "notes.txt").write_text("mine")
    (tmp_path / "saved" / "model.safetensors.backup").write_text("mine")
    write_folder(replace(checkpoint, label_names=()), tmp_path / "saved")
    left = {file.name for file in (tmp_path / "saved").iterdir()}
    assert left == {"config.json", "model.safetensors", "notes.txt", "model.safetensors.backup"}


@pytest.mark.parametrize("half", [True, False])
def test_only_what_can_stand_it_is_fp16(tmp_path: Path, folder: Path, half: bool) -> None:
    write_folder(read_folder(folder), tmp_path / "saved", half=half)
    for key, value in load_file(tmp_path / "saved" / "model.safetensors").items():
        if key.endswith("num_batches_tracked"):
            assert value.dtype == torch.int64
        else:
            matrix = "conv" in key or "downsample.0" in key or key == "fc.weight"
            assert value.dtype == (torch.float16 if matrix and half else torch.float32), key


def test_keys_that_we_know_nothing_of_survive(tmp_path: Path, folder: Path) -> None:
    before = json.loads((folder / "config.json").read_text())
    write_folder(read_folder(folder), tmp_path / "saved")
    after = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert after["somebody"] == before["somebody"]
    assert after["pretrained_cfg"]["paper_ids"] == "arXiv:1512.03385"
    assert after["pretrained_cfg"]["tag"] == before["pretrained_cfg"]["tag"]
    assert after["resnet_demo"]["provenance"] == {"seed": 7}
    assert after["resnet_demo"]["temperature"] == 1.5
    assert after["model_args"]["drop_rate"] == 0.25
    assert after["model_args"]["layers"] == [1, 1, 1, 1]


def test_other_files_of_the_folder_stay(folder: Path) -> None:
    (folder / "metrics.json").write_text("{}")
    write_folder(read_folder(folder), folder)
    assert (folder / "README.md").read_text() == "# A model\n"
    assert (folder / "metrics.json").read_text() == "{}"


def test_nothing_of_what_was_there_before_is_read_for_the_new(tmp_path: Path, folder: Path) -> None:
    """Shards over a single file, a single file over shards, a base over names."""
    first = read_folder(folder)
    second = replace(first, state_dict={key: value + 1 for key, value in first.state_dict.items()})
    target = tmp_path / "saved"
    for checkpoint, shard_bytes in ((first, None), (second, 3_000_000), (first, 2_000_000), (second, None)):
        write_folder(checkpoint, target, half=False, shard_bytes=shard_bytes)
        found = read_folder(target)
        assert all(torch.equal(found.state_dict[key], value) for key, value in checkpoint.state_dict.items())
    base = replace(
        first,
        config=first.config.with_classes(0),
        label_names=(),
        state_dict={key: value for key, value in first.state_dict.items() if not key.startswith("fc.")},
    )
    write_folder(base, target)
    assert read_folder(target).label_names == ()
    assert not (target / "class_indices.json").exists()


def test_class_names_are_written_for_the_tutorial_too(tmp_path: Path, folder: Path) -> None:
    write_folder(replace(read_folder(folder), label_names=("蒲公英", 'a "b"', "c")), tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "class_indices.json").read_text(encoding="utf-8")) == {
        "0": "蒲公英", "1": 'a "b"', "2": "c",
    }  # fmt: skip


@pytest.mark.parametrize(
    "config",
    [
        ResNetConfig("basic", (2, 2, 2, 3), num_classes=4),
        ResNetConfig("basic", (1, 1, 1, 1)),
        ResNetConfig("basic", (2, 2, 2, 2), include_top=False),
        ResNetConfig("bottleneck", (1, 1, 2, 1), num_classes=3),
        ResNetConfig("bottleneck", (1, 1, 1, 1), groups=16, width_per_group=8, num_classes=3),
        VARIANTS["resnext50_32x4d"].with_classes(2),
    ],
    ids=lambda config: f"{config.block}-{config.depths}-{config.groups}",
)
def test_timm_reads_what_we_write(
    tmp_path: Path, train: Any, pixels: Tensor, same_logits: Any, config: ResNetConfig
) -> None:
    from resnet.network import ResNet

    state = train(ResNet, config).state_dict()
    labels = tuple(f"flower {index}" for index in range(config.num_classes if config.include_top else 0))
    preprocess = Preprocess(192, "bilinear", 0.9, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    write_folder(Checkpoint(config, state, preprocess, labels, license="mit"), tmp_path / "saved")
    network = timm.create_model(f"local-dir:{tmp_path / 'saved'}", pretrained=True).eval()
    with torch.inference_mode():
        same_logits(read_folder(tmp_path / "saved"), network(pixels))
    wanted = timm.data.resolve_model_data_config(network, use_test_size=True)
    assert tuple(wanted["input_size"]) == (3, 192, 192)
    assert (wanted["crop_pct"], wanted["interpolation"]) == (0.9, "bilinear")
    assert (tuple(wanted["mean"]), tuple(wanted["std"])) == (preprocess.mean, preprocess.std)
    assert network.pretrained_cfg["license"] == "mit"


@pytest.mark.parametrize("layout", ["transformers", "pth"])
def test_every_layout_can_be_saved_as_ours(
    tmp_path: Path, train: Any, state: Any, same_logits: Any, pixels: Tensor, layout: str
) -> None:
    import transformers

    if layout == "transformers":
        config = transformers.ResNetConfig(
            depths=[1, 1, 1, 1], num_labels=3, downsample_in_bottleneck=True, id2label={0: "a", 1: "b", 2: "c"}
        )
        train(transformers.ResNetForImageClassification, config).save_pretrained(tmp_path / "source")
        transformers.ViTImageProcessor().save_pretrained(tmp_path / "source")
        before = load(str(tmp_path / "source"))
    else:
        torch.save(state, tmp_path / "source.pth")
        before = load(str(tmp_path / "source.pth"))
    write_folder(before, tmp_path / "saved", half=False)
    after = load(str(tmp_path / "saved"))
    assert after.layout == "timm"
    assert (after.config, after.preprocess, after.label_names) == (before.config, before.preprocess, before.label_names)
    with torch.inference_mode():
        same_logits(after, before.network()(pixels), atol=0)


def test_networks_are_copies_unless_they_are_to_share(folder: Path) -> None:
    checkpoint = read_folder(folder)
    copy, shared = checkpoint.network(), checkpoint.network(share=True)
    weight = checkpoint.state_dict["conv1.weight"]
    assert shared.conv1.weight.data_ptr() == weight.data_ptr()
    assert copy.conv1.weight.data_ptr() != weight.data_ptr()
    assert not copy.training
    copy(torch.zeros(1, 3, 64, 64)).sum().backward()  # it can be trained


@pytest.mark.parametrize(
    ("index", "named"),
    [
        ({"weight_map": {"a": "../../etc/passwd"}}, "../../etc/passwd"),
        ({"weight_map": {"a": "/etc/passwd"}}, "/etc/passwd"),
        ({"weight_map": {"a": "model-00002-of-00002.safetensors"}}, "model-00002-of-00002.safetensors"),
        ({"weight_map": {"a": "config.json"}}, "config.json"),
        ({"weight_map": {"a": "x" * 10_000}}, "x" * 100),
        ({"weight_map": {"a": {"b": 1}}}, "b"),
        ({"weight_map": {}}, "no file"),
        ({"weight_map": ["a"]}, "no file"),
        ({"weight_map": "abc"}, "no file"),
        ({"weight_map": None}, "no file"),
        ({}, "no file"),
    ],
    ids=range(11),
)
def test_an_index_that_names_other_files_is_refused(folder: Path, refused: Any, index: Any, named: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert named in str(refused("weights.shards", read_folder, folder))


def test_an_absent_shard_is_named(tmp_path: Path, folder: Path, refused: Any) -> None:
    write_folder(read_folder(folder), tmp_path / "saved", shard_bytes=3_000_000)
    gone = sorted((tmp_path / "saved").glob("*.safetensors"))[1]
    gone.unlink()
    assert gone.name in str(refused("weights.shards", read_folder, tmp_path / "saved"))


def test_safetensors_come_before_a_pickle(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"not looked at")
    read_folder(folder)


def test_a_folder_with_only_a_pickle_is_read(folder: Path, pixels: Tensor, same_logits: Any) -> None:
    with torch.inference_mode():
        logits = read_folder(folder).network()(pixels)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    same_logits(read_folder(folder), logits)


def test_a_folder_without_weights_or_without_a_config_says_so(folder: Path, refused: Any) -> None:
    (folder / "model.safetensors").unlink()
    assert "model.safetensors or pytorch_model.bin" in str(refused("weights.none", read_folder, folder))
    (folder / "config.json").unlink()
    assert str(refused("weights.no_config", read_folder, folder)).startswith("a-model has no config.json")


def test_weights_of_another_network_are_refused_with_their_keys(folder: Path, refused: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["model_args"]["layers"] = [1, 1, 1, 2]
    (folder / "config.json").write_text(json.dumps(config))
    refusal = refused("weights.misfit", read_folder, folder)
    assert "missing: layer4.1.conv1.weight" in str(refusal)


def test_facts_are_ready_for_json(folder: Path) -> None:
    facts = json.loads(json.dumps(read_folder(folder).facts()))
    assert facts["architecture"] == "ResNet (basic, 1-1-1-1)"
    assert facts["label_names"] == ["a", "b", "c"]
    assert facts["num_classes"] == 3
    assert facts["temperature"] == 1.5


# -- the shipped checkpoint --------------------------------------------------------------------------------------------


def test_the_shipped_checkpoint_needs_no_network(monkeypatch: pytest.MonkeyPatch, a_photo: Image.Image) -> None:
    import socket

    def refuse(*arguments: object) -> None:
        raise AssertionError("no network is needed for it")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    checkpoint = load("flowers", local=False)
    assert checkpoint.architecture == "resnet18"
    assert checkpoint.label_names == LABELS
    assert checkpoint.license == "mit"
    (row,) = checkpoint.classifier("cpu").predict([a_photo])
    assert abs(sum(prediction.probability for prediction in row.predictions) - 1) < 1e-5


def test_the_shipped_files_travel_in_plain_git() -> None:
    sizes = {file.name: file.stat().st_size for file in SHIPPED.iterdir()}
    assert max(sizes.values()) < 9_000_000, sizes
    assert {"README.md", "config.json", "class_indices.json", "model.safetensors.index.json"} <= set(sizes)
    for part in SHIPPED.glob("*.safetensors"):
        for key, value in load_file(part).items():
            assert value.dtype in (torch.float16, torch.float32, torch.int64)
            assert (value.dtype == torch.float16) == ("conv" in key or "downsample.0" in key or key == "fc.weight")


def test_the_shipped_checkpoint_is_as_good_as_its_card_says(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Measured anew on the photos that its training had kept apart; a photo or two on the edge may fall otherwise."""
    told = json.loads((SHIPPED / "metrics.json").read_text())
    shipped = load("flowers")
    assert told["calibration"]["temperature"] == shipped.temperature
    assert (told["none_of_these"]["score"], told["none_of_these"]["threshold"]) == (
        shipped.rule.score, shipped.rule.threshold,
    )  # fmt: skip
    arguments = [str(shared / "data" / "flowers.zip"), "--part", "val", "--val", "0.15", "--json"]
    assert evaluate(["evaluate", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["photos"] == told["photos"] == 390
    assert found["accuracy"]["right"] == pytest.approx(told["accuracy"]["right"], abs=2)
    assert found["accuracy"]["value"] >= 0.94
    assert found["stored_temperature"]["ece"] < 0.035  # 0.03, and a photo on the edge of a bin
    assert found["none_of_these"]["flagged"]["value"] <= 0.05
    card = (SHIPPED / "README.md").read_text()
    assert f"| {told['photos']} | {100 * told['accuracy']['value']:.1f} % (" in card
    for one in told["classes"]:
        assert f"| {one['name']} | {one['support']} | {100 * one['precision']['value']:.1f} % |" in card


def test_the_shipped_checkpoint_reads_as_timm_reads_it(tmp_path: Path, pixels: Tensor, same_logits: Any) -> None:
    """timm reads no shards, so they are joined first."""
    shipped = load("flowers")
    write_folder(shipped, tmp_path / "joined")
    network = timm.create_model(f"local-dir:{tmp_path / 'joined'}", pretrained=True).eval()
    with torch.inference_mode():
        same_logits(shipped, network(pixels))


def test_the_shared_base_reads_as_timm_reads_it(shared: Path, pixels: Tensor, same_logits: Any) -> None:
    folder = shared / "hub" / "imagenet" / "resnet20-features"
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    checkpoint = read_folder(folder)
    with torch.inference_mode():
        same_logits(checkpoint, network(pixels))
    assert checkpoint.config == ResNetConfig("basic", (2, 2, 2, 3), include_top=False)
    assert checkpoint.license == "mit"
