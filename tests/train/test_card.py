"""The model card: what the Hub reads of it, what it says, and that nobody's text can break it."""

from __future__ import annotations

import html
import json
import random
import re
import subprocess
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import EvalResult, ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from markdown_it import MarkdownIt
from markdown_it.token import Token
from PIL import Image
from torch.nn import functional as F

from resnet.__main__ import main as resnet_main
from resnet.config import ResNetConfig
from resnet.network import ResNet
from resnet.preprocess import Preprocess
from tests.waiting import PATIENCE_S
from train.card import CardFacts, card, metadata
from train.markdown import code, table, text
from train.report import Report, report
from train.shares import Share
from weights.checkpoint import Checkpoint, write_folder
from weights.publish import on_the_hub

HOSTILE = [
    "a|b",
    "`code`",
    "```",
    "line\nbreak",
    "line\r\n---\r\nlicense: gpl",
    "---",
    "\n---\n",
    "<script>alert(1)</script>",
    "<!-- ",
    "</table>",
    "&lt;b&gt;",
    '"quoted"',
    "it's",
    "[link](https://example.com)",
    "![picture](https://example.com/a.png)",
    "https://example.com",
    "www.example.com",
    "<https://example.com>",
    "**bold** _low_ ~~gone~~",
    "# heading",
    "- item",
    "1. item",
    "> quote",
    "\\",
    "\\|",
    "a\\",
    "$x^2$",
    "!!python/object:os.system",
    "{a: [b]}",
    "key: value # comment",
    "*anchor",
    "&anchor",
    "%YAML",
    "null",
    "",
    "   ",
    "\u202egnp.exe",
    "\x00\x1b[31m",
    "\udc80",
    "玫瑰 🌹",
    "@someone :smile:",
    "x" * 500,
]


def _report(names: Sequence[str], count: int = 60) -> Report:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % len(names)
    logits = 2.0 * F.one_hot(labels, len(names)) + torch.randn(count, len(names), generator=generator)
    files = [f"{row}.jpg" for row in range(count)]
    return report(logits, labels, names, files, majority_train=0, baseline_logits=logits.roll(1, 0))


def _facts(names: Sequence[str] = ("ants", "bees"), **changes: Any) -> CardFacts:
    facts = CardFacts(
        name="insects",
        architecture="resnet18",
        parameters=11_177_538,
        image_size=224,
        report=_report(names),
        data="hymenoptera.zip",
        images={"train": dict.fromkeys(names, 50), "val": dict.fromkeys(names, 7)},
        method="all: every layer, lower learning rates below",
        settings={"epochs": 6, "label smoothing": 0.1},
        command="python -m train hymenoptera.zip --method all --out insects",
        device="2 cores of a CPU",
        seconds=754.0,
        duplicates={"within a class": 3},
        left_out={"ants/broken.jpg": "It is cut off."},
        curves=[
            {
                "epoch": 1,
                "train_loss": 0.9,
                "val_loss": 0.5,
                "val_accuracy": 0.85,
                "learning_rate": 1e-3,
                "seconds": 60,
            },
            {"epoch": 2, "train_loss": 0.4, "val_loss": None, "val_accuracy": 0.9},
        ],
        base="flowers",
        license="mit",
    )
    return replace(facts, **changes)


def _tokens(markdown: str) -> list[Token]:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)


def _cells(markdown: str) -> list[list[str]]:
    """The texts of the rows of all tables, header rows too."""
    rows: list[list[str]] = []
    for token in _tokens(markdown):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and token.level > 3 and rows:
            rows[-1].append("".join(child.content for child in token.children or ()))
    return rows


def _kinds(markdown: str) -> set[str]:
    tokens = _tokens(markdown)
    return {child.type for token in tokens for child in (token, *(token.children or ()))}


def _body(whole: str) -> str:
    return ModelCard(whole, ignore_metadata_errors=False).text


