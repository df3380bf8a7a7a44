"""python predict.py PHOTO... names photos with the model beside it; needs torch, torchvision, pillow, safetensors."""

import contextlib
import json
import sys
from pathlib import Path

import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.transforms.functional import normalize, pil_to_tensor, to_pil_image

FOLDER = Path(__file__).resolve().parent
CONFIG = json.loads((FOLDER / "config.json").read_text("utf-8"))
SEEN, OURS = CONFIG["pretrained_cfg"], CONFIG["resnet_demo"]


def network() -> ResNet:
    """The network, its shape read off the shapes of its weights."""
    state = {key: value.float() for file in FOLDER.glob("model*.safetensors") for key, value in load_file(file).items()}
    depths = [len({key.split(".")[1] for key in state if key.startswith(f"layer{n}.")}) for n in (1, 2, 3, 4)]
    block = Bottleneck if "layer1.0.conv3.weight" in state else BasicBlock
    width, per_group = state["layer1.0.conv2.weight"].shape[:2]
    model = ResNet(block, depths, len(state["fc.weight"]), groups=width // per_group, width_per_group=per_group)
    for module in model.modules():
        if isinstance(module, Bottleneck) and OURS["stride_in_1x1"]:  # as in the paper; torchvision strides in the 3x3
            module.conv1.stride, module.conv2.stride = module.conv2.stride, (1, 1)
    model.load_state_dict(state)
    return model.eval()


def to_rgb(image: Image.Image) -> Image.Image:
    """As a person would see it: turned upright, on white where it is transparent, 16 bits scaled to 8."""
    with contextlib.suppress(SyntaxError, ValueError, TypeError, ZeroDivisionError):  # of a broken EXIF block
        image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = torch.frombuffer(bytearray(image.convert("F").tobytes()), dtype=torch.float32).nan_to_num()
        deep = {"F": (1.0, 255.0), "I": (255.0, 65535.0)}.get(image.mode, (255.0, 1023.0, 4095.0, 16383.0, 65535.0))
        grey = values * (255 / next((white for white in deep if values.max() <= white), values.max().item())) + 0.5
        image = to_pil_image(grey.clamp(0, 255).byte().view(1, image.height, image.width))
    elif image.has_transparency_data:
        layer = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def crop(image: Image.Image) -> Image.Image:
    """The square that the network sees: the short side resized, the middle cut out."""
    size, (width, height) = SEEN["input_size"][-1], image.size
    short = int(size / SEEN["crop_pct"])
    across, down = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    if SEEN["crop_mode"] == "squash":
        across = down = short
    middle = int if SEEN["crop_mode"] == "center_floor" else round
    left, top = middle((across - size) / 2), middle((down - size) / 2)
    how = Image.Resampling[SEEN["interpolation"].upper()]
    if across * down <= 16_000_000:
        return image.resize((across, down), how).crop((left, top, left + size, top + size))
    x, y = width / across, height / down  # of a long strip only the middle is resized
    right, bottom = min((left + size) * x, width), min((top + size) * y, height)
    return image.resize((size, size), how, (left * x, top * y, right, bottom))


@torch.inference_mode()
def probabilities(model: ResNet, photo: str) -> dict[str, float]:
    """Class -> probability, the most likely first."""
    with Image.open(photo) as image:
        pixels = pil_to_tensor(crop(to_rgb(image))).float() / 255
    logits = model(normalize(pixels, SEEN["mean"], SEEN["std"])[None])[0]
    shares = (logits / OURS["temperature"]).softmax(0).tolist()  # divided so that 80 % is right 8 times out of 10
    return dict(sorted(zip(CONFIG["label_names"], shares, strict=True), key=lambda one: -one[1]))


if __name__ == "__main__":
    model = network()
    for photo in sys.argv[1:]:
        named = probabilities(model, photo).items()
        print(f"{photo}: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in list(named)[:5]))
