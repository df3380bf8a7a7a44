"""Gradio's inputs with some changes. Each derives from Gradio's class itself, since it uses that one's front end."""

from __future__ import annotations

from abc import ABCMeta
from typing import Any

import gradio as gr
from gradio.component_meta import ComponentMeta

from ui.given import uploaded


class _NoStub(ComponentMeta):
    """Gradio writes a stub file beside the source of each new component class; a page leaves its own code alone."""

    def __new__(cls, name: str, bases: tuple[type, ...], attributes: dict[str, Any]) -> Any:
        return ABCMeta.__new__(cls, name, bases, attributes)


class PhotoInput(gr.Image, metaclass=_NoStub):
    """An image component that hands over the uploaded file as it is, so that `open_image` alone decides about it."""

    is_template = True  # the same front end as gr.Image

    def preprocess(self, payload: Any) -> str | None:
        """The path of the upload; nothing is decoded here."""
        return _upload(payload.path) if payload is not None else None


class FileInput(gr.File, metaclass=_NoStub):
    """A file component that hands over paths, of uploads only."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """The path of the upload, or a list of them where several may be chosen."""
        if payload is None:
            return None
        files = [_upload(one.path) for one in (payload.root if hasattr(payload, "root") else [payload])]
        return files if self.file_count != "single" else files[0]


def _upload(path: object) -> str:
    """Gradio looks where a file lies only if it is marked as one, and what stands in a photo's field need not be."""
    found = uploaded(path) if isinstance(path, str) else None
    if found is None:
        raise gr.Error("This is no uploaded file; choose it again.", print_exception=False)
    return str(found)


class CountInput(gr.Slider, metaclass=_NoStub):
    """A slider beside whose number field a visitor may type what is beyond an end: it is taken for that end."""

    is_template = True

    def preprocess(self, payload: float) -> float:
        return super().preprocess(max(self.minimum, min(self.maximum, payload)))


class AsTyped(gr.Slider, metaclass=_NoStub):
    """A slider whose number reaches us as it was typed, so that we can say what its range is."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        return payload


class AsChosen(gr.Dropdown, metaclass=_NoStub):
    """A list whose choice reaches us as it came, so that we can say what there is no such thing of."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        return payload


class AsPicked(gr.Radio, metaclass=_NoStub):
    """The same, where all choices are shown."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        return payload
