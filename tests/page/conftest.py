"""The real page, served by `app.py` and by the tests' own process, and Chromium to visit it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Error, Page, Request, expect, sync_playwright

from tests import local_models
from tests.hub.local_hub import LocalHub
from tests.pictures import FLOWERS, THINGS
from tests.waiting import PATIENCE_MS, PATIENCE_S, until
from ui.models import Models
from ui.page import build, launch_options

ROOT = Path(__file__).resolve().parents[2]
#: Opens the repository `tester/private` on the local Hub; in the environment of the page, which must not use it.
TOKEN = "hf_of_the_owner"
LONG = "Pseudopseudohypoparathyroidism" * 6
PETS = (
    "cat",
    "dog",
    "hamster",
    "canary",
    "goldfish",
    "rabbit",
    "tortoise",
    "parrot",
    "ferret",
    "gecko",
    "pony",
    "mouse",
)
HOSTILE = ('<img src=x onerror="alert(1)">', "<script>alert(2)</script>", '=cmd|"/C calc"!A0', LONG, "{name} {0}")
FAULTY = ("gated", "norepo", "norevision", "expired", "error", "ratelimit", "drop", "truncate", "flip", "timeout")
#: A page that is left loses its open streams, and Gradio's client says so; on any other page that is wrong.
QUIET_ONCE_LEFT = """addEventListener('pagehide', () => {
  console.error = () => {};
  addEventListener('unhandledrejection', (event) => event.preventDefault());
});"""
#: A request that the page's own script ended, as Gradio's client does with its open streams, or that was under way when
#: the page was left; said late at times. Where a connection really fails, what a test waits for does not come.
ENDED = re.compile(
    r"AbortError: signal is aborted|AbortError: BodyStreamBuffer was aborted|The user aborted a request|"
    r"Unexpected error Connection errored out"
)
#: After so long without an answer from the Hub the page says so; long enough for a Hub that shares two busy cores.
SILENCE_S = 12
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NO_CHROMIUM = (
    "Chromium is absent, so the page is not tested: `apt install chromium` or `.venv/bin/playwright install chromium`, "
    "or name one in CHROMIUM."
)
BROWSER_ARGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


# -- the Hub -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Hub with models of timm, of transformers, hostile, private and faulty ones."""
    root = tmp_path_factory.mktemp("hub")
    local_models.write_timm(root / "timm/resnet18.a1_in1k")
    local_models.write_transformers(root / "tester/pets", PETS)
    local_models.write_transformers(root / "tester/hostile", HOSTILE)
    local_models.write_config(root / "tester/bert", {"model_type": "bert", "architectures": ["BertModel"]})
    for name in ("private", "slow", "slower", "of-two", *FAULTY):
        (root / "tester" / name).symlink_to(root / "tester/pets")
    local_models.write_base(root / "imagenet/base")
    with LocalHub(root, token=TOKEN) as served:
        served.private.add("tester/private")
        for kind in FAULTY:
            served.fault(kind, f"tester/{kind}")
        yield served


# -- the servers -------------------------------------------------------------------------------------------------------


@dataclass
class Site:
    """A page that is being served, and its raw API; all that it writes is in its folder."""

    url: str
    pid: int = 0
    log: Path | None = None
    folder: Path = Path("/nowhere")
    held: float = 0.0
    _config: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        if not self._config:
            self._config = json.loads(self.get("/config")[1])
        return self._config

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a GET."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")

    def post(self, path: str, body: bytes, content_type: str = "application/json") -> tuple[int, str]:
        """Status and body of a POST."""
        request = urllib.request.Request(self.url + path, body, {"Content-Type": content_type})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")

    def upload(self, data: bytes, name: str = "photo.jpg") -> str:
        """Upload as a browser does; the path that Gradio gave it."""
        boundary = uuid.uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
        body = head + data + f"\r\n--{boundary}--\r\n".encode()
        status, text = self.post("/gradio_api/upload", body, f"multipart/form-data; boundary={boundary}")
        assert status == 200, text
        return str(json.loads(text)[0])

    def component(self, elem_id: str) -> int:
        return next(int(one["id"]) for one in self.config["components"] if one["props"].get("elem_id") == elem_id)

    def function(self, name: str) -> dict[str, Any]:
        return next(one for one in self.config["dependencies"] if one["api_name"] == name)

    def call(
        self, name: str, data: list[Any], session: str, event_data: Any = None, trigger: int | None = None
    ) -> tuple[list[Any] | None, str]:
        """Call a function of the page as its JavaScript does: the last outputs (None if it failed), and all answers."""
        body = {
            "data": data, "event_data": event_data, "fn_index": self.function(name)["id"], "session_hash": session,
            "trigger_id": trigger,
        }  # fmt: skip
        status, text = self.post("/gradio_api/queue/join", json.dumps(body).encode())
        if status != 200:
            return None, text
        outputs, seen = None, []
        with urllib.request.urlopen(
            f"{self.url}/gradio_api/queue/data?session_hash={session}", timeout=PATIENCE_S
        ) as stream:
            for line in stream:
                if not line.startswith(b"data:"):
                    continue
                seen.append(line.decode())
                message = json.loads(line[5:])
                if message["msg"] == "process_completed":
                    outputs = message["output"].get("data") if message["success"] else None
                if message["msg"] in ("process_completed", "close_stream", "unexpected_error"):
                    break
        return outputs, "".join(seen)

    def visit(self, model: str = "flowers") -> str:
        """A session of the raw API in which that model is ready."""
        session = uuid.uuid4().hex[:11]
        outputs, text = self.call("load", [model, 5, None], session)
        assert outputs, text
        return session

    def forget_peak(self) -> None:
        """What it held until now is no longer counted, and what it holds is what it may grow from."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        self.held = self.peak_megabytes()

    def peak_megabytes(self) -> float:
        """The most memory that the server held since."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def app_environment(folder: Path, **more: str) -> dict[str, str]:
    """What `app.py` is started with: its own caches, and no proxy between it and the local Hub."""
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return kept | {
        "HF_HOME": str(folder / "hf"),
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_ETAG_TIMEOUT": str(SILENCE_S),
        "PYTHONUNBUFFERED": "1",
        **more,
    }


