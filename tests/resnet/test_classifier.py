"""The classifier: the same names as a plain loop gives, to the last bit whatever stands beside a photo."""

from __future__ import annotations

import itertools
import random
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image, ImageOps
from torch import Tensor, nn
from torchvision import transforms

from resnet.classifier import DEFAULT_RULE, Classification, Classifier, NoneOfThese, fold_batch_norm
from resnet.config import VARIANTS, ResNetConfig
from resnet.errors import Refusal
from resnet.network import ResNet
from resnet.photos import find_photos
from resnet.preprocess import Preprocess, open_image
from tests import local_models
from tests.pictures import FLOWERS, THINGS
from tests.waiting import PATIENCE_S
from weights.checkpoint import Checkpoint
from weights.load import load

Photos = Callable[..., Image.Image]
LABELS = ("ant", "bee", "crab", "dog", "eel")

#: One of each kind: basic, bottleneck, v1, grouped, wide.
KINDS = {
    "basic": ResNetConfig("basic", (2, 1, 1, 1), num_classes=5),
    "bottleneck": ResNetConfig("bottleneck", (1, 2, 1, 1), num_classes=5),
    "v1": ResNetConfig("bottleneck", (1, 1, 2, 1), stride_in_1x1=True, num_classes=5),
    "grouped": ResNetConfig("bottleneck", (1, 1, 1, 1), groups=32, width_per_group=4, num_classes=5),
    "wide": ResNetConfig("bottleneck", (1, 1, 1, 1), width_per_group=128, num_classes=5),
}


@pytest.fixture(scope="module")
def network(random_state: Any) -> Callable[[ResNetConfig], ResNet]:
    """A function: config -> a network with random weights, in evaluation mode."""

    def build(config: ResNetConfig) -> ResNet:
        made = ResNet(config)
        made.load_state_dict(random_state(made, seed=7))
        return made.eval()

    return build


@pytest.fixture(scope="module")
def classifier(network: Callable[[ResNetConfig], ResNet]) -> Classifier:
    return Classifier(network(KINDS["basic"]), Preprocess(64), LABELS, temperature=0.5, device="cpu")


@pytest.fixture(scope="session")
def flowers() -> Checkpoint:
    return load("flowers")


def _says(logits: list[list[float]] | Tensor, rule: NoneOfThese = DEFAULT_RULE, **settings: Any) -> Classifier:
    """A classifier that gives these logits for every photo: its weights are 0 and its biases are they."""
    values = torch.as_tensor(logits, dtype=torch.float32)
    made = ResNet(ResNetConfig("basic", (1, 1, 1, 1), num_classes=len(values)))
    assert made.fc is not None
    nn.init.zeros_(made.fc.weight)
    made.fc.bias.data = values
    labels = [f"class {index}" for index in range(len(values))]
    return Classifier(made, Preprocess(32), labels, rule=rule, device="cpu", **settings)


def _names(rows: list[Classification]) -> list[str]:
    return [row.name for row in rows]


# -- the network inside of it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_folding_batch_norm_changes_nothing(network: Any, kind: str) -> None:
    whole = network(KINDS[kind])
    before = {key: value.clone() for key, value in whole.state_dict().items()}
    folded = fold_batch_norm(whole)
    batch = torch.randn(3, 3, 97, 65, generator=torch.Generator().manual_seed(1))
    expected = whole(batch)
    scale = expected.abs().max()
    assert (folded(batch) - expected).abs().max() <= 1e-4 * scale
    torch.testing.assert_close(folded.forward_features(batch), whole.forward_features(batch), rtol=1e-3, atol=1e-4)
    assert not [key for key, module in folded.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert not [key for key, parameter in folded.named_parameters() if parameter.requires_grad]
    assert all(torch.equal(value, before[key]) for key, value in whole.state_dict().items()), "the original changed"
    assert all(parameter.requires_grad for parameter in whole.parameters())


def test_folding_reads_a_network_in_training_as_in_evaluation(network: Any) -> None:
    whole = network(KINDS["bottleneck"])
    batch = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = whole(batch)
        assert whole.train().training
        torch.testing.assert_close(fold_batch_norm(whole)(batch), expected, rtol=1e-3, atol=1e-4)
    assert whole.training, "the original goes on training"


def test_the_classifier_copies_its_network(network: Any, photo: Photos) -> None:
    whole = network(KINDS["basic"])
    made = Classifier(whole, Preprocess(64), LABELS, device="cpu")
    before = made.predict([photo(80, 64)])
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.zero_()
    assert made.predict([photo(80, 64)]) == before


@pytest.mark.parametrize("count", [0, 4, 6])
def test_names_must_match_the_outputs(network: Any, count: int) -> None:
    with pytest.raises(ValueError, match="5 outputs"):
        Classifier(network(KINDS["basic"]), Preprocess(64), ["name"] * count, device="cpu")


# -- a row for each image ----------------------------------------------------------------------------------------------


def _mixed(photo: Photos, count: int, bad: set[int]) -> list[Image.Image | bytes]:
    return [b"no image" if index in bad else photo(70 + index, 64, index) for index in range(count)]


def test_a_refused_photo_is_not_kept_by_its_refusal(classifier: Classifier) -> None:
    """Each call that an exception came through holds what it worked on: forty photos of 20 MB would be 800."""
    for row in classifier.predict([b"no image", b"\xff\xd8\xff cut off"]):
        assert row.refusal is not None
        assert (row.refusal.__traceback__, row.refusal.__context__, row.refusal.__cause__) == (None, None, None)


@pytest.fixture(scope="module")
def alone(classifier: Classifier, photo: Photos) -> list[Any]:
    """What is said of each of `_mixed`'s photos by itself."""
    rows = [classifier.predict([image])[0] for image in _mixed(photo, 19, set())]
    return [(row.predictions, row.verdict) for row in rows]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 8, 16, 32])
