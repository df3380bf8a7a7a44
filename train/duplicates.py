"""Which images are the same, to the byte or to the eye; without comparing each with each in Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from train.look import THUMB_SIDE

Groups = list[tuple[int, ...]]

#: Bits of two 128-bit hashes that may differ. Of 200 flower photos and their copies all are below it that were resized,
#: recompressed or brightened, and 96 in 100 that were cropped by 2 %; but so are 24 of the 3.4 million pairs of photos,
#: half of which show different things.
MAX_BITS = 20
#: How far two thumbnails may be apart, as a share of their contrast: of those 24 pairs it leaves the 15 that show the
#: same thing or the same picture in other colours.
MAX_THUMB_DISTANCE = 0.42
#: How far apart their mean colours may be, as a share of their contrast: a photo made brighter is the same photo, a red
#: sheet is no blue one.
MAX_SHIFT = 1.75
#: Images of fewer colours are drawings, and with so little in them a little is a lot: a circle is nearly a square.
#: Their thumbnails have to be this much closer; those of copies are, unless they are cropped by more than 1 %.
PLAIN_COLOURS, PLAIN_WEIGHT = 4.0, 3.5
#: Tried in turn while a chain of look-alikes holds more than this share of the images (and more than 10): scanned
#: digits all look alike to a hash, and then only what is much more alike is a copy.
TIGHTER, CHAIN_SHARE, CHAIN_IMAGES = (0.2, 0.1), 0.05, 10
#: Rows of one block of the table of distances: 256 x 100,000 float32 are 100 MB.
BLOCK = 256


def exact(hashes: Sequence[str]) -> Groups:
    """Groups of two or more with the same hash; in the order of their first, as are the members."""
    found: dict[str, list[int]] = {}
    for index, one in enumerate(hashes):
        found.setdefault(one, []).append(index)
    return [tuple(group) for group in found.values() if len(group) > 1]


def near(dhashes: Sequence[int], thumbs: Sequence[bytes], colours: Sequence[float]) -> Groups:
    """Groups of two or more that look the same, each joined to some other of its group.

    Args:
        dhashes: 128 bits of each image, by `look.dhash`.
        thumbs: 192 bytes of each image, by `look.thumb`.
        colours: how many each seems to have, by `look.colours`.
    """
    pairs, distances = _candidates(dhashes, thumbs, colours)
    groups: Groups = []
    for limit in (MAX_THUMB_DISTANCE, *TIGHTER):
        groups = connected(len(dhashes), pairs[distances <= limit])
        if max(map(len, groups), default=0) <= max(CHAIN_IMAGES, CHAIN_SHARE * len(dhashes)):
            break
    return groups


def connected(count: int, pairs: Iterable[Sequence[int]]) -> Groups:
    """Groups of two or more of ``range(count)`` that `pairs` join (union-find); in order of their first.

    Args:
        count: of things.
        pairs: of indices; longer sequences join all of their members.
    """
    parent = list(range(count))

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    for first, *others in pairs:
        for other in others:
            low, high = sorted((root(int(first)), root(int(other))))
            parent[high] = low
    found: dict[int, list[int]] = {}
    for one in range(count):
        found.setdefault(root(one), []).append(one)
    return [tuple(group) for group in found.values() if len(group) > 1]


def _candidates(
    dhashes: Sequence[int], thumbs: Sequence[bytes], colours: Sequence[float]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Pairs whose hashes are near, ``(P, 2)``, and how far apart their thumbnails are, ``(P,)``; below the limits."""
    packed = np.frombuffer(b"".join(one.to_bytes(16, "big") for one in dhashes), np.uint8).reshape(-1, 16)
    # With bits as -1 and 1 a product of matrices counts them: agreeing minus differing, exact in float32.
    signs = np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1
    images = np.frombuffer(b"".join(thumbs), np.uint8).reshape(-1, THUMB_SIDE**2, 3).astype(np.float32)
    means = images.mean(1, keepdims=True)
    images -= means
    plain = np.array(colours) < PLAIN_COLOURS
    energy = (images**2).mean((1, 2))
    pairs, distances = [np.empty((0, 2), np.int64)], [np.empty(0)]
    for start in range(0, len(signs), BLOCK):
        agreeing = signs[start : start + BLOCK] @ signs[start:].T
        rows, columns = np.nonzero(agreeing >= 128 - 2 * MAX_BITS)
        later = columns > rows
        rows, columns = rows[later] + start, columns[later] + start
        for place in range(0, len(rows), 100_000):  # where all look alike, they are many
            some, others = rows[place : place + 100_000], columns[place : place + 100_000]
            difference = np.sqrt(((images[some] - images[others]) ** 2).mean((1, 2)))
            # Two of 255 levels are added, lest two empty images be told apart by noise.
            contrast = np.sqrt((energy[some] + energy[others]) / 2) + 2
            shift = np.abs(means[some] - means[others]).max((1, 2))
            distance = difference / contrast * np.where(plain[some] & plain[others], PLAIN_WEIGHT, 1.0)
            same = (distance <= MAX_THUMB_DISTANCE) & (shift <= MAX_SHIFT * contrast)
            pairs.append(np.stack([some[same], others[same]], 1))
            distances.append(distance[same])
    return np.concatenate(pairs), np.concatenate(distances)
