"""Folders of a model: what is written comes back, whatever was there and whatever goes wrong."""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor

from resnet.classifier import NoneOfThese
from resnet.config import VARIANTS, ResNetConfig
from resnet.preprocess import Preprocess
from tests.disks import mounted
from weights.checkpoint import Checkpoint, read_folder, write_folder
from weights.load import load


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
