"""The model card: what a saved folder's README.md says of the data, the training and what came of it.

Its YAML is what the Hub reads (https://github.com/huggingface/hub-docs/blob/main/modelcard.md), written by the Hub's
own client; its sections follow Mitchell et al. 2019, https://arxiv.org/abs/1810.03993.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from huggingface_hub import EvalResult, ModelCardData

from train.edits import EDITS, Edit
from train.markdown import code, number, percent, table, text
from train.report import Report
from train.shares import Share
from weights.layouts import shorten
from weights.publish import LOCAL_CLASSIFY, LOCAL_NOTE, LOCAL_TIMM

#: What the Hub knows by name of the licences that base models have; another is "other" there, with its name beside it.
LICENSES = {
    "apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "isc", "unlicense", "cc0-1.0",
    "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0",
    "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-4.0", "openrail", "gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1",
    "lgpl-3.0", "agpl-3.0", "mpl-2.0", "afl-3.0", "artistic-2.0",
}  # fmt: skip
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,95})?")
CURVES = {
    "epoch": "epoch",
    "train_loss": "train loss",
    "val_loss": "val loss",
    "val_accuracy": "val accuracy",
    "learning_rate": "learning rate",
    "seconds": "seconds",
}
#: Longer lists are cut: a card is to be read.
MOST_FILES, MOST_EPOCHS = 20, 60


@dataclass(frozen=True)
class CardFacts:
    """All that a card says. Texts are anybody's and are escaped, `notes` excepted.

    Args:
        name: the model's.
        architecture: `Checkpoint.architecture`.
        parameters: weights and biases.
        image_size: of a side of what the network sees, in pixels.
        report: what was measured.
        data: what the photos are called, e.g. the zip's name.
        images: split -> class -> number of photos, e.g. ``{"train": {"ants": 110}, "val": {"ants": 14}}``.
        method: ``head``, ``last-stage`` … in words.
        settings: name -> value, of the recipe.
        command: what was typed, to the letter.
        device: its name.
        seconds: from the first photo read to the last weight written.
        duplicates: what kind -> how many.
        left_out: file -> why it was not used.
        edits: by hand, before the training.
        curves: one mapping an epoch with the keys of `CURVES`; a key may be missing or None.
        base: what training started from; None where it started from nothing.
        base_repo: its repository on the Hub, where it has one.
        base_commit: the commit there.
        license: the base's.
        data_license: of the photos.
        teacher: what was distilled from, in words.
        strangers: photos of other things -> the share of them that is said to be perhaps none of the classes.
        notes: paragraphs of Markdown by the author of the model, taken as they are.
    """

    name: str
    architecture: str
    parameters: int
    image_size: int
    report: Report
    data: str
    images: Mapping[str, Mapping[str, int]]
    method: str
    settings: Mapping[str, object]
    command: str
    device: str
    seconds: float
    duplicates: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    curves: Sequence[Mapping[str, float | None]] = ()
    base: str | None = None
    base_repo: str | None = None
    base_commit: str | None = None
    license: str | None = None
    data_license: str | None = None
    teacher: str | None = None
    strangers: Mapping[str, Share] = field(default_factory=dict)
    notes: Sequence[str] = ()
    edits: Sequence[Edit] = ()


def card(facts: CardFacts) -> str:
    """The README.md of a saved folder: YAML between two lines of dashes, then Markdown."""
    parts = (
        f"---\n{metadata(facts).to_yaml()}\n---",
        f"# {text(facts.name)}",
        _summary(facts),
        *facts.notes,
        _use(facts),
        facts.report.to_markdown(),
        _none_of_these(facts),
        _data(facts),
        _training(facts),
    )
    return "\n\n".join(parts) + "\n"


def metadata(facts: CardFacts) -> ModelCardData:
    """What the Hub reads of a card: library, task, licence, base and the results as its `model-index`."""
    license_, license_name = facts.license and facts.license.strip().lower(), None
    if license_ and license_ not in LICENSES:
        license_, license_name = "other", shorten(license_, 80)
    base = facts.base_repo if facts.base_repo and REPOSITORY.fullmatch(facts.base_repo) else None
    measured = {
        "accuracy": ("Accuracy", facts.report.accuracy.value),
        "precision": ("Precision (macro)", facts.report.macro["precision"]),
        "recall": ("Recall (macro)", facts.report.macro["recall"]),
        "f1": ("F1 (macro)", facts.report.macro["f1"]),
    }
    results = [
        EvalResult(
            task_type="image-classification",
            task_name="Image Classification",
            dataset_type="imagefolder",
            dataset_name=_line(facts.data),
            dataset_split="test" if "test" in facts.images else "validation",
            metric_type=metric,
            metric_name=name,
            metric_value=value,
        )
        for metric, (name, value) in measured.items()
    ]
    return ModelCardData(
        license=license_ or None,
        license_name=license_name,
        library_name="timm",
        pipeline_tag="image-classification",
        tags=["image-classification", "timm", "resnet"],
        base_model=base,
        base_model_relation="finetune" if base else None,
        metrics=list(measured),
        model_name=_line(facts.name),
        eval_results=results,
    )


def _line(name: str) -> str:
    return shorten(name, 80).strip() or "unnamed"


def _summary(facts: CardFacts) -> str:
    names = [text(name) for name in facts.report.names]
    some = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    base = "from nothing" if facts.base is None else f"from {text(facts.base)}"
    if facts.base_repo:
        commit = f", commit {text(facts.base_commit)}" if facts.base_commit else ""
        base += f" (repository {text(facts.base_repo)}{commit})"
    licence = text(facts.license) if facts.license else "not stated" if facts.base else "yours to choose"
    return (
        f"Names {len(names)} classes: {some}. {text(facts.architecture)}, {facts.parameters / 1e6:.1f} million "
        f"parameters, {facts.image_size} x {facts.image_size} pixels, trained {base}. Licence of the base: {licence}. "
        f"{facts.report.accuracy} of {facts.report.photos:,} photos that it was not trained on are named rightly."
    )


def _use(facts: CardFacts) -> str:
    timm = f"""\