@pytest.mark.parametrize(
    ("count", "bad"),
    [
        *((1, set()), (1, {0}), (2, {0, 1}), (2, {1}), (3, {0}), (17, {0, 1, 2, 3, 4, 5, 6, 7}), (17, {16})),
        *((9, {8}), (9, {0, 1, 2, 3, 4, 5, 6}), (19, {3, 4, 11}), (0, set())),
    ],
    ids=str,
)
def test_one_row_for_each_image_in_its_place(
    classifier: Classifier, photo: Photos, alone: list[Any], batch_size: int, count: int, bad: set[int]
) -> None:
    images = _mixed(photo, count, bad)
    rows = classifier.predict(images, batch_size=batch_size)
    assert _names(rows) == [f"image {index + 1}" for index in range(count)]
    assert {index for index, row in enumerate(rows) if row.refusal} == bad
    for index, row in enumerate(rows):
        if index in bad:
            assert row.predictions == () and f"image {index + 1}" in str(row.refusal)
        else:
            assert (row.predictions, row.verdict) == alone[index]


@pytest.mark.parametrize(("kind", "size"), [*((kind, 64) for kind in KINDS), ("bottleneck", 97)])
def test_a_photo_has_the_same_probabilities_whatever_stands_beside_it(
    network: Any, photo: Photos, kind: str, size: int
) -> None:
    """To the last bit, for every batch size and any order."""
    made = Classifier(network(KINDS[kind]), Preprocess(size), LABELS, device="cpu")
    images = [photo(100, 90, seed) for seed in range(17 if kind == "basic" else 9)]
    alone = [made.predict([image])[0].predictions for image in images]
    assert len(set(alone)) == len(images), "photos that are all alike would agree with anything"
    for batch_size in (1, 2, 3, 7, 8, 16, 32) if kind == "basic" else (2, 5, 8):
        assert [row.predictions for row in made.predict(images, batch_size=batch_size)] == alone
    order = list(range(len(images)))
    random.Random(0).shuffle(order)
    rows = made.predict([images[index] for index in order], batch_size=5)
    assert [row.predictions for row in rows] == [alone[index] for index in order]
    crops = [made.preprocess.pixels(image) for image in images[:9]]
    assert torch.equal(made.logits(crops), torch.cat([made.logits([crop]) for crop in crops]))


def test_the_shipped_network_is_as_steady(flowers: Checkpoint, photo: Photos) -> None:
    made = flowers.classifier("cpu")
    images = [photo(300, 240, seed) for seed in range(9)]
    alone = [made.predict([image])[0].predictions for image in images]
    for batch_size in (2, 7, 16):
        assert [row.predictions for row in made.predict(images, batch_size=batch_size)] == alone


