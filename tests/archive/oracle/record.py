"""Record what the Java client makes of thousands of generated topics: `make oracle`.

Schemas, chains of their versions and values are drawn; fastavro writes them, with the schema of
each version; `Oracle.java` decodes them by the newest. Topics and answers go to
`recorded.jsonl.xz`, which the tests read: without a Java, and without drawing anything. Topics of
JSON are drawn in `json_topics.py`, or written by the Java client, and are read by
`JsonOracle.java`: `recorded_json.jsonl.xz`. What `Encrypt.java` encrypts, for keys made for that,
goes to `encrypted.json`. With `json` as argument only the topics of JSON are recorded.
"""

from __future__ import annotations

import base64
import io
import json
import lzma
import random
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import fastavro
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.archive.oracle import json_topics
from workbench.services import artifacts, jdk

HERE = Path(__file__).parent
RECORDED = HERE / "recorded.jsonl.xz"
RECORDED_JSON = HERE / "recorded_json.jsonl.xz"
ENCRYPTED = HERE / "encrypted.json"
TOPICS = 2400
LOGICAL = {
    "int": ["date", "time-millis"],
    "long": [
        "time-micros", "timestamp-millis", "timestamp-micros",
        "local-timestamp-millis", "local-timestamp-micros",
    ],
    "string": ["uuid"],
}  # fmt: skip
SCALARS = ["boolean", "int", "long", "float", "double", "bytes", "string"]
PRIMITIVES = {
    "BOOLEAN": 1, "INT8": 1, "INT16": 2, "INT32": 4, "INT64": 8, "FLOAT": 4, "DOUBLE": 8,
    "DATE": 8, "TIME": 8, "TIMESTAMP": 8, "INSTANT": 12, "LOCAL_DATE": 8, "LOCAL_TIME": 8,
    "LOCAL_DATE_TIME": 16, "STRING": None, "BYTES": None,
}  # fmt: skip


