"""The network as it learns while its BatchNorms keep their statistics: each convolution with its BatchNorm in it.

With fixed statistics ``bn(conv(x))`` is a convolution with scaled weights and a bias. Scaling the weights takes one
pass over them; scaling what comes out takes several over maps that are many times larger, there and back. The gradients
reach the same parameters: weights, scales and shifts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from resnet.classifier import fold_batch_norm
from resnet.network import ResNet


class Maps(nn.Module):
    """A network that also gives its last maps: ``(N, 3, H, W) -> (N, num_features, H / 32, W / 32), (N, K)``."""

    def __init__(self, network: ResNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.network.forward_features(images)
        return maps, self.network.forward_head(maps)


class Folded:
    """What `Maps` gives, for a network all of whose BatchNorms keep their statistics.

    Args:
        network: whose parameters are used as they are at each call. It must not take statistics of a batch.
    """

    def __init__(self, network: ResNet) -> None:
        self._network = network
        with torch.device("meta"):  # a shape to put the folded weights in
            self._shape = Maps(fold_batch_norm(ResNet(network.config))).train()
        norms = {path: module for path, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}
        self._pairs = [(_before(path), norm) for path, norm in norms.items()]
        # What doesn't learn is folded once.
        self._kept: dict[str, Tensor] = {}
        with torch.no_grad():
            for path, norm in self._pairs:
                if not self._learns(path, norm):
                    self._fold(path, norm, self._kept)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `Maps`."""
        state = dict(self._kept)
        for path, norm in self._pairs:
            if self._learns(path, norm):
                self._fold(path, norm, state)
        if self._network.fc is not None:
            state |= {f"network.fc.{name}": value for name, value in self._network.fc.named_parameters()}
        found: tuple[Tensor, Tensor] = functional_call(self._shape, state, (images,), strict=True)
        return found

    def _learns(self, path: str, norm: nn.BatchNorm2d) -> bool:
        return self._weight(path).requires_grad or norm.weight.requires_grad

    def _weight(self, path: str) -> Tensor:
        weight = self._network.get_submodule(path).weight
        assert isinstance(weight, Tensor)
        return weight

    def _fold(self, path: str, norm: nn.BatchNorm2d, state: dict[str, Tensor]) -> None:
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None
        scale = norm.weight * (variance + norm.eps).rsqrt()
        state[f"network.{path}.weight"] = self._weight(path) * scale.view(-1, 1, 1, 1)
        state[f"network.{path}.bias"] = norm.bias - mean * scale


def _before(norm: str) -> str:
    """The path of the convolution that a BatchNorm stands behind: bn2 behind conv2, 1 behind 0 in a shortcut."""
    above, _, name = norm.rpartition(".")
    return ".".join(filter(None, (above, "0" if name == "1" else name.replace("bn", "conv"))))
