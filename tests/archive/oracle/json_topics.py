"""Draw topics of JSON values: schemas, chains of their versions, and texts that do and do not fit.

Most values are what a producer writes; one in six is odd: a number where text is expected, a form
that JSON does not have, an escape that names no character.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from typing import Any

TOPICS = 700
MUTANTS = 3  # of each value that the Java client wrote
SEED = 20260106

WHOLE = [
    "0", "-0", "1", "-1", "7.0", "1e2", "12E-1", "1.50", "2147483647", "2147483648", "-2147483648",
    "-2147483649", "9007199254740993", "9223372036854775807", "9223372036854775808",
    "-9223372036854775808", "-9223372036854775809", "1e18", "9223372036854775807.0", "1" + "0" * 40,
]  # fmt: skip
FRACTIONS = [
    "0.1", "-0.0", "1.0", "3", "1e308", "1e309", "-1e400", "4.9e-324", "1e-400",
    "0.30000000000000004", "3.4028235e38", "3.5e38", "1.00000017881393432617187499",
    "1.0000000596046447753906251", "123456789012345678901234567890", "9007199254740993", "1" * 320,
    "5e-1", "1E+2",
]  # fmt: skip
TEXTS = [
    '""', '"a"', '"\\u00e4"', '"\u20ac"', '"\U0001f600"', '"\\ud83d\\ude00"', '"\\ud83d"',
    '"\\ude00x"', '"\\ud83d\\u0041"', '"\\u0000"', '"\\/\\b\\f"', '"NaN"', '"1.5"', '"true"',
    '"a\\"b\\\\"',
]  # fmt: skip
TIMES = [
    "1700000000.005000000", "-0.500000000", "0.0", "5E-9", "9.99E-7", "1700000000.005",
    "[2024,1,1]", "[2024,2,30]", "[2024,1,1,12,30]", "[2024,1,1,12,30,15,5000000]", "[12,30]",
    "[23,59,59,999999999]", "[24,0]", "[12,30,15]", '"2024-01-01"', '"2024-01-01T00:00:00Z"',
    "1700000000005", "19723", "86399999", "86400000", "-1",
]  # fmt: skip
JACKSONS = {
    "timestamp": ["1700000000.005000000", "-0.500000000", "0.0", "5E-9", "9.99E-7"],
    "date": ["[2024,1,1]", "[1969,12,31]", "[9999,12,31]"],
    "time": ["[12,30]", "[23,59,59,999999999]", "[12,30,15]"],
    "local": ["[2024,1,1,12,30]", "[2024,1,1,12,30,15,5000000]", "[1969,12,31,23,59,59,1]"],
}
ODD = [
    "null", "true", "false", "1", "1.5", '"x"', '"1"', '""', "[]", "{}", "[1]", '{"a":1}', '"NaN"',
    '"Infinity"', '"-Infinity"', "NaN", "Infinity", "-Infinity", "01", "+1", ".5", "1.", "0x1",
    "1e", "--1", "'x'", '"\\x"', '"\\u12"', '"\t"', "nul", "TRUE", "1" * 1200, "1e99999999999",
    "[" * 70 + "]" * 70, '{"a":[{"b":null}]}', "1.0", "-0", "1_0", "",
]  # fmt: skip
AROUND = [
    lambda text: " \n\t" + text + "\r ",
    lambda text: text + "x",
    lambda text: text + text,
    lambda text: "\ufeff" + text,
    lambda text: text[:-1],
    lambda text: "[" + text + "]",
    lambda text: "",
    lambda text: " ",
    lambda text: "null",
    lambda text: '"a"',
    lambda text: "{}",
    lambda text: text + "\0",
    lambda text: "// c\n" + text,
    lambda text: text[:-1] + ",}",
]
AS_BYTES = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xe2\x82", b"\xf5\x80\x80\x80", b"\x80"]


class Texts:
    """Draws the JSON texts of values of schemas that `draw`, a `record.Draw`, makes."""

    def __init__(self, draw: Any) -> None:
        self.draw, self.chance = draw, draw.chance

    def value(self, kind: Any) -> str:
        """Return a text for a value of a type."""
        if self.chance.random() < 0.02:
            return self.chance.choice(ODD)
        if isinstance(kind, list):
            return self.value(self.chance.choice(kind))
        base = kind if isinstance(kind, str) else kind["type"]
        logical = kind.get("logicalType", "") if isinstance(kind, dict) else ""
        if isinstance(kind, dict) and base in ("record", "map", "array", "enum", "fixed"):
            return self.composed(kind, base)
        if logical == "decimal":
            return self.decimal(kind)
        if logical and logical != "uuid":
            return self.time(logical)
        return self.plain(base)

    def plain(self, kind: str) -> str:
        """Return a text for a value of a primitive type."""
        chance = self.chance
        if kind in ("int", "long"):
            usual = str(chance.randint(-(10**4), 10**4))
            return chance.choice([*[usual] * 6, chance.choice(WHOLE)])
        if kind in ("float", "double"):
            usual = repr(chance.gauss(0, 1e3))
            return chance.choice([*[usual] * 4, chance.choice(FRACTIONS)])
        if kind == "bytes":
            raw = base64.b64encode(chance.randbytes(chance.randrange(6))).decode()
            odd = [raw[:-1], raw + "=", raw + "\\n", "QR==", "a-_b", "QQ", "Q Q=="]
            return f'"{chance.choice([raw] * 40 + odd)}"'
        if kind == "string":
            return chance.choice([*TEXTS, '"on"', '"on"', '"on"'])
        return "null" if kind == "null" else chance.choice(["true", "false"])

    def decimal(self, kind: dict[str, Any]) -> str:
        """Return a number of about as many digits as a decimal has."""
        digits = self.chance.randint(1, kind["precision"] + self.chance.choice([0, 0, 0, 1]))
        text = str(self.chance.randrange(10**digits))
        point = max(len(text) - self.chance.randint(0, kind["scale"]), 1)
        written = text[:point] + ("." + text[point:] if text[point:] else "")
        scaled = f"{text}E-{kind['scale']}"
        return self.chance.choice([written, "-" + written, written, scaled, "1E+1"])

    def time(self, logical: str) -> str:
        """Return a number of the type's unit, or one of the forms that Jackson writes."""
        if self.chance.random() < 0.5:
            return str(self.chance.randrange(86_400_000))
        if self.chance.random() < 0.3:
            return self.chance.choice(TIMES)
        return self.chance.choice(JACKSONS[logical.partition("-")[0]])

    def composed(self, kind: dict[str, Any], base: str) -> str:
        """Return a text for a record, a list, a map, an enum or a fixed."""
        many = range(self.chance.randrange(4))
        if base == "enum":
            return json.dumps(self.chance.choice([*kind["symbols"], *kind["symbols"], "OTHER"]))
        if base == "fixed":
            size = kind["size"] + self.chance.choice([0] * 9 + [1])
            return json.dumps(base64.b64encode(self.chance.randbytes(size)).decode())
        if base == "array":
            return "[" + ",".join(self.value(kind["items"]) for _ in many) + "]"
        if base == "map":
            keys = self.chance.choices(["k", "k1", "", "\\u00e4", "x y", "k"], k=len(many))
            return "{" + ",".join(f'"{key}":{self.value(kind["values"])}' for key in keys) + "}"
        return self.record(kind)

    def record(self, kind: dict[str, Any]) -> str:
        """Return an object: a field may be missing, unknown, twice, or have an escaped name."""
        pairs = [(field["name"], self.value(field["type"])) for field in kind["fields"]]
        step = self.chance.random()
        if step < 0.1:
            del pairs[self.chance.randrange(len(pairs))]
        elif step < 0.15:
            pairs.insert(self.chance.randint(0, len(pairs)), ("extra", self.chance.choice(ODD)))
        elif step < 0.2:
            name, _ = self.chance.choice(pairs)
            field = next(field for field in kind["fields"] if field["name"] == name)
            pairs.append((name, self.value(field["type"])))
        elif step < 0.23:
            name, text = pairs[0]
            pairs[0] = (f"\\u{ord(name[0]):04x}{name[1:]}", text)
        elif step < 0.3:
            self.chance.shuffle(pairs)
        space = self.chance.choice(["", "", "", " "])
        return "{" + ",".join(f'"{name}":{space}{text}' for name, text in pairs) + "}"

    def message(self, kind: dict[str, Any]) -> bytes:
        """Return a whole value; some are broken, or have something around them."""
        text = self.record(kind)
        return self.around(text)

    def around(self, text: str) -> bytes:
        """Return the text's bytes, of one in twenty with damage."""
        step = self.chance.random()
        if step < 0.04:
            text = self.chance.choice(AROUND)(text)
        raw = text.encode("utf-8", "surrogatepass")
        if step > 0.99:
            at = raw.find(b'"') + 1
            raw = raw[:at] + self.chance.choice(AS_BYTES) + raw[at:]
        return raw


