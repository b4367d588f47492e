# SPDX-License-Identifier: Apache-2.0
"""Damage to a file: flipped bytes, cuts, exchanged parts, huge and absurd numbers, deep nesting."""

from __future__ import annotations

import random
import re

NUMBERS = ("-1", "0", "1e308", "-1e300", "NaN", "Infinity", "2147483648", "18446744073709551616", "9" * 5000, "1.5")
WORDS = ("null", '""', "[]", "{}", "true", '"x"', "[[]]")
_FLIPS, _DEEP, _PATCH = 8, 20_000, (b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0" * 4, b"\x00\x00\x00\x80")


def mutant(data: bytes, seed: str) -> bytes:
    """Damaged in one of six ways, in text also in its words; equal seeds, equal damage."""
    draw = random.Random(seed)
    ways = [flipped, cut, exchanged, patched, repeated]
    if b"\0" not in data:  # text
        ways += [renumbered, renumbered, reworded, nested]
    return draw.choice(ways)(data, draw)


def flipped(data: bytes, draw: random.Random) -> bytes:
    """Some bytes are others."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, _FLIPS)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def cut(data: bytes, draw: random.Random) -> bytes:
    """The beginning alone, or without a part."""
    start, stop = sorted(draw.choices(range(len(data)), k=2))
    return data[:start] + (data[stop:] if draw.random() < 0.5 else b"")


def exchanged(data: bytes, draw: random.Random) -> bytes:
    """Two parts change places."""
    a, b, c, d = sorted(draw.choices(range(len(data) + 1), k=4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def repeated(data: bytes, draw: random.Random) -> bytes:
    """A part stands there several times."""
    a, b = sorted(draw.choices(range(len(data) + 1), k=2))
    return data[:b] + data[a:b] * draw.randint(1, 9) + data[b:]


def patched(data: bytes, draw: random.Random) -> bytes:
    """Four bytes are a number at the end of its range."""
    at = draw.randrange(len(data))
    return data[:at] + draw.choice(_PATCH) + data[at + 4 :]


def renumbered(data: bytes, draw: random.Random) -> bytes:
    """A number is another, one that few expect or one of the file."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data))
    if not found:
        return flipped(data, draw)
    number = draw.choice(found)
    other = draw.choice(NUMBERS).encode() if draw.random() < 0.7 else draw.choice(found)[0]
    return data[: number.start()] + other + data[number.end() :]


def reworded(data: bytes, draw: random.Random) -> bytes:
    """A word or a list is of another kind."""
    found = list(re.finditer(rb'"[^"]*"|\[[^][]*\]|\w+', data))
    word = draw.choice(found)
    return data[: word.start()] + draw.choice(WORDS).encode() + data[word.end() :]


def nested(data: bytes, draw: random.Random) -> bytes:
    """Brackets or elements within each other, thousands of them."""
    at = draw.randrange(len(data))
    opening, closing = draw.choice([(b"[", b"]"), (b'{"a":', b"}"), (b"<a>", b"</a>"), (b"(", b")")])
    deep = draw.choice([50, _DEEP])
    return data[:at] + opening * deep + b"1" + closing * deep * draw.randint(0, 1) + data[at:]
