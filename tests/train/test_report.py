"""What a run says of itself, against scikit-learn, scipy, and what was counted by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)
from torch import Tensor
from torch.nn import functional as F

from resnet.classifier import Classifier, NoneOfThese
from resnet.config import ResNetConfig
from resnet.errors import Refusal
from resnet.network import ResNet
from resnet.preprocess import Preprocess
from train.calibration import (
    TEMPERATURES,
    Bin,
    Reliability,
    calibrate,
    fit_rule,
    fit_temperature,
    folds,
    reliability,
)
from train.report import Mistake, Report, report
from train.shares import Share, mcnemar, wilson


def _photos(
    count: int, classes: int, seed: int = 0, sharp: float = 2.0, absent: tuple[int, ...] = ()
) -> tuple[Tensor, Tensor]:
    """Logits that are often right, and labels; no photo shows the classes that are `absent`."""
    generator = torch.Generator().manual_seed(seed)
    shown = torch.tensor([one for one in range(classes) if one not in absent])
    labels = shown[torch.randint(len(shown), (count,), generator=generator)]
    logits = torch.randn(count, classes, generator=generator) + sharp * F.one_hot(labels, classes)
    return logits, labels


def _sampled(count: int, classes: int, temperature: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits whose probabilities are true once the logits are divided by `temperature`."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(count, classes, generator=generator)
    labels = (logits / temperature).softmax(1).multinomial(1, generator=generator)[:, 0]
    return logits, labels


def _report(logits: Tensor, labels: Tensor, **options: Any) -> Report:
    names = [f"class {index}" for index in range(logits.shape[1])]
    return report(
        logits, labels, names, [f"{row}.jpg" for row in range(len(labels))], **{"majority_train": 0, **options}
    )


# -- intervals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", [1, 2, 3, 10, 397, 100_000])
@pytest.mark.parametrize("share", [0, 0.03, 0.5, 0.92, 1])
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_wilson_is_scipys(total: int, share: float, confidence: float) -> None:
    right = round(share * total)
    expected = binomtest(right, total).proportion_ci(confidence, method="wilson")
    found = wilson(right, total, confidence)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= found[0] <= right / total <= found[1] <= 1


def test_of_no_photos_nothing_is_known() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert Share(0, 0).value is None
    assert wilson(0, 7)[0] == 0
    assert wilson(7, 7)[1] == 1


@pytest.mark.parametrize(("right", "total"), [(3, 2), (-1, 2), (0, -1)])
def test_what_is_no_share(right: int, total: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson(right, total)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (5, 1), (1, 5), (12, 12), (30, 11), (400, 330)])
def test_mcnemar_is_the_binomial_test(first: int, second: int) -> None:
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_many_photos() -> None:
    assert mcnemar(10_000, 10_000) == 1
    assert 0 <= mcnemar(20_000, 2) < 1e-300


# -- counts ------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.parametrize(
    ("count", "classes", "absent"),
    [(300, 5, ()), (300, 12, ()), (60, 5, (2,)), (60, 5, (0, 4)), (40, 2, (1,)), (2, 2, ()), (2, 9, ()), (1, 3, ())],
)
def test_counts_are_scikit_learns(count: int, classes: int, absent: tuple[int, ...]) -> None:
    logits, labels = _photos(count, classes, seed=count, sharp=1.0, absent=absent)
    found = _report(logits, labels, majority_train=classes - 1)
    named, every = logits.argmax(1), list(range(classes))
    assert np.array_equal(found.confusion, confusion_matrix(labels, named, labels=every))
    assert found.accuracy == Share(int((named == labels).sum()), count)
    assert found.majority_accuracy == Share(int((labels == classes - 1).sum()), count)
    precision, recall, f1, support = precision_recall_fscore_support(labels, named, labels=every, zero_division=np.nan)
    assert [one.support for one in found.classes] == support.tolist()
    for figures, expected in ((("precision", precision)), ("recall", recall)):
        values = [getattr(one, figures).value for one in found.classes]
        assert [math.nan if value is None else value for value in values] == pytest.approx(expected, nan_ok=True)
    assert [math.nan if one.f1 is None else one.f1 for one in found.classes] == pytest.approx(f1, nan_ok=True)
    shown = sorted(set(labels.tolist()))
    means = precision_recall_fscore_support(labels, named, labels=shown, average="macro", zero_division=0)
    assert [found.macro[key] for key in ("precision", "recall", "f1")] == pytest.approx(means[:3])
    if len(shown) > 1:
        assert found.macro["recall"] == pytest.approx(balanced_accuracy_score(labels, named))
    if classes > 5:
        top5 = top_k_accuracy_score(labels, logits, k=5, labels=every)
        assert found.top5 is not None
        assert found.top5.value == pytest.approx(top5)
    else:
        assert found.top5 is None
    assert Report.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found
    found.to_markdown()


def test_a_confusion_by_hand() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    named = torch.tensor([0, 1, 1, 1, 1, 0])
    found = _report(5.0 * F.one_hot(named, 3), labels, majority_train=1)
    assert found.confusion == ((1, 2, 0), (0, 2, 0), (1, 0, 0))
    assert found.accuracy == Share(3, 6)
    assert found.majority_accuracy == Share(2, 6)
    assert [one.recall for one in found.classes] == [Share(1, 3), Share(2, 2), Share(0, 1)]
    assert [one.precision for one in found.classes] == [Share(1, 2), Share(2, 4), Share(0, 0)]
    assert found.confusions() == [("class 0", "class 1", 2, 3), ("class 2", "class 0", 1, 1)]
    assert found.confusions(1) == [("class 0", "class 1", 2, 3)]


def test_a_perfect_classifier() -> None:
    labels = torch.arange(40) % 4
    found = _report(9.0 * F.one_hot(labels, 4), labels)
    assert found.accuracy == Share(40, 40)
    assert found.accuracy.low == pytest.approx(0.9124, abs=1e-4)
    assert found.mistakes == ()
    assert found.macro == {"precision": 1, "recall": 1, "f1": 1}
    assert TEMPERATURES[0] < found.calibration.temperature <= 1
    assert found.calibration.after.log_loss < 0.01


def test_a_tie_goes_to_the_first_as_in_the_classifier() -> None:
    found = _report(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0]))
    assert found.confusion == ((2, 0, 0), (1, 0, 0), (1, 0, 0))
    assert found.calibration.temperature == pytest.approx(1)
    assert found.calibration.before.ece == pytest.approx(1 / 2 - 1 / 3)


def test_the_first_five_count_the_named_one() -> None:
    logits = torch.tensor([[9.0, 8, 7, 6, 5, 4]] * 6)
    assert _report(logits, torch.arange(6)).top5 == Share(5, 6)


def test_the_baseline_is_compared_photo_by_photo() -> None:
    labels = torch.zeros(10, dtype=torch.long)
    model = torch.tensor([0, 0, 0, 0, 0, 0, 0, 0, 1, 1])
    baseline = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1, 0, 1])
    found = _report(F.one_hot(model, 2).float(), labels, baseline_logits=F.one_hot(baseline, 2).float()).baseline
    assert found is not None
    assert (found.accuracy, found.only_model, found.only_baseline) == (Share(4, 10), 5, 1)
    assert found.p_value == pytest.approx(binomtest(5, 6).pvalue)


def test_mistakes_are_what_classify_says_the_most_confident_first() -> None:
    logits, labels = _photos(120, 4, sharp=0.5)
    found = _report(logits, labels, most_mistakes=1000)
    made = ResNet(ResNetConfig("basic", (1, 1, 1, 1), num_classes=4))
    classifier = Classifier(made, Preprocess(32), found.names, found.calibration.temperature, device="cpu")
    wrong = (logits.argmax(1) != labels).nonzero()[:, 0].tolist()
    assert len(found.mistakes) == len(wrong) > 20
    assert {one.file for one in found.mistakes} == {f"{row}.jpg" for row in wrong}
    probabilities = [one.probability for one in found.mistakes]
    assert probabilities == sorted(probabilities, reverse=True)
    for one in found.mistakes[:5]:
        row = int(one.file.removesuffix(".jpg"))
        said = (logits[row : row + 1] / classifier.temperature).softmax(1)[0]
        assert one.named == found.names[int(logits[row].argmax())]
        assert one.true == found.names[int(labels[row])]
        assert (one.probability, one.true_probability) == (said.max().item(), said[labels[row]].item())
    assert _report(logits, labels, seed=1).calibration == calibrate(logits, labels, seed=1)
    assert _report(logits, labels, most_mistakes=7).mistakes == found.mistakes[:7]


def test_mistakes_of_equal_confidence_keep_the_order_of_the_files() -> None:
    found = _report(torch.tensor([[5.0, 0]] * 6), torch.tensor([1, 0, 1, 0, 1, 1]))
    assert [one.file for one in found.mistakes] == ["0.jpg", "2.jpg", "4.jpg", "5.jpg"]


# -- calibration -------------------------------------------------------------------------------------------------------


def _naive_ece(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    """Guo et al.'s formula, photo by photo."""
    inside: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for row, label in zip(probabilities, labels, strict=True):
        best = int(row.argmax())
        index = next(number for number in range(bins) if row[best] <= (number + 1) / bins + 1e-15)
        inside[index].append((float(row[best]), best == label))
    error = 0.0
    for photos in inside:
        if photos:
            accuracy = sum(right for _, right in photos) / len(photos)
            confidence = sum(sure for sure, _ in photos) / len(photos)
            error += len(photos) / len(labels) * abs(accuracy - confidence)
    return error


