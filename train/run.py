"""The whole way from a dataset to a saved folder as one generator, for the terminal and the page alike."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from resnet.config import VARIANTS
from resnet.errors import Refusal
from resnet.network import ResNet
from resnet.preprocess import Preprocess
from train.augment import cut_all, random_view
from train.baseline import Head, fit_baseline, fit_head
from train.batches import FitData
from train.distributed import anyone, place
from train.ends import Ends, stopped
from train.events import Advanced, Baseline, Event, Finished, Fitted, Lent, Started, Taught, Unwritten, Why
from train.fit import fit
from train.job import Job
from train.pieces import fit_in_pieces
from train.reading import BATCH, Read, body, headless, known_as, read_photos
from train.saving import device_name, measure, rank, write
from train.shares import Share
from train.split import groups
from train.teacher import TeacherParts, head_for
from weights.checkpoint import Checkpoint, Source

#: Seconds that a time budget keeps for measuring and writing.
RESERVE_S = 2.0


def run(job: Job, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
    """Read, fit a baseline, train, measure and write; the last event is `Finished`.

    Args:
        job: what to do.
        stop: looked at again and again; when it says so, the best so far is measured and written.

    Raises:
        Refusal: if the photos that can be read are too few, or it is stopped, its time is up or the disk is full before
            there is a model.
    """
    began, ends = time.monotonic(), Ends(stop, job.recipe.minutes, job.minutes)
    device = job.device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    base = _base(job)
    read = yield from read_photos(job, base, device, ends.refuse)
    ends.reserve_s = 2 * read.eval_s + read.test_s + RESERVE_S
    names = job.dataset.classes
    if seen := read.seen([image.name for image in job.dataset.images]):
        yield seen
    baseline = yield from _baseline(job, read, began, ends)
    teacher, taught = yield from _teacher(job, read, ends)
    weights: Mapping[str, Tensor] | None = None
    why: Why | None = None
    computed_on = device_name(device)
    curves: Sequence[Mapping[str, float | None]] = ()
    if job.recipe.method == "head":
        assert baseline is not None  # `_base` has seen to it
        head = yield from _views(job, base, read, baseline, device, ends)
        weights = _with_head(base, head)
    elif not anyone(ends()):
        for event in _fit(job, base, read, baseline, teacher, device, began, ends):
            if isinstance(event, Fitted):
                why = "time" if event.why == "stopped" and not ends.asked() else event.why
                weights, curves = event.state_dict, event.history
            elif isinstance(event, Lent):
                computed_on = event.device
            yield event
    yield Started("measure", len(read.val.crops))
    config = base.config.with_classes(len(names))
    fallback = None if baseline is None else _with_head(base, baseline)
    candidates = [one for one in (weights, fallback) if one is not None]
    if not candidates:
        raise stopped()
    measured = [measure(job, base, read, read.val, config, state, baseline, device) for state in candidates]
    # What training made no better than its beginning is not worth having; the two plain methods are what they are.
    better = (
        weights is not None
        and fallback is not None
        and job.recipe.method not in ("tutorial", "scratch")
        and rank(measured[1][0]) > rank(measured[0][0])
    )
    found, logits, state = measured[1] if better else measured[0]
    judged = read.val
    if read.test is not None:  # all is chosen: now the photos that had no part in it
        judged = read.test
        found, logits, state = measure(job, base, read, judged, config, state, baseline, device)
    yield Started("write")
    answers = {
        name: (int(true), int(named))
        for name, true, named in zip(judged.names, judged.targets, logits.argmax(1), strict=True)
    }
    seconds = time.monotonic() - began
    if place()[0] == 0:
        for refusal in write(job, base, config, found, state, read, curves, seconds, computed_on, taught):
            yield Unwritten(refusal)
    kept: Literal["trained", "baseline"] = "trained" if weights is not None and not better else "baseline"
    yield Finished(found, kept, job.out, answers, seconds, why)


def _base(job: Job) -> Checkpoint:
    """What training begins with; for `scratch` the shape and the eyes of the base, and weights of no training."""
    if job.base is None and job.recipe.method != "scratch":
        raise Refusal(
            "train.no_base", "The method {method} needs a base to begin with; name one, or choose scratch.",
            method=job.recipe.method,
        )  # fmt: skip
    if job.teacher is not None and job.recipe.method in ("head", "tutorial"):
        raise Refusal(
            "train.teacher", "The method {method} has no use for a teacher; leave it out, or choose all, last-stage or "
            "scratch.",
            method=job.recipe.method,
        )  # fmt: skip
    if job.base is not None and job.recipe.method != "scratch":
        found = job.base
    else:
        body = job.base.config if job.base else VARIANTS["resnet18"]
        preprocess = job.base.preprocess if job.base else Preprocess()
        torch.manual_seed(job.recipe.seed)
        network = ResNet(body.with_classes(0))
        found = Checkpoint(body.with_classes(0), network.state_dict(), preprocess, (), source=Source("scratch"))
    preprocess = replace(found.preprocess, size=job.recipe.image_size or found.preprocess.size)
    if job.recipe.method == "tutorial":  # Resize(256), CenterCrop(224); normalised as its base is used to
        preprocess = Preprocess(preprocess.size, mean=preprocess.mean, std=preprocess.std)
    return replace(found, preprocess=preprocess)


def _with_head(base: Checkpoint, head: Head) -> Mapping[str, Tensor]:
    return {**body(base), "fc.weight": head.weight, "fc.bias": head.bias}


# -- learning ----------------------------------------------------------------------------------------------------------


def _baseline(job: Job, read: Read, began: float, ends: Ends) -> Generator[Event, None, Head | None]:
    """A regression on the features; None where the base knows nothing."""
    if not len(read.features):
        return None
    yield Started("baseline")
    classes, copies = len(job.dataset.classes), _copies(job, read)
    head = fit_baseline(read.features, read.targets, classes, copies, job.recipe.seed, ends.alone)
    right = (head.logits(read.val.features).argmax(1) == read.val.targets).sum()
    yield Baseline(Share(int(right), len(read.val.targets)), head.strength, time.monotonic() - began)
    return head


def _teacher(job: Job, read: Read, ends: Ends) -> Generator[Event, None, tuple[TeacherParts | None, Taught | None]]:
    """The teacher with a head for these classes, and how well it does itself."""
    if job.teacher is None:
        return None, None
    network, classes, copies = job.teacher, job.dataset.classes, _copies(job, read)
    head = head_for(network, classes, read.taught, read.targets, copies, job.recipe.seed, ends.alone)
    right = (head.logits(read.val_taught).argmax(1) == read.val.targets).sum()
    taught = Taught(known_as(network), Share(int(right), len(read.val.targets)))
    yield taught
    return TeacherParts(network, head, read.taught, read.features), taught


def _copies(job: Job, read: Read) -> list[tuple[int, ...]]:
    """Groups of copies, as indices into the photos that are learnt from."""
    place = {index: number for number, index in enumerate(read.kept)}
    found = [tuple(place[index] for index in group if index in place) for group in groups(job.dataset)]
    return [group for group in found if len(group) > 1]


def _views(
    job: Job, base: Checkpoint, read: Read, head: Head, device: torch.device, ends: Ends
) -> Generator[Event, None, Head]:
    """The head fitted again, on some random views of each photo beside the plain one; only on whole views."""
    count = len(read.photos)
    total = count * (job.recipe.views - 1)
    if not total:
        return head
    yield Started("views", total)
    classifier = headless(base).classifier(device)
    generator = torch.Generator().manual_seed(job.recipe.seed)
    began, views = time.monotonic(), [read.features]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for number in range(1, job.recipe.views):
            rows = []
            for start in range(0, count, BATCH):
                if anyone(ends()):
                    break
                photos = [read.photos[index] for index in range(start, min(start + BATCH, count))]
                drawn = [
                    random_view(one.shape[0], one.shape[1], generator, (job.recipe.min_scale, 1.0)) for one in photos
                ]
                pieces = cut_all(photos, drawn, base.preprocess.size, pool)
                rows.append(classifier.pooled(list(pieces.numpy())))
                done = (number - 1) * count + start + len(photos)
                yield Advanced("views", done, total, done / max(time.monotonic() - began, 1e-6))
            if len(rows) * BATCH < count:  # told to end
                break
            views.append(torch.cat(rows))
    if len(views) == 1:
        return head
    yield Started("baseline")
    return fit_head(torch.stack(views), read.targets, len(job.dataset.classes), head.strength, stop=ends.alone)


def _fit(
    job: Job,
    base: Checkpoint,
    read: Read,
    baseline: Head | None,
    teacher: TeacherParts | None,
    device: torch.device,
    began: float,
    stop: Ends,
) -> Iterator[Event]:
    """The network with a head; it begins with the baseline's, so that the first steps don't shake what is below.

    References:
        Kumar et al., https://arxiv.org/abs/2202.10054
    """
    config = base.config.with_classes(len(job.dataset.classes))
    torch.manual_seed(job.recipe.seed)
    network = ResNet(config)
    fresh = {key: value for key, value in network.state_dict().items() if key.startswith("fc.")}
    state = {**body(base), **fresh}
    if baseline is not None and job.recipe.method != "tutorial":
        state = dict(_with_head(base, baseline))
    network.load_state_dict(state)
    data = FitData(
        read.photos, read.targets, read.val.crops, read.val.targets, job.dataset.classes, base.preprocess, read.eval_s
    )
    seconds = None
    if job.recipe.minutes is not None:
        seconds = 60 * job.recipe.minutes - (time.monotonic() - began) - stop.reserve_s
    if job.lender is not None:
        assert job.state is not None
        yield from fit_in_pieces(
            network, data, job.recipe, job.lender, job.state, seconds=seconds, teacher=teacher, stop=stop
        )  # fmt: skip
        return
    taught = None if teacher is None else teacher.build(base.preprocess, job.recipe, device)
    yield from fit(network, data, job.recipe, device, seconds=seconds, teacher=taught, folder=job.state, stop=stop)
