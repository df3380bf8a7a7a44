"""One input, given to a reader; and the inputs that were something else than an answer or a refusal once."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

from resnet.errors import Refusal
from tests.fuzz.targets import Target

CORPUS = Path(__file__).with_name("corpus")


def failure(target: Target, data: bytes) -> BaseException | None:
    """What a reader raises on these bytes, other than a refusal."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"given{target.suffix}"
        path.write_bytes(data)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                target.read(path)
        except Refusal as refusal:
            str(refusal).encode()  # half a character can't be shown to anybody
        except BaseException as error:
            return error
    return None