@pytest.mark.parametrize(("count", "classes", "bins"), [(500, 5, 15), (500, 5, 10), (77, 2, 15), (3, 20, 15)])
def test_reliability_is_the_naive_one(count: int, classes: int, bins: int) -> None:
    logits, labels = _photos(count, classes, seed=classes)
    found = reliability(logits, labels, bins)
    probabilities = logits.double().softmax(1).numpy()
    assert found.ece == pytest.approx(_naive_ece(probabilities, labels.numpy(), bins), abs=1e-12)
    assert found.log_loss == pytest.approx(log_loss(labels, probabilities, labels=list(range(classes))), rel=1e-9)
    assert sum(one.photos for one in found.bins) == count
    for one in found.bins:
        assert one.low < one.confidence <= one.high + 1e-12
        assert one.high - one.low == pytest.approx(1 / bins)
        assert 0 <= one.right <= one.photos


def test_reliability_by_hand() -> None:
    # 0.8 three times, right twice; 0.6 once, right; log of the odds as logits of two classes.
    logits = torch.tensor([[math.log(4), 0], [math.log(4), 0], [math.log(4), 0], [0, math.log(1.5)]])
    found = reliability(logits, torch.tensor([0, 1, 0, 1]), bins=10)
    assert [(one.photos, one.right) for one in found.bins] == [(1, 1), (3, 2)]
    assert [one.confidence for one in found.bins] == pytest.approx([0.6, 0.8])
    assert found.ece == pytest.approx((0.4 + 3 * (0.8 - 2 / 3)) / 4)
    assert found.log_loss == pytest.approx(-(2 * math.log(0.8) + math.log(0.2) + math.log(0.6)) / 4)


