"""Images -> predictions, in batches, and an honest word on how sure they are.

One `Classifier` serves the page, the terminal, the API and training's evaluation, so that all of them say the same.
"""

from __future__ import annotations

import copy
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from resnet.errors import Refusal
from resnet.network import BasicBlock, Bottleneck, ResNet
from resnet.parallel import map_ahead
from resnet.photos import Photo
from resnet.preprocess import ImageLike, Pixels, Preprocess, open_image

Verdict = Literal["clear", "close", "none"]
T = TypeVar("T")

#: On a CPU the network sees from two to eight photos at a time: within these sizes the same kernels run, so a photo's
#: probabilities are the same to the last bit whatever stands beside it, and larger batches are no faster.
CPU_BATCH = (2, 8)


@dataclass(frozen=True)
class Prediction:
    """One class that the network names: its label, its probability (0..1) and its index among the outputs."""

    label: str
    probability: float
    index: int


@dataclass(frozen=True)
class Classification:
    """What became of one image: its `top_k` predictions, best first, with a verdict; or the refusal instead.

    `verdict` is ``"close"`` where the second name has more than half the probability of the first, ``"none"`` where
    the photo may show none of the classes, and ``"clear"`` otherwise. `crop` is what the network saw, ``(size, size,
    3)`` uint8, where it was asked to be kept.
    """

    name: str
    predictions: tuple[Prediction, ...] = ()
    verdict: Verdict = "clear"
    refusal: Refusal | None = None
    crop: Pixels | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class NoneOfThese:
    """The rule by which a photo is said to show perhaps none of the classes: its score is under the threshold.

    Scores, all computed from one photo's logits ``z`` over K classes:

    - ``"probability"``: ``(max softmax(z) - 1/K) / (1 - 1/K)``, the confidence above chance, 0..1, before any
      temperature (Hendrycks & Gimpel, https://arxiv.org/abs/1610.02136);
    - ``"max_logit"``: ``max z`` (Hendrycks et al., https://arxiv.org/abs/1911.11132);
    - ``"energy"``: ``log sum exp z`` (Liu et al., https://arxiv.org/abs/2010.03759).

    The last two need a threshold measured on the checkpoint itself; the first has a default that suits any.
    """

    score: Literal["probability", "max_logit", "energy"] = "probability"
    threshold: float = 0.1

    def scores(self, logits: Tensor) -> Tensor:
        """``(N, K)`` logits -> ``(N,)`` scores; low where the photo is unlike what the network was trained on."""
        if self.score == "max_logit":
            return logits.amax(1)
        if self.score == "energy":
            return logits.logsumexp(1)
        chance = 1 / logits.shape[1]
        return (logits.softmax(1).amax(1) - chance) / max(1 - chance, 1e-6)


#: For checkpoints that bring no rule of their own.
DEFAULT_RULE = NoneOfThese()


