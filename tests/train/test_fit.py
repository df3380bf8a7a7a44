"""The training loop: what learns, what stays, what is the same again, and what happens when something goes wrong."""

from __future__ import annotations

import itertools
import math
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from resnet.errors import Refusal
from resnet.network import ResNet
from tests.disks import mounted
from tests.train import killed
from tests.waiting import PATIENCE_S
from train.ends import Ends
from train.events import Advanced, Baseline, BatchHalved, Epoch, Event, Finished, Fitted, Started, Step
from train.job import Job
from train.methods import METHODS
from train.optimizer import learns_until
from train.reading import BATCH
from train.run import run
from train.split import split
from train.state import STATE, read_state, write_state
from weights.checkpoint import Checkpoint, read_folder

ROOT = Path(__file__).resolve().parents[2]


def of_kind(events: list[Event], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def weights(events: list[Event]) -> Mapping[str, Tensor]:
    (fitted,) = of_kind(events, Fitted)
    return fitted.state_dict  # type: ignore[no-any-return]


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("method", [one for one in METHODS if one != "head"])
def test_what_learns_changes_and_nothing_else(method: str, make_job: Callable[..., Job], tiny: Checkpoint) -> None:
    events = list(run(make_job(method, epochs=1, image_size=64)))
    learnt = weights(events)
    free = {"last-stage": ("layer4", "fc")}.get(method)
    for key, value in tiny.state_dict.items():
        if key.endswith("num_batches_tracked"):
            continue
        changed = not torch.equal(value, learnt[key])
        if free and key.split(".")[0] not in free:
            assert not changed, key
        elif key.endswith(("running_mean", "running_var")):
            assert changed == (method in ("scratch", "tutorial")), key
        else:
            assert changed or method == "scratch", key
    assert learnt["fc.weight"].shape == (4, 512)


def test_it_learns_to_tell_shapes_apart(make_job: Callable[..., Job]) -> None:
    settings = {"learning_rate": 2e-3, "batch_statistics": True, "label_smoothing": 0.0, "min_scale": 0.6}
    events = list(run(make_job("all", epochs=8, **settings)))
    epochs = of_kind(events, Epoch)
    assert epochs[-1].train_loss < 0.8 * epochs[0].train_loss
    (finished,) = of_kind(events, Finished)
    (baseline,) = of_kind(events, Baseline)
    assert finished.report.accuracy.right >= baseline.accuracy.right
    best = max(epochs, key=lambda one: (one.val_accuracy, -one.val_loss))
    assert of_kind(events, Fitted)[0].epoch == best.number and best.best
    steps = of_kind(events, Step)
    assert [one.progress for one in steps] == sorted(one.progress for one in steps)
    assert steps[-1].progress > 0.9 and steps[-1].eta_s < steps[3].eta_s


def test_the_same_seed_gives_the_same_weights_and_another_one_others(make_job: Callable[..., Job]) -> None:
    first, again, other = (weights(list(run(make_job("all", seed=seed, batch_size=14)))) for seed in (3, 3, 4))
    assert same(first, again) and not same(first, other)


def test_an_interrupted_run_goes_on_to_the_same_weights(make_job: Callable[..., Job], tmp_path: Path) -> None:
    whole = weights(list(run(make_job("all", epochs=3))))
    state = tmp_path / "state"
    interrupted = run(make_job("all", epochs=3, state=state))
    for event in interrupted:
        if isinstance(event, Step) and event.epoch == 2:
            interrupted.close()  # in the middle of the second epoch, which is begun again
            break
    assert (state / STATE).is_file()
    events = list(run(make_job("all", epochs=3, state=state)))
    assert [one.number for one in of_kind(events, Epoch)] == [2, 3]
    assert same(whole, weights(events))
    (fitted,) = of_kind(events, Fitted)
    assert [one["epoch"] for one in fitted.history] == [1, 2, 3]
    card = (of_kind(events, Finished)[0].folder / "README.md").read_text()
    assert all(f"\n| {number} | {one['train_loss']:.4f}" in card for number, one in enumerate(fitted.history, start=1))


def test_a_state_of_another_run_is_not_gone_on_from(
    make_job: Callable[..., Job], tiny: Checkpoint, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    others = {**tiny.state_dict, "conv1.weight": -tiny.state_dict["conv1.weight"]}
    list(run(make_job("all", state=state)))
    for other, said in (
        (make_job("last-stage", state=state), "method"),
        (make_job("all", batch_size=4, state=state), "batch size"),
        (replace(make_job("all", state=state), split=split(make_job().dataset, 0.5)), "photos"),
        (replace(make_job("all", state=state), base=replace(tiny, state_dict=others)), "base"),
    ):
        with pytest.raises(Refusal, match=f"another run .*{said}"):
            list(run(other))
    list(run(make_job("all", state=state)))


@pytest.mark.parametrize("batch_size", [2, 3, 9, 27])
def test_a_lone_photo_is_no_batch_to_take_statistics_of(batch_size: int, make_job: Callable[..., Job]) -> None:
    """At 32 pixels the last maps are single pixels, of which one photo has no variance."""
    job = make_job("scratch", epochs=1, batch_size=batch_size, image_size=32)
    assert len(job.split.train) == 28
    for event in (events := list(run(job))):
        assert not isinstance(event, Step) or math.isfinite(event.loss)
    assert len(of_kind(events, Step)) == 28 // batch_size + (28 % batch_size > 1)


def test_killed_and_resumed_in_another_process(tmp_path: Path) -> None:
    """kill -9 in the middle of an epoch; the process that goes on ends with the weights of an undisturbed one."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "tests.train.killed", str(tmp_path / "other"), str(tmp_path / "state")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    victim = subprocess.Popen(line, cwd=ROOT, env=environment, **pipes)
    assert victim.stdin is not None and victim.stdout is not None
    for said in victim.stdout:
        if said.startswith("step 2 "):
            os.kill(victim.pid, signal.SIGKILL)
            break
        victim.stdin.write("go on\n")
        victim.stdin.flush()
    assert victim.wait(PATIENCE_S) == -signal.SIGKILL
    victim.communicate()
    assert not (tmp_path / "other").exists() and (tmp_path / "state" / STATE).is_file()
    resumed = subprocess.run(
        line, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True,
        timeout=PATIENCE_S,
    )  # fmt: skip
    assert "step 2 " in resumed.stdout and "step 1 " not in resumed.stdout
    list(run(killed.small_job(tmp_path, tmp_path / "whole", tmp_path / "state-whole")))
    assert same(*(read_folder(tmp_path / name).state_dict for name in ("whole", "other")))


def test_stopping_keeps_the_best_so_far(make_job: Callable[..., Job]) -> None:
    events: list[Event] = []
    for event in run(make_job("all", epochs=50), lambda: bool(of_kind(events, Epoch))):
        events.append(event)
    (fitted,), (finished,) = of_kind(events, Fitted), of_kind(events, Finished)
    assert fitted.why == finished.why == "stopped" and len(of_kind(events, Epoch)) <= 2
    assert (finished.folder / "model.safetensors").is_file()


def test_stopped_before_anything_was_learnt_the_baseline_is_the_model(make_job: Callable[..., Job]) -> None:
    events: list[Event] = []
    for event in run(make_job("all"), lambda: Started("baseline") in events):
        events.append(event)
    (finished,) = of_kind(events, Finished)
    assert finished.kept == "baseline" and not of_kind(events, Step)
    with pytest.raises(Refusal, match="before there was a model"):
        list(run(make_job("scratch"), lambda: True))


def test_stopped_while_photos_are_read_it_reads_no_more(make_job: Callable[..., Job]) -> None:
    events: list[Event] = []
    with pytest.raises(Refusal, match="before there was a model"):
        for event in run(make_job("all"), lambda: bool(of_kind(events, Advanced))):
            events.append(event)
    (advanced,) = of_kind(events, Advanced)
    assert advanced.done == BATCH < advanced.total and not of_kind(events, Baseline)


class Slow:
    """A clock of which each look takes so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 0.0, seconds

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


@pytest.mark.parametrize("method", ["all", "tutorial", "scratch"])
def test_a_limit_holds_whatever_the_epochs_are(
    method: str, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, events = Slow(0), []
    monkeypatch.setattr("train.run.Ends", lambda stop, *minutes: Ends(stop, *minutes, clock=clock))
    for event in run(replace(make_job(method, epochs=10_000, patience=10_000), minutes=1.0)):
        clock.now += 10 * isinstance(event, Step)
        events.append(event)
    (finished,) = of_kind(events, Finished)
    assert finished.why == "time" and len(of_kind(events, Step)) <= 6


@pytest.mark.parametrize("limit", ["of the recipe", "of whoever runs the page"])
def test_a_time_that_reading_takes_is_said(
    limit: str, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.run.Ends", lambda stop, *minutes: Ends(stop, *minutes, clock=Slow(70)))
    job = make_job("all", epochs=None, minutes=1) if limit == "of the recipe" else replace(make_job("all"), minutes=1)
    events: list[Event] = []
    with pytest.raises(Refusal, match="The 1 minutes were over before all photos were read"):
        for event in run(job):
            events.append(event)
    assert len(of_kind(events, Advanced)) == 1


def test_time_that_is_up_ends_the_first_model_and_its_views_too(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a head alone, which has no steps; it is judged all the same."""
    ends: list[Ends] = []

    def made(stop: Callable[[], bool], *minutes: float | None) -> Ends:
        ends.append(Ends(stop, *minutes, clock=clock))
        return ends[0]

    clock = Slow(0)
    monkeypatch.setattr("train.run.Ends", made)
    events: list[Event] = []
    for event in run(replace(make_job("head", epochs=None, views=16), minutes=1.0)):
        if isinstance(event, Started) and event.phase == "baseline":
            clock.now = 61
        events.append(event)
    (finished,) = of_kind(events, Finished)
    assert not [one for one in of_kind(events, Advanced) if one.phase == "views"]
    assert finished.report.accuracy.total == 12


def test_a_time_budget_is_kept(make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock of which each look takes half a second; `bench.budget` is in earnest."""
    clock = killed.clock(0.5)
    for module in killed.CLOCKED:
        monkeypatch.setattr(module, "time", clock)
    minutes = 1.0
    events = list(run(make_job("all", epochs=None, minutes=minutes, patience=10_000)))
    assert 0.75 * 60 * minutes < clock.monotonic() < 1.1 * 60 * minutes
    steps = of_kind(events, Step)
    assert len(steps) > 8 and steps[-1].learning_rate < 0.2 * max(one.learning_rate for one in steps)


def test_patience_ends_it_early(make_job: Callable[..., Job]) -> None:
    events = list(run(make_job("all", epochs=40, patience=2, learning_rate=1e-7, ema=0)))
    (fitted,) = of_kind(events, Fitted)
    assert fitted.why == "patience" and len(of_kind(events, Epoch)) < 40


def test_a_full_disk_ends_it_with_the_best_so_far(make_job: Callable[..., Job], tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"a file where a folder should be")
    events = list(run(make_job("all", epochs=5, state=tmp_path / "state")))
    (fitted,), (finished,) = of_kind(events, Fitted), of_kind(events, Finished)
    assert fitted.why == "disk" and fitted.epoch == 1 and finished.folder.is_dir()


def test_a_disk_that_fills_in_the_middle_leaves_a_model_and_a_state_to_go_on_from(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    """There is room for one state, but not for the next one beside it."""
    settings = {"epochs": 3, "batch_size": 14}
    whole = weights(list(run(make_job("all", **settings))))
    with mounted(tmp_path / "small", "size=150m") as disk:
        events = list(run(make_job("all", state=disk / "state", out=tmp_path / "first", **settings)))
        (fitted,), (finished,) = of_kind(events, Fitted), of_kind(events, Finished)
        assert fitted.why == finished.why == "disk" and len(of_kind(events, Epoch)) == 2
        assert read_folder(finished.folder).label_names == make_job().dataset.classes
        assert [file.name for file in (disk / "state").iterdir()] == [STATE], "the old one, whole"
        # The model itself has no room there either: one sentence, and none of its files is left.
        (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - 4_000_000))
        with pytest.raises(Refusal, match="disk is full"):
            list(run(make_job("all", epochs=1, out=disk / "model")))
        assert not list((disk / "model").glob("*.safetensors"))
        (disk / "filler").unlink()
        shutil.copytree(disk / "state", tmp_path / "state")
    events = list(run(make_job("all", state=tmp_path / "state", out=tmp_path / "second", **settings)))
    assert [one.number for one in of_kind(events, Epoch)] == [2, 3] and same(whole, weights(events))


class Narrow(nn.Module):
    """Stands before the first layer and has memory for three photos."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) > 3:
            raise torch.OutOfMemoryError(f"{len(x)} photos")
        return x


def test_too_little_memory_halves_what_is_computed_at_a_time(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step stays the same, so the weights come out nearly the same as with enough memory."""
    whole = weights(list(run(make_job("all", epochs=1))))
    narrow = Narrow()
    forward = ResNet.forward_features
    monkeypatch.setattr(ResNet, "forward_features", lambda self, x: forward(self, narrow(x) if self.training else x))
    events = list(run(make_job("all", epochs=1)))
    assert [one.at_a_time for one in of_kind(events, BatchHalved)] == [4, 2]
    for key, value in weights(events).items():
        torch.testing.assert_close(value, whole[key], atol=2e-4, rtol=2e-2)


def test_stages_stop_learning_one_by_one_from_below(make_job: Callable[..., Job], tmp_path: Path) -> None:
    """What a stage is when its time is over it stays, and each learns until then."""
    state = tmp_path / "state"
    kept: list[tuple[float, dict[str, Tensor]]] = []
    written = 0
    for event in run(make_job("all", epochs=8, batch_size=7, freeze_out=0.25, ema=0.0, patience=100, state=state)):
        if isinstance(event, Step) and event.epoch > written + 1:  # the state is written after its epoch is told
            written = event.epoch - 1
            found = torch.load(state / STATE, weights_only=True)
            kept.append((found["plan"]["progress"], found["network"]))
    assert len(kept) == 7
    stopped = 0
    for (before, one), (after, other) in itertools.pairwise(kept):
        for path in one:
            if path.endswith(("running_mean", "running_var", "num_batches_tracked")):
                continue
            part = path.split(".")[0]
            until = learns_until("stem" if part in ("conv1", "bn1") else part, 0.25)
            if until <= before:
                assert torch.equal(one[path], other[path]), (path, before)
                stopped += 1
            elif until >= after:
                assert not torch.equal(one[path], other[path]), (path, after)
    assert stopped > 60


def test_a_run_that_freezes_goes_on_to_the_same_weights(make_job: Callable[..., Job], tmp_path: Path) -> None:
    """Interrupted where the lowest layers have stopped and the next ones have not."""
    settings = {"epochs": 4, "batch_size": 14}
    whole = weights(list(run(make_job("all", freeze_out=0.25, **settings))))
    state = tmp_path / "state"
    interrupted = run(make_job("all", freeze_out=0.25, state=state, **settings))
    for event in interrupted:
        if isinstance(event, Step) and event.epoch == 3:
            interrupted.close()
            break
    assert 0.25 < torch.load(state / STATE, weights_only=True)["plan"]["progress"] < 0.75
    assert same(whole, weights(list(run(make_job("all", freeze_out=0.25, state=state, **settings)))))
    assert not same(whole, weights(list(run(make_job("all", freeze_out=1.0, **settings)))))


@pytest.mark.parametrize("statistics", [False, True])
def test_what_has_stopped_costs_no_backward_pass(statistics: bool, make_job: Callable[..., Job]) -> None:
    """Counted by torch: operations of the steps, with their backward pass."""
    counted = []
    for freeze_out in (1.0, 0.05):
        counter = FlopCounterMode(display=False)
        job = make_job("all", epochs=1, freeze_out=freeze_out, batch_statistics=statistics)
        for event in run(job):
            if isinstance(event, Started) and event.phase == "train":
                counter.__enter__()
            elif isinstance(event, Epoch):
                counter.__exit__(None, None, None)
        counted.append(counter.get_flop_counts()["Global"][torch.ops.aten.convolution_backward])
    assert counted[1] < 0.75 * counted[0]


def test_a_state_is_whole_or_not_there(tmp_path: Path) -> None:
    assert read_state(tmp_path, {}) is None
    assert write_state(tmp_path, {"numbers": [1], "tensor": torch.ones(3)})
    found = read_state(tmp_path, {})
    assert found and found["numbers"] == [1] and torch.equal(found["tensor"], torch.ones(3))
    assert [file.name for file in tmp_path.iterdir()] == [STATE]
    data = (tmp_path / STATE).read_bytes()
    for broken in (b"", b"x" * 100, data[: len(data) // 2]):
        (tmp_path / STATE).write_bytes(broken)
        with pytest.raises(Refusal, match="is damaged"):
            read_state(tmp_path, {})


def _plain(value: Any) -> Any:
    """Of nested tensors what can be compared."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return (value.dtype, value.tolist()) if isinstance(value, Tensor) else value


def _corner(value: Any) -> Any:
    """The same nesting with a number or two of each tensor, so that a state is small."""
    if isinstance(value, Mapping):
        return {key: _corner(one) for key, one in value.items()}
    return value.flatten()[:2].clone() if isinstance(value, Tensor) else value


def test_a_damaged_byte_of_a_state_is_a_sentence_or_no_damage(make_job: Callable[..., Job], tmp_path: Path) -> None:
    list(run(make_job("all", epochs=2, image_size=32, state=tmp_path / "state")))
    state = _corner(torch.load(tmp_path / "state" / STATE, weights_only=True))
    folder = tmp_path / "small"
    assert write_state(folder, state)
    data = (folder / STATE).read_bytes()
    dice, refused = random.Random(0), 0
    for _ in range(300):
        broken = bytearray(data)
        broken[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        (folder / STATE).write_bytes(broken)
        try:
            assert _plain(read_state(folder, state["about"])) == _plain(state)
        except Refusal as refusal:
            assert refusal.code == "state.broken" and "without --resume" in str(refusal)
            refused += 1
    assert 100 < refused < 300  # zips are padded: some bytes say nothing


@pytest.mark.parametrize("change", [{"network": {}}, {"optimizer": None}, {"random": torch.ones(3)}, {"plan": {}}])
def test_a_state_that_is_none_of_ours_is_a_sentence(
    change: dict[str, Any], make_job: Callable[..., Job], tmp_path: Path
) -> None:
    job = make_job("all", epochs=2, image_size=32, state=tmp_path / "state")
    list(run(job))
    state = torch.load(tmp_path / "state" / STATE, weights_only=True)
    write_state(tmp_path / "state", {**state, **change})
    with pytest.raises(Refusal, match="saved state in state is damaged"):
        list(run(job))