# -- what the Hub reads ------------------------------------------------------------------------------------------------


def test_the_hub_reads_the_metadata() -> None:
    facts = _facts(base="someone/net", base_repo="someone/net", base_commit="a" * 40, license="Apache-2.0")
    data = ModelCard(card(facts), ignore_metadata_errors=False).data
    assert data.license == "apache-2.0"
    assert data.library_name == "timm"
    assert data.pipeline_tag == "image-classification"
    assert data.tags == ["image-classification", "timm", "resnet"]
    assert data.base_model == "someone/net"
    assert data["base_model_relation"] == "finetune"
    assert data.model_name == "insects"
    assert data.eval_results == metadata(facts).eval_results
    assert data.eval_results is not None
    assert {one.metric_type: one.metric_value for one in data.eval_results} == {
        "accuracy": facts.report.accuracy.value,
        **facts.report.macro,
    }


def test_the_model_index_is_as_the_specification_wants_it() -> None:
    loaded = yaml.safe_load(card(_facts()).split("---\n")[1])
    name, results = model_index_to_eval_results(loaded["model-index"])
    assert name == "insects"
    assert all(isinstance(one, EvalResult) for one in results)
    (result,) = loaded["model-index"][0]["results"]
    assert result["task"] == {"type": "image-classification", "name": "Image Classification"}
    assert result["dataset"] == {"name": "hymenoptera.zip", "type": "imagefolder", "split": "validation"}
    for metric in result["metrics"]:
        assert set(metric) == {"type", "name", "value"}
        assert isinstance(metric["value"], float)
    assert [metric["type"] for metric in result["metrics"]] == loaded["metrics"]


@pytest.mark.parametrize(
    ("given", "license_", "name"),
    [
        ("mit", "mit", None),
        ("BSD-3-Clause", "bsd-3-clause", None),
        (None, None, None),
        ("", None, None),
        ("Mine: all mine\n---", "other", "mine: all mine ---"),
    ],
)
def test_the_licence_is_the_bases(given: str | None, license_: str | None, name: str | None) -> None:
    data = ModelCard(card(_facts(license=given)), ignore_metadata_errors=False).data
    assert data.license == license_
    assert data.license_name == name


@pytest.mark.parametrize("repo", [None, "../../etc/passwd", "a/b/c", "a b", "a\n---\nb"])
def test_a_base_that_is_no_repository_is_not_named_to_the_hub(repo: str | None) -> None:
    loaded = yaml.safe_load(card(_facts(base_repo=repo)).split("\n---\n")[0])
    assert "base_model" not in loaded
    assert "base_model_relation" not in loaded


# -- what it says ------------------------------------------------------------------------------------------------------


def test_what_stands_in_it() -> None:
    facts = _facts(
        base_repo="someone/net",
        base_commit="abc123",
        teacher="imagenet/resnet20-features, MIT",
        strangers={"imagenette": Share(46, 100)},
        data_license="CC BY 2.0",
        notes=["**Note.** Photographers are listed [there](https://example.com)."],
    )
    body = _body(card(facts))
    rendered = MarkdownIt("commonmark").enable("table").render(body)
    shown = html.unescape(re.sub(r"<[^>]+>", "", rendered))
    for expected in (
        "insects", "ants, bees", "11.2 million parameters", "224 x 224", "someone/net", "commit abc123",
        str(facts.report.accuracy), "CC BY 2.0", "12.6 minutes", "2 cores of a CPU", facts.command,
        "Distilled from imagenet/resnet20-features", "every layer, lower learning rates below",
    ):  # fmt: skip
        assert expected in shown
    assert facts.notes[0] in body
    cells = _cells(body)
    assert ["ants", "50", "7"] in cells
    assert ["all", "100", "14"] in cells
    assert ["within a class", "3"] in cells
    assert ["ants/broken.jpg", "It is cut off."] in cells
    assert ["1", "0.9000", "0.5000", "85.0 %", "1.00e-03", "60.0"] in cells
    assert ["2", "0.4000", "–", "90.0 %", "–", "–"] in cells
    assert ["imagenette", "100", "46.0 %", "36.6 to 55.7 %"] in cells
    assert ["label smoothing", "0.1"] in cells
    ours, compared = facts.report.accuracy, facts.report.baseline
    assert compared is not None
    assert [row[1] for row in cells if row[0] == "this model"] == [f"{ours.right} of 60"]
    assert [row[1] for row in cells if row[0].startswith("baseline")] == [f"{compared.accuracy.right} of 60"]
    assert ["always “ants”", "30 of 60", "50.0 %", "37.7 to 62.3 %"] in cells
    first, second = facts.report.confusion
    assert ["ants", *map(str, first)] in cells
    assert ["bees", *map(str, second)] in cells