def generated(draw: Any) -> Iterator[dict[str, Any]]:
    """Yield topics of drawn schemas and texts, without answers."""
    texts = Texts(draw)
    for _ in range(TOPICS):
        chain = [draw.record()]
        while draw.chance.random() < 0.5 and len(chain) < 4:
            chain.append(draw.successor(chain[-1]))
        messages = []
        for _ in range(draw.chance.randint(4, 12)):
            version = draw.chance.randrange(len(chain))
            messages.append([version, texts.message(chain[version]).decode("latin-1")])
        yield topic(chain, messages)


def mutated(written: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield topics of what the Java client wrote: as it is, and with a value replaced."""
    for case in written:
        chance = random.Random(f"{SEED} {case['pojo']}")
        texts = [text.encode("latin-1").decode() for text in case["messages"]]
        mutants = [_mutant(text, chance) for text in texts for _ in range(MUTANTS)]
        yield {
            **topic([case["schema"]], _messages(texts)),
            "pojo": case["pojo"],
            "held": case["held"],
        }
        yield {**topic([case["schema"]], _messages(mutants)), "pojo": case["pojo"]}


def _mutant(text: str, chance: random.Random) -> str:
    """Return an object of Jackson's with another value for one of its fields."""
    pairs = list(_pairs(text))
    at = chance.randrange(len(pairs))
    pairs[at] = (pairs[at][0], chance.choice([*WHOLE, *FRACTIONS, *TEXTS, *TIMES, *ODD]))
    return "{" + ",".join(f"{name}:{part}" for name, part in pairs) + "}"


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield the fields of an object, both as written, of a text without white space."""
    position, decoder = 1, json.JSONDecoder()
    while position < len(text):
        _, colon = decoder.raw_decode(text, position)
        _, end = decoder.raw_decode(text, colon + 1)
        yield text[position:colon], text[colon + 1 : end]
        position = end + 1


def _messages(texts: list[str]) -> list[list[Any]]:
    return [[0, text.encode("utf-8", "surrogatepass").decode("latin-1")] for text in texts]


def topic(schemas: list[Any], messages: list[list[Any]]) -> dict[str, Any]:
    """Return a topic as `JsonOracle.java` takes it; bytes are text of latin-1."""
    return {"type": "JSON", "schemas": schemas, "messages": messages}