def test_names_of_paths_bytes_images_and_photos(classifier: Classifier, photo: Photos, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    photo(80, 64).save(path)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.write(path, "in/c.png")
    zipped = find_photos([tmp_path / "b.zip", path])
    rows = classifier.predict([path, str(path), path.read_bytes(), photo(80, 64), *zipped])
    assert _names(rows) == [
        *(str(path), str(path), "image 3", "image 4", f"{tmp_path / 'b.zip'}/in/c.png", str(path)),
    ]
    assert len({row.predictions for row in rows}) == 1


def test_top_k_is_never_more_than_the_classes(classifier: Classifier, photo: Photos) -> None:
    image = photo(80, 64)
    (everything,) = classifier.predict([image], top_k=5)
    assert sorted(one.label for one in everything.predictions) == sorted(LABELS)
    assert [LABELS[one.index] for one in everything.predictions] == [one.label for one in everything.predictions]
    probabilities = [one.probability for one in everything.predictions]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-6)
    for top_k, count in ((-1, 1), (0, 1), (1, 1), (3, 3), (5, 5), (6, 5), (1000, 5)):
        assert classifier.predict([image], top_k=top_k)[0].predictions == everything.predictions[:count]


def test_crops_are_kept_where_asked_for(classifier: Classifier, photo: Photos) -> None:
    images = [photo(80, 64), b"no image", photo(64, 90, 1)]
    rows = list(classifier.predict_iter(images, keep_crops=True))
    for row, image in zip(rows, images, strict=True):
        if isinstance(image, bytes):
            assert row.crop is None
        else:
            assert row.crop is not None
            assert np.array_equal(row.crop, classifier.preprocess.pixels(image))
    assert [row.crop for row in classifier.predict(images)] == [None] * 3


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_batch_holds_something(classifier: Classifier, photo: Photos, batch_size: int) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        classifier.predict([photo(80, 64)], batch_size=batch_size)


def test_a_base_names_nothing(network: Any, photo: Photos) -> None:
    base = Classifier(network(KINDS["basic"].with_classes(0)), Preprocess(64), [], device="cpu")
    for images in ([photo(80, 64)], []):
        with pytest.raises(Refusal) as refused:
            base.predict(images)
        assert refused.value.code == "model.base"
        assert str(refused.value).endswith(".")
    assert base.features([photo(80, 64)]).shape == (1, 512)


# -- one at a time -----------------------------------------------------------------------------------------------------


def _endless(photo: Photos, taken: list[int]) -> Iterator[Image.Image]:
    for index in itertools.count():
        taken.append(index)
        yield photo(80, 64, index % 5)


def _decoders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


@pytest.mark.parametrize("batch_size", [1, 8, 32])
def test_rows_come_before_the_images_end(classifier: Classifier, photo: Photos, batch_size: int) -> None:
    taken: list[int] = []
    rows = classifier.predict_iter(_endless(photo, taken), batch_size=batch_size)
    assert not taken, "nothing is read before the first row is asked for"
    for number in range(1, 12):
        assert next(rows).name == f"image {number}"
        assert len(taken) <= number + max(16, batch_size) + 8, "read a few batches ahead, no more"
    rows.close()  # type: ignore[attr-defined]
    assert not _decoders()


def test_closing_early_stops_the_threads(classifier: Classifier, photo: Photos) -> None:
    taken: list[int] = []
    rows = classifier.predict_iter(_endless(photo, taken))
    next(rows)
    assert _decoders()
    rows.close()  # type: ignore[attr-defined]
    assert not _decoders()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_error_among_the_images_stops_the_threads(
    classifier: Classifier, photo: Photos, error: type[BaseException]
) -> None:
    def images() -> Iterator[Image.Image]:
        yield from (photo(80, 64, seed) for seed in range(5))
        raise error("stop")

    with pytest.raises(error, match="stop"):
        list(classifier.predict_iter(images()))
    assert not _decoders()


def test_an_error_in_the_loop_stops_the_threads(classifier: Classifier, photo: Photos) -> None:
    def interrupted() -> None:
        for row in classifier.predict_iter(_endless(photo, [])):
            if row.name == "image 20":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not _decoders()


def test_two_visitors_at_once(classifier: Classifier, photo: Photos) -> None:
    images = [photo(80, 64, seed) for seed in range(12)]
    expected = classifier.predict(images)
    results: list[list[Classification]] = []
    threads = [
        threading.Thread(target=lambda size=size: results.append(classifier.predict(images, batch_size=size)))
        for size in (3, 8, 8, 32)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert results == [expected] * 4


# -- beside other libraries, on real photos ----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def rows_of_flowers(flowers: Checkpoint) -> list[Classification]:
    return flowers.classifier("cpu").predict(FLOWERS)


@pytest.fixture(scope="session")
def rows_of_things(flowers: Checkpoint) -> list[Classification]:
    return flowers.classifier("cpu").predict(THINGS)


def test_probabilities_are_those_of_a_plain_loop(flowers: Checkpoint, rows_of_flowers: list[Classification]) -> None:
    """torchvision's network and transforms, written as a tutorial would."""
    plain = torchvision.models.resnet18(num_classes=5).eval()
    plain.load_state_dict(flowers.state_dict)
    transform = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(flowers.preprocess.mean, flowers.preprocess.std),
        ]
    )
    assert flowers.temperature != 1
    with torch.inference_mode():
        for path, row in list(zip(FLOWERS, rows_of_flowers, strict=True))[::6]:
            image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
            expected = (plain(transform(image)[None]) / flowers.temperature).softmax(1)[0]
            ours = torch.zeros(5)
            for one in row.predictions:
                assert flowers.label_names[one.index] == one.label
                ours[one.index] = one.probability
            torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)


