"""Names of classes as people have them: in any writing of a class_indices.json, or inside of a checkpoint."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.datasets import ImageFolder

from tests.pictures import PHOTOS
from weights.checkpoint import read_weights
from weights.load import load

CHINESE = ["雏菊", "蒲公英", "玫瑰", "向日葵", "郁金香"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "utf-16", "gb2312"])
@pytest.mark.parametrize("turned", [False, True])
def test_class_indices_are_read_in_what_windows_writes(tmp_path: Path, state: Any, encoding: str, turned: bool) -> None:
    pairs = {label: index for index, label in enumerate(CHINESE)} if turned else dict(enumerate(CHINESE))
    (tmp_path / "class_indices.json").write_bytes(json.dumps(pairs, ensure_ascii=False).encode(encoding))
    torch.save(state, tmp_path / "a.pth")
    assert load(str(tmp_path / "a.pth")).label_names == tuple(CHINESE)
    folder = tmp_path / "class_indices.json"
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18", "num_classes": 5,
                                                      "model_args": {"layers": [1, 1, 1, 1]}}))  # fmt: skip
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert load(str(folder.parent)).label_names == tuple(CHINESE)


@pytest.mark.parametrize(
    ("encoding", "names"),
    [("latin-1", ["pensée", "œillet".replace("œ", "oe"), "bégonia", "pâquerette", "lis"]),
     ("shift_jis", ["ヒナギク", "タンポポ", "バラ", "ヒマワリ", "チューリップ"]),
     ("big5", ["雛菊", "蒲公英", "玫瑰", "向日葵", "鬱金香"])],
)  # fmt: skip
def test_other_encodings_are_refused_and_not_taken_for_chinese(
    tmp_path: Path, state: Any, refused: Any, encoding: str, names: list[str]
) -> None:
    data = json.dumps(dict(enumerate(names)), ensure_ascii=False).encode(encoding)
    (tmp_path / "class_indices.json").write_bytes(data)
    torch.save(state, tmp_path / "a.pth")
    refused("weights.json", load, str(tmp_path / "a.pth"))


LABELS = ("ant", "bee", "cat", "dog", "emu")


@pytest.mark.parametrize(
    "said",
    [
        {"classes": list(LABELS)}, {"class_names": LABELS}, {"names": list(LABELS)}, {"labels": list(LABELS)},
        {"class_to_idx": {label: index for index, label in enumerate(LABELS)}},
        {"idx_to_class": dict(enumerate(LABELS))}, {"names": dict(enumerate(LABELS))},
        {"id2label": {str(index): label for index, label in enumerate(LABELS)}},
        {"args": Namespace(class_names=list(LABELS))}, {"meta": {"CLASSES": LABELS}},
        {"hyper_parameters": {"classes": list(LABELS)}}, {"classes": 5, "labels": [1, 2], "names": list(LABELS)},
        {"labels": torch.ones(9), "class_to_idx": dict(zip(LABELS, range(5), strict=True))},
    ],
    ids=lambda said: str(said)[:40],
)  # fmt: skip
def test_names_inside_of_a_checkpoint_are_its_names(tmp_path: Path, state: Any, said: dict[str, Any]) -> None:
    path = tmp_path / "a.pth"
    torch.save({"state_dict": state, **said}, path)
    assert load(str(path)).label_names == LABELS
    (tmp_path / "class_indices.json").write_text(json.dumps({str(index): "other" for index in range(5)}))
    assert load(str(path)).label_names == LABELS, "its own come first"


def test_an_image_folders_own_mapping_gives_the_names(tmp_path: Path, train: Any, pixels: Any) -> None:
    import torchvision

    folder = ImageFolder(PHOTOS / "flowers")
    basic = torchvision.models.resnet.BasicBlock
    network = train(torchvision.models.ResNet, basic, [1, 1, 1, 1], num_classes=len(folder.classes))
    torch.save({"model": network.state_dict(), "class_to_idx": folder.class_to_idx}, tmp_path / "a.pth")
    assert load(str(tmp_path / "a.pth")).label_names == tuple(folder.classes)


def test_names_of_another_number_are_refused(tmp_path: Path, state: Any, refused: Any) -> None:
    torch.save({"state_dict": state, "classes": ["a", "b"]}, tmp_path / "a.pth")
    assert "2 class names for 5 outputs" in str(refused("weights.labels", load, str(tmp_path / "a.pth")))


@pytest.mark.parametrize(
    "said", [{"labels": [1, 2, 3, 4, 5]}, {"names": {"a": 1, "b": 2}}, {"classes": []}, {"names": {"a": "b"}},
             {"labels": [["a"]] * 5}, {"names": {1.5: "a"}}]
)  # fmt: skip
def test_what_may_be_anything_else_gives_no_names(tmp_path: Path, state: Any, said: dict[str, Any]) -> None:
    torch.save({"state_dict": state, **said}, tmp_path / "a.pth")
    assert load(str(tmp_path / "a.pth")).label_names[:2] == ("class 0", "class 1")


def test_names_are_fit_to_print_and_come_from_a_process_of_its_own_too(tmp_path: Path, state: Any) -> None:
    path = tmp_path / "a.bin"
    labels = ["a\nb", "\x1b[2Jc", "\ud800", "花", "e"]
    torch.save({"state_dict": state, "classes": labels}, path)
    apart, here = (read_weights(path, "it", apart=one) for one in (True, False))
    assert apart.labels == here.labels
    assert all(label.isprintable() for label in load(str(path)).label_names)
