"""The models on offer, with licence, published accuracy and what each is good for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from resnet.config import VARIANTS

FLOWERS = "flowers"
#: The checkpoint that comes with the project and needs no network.
SHIPPED = Path(__file__).parent / "flowers"

TORCHVISION = (
    "torchvision's published metrics (acc@1 of the weights), https://docs.pytorch.org/vision/stable/models.html"
)
TIMM = (
    "timm, results/results-imagenet.csv at 288 px, "
    "https://github.com/huggingface/pytorch-image-models/tree/main/results"
)


@dataclass(frozen=True)
class Entry:
    """A model on the Hub.

    Args:
        name: what it is called here and in timm.
        group: the heading that it stands under.
        parameters: weights and biases.
        license: SPDX identifier in lower case, as the Hub writes it.
        top1: published top-1 accuracy on ImageNet's validation set in percent; None where it isn't an ImageNet model.
        top1_source: who published it.
        good_for: one line for whoever has to choose.
    """

    name: str
    group: str
    parameters: int
    license: str
    top1: float | None
    top1_source: str
    good_for: str

    @property
    def repo(self) -> str:
        return f"timm/{self.name}"

    @property
    def megabytes(self) -> float:
        """Size of the download: fp32 weights (the shipped one is fp16 and already here)."""
        return self.parameters * (2 if self.name == FLOWERS else 4) / 1e6


def _entry(variant: str, tag: str, top1: float, good_for: str) -> Entry:
    group, license_, source = {
        "tv_in1k": ("torchvision, first weights", "bsd-3-clause", TORCHVISION),
        "tv2_in1k": ("torchvision, improved weights", "bsd-3-clause", TORCHVISION),
        "a1_in1k": ("timm, ResNet strikes back", "apache-2.0", TIMM),
    }[tag]
    return Entry(f"{variant}.{tag}", group, VARIANTS[variant].num_parameters, license_, top1, source, good_for)


_SHIPPED = Entry(
    FLOWERS,
    "Shipped here",
    VARIANTS["resnet18"].with_classes(5).num_parameters,
    "mit",
    None,
    "",
    "Names five flowers at once, without network; a first base for classes of your own.",
)

CATALOG: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        _entry("resnet18", "tv_in1k", 69.758, "The smallest and fastest; the paper's recipe, good to learn with."),
        _entry("resnet34", "tv_in1k", 73.314, "The tutorial's network (`resnet34-pre.pth`); good for small data sets."),
        _entry("resnet50", "tv_in1k", 76.130, "The reference that papers compare with."),
        _entry("resnet101", "tv_in1k", 77.374, "Deeper than 50 with the same recipe, to see what depth gives."),
        _entry("resnet152", "tv_in1k", 78.312, "The paper's deepest; slow on a CPU."),
        _entry("resnext50_32x4d", "tv_in1k", 77.618, "Grouped convolutions: more accurate than 50 at its cost."),
        _entry("resnext101_32x8d", "tv_in1k", 79.312, "The most accurate of the first weights; needs memory."),
        _entry("wide_resnet50_2", "tv_in1k", 78.468, "Twice as wide inside: shallow and strong, 276 MB."),
        _entry("wide_resnet101_2", "tv_in1k", 78.848, "The widest here: 508 MB, for a GPU."),
        _entry("resnet50", "tv2_in1k", 80.858, "The best choice at 50 layers for naming things as they come."),
        _entry("resnet101", "tv2_in1k", 81.886, "A point more than 50 for twice the time."),
        _entry("resnet152", "tv2_in1k", 82.284, "torchvision's most accurate ResNet; slow on a CPU."),
        _entry("resnet18", "a1_in1k", 73.164, "The most accurate at 18 layers; a quick base for fine-tuning."),
        _entry("resnet34", "a1_in1k", 77.930, "The most accurate at 34 layers; a good base on a laptop."),
        _entry("resnet50", "a1_in1k", 81.240, "timm's default ResNet-50; the usual base for fine-tuning."),
        _entry("resnet101", "a1_in1k", 82.326, "Close to the best here in two thirds of the layers."),
        _entry("resnet152", "a1_in1k", 82.742, "The most accurate here; at its best on a GPU."),
    )
}


def entries() -> list[Entry]:
    """The shipped checkpoint, then the catalogue, group by group."""
    return [_SHIPPED, *CATALOG.values()]