class Classifier:
    """A network with all that turns photos into names.

    Args:
        network: any ResNet; it is copied, so the original can go on training.
        preprocess: how the checkpoint wants to see photos.
        label_names: one for each output, or empty for a network without a classifier.
        temperature: what logits are divided by before the softmax (Guo et al., https://arxiv.org/abs/1706.04599).
        rule: when to say that a photo may show none of the classes.
        device: where to compute; the GPU by default where there is one.

    Raises:
        ValueError: if the names don't match the outputs.
    """

    def __init__(
        self,
        network: ResNet,
        preprocess: Preprocess,
        label_names: Sequence[str],
        temperature: float = 1.0,
        rule: NoneOfThese = DEFAULT_RULE,
        device: torch.device | str | None = None,
    ) -> None:
        outputs = network.fc.out_features if network.fc is not None else 0
        if len(label_names) != outputs:
            raise ValueError(f"there are {len(label_names)} label names for {outputs} outputs")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.network = fold_batch_norm(network).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.preprocess = preprocess
        self.label_names = tuple(label_names)
        self.temperature = temperature
        self.rule = rule

    def predict(
        self, images: Sequence[ImageLike | Photo], top_k: int = 5, batch_size: int = 32
    ) -> list[Classification]:
        """One `Classification` for each image, in the order given.

        Args:
            images: paths, bytes, pillow images or photos of `find_photos`, of any size and mode.
            top_k: how many classes to name, at most all.
            batch_size: how many photos a GPU sees at a time, and how many are kept decoded ahead.

        Raises:
            Refusal: if the network has no classifier. What is wrong with one image is in its own row instead.
        """
        return list(self.predict_iter(images, top_k, batch_size))

    def predict_iter(
        self, images: Iterable[ImageLike | Photo], top_k: int = 5, batch_size: int = 32, keep_crops: bool = False
    ) -> Iterator[Classification]:
        """As `predict`, yielding each row as soon as it is known; images are read a few batches ahead, no more."""
        self._require_classifier()
        for rows, logits in self._batches(images, batch_size, self.network):
            yield from self._name(rows, logits, top_k, keep_crops)

    def logits_iter(self, images: Iterable[ImageLike | Photo], batch_size: int = 32) -> Iterator[Tensor | Refusal]:
        """Of each image, in the order given: ``(num_classes,)`` logits before the temperature, or why it can't be read.

        Raises:
            Refusal: if the network has no classifier.
        """
        self._require_classifier()
        for rows, logits in self._batches(images, batch_size, self.network):
            of_those_read = iter(logits)
            yield from (row.crop if isinstance(row.crop, Refusal) else next(of_those_read) for row in rows)

    def features(self, images: Iterable[ImageLike], batch_size: int = 32) -> Tensor:
        """Images -> ``(N, num_features)`` pooled features, what the classifier reads.

        Raises:
            Refusal: at the first image that can't be read.
        """
        found = []
        for rows, maps in self._batches(images, batch_size, self._pooled):
            for row in rows:
                if isinstance(row.crop, Refusal):
                    raise row.crop
            found.append(maps)
        return torch.cat(found) if found else torch.empty(0, self.network.config.num_features)

    def _pooled(self, batch: Tensor) -> Tensor:
        maps: Tensor = self.network.forward_features(batch)
        return self.network.avgpool(maps).flatten(1)  # type: ignore[no-any-return]

    def pooled(self, crops: Sequence[Pixels]) -> Tensor:
        """Crops, each ``(size, size, 3)`` uint8 -> ``(N, num_features)`` pooled features on the CPU."""
        return self._forward(crops, self._pooled)

    def logits(self, crops: Sequence[Pixels]) -> Tensor:
        """Crops, each ``(size, size, 3)`` uint8 -> ``(N, num_classes)`` logits on the CPU."""
        return self._forward(crops, self.network)

    def _require_classifier(self) -> None:
        if not self.label_names:
            raise Refusal(
                "model.base",
                "This checkpoint has no classifier, so it names nothing by itself: it is a base, to be fine-tuned with "
                "classes of your own.",
            )

    def _name(self, rows: Sequence[_Row], logits: Tensor, top_k: int, keep_crops: bool) -> Iterator[Classification]:
        probabilities = logits.div(self.temperature).softmax(1)
        top = probabilities.topk(max(1, min(top_k, len(self.label_names))))
        unlike = self.rule.scores(logits) < self.rule.threshold
        ranked = probabilities.topk(min(2, len(self.label_names))).values
        close = ranked[:, -1] * 2 > ranked[:, 0] if ranked.shape[1] == 2 else torch.zeros(len(ranked), dtype=torch.bool)
        numbers = probabilities.isfinite().all(1)
        known = 0
        for row in rows:
            if isinstance(row.crop, Refusal):
                yield Classification(row.name, refusal=row.crop)
                continue
            if not numbers[known]:
                known += 1
                yield Classification(
                    row.name,
                    refusal=Refusal(
                        "model.no_number",
                        "What this model answers to {name} is no number, so its weights are damaged; choose another.",
                        name=row.name,
                    ),
                )
                continue
            predictions = tuple(
                Prediction(self.label_names[index], probability, index)
                for probability, index in zip(top.values[known].tolist(), top.indices[known].tolist(), strict=True)
            )
            verdict: Verdict = "none" if unlike[known] else "close" if close[known] else "clear"
            yield Classification(row.name, predictions, verdict, crop=row.crop if keep_crops else None)
            known += 1

    def _batches(
        self, images: Iterable[ImageLike | Photo], batch_size: int, network: Callable[[Tensor], Tensor]
    ) -> Iterator[tuple[list[_Row], Tensor]]:
        """Batches of rows with the outputs for those rows that hold a crop, decoding ahead on other threads."""
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        step = self._at_a_time(batch_size)
        for batch in _batched(map_ahead(self._read, enumerate(images), ahead=max(2 * step, batch_size)), step):
            crops = [row.crop for row in batch if not isinstance(row.crop, Refusal)]
            yield batch, self._forward(crops, network)

    def _at_a_time(self, batch_size: int) -> int:
        return min(batch_size, CPU_BATCH[1]) if self.device.type == "cpu" else batch_size

    @property
    def computed_on(self) -> torch.device:
        """Where the last photos of this thread were named."""
        return self.device

    def _read(self, numbered: tuple[int, ImageLike | Photo]) -> _Row:
        number, image = numbered
        name = (
            image.name
            if isinstance(image, Photo)
            else str(image)
            if isinstance(image, str | os.PathLike)
            else f"image {number + 1}"
        )
        try:
            source = image.read() if isinstance(image, Photo) else image
            return _Row(name, self.preprocess.pixels(open_image(source, os.path.basename(name))))
        except Refusal as refusal:
            return _Row(name, refusal.kept())

    @torch.inference_mode()
    def _forward(self, crops: Sequence[Pixels], network: Callable[[Tensor], Tensor]) -> Tensor:
        if not crops:
            return torch.empty(0, max(len(self.label_names), 1))
        if self.device.type != "cpu":
            return network(self.preprocess.normalize(crops, self.device)).float().cpu()
        outputs = []
        for chunk in _even_chunks(crops, *CPU_BATCH):
            outputs.append(network(self.preprocess.normalize(chunk))[: len(crops)])
        return torch.cat(outputs)


