"""What `spaces` asks for GPUs, answered on loopback: loans, quotas and queues."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


def visitor_token(name: str) -> str:
    """A token as the Hub's proxy would put it into the visitor's requests: its middle part is JSON."""
    middle = base64.urlsafe_b64encode(json.dumps({"user": name}).encode()).decode().rstrip("=")
    return f"header.{middle}.signature"


@dataclass
class Loan:
    """One request for a GPU.

    Args:
        seconds: asked for.
        token: of whom.
        granted: whether it was lent.
        pid: of the process that took it.
        ended: ``"released"``, or ``"failed"`` where its worker has died.
    """

    seconds: int
    token: str | None
    granted: bool
    pid: int = 0
    ended: str = ""


@dataclass
class DeviceApi:
    """Lends as many GPUs as it is told to.

    Args:
        grants: loans that are still granted.
        most_s: a longer loan is refused.
        queued: whether a GPU comes after a while in a queue, as a stream of events.
        idle: whether workers are kept for the next loan.
        refuses: ``"quota"``, ``"busy"`` or ``"expired"``, what is said where nothing is granted any more.
    """

    grants: int = 10**6
    most_s: int = 120
    queued: bool = False
    idle: bool = True
    refuses: str = "quota"
    loans: list[Loan] = field(default_factory=list)
    reports: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                url = urlsplit(self.path)
                asked = {key: values[0] for key, values in parse_qs(url.query).items()}
                status, headers, body = api.answer(url.path, asked)
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                kind = "text/event-stream" if isinstance(body, bytes) else "application/json"
                for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def granted(self) -> list[Loan]:
        with self.lock:
            return [loan for loan in self.loans if loan.granted]

    def answer(self, path: str, asked: dict[str, str]) -> tuple[int, dict[str, str], Any]:
        """Status, headers and body; a body of bytes is a stream of events."""
        with self.lock:
            if path == "/startup-report":
                self.reports += 1
                return 200, {}, {}
            if path == "/schedule":
                return self._schedule(int(asked["durationSeconds"]), asked.get("token"))
            loan = self.loans[int(asked["allowToken"])]
            if path == "/allow":
                loan.pid = int(asked["pid"])
                return 200, {}, {}
            assert path == "/release", path
            if loan.ended:
                return 404, {}, {}
            loan.ended = "failed" if asked["fail"] == "true" else "released"
            return 200, {}, {}

    def _schedule(self, seconds: int, token: str | None) -> tuple[int, dict[str, str], Any]:
        granted = seconds <= self.most_s and self.grants > 0
        self.loans.append(Loan(seconds, token, granted))
        if granted:
            self.grants -= 1
            response = {"idle": self.idle, "nvidiaIndex": 0, "nvidiaUUID": "", "allowToken": str(len(self.loans) - 1)}
            if self.queued:
                text = f"event: succeeded\ndata: {json.dumps(response)}\n\n"
                return 200, {"X-Queuing-Reason": "node"}, text.encode()
            return 200, {}, response
        if seconds > self.most_s:
            return 429, {"X-Approve-Result": "illegal-duration"}, {"left": 0, "wait": -1}
        if self.refuses == "quota":
            return 429, {"X-Approve-Result": "quota-exceeded"}, {"left": 7, "wait": 3600}
        return {"busy": 503, "expired": 401}[self.refuses], {}, {}
