"""What the page says of a dataset and of a run, held against the facts, with strangers' names in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from resnet.errors import Refusal
from train.dataset import Dataset
from train.drawn import SHAPES, draw
from train.edits import Edit
from train.findings import findings
from train.ingest import ingest
from train.report import Report, report
from train.unlike import Unlike
from ui.dataset_view import dataset_card
from ui.finetune import change
from ui.jobs import Jobs
from ui.report_view import Answer, heat_map, mistakes_card, report_card
from ui.visits import Visit, Visits

NAMES = ("<b>rose</b>", "tulip", "{0}", "dahlia & co")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("drawn")
    draw(folder, per_class=5)
    hostile = folder / '<img src=x onerror="alert(1)">'
    (folder / "star").rename(hostile)
    (hostile / "copy.png").write_bytes((hostile / "000.png").read_bytes())
    (folder / "circle" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (folder / "circle" / ".DS_Store").write_bytes(b"x")
    return ingest(folder)


@pytest.fixture(scope="module")
def measured() -> tuple[Report, list[Answer]]:
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(4).repeat_interleave(15)
    logits = torch.nn.functional.one_hot(labels, 4) * 3.0 + 2 * torch.randn(60, 4, generator=generator)
    files = [f"{index}/<i>.jpg" for index in range(60)]
    baseline = logits + torch.randn(60, 4, generator=generator)
    found = report(logits, labels, NAMES, files, majority_train=1, baseline_logits=baseline)
    answers = [
        Answer(Path("/nowhere/x.jpg"), name, int(true), int(named))
        for name, true, named in zip(files, labels, logits.argmax(1), strict=True)
    ]
    return found, answers


def test_the_dataset_is_told_as_it_is(drawn: Dataset) -> None:
    card = dataset_card(drawn, (), ())
    assert "<img src=x" not in card and "&lt;img src=x" in card
    counts = dict(re.findall(r'class="name">(.*?)</span><span class="count">(\d+)', card))
    assert sorted(counts.values()) == ["5", "5", "5", "6"] and len(counts) == len(SHAPES)
    assert card.count("data:image/jpeg") == sum(min(6, int(one)) for one in counts.values())
    for one in findings(drawn.report):
        assert all(name.replace("<", "&lt;").split("&")[0] in card for name in one.names[:6]), one.code
    for words in ("are the same", "完全相同", "macOS", "broken.png"):
        assert words in card, words


def test_what_is_odd_can_be_left_out_with_one_button(drawn: Dataset) -> None:
    name = drawn.images[-1].name
    card = dataset_card(drawn, (Unlike(name, ("few_colours", "small"), 2.0),), ())
    assert f'data-edit="leave" data-name="{name}"' in card and "few colours" in card and "明显更小" in card
    gone = dataset_card(drawn, (Unlike("gone.png", ("small",), 2.0),), ())
    assert "data-edit" not in gone, "one that was left out meanwhile"


def test_edits_are_listed_and_can_be_undone(drawn: Dataset) -> None:
    card = dataset_card(drawn, (), (Edit("a<b>.png"), Edit("b.png", "<i>moon</i>")))
    assert re.findall(r'data-edit="undo" data-name="(\d)"', card) == ["0", "1"]
    assert "a&lt;b&gt;.png" in card and "&lt;i&gt;moon" in card and "<i>moon" not in card


@pytest.fixture
def visit(drawn: Dataset) -> Visit:
    visit = Visits(Jobs()).open(None)
    visit.source = drawn
    return visit


def test_buttons_change_the_dataset_of_a_visit(visit: Visit, drawn: Dataset) -> None:
    first, second = drawn.images[0].name, drawn.images[1].name
    change(visit, "leave", first)
    change(visit, "move", second, "square")
    found = visit.dataset()
    assert found and {image.name: image.label for image in found.images}[second] == "square"
    assert len(found.images) == len(drawn.images) - 1
    change(visit, "undo", "0")
    assert visit.edits == (Edit(second, "square"),)


@pytest.mark.parametrize(
    ("edit", "name", "label"),
    [
        ("leave", "gone.png", ""), ("leave", "../../etc/passwd", ""), ("move", "", "square"), ("undo", "7", ""),
        ("undo", "-1", ""), ("undo", "x", ""), ("burn", "", ""), ("move", "FIRST", "no such class"),
        ("undo", "9" * 400, ""),
    ],
)  # fmt: skip
def test_what_is_not_there_can_not_be_changed(visit: Visit, drawn: Dataset, edit: str, name: str, label: str) -> None:
    with pytest.raises(Refusal):
        change(visit, edit, drawn.images[0].name if name == "FIRST" else name, label)
    assert visit.edits == ()


def test_no_edit_leaves_too_little_to_learn_from(visit: Visit, drawn: Dataset) -> None:
    circles = [image.name for image in drawn.images if image.label == "circle"]
    for name in circles[:-2]:
        change(visit, "leave", name)
    with pytest.raises(Refusal, match="only one image of circle"):
        change(visit, "leave", circles[-2])
    assert len(visit.edits) == len(circles) - 2
    with pytest.raises(Refusal, match="bring the zip"):
        change(Visits(Jobs()).open(None), "leave", "a.png")


def test_a_run_is_told_with_its_intervals(measured: tuple[Report, list[Answer]]) -> None:
    found, answers = measured
    card = report_card(found, answers)
    assert f"{100 * (found.accuracy.value or 0):.1f} %" in card and "95 % interval" in card and "95% 区间" in card
    assert f"{100 * found.accuracy.low:.1f} to {100 * found.accuracy.high:.1f}" in card
    assert found.baseline and f"{found.baseline.accuracy.right} of 60" in card
    assert "<b>rose</b>" not in card.replace("<b><b>", "") and "&lt;b&gt;rose" in card
    rows = re.findall(r'<tr><td>(.*?)</td><td class="number">(\d+)', card)
    assert [int(count) for _, count in rows] == [15] * 4


def test_each_cell_of_the_heat_map_opens_the_images_it_counts(measured: tuple[Report, list[Answer]]) -> None:
    found, answers = measured
    html = heat_map(found, answers)
    cells = {key: int(count) for key, count in re.findall(r'data-cell="(\d-\d)"[^>]*>(\d+)</button>', html)}
    assert cells == {f"{row}-{column}": found.confusion[row][column] for row in range(4) for column in range(4)}
    groups = re.split(r'<div class="cell-images" data-images="', html)[1:]
    assert {group[:3]: group.count("<img") for group in groups} == {key: count for key, count in cells.items() if count}
    assert all(f'data-cell="{key}" aria-expanded="false" disabled' in html for key, count in cells.items() if not count)


def test_many_classes_are_told_as_a_list() -> None:
    labels = torch.arange(30)
    logits = torch.nn.functional.one_hot((labels + (labels < 5)) % 30, 30) * 5.0
    found = report(
        logits, labels, [f"c{index}" for index in range(30)], [str(one) for one in range(30)], majority_train=0
    )
    assert "<table" not in heat_map(found, ()) and "c0 is named c1: 1 of 1" in heat_map(found, ())
    assert "first five" in report_card(found, ())


def test_mistakes_show_both_classes_and_can_be_put_right(measured: tuple[Report, list[Answer]]) -> None:
    found, answers = measured
    card = mistakes_card(found, answers, {found.mistakes[0].file: ("data:one", "data:two")})
    shown = re.findall(r'data-edit="leave" data-name="(.*?)"', card)
    assert len(shown) == min(12, len(found.mistakes)) and "<i>.jpg" not in card
    assert 'src="data:one"' in card and 'src="data:two"' in card
    assert card.count("<select>") == len(shown) and card.count("<option") == 4 * len(shown)
    assert found.mistakes[0].probability >= found.mistakes[-1].probability


def test_no_mistakes_are_told_as_well() -> None:
    labels = torch.arange(4).repeat(3)
    found = report(
        torch.nn.functional.one_hot(labels, 4) * 9.0, labels, NAMES, list(map(str, range(12))), majority_train=0
    )
    assert "no mistake" in mistakes_card(found, (), {}) and "没有出错" in mistakes_card(found, (), {})
