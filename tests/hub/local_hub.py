#!/usr/bin/env python3
"""A Hugging Face Hub on loopback, for tests: the real `huggingface_hub` client talks to it through HF_ENDPOINT.

Serves folders `ROOT/OWNER/NAME` as model repositories and `ROOT/datasets/OWNER/NAME` as dataset repositories, takes
uploads into a folder of its own (ROOT is never written), and can be told to fail. Standard library only.

From a shell:   python tests/hub/local_hub.py ROOT --port 8999 [--token hf_test] &   HF_ENDPOINT=http://127.0.0.1:8999
From a test:    with LocalHub(root) as hub: Hub(hub.url, cache, token); hub.fault("flip", times=1); hub.log
By HTTP:        POST /_fault {"kind": "flip", "repo": "a/b", "times": 1}   DELETE /_fault   GET /_log

`huggingface_hub` reads HF_ENDPOINT when it is imported: set it before, or pass `endpoint=` to its functions.

Faults (`repo` None: any; `times` None: until cleared; each applies to the requests named):
  norepo, gated, norevision    any request of the repository: the Hub's own status and X-Error-Code
  expired                      any request: 401, the token is not valid
  error, ratelimit             any request: 500; 429 with Retry-After
  timeout                      any request: no answer, until `release` or the end
  drop                         a file's body ends in the middle, the connection with it
  truncate                     a file is announced and sent at half its size, under its true hash
  flip                         a file's body has one byte changed
  held                         a large file's body stops behind the middle until `release`; `holding` is set then
  forbidden                    any write: 403, no right to write here
  taken                        creating a repository: 409
  lost                         a commit: the connection ends before the answer, nothing is stored
  stuck                        removing a repository: 500
"""

from __future__ import annotations

import argparse
import base64
import functools
import hashlib
import json
import re
import shutil
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

#: Files from here on are announced as LFS objects, with their sha256.
LARGE = 1 << 20
CHUNK = 1 << 16


@dataclass
class Fault:
    """What goes wrong, for which repository, and how many times more."""

    kind: str
    repo: str | None = None
    times: int | None = None
    released: threading.Event = field(default_factory=threading.Event)


