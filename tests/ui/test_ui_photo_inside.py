"""Your photo inside: what is drawn, held against the network's own maps and filters."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnet.errors import Refusal
from resnet.explain import STAGES
from resnet.preprocess import open_image
from ui.models import Loaded, Models
from ui.photo_inside import filters_card, look_inside
from weights.load import load


@pytest.fixture(scope="module")
def found() -> Loaded:
    return Models(device="cpu").get("flowers")


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "noise.png"
    noise = np.random.default_rng(0).integers(0, 256, (300, 260, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((260, 300)).save(path)
    return path


def pictures(card: str) -> list[Image.Image]:
    return [
        Image.open(io.BytesIO(base64.b64decode(one))) for one in re.findall(r"data:image/png;base64,([^\"]+)", card)
    ]


@pytest.mark.parametrize("stage", STAGES)
def test_sixteen_maps_of_the_stage_with_their_channels(found: Loaded, photo: Path, stage: str) -> None:
    """Computed once more from the checkpoint itself, without folded BatchNorms."""
    network = load("flowers").network().eval()
    seen: list[torch.Tensor] = []
    network.get_submodule(stage).register_forward_hook(lambda _, __, output: seen.append(output.clone()))
    crop = found.classifier.preprocess.pixels(open_image(photo, photo.name))
    with torch.no_grad():
        network(found.classifier.preprocess.normalize([crop]))
    (maps,) = seen[0]
    card = look_inside(found, str(photo), stage)
    shown = pictures(card)
    channels = [int(one) for one in re.findall(r'id="map-(\d+)"', card)]
    assert len(shown) == len(set(channels)) == 16
    ranked = maps.mean(dim=(1, 2)).sort(descending=True).indices.tolist()
    assert len(set(ranked[:16]) & set(channels)) >= 15, "but for a tie that rounding decides"
    for picture, channel in zip(shown, channels, strict=True):
        assert picture.size == tuple(maps.shape[:0:-1])
        brightest = np.asarray(picture.convert("L")).argmax()
        assert float(maps[channel].flatten()[brightest]) == pytest.approx(float(maps[channel].max()), rel=0.02)
        assert f"up to {float(maps[channel].max()):.2f}" in card
    facts = {name: int(value) for name, value in re.findall(r'data-(\w+)="(-?\d+)"', card)}
    assert facts["rows"] == facts["columns"] == maps.shape[1] and facts["step"] * facts["rows"] == facts["side"] == 224
    top = divmod(int(maps[channels[0]].argmax()), maps.shape[2])
    assert (facts["row"], facts["column"]) == top
    # A window stands around its position: as far beyond the first as beyond the last, to a pixel or two of rounding.
    before, after = -facts["start"], facts["start"] + facts["step"] * (facts["rows"] - 1) + facts["field"] - 224
    assert abs(before - after) <= facts["step"]


def test_filters_are_those_of_the_checkpoint_each_on_its_own_scale(found: Loaded) -> None:
    weights = load("flowers").state_dict["conv1.weight"].float()
    assert torch.equal(found.filters, weights)
    (picture,) = pictures(filters_card(found.filters, "<b>flowers</b>"))
    pixels = np.asarray(picture).astype(float)
    assert picture.size == (63, 63) and (pixels[7, :, 3] == 0).all()
    for index in (0, 9, 63):
        top, left = 8 * (index // 8), 8 * (index % 8)
        expected = weights[index].permute(1, 2, 0).numpy()
        expected = 127.5 + 127.5 * expected / np.abs(expected).max()
        np.testing.assert_allclose(pixels[top : top + 7, left : left + 7, :3], expected, atol=1)
    assert "<b>flowers" not in filters_card(found.filters, "<b>flowers</b>")


def test_what_is_no_photo_or_no_stage_is_a_sentence(found: Loaded, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no photo")
    with pytest.raises(Refusal, match=r"notes\.txt"):
        look_inside(found, str(tmp_path / "notes.txt"), "layer4")
    for stage in ("layer5", "", "<script>"):
        with pytest.raises(Refusal, match="choose"):
            look_inside(found, str(photo), stage)