def test_an_edge_belongs_to_the_bin_below() -> None:
    assert reliability(torch.zeros(3, 2), torch.tensor([0, 1, 0]), bins=2).bins == (Bin(0.0, 0.5, 3, 2, 0.5),)
    assert reliability(torch.tensor([[1e4, 0.0]]), torch.tensor([0])).bins == (Bin(14 / 15, 1.0, 1, 1, 1.0),)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_that_logits_were_made_with_is_found(temperature: float) -> None:
    logits, labels = _sampled(20_000, 5, temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.03)
    found = calibrate(logits, labels)
    assert found.after.ece < 0.012
    if temperature != 1:
        assert found.before.ece > 0.08
        assert found.after.log_loss < found.before.log_loss


@pytest.mark.parametrize(
    ("count", "classes", "scale"), [(2, 2, 1), (2, 2, 30), (10, 3, 1), (200, 5, 1), (200, 5, 0.01), (50, 3, 15)]
)
def test_the_temperature_is_the_minimum(count: int, classes: int, scale: float) -> None:
    """Of the summed log loss and the prior, as scipy finds it."""
    logits, labels = _photos(count, classes, seed=count)
    logits = logits * scale

    def objective(log_inverse: float) -> float:
        inverse = math.exp(log_inverse)
        return F.cross_entropy(logits.double() * inverse, labels, reduction="sum").item() + inverse - log_inverse

    bounds = (math.log(1 / TEMPERATURES[1]), math.log(1 / TEMPERATURES[0]))
    expected = minimize_scalar(objective, bounds=bounds, method="bounded", options={"xatol": 1e-10})
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(math.exp(-expected.x), rel=1e-4)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e3, 1e30])
@pytest.mark.parametrize("right", [0, 1, 19, 20])
def test_the_temperature_stays_sane_whatever_the_logits_are(scale: float, right: int) -> None:
    labels = torch.zeros(20, dtype=torch.long)
    named = torch.tensor([0] * right + [1] * (20 - right))
    found = _report(scale * F.one_hot(named, 2), labels)
    assert TEMPERATURES[0] <= found.calibration.temperature * (1 + 1e-9)
    assert found.calibration.temperature * (1 - 1e-9) <= TEMPERATURES[1]
    assert math.isfinite(found.calibration.after.log_loss)
    json.dumps(found.to_json(), allow_nan=False)


