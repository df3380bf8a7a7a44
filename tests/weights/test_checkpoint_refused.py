"""Files that are dangerous, damaged or something else: each ends in a sentence, and runs nothing."""

from __future__ import annotations

import collections
import json
import os
import pickle
import random
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from weights.checkpoint import read_weights
from weights.load import load

ROOT = Path(__file__).resolve().parents[2]

# -- what must not be opened -------------------------------------------------------------------------------------------


class Touch:
    """Unpickling it runs a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(
    tmp_path: Path, state: Any, refused: Any, protocol: int
) -> None:
    marker, path = tmp_path / "marker", tmp_path / "evil.pth"
    attacks = [lambda: path.write_bytes(pickle.dumps({"conv1.weight": Touch(marker)}, protocol))]
    if protocol == 2:  # as `torch.save` writes
        attacks += [
            lambda: torch.save({**state, "x": Touch(marker)}, path),
            lambda: torch.save({"state_dict": state, "x": Touch(marker)}, path, _use_new_zipfile_serialization=False),
        ]
    for attack in attacks:
        attack()
        assert "evil.pth" in str(refused("weights.pickle", load, str(path)))
        assert not marker.exists()
    pickle.loads(pickle.dumps(Touch(marker), protocol))
    assert marker.exists(), "or the attack is none"


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_whole_pickled_network_is_refused(tmp_path: Path, network: Any, refused: Any, zipped: bool) -> None:
    torch.save(network, tmp_path / "whole.pth", _use_new_zipfile_serialization=zipped)
    refusal = refused("weights.pickle", load, str(tmp_path / "whole.pth"))
    assert "state_dict()" in str(refusal)


def test_a_torchscript_archive_is_refused(tmp_path: Path, refused: Any) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "script.pt"))
    refusal = refused("weights.torchscript", load, str(tmp_path / "script.pt"))
    assert "torch.jit.load(file).state_dict()" in str(refusal)


# -- what is damaged, or something else --------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ".bin"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        b"a text that somebody wrote\n" * 20,
        b"configuration\nof something\n" * 20,  # to a pickle, c is the instruction to import
        b"\x80\x02",
        b"PK\x03\x04 and no more",
        random.Random(0).randbytes(100_000),
        random.Random(1).randbytes(7),
        (2**40).to_bytes(8, "little") + b"{}",  # a safetensors header of a terabyte
    ],
    ids=lambda content: repr(content[:10]),
)
def test_a_file_that_is_no_checkpoint_is_said_to_be_damaged(
    tmp_path: Path, refused: Any, suffix: str, content: bytes
) -> None:
    (tmp_path / f"file{suffix}").write_bytes(content)
    refusal = refused("weights.broken", load, str(tmp_path / f"file{suffix}"))
    assert str(refusal).startswith(f"file{suffix} of {tmp_path.name} is damaged")


@pytest.mark.parametrize("layout", ["zip", "legacy", "safetensors"])
def test_a_file_that_is_cut_off_anywhere_is_said_to_be_damaged(
    tmp_path: Path, state: Any, refused: Any, layout: str
) -> None:
    path = tmp_path / ("whole.safetensors" if layout == "safetensors" else "whole.pth")
    small = {key: value[:1] if value.ndim else value for key, value in state.items()}
    small = {key: value.clone() for key, value in small.items()}
    if layout == "safetensors":
        save_file(small, path)
    else:
        torch.save(small, path, _use_new_zipfile_serialization=layout == "zip")
    whole = path.read_bytes()
    rng = random.Random(2)
    lengths = {0, 1, 2, 8, 9, 100, len(whole) // 2, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(60))}
    for length in lengths:
        path.write_bytes(whole[:length])
        refused("weights.broken", load, str(path))


def test_flipped_bytes_never_end_in_anything_but_a_sentence(tmp_path: Path, state: Any) -> None:
    """A lone file has no hash to be held against: most of its bytes are numbers, which nobody can miss."""
    from resnet.errors import Refusal

    rng = random.Random(3)
    small = {key: (value[:1] if value.ndim else value).clone() for key, value in state.items()}
    codes = collections.Counter()
    for layout in ("zip", "legacy", "safetensors"):
        path = tmp_path / ("a.safetensors" if layout == "safetensors" else "a.pth")
        if layout == "safetensors":
            save_file(small, path)
        else:
            torch.save(small, path, _use_new_zipfile_serialization=layout == "zip")
        whole = bytearray(path.read_bytes())
        for _ in range(300):
            damaged = bytearray(whole)
            for _ in range(rng.choice((1, 1, 8, 64))):
                damaged[rng.randrange(min(len(damaged), 20_000))] = rng.randrange(256)
            path.write_bytes(damaged)
            with pytest.raises(Refusal) as caught:  # without damage it would be refused too: its tensors are slices
                load(str(path))
            codes[caught.value.code] += 1
    assert codes["weights.broken"] > 100, codes


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), None, {}, 5, {"epoch": 3}, {"model": {"a": 1}}, "text"])
def test_a_file_without_a_state_dict_says_so(tmp_path: Path, refused: Any, content: Any) -> None:
    torch.save(content, tmp_path / "a.pth")
    refused("weights.no_state", load, str(tmp_path / "a.pth"))


@pytest.mark.parametrize("name", ["vgg11", "densenet121", "mobilenet_v3_small", "vit_b_16"])
def test_other_networks_are_said_to_be_no_resnet(tmp_path: Path, refused: Any, name: str) -> None:
    with torch.device("meta"):
        shapes = torchvision.models.get_model(name, num_classes=2).state_dict()
    state = {key: torch.zeros(min(value.numel(), 2)) for key, value in shapes.items()}
    torch.save(state, tmp_path / f"{name}.pth")
    refusal = refused("weights.not_resnet", load, str(tmp_path / f"{name}.pth"))
    assert next(iter(state)) in str(refusal)


def test_resnets_of_other_kinds_are_refused_by_their_keys(tmp_path: Path, refused: Any) -> None:
    for name, key in (("seresnet50", "layer1.0.se.fc1.weight"), ("resnet50d", "conv1.0.weight")):
        with torch.device("meta"):
            shapes = timm.create_model(name, pretrained=False).state_dict()
        torch.save({k: torch.zeros(()).expand(v.shape) for k, v in shapes.items()}, tmp_path / f"{name}.pth")
        with pytest.raises(Exception, match=key) as caught:
            load(str(tmp_path / f"{name}.pth"))
        assert getattr(caught.value, "code", "").startswith("weights.")


@pytest.mark.parametrize(
    ("key", "tensor", "code"),
    [
        ("fc.weight", torch.zeros(1, dtype=torch.half).expand(10**7, 10**6), "weights.not_resnet"),  # 20 TB as fp16
        ("layer4.0.conv2.weight", torch.zeros(1, dtype=torch.half).expand(10**7, 10**6), "weights.misfit"),
        ("layer1.0.conv2.weight", torch.zeros(1).expand(10**9, 1, 3, 3), "weights.misfit"),
        ("fc.weight", torch.zeros(5, 512, dtype=torch.long), "weights.misfit"),
        ("fc.weight", torch.zeros(5, 512, dtype=torch.complex64), "weights.misfit"),
        ("fc.weight", torch.zeros(5, 512).to_sparse(), "weights.no_state"),
        ("fc.weight", torch.empty(5, 512, device="meta"), "weights.no_state"),
        ("fc.weight", torch.tensor(5.0), "weights.not_resnet"),
        ("fc.weight", torch.zeros(0, 512), "weights.misfit"),
        ("fc.bias", torch.zeros(6), "weights.misfit"),
        ("layer1.0.conv1.weight", torch.tensor(1.0), "weights.misfit"),
        ("layer1.0.conv2.weight", torch.zeros(0, 64, 3, 3), "weights.misfit"),
        ("conv1.weight", torch.zeros(64, 1, 7, 7), "weights.not_resnet"),
        ("layer1." + "9" * 5000 + ".conv1.weight", torch.zeros(1), "weights.misfit"),
        ("embedder.embedder." + "9" * 5000, torch.zeros(1), "weights.misfit"),
        ("\x1b[2J" * 1000, torch.zeros(1), "weights.misfit"),
        ("fc.bias", torch.full((5,), torch.nan), "weights.no_number"),
        ("bn1.running_var", torch.ones(64).index_fill(0, torch.tensor(3), torch.inf), "weights.no_number"),
        ("fc.weight", torch.full((5, 512), -torch.inf, dtype=torch.half), "weights.no_number"),
        ("bn1.weight", torch.full((64,), 1e300, dtype=torch.double), "weights.no_number"),
    ],
    ids=range(20),
)
def test_hostile_tensors_and_keys_end_in_a_sentence(
    tmp_path: Path, state: Any, refused: Any, key: str, tensor: Tensor, code: str
) -> None:
    torch.save({**state, key: tensor}, tmp_path / "a.pth")
    assert (tmp_path / "a.pth").stat().st_size < 25e6
    refused(code, load, str(tmp_path / "a.pth"))


@pytest.fixture
def as_nobody() -> Iterator[Callable[[], None]]:
    """A function that takes root's rights away until the test ends."""
    user = os.geteuid()
    yield lambda: os.seteuid(65534) if user == 0 else None
    os.seteuid(user)


