"""A saved folder -> a model repository on the Hugging Face Hub: all of it in one commit, or nothing.

The token is the caller's or the one that is signed in on this machine; it is handed to the Hub's client and to nobody
else, and stands in no file, no log and no refusal.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, get_session, get_token
from huggingface_hub.errors import HfHubHTTPError
from safetensors.torch import load_file, save

from resnet.errors import Refusal
from weights import checkpoint as saved
from weights.checkpoint import CONFIG, PREDICT, SAFETENSORS, Checkpoint
from weights.hub import HTTP_ERROR, Hub, causes, is_timeout
from weights.layouts import shorten

CARD = "README.md"
#: What a saved folder may hold; whatever else lies in it is nobody's business.
FILES = (CONFIG, saved.CLASS_INDICES, PREDICT.name, CARD, "metrics.json", "model.onnx")
#: How a card loads its model while it lies in a folder: what `on_the_hub` replaces.
LOCAL_NOTE = "`DIR` is the folder that this file is in. "
LOCAL_CLASSIFY = "--model DIR"
LOCAL_TIMM = '"local-dir:DIR", pretrained=True).eval()  # or "hf-hub:OWNER/NAME"'
#: Seconds without a sign of the Hub after which it is given up.
SILENCE_S = 60.0
REPO = re.compile(r"(?!.*(?:--|\.\.))(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9](?:[\w.-]{0,94}\w)?", re.ASCII)
TOKEN = re.compile(r"[!-~]{1,500}")


@dataclass(frozen=True)
class Published:
    """A model on the Hub.

    Args:
        repo: ``OWNER/NAME``.
        url: of its page.
        commit: the one that holds it.
        private: whether its owner alone may read it.
    """

    repo: str
    url: str
    commit: str
    private: bool

    @property
    def loaders(self) -> tuple[str, str]:
        """The lines that load it: with timm in Python, and with this project in a terminal."""
        return (
            f'timm.create_model("hf-hub:{self.repo}", pretrained=True)',
            f"python -m resnet classify PHOTO --model {self.repo}",
        )


def publish(
    folder: Path, name: str, *, public: bool = False, token: str | None = None, endpoint: str | None = None,
    shown: str | None = None,
) -> Published:  # fmt: skip
    """Push a saved folder to a new repository.

    Args:
        folder: as `weights.checkpoint.write_folder` and the trainer leave it.
        name: ``OWNER/NAME``, or ``NAME`` in the account of the token.
        public: whether everybody may read it.
        token: with the right to write; by default the one in ``HF_TOKEN`` or of ``hf auth login``.
        endpoint: the Hub's address; ``HF_ENDPOINT`` or huggingface.co by default.
        shown: what to call the folder in a refusal; its name by default.

    Raises:
        Refusal: if it is no saved model, there is no token or the Hub doesn't accept it, the name can't be or is taken,
            the account may not write there, or the connection is lost. A repository that was begun is removed then.
    """
    name = _checked(name)
    files, checkpoint = _files(folder, shown)
    token = token or get_token()
    hub = Hub(endpoint=endpoint, token=token or False)
    facts = {"host": hub.host, "repo": name, "owner": name.split("/")[0]}
    if not token:
        raise Refusal(
            "publish.no_token", "Publishing needs a token of {host} with the right to write; set HF_TOKEN or sign in "
            "with `hf auth login`.", **facts,
        )  # fmt: skip
    if not TOKEN.fullmatch(token):  # it could not even be sent
        raise _token_refused(facts)
    get_session().timeout = SILENCE_S  # the client itself would wait forever
    api = HfApi(endpoint=hub.endpoint, token=token)
    with _sentences(hub, facts):
        account = api.whoami()
    repo = name if "/" in name else f"{account['name']}/{name}"
    facts |= {"repo": repo, "owner": repo.split("/")[0]}
    if (account.get("auth") or {}).get("accessToken", {}).get("role") == "read":
        raise Refusal(
            "publish.read_only", "The token for {host} may only read; make one with the right to write at "
            "{host}/settings/tokens.", **facts,
        )  # fmt: skip
    card = on_the_hub(files.pop(CARD, b""), repo, checkpoint)
    with _sentences(hub, facts):
        api.create_repo(repo, private=not public)
    with _removed_unless_done(api, repo, facts), _sentences(hub, facts):
        operations = [CommitOperationAdd(path, content) for path, content in {**files, CARD: card}.items()]
        done = api.create_commit(repo, operations, commit_message="The model with its card")
    return Published(repo, f"{hub.endpoint.rstrip('/')}/{repo}", str(done.oid), not public)


def _checked(name: str) -> str:
    """A name that a repository can have.

    Raises:
        Refusal: if it can't.
    """
    name = name.strip()
    if not REPO.fullmatch(name) or name.endswith(".git"):
        raise Refusal(
            "publish.name", "{name} is not the name of a repository: write OWNER/NAME with letters, digits, '-', '_' "
            "and '.'.",
            name=shorten(repr(name), 120),
        )  # fmt: skip
    return name


def _files(folder: Path, shown: str | None) -> tuple[dict[str, str | bytes], Checkpoint]:
    """Path in the repository -> path or bytes, of a folder whose weights were all read and fit its config.

    Raises:
        Refusal: if it is no saved model.
    """
    if not folder.is_dir():
        raise Refusal(
            "publish.no_folder", "There is no folder {name}; name one that `python -m train` has written.",
            name=shown or str(folder),
        )  # fmt: skip
    checkpoint = saved.read_folder(folder, shown)
    present = {file.name for file in folder.iterdir() if file.is_file()}
    name = checkpoint.source.name
    parts = saved.weight_files(present, name, lambda file: saved.read_json(folder / file, name))
    if "resnet_demo" not in checkpoint.raw_config or parts == [saved.BIN]:
        raise Refusal(
            "publish.not_ours", "{name} is a model, but not a folder that this project saved; push it with "
            "`hf upload`, or fine-tune it here first.", name=name,
        )  # fmt: skip
    files: dict[str, str | bytes] = {file: str(folder / file) for file in FILES if file in present}
    if checkpoint.label_names and PREDICT.name not in files:
        files[PREDICT.name] = str(PREDICT)
    if saved.INDEX in present and SAFETENSORS not in present:  # timm reads no shards
        whole = {key: value for part in parts for key, value in load_file(folder / part).items()}
        files[SAFETENSORS] = save(whole, {"format": "pt"})
    else:
        files[SAFETENSORS] = str(folder / SAFETENSORS)
    return files, checkpoint


def on_the_hub(card: str | bytes, repo: str, checkpoint: Checkpoint) -> bytes:
    """A card that loads the model from the Hub, with the metadata that the Hub goes by even if it had none.

    Args:
        card: the path of a README.md, or the text itself.
        repo: ``OWNER/NAME``.
        checkpoint: whose card it is.

    Raises:
        Refusal: if its metadata can't be read.
    """
    least = {"library_name": "timm", "pipeline_tag": "image-classification", "license": checkpoint.license}
    try:
        text = (Path(card).read_bytes() if isinstance(card, str) else card).decode("utf-8", errors="replace")
        for local, there in (
            (LOCAL_NOTE, ""),
            (LOCAL_CLASSIFY, f"--model {repo}"),
            (LOCAL_TIMM, f'"hf-hub:{repo}", pretrained=True).eval()'),
        ):
            text = text.replace(local, there)
        if not text.startswith("---"):
            text = f"---\n{{}}\n---\n\n{text or _title(repo, checkpoint)}"
        found = ModelCard(text, ignore_metadata_errors=True)  # what it knows nothing of is the Hub's to judge
        missing = {key: value for key, value in least.items() if value and not found.data.get(key)}
        for key, value in missing.items():
            setattr(found.data, key, value)
    except Exception:  # a parser given a broken text raises whatever it likes
        raise _odd_card() from None
    return (str(found) if missing else text).encode()


def _odd_card() -> Refusal:
    return Refusal(
        "publish.card", "The metadata of README.md can't be understood; mend what stands between its two lines of "
        "dashes.",
    )  # fmt: skip


def _title(repo: str, checkpoint: Checkpoint) -> str:
    return f"# {repo.split('/')[1]}\n\n{checkpoint.architecture}, {len(checkpoint.label_names)} classes.\n"


# -- what can go wrong -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _removed_unless_done(api: HfApi, repo: str, facts: dict[str, str]) -> Iterator[None]:
    """Remove a repository that was just created, unless what is done within succeeds.

    Raises:
        Refusal: if it can't be removed; what made it necessary otherwise.
    """
    try:
        yield
    except BaseException as error:
        for pause in (0.0, 1.0, 3.0):  # the connection that failed may be back
            time.sleep(pause)
            try:
                api.delete_repo(repo, missing_ok=True)
                break
            except Exception:
                continue
        else:
            if isinstance(error, Exception):
                raise Refusal(
                    "publish.left", "Publishing did not go through, and {repo} could not be removed again; delete it "
                    "on {host} and try once more.", **facts,
                ) from None  # fmt: skip
        raise


@contextlib.contextmanager
def _sentences(hub: Hub, facts: dict[str, str]) -> Iterator[None]:
    """Turn whatever the client raises while it writes into one sentence with what to do next."""
    try:
        yield
    except Exception as error:
        for cause in causes(error):
            if isinstance(cause, HfHubHTTPError):
                raise _refused(hub, cause, facts) from None
        if is_timeout(error):
            raise hub.timed_out(SILENCE_S, facts) from None
        if isinstance(error, ValueError) and CARD in str(error):
            raise _odd_card() from None
        if any(isinstance(cause, (HTTP_ERROR, OSError)) for cause in causes(error)):
            raise Refusal(
                "publish.lost", "The connection to {host} was lost before {repo} was complete, so nothing of it was "
                "published; try again.", **facts,
            ) from None  # fmt: skip
        raise


def _refused(hub: Hub, error: HfHubHTTPError, facts: dict[str, str]) -> Refusal:
    status = error.response.status_code
    if status == 401:
        return _token_refused(facts)
    if status == 403:
        return Refusal(
            "publish.forbidden", "This token may not write to {owner} on {host}; publish in your own account, or ask "
            "for the right.", **facts,
        )  # fmt: skip
    if status == 409:
        return Refusal("publish.taken", "There is a model {repo} on {host} already; choose another name.", **facts)
    return hub.refused(error, facts)


def _token_refused(facts: dict[str, str]) -> Refusal:
    return Refusal(
        "publish.token", "{host} does not accept this token: it is wrong or has expired; make a new one at "
        "{host}/settings/tokens.", **facts,
    )  # fmt: skip