def test_few_photos_leave_the_temperature_near_one() -> None:
    """Two photos that are named rightly prove nothing; hundreds do."""
    few = fit_temperature(torch.tensor([[4.0, 0], [0, 4.0]]), torch.tensor([0, 1]))
    many = fit_temperature(torch.tensor([[4.0, 0], [0, 4.0]] * 200), torch.tensor([0, 1] * 200))
    assert 0.85 < few <= 1
    assert many < 0.65


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 23, 260])
def test_folds_are_even_and_of_every_class(count: int) -> None:
    labels = torch.arange(count) ** 2 % 3
    masks = torch.stack(list(folds(labels)))
    assert len(masks) == min(5, count)
    assert (masks.sum(0) == 1).all()
    for sizes in (masks.sum(1), *((masks & (labels == one)).sum(1) for one in labels.unique())):
        assert int(sizes.max() - sizes.min()) <= 1
    assert torch.equal(masks, torch.stack(list(folds(labels))))
    if count > 20:
        assert not torch.equal(masks, torch.stack(list(folds(labels, seed=1))))


def test_the_temperature_of_a_fold_has_not_seen_it() -> None:
    """Each fold is measured with what was fitted on the others, recomputed here."""
    logits, labels = _photos(50, 3, sharp=1.0)
    found = calibrate(logits, labels, seed=3)
    scaled = torch.empty_like(logits, dtype=torch.float64)
    expected = []
    for held_out in folds(labels, seed=3):
        others = [row for row in range(50) if not held_out[row]]
        expected.append(fit_temperature(logits[others], labels[others]))
        scaled[held_out] = logits[held_out].double() / expected[-1]
    assert list(found.fold_temperatures) == pytest.approx(expected)
    assert found.after == reliability(scaled, labels)
    assert found.temperature == fit_temperature(logits, labels)
    assert len(set(expected)) == 5