@contextmanager
def started(hub: Any, folder: Path, *options: str, port: int = 0, **more: str) -> Iterator[Site]:
    """`python app.py`, as a person starts it, with the local Hub as its Hub, a token and more in its environment."""
    environment = app_environment(folder, **{"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, **more})
    with serving(["app.py", *options], environment, folder / "log.txt", port) as served:
        served.folder = folder
        yield served


@contextmanager
def serving(command: Sequence[str], environment: dict[str, str], log: Path, port: int = 0) -> Iterator[Site]:
    """A page that another Python serves: `python COMMAND... --port PORT`, with what it prints in a log."""
    port = port or free_port()
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *command, "--port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    served = Site(f"http://127.0.0.1:{port}", process.pid, log)
    try:
        wait_for(served, process)
        yield served
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        with suppress(ProcessLookupError):  # a worker that it forked may outlive it
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def site(hub: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The page that nearly all tests share."""
    with started(hub, tmp_path_factory.mktemp("app")) as served:
        yield served


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Site]]:
    """A function: (models, model chosen at first) -> a page of its own, served by this process."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    pages = []

    def start(models: Models, default_model: str = "flowers") -> Site:
        page = build(default_model, models)
        pages.append(page)
        _, url, _ = page.launch(
            server_name="127.0.0.1", server_port=free_port(), prevent_thread_lock=True, quiet=True, **launch_options()
        )
        return Site(url.rstrip("/"), os.getpid())

    yield start
    for page in pages:
        page.close(verbose=False)


def wait_for(served: Site, process: subprocess.Popen[Any]) -> None:
    """Until the page answers, or its process has ended."""

    def answers() -> bool:
        try:
            return served.get("/")[0] == 200
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, served.log.read_text() if served.log else ""
            return False

    until(answers, "the page did not start")


# -- the browser -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium; while it is open, Playwright occupies the event loop of this thread."""
    with sync_playwright() as playwright:
        path = chromium(playwright.chromium.executable_path)
        if path is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(NO_CHROMIUM)
        expect.set_options(timeout=PATIENCE_MS)
        opened = playwright.chromium.launch(executable_path=path, args=[*BROWSER_ARGS], timeout=PATIENCE_MS)
        yield opened
        opened.close()


def chromium(own: str) -> str | None:
    """Where Chromium is: as CHROMIUM says, on the PATH, or where Playwright would install its `own`."""
    if named := os.environ.get("CHROMIUM"):
        return named
    found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    return found or (own if Path(own).is_file() else None)


@dataclass
class Windows:
    """Windows of the browser that visitors have left, each with storage and cookies of its own; a new visitor gets one
    that knows the page's scripts already and nothing else."""

    browser: Browser
    left: dict[str, list[Page]] = field(default_factory=dict)

    def open(self, **options: Any) -> Page:
        """A window as a person's with these options of a browser's context."""
        if kept := self.left.get(str(options)):
            page = kept.pop()
            page.set_viewport_size(options["viewport"])
            return page
        context = self.browser.new_context(**options)
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(QUIET_ONCE_LEFT)
        return context.new_page()

    def leave(self, page: Page, **options: Any) -> None:
        """Whoever was there has left, and nothing of them stays."""
        origin = "/".join(page.url.split("/")[:3])
        try:
            for other in page.context.pages:
                if other is not page:
                    other.close()
            page.goto("about:blank")
            session = page.context.new_cdp_session(page)
            session.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
            session.detach()
            page.context.clear_cookies()
            page.context.clear_permissions()
            self.left.setdefault(str(options), []).append(page)
        except Error:  # a window that has crashed, or was closed
            page.context.close()


@pytest.fixture(scope="session")
def windows(browser: Browser) -> Windows:
    return Windows(browser)


@pytest.fixture
def visit(windows: Windows, site: Site, serve: Callable[..., Site]) -> Iterator[Callable[..., Page]]:
    """A function: (locale, width, color_scheme, url …) -> the page, opened by a new visitor, its model ready.

    Whatever a test does there, no script of a stranger may run, nothing may fail in the page's own scripts, and no
    request may leave this machine. `serve` is asked for so that the visitors leave before its pages close.
    """
    opened: list[tuple[Page, dict[str, Any]]] = []
    wrong: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and not ENDED.search(message.text):
            wrong.append(f"console: {message.text} {message.location}")

    def failed(error: Error) -> None:
        wrong.append(f"script: {error}")

    def asked(dialog: Dialog) -> None:
        wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def requested(request: Request) -> None:
        if "//" in request.url:
            hosts.add(urlsplit(request.url).hostname or "")

    listeners: dict[Any, Any] = {"console": note, "pageerror": failed, "dialog": asked, "request": requested}

    def open_page(
        locale: str = "en-US",
        width: int = 1280,
        color_scheme: str = "light",
        url: str = site.url,
        ready: bool = True,
        **options: Any,
    ) -> Page:
        options |= {"locale": locale, "viewport": {"width": width, "height": 900}, "color_scheme": color_scheme}
        page = windows.open(**options)
        opened.append((page, options))
        for event, listener in listeners.items():
            page.on(event, listener)
        page.goto(url)
        if ready:
            page.wait_for_selector("#facts .facts b")
        return page

    hosts: set[str] = set()
    yield open_page
    for page, options in opened:
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
        windows.leave(page, **options)
    assert not wrong
    assert hosts <= {"127.0.0.1", ""}


# -- photos ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Named:
    """A photo and what `python -m resnet classify` says of it, in JSON and in its table."""

    path: Path
    predictions: list[dict[str, Any]]
    row: dict[str, str]

    @property
    def verdict(self) -> str:
        return self.row["verdict"]

    @property
    def bars(self) -> list[str]:
        """What the page must show, to the last digit."""
        return [f"{one['label']}\n{100 * one['probability']:.1f} %" for one in self.predictions]


@pytest.fixture(scope="session")
def named(tmp_path_factory: pytest.TempPathFactory) -> list[Named]:
    """Flowers of each class and some things that are none, as the terminal names them."""
    folder = tmp_path_factory.mktemp("photos")
    for photo in FLOWERS + THINGS:
        shutil.copyfile(photo, folder / f"{photo.parent.name}_{photo.name}")
    table = folder.with_suffix(".csv")
    done = subprocess.run(
        [sys.executable, "-m", "resnet", "classify", "--json", "--csv", str(table), str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"))))
    return [
        Named(Path(line["path"]), line["predictions"], row)
        for line, row in zip(lines, rows, strict=True)
        if line["path"] == row["path"]
    ]


@pytest.fixture(scope="session")
def rose(named: list[Named]) -> Named:
    """A photo of which the network is sure."""
    return next(one for one in named if one.verdict == "clear" and "roses" in one.path.name)


# -- what tests do on the page -----------------------------------------------------------------------------------------


def choose_model(page: Page, name: str) -> None:
    """Type a model's name; on Tab the page takes it as it is, on Enter the first line of the list that contains it.

    What the page shows then begins with it (a line of the list) or is it. A page that is still opening may put back
    what stood there between the two keys; a person sees that and types again, and so do we.
    """
    field = page.locator("#model input")
    for _ in range(3):
        open_list(page, "model")
        field.fill(name)
        field.press("Tab")
        if field.input_value().startswith(name):
            return
    raise AssertionError(f"{name} was typed three times, and the page shows {field.input_value()!r}")


def open_list(page: Page, field: str) -> None:
    """Click on a field and see its list, as a person does."""
    page.locator(f"#{field} input").click()
    expect(page.get_by_role("option").first).to_be_visible()


def choose_photo(page: Page, path: Path) -> None:
    page.set_input_files("#photo input[type=file]", path)


def bars(page: Page) -> list[str]:
    """Name and percentage of each bar, once there are some."""
    page.wait_for_selector("#answer .bars")
    return page.locator("#answer .bars button").all_inner_texts()
