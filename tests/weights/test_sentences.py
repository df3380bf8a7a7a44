"""Every refusal of `resnet` and `weights`, read from the source: one sentence, one shape a code, no gap in it."""

from __future__ import annotations

import ast
import re
import string
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for package in ("resnet", "weights") for path in (ROOT / package).glob("*.py"))


@dataclass(frozen=True)
class Call:
    """One place that refuses. `facts` is None where not all of them stand in the call."""

    place: str
    code: str
    sentences: tuple[str, ...]
    facts: frozenset[str] | None

    @property
    def placeholders(self) -> set[str]:
        return {name for one in self.sentences for _, name, _, _ in string.Formatter().parse(one) if name is not None}


def _texts(node: ast.expr) -> list[str]:
    """All the texts that an expression can have: literals, their sums, and either side of a condition."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [left + right for left in _texts(node.left) for right in _texts(node.right)]
    if isinstance(node, ast.IfExp):
        return _texts(node.body) + _texts(node.orelse)
    raise AssertionError(f"line {node.lineno}: a sentence is a literal, so that it can be found and translated")


def _facts(keywords: list[ast.keyword]) -> frozenset[str] | None:
    names: set[str] = set()
    for keyword in keywords:
        if keyword.arg:
            names.add(keyword.arg)
        elif isinstance(keyword.value, ast.Dict):
            names |= {key.value for key in keyword.value.keys if isinstance(key, ast.Constant)}
            if None in keyword.value.keys:
                return None
        else:
            return None
    return frozenset(names)


def _calls() -> list[Call]:
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            if name == "Refusal":
                code, sentence = node.args[:2]
            elif name == "_refused" and len(node.args) == 3:  # of photos: the path first, which gives the name
                code, sentence = node.args[1:]
            else:
                continue
            if isinstance(code, ast.Name | ast.Attribute):
                continue  # what hands another's arguments on
            place = f"{path.relative_to(ROOT)}:{node.lineno}"
            facts = _facts(node.keywords)
            if name == "_refused" and facts is not None:
                facts |= {"name"}
            (code_text,) = _texts(code)
            found.append(Call(place, code_text, tuple(_texts(sentence)), facts))
    return found


CALLS = _calls()


def test_the_refusals_are_found() -> None:
    codes = {call.code for call in CALLS}
    assert len(codes) > 35
    assert {"weights.name", "hub.offline", "image.unknown", "model.base", "zip.broken"} <= codes


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.place)
def test_a_refusal_is_one_sentence_that_says_what_to_do(call: Call) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", call.code)
    for sentence in call.sentences:
        assert sentence.endswith(".")
        assert "  " not in sentence
        assert sentence.isprintable()
        assert sentence[0].isupper() or sentence[0] == "{"
        assert not re.search(r"\.\s+[A-Z]", sentence), "one sentence"


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.place)
def test_the_placeholders_of_a_refusal_are_filled(call: Call) -> None:
    for sentence in call.sentences:
        for _, name, _, _ in string.Formatter().parse(sentence):
            assert name is None or name.isidentifier(), "facts have names"
    if call.facts is not None:
        assert call.placeholders <= call.facts
        assert not {"code", "sentence", "self"} & call.facts


def test_one_code_has_one_sentence() -> None:
    """A translation is looked up by the code, and filled with the same facts."""
    shapes = defaultdict(set)
    for call in CALLS:
        shapes[call.code].add(call.sentences)
    assert {code: found for code, found in shapes.items() if len(found) > 1} == {}