def test_cross_fitting_does_not_flatter() -> None:
    """On pure chance a temperature fitted on the photos themselves lowers their loss; held out, it must not do better
    than that, on average over many tries.
    """
    gaps = []
    for seed in range(30):
        logits, labels = _sampled(12, 3, 1.0, seed)
        found = calibrate(logits, labels, seed)
        gaps.append(found.after.log_loss - reliability(logits.double() / found.temperature, labels).log_loss)
    assert sum(gaps) / len(gaps) > 0.005


def test_a_photo_of_another_fold_decides_and_its_own_does_not() -> None:
    """The fold's own logits made absurd change the temperatures of the other four folds only."""
    logits, labels = _photos(40, 2, sharp=1.0)
    held_out = next(folds(labels))
    absurd = logits.clone()
    absurd[held_out] *= -50
    before, after = calibrate(logits, labels).fold_temperatures, calibrate(absurd, labels).fold_temperatures
    assert before[0] == after[0]
    assert all(one < other for one, other in zip(before[1:], after[1:], strict=True))


def test_one_photo_leaves_nothing_to_fit_on() -> None:
    found = calibrate(torch.tensor([[1.0, 0]]), torch.tensor([1]))
    assert found.fold_temperatures == ()
    assert found.after == found.before


# -- none of these -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ["probability", "max_logit", "energy"])
@pytest.mark.parametrize(
    ("count", "share"), [(19, 0.05), (20, 0.05), (100, 0.05), (397, 0.05), (1000, 0.01), (99, 0.29)]
)
def test_the_rule_flags_no_more_than_it_may(score: Any, count: int, share: float) -> None:
    logits, _ = _photos(count, 5, seed=count)
    rule = fit_rule(logits, wrongly_flagged=share, score=score)
    flagged = int((rule.scores(logits) < rule.threshold).sum())
    most = round(100 * share) * (count + 1) // 100 - 1
    assert rule.score == score
    assert flagged == most <= share * count


def test_new_photos_are_flagged_no_more_often() -> None:
    logits, _ = _photos(60_000, 4)
    shares = []
    for part in logits.split(100):
        rule = fit_rule(part)
        shares.append((rule.scores(logits) < rule.threshold).float().mean().item())
    assert sum(shares) / len(shares) == pytest.approx(5 / 101, abs=0.004)


def test_few_photos_promise_nothing_so_none_is_flagged() -> None:
    for count in (1, 2, 18):
        logits, _ = _photos(count, 3, seed=1, sharp=6)
        assert fit_rule(logits) == NoneOfThese("probability", 0.1)
        unsure = logits / 1000
        rule = fit_rule(unsure)
        assert 0 <= rule.threshold < 0.1
        assert not (rule.scores(unsure) < rule.threshold).any()
        energy = fit_rule(logits, score="energy")
        assert not (energy.scores(logits) < energy.threshold).any()


def test_photos_of_one_score_are_not_flagged_together() -> None:
    logits = torch.tensor([[2.0, 0, 0]] * 50)
    rule = fit_rule(logits)
    assert rule.threshold > 0.5
    assert not (rule.scores(logits) < rule.threshold).any()


def test_the_report_says_whom_the_rule_flags() -> None:
    logits, labels = _photos(200, 5)
    found = _report(logits, labels)
    assert found.rule == fit_rule(logits)
    assert found.flagged == Share(int((found.rule.scores(logits) < found.rule.threshold).sum()), 200)
    given = _report(logits, labels, rule=NoneOfThese("max_logit", 1.5))
    assert given.flagged == Share(int((logits.amax(1) < 1.5).sum()), 200)


# -- what is refused, and JSON -----------------------------------------------------------------------------------------


