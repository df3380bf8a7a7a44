"""Several processes, one training: what all of them agree on, and sums over all. Alone, everything is its own answer.

Each process computes its share of every batch, gradients are summed, and the first process writes. BatchNorms that take
statistics of the batch take them of their process's share, as torch's `DistributedDataParallel` does; the running ones
are averaged before they are judged or saved. Where BatchNorms keep their statistics (all methods but `scratch` and
`tutorial`), nothing depends on how a batch was divided.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from resnet.errors import Refusal


@contextmanager
def processes() -> Iterator[int]:
    """Join the others where torchrun has started several; gives this one's rank.

    Raises:
        Refusal: if there are GPUs, but not one for each process.
    """
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield 0
        return
    if torch.cuda.is_available():
        if torch.cuda.device_count() < here:
            raise Refusal(
                "device.few", "{processes} processes were started for {devices} GPUs; start one for each.",
                processes=here, devices=torch.cuda.device_count(),
            )  # fmt: skip
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("cpu:gloo,cuda:nccl")
    else:
        dist.init_process_group("gloo")
    try:
        yield dist.get_rank()
    finally:
        dist.destroy_process_group()


def place() -> tuple[int, int]:
    """This process's rank, and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def anyone(asked: bool) -> bool:
    """Whether any process says so: all of them must go the same way, or some wait forever for the others."""
    votes = torch.tensor(float(asked))
    add_up([votes])
    return bool(votes)


def fewest(number: int) -> int:
    """The least of what the processes say."""
    agreed = torch.tensor(number)
    if dist.is_initialized():
        dist.all_reduce(agreed, dist.ReduceOp.MIN)
    return int(agreed)


def add_up(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its sum over all processes."""
    if dist.is_initialized():
        for tensor in tensors:
            dist.all_reduce(tensor)


def add_up_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Sum the gradients of what learns; each process has divided by the whole batch already."""
    for parameter in parameters:
        if not parameter.requires_grad:
            continue
        if parameter.grad is None:  # a process without a photo of a last, small batch
            parameter.grad = torch.zeros_like(parameter)
        add_up([parameter.grad])


def average_statistics(network: nn.Module) -> None:
    """Replace the BatchNorms' running means and variances by the averages over all processes."""
    _, count = place()
    if count > 1:
        for buffer in network.buffers():
            if buffer.is_floating_point():
                add_up([buffer])
                buffer.div_(count)
