"""One kind of refusal for the whole house: a sentence for a person, and the facts in it for a translator."""

from __future__ import annotations

from pathlib import PurePath

from resnet.naming import escaped


class Refusal(Exception):
    """What was asked can't be done, said in one sentence that a visitor can act on.

    Args:
        code: a stable name of the kind of refusal, e.g. ``"image.truncated"``; the page looks up its translation.
        sentence: the English sentence, with ``{name}`` for each of `facts`.
        facts: what the sentence is about: file names, repositories, sizes. Texts are kept as they can be shown: a
            stranger's name is no command to a terminal.
    """

    def __init__(self, code: str, sentence: str, **facts: object) -> None:
        self.code = code
        facts = {name: escaped(fact) if isinstance(fact, str) else fact for name, fact in facts.items()}
        self.facts = facts
        self._sentence = sentence
        super().__init__(sentence.format(**facts))

    def without_folders(self) -> Refusal:
        """The same for somebody at another machine: of a path on this one its last part."""
        facts = {name: _last_part(fact) if isinstance(fact, str) else fact for name, fact in self.facts.items()}
        return self if facts == self.facts else Refusal(self.code, self._sentence, **facts)

    def kept(self) -> Refusal:
        """Itself, to be kept: without the calls that it came through, which hold the photos that they were about."""
        self.__traceback__ = self.__context__ = self.__cause__ = None
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """So that it can come from another process: exceptions are made again from their arguments, without names."""
        return _again, (self.code, self._sentence, self.facts)


def _last_part(fact: str) -> str:
    return (PurePath(fact).name or fact) if PurePath(fact).is_absolute() else fact


def _again(code: str, sentence: str, facts: dict[str, object]) -> Refusal:
    return Refusal(code, sentence, **facts)
