"""How many photos a page names while so many visitors ask at once: ``python -m bench.visitors PHOTO... --visitors 32``.

Each visitor has a session and an address of its own (127.0.0.2 and so on), uploads a photo once and asks for its names
again as soon as they are there, as the page does. Printed are photos a second, the median and the 95th percentile of
the seconds that each waited, what failed, and what the page's memory grew by.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

ROOT = Path(__file__).resolve().parent.parent


class Visitor:
    """A session of the page, reached from an address of its own."""

    def __init__(self, url: str, number: int) -> None:
        self.host, self.port = urlsplit(url).hostname or "", urlsplit(url).port
        self.source, self.session = f"127.0.0.{2 + number % 250}", uuid.uuid4().hex[:11]
        self.config = json.loads(self._ask("GET", "/config"))

    def _ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> str:
        connection = http.client.HTTPConnection(self.host, self.port, 120, source_address=(self.source, 0))
        try:
            connection.request(method, path, body, {"Content-Type": kind})
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status != 200:
                raise RuntimeError(f"{answer.status}: {text[:200]}")
            return text
        finally:
            connection.close()

    def upload(self, photo: Path) -> dict[str, Any]:
        """The photo as the page refers to it."""
        edge = uuid.uuid4().hex
        head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{photo.name}"\r\n\r\n'
        body = head.encode() + photo.read_bytes() + f"\r\n--{edge}--\r\n".encode()
        path = json.loads(self._ask("POST", "/gradio_api/upload", body, f"multipart/form-data; boundary={edge}"))[0]
        return {"path": path, "meta": {"_type": "gradio.FileData"}}

    def call(self, name: str, data: list[Any]) -> list[Any]:
        """What a function of the page answers.

        Raises:
            RuntimeError: if it fails.
        """
        number = next(one["id"] for one in self.config["dependencies"] if one["api_name"] == name)
        body = {"data": data, "fn_index": number, "session_hash": self.session, "trigger_id": None, "event_data": None}
        self._ask("POST", "/gradio_api/queue/join", json.dumps(body).encode())
        lines = self._ask("GET", f"/gradio_api/queue/data?session_hash={self.session}").splitlines()
        for message in (json.loads(line[5:]) for line in lines if line.startswith("data:")):
            if message["msg"] == "process_completed" and message["success"]:
                return list(message["output"]["data"])
        raise RuntimeError(f"no answer in {lines[-3:]}")


def megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.visitors", description=__doc__)
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    parser.add_argument("--visitors", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--port", type=int, default=7871)
    args = parser.parse_args()
    url = f"http://127.0.0.1:{args.port}"
    page = subprocess.Popen([sys.executable, "app.py", "--port", str(args.port)], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while True:
            try:
                Visitor(url, 0)
                break
            except OSError:
                time.sleep(0.2)
        waits: list[float] = []
        failed: list[str] = []
        visitors = [Visitor(url, number) for number in range(args.visitors)]
        photos = [one.upload(args.photos[number % len(args.photos)]) for number, one in enumerate(visitors)]
        for one in visitors:
            one.call("load", ["flowers", 5, None])
        before, end = megabytes(page.pid), time.perf_counter() + args.seconds

        def visit(one: Visitor, photo: dict[str, Any]) -> None:
            while time.perf_counter() < end:
                started = time.perf_counter()
                try:
                    if "<ol" not in one.call("show", [photo, None, 5, None])[0]:
                        failed.append("no names")
                    waits.append(time.perf_counter() - started)
                except Exception as error:
                    failed.append(str(error))

        threads = [threading.Thread(target=visit, args=pair) for pair in zip(visitors, photos, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        p50, p95 = np.percentile(waits, [50, 95])
        print(
            f"{args.visitors} visitors, {args.seconds:.0f} s: {len(waits) / args.seconds:.1f} photos a second, median "
            f"{p50:.2f} s, 95th percentile {p95:.2f} s, {len(failed)} failed{f' ({failed[0]})' if failed else ''}; "
            f"memory {before:.0f} -> {megabytes(page.pid):.0f} MB"
        )
    finally:
        page.terminate()
        page.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
