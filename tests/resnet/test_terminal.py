"""What is printed commands no terminal, whoever wrote it."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from resnet.__main__ import main
from resnet.errors import Refusal
from resnet.naming import escaped
from resnet.rows import harmless
from resnet.terminal import as_json, say
from train.__main__ import main as train_main

ROOT = Path(__file__).resolve().parents[2]
#: Clears a screen, sets a title, moves up, turns the rest of the line round, hides it; and half a character.
EVIL = "\x1b[2J\x1b]0;t\x07\r\x9b1A\u202e\u2028\u00ad\udc80"
RAW = set(EVIL) - set("[2J]0;t1A")


@pytest.mark.parametrize("text", ["花 🌼", "👨\u200d👩", "a\u3000b\u00a0c", "é.jpg", "a\\b", ""])
def test_what_can_be_shown_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert escaped(text) == harmless(text) == str(Refusal("x", "{name}", name=text)) == text
    assert json.loads(as_json({text: text})) == {text: text}
    say(text, f"{text}\n{text}")
    assert capsys.readouterr().out == f"{text}\n{text}\n{text}\n"


def test_what_can_not_is_named_by_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert escaped(EVIL) == r"\x1b[2J\x1b]0;t\x07\r\x9b1A\u202e\u2028\xad\udc80"
    assert str(Refusal("x", "{name} is {size}.", name=EVIL, size=3)) == f"{escaped(EVIL)} is 3."
    assert harmless(f"={EVIL}") == f"'={escaped(EVIL)}" and harmless(0.5) == 0.5
    line = as_json({"name": EVIL})
    assert json.loads(line) == {"name": EVIL} and not RAW & set(line)
    say(EVIL)
    assert capsys.readouterr().out == f"{escaped(EVIL)}\n"


def test_photos_with_such_names_have_one_line_each(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    name = f"a{EVIL}\n.jpg"
    (tmp_path / name).write_bytes(b"no image")
    code, plain, _ = command(main, "classify", str(tmp_path), "--csv", str(tmp_path / "table.csv"))
    assert code == 1 and len(plain.splitlines()) == 1 and not RAW & set(plain)
    _, lines, _ = command(main, "classify", str(tmp_path), "--json")
    assert json.loads(lines)["path"] == str(tmp_path / name) and not RAW & set(lines)
    table = (tmp_path / "table.csv").read_text("utf-8-sig")
    assert not (RAW - {"\r"}) & set(table) and len(table.splitlines()) == 2


def test_edits_with_such_names_are_refused_in_a_line(
    command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    edits = tmp_path / "edits.json"
    for number in range(4):
        folder = tmp_path / "data" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}\u202e.png").write_bytes((ROOT / "docs" / "page.png").read_bytes())
    for edit in ({"name": EVIL}, {"name": EVIL, "label": 3}, {"name": "x", "label": EVIL}):
        edits.write_text(json.dumps([edit]))
        code, out, err = command(train_main, str(tmp_path / "data"), "--edits", str(edits), "--out", "x", cwd=tmp_path)
        assert code == 2 and len(err.splitlines()) == 1 and not RAW & set(out + err)


def test_all_that_is_printed_goes_through_one_function() -> None:
    """But for what a saved folder prints by itself, which knows nothing of ours."""
    for package in ("resnet", "weights", "train"):
        for path in (ROOT / package).glob("*.py"):
            called = {
                node.func.id
                for node in ast.walk(ast.parse(path.read_text("utf-8")))
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            }
            assert "print" not in called or path.name in ("terminal.py", "predict.py"), path