def test_files_that_may_not_be_read_are_said_to_be_so(state: Any, refused: Any, as_nobody: Callable[[], None]) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others altogether
        folder = Path(name)
        folder.chmod(0o755)
        torch.save(state, folder / "a.pth")
        for closed in ("config", "folder", "weights"):
            (folder / closed).mkdir()
            (folder / closed / "config.json").write_text(json.dumps({"architecture": "resnet18", "num_classes": 5}))
            save_file(state, folder / closed / "model.safetensors")
        for path in ("a.pth", "config/config.json", "folder", "weights/model.safetensors"):
            (folder / path).chmod(0o000)
        try:
            as_nobody()
            for path in ("a.pth", "config", "weights"):
                refused("weights.unreadable", load, str(folder / path))
            refused("weights.unreadable", load, str(folder / "folder"))
            refused("weights.name", load, str(folder / "folder" / "config.json"))
        finally:
            os.seteuid(os.getuid())
            (folder / "folder").chmod(0o755)


# -- what would fill the memory ----------------------------------------------------------------------------------------


class Roomy:
    """Unpickling it calls one of the functions that torch lets a pickle call, with a size."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, (5_000_000_000,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("function", [bytearray, torch.FloatTensor, torch.UntypedStorage], ids=str)
def test_a_pickle_that_asks_for_memory_gets_none(tmp_path: Path, refused: Any, function: Any, zipped: bool) -> None:
    path = tmp_path / "small.bin"
    torch.save({"conv1.weight": Roomy(function)}, path, _use_new_zipfile_serialization=zipped)
    assert path.stat().st_size < 3_000
    refused("weights.pickle", read_weights, path, "tester/small")


def test_a_file_that_unpacks_to_more_than_it_is_is_refused(tmp_path: Path, state: Any, refused: Any) -> None:
    """torch reads what it stored as what zip packed."""
    torch.save({key: torch.zeros_like(value) for key, value in state.items()}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.namelist():
            packed.writestr(entry, plain.read(entry))
    read_weights(tmp_path / "plain.pth", "plain")
    refused("weights.unpickle", read_weights, tmp_path / "packed.pth", "packed")


def test_views_of_fewer_numbers_than_they_show_are_refused(tmp_path: Path, state: Any, refused: Any) -> None:
    one, shared = torch.zeros(()), torch.zeros(max(value.numel() for value in state.values()))
    for name, hostile in (
        ("strides", {key: one.expand(value.shape) for key, value in state.items()}),
        ("shared", {key: shared[: value.numel()].view(value.shape) for key, value in state.items()}),
    ):
        torch.save(hostile, tmp_path / f"{name}.pth")
        refused("weights.views", load, str(tmp_path / f"{name}.pth"))


def test_a_process_of_its_own_reads_the_same_and_refuses_the_same(tmp_path: Path, state: Any, refused: Any) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"state_dict": state}, path)
    apart, here = read_weights(path, "tester/pets", apart=True).state, read_weights(path, "tester/pets").state
    assert apart.keys() == here.keys()
    assert all(torch.equal(apart[key], here[key]) for key in here)
    torch.save({"conv1.weight": Roomy(bytearray)}, path)
    refusal = refused("weights.pickle", read_weights, path, "tester/pets", apart=True)
    assert str(refusal) == str(refused("weights.pickle", read_weights, path, "tester/pets"))


def test_a_process_of_its_own_takes_no_more_memory_than_its_file_needs(tmp_path: Path, refused: Any) -> None:
    """Whatever else torch may come to allow: here it reads what this one would not."""
    path = tmp_path / "small.bin"
    torch.save({"conv1.weight": Roomy(bytearray)}, path)
    allowing = "import weights.unpickle as u; u.makes_room = lambda path: False; u.main(['small.bin', 'x', 'out'])"
    done = subprocess.run(
        [sys.executable, "-c", allowing], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert json.loads(done.stdout)[0] == "weights.memory", done.stderr