class Draw:
    """Draws schemas, their successors, and values, all from one seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.names = 0

    def name(self, kind: str) -> str:
        self.names += 1
        return f"{kind}{self.names}"

    def type(self, depth: int = 0):
        pick = self.chance.random()
        if pick < 0.45 or depth > 2:
            return self.scalar()
        if pick < 0.62:
            inner = self.type(depth + 1) if depth == 0 else self.scalar()
            return inner if isinstance(inner, list) else ["null", inner]
        if pick < 0.68:
            symbols = [f"S{i}" for i in range(self.chance.randint(1, 4))]
            return {"type": "enum", "name": self.name("E"), "symbols": symbols}
        if pick < 0.74:
            size = self.chance.randint(1, 6)
            return {"type": "fixed", "name": self.name("F"), "size": size}
        if pick < 0.80:
            return {"type": "array", "items": self.type(depth + 1)}
        if pick < 0.86:
            return {"type": "map", "values": self.type(depth + 1)}
        if pick < 0.93:
            return self.record(depth + 1)
        return self.chance.sample(["null", *SCALARS], self.chance.randint(2, 4))

    def scalar(self):
        kind = self.chance.choice(SCALARS)
        pick = self.chance.random()
        if pick < 0.25 and kind in LOGICAL:
            return {"type": kind, "logicalType": self.chance.choice(LOGICAL[kind])}
        if pick < 0.3 and kind == "bytes":
            digits = self.chance.randint(1, 45)
            return {
                "type": "bytes", "logicalType": "decimal",
                "precision": digits, "scale": self.chance.randint(0, digits),
            }  # fmt: skip
        return kind

    def record(self, depth: int = 0):
        fields = [
            {"name": f"f{i}", "type": self.type(depth)} for i in range(self.chance.randint(1, 5))
        ]
        return {"type": "record", "name": self.name("R"), "fields": fields}

    def successor(self, record):
        """Return the next version: a field goes, comes with a default, is promoted or renamed."""
        fields = [dict(field) for field in record["fields"]]
        step = self.chance.random()
        if step < 0.25 and len(fields) > 1:
            del fields[self.chance.randrange(len(fields))]
        elif step < 0.6:
            kind = self.type()
            default = self.default(kind)
            if default is not NO:
                name = self.name("g")
                fields.insert(
                    self.chance.randint(0, len(fields)),
                    {"name": name, "type": kind, "default": default},
                )
        elif step < 0.85:
            field = self.chance.choice(fields)
            wider = {"int": ["long", "double"], "long": ["double", "float"], "float": ["double"],
                     "string": ["bytes"], "bytes": ["string"]}  # fmt: skip
            if isinstance(field["type"], str) and field["type"] in wider and "default" not in field:
                kind = self.chance.choice(wider[field["type"]])
                field["type"] = self.chance.choice([kind, ["null", kind]])
        else:
            field = self.chance.choice(fields)
            field["aliases"] = [field["name"]]
            field["name"] = self.name("h")
        return {**record, "fields": fields}

    def default(self, kind):
        """Return a default as JSON has it, or NO where none is drawn for such a type."""
        if isinstance(kind, list):
            return self.default(kind[0])
        if isinstance(kind, dict):
            if kind["type"] == "enum":
                return kind["symbols"][0]
            if kind["type"] == "fixed":
                return "".join(chr(self.chance.randrange(256)) for _ in range(kind["size"]))
            if kind["type"] == "array":
                return []
            if kind["type"] == "map":
                return {}
            return (
                NO
                if "logicalType" in kind or kind["type"] == "record"
                else self.default(kind["type"])
            )
        return {
            "null": None, "boolean": True, "int": -7, "long": 1 << 40, "float": 1.5, "double": 0.1,
            "bytes": "\u00ff\u0000a", "string": "d\u00e4",
        }[kind]  # fmt: skip

    def value(self, kind, *, in_union: bool = False):
        if isinstance(kind, list):
            branch = self.chance.choice(kind)
            value = self.value(branch, in_union=True)
            return value if branch == "null" else (label(branch), value)
        if isinstance(kind, dict) and kind["type"] not in (*SCALARS,):
            return self.composed(kind)
        logical = kind.get("logicalType", "") if isinstance(kind, dict) else ""
        base = kind if isinstance(kind, str) else kind["type"]
        if logical == "decimal":
            size = (10 ** kind["precision"] - 1).bit_length() // 8 + 1
            number = self.chance.randint(
                -(10 ** kind["precision"]) + 1, 10 ** kind["precision"] - 1
            )
            return number.to_bytes(size, "big", signed=True)
        if logical == "uuid":
            return f"00000000-0000-4000-8000-{self.chance.randrange(1 << 40):012x}"
        if logical.startswith("time-"):
            return self.chance.randrange(86_400_000)
        return self.plain(base)

    def plain(self, kind: str):
        chance = self.chance
        if kind == "int":
            return chance.choice([0, -1, chance.randint(-(2**31), 2**31 - 1)])
        if kind == "long":
            # few beyond 2 ** 53: a double does not hold them, which is a misfit
            return chance.choice(
                [0, -1, chance.randint(-(2**53), 2**53), chance.randint(-(2**63), 2**63 - 1)]
            )
        if kind in ("float", "double"):
            odd = [0.0, -0.0, float("nan"), float("inf"), chance.gauss(0, 1e6), 1e300]
            number = chance.choice(odd)
            if kind == "double":
                return number
            return struct.unpack("<f", struct.pack("<f", 1.0 if number == 1e300 else number))[0]
        if kind == "bytes":
            return chance.randbytes(chance.randrange(5))
        if kind == "string":
            return "".join(
                chance.choice('aä\u20ac\U0001f600 "\\\n') for _ in range(chance.randrange(6))
            )
        return None if kind == "null" else chance.random() < 0.5

    def composed(self, kind):
        many = range(self.chance.randrange(4))
        if kind["type"] == "enum":
            return self.chance.choice(kind["symbols"])
        if kind["type"] == "fixed":
            return self.chance.randbytes(kind["size"])
        if kind["type"] == "array":
            return [self.value(kind["items"]) for _ in many]
        if kind["type"] == "map":
            return {f"k{i}": self.value(kind["values"]) for i in many}
        return {field["name"]: self.value(field["type"]) for field in kind["fields"]}


NO = object()


def label(branch) -> str:
    if isinstance(branch, str):
        return branch
    return branch.get("name", branch["type"])


def without_logical(kind):
    if isinstance(kind, list):
        return [without_logical(branch) for branch in kind]
    if not isinstance(kind, dict):
        return kind
    parts = {
        k: without_logical(v) if k in ("type", "items", "values") else v for k, v in kind.items()
    }
    if "fields" in parts:
        parts["fields"] = [{**f, "type": without_logical(f["type"])} for f in parts["fields"]]
    parts.pop("logicalType", None)
    return parts


def topics():
    draw = Draw(20260105)
    for _ in range(TOPICS):
        chain = [draw.record()]
        while draw.chance.random() < 0.5 and len(chain) < 4:
            chain.append(draw.successor(chain[-1]))
        messages = []
        for _ in range(draw.chance.randint(1, 5)):
            version = draw.chance.randrange(len(chain))
            out = io.BytesIO()
            schema = without_logical(chain[version])
            fastavro.schemaless_writer(out, schema, draw.value(chain[version]))
            messages.append([version, base64.b64encode(out.getvalue()).decode()])
        yield {"type": "AVRO", "schemas": chain, "messages": messages}
    for kind, size in PRIMITIVES.items():
        values = []
        for i in range(40):
            raw = draw.chance.randbytes(draw.chance.randrange(9) if size is None else size)
            if i % 2 and size and size >= 8:  # times that are not far away
                raw = struct.pack(">q", draw.chance.randrange(1 << 34)) + raw[8:]
            if size in (12, 16):
                rest = draw.chance.randrange(10**9)
                raw = raw[:8] + struct.pack(">i" if size == 12 else ">q", rest)
            values.append([0, base64.b64encode(raw).decode()])
        yield {"type": kind, "schemas": [], "messages": values}


def java_client() -> list[str]:
    """Return the command that runs a class of this folder, with the jars of Pulsar."""
    jars = sorted((artifacts.pulsar_home() / "lib").glob("*.jar"))
    classes = tempfile.mkdtemp()
    path = ":".join(map(str, jars))
    (compiler,) = artifacts.fetch("compiler")
    java = str(jdk.java())
    command = [java, "-jar", str(compiler), "-17", "-nowarn", "-cp", path, "-d", classes]
    subprocess.run([*command, *map(str, HERE.glob("*.java"))], check=True)
    return [java, "-cp", f"{classes}:{path}"]


def encrypted(java: list[str]) -> list[dict[str, str]]:
    """Return what the Java client encrypted for fresh keys, and the private halves."""
    with tempfile.TemporaryDirectory() as folder:
        private = {name: _write_keys(Path(folder), name, make()) for name, make in KEYS.items()}
        done = subprocess.run(
            [*java, "Encrypt", folder, *KEYS], capture_output=True, text=True, check=True
        )
    rows = [line.split() for line in done.stdout.split("\n") if line.startswith("answers ")]
    return [
        {"key": name, "private": private[name], "metadata": metadata, "payload": payload}
        for _, name, metadata, payload in rows
    ]


KEYS = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "k256": lambda: ec.generate_private_key(ec.SECP256K1()),
}


def _write_keys(folder: Path, name: str, key) -> str:
    """Write the public half as `openssl` does, and return the private one."""
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / f"{name}.public").write_bytes(public)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


def decoded(java: list[str]) -> list[dict]:
    """Return the topics with what the Java client decoded."""
    rows = list(topics())
    answers = _answers([*java, "Oracle"], rows)
    return [{**row, "answers": answer} for row, answer in zip(rows, answers, strict=True)]


def decoded_json(java: list[str]) -> list[dict]:
    """Return topics of JSON with what the Java client decoded."""
    written = _answers([*java, "JsonOracle", "write", str(json_topics.SEED), "120"], [])
    rows = [*json_topics.mutated(written), *json_topics.generated(Draw(json_topics.SEED))]
    answers = _answers([*java, "JsonOracle"], rows)
    return [{**row, **answer} for row, answer in zip(rows, answers, strict=True)]


def _answers(command: list[str], rows: list[dict]) -> list:
    lines = "\n".join(map(json.dumps, rows))
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    marked = [line for line in done.stdout.split("\n") if line.startswith("answers ")]
    return [json.loads(answer.removeprefix("answers ")) for answer in marked]


def main() -> None:
    """Write the files anew."""
    java = java_client()
    _write(RECORDED_JSON, decoded_json(java))
    if sys.argv[1:] != ["json"]:
        _write(RECORDED, decoded(java))
        ENCRYPTED.write_text(json.dumps(encrypted(java), indent=1) + "\n")


def _write(path: Path, rows: list[dict]) -> None:
    content = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    path.write_bytes(lzma.compress(content.encode(), preset=9))


if __name__ == "__main__":
    main()
