"""How a network is trained: a method and its settings, chosen from the data and the device unless somebody says so."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from resnet.errors import Refusal
from train.methods import METHODS, Method

#: Of each number that a person may set: its least and its largest value, and what it is called.
RANGES: dict[str, tuple[float, float, str]] = {
    "minutes": (0.1, 10_000, "the time budget in minutes"),
    "epochs": (1, 10_000, "the number of epochs"),
    "batch_size": (2, 4096, "the batch size"),
    "learning_rate": (1e-7, 10, "the learning rate"),
    "weight_decay": (0, 1, "the weight decay"),
    "label_smoothing": (0, 0.9, "the label smoothing"),
    "mixup": (0, 10, "the alpha of mixup"),
    "ema": (0, 0.99999, "the decay of the average of the weights"),
    "min_scale": (0.01, 1, "the smallest share of a photo that a crop shows"),
    "colour": (0, 0.95, "how far colours are moved"),
    "image_size": (32, 512, "the image size in pixels"),
    "start_size": (0.25, 1, "the share of the image size to begin with"),
    "freeze_out": (0.05, 1, "the share of the training after which the lowest layers stop"),
    "patience": (1, 10_000, "the patience in epochs"),
    "seed": (0, 2**31 - 1, "the seed"),
    "views": (1, 16, "the number of views"),
    "teacher_weight": (0, 1, "the weight of the teacher's answers"),
    "teacher_temperature": (0.5, 20, "the temperature of the teacher's answers"),
    "feature_weight": (0, 100, "the weight of the teacher's features"),
}


@dataclass(frozen=True)
class Recipe:
    """A method with its settings.

    Args:
        method: see `train.methods`.
        minutes: of the whole run; None where epochs decide.
        epochs: at most; None where the minutes decide.
        batch_size: photos of one step, over all processes.
        learning_rate: the largest of the cycle, of the last stage.
        head_factor: how many times larger the head's is.
        stage_decay: how much smaller that of each stage below is (Howard & Ruder, https://arxiv.org/abs/1801.06146).
        weight_decay: of convolutions and the head; biases and BatchNorms have none.
        label_smoothing: how much of a target goes to the other classes.
        one_cycle: learning rate up and down in one cycle (Smith, https://arxiv.org/abs/1708.07120); constant otherwise.
        adamw: AdamW (https://arxiv.org/abs/1711.05101), Adam otherwise.
        ema: decay of the moving average of the weights that is judged and kept; 0 keeps the weights themselves.
        batch_statistics: whether BatchNorms that learn use the batch's own; see `train.methods.train_mode`.
        min_scale: the smallest share of a photo's area that a random crop shows.
        colour: how far brightness, contrast and saturation are moved.
        mixup: alpha of the Beta distribution of mixup; 0 for none.
        image_size: side in pixels of what the network is trained on at the end; None for the base's own.
        start_size: share of that side at the beginning: smaller photos first are faster.
        freeze_out: share of the training after which the stem and layer1 stop learning; layer2 and layer3 follow at
            equal distances, layer4 and the head learn to the end. 1 for all of them to the end. See
            `train.optimizer.learns_until`.
        patience: epochs without a better one until it ends.
        views: of each training photo that a head alone is fitted on.
        seed: of all that is random.
        mixed_precision: None where the device decides.
        teacher_weight: how much a teacher's answers count; the labels count for the rest of 1. See `train.teacher`.
        teacher_temperature: that softens both answers.
        feature_weight: how much the distance from the teacher's features counts.
    """

    method: Method = "all"
    minutes: float | None = None
    epochs: int | None = None
    batch_size: int = 16
    learning_rate: float = 5e-5
    head_factor: float = 3.0
    stage_decay: float = 0.6
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    one_cycle: bool = True
    adamw: bool = True
    ema: float = 0.98
    batch_statistics: bool = False
    min_scale: float = 0.35
    colour: float = 0.2
    mixup: float = 0.0
    image_size: int | None = None
    start_size: float = 1.0
    freeze_out: float = 1.0
    patience: int = 8
    views: int = 3
    seed: int = 0
    mixed_precision: bool | None = None
    teacher_weight: float = 0.7
    teacher_temperature: float = 2.0
    feature_weight: float = 0.5

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise Refusal(
                "recipe.method", "There is no method {name}; choose one of {methods}.", name=repr(self.method),
                methods=", ".join(METHODS),
            )  # fmt: skip
        for name, (least, most, words) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise Refusal(
                    "recipe.range", "{words} is {value}; it must be from {least} to {most}.",
                    words=words[0].upper() + words[1:], value=value, least=f"{least:g}", most=f"{most:g}",
                )  # fmt: skip


def choose(
    method: Method, photos: int, *, minutes: float | None = None, taught: bool = False, **settings: Any
) -> Recipe:
    """The recipe for so many training photos.

    Args:
        method: see `train.methods`.
        photos: in the training part.
        minutes: the time budget of the whole run; without it and without `epochs`, epochs are chosen.
        taught: whether a teacher is there to learn from.
        settings: whatever of `Recipe` a person has set; None counts as not set.

    Raises:
        Refusal: if there is no such method, or a setting is outside of its range.
        TypeError: if there is no such setting.
    """
    known = {one.name for one in fields(Recipe)}
    if unknown := set(settings) - known:
        raise TypeError(f"there is no setting {', '.join(sorted(unknown))}")
    recipe = Recipe(method, minutes)
    # A network that begins with the baseline's head needs little: at 3e-4 its first epochs unlearn more than they add.
    if method == "tutorial":
        # To the letter: Adam, every layer alike, no schedule, crops of 8 % and more, the best of 3 epochs.
        recipe = replace(
            recipe, epochs=3, batch_size=16, learning_rate=1e-4, head_factor=1.0, stage_decay=1.0, weight_decay=0.0,
            label_smoothing=0.0, one_cycle=False, adamw=False, ema=0.0, batch_statistics=True, min_scale=0.08,
            colour=0.0, image_size=224,
        )  # fmt: skip
    elif method == "scratch":
        recipe = replace(
            recipe, batch_size=32 if photos >= 64 else 16, learning_rate=2e-3, head_factor=1.0, stage_decay=1.0,
            batch_statistics=True, min_scale=0.25, mixup=0.2, start_size=0.6, patience=30,
        )  # fmt: skip
    elif method == "last-stage":
        recipe = replace(recipe, learning_rate=1e-4)
    elif not taught:
        # Low layers see edges and colours, which a base has learnt from far more photos, and take most of the time. Who
        # is drawn to a teacher's features has a longer way to go.
        # Many photos bear larger steps: of 2,080 flowers 94.2 % were right after three epochs at 2e-4, at 5e-5 92.7 %.
        recipe = replace(recipe, freeze_out=0.25, learning_rate=2e-4 if photos >= 1_000 else recipe.learning_rate)
    # Small sets are seen more often: about 4,000 photos in all, at least 6 times each.
    epochs = max(6, min(30, round(4_000 / max(photos, 1))))
    if minutes is None and method not in ("tutorial", "head"):
        recipe = replace(recipe, epochs=3 * epochs if method == "scratch" else epochs)
    given = {name: value for name, value in settings.items() if value is not None}
    return replace(recipe, **given)


def amp_dtype(recipe: Recipe, device: torch.device) -> torch.dtype | None:
    """What is computed in: half of fp32 where that is faster, None for fp32.

    Of the CPUs only those with AMX tiles are faster with bf16; with AVX-512 alone it took 1.4 times as long.
    """
    if recipe.mixed_precision is False:
        return None
    if device.type == "cuda":
        # Older GPUs say that they have bf16 and emulate it, slowly; they are fast with fp16.
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "cpu" and (recipe.mixed_precision or torch.cpu._is_amx_tile_supported()):
        return torch.bfloat16
    return None
