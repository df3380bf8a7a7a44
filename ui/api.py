"""The jobs of the page as named endpoints, for `gradio_client`, for curl, and as MCP tools.

Annotations here are objects, not texts (there is no ``from __future__ import annotations``): Gradio makes of them what
its clients are told of an endpoint's types.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import api

from resnet.config import VARIANTS
from resnet.errors import Refusal
from resnet.photos import MAX_TOTAL_BYTES, Photo
from resnet.rows import header, to_table
from resnet.summary import Depth, parts
from resnet.summary import layers as layers_of
from train.ingest import Limits, ingest
from train.methods import METHODS, Method
from ui import answers, given
from ui.answers import Named, Progress, Table
from ui.many import for_visitors, photos_of, shown_as
from ui.models import Loaded, Models
from ui.networks import SIZES
from ui.places import PHOTOS, TABLES, Places
from ui.run_part import MAX_MINUTES, begin_run
from ui.training import Result, result_of, still_true
from ui.visits import OWN, Visits, hashed, owners, served
from ui.words import full_disk
from weights.catalog import FLOWERS

log = logging.getLogger(__name__)

#: Names of one photo that may be asked for; no more are given than there are classes.
MAX_TOP_K = 1000
DEPTHS: tuple[Depth, ...] = ("stage", "block", "layer")


@contextmanager
def sentences(doing: str) -> Iterator[None]:
    """A refusal goes out as its sentence; anything else is our mistake, which is logged, and only said to be one."""
    try:
        yield
    except Refusal as refusal:
        raise gr.Error(str(refusal.without_folders()), print_exception=False) from None
    except Exception as error:
        if (full := full_disk(error)) is not None:
            raise gr.Error(str(full), print_exception=False) from None
        log.error("%s", doing, exc_info=error)
        raise gr.Error(answers.unexpected(), print_exception=False) from None


def build(models: Models, visits: Visits, max_minutes: int = MAX_MINUTES) -> None:
    """Add the endpoints to the current Blocks.

    Args:
        models: where models are loaded.
        visits: where fine-tunings run, beside the page's.
        max_minutes: that a fine-tuning may take.
    """
    # A call holds one of these only while it computes, never while its model is being fetched.
    photos, tables = Places(models, PHOTOS), Places(models, TABLES)

    async def ready(name: str) -> Loaded:
        if name.startswith(OWN):  # also where nobody has asked for its job since this process began
            await asyncio.to_thread(_offer, visits, models, name.removeprefix(OWN))
        return await models.ready(name)

    async def classify(photo: gr.FileData, model: str = FLOWERS, top_k: int = 5) -> Named:
        """Name what is in a photo.

        Args:
            photo: an uploaded image file of any format, mode and size up to 50 megapixels.
            model: a name of the list, owner/name[@revision] of a ResNet on the Hub, or that of a finished job.
            top_k: how many classes to name, most likely first.

        Returns:
            The most likely label with its probability (0 to 1), a verdict (clear, close or none) and all predictions.
        """
        with sentences("/classify"):
            path, k = await asyncio.to_thread(given.upload, "photo", photo), given.number("top_k", top_k, 1, MAX_TOP_K)
            found = await ready(given.text("model", model))
            one = Photo(path.name, path)
            (row,) = await photos.run(None, lambda: found.classifier.predict([one], k))
            return answers.named(row)

    async def classify_batch(files: list[gr.FileData], model: str = FLOWERS, top_k: int = 5) -> Table:
        """Name what is in many photos.

        Args:
            files: uploaded images, and zips of images; 2,000 photos at most.
            model: as for /classify.
            top_k: how many classes to name for each photo.

        Returns:
            The page's CSV, one row for each photo: path, label_1, probability_1 and so on, verdict, error.
        """
        with sentences("/classify_batch"):
            paths = [str(path) for path in await asyncio.to_thread(given.uploads, "files", files)]
            k, found = given.number("top_k", top_k, 1, MAX_TOP_K), await ready(given.text("model", model))
            return await tables.run(None, lambda: _table(found, paths, k))

    async def layers(name: str = "resnet34", image_size: int = 224, depth: Depth = "stage") -> Table:
        """What a network is made of and what each part costs, for one image.

        Args:
            name: a variant (resnet18 to resnet200, resnext50_32x4d ...) or a model as for /classify.
            image_size: side of the image in pixels, 32 to 512.
            depth: one row for each stage, block or layer.

        Returns:
            One row for each part: shapes, parameters, multiply-accumulates, activations in bytes, receptive field.
        """
        with sentences("/layers"):
            side = given.number("image_size", image_size, *SIZES)
            deep, known = given.choice("depth", depth, DEPTHS), given.text("name", name)
            config = VARIANTS[known] if known in VARIANTS else (await ready(known)).checkpoint.config
            facts = await asyncio.to_thread(layers_of, config, side)
            return answers.table([asdict(one) for one in (facts if deep == "layer" else parts(facts, deep))])

    def finetune(
        archive: gr.FileData, base: str = FLOWERS, method: Method = "all", minutes: int = min(5, max_minutes),
        epochs: int | None = None, batch_size: int | None = None, learning_rate: float | None = None,
        image_size: int | None = None, share: float = 0.2, seed: int = 0,
    ) -> str:  # fmt: skip
        """Begin to fine-tune a model on your own photos; ask /job how it goes.

        Args:
            archive: an uploaded zip with a folder of images for each class.
            base: what to begin with: a model as for /classify.
            method: what learns: head, last-stage, all, scratch or tutorial.
            minutes: time budget of the whole run; epochs decide where they are given, up to the page's limit.
            epochs: how often each photo is seen, at most.
            batch_size: photos of one step.
            learning_rate: the largest of the cycle, of the last stage.
            image_size: side in pixels; the base's own by default.
            share: of each class that is kept apart to judge on, 0.05 to 0.5.
            seed: of all that is random.

        Returns:
            The job's id. Whoever has it can see the job, stop it and take its model: keep it to yourself.
        """
        with sentences("/finetune"):
            path, chosen = given.upload("archive", archive), given.choice("method", method, METHODS)
            wishes = (
                given.text("base", base), chosen, given.number("minutes", minutes, 1, max_minutes),
                *(given.optional(*one) for one in (
                    ("epochs", epochs), ("batch_size", batch_size), ("learning_rate", learning_rate),
                    ("image_size", image_size),
                )),
                given.optional("share", share, 0.2), given.optional("seed", seed, 0),
            )  # fmt: skip
            return _begin(visits, models, path, wishes, max_minutes)

    def job(job_id: str, stop: bool = False, go_on: bool = False) -> tuple[Progress, gr.FileData | None]:
        """How a fine-tuning goes, and its model as a zip when it is done.

        Args:
            job_id: what /finetune answered.
            stop: whether to end it now with the best model so far.
            go_on: whether to let it wait for its turn again, where it was interrupted.

        Returns:
            State, progress, events so far and, at the end, metrics; and the zip of the model's folder.
        """
        with sentences("/job"):
            key = given.text("job_id", job_id)
            name = hashed(key)  # who has a job's name has nothing
            visits.of_job(name)  # its visit is looked at
            if stop is True:
                visits.jobs.stop(name)
            if go_on is True:
                visits.jobs.go_on(name, still_true)
            view = visits.jobs.look(name)
            if view is None:
                raise Refusal("job.gone", "There is no job of this id, or not any more; begin another one.")
            found = _offer(visits, models, key)
            packed = gr.FileData(path=served(found.archive), orig_name="model.zip") if found and found.archive else None
            return answers.progress(view, OWN + key), packed

    waits: dict[str, Any] = {"concurrency_limit": None}
    api(classify, api_name="classify", **waits)
    api(classify_batch, api_name="classify_batch", **waits)
    api(layers, api_name="layers", **waits)
    api(finetune, api_name="finetune", concurrency_limit=2, concurrency_id="data")
    api(job, api_name="job", concurrency_limit=8)


def _table(found: Loaded, paths: list[str], top_k: int) -> Table:
    """The CSV that the page gives."""
    k = min(top_k, max(1, len(found.classifier.label_names)))
    rows = found.classifier.predict_iter(photos_of(paths), max(2, k))
    return {"columns": header(k), "rows": [to_table(for_visitors(row), shown_as(row.name), k) for row in rows]}


def _offer(visits: Visits, models: Models, job_id: str) -> Result | None:
    """What came of a job, whose model can be loaded from here on."""
    found, model = result_of(visits.jobs.look(hashed(job_id))), OWN + job_id
    if found and models.title(model) == model:
        models.add(model, found.folder, "the model of a job")
    return found


def _begin(visits: Visits, models: Models, path: Path, wishes: tuple[Any, ...], max_minutes: int) -> str:
    """A visit of its own for each job, which ends when the job is forgotten: the job's id."""
    whose = owners(None)
    visits.jobs.refuse_too_many(whose)  # before anything is unpacked
    visit = visits.open(None)
    try:
        limits, folder = Limits(bytes=min(MAX_TOTAL_BYTES, visits.room(visit))), visit.new_folder("data")
        visit.uploads = (path,)
        visits.replace(visit, ingest(path, folder, limits=limits), folder, path)
        run = begin_run(visits, models, visit, *wishes, max_minutes=max_minutes, owners=whose)
        return run.id
    except BaseException:
        visits.close(visit.key)
        raise
