"""A shallower network out of a deeper one: the first blocks of each stage, with what they know.

A block adds something to what it is given, so the network without the last block of a stage still sees much of what it
saw; training, best with the deeper one as its teacher, mends the rest (Veit et al., https://arxiv.org/abs/1605.06431;
Sanh et al., https://arxiv.org/abs/1910.01108, begin a student with layers of its teacher).
"""

from __future__ import annotations

from dataclasses import replace

from resnet.config import VARIANTS, ResNetConfig
from resnet.errors import Refusal
from weights.checkpoint import Checkpoint


def shallower(checkpoint: Checkpoint, architecture: str) -> Checkpoint:
    """The checkpoint as that variant, without a classifier, as what it named is for the network that it was.

    Args:
        checkpoint: of a network with the same blocks, at least as many of them in each stage.
        architecture: a name of `resnet.config.VARIANTS`.

    Raises:
        Refusal: if there is no such variant, or the checkpoint's network doesn't hold it.
    """
    wanted = variant(architecture)
    config = replace(checkpoint.config.with_classes(0), depths=wanted.depths)
    alike = replace(wanted.with_classes(0), stride_in_1x1=config.stride_in_1x1, num_classes=config.num_classes)
    if config != alike or any(map(int.__gt__, wanted.depths, checkpoint.config.depths)):
        raise Refusal(
            "train.architecture", "{base} is a {found} and holds no {architecture}; name one with the same blocks and "
            "no more of them in any stage, or leave it out.",
            base=checkpoint.source.name or "The base", found=checkpoint.architecture, architecture=architecture,
        )  # fmt: skip
    state = {key: value for key, value in checkpoint.state_dict.items() if _kept(key, wanted)}
    return replace(checkpoint, config=config, state_dict=state, label_names=())


def variant(architecture: str) -> ResNetConfig:
    """The config of a named variant.

    Raises:
        Refusal: if there is none of that name.
    """
    if architecture not in VARIANTS:
        raise Refusal(
            "train.variant", "There is no architecture {name}; choose one of {known}.", name=repr(architecture),
            known=", ".join(VARIANTS),
        )  # fmt: skip
    return VARIANTS[architecture]


def _kept(key: str, wanted: ResNetConfig) -> bool:
    """Whether the smaller network has this entry of the state dict: ``layer4.2.conv1.weight`` is of the third block."""
    part, *rest = key.split(".")
    if part == "fc":
        return False
    return not part.startswith("layer") or int(rest[0]) < wanted.depths[int(part.removeprefix("layer")) - 1]