def test_the_temperature_divides_the_logits(photo: Photos) -> None:
    logits = [2.0, 1.0, 0.5]
    for temperature in (0.45, 1.0, 3.0):
        (row,) = _says(logits, temperature=temperature).predict([photo(80, 64)])
        expected = (torch.tensor(logits) / temperature).softmax(0).tolist()
        assert [one.probability for one in row.predictions] == pytest.approx(expected, abs=1e-6)


def test_features_are_timms(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    theirs = local_models.write_base(folder)
    settings = timm.data.resolve_model_data_config(theirs, use_test_size=True)
    transform = timm.data.create_transform(**settings, is_training=False)
    base = load(str(folder)).classifier("cpu")
    photos = FLOWERS[::9]
    ours = base.features(photos, batch_size=5)
    with torch.inference_mode():
        expected = theirs(torch.stack([transform(Image.open(path).convert("RGB")) for path in photos]))
    assert ours.shape == expected.shape == (len(photos), 512)
    assert expected.std() > 0.1
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())
    with pytest.raises(Refusal) as refused:
        base.predict(photos[:1])
    assert refused.value.code == "model.base"


def test_features_of_a_network_with_a_classifier_are_what_it_reads(classifier: Classifier, photo: Photos) -> None:
    images = [photo(80, 64, seed) for seed in range(11)]
    features = classifier.features(images, batch_size=4)
    fc = classifier.network.fc
    assert fc is not None and features.shape == (11, 512)
    with torch.inference_mode():
        logits = classifier.logits([classifier.preprocess.pixels(image) for image in images])
        torch.testing.assert_close(fc(features), logits, rtol=1e-4, atol=1e-4)
    assert classifier.features([]).shape == (0, 512)


def test_features_stop_at_the_first_photo_that_can_not_be_read(classifier: Classifier, photo: Photos) -> None:
    with pytest.raises(Refusal, match="image 3"):
        classifier.features([photo(80, 64), photo(80, 64), b"no image", b"nor this"])
    assert not _decoders()


# -- how sure it is ----------------------------------------------------------------------------------------------------


def _with_probabilities(*probabilities: float) -> list[float]:
    return [float(np.log(probability)) for probability in probabilities]


@pytest.mark.parametrize(
    ("probabilities", "verdict"),
    [
        ((0.90, 0.05, 0.05), "clear"),
        ((0.60, 0.29, 0.11), "clear"),
        ((0.60, 0.31, 0.09), "close"),
        ((0.50, 0.45, 0.05), "close"),
        ((0.50, 0.50), "none"),
        ((0.54, 0.46), "none"),
        ((0.56, 0.44), "close"),
        ((0.80, 0.20), "clear"),
        ((0.34, 0.33, 0.33), "none"),
        ((0.27, 0.25, 0.24, 0.24), "none"),
    ],
    ids=str,
)
def test_the_verdict_by_the_default_rule(photo: Photos, probabilities: tuple[float, ...], verdict: str) -> None:
    """Chance is left out of the confidence: of two classes 54 % is nearly nothing, of a thousand it is much."""
    (row,) = _says(_with_probabilities(*probabilities)).predict([photo(80, 64)])
    assert row.verdict == verdict


def test_half_of_the_first_is_close_however_many_names_are_asked_for(photo: Photos) -> None:
    close = _says(_with_probabilities(0.6, 0.35, 0.05))
    assert [row.verdict for top_k in (1, 2, 3) for row in close.predict([photo(80, 64)], top_k=top_k)] == ["close"] * 3