@functools.cache
def _sha256(path: Path, modified: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256(path: Path) -> str:
    """Read once for each version of a file."""
    stat = path.stat()
    return _sha256(path, stat.st_mtime_ns, stat.st_size)


def git_oid(path: Path) -> str:
    """The hash that git gives a file."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class LocalHub:
    """A Hub at `url`, from the start of a ``with`` block to its end.

    Args:
        root: the folder that it serves.
        port: 0 for a free one.
        token: the only one that is valid; None for any.
        user: whose account the token opens.
        role: what the token may do: ``write``, ``read``, or ``sign-in``, of an app that was not given more.

    Its `log` has the (method, path) of each request, `private` the repositories that only the token opens, and
    `written` is the folder that uploads go to.
    """

    def __init__(
        self,
        root: str | Path,
        port: int = 0,
        token: str | None = None,
        user: str = "tester",
        role: Literal["write", "read", "sign-in"] = "write",
    ) -> None:
        self.root, self.token, self.user, self.role = Path(root), token, user, role
        self.written = Path(tempfile.mkdtemp(prefix="local-hub-"))
        self.objects: dict[str, bytes] = {}
        self.private: set[str] = set()
        self.log: list[tuple[str, str]] = []
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self.holding = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def fault(self, kind: str, repo: str | None = None, times: int | None = None) -> None:
        """Fail in that way from now on."""
        with self.lock:
            self.faults.append(Fault(kind, repo, times))

    def release(self) -> None:
        """Whoever waits for a held body or an answer gets it, or hears that there is none; no body is held any more.

        One that is asked for already and has not come to its middle is not held either: nobody would let it go.
        """
        with self.lock:
            self.holding.clear()
            for fault in self.faults:
                fault.released.set()
            self.faults = [fault for fault in self.faults if fault.kind != "held"]
            for fault in self.faults:
                fault.released = threading.Event()

    def clear(self) -> None:
        """No faults, an empty log, and nobody waits."""
        self.release()
        with self.lock:
            self.faults.clear()
            self.log.clear()

    def take(self, kinds: tuple[str, ...], repo: str | None) -> Fault | None:
        """The first fault of these kinds for that repository, counted as used."""
        with self.lock:
            for fault in self.faults:
                if fault.kind in kinds and fault.repo in (None, repo) and fault.times != 0:
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None

    def files(self, kind: str, repo: str) -> dict[str, Path] | None:
        """Path in the repository -> file on disk; None where there is no such repository."""
        if ".." in repo.split("/"):
            return None
        below = Path("datasets") / repo if kind == "datasets" else Path(repo)
        found, exists = {}, False
        for base in (self.root / below, self.written / below):
            if base.is_dir():
                exists = True
                found.update({str(path.relative_to(base)): path for path in sorted(base.rglob("*")) if path.is_file()})
        return found if exists else None

    def commit_of(self, files: Mapping[str, Path]) -> str:
        """A hash of all files, which stands for a commit."""
        lines = (f"{name}:{sha256(path)}\n" for name, path in sorted(files.items()))
        return hashlib.sha1("".join(lines).encode()).hexdigest()

    def __enter__(self) -> LocalHub:
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        self.server.shutdown()
        self.server.server_close()
        shutil.rmtree(self.written, ignore_errors=True)


class Handler(BaseHTTPRequestHandler):
    """One connection; each action below answers one kind of request, as `ROUTES` says."""

    hub: LocalHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes; the second would wait 40 ms

    def log_message(self, *_: object) -> None:
        pass

    # -- answers -------------------------------------------------------------------------------------------------------

    def answer(self, status: int, body: object = None, headers: Mapping[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body if body is not None else {}).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, status: int, code: str | None, message: str) -> None:
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self.answer(status, {"error": message}, headers)

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()

    # -- the way in ----------------------------------------------------------------------------------------------------

    def route(self) -> None:
        self.body = self._body()
        url = urlsplit(self.path)
        path, self.query = unquote(url.path), parse_qs(url.query)
        if path == "/_fault":
            if self.command == "DELETE":
                self.hub.clear()
            else:
                self.hub.fault(**json.loads(self.body))
            return self.answer(200)
        if path == "/_log":
            return self.answer(200, self.hub.log)
        self.hub.log.append((self.command, self.path))
        for pattern, action in ROUTES:
            if match := re.fullmatch(pattern, path):
                found = match.groupdict()
                if not self.general_fault(found):
                    getattr(self, action)(**found)
                return None
        return self.refuse(404, None, f"no such address: {path}")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = route

    def _body(self) -> bytes:
        if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def general_fault(self, found: Mapping[str, str | None]) -> bool:
        """Whether the request was answered with what any of them can end in."""
        hub, repo = self.hub, found.get("repo")
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if (token and hub.token and token != hub.token) or hub.take(("expired",), repo):
            self.refuse(401, None, "Invalid credentials in Authorization header")
        elif silent := hub.take(("timeout",), repo):
            silent.released.wait()
            self.hang_up()
        elif hub.take(("error",), repo):
            self.refuse(500, None, "Internal Error - We're working hard to fix this as soon as possible!")
        elif hub.take(("ratelimit",), repo):
            self.answer(429, {"error": "Too many requests"}, {"Retry-After": "1"})
        elif repo and hub.take(("gated",), repo):
            self.refuse(403 if token else 401, "GatedRepo", f"Access to model {repo} is restricted.")
        elif repo and (hub.take(("norepo",), repo) or (repo in hub.private and token != hub.token)):
            self.refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        elif repo and hub.take(("norevision",), repo):
            self.refuse(404, "RevisionNotFound", "Invalid rev id")
        else:
            return False
        return True

    def repository(self, kind: str | None, repo: str, revision: str | None) -> tuple[dict[str, Path], str] | None:
        """Files and commit; None where the Hub's own refusal was the answer."""
        files = self.hub.files(kind or "models", repo)
        if files is None:
            self.refuse(404 if self.headers.get("Authorization") else 401, "RepoNotFound", "Repository not found")
            return None
        commit = self.hub.commit_of(files)
        if revision not in (None, "main", commit, commit[:7]):
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return files, commit

    # -- reading -------------------------------------------------------------------------------------------------------

    def info(self, kind: str, repo: str, revision: str | None = None) -> None:
        if found := self.repository(kind, repo, revision):
            files, commit = found
            blobs = "blobs" in self.query
            siblings = [
                {"rfilename": name, **(self.entry(name, path) if blobs else {})} for name, path in files.items()
            ]
            self.answer(
                200,
                {
                    "_id": commit[:24], "id": repo, "modelId": repo, "sha": commit, "tags": [], "downloads": 0,
                    "private": repo in self.hub.private, "gated": False, "siblings": siblings,
                },
            )  # fmt: skip

    def entry(self, name: str, path: Path) -> dict[str, object]:
        size, oid = path.stat().st_size, git_oid(path)
        found: dict[str, object] = {"type": "file", "path": name, "size": size, "oid": oid, "blobId": oid}
        if size >= LARGE:
            found["lfs"] = {"oid": sha256(path), "sha256": sha256(path), "size": size, "pointerSize": 134}
        return found

    def tree(self, kind: str, repo: str, revision: str, below: str | None = None) -> None:
        if found := self.repository(kind, repo, revision):
            self.answer(
                200, [self.entry(name, path) for name, path in found[0].items() if name.startswith(below or "")]
            )

    def paths_info(self, kind: str, repo: str, revision: str) -> None:
        if found := self.repository(kind, repo, revision):
            try:
                wanted = json.loads(self.body)["paths"]
            except ValueError:
                wanted = parse_qs(self.body.decode())["paths"]
            self.answer(200, [self.entry(name, found[0][name]) for name in wanted if name in found[0]])

    def resolve(self, repo: str, revision: str, name: str, kind: str | None = None) -> None:
        found = self.repository(kind, repo, revision)
        if not found:
            return None
        files, commit = found
        if name not in files:
            code = {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found", "X-Repo-Commit": commit}
            return self.answer(404, {"error": "Entry not found"}, code)
        path = files[name]
        size = path.stat().st_size
        etag = sha256(path) if size >= LARGE else git_oid(path)
        kinds = ("drop", "truncate", "flip", *(["held"] if size >= LARGE else []))
        fault = self.hub.take(kinds, repo) if self.command == "GET" else None
        kind_of_fault = fault.kind if fault else ""
        released = fault.released if fault else None
        start, end = 0, size // 2 if kind_of_fault == "truncate" else size
        if ranged := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            start, end = int(ranged[1]), min(end, int(ranged[2]) + 1 if ranged[2] else end)
        if start > end or (ranged and start == size):
            return self.answer(416, {"error": "range"}, {"Content-Range": f"bytes */{size}"})
        self.send_response(206 if ranged else 200)
        headers = {
            "ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes", "Content-Length": str(end - start),
            "Content-Type": "application/octet-stream", "X-Linked-Size": str(size),
            **({"X-Linked-Etag": f'"{etag}"'} if size >= LARGE else {}),
            **({"Content-Range": f"bytes {start}-{end - 1}/{size}"} if ranged else {}),
        }  # fmt: skip
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()
        return None if self.command == "HEAD" else self._send(path, start, end, kind_of_fault, released)

    def _send(self, path: Path, start: int, end: int, fault: str, released: threading.Event | None) -> None:
        """The bytes of a file, with what goes wrong in their middle, or so far behind it that a client tells of it."""
        middle = start + (3 * (end - start) // 5 if fault == "held" else (end - start) // 2)
        with path.open("rb") as file:
            file.seek(start)
            at = start
            while at < end:
                chunk = file.read(min(CHUNK, end - at))
                if at <= middle < at + len(chunk):
                    before = middle - at
                    if fault == "flip":
                        chunk = chunk[:before] + bytes([chunk[before] ^ 1]) + chunk[before + 1 :]
                    elif fault == "drop":
                        self.wfile.write(chunk[:before])
                        return self.hang_up()
                    elif fault == "held":
                        self.wfile.write(chunk[:before])
                        chunk, at = chunk[before:], at + before
                        self.hub.holding.set()
                        assert released is not None
                        released.wait()
                self.wfile.write(chunk)
                at += len(chunk)
        return None

    # -- accounts and writing ------------------------------------------------------------------------------------------

    def whoami(self) -> None:
        if not self.headers.get("Authorization"):
            return self.refuse(401, None, "Invalid username or password.")
        token = {
            "write": {"type": "access_token", "accessToken": {"role": "write"}},
            "read": {"type": "access_token", "accessToken": {"role": "read"}},
            "sign-in": {"type": "oauth"},
        }[self.hub.role]
        user = self.hub.user
        return self.answer(200, {"type": "user", "name": user, "fullname": user, "orgs": [], "auth": token})

    def may_write(self, repo: str) -> bool:
        if not self.headers.get("Authorization"):
            self.refuse(401, None, "Invalid username or password.")
        elif repo.split("/")[0] != self.hub.user or self.hub.take(("forbidden",), repo):
            self.refuse(403, None, "You don't have the rights to create or change a model under this namespace")
        else:
            return True
        return False

    def asked_repository(self) -> tuple[dict[str, Any], str]:
        """What a request about a repository says, and which one that is."""
        asked = json.loads(self.body)
        return asked, f"{asked.get('organization') or self.hub.user}/{asked['name'].split('/')[-1]}"

    def folder_of(self, kind: str, repo: str) -> Path:
        return self.hub.written / ("datasets" if kind == "datasets" else "") / repo

    def create(self) -> None:
        if self.hub.role == "sign-in":
            return self.refuse(401, None, "Your token has not the scope to create repositories")
        asked, repo = self.asked_repository()
        kind = f"{asked.get('type') or 'model'}s"
        if not self.may_write(repo):
            return None
        url = f"{self.hub.url}/{'datasets/' if kind == 'datasets' else ''}{repo}"
        if self.hub.files(kind, repo) is not None or self.hub.take(("taken",), repo):
            return self.answer(409, {"error": "You already created this model repo", "url": url})
        if asked.get("private") or asked.get("visibility") == "private":
            self.hub.private.add(repo)
        folder = self.folder_of(kind, repo)
        folder.mkdir(parents=True)
        (folder / ".gitattributes").write_text("*.safetensors filter=lfs diff=lfs merge=lfs -text\n")
        return self.answer(200, {"url": url, "name": repo, "id": repo})

    def remove(self) -> None:
        asked, repo = self.asked_repository()
        if not self.may_write(repo):
            return None
        if self.hub.take(("stuck",), repo):
            return self.refuse(500, None, "Internal Error")
        shutil.rmtree(self.folder_of(f"{asked.get('type') or 'model'}s", repo))
        self.hub.private.discard(repo)
        return self.answer(200)

    def validate_yaml(self) -> None:
        self.answer(200, {"errors": [], "warnings": []})

    def preupload(self, kind: str, repo: str, revision: str) -> None:
        if self.may_write(repo) and self.repository(kind, repo, revision):
            modes = {True: "lfs", False: "regular"}
            files = [
                {
                    "path": file["path"],
                    "shouldIgnore": False,
                    "oid": None,
                    "uploadMode": modes[file["size"] >= LARGE],
                }
                for file in json.loads(self.body)["files"]
            ]
            self.answer(200, {"files": files})

    def lfs_batch(self, repo: str, kind: str | None = None) -> None:
        if self.may_write(repo):
            objects = [
                {
                    **asked,
                    "authenticated": True,
                    "actions": {"upload": {"href": f"{self.hub.url}/_lfs/{asked['oid']}", "header": {}}},
                }
                for asked in json.loads(self.body)["objects"]
            ]
            self.answer(200, {"transfer": "basic", "objects": objects})

    def lfs_put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self.refuse(400, None, "the object does not have the announced hash")
        self.hub.objects[oid] = self.body
        return self.answer(200)

    def commit(self, kind: str, repo: str, revision: str) -> None:
        if not self.may_write(repo) or not self.repository(kind, repo, revision):
            return None
        if self.hub.take(("lost",), repo):
            return self.hang_up()
        changes: dict[str, bytes | None] = {}
        for line in self.body.splitlines():
            if not line.strip():
                continue
            change = json.loads(line)
            value = change["value"]
            if change["key"] == "file":
                changes[value["path"]] = base64.b64decode(value["content"])
            elif change["key"] == "lfsFile":
                if value["oid"] not in self.hub.objects:
                    return self.refuse(400, None, f"LFS object {value['oid']} was not uploaded")
                changes[value["path"]] = self.hub.objects[value["oid"]]
            elif change["key"] == "deletedFile":
                changes[value["path"]] = None
        folder = self.folder_of(kind, repo)
        for name, data in changes.items():
            target = folder / name
            if data is None:
                target.unlink(missing_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
        oid = self.hub.commit_of(self.hub.files(kind, repo) or {})
        url = f"{self.hub.url}/{repo}/commit/{oid}"
        facts = {"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": "", "pullRequestUrl": None}
        return self.answer(200, facts)

    def xet(self, **_: str) -> None:
        self.refuse(404, None, "no Xet storage here: uploads go the LFS way (HF_HUB_DISABLE_XET=1)")


KIND, REPO, REV = r"(?P<kind>models|datasets)", r"(?P<repo>[^/]+/[^/]+)", r"(?P<revision>[^/]+)"
#: Patterns of paths and the action of `Handler` that answers each.
ROUTES = [
    (r"/api/whoami-v2", "whoami"),
    (r"/api/repos/create", "create"),
    (r"/api/repos/delete", "remove"),
    (r"/api/validate-yaml", "validate_yaml"),
    (rf"/api/{KIND}/{REPO}/revision/{REV}", "info"),
    (rf"/api/{KIND}/{REPO}/tree/{REV}(?:/(?P<below>.+))?", "tree"),
    (rf"/api/{KIND}/{REPO}/paths-info/{REV}", "paths_info"),
    (rf"/api/{KIND}/{REPO}/preupload/{REV}", "preupload"),
    (rf"/api/{KIND}/{REPO}/commit/{REV}", "commit"),
    (rf"/api/{KIND}/{REPO}/xet-(?:read|write)-token/{REV}", "xet"),
    (rf"/api/{KIND}/{REPO}", "info"),
    (r"/(?P<kind>datasets)/(?P<repo>[^/]+/[^/.]+)\.git/info/lfs/objects/batch", "lfs_batch"),
    (r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "lfs_batch"),
    (r"/_lfs/(?P<oid>[0-9a-f]{64})", "lfs_put"),
    (rf"/(?P<kind>datasets)/{REPO}/resolve/{REV}/(?P<name>.+)", "resolve"),
    (rf"/{REPO}/resolve/{REV}/(?P<name>.+)", "resolve"),
]


def main() -> None:
    """Serve a folder until it is stopped."""
    parser = argparse.ArgumentParser(description="A Hugging Face Hub on loopback, for tests.")
    parser.add_argument("root", help="folder of OWNER/NAME folders")
    parser.add_argument("--port", type=int, default=8999)
    parser.add_argument("--token", help="the only token that is valid (default: any)")
    parser.add_argument("--user", default="tester", help="the account that the token belongs to")
    args = parser.parse_args()
    with LocalHub(args.root, args.port, args.token, args.user) as hub:
        print(f"{hub.url} serves {args.root}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
