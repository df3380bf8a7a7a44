"""What programs give: only what Gradio took as an upload is a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnet.errors import Refusal
from ui.given import upload

#: What marks a value as a file; anybody can write it.
MARK = {"_type": "gradio.FileData"}


def test_a_file_is_one_that_lies_among_the_uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradio looks as well; here it is held without it."""
    folder = tmp_path / "uploads"
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    (folder / "hash").mkdir(parents=True)
    mine, secret = folder / "hash" / "photo.jpg", tmp_path / "secret.jpg"
    for path in (mine, secret):
        path.write_bytes(b"x")
    (folder / "hash" / "link.jpg").symlink_to(secret)
    assert upload("photo", {"path": str(mine), "meta": MARK}) == mine.resolve()
    for path in (
        secret,
        folder / "hash" / "link.jpg",
        folder / "hash" / ".." / ".." / "secret.jpg",
        folder,
        "/etc/passwd",
    ):
        with pytest.raises(Refusal) as refused:
            upload("photo", {"path": str(path), "meta": MARK})
        assert refused.value.code == "api.file"
    for value in (str(mine), {"path": str(mine)}, {"path": str(mine), "meta": {"_type": "file"}}, None, [str(mine)]):
        with pytest.raises(Refusal):
            upload("photo", value)