def test_one_class_has_nothing_to_be_close_to(photo: Photos) -> None:
    (row,) = _says([3.0], NoneOfThese("max_logit", 1.0)).predict([photo(80, 64)], top_k=3)
    assert [(one.label, one.probability) for one in row.predictions] == [("class 0", 1.0)]
    assert row.verdict == "clear"


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_the_rule_reads_the_logits_before_the_temperature(photo: Photos, temperature: float) -> None:
    unsure = _says(_with_probabilities(0.38, 0.31, 0.31), temperature=temperature)
    assert unsure.predict([photo(80, 64)])[0].verdict == "none"
    sure = _says(_with_probabilities(0.90, 0.05, 0.05), temperature=temperature)
    assert sure.predict([photo(80, 64)])[0].verdict != "none"


@pytest.mark.parametrize(
    ("score", "value"), [("max_logit", 3.0), ("energy", np.log(np.exp([3.0, 1.0, -2.0]).sum()))], ids=str
)
def test_the_other_scores(photo: Photos, score: Any, value: float) -> None:
    assert NoneOfThese(score).scores(torch.tensor([[3.0, 1.0, -2.0]])).tolist() == pytest.approx([value])
    for threshold, verdict in ((value + 0.01, "none"), (value - 0.01, "clear")):
        (row,) = _says([3.0, 1.0, -2.0], NoneOfThese(score, threshold)).predict([photo(80, 64)])
        assert row.verdict == verdict


def test_the_probability_score_runs_from_chance_to_certainty() -> None:
    rule = NoneOfThese()
    for classes in (2, 5, 1000):
        certain = torch.zeros(classes)
        certain[0] = 200
        scores = rule.scores(torch.stack([torch.zeros(classes), certain]))
        assert scores.tolist() == pytest.approx([0, 1], abs=1e-5)


def test_verdicts_belong_to_their_own_rows(flowers: Checkpoint, rows_of_things: list[Classification]) -> None:
    """Refusals in between shift nothing."""
    expected = [(row.predictions, row.verdict) for row in rows_of_things]
    assert len({verdict for _, verdict in expected}) > 1
    with_gaps = [image for path in THINGS for image in (b"no image", path)]
    rows = flowers.classifier("cpu").predict(with_gaps, batch_size=7)
    assert [(row.predictions, row.verdict) for row in rows if not row.refusal] == expected
    assert [row.refusal is not None for row in rows] == [True, False] * len(THINGS)


def test_the_shipped_network_on_some_photos(
    rows_of_flowers: list[Classification], rows_of_things: list[Classification]
) -> None:
    """What it said of them when they were chosen, a photo or two apart; how good it is says `bench.shipped`."""
    right = sum(
        row.predictions[0].label == path.parent.name for row, path in zip(rows_of_flowers, FLOWERS, strict=True)
    )
    assert 57 <= right < len(FLOWERS) == 60
    flagged = [sum(row.verdict == "none" for row in rows) for rows in (rows_of_flowers, rows_of_things)]
    assert 2 <= flagged[0] <= 6 and 8 <= flagged[1] <= 12


def test_the_named_variants_classify(random_state: Any, photo: Photos) -> None:
    """From the smallest to the deepest: a row comes out, and it is what the network says of the crop."""
    for name in ("resnet18", "resnet152"):
        with torch.device("meta"):
            whole = ResNet(VARIANTS[name])
        whole.load_state_dict(random_state(whole, seed=1), assign=True)
        whole.eval()
        labels = [str(index) for index in range(1000)]
        (row,) = Classifier(whole, Preprocess(64), labels, device="cpu").predict([photo(80, 64)], top_k=3)
        with torch.inference_mode():
            expected = whole(Preprocess(64)(open_image(photo(80, 64)))[None]).softmax(1)[0]
        assert [one.index for one in row.predictions] == expected.topk(3).indices.tolist()
        assert [one.probability for one in row.predictions] == pytest.approx(expected.topk(3).values.tolist(), rel=1e-3)


@pytest.mark.parametrize("key", ["conv1.weight", "bn1.running_var", "fc.weight"])
def test_answers_that_are_no_numbers_are_a_sentence(network: Any, photo: Photos, key: str) -> None:
    """Weights that are numbers may still be so large, or a variance so negative, that no answer is one."""
    broken = network(KINDS["basic"])
    state = broken.state_dict()
    state[key] = torch.full_like(state[key], -1.0 if "var" in key else 3e37)
    broken.load_state_dict(state)
    rows = Classifier(broken, Preprocess(), LABELS, device="cpu").predict([photo(64, 64), b"no photo", photo(80, 60)])
    codes = [row.refusal.code if row.refusal else "" for row in rows]
    assert codes[0] == codes[2] == "model.no_number" and codes[1].startswith(("photo.", "image."))
    assert not any(row.predictions for row in rows)
