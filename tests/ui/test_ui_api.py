"""The API through the real `gradio_client`, raw HTTP and the real MCP client, against the terminal's own numbers."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import json
import urllib.error
import urllib.request
import uuid
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from safetensors.torch import load_file

import app
import ui.jobs
import ui.run_part
from resnet.__main__ import main as terminal
from resnet.classifier import Classifier
from tests.pictures import FLOWERS
from tests.waiting import PATIENCE_S
from tests.waiting import until as waiting_until
from train.__main__ import main as train
from train.drawn import draw
from ui.models import Models
from ui.page import build, launch_options
from weights.load import load

ROOT = Path(__file__).resolve().parents[2]
NAMES = {"/classify", "/classify_batch", "/layers", "/finetune", "/job"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page with its API and MCP tools."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        page = build(models=Models(trusted=("flowers",), device="cpu"))
        _, address, _ = page.launch(
            server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, mcp_server=True, **launch_options()
        )
        yield address.rstrip("/")
        page.close(verbose=False)


@pytest.fixture(scope="module")
def client(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Gradio's client, as a person uses it."""
    opened = Client(url, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def photos() -> list[Path]:
    """A flower of each class."""
    return FLOWERS[::12]


@pytest.fixture(scope="module")
def flowers() -> Classifier:
    return load("flowers").classifier("cpu")


@pytest.fixture(scope="module")
def shapes_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dozen drawn shapes in class folders."""
    folder = tmp_path_factory.mktemp("shapes")
    draw(folder / "shapes", per_class=6)
    path = folder / "shapes.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted((folder / "shapes").rglob("*.*")):
            archive.write(file, file.relative_to(folder))
    return path


def until(client: Client, job: str, condition: Callable[[dict[str, Any]], bool]) -> tuple[dict[str, Any], str | None]:
    """Look at a job until it is as it should be."""
    seen: list[tuple[dict[str, Any], str | None]] = []

    def looks() -> bool:
        seen[:] = [client.predict(job, api_name="/job")]
        return condition(seen[0][0])

    waiting_until(looks, lambda: seen, every_s=0.1)  # each look takes time from what it looks at
    return seen[0]


def ended(now: dict[str, Any]) -> bool:
    return now["state"] in ("done", "stopped", "failed")


# -- what there is -----------------------------------------------------------------------------------------------------


def test_five_jobs_have_names_and_the_rest_is_private(client: Client) -> None:
    told = client.view_api(return_format="dict", print_info=False)
    assert set(told["named_endpoints"]) == NAMES
    assert not told["unnamed_endpoints"]
    parameters = {
        name: {one["parameter_name"]: one["python_type"]["type"] for one in endpoint["parameters"]}
        for name, endpoint in told["named_endpoints"].items()
    }
    assert parameters["/classify"] == {"photo": "filepath", "model": "str", "top_k": "int"}
    assert parameters["/classify_batch"] == {"files": "list[filepath]", "model": "str", "top_k": "int"}
    assert parameters["/layers"]["depth"] == "Literal['stage', 'block', 'layer']"
    assert parameters["/finetune"]["archive"] == "filepath"
    assert parameters["/job"]["job_id"] == "str"
    required = {
        one["parameter_name"]
        for endpoint in told["named_endpoints"].values()
        for one in endpoint["parameters"]
        if not one["parameter_has_default"]
    }
    assert required == {"photo", "files", "archive", "job_id"}
    for endpoint in told["named_endpoints"].values():
        assert endpoint["description"]
        assert all(one["python_type"]["type"] != "Any" for one in endpoint["returns"]), endpoint["returns"]
    with pytest.raises(ValueError, match="Cannot find a function"):
        client.predict(api_name="/show")


# -- photos and layers -------------------------------------------------------------------------------------------------


def test_a_photo_is_named_as_the_classifier_names_it(client: Client, photos: list[Path], flowers: Classifier) -> None:
    for photo, row in zip(photos, flowers.predict(photos, 3), strict=True):
        said = client.predict(handle_file(photo), top_k=3, api_name="/classify")
        assert [(one["label"], one["probability"]) for one in said["predictions"]] == [
            (one.label, one.probability) for one in row.predictions
        ]
        assert (said["label"], said["probability"]) == (row.predictions[0].label, row.predictions[0].probability)
        assert said["verdict"] == row.verdict


def test_many_photos_are_the_table_of_the_terminal(
    client: Client, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed, bad = tmp_path / "photos.zip", tmp_path / "bad.jpg"
    with zipfile.ZipFile(packed, "w") as archive:
        for photo in photos[2:]:
            archive.write(photo, f"folder/{photo.name}")
    bad.write_text("no photo")
    given = [*photos[:2], bad, packed]
    table = client.predict([handle_file(path) for path in given], top_k=2, api_name="/classify_batch")
    assert terminal(["classify", "--csv", str(tmp_path / "t.csv"), "--top-k", "2", *map(str, given)]) == 1
    columns, *rows = csv.reader(io.StringIO((tmp_path / "t.csv").read_text("utf-8-sig")))
    assert table["columns"] == columns
    assert [[str(cell) for cell in row[1:]] for row in table["rows"]] == [row[1:] for row in rows]
    assert [row[0] for row in table["rows"]] == [
        *(path.name for path in given[:3]), *(f"folder/{path.name}" for path in photos[2:])
    ]  # fmt: skip


@pytest.mark.parametrize("depth", ["stage", "block", "layer"])
def test_layers_are_those_of_the_terminal(client: Client, depth: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = client.predict("resnet50", 160, depth, api_name="/layers")
    assert terminal(["layers", "resnet50", "--image-size", "160", "--depth", depth, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]] == lines


def test_layers_of_a_model(client: Client) -> None:
    table = client.predict("flowers", api_name="/layers")
    column = table["columns"].index("parameters")
    assert sum(row[column] for row in table["rows"]) == load("flowers").config.num_parameters


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_what_is_refused_is_one_sentence(
    client: Client, photos: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    photo = handle_file(photos[0])
    (tmp_path / "text.jpg").write_text("This is no photo.")
    one_class = tmp_path / "one.zip"
    with zipfile.ZipFile(one_class, "w") as archive:
        for path in photos[:3]:
            archive.write(path, f"daisy/{path.name}")
    bad, alone = handle_file(tmp_path / "text.jpg"), handle_file(one_class)
    for api_name, words, said in (
        ("/classify", {"photo": bad}, "text.jpg is not an image"),
        ("/classify", {"photo": photo, "model": "no such model"}, "There is no model 'no such model'"),
        ("/classify", {"photo": photo, "model": "/etc"}, "There is no model '/etc'"),
        ("/classify", {"photo": photo, "model": 7}, "model must be a text"),
        ("/classify", {"photo": photo, "top_k": 0}, "top_k is 0; it must be a whole number from 1 to 1000"),
        ("/classify", {"photo": photo, "top_k": "five"}, "top_k is 'five'"),
        ("/classify", {"photo": None}, "photo must be an uploaded file"),
        ("/classify", {"photo": "http://127.0.0.1:1/a.jpg"}, "photo must be an uploaded file"),
        ("/classify_batch", {"files": []}, "No photos were chosen"),
        ("/classify_batch", {"files": [photo, "/etc/passwd"]}, "files must be an uploaded file"),
        ("/layers", {"name": "resnet7"}, "There is no model 'resnet7'"),
        ("/layers", {"image_size": 4096}, "image_size is 4096; it must be a whole number from 32 to 512"),
        ("/layers", {"depth": "atom"}, "depth must be one of stage, block, layer"),
        ("/finetune", {"archive": photo}, "is neither a folder nor a zip archive"),
        ("/finetune", {"archive": alone}, "one holds only one class, daisy"),
        ("/finetune", {"archive": alone, "method": "magic"}, "method must be one of head, last-stage"),
        ("/finetune", {"archive": alone, "minutes": 600}, "minutes is 600; it must be a whole number from 1 to 60"),
        ("/finetune", {"archive": alone, "epochs": "many"}, "epochs must be a number, or left out"),
        ("/job", {"job_id": "1234"}, "There is no job of this id"),
        ("/job", {"job_id": ""}, "job_id must be a text"),
    ):
        with pytest.raises(AppError) as refused:
            client.predict(api_name=api_name, **words)
        sentence = str(refused.value)
        assert said in sentence
        assert sentence.endswith(".") and "\n" not in sentence
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err, "a refusal is nobody's mistake"


def test_settings_out_of_range_are_refused_before_a_job_waits(client: Client, shapes_zip: Path) -> None:
    for words, said in (({"epochs": 0}, "it must be from 1"), ({"image_size": 4000}, "it must be from 32 to 512")):
        with pytest.raises(AppError, match=said):
            client.predict(handle_file(shapes_zip), api_name="/finetune", **words)


def ask(url: str, name: str, body: dict[str, Any]) -> str:
    """Call an endpoint as curl does; all that is answered."""
    request = urllib.request.Request(
        f"{url}/gradio_api/call/v2/{name}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            event = json.loads(answer.read())["event_id"]
        with urllib.request.urlopen(f"{url}/gradio_api/call/v2/{name}/{event}", timeout=PATIENCE_S) as stream:
            return stream.read().decode()
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode(errors='replace')}"


def upload(url: str, path: Path) -> str:
    """What the page calls an uploaded file."""
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{path.name}"\r\n\r\n'.encode()
    body = head + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    with urllib.request.urlopen(
        urllib.request.Request(f"{url}/gradio_api/upload", body, kind), timeout=PATIENCE_S
    ) as answer:
        return str(json.loads(answer.read())[0])


def test_without_a_client_it_is_two_requests(url: str, photos: list[Path], flowers: Classifier) -> None:
    photo = {"path": upload(url, photos[0]), "meta": {"_type": "gradio.FileData"}}
    answer = ask(url, "classify", {"photo": photo, "top_k": 1})
    (best,) = flowers.predict(photos[:1], 1)[0].predictions
    said = json.loads(answer.split("event: complete\ndata: ")[1])[0]
    assert (said["label"], said["probability"]) == (best.label, best.probability)


def test_a_path_of_the_server_is_not_read(url: str, photos: list[Path], tmp_path: Path) -> None:
    """Not even that of an image or a zip that could be read."""
    taken = Path(upload(url, photos[0]))
    packed = tmp_path / "photos.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(photos[0], "a/secret-name.jpg")
    link = tmp_path / "link.jpg"
    link.symlink_to(photos[0])
    for path in (str(photos[0]), str(packed), str(link), "/etc/passwd", f"{taken.parent}/../../../etc/passwd", "/", ""):
        marks: list[Any] = [{"_type": "gradio.FileData"}, {"_type": "file"}, {}, None, "x"]
        forms = [path, [path], {"path": path}, *({"path": path, "meta": mark} for mark in marks)]
        forms.append({"path": path, "url": f"{url}/gradio_api/file={taken}", "meta": marks[0]})
        for form in forms:
            for name, body in (("classify", {"photo": form}), ("classify_batch", {"files": [form]})):
                answer = ask(url, name, body)
                assert "event: complete" not in answer, (path, form)
                for secret in ("label", "secret-name", "root:", "Traceback", "site-packages"):
                    assert secret not in answer
    answer = ask(url, "finetune", {"archive": {"path": str(packed), "meta": {"_type": "gradio.FileData"}}})
    assert "secret-name" not in answer and "event: error" in answer


# -- fine-tuning -------------------------------------------------------------------------------------------------------


def test_a_job_from_a_zip_to_a_model_of_ones_own(
    client: Client, shapes_zip: Path, tmp_path: Path, photos: list[Path]
) -> None:
    settings = {"method": "all", "epochs": 1, "image_size": 64, "seed": 5}
    job = client.predict(handle_file(shapes_zip), api_name="/finetune", **settings)
    second = client.predict(handle_file(shapes_zip), method="head", image_size=64, api_name="/finetune")
    assert len(job) >= 24 and job != second
    done, archive = until(client, job, ended)
    assert done["state"] == "done", done
    assert done["error"] is None and done["progress"] == 1.0 and done["kept"] in ("trained", "baseline")
    kinds = [event["event"] for event in done["events"]]
    assert {"started", "baseline", "epoch"} <= set(kinds)
    assert kinds.count("step") <= 1, "the others say nothing that the last one doesn't"
    with zipfile.ZipFile(str(archive)) as opened:
        opened.extractall(tmp_path / "model")
    assert json.loads((tmp_path / "model/metrics.json").read_text()) == done["metrics"]

    # The same as the terminal, to the last bit.
    words = [
        str(shapes_zip), "--method", "all", "--epochs", "1", "--image-size", "64", "--seed", "5",
        "--device", "cpu", "--out", str(tmp_path / "cli"),
    ]  # fmt: skip
    assert train(words) == 0
    ours, theirs = (load_file(tmp_path / folder / "model.safetensors") for folder in ("model", "cli"))
    assert set(ours) == set(theirs)
    assert {key: float((ours[key] - theirs[key]).abs().max()) for key in ours if not ours[key].equal(theirs[key])} == {}

    # The name that the job gives opens it in /classify; no other does.
    (row,) = load(str(tmp_path / "model")).classifier("cpu").predict(photos[:1], 2)
    named = client.predict(handle_file(photos[0]), done["model"], 2, api_name="/classify")
    assert [one["probability"] for one in named["predictions"]] == [one.probability for one in row.predictions]
    with pytest.raises(AppError, match="There is no model"):
        client.predict(handle_file(photos[0]), done["model"][:-1], api_name="/classify")
    until(client, second, ended)


def test_a_job_is_stopped_by_whoever_has_its_id(client: Client, shapes_zip: Path) -> None:
    job = client.predict(handle_file(shapes_zip), epochs=500, image_size=64, api_name="/finetune")
    until(client, job, lambda now: any(event["event"] == "epoch" for event in now["events"]) or ended(now))
    client.predict(job, True, api_name="/job")
    now, archive = until(client, job, ended)
    assert now["state"] == "stopped"
    assert archive and now["metrics"]


def test_a_job_that_fails_says_why(client: Client, shapes_zip: Path) -> None:
    job = client.predict(handle_file(shapes_zip), base="no such base", api_name="/finetune")
    now, archive = until(client, job, ended)
    assert now["state"] == "failed" and archive is None
    assert now["error"].startswith("There is no model 'no such base'")


def test_too_many_jobs_are_refused(client: Client, shapes_zip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui.jobs, "MAX_WAITING", 0)
    with pytest.raises(AppError, match="jobs are waiting already"):
        client.predict(handle_file(shapes_zip), api_name="/finetune")


def test_a_caller_has_two_jobs_at_a_time(client: Client, url: str, shapes_zip: Path) -> None:
    """Whatever sessions it names: it is known by its address. Epochs without end are no way around the limit either."""
    settings = {"base": "flowers", "epochs": 10_000, "image_size": 64}
    other = Client(url, verbose=False)
    jobs = [one.predict(handle_file(shapes_zip), api_name="/finetune", **settings) for one in (client, other)]
    for one in (client, other):
        with pytest.raises(AppError, match="2 of your jobs run or wait already"):
            one.predict(handle_file(shapes_zip), api_name="/finetune", **settings)
    for job in jobs:
        client.predict(job, True, api_name="/job")
    for job in jobs:
        until(client, job, ended)
    other.close()


def test_more_classes_than_can_be_learnt_are_refused_before_a_job_waits(
    client: Client, shapes_zip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui.run_part, "MAX_CLASSES", 3)
    with pytest.raises(AppError, match="holds 4 classes and the page learns 3 at most"):
        client.predict(handle_file(shapes_zip), api_name="/finetune")


# -- MCP ---------------------------------------------------------------------------------------------------------------


def test_the_same_jobs_are_tools(url: str, photos: list[Path], flowers: Classifier) -> None:
    picture = "data:image/jpeg;base64," + base64.b64encode(photos[0].read_bytes()).decode()

    async def visit() -> None:
        async with (
            streamablehttp_client(f"{url}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = {one.name: one for one in (await session.list_tools()).tools}
            assert {f"/{name}" for name in tools} == NAMES
            for tool in tools.values():
                assert tool.description
                for name, one in tool.inputSchema["properties"].items():
                    assert one.get("description"), f"{tool.name}: {name} is not explained"
            (best,) = flowers.predict(photos[:1], 1)[0].predictions
            for name, words in (("classify", {"photo": picture}), ("classify_batch", {"files": [picture]})):
                answer = await session.call_tool(name, {**words, "top_k": 1})
                assert not answer.isError
                assert best.label in answer.content[0].text and repr(best.probability) in answer.content[0].text
            refused = await session.call_tool("classify", {"photo": picture, "top_k": 0})
            assert refused.isError and "whole number from 1 to 1000" in refused.content[0].text
            path = await session.call_tool("classify", {"photo": str(photos[0])})
            assert path.isError

    with ThreadPoolExecutor(1) as thread:  # this one's event loop may be a browser's
        thread.submit(asyncio.run, visit()).result(PATIENCE_S)


def test_without_the_package_the_option_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert app.main(["--mcp"]) == 2
    assert capsys.readouterr().err == '--mcp needs a package that is not installed: pip install "gradio[mcp]".\n'