import timm
import torch
from PIL import Image

model = timm.create_model({LOCAL_TIMM}
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
with torch.inference_mode():
    logits = model(transform(Image.open("photo.jpg").convert("RGB"))[None])
probabilities = (logits / {facts.report.calibration.temperature!r}).softmax(1)[0]
print(model.pretrained_cfg["label_names"][probabilities.argmax()], probabilities.max().item())"""
    return "\n\n".join(
        (
            "## Use",
            f"{LOCAL_NOTE}With the project that trained it:",
            code(f"python -m resnet classify photo.jpg {LOCAL_CLASSIFY}", "bash"),
            "By itself, in the folder, with torch, torchvision, pillow and safetensors alone:",
            code("python predict.py photo.jpg", "bash"),
            "With timm; the number that the logits are divided by is the temperature (see Calibration):",
            code(timm, "python"),
        )
    )


def _none_of_these(facts: CardFacts) -> str:
    rule, flagged = facts.report.rule, facts.report.flagged
    score = {
        "probability": "the largest probability before the temperature, scaled so that chance is 0,",
        "max_logit": "the largest logit",
        "energy": "the logarithm of the sum of the exponentials of the logits",
    }[rule.score]
    lines = [
        "## Photos of none of the classes",
        f"It knows these classes and nothing else. A photo is said to show perhaps none of them where {score} is under "
        f"{rule.threshold:g}. That is said of {flagged} of the {flagged.total:,} photos kept apart, wrongly.",
    ]
    if facts.strangers:
        rows = [
            [text(what), f"{one.total:,}", percent(one.value), f"{100 * one.low:.1f} to {100 * one.high:.1f} %"]
            for what, one in facts.strangers.items()
        ]
        lines.append(table(["photos of other things", "photos", "flagged", "95 % interval"], rows))
    return "\n\n".join(lines)


def _data(facts: CardFacts) -> str:
    splits = list(facts.images)
    classes = list(dict.fromkeys(name for split in splits for name in facts.images[split]))
    rows = [[text(name), *(f"{facts.images[split].get(name, 0):,}" for split in splits)] for name in classes]
    rows.append(["*all*", *(f"{sum(facts.images[split].values()):,}" for split in splits)])
    licence = f" Their licence: {text(facts.data_license, 200)}." if facts.data_license else ""
    lines = [
        "## Data",
        f"Photos: {text(facts.data)}.{licence}",  # a line must not begin with what somebody else wrote
        table(["photos", *map(text, splits)], rows),
    ]
    if facts.duplicates:
        lines.append(table(["duplicates", "photos"], [[text(what), f"{n:,}"] for what, n in facts.duplicates.items()]))
    if facts.left_out:
        files = [[text(file), text(why, 200)] for file, why in list(facts.left_out.items())[:MOST_FILES]]
        if len(facts.left_out) > MOST_FILES:
            files.append([f"*and {len(facts.left_out) - MOST_FILES:,} more*", ""])
        lines += [f"Left out ({len(facts.left_out):,}):", table(["file", "why"], files)]
    if facts.edits:
        changed = [
            [text(one.name), "left out" if one.label is None else f"moved to {text(one.label)}"] for one in facts.edits
        ][:MOST_FILES]
        if len(facts.edits) > MOST_FILES:
            changed.append([f"*and {len(facts.edits) - MOST_FILES:,} more*", ""])
        lines += [f"Changed by hand ({len(facts.edits):,}, in `{EDITS}`):", table(["file", "what"], changed)]
    return "\n\n".join(lines)


def _training(facts: CardFacts) -> str:
    minutes = f"{facts.seconds:.0f} seconds" if facts.seconds < 120 else f"{facts.seconds / 60:.1f} minutes"
    lines = ["## Training", f"Method: {text(facts.method, 200)}. It took {minutes} on {text(facts.device)}."]
    if facts.teacher:
        lines.append(f"Distilled from {text(facts.teacher, 400)}.")
    lines.append(code(facts.command, "bash"))
    if facts.settings:
        rows = [[text(key), text(value, 200)] for key, value in facts.settings.items()]
        lines.append(table(["setting", "value"], rows))
    if facts.curves:
        step = -(-len(facts.curves) // MOST_EPOCHS)
        kept = list(facts.curves)[::-1][::step][::-1]  # every so many epochs, with the last one among them
        lines.append(table(list(CURVES.values()), [[_curve(key, row.get(key)) for key in CURVES] for row in kept]))
    return "\n\n".join(lines)


def _curve(key: str, value: float | None) -> str:
    if value is None:
        return "–"
    if key == "epoch":
        return f"{value:g}"
    if key == "learning_rate":
        return f"{value:.2e}"
    return percent(value) if key == "val_accuracy" else number(value, 1 if key == "seconds" else 4)