def test_a_card_without_anything_that_may_be_absent() -> None:
    facts = _facts(
        images={}, settings={}, duplicates={}, left_out={}, curves=(), base=None, license=None,
        report=replace(_report(("a", "b")), baseline=None),
    )  # fmt: skip
    body = _body(card(facts))
    assert "trained from nothing" in body
    assert "None" not in body.replace("[None]", "")
    assert "McNemar" not in body


def test_long_lists_are_cut() -> None:
    names = [f"class {index}" for index in range(40)]
    left_out = {f"{index}.jpg": "cut off" for index in range(100)}
    curves: list[dict[str, float | None]] = [{"epoch": epoch} for epoch in range(1, 501)]
    facts = _facts(names, left_out=left_out, curves=curves)
    cells = _cells(_body(card(facts)))
    assert ["and 80 more", ""] in cells
    epochs = [int(row[0]) for row in cells if len(row) == 6 and row[0].isdecimal()]
    assert len(epochs) <= 60
    assert epochs[-1] == 500
    assert max(map(len, cells)) <= 6, "no matrix of 40 classes"
    assert ["true class", "named", "photos", "of"] in cells


def test_its_snippets_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    network = ResNet(ResNetConfig("basic", (1, 1, 1, 1), num_classes=2)).eval()
    facts = _facts()
    temperature = facts.report.calibration.temperature
    checkpoint = Checkpoint(network.config, network.state_dict(), Preprocess(64), ("ants", "bees"), temperature)
    write_folder(checkpoint, tmp_path / "DIR")
    (tmp_path / "DIR" / "README.md").write_text(card(facts), encoding="utf-8")
    photo = Image.effect_mandelbrot((90, 70), (-2, -1, 1, 1), 50).convert("RGB")
    photo.save(tmp_path / "photo.jpg")
    photo.save(tmp_path / "DIR" / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    shell, alone, python = (
        token.content for token in _tokens(_body(card(facts)).split("## Accuracy")[0]) if token.type == "fence"
    )
    assert shell.startswith("python -m resnet classify")
    assert resnet_main([*shell.split()[3:], "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["predictions"][0]
    command = [sys.executable, *alone.split()[1:]]
    said = subprocess.run(
        command, cwd=tmp_path / "DIR", capture_output=True, text=True, timeout=PATIENCE_S, check=True
    ).stdout
    assert said.startswith(f"photo.jpg: {first['label']} {100 * first['probability']:.1f} %, ")
    exec(compile(python, "README.md", "exec"), {})
    label, probability = capsys.readouterr().out.split()
    assert (label, float(probability)) == (first["label"], pytest.approx(first["probability"], abs=2e-3))


def test_published_it_says_where_it_is_and_keeps_the_rest() -> None:
    facts = _facts(base_repo="someone/net", data="OWNER/NAME.zip")
    checkpoint = Checkpoint(ResNetConfig("basic", (1, 1, 1, 1), num_classes=2), {}, Preprocess(64), ("ants", "bees"))
    before = card(facts)
    after = on_the_hub(before.encode(), "me/insects", checkpoint).decode()
    changed = [(old, new) for old, new in zip(before.splitlines(), after.splitlines(), strict=True) if old != new]
    assert [new for _, new in changed] == [
        "With the project that trained it:",
        "python -m resnet classify photo.jpg --model me/insects",
        'model = timm.create_model("hf-hub:me/insects", pretrained=True).eval()',
    ]


# -- strangers' text ---------------------------------------------------------------------------------------------------


def _seen(name: str) -> str:
    """What is to be seen of a name: one line, nothing that can't be printed."""
    line = "".join(character if character.isprintable() else " " for character in name).strip() or "–"
    return f"{line[:78].rstrip()} …" if len(line) > 80 else line


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_text_in_a_cell_and_in_a_line(name: str) -> None:
    written = table(["a", "b"], [[text(name), "1"], ["x", text(name)]])
    assert _cells(written) == [["a", "b"], [_seen(name), "1"], ["x", _seen(name)]]
    assert not {"html_inline", "html_block", "link_open", "image", "code_inline", "strong_open"} & _kinds(written)
    (inline,) = (token for token in _tokens(f"Of {text(name)}: it.") if token.type == "inline")
    assert "".join(child.content for child in inline.children or ()) == f"Of {_seen(name)}: it."
    assert not set("<>") & set(text(name))
    assert not re.search(r"(?i)\b(https?|mailto):|\bwww\.", text(name)), "no address that becomes a link"


def test_random_text_stays_text() -> None:
    random.seed(0)
    letters = "ab .-:/@\\`*_{}[]()<>#+!|~$^&;='\"%\n\r\t0=?玫\u2028"
    for _ in range(500):
        name = "".join(random.choices(letters, k=random.randint(0, 25)))
        assert _cells(table(["a"], [[text(name)]])) == [["a"], [_seen(name)]]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_everywhere(name: str) -> None:
    """The card has the same tables, headings and metadata as with names that mean no harm."""

    def facts(one: str, other: str) -> CardFacts:
        return _facts(
            (one, other),
            name=one, architecture=one, data=one, method=one, settings={one: one}, command=f"python -m train {one}",
            device=one, duplicates={one: 1}, left_out={one: one}, base=one, base_commit=one or "x",
            base_repo=one or "x", data_license=one or "x", teacher=one or "x", strangers={one: Share(1, 2)},
            license="mit",
        )  # fmt: skip

    def shape(whole: str) -> list[str]:
        return [token.type for token in _tokens(_body(whole))]

    written, harmless = card(facts(name, "other")), card(facts("harmless", "other"))
    written.encode()
    assert shape(written) == shape(harmless)
    assert _kinds(_body(written)) <= _kinds(_body(harmless)) | {"text_special"}
    data = ModelCard(written, ignore_metadata_errors=False).data
    keys = set(data.to_dict()) - {"base_model", "base_model_relation"}
    assert keys == set(ModelCard(harmless).data.to_dict()) - {"base_model", "base_model_relation"}
    assert data.license == "mit"
    assert data.model_name == (_seen(name) if name.strip() and _seen(name) != "–" else "unnamed")


@pytest.mark.parametrize("command", ["a ``` b", "````\n```\n# x", "a\n---\nb", "x \x1b[2J", "`" * 30, "<b>", ""])
def test_a_block_of_code_holds_its_code(command: str) -> None:
    blocks = [token for token in _tokens(f"x\n\n{code(command, 'bash')}\n\ny") if token.type != "inline"]
    kinds = [block.type for block in blocks]
    assert kinds == ["paragraph_open", "paragraph_close", "fence", "paragraph_open", "paragraph_close"]
    fence = blocks[2]
    assert fence.content.strip("\n") == "".join(
        character if character.isprintable() or character == "\n" else " " for character in command
    )
    assert not any(unicodedata.category(character) == "Cc" and character != "\n" for character in fence.content)
