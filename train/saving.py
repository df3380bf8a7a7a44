"""The last phase of a run: what was learnt is measured as it will be written, and written with all that is known."""

from __future__ import annotations

import json
import logging
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from resnet.config import ResNetConfig
from resnet.errors import Refusal
from train.baseline import Head
from train.cache import judge
from train.card import CardFacts, card
from train.dataset import Dataset
from train.edits import EDITS, to_json
from train.events import Taught
from train.job import Job
from train.reading import Held, Read, known_as
from train.report import Report, report
from train.unpack import disk_refusal
from weights.checkpoint import Checkpoint, Source, write_folder

log = logging.getLogger(__name__)

METRICS, CARD = "metrics.json", "README.md"


def measure(
    job: Job,
    base: Checkpoint,
    read: Read,
    held: Held,
    config: ResNetConfig,
    state: Mapping[str, Tensor],
    baseline: Head | None,
    device: torch.device,
) -> tuple[Report, Tensor, Mapping[str, Tensor]]:
    """What is written is what is measured, on `held`: matrices are rounded to fp16 first."""
    rounded = {key: value.half().float() if value.ndim > 1 else value for key, value in state.items()}
    checkpoint = Checkpoint(config, rounded, base.preprocess, tuple(job.dataset.classes))
    logits = judge(checkpoint.classifier(device), held.crops, range(len(held.crops)))
    majority = Counter(read.targets.tolist()).most_common(1)[0][0]
    beside = None if baseline is None else baseline.logits(held.features)
    found = report(
        logits, held.targets, job.dataset.classes, held.names, majority_train=majority, baseline_logits=beside,
        seed=job.recipe.seed, chosen=held is read.val,
    )  # fmt: skip
    return found, logits, rounded


def rank(found: Report) -> tuple[int, float]:
    return found.accuracy.right, -found.calibration.before.log_loss


def write(
    job: Job,
    base: Checkpoint,
    config: ResNetConfig,
    found: Report,
    state: Mapping[str, Tensor],
    read: Read,
    curves: Sequence[Mapping[str, float | None]],
    seconds: float,
    computed_on: str,
    taught: Taught | None = None,
) -> Iterator[Refusal]:
    """The folder: the model first, and then what is to be read of it; why something of that could not be written.

    Raises:
        Refusal: if the model can't be written.
    """
    provenance = {
        "base": known_as(base), "repo": base.source.repo, "commit": base.source.commit, "data": job.dataset.name,
        "edits": len(job.edits),
        "teacher": known_as(job.teacher) if job.teacher else None, "recipe": asdict(job.recipe),
    }  # fmt: skip
    checkpoint = Checkpoint(
        config, state, base.preprocess, tuple(job.dataset.classes), found.calibration.temperature, found.rule,
        license=base.license, source=Source(job.name), raw_config={"resnet_demo": {"provenance": provenance}},
    )  # fmt: skip
    try:
        write_folder(checkpoint, job.out)
    except OSError as error:
        raise disk_refusal(error, job.out.name) from None

    def facts() -> CardFacts:
        return CardFacts(
            job.name or job.dataset.name, checkpoint.architecture, config.num_parameters, base.preprocess.size, found,
            job.dataset.name, _counts(job, read), job.recipe.method, _settings(job), job.command,
            computed_on, seconds, _duplicates(job.dataset), read.skipped, curves,
            None if job.recipe.method == "scratch" else known_as(base), base.source.repo, base.source.commit,
            base.license, teacher=_teacher(job, taught), edits=job.edits,
        )  # fmt: skip

    beside: dict[str, Callable[[], str]] = {METRICS: lambda: _json(found.to_json()), CARD: lambda: card(facts())}
    if job.edits:
        beside[EDITS] = lambda: _json(to_json(job.edits))
    for file, text in beside.items():
        if refusal := _unwritten(job.out / file, text):
            yield refusal


def _json(data: object) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _unwritten(file: Path, text: Callable[[], str]) -> Refusal | None:
    """Write a text that is made now; why it could not be, whatever that is: hours of training lie beside it."""
    try:
        file.write_text(text(), "utf-8", errors="replace")
    except Exception as error:
        with suppress(OSError):
            file.unlink(missing_ok=True)
        return missing(file.name, error)
    return None


def missing(file: str, error: Exception) -> Refusal:
    """Of a file that is not beside its model. What is no matter of the disk is our mistake, and is logged."""
    if not isinstance(error, OSError):
        log.error("%s", file, exc_info=error)
    reason = (isinstance(error, OSError) and error.strerror) or type(error).__name__
    return Refusal(
        "train.beside", "{file} could not be written ({reason}); the model itself is complete and can be used without "
        "it.",
        file=file, reason=reason,
    )  # fmt: skip


def _settings(job: Job) -> dict[str, object]:
    unused = {"method"} if job.teacher else {"method", "teacher_weight", "teacher_temperature", "feature_weight"}
    settings = asdict(job.recipe).items()
    return {key.replace("_", " "): value for key, value in settings if key not in unused and value is not None}


def _teacher(job: Job, taught: Taught | None) -> str | None:
    """What was distilled from, in words."""
    if job.teacher is None or taught is None:
        return None
    known = [job.teacher.architecture]
    if job.teacher.source.repo:
        known.append(f"repository {job.teacher.source.repo}, commit {job.teacher.source.commit}")
    if job.teacher.license:
        known.append(f"licence {job.teacher.license}")
    return f"{taught.name} ({'; '.join(known)}), which names {taught.accuracy} of the photos kept apart rightly"


def _counts(job: Job, read: Read) -> dict[str, dict[str, int]]:
    names = job.dataset.classes
    parts = {"train": read.targets, "val": read.val.targets}
    if read.test is not None:
        parts["test"] = read.test.targets
    return {
        part: dict(zip(names, np.bincount(targets, minlength=len(names)).tolist(), strict=True))
        for part, targets in parts.items()
    }


def _duplicates(dataset: Dataset) -> dict[str, int]:
    found = {"exact": len(dataset.report.exact), "near": len(dataset.report.near)}
    return {kind: count for kind, count in found.items() if count}


def device_name(device: torch.device) -> str:
    """What computes, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {os.cpu_count()} cores"