def test_nothing_can_be_said_of_no_photos() -> None:
    with pytest.raises(Refusal) as caught:
        _report(torch.empty(0, 3), torch.empty(0, dtype=torch.long))
    assert caught.value.code == "report.empty"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_answers_that_are_no_numbers(value: float) -> None:
    logits, labels = _photos(10, 3)
    logits[4, 1] = value
    with pytest.raises(Refusal) as caught:
        _report(logits, labels)
    assert caught.value.code == "report.diverged"


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": torch.zeros(9, dtype=torch.long)},
        {"labels": torch.full((10,), 3)},
        {"labels": torch.full((10,), -1)},
        {"names": ["a", "b"]},
        {"files": ["a.jpg"]},
        {"baseline_logits": torch.zeros(10, 2)},
        {"majority_train": 3},
        {"majority_train": -1},
    ],
    ids=lambda wrong: "-".join(wrong),
)
def test_what_does_not_fit_together(wrong: dict[str, Any]) -> None:
    logits, labels = _photos(10, 3)
    given: dict[str, Any] = {
        "labels": labels,
        "names": ["a", "b", "c"],
        "files": list("0123456789"),
        "majority_train": 0,
    }
    with pytest.raises(ValueError, match=r"logits|class"):
        report(logits, **{**given, **wrong})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_logits_of_any_precision(dtype: torch.dtype) -> None:
    logits, labels = _photos(50, 6)
    logits = logits.to(dtype).requires_grad_()
    assert _report(logits, labels.int()) == _report(logits.detach().float(), labels)


def _full() -> Report:
    logits, labels = _photos(200, 7, sharp=1.0)
    return _report(logits, labels, baseline_logits=logits.roll(1, 0))


def test_json_there_and_back() -> None:
    found = _full()
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["version"] == 1
    assert Report.from_json(data) == found
    assert Report.from_json({**data, "history": [1, 2]}) == found
    assert data["accuracy"] == {
        "value": found.accuracy.value,
        "low": found.accuracy.low,
        "high": found.accuracy.high,
        "right": found.accuracy.right,
        "total": 200,
    }
    assert data["calibration"]["after"]["ece"] == found.calibration.after.ece
    assert data["classes"][2]["f1"] == found.classes[2].f1

    def leaves(value: Any) -> Any:
        if isinstance(value, dict):
            value = list(value.values())
        return [leaf for one in value for leaf in leaves(one)] if isinstance(value, list) else [value]

    assert {type(leaf) for leaf in leaves(found.to_json())} <= {int, float, str, bool, type(None)}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["version"], 2),
        (["version"], None),
        (["confusion"], [[1, 2]]),
        (["confusion", 0, 0], -5),
        (["confusion", 0], "abc"),
        (["classes"], 7),
        (["majority", "index"], 7),
        (["majority", "index"], -1),
        (["calibration", "temperature"], "warm"),
        (["calibration", "temperature"], math.nan),
        (["calibration", "before", "bins"], []),
        (["calibration", "before", "bins", 0, "low"], [1]),
        (["none_of_these", "score"], "gut"),
        (["none_of_these", "threshold"], math.inf),
        (["top5", "right"], 201),
        (["baseline"], {}),
        (["baseline", "only_model"], math.inf),
        (["mistakes", 0], {"file": "a"}),
        (["mistakes"], None),
    ],
)
def test_json_of_others(path: list[Any], value: Any) -> None:
    data = json.loads(json.dumps(_full().to_json()))
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(Refusal) as caught:
        Report.from_json(data)
    assert caught.value.code == "report.metrics"
    assert str(caught.value).isprintable()


def test_json_that_is_something_else() -> None:
    for data in ({}, [], None, "text", 3):
        with pytest.raises(Refusal):
            Report.from_json(data)  # type: ignore[arg-type]


def test_a_mistake_and_a_reliability_are_plain() -> None:
    found = _full()
    assert isinstance(found.mistakes[0], Mistake)
    assert isinstance(found.calibration.before, Reliability)
    assert hash(found) == hash(_full())