@dataclass(frozen=True)
class _Row:
    name: str
    crop: Pixels | Refusal


def _even_chunks(items: Sequence[T], smallest: int, largest: int) -> Iterator[Sequence[T]]:
    """Chunks of `smallest` to `largest` items; a lone item is doubled, since a batch of one runs other kernels."""
    if len(items) == 1:
        yield [items[0]] * smallest
        return
    start = 0
    while start < len(items):
        left = len(items) - start
        size = largest if left >= largest + smallest or left == largest else min(left, largest - 1)
        yield items[start : start + size]
        start += size


def _batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def fold_batch_norm(network: ResNet) -> ResNet:
    """A copy for inference in which each convolution has taken in its BatchNorm: the same function, a third faster.

    In evaluation BatchNorm is a fixed scale and shift per channel, so ``bn(conv(x))`` is a convolution with scaled
    weights and a bias.
    """
    folded = copy.deepcopy(network).eval().requires_grad_(False)

    def fold(module: nn.Module, conv: str, bn: str) -> None:
        convolution, norm = module.get_submodule(conv), module.get_submodule(bn)
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            module.set_submodule(conv, fuse_conv_bn_eval(convolution, norm))
            module.set_submodule(bn, nn.Identity())

    fold(folded, "conv1", "bn1")
    for block in folded.modules():
        if isinstance(block, BasicBlock | Bottleneck):
            for number in (1, 2, 3) if isinstance(block, Bottleneck) else (1, 2):
                fold(block, f"conv{number}", f"bn{number}")
            if block.downsample is not None:
                fold(block.downsample, "0", "1")
    return folded
