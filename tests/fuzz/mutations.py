"""Inputs that nobody made on purpose: bytes of good ones, changed at random from a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

#: Numbers that lengths, sizes and offsets overflow at.
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
#: Texts that mean something to one of the readers.
WORDS = (
    b"null", b"-1", b"1e999", b"NaN", b'"\\ud800"', b"[]", b"{}", b"true", b"../", b"\x00", b"\xff\xda", b"PK\x03\x04",
    b"IHDR", b"IDAT", b"\xef\xbb\xbf", "\u202e".encode(), "　".encode(), b"9" * 400,
)  # fmt: skip


def mutated(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds with one to eight changes."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        _change(rng, data, seeds)
    return bytes(data)


def _change(rng: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    place = rng.randrange(len(data) + 1)
    length = min(rng.choice((1, 2, 4, 16, 256)), len(data) - place)
    match rng.randrange(8):
        case 0 if length:
            data[place] ^= 1 << rng.randrange(8)
        case 1 if length:
            data[place] = rng.randrange(256)
        case 2:
            width = rng.choice((1, 2, 4))
            number = rng.choice(EDGES) & ((1 << 8 * width) - 1)
            data[place : place + width] = number.to_bytes(width, rng.choice(("big", "little")))
        case 3:
            del data[place : place + length]
        case 4:
            data[place:place] = data[place : place + length] * rng.choice((1, 2, 50))
        case 5:
            other = rng.choice(seeds)
            start = rng.randrange(len(other) + 1)
            data[place : place + length] = other[start : start + rng.choice((1, 16, 256))]
        case 6:
            data[place:place] = rng.choice(WORDS)
        case _:
            del data[max(place, 1) :]
