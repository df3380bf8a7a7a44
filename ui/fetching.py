"""What programs name by an address instead of uploading it: fetched as Gradio fetches, and never more than an upload.

Gradio's own function reads all of an answer into memory, however large, and waits for as long as it takes. It fetches
the lone files of an event before our code sees them, so ours stands in the place of its own.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import gradio as gr
import httpx
import safehttpx
from gradio import processing_utils
from gradio_client.utils import strip_invalid_filename_characters, synchronize_async

from resnet.errors import Refusal
from train.unpack import disk_refusal

#: The largest file that the page takes, uploaded or fetched, in megabytes; and seconds that fetching one may take.
MAX_MB, FETCH_S = 500, 60.0
REDIRECTS = 20


def fetch(address: str, folder: str) -> str:
    """As `fetch_async`, for a thread without an event loop."""
    return str(synchronize_async(fetch_async, address, folder))


async def fetch_async(address: str, folder: str) -> str:
    """Fetch what lies at an address into a folder, under the hash of the address; never from a private network.

    Raises:
        Refusal: if it is larger than an upload may be, takes too long, or the disk is full.
        Exception: of many kinds, if there is nothing to be had.
    """
    host = urlsplit(address).hostname or ""
    target = Path(folder) / processing_utils.hash_url(address) / _file_name(address)
    if target.exists():
        return str(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        async with asyncio.timeout(FETCH_S):
            await _download(address, target)
    except TimeoutError:
        raise Refusal(
            "api.slow", "{host} did not give the whole file within {seconds:.0f} seconds; upload the file instead.",
            host=host, seconds=FETCH_S,
        ) from None  # fmt: skip
    except OSError as error:
        raise disk_refusal(error, target.name) from None
    return str(target)


def too_large(host: str) -> Refusal:
    """Of a file that would not be taken as an upload either."""
    return Refusal(
        "api.large", "The file at {host} is larger than {limit} MB, which is the most that the page takes; bring a "
        "smaller one.",
        host=host, limit=MAX_MB,
    )  # fmt: skip


def _file_name(address: str) -> str:
    name = Path(urlsplit(address).path.rstrip("/")).name
    return strip_invalid_filename_characters(name) or "file"


async def _download(address: str, target: Path) -> None:
    """Write what lies at an address; each address on the way there is looked at, as Gradio does."""
    for _ in range(REDIRECTS + 1):
        async with (
            httpx.AsyncClient(transport=await _transport(address), timeout=FETCH_S) as client,
            client.stream("GET", address, headers={"Accept-Encoding": "identity"}) as answer,
        ):
            if not answer.has_redirect_location:
                answer.raise_for_status()
                await _write(answer, target)
                return
            address = urljoin(str(answer.url), answer.headers["Location"])
    raise ValueError("too many redirects")


async def _transport(address: str) -> Any:
    """One that only speaks with the address that was looked up and found to be public."""
    host = httpx.URL(address).host
    if processing_utils.async_transport:
        return processing_utils.async_transport
    if not host:
        raise ValueError("an address without a host")
    if safehttpx.matches_domain_whitelist(host, processing_utils.PUBLIC_HOSTNAME_WHITELIST):
        return None
    return safehttpx.AsyncSecureTransport(await safehttpx.async_validate_url(host))


async def _write(answer: httpx.Response, target: Path) -> None:
    """Piece by piece, and under its name only when it is whole."""
    limit, size, host = MAX_MB * 1024**2, 0, answer.url.host
    announced = answer.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large(host)
    descriptor, unfinished = tempfile.mkstemp(dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            async for piece in answer.aiter_bytes():
                size += len(piece)
                if size > limit:
                    raise too_large(host)
                file.write(piece)
        Path(unfinished).replace(target)
    finally:
        Path(unfinished).unlink(missing_ok=True)


async def _for_gradio(url: str, cache_dir: str) -> str:
    """In the place of `processing_utils.async_ssrf_protected_download`; a refusal is one for Gradio, too."""
    try:
        return await fetch_async(url, cache_dir)
    except Refusal as refusal:
        raise gr.Error(str(refusal), print_exception=False) from None


processing_utils.async_ssrf_protected_download = _for_gradio
