"""Which images are the same, to the byte or to the eye; without comparing each with each in Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

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
#: Rows and columns of one block of the table of distances, 4 MB of float32; it is never there as a whole.
BLOCK, COLUMNS = 256, 4096
#: Pairs whose thumbnails are compared at a time. What they join is known to the next ones, so that of thousands of
#: copies of one image a few pairs for each are looked at, and not each with each.
PAIRS = 4096
#: Pairs whose thumbnails are compared at most, which takes some seconds: 10,000 photos have a few hundred. Where
#: there are more, not all of them are compared, and the report says so.
MAX_PAIRS = 10_000_000


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
    return search(dhashes, thumbs, colours)[0]


def search(
    dhashes: Sequence[int], thumbs: Sequence[bytes], colours: Sequence[float], most: int | None = None
) -> tuple[Groups, bool]:
    """The groups of `near`, and whether all images were compared: the search ends after `most` pairs."""
    limits = (MAX_THUMB_DISTANCE, *TIGHTER)
    joined = [_Joined(len(dhashes)) for _ in limits]
    left, whole = MAX_PAIRS if most is None else most, True
    # What the strictest limit has joined, the others have as well: nothing new can come of it.
    for pairs, distances in _candidates(dhashes, thumbs, colours, joined[-1]):
        for limit, one in zip(limits, joined, strict=True):
            one.join(pairs[distances <= limit])
        left -= len(pairs)
        if left < 0:
            whole = False
            break
    groups: Groups = []
    for one in joined:
        groups = one.groups()
        if max(map(len, groups), default=0) <= max(CHAIN_IMAGES, CHAIN_SHARE * len(dhashes)):
            break
    return groups, whole


class _Joined:
    """What is joined so far, of ``range(count)``: to each the first of its group."""

    def __init__(self, count: int) -> None:
        self.first = np.arange(count)

    def join(self, pairs: npt.NDArray[np.int64]) -> None:
        """Join the two of each pair, ``(P, 2)``; all pairs at once, again until nothing changes."""
        while True:
            one, other = self.first[pairs].T
            apart = one != other
            if not apart.any():
                return
            np.minimum.at(self.first, np.maximum(one, other)[apart], np.minimum(one, other)[apart])
            while not np.array_equal(shorter := self.first[self.first], self.first):
                self.first = shorter

    def groups(self) -> Groups:
        order = np.argsort(self.first, kind="stable")
        starts = np.flatnonzero(np.diff(self.first[order])) + 1
        return [tuple(group.tolist()) for group in np.split(order, starts) if len(group) > 1]


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
    dhashes: Sequence[int], thumbs: Sequence[bytes], colours: Sequence[float], joined: _Joined
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
    """Some pairs at a time whose hashes are near, ``(P, 2)``, and how far apart they look, ``(P,)``: without end where
    their colours are too different. What is `joined` meanwhile is no pair any more.
    """
    packed = np.frombuffer(b"".join(one.to_bytes(16, "big") for one in dhashes), np.uint8).reshape(-1, 16)
    # With bits as -1 and 1 a product of matrices counts them: agreeing minus differing, exact in float32.
    signs = np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1
    images = np.frombuffer(b"".join(thumbs), np.uint8).reshape(-1, THUMB_SIDE**2, 3).astype(np.float32)
    means = images.mean(1, keepdims=True)
    images -= means
    plain = np.array(colours) < PLAIN_COLOURS
    energy = (images**2).mean((1, 2))
    for pairs in _near_hashes(signs, joined):
        some, others = pairs.T
        difference = np.sqrt(((images[some] - images[others]) ** 2).mean((1, 2)))
        # Two of 255 levels are added, lest two empty images be told apart by noise.
        contrast = np.sqrt((energy[some] + energy[others]) / 2) + 2
        shift = np.abs(means[some] - means[others]).max((1, 2))
        distance = difference / contrast * np.where(plain[some] & plain[others], PLAIN_WEIGHT, 1.0)
        yield pairs, np.where(shift <= MAX_SHIFT * contrast, distance, np.inf)


def _near_hashes(signs: npt.NDArray[np.float32], joined: _Joined) -> Iterator[npt.NDArray[np.int64]]:
    """Pairs of rows that differ in few bits, ``(P, 2)``, the lower index first, block by block."""
    for top in range(0, len(signs), BLOCK):
        for left in range(top, len(signs), COLUMNS):
            rows, columns = signs[top : top + BLOCK], signs[left : left + COLUMNS]
            near_ = rows @ columns.T >= 128 - 2 * MAX_BITS
            # On the diagonal and below it are no pairs: an image and itself, and what is above it the other way round.
            near_ &= np.arange(left, left + len(columns)) > np.arange(top, top + len(rows))[:, None]
            near_ &= joined.first[left : left + COLUMNS] != joined.first[top : top + BLOCK, None]
            pairs = np.argwhere(near_) + np.array([top, left])
            for start in range(0, len(pairs), PAIRS):
                some = pairs[start : start + PAIRS]
                some = some[np.not_equal(*joined.first[some].T)]
                if len(some):
                    yield some
