"""What the benchmark sends: functions, request bodies as the OpenWhisk invoker makes them, payloads and a zip.

Everything is made from fixed seeds, so that two runs, and two servers, get the same bytes.
"""

from __future__ import annotations

import base64
import io
import json
import random
import time
import zipfile
from typing import Any, Dict, List, Tuple

HELLO_CODE = '''\
def main(args):
    """Greets the one named in the arguments."""
    name = args.get("name", "stranger")
    return {"greeting": "Hello " + name + "!"}
'''
HELLO_VALUE = {"name": "Jürgen"}
HELLO_RESULT = {"greeting": "Hello Jürgen!"}

ECHO_CODE = '''\
def main(args):
    return args
'''

LOG_LINES = 1000
LOG_CODE = f'''\
def main(args):
    for number in range({LOG_LINES}):
        print("line", number, "of the log: processed 17 records in 0.42 s, naïve approach")
    return {{"lines": {LOG_LINES}}}
'''
LOG_RESULT = {"lines": LOG_LINES}
LOG_TEXT = "".join(
    f"line {number} of the log: processed 17 records in 0.42 s, naïve approach\n" for number in range(LOG_LINES)
)

# The same as AWS Lambda functions.
LAMBDA_HELLO_CODE = HELLO_CODE.replace("main(args)", "lambda_handler(event, context)").replace("args", "event")
LAMBDA_ECHO_CODE = ECHO_CODE.replace("main(args)", "lambda_handler(event, context)").replace("args", "event")
LAMBDA_LOG_CODE = LOG_CODE.replace("main(args)", "lambda_handler(event, context)")

ZIP_MODULES = 60
ZIP_SOURCE_BYTES = 1_000_000
ZIP_VALUE = {"count": 3}


def to_json(value: Any) -> bytes:
    """JSON as most clients send it: UTF-8, one line."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8")


def init_body(code: str, binary: bool = False) -> bytes:
    """The body of `/init` for source text, or for a base64 zip if `binary`."""
    return to_json({"value": {"name": "bench", "main": "main", "binary": binary, "code": code, "env": {}}})


def run_body(value: Any) -> bytes:
    """The body of `/run` with every field the invoker sends; the deadline is an hour away, as text."""
    return to_json(
        {
            "value": value,
            "activation_id": "5c0f1b3f4a7e4d5a8f1b3f4a7e4d5a01",
            "transaction_id": "Qd7jgJ8nCSYNHdDiVmQ9T0kJrGkmvS0q",
            "namespace": "guest",
            "action_name": "/guest/bench",
            "action_version": "0.0.1",
            "api_host": "https://openwhisk.example.net",
            "api_key": "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgR",
            "deadline": str(int(time.time() * 1000) + 3_600_000),
        }
    )


_NAMES = ["Ana Sánchez", "Jürgen Groß", "李小龍", "Олена Шевченко", "Kofi Mensah", "Zoë O'Brien", "Mary Smith"]
_TAGS = ["new", "priority", "überfällig", "returned", "gift", "日本", 'a "quoted" word', "back\\slash"]
_NOTE = "Delivered to the neighbour; the customer asked for a call before noon – 50 % paid, 20 € open. "


def _order(number: int, source: random.Random) -> Dict[str, Any]:
    """One order of a web shop: some 520 bytes, 23 keys, texts with and without other letters than ASCII's."""
    return {
        "id": number,
        "uuid": f"{source.getrandbits(128):032x}",
        "customer": {"name": source.choice(_NAMES), "age": source.randrange(18, 90), "vip": source.random() < 0.1},
        "created": f"2024-{source.randrange(1, 13):02d}-{source.randrange(1, 29):02d}T10:00:00Z",
        "total": round(source.uniform(1, 5000), 2),
        "position": [round(source.uniform(-90, 90), 6), round(source.uniform(-180, 180), 6)],
        "items": [
            {
                "sku": f"A{source.randrange(10**6):06d}",
                "count": source.randrange(1, 9),
                "price": source.randrange(10**4) / 100,
            }
            for _ in range(3)
        ],
        "tags": source.sample(_TAGS, 2),
        "paid": source.random() < 0.7,
        "coupon": None,
        "note": _NOTE[: source.randrange(20, len(_NOTE))],
    }


def file_payload(size: int) -> Dict[str, Any]:
    """An object of exactly `size` bytes as JSON: a binary file in one base64 string."""
    value = {"name": "scan.png", "content": ""}
    length = size - len(to_json(value))
    file = random.Random(size).getrandbits(8 * length).to_bytes(length, "big")
    value["content"] = base64.b64encode(file)[:length].decode("ascii")
    return value


def orders_payload(size: int) -> Dict[str, Any]:
    """An object of exactly `size` bytes as JSON: orders of a web shop by number, a text fills the rest.

    Args:
        size: bytes of `to_json` of the result, at least 1000
    """
    source = random.Random(size)
    orders: Dict[str, Any] = {}
    value = {"orders": orders, "rest": ""}
    left = size - len(to_json(value))
    while True:
        key, order = f"order-{len(orders)}", _order(len(orders), source)
        left -= len(to_json({key: order}))  # the braces stand for the comma and blank before the next
        if left < 0:
            break
        orders[key] = order
    value["rest"] = "x" * (size - len(to_json(value)))
    return value


_NOUNS = ["order", "invoice", "customer", "shipment", "product", "ticket", "payment", "contract", "account", "message"]
_FIELDS = ["number", "amount", "status", "country", "weight", "priority", "created", "updated", "owner", "comment"]

_MODULE_HEAD = '''\
"""{Noun} handling, part {index} of the service.

Reads {noun} records as they come from the upstream interface, checks them, and prepares them for the report.
Records are plain dictionaries; a record that cannot be used is skipped and counted, never an error.
"""
# built for round {round}

import math

DEFAULT_{NOUN}_LIMIT = {number}
STATUS_NAMES = {{"open": 1, "waiting": 2, "closed": 3, "cancelled": {number}}}


def signature(count):
    """Tells that this module was loaded: a number that depends on it and on the argument."""
    return {factor} * count + {offset}

'''

_FUNCTION = '''
def select_{noun}_{field}_{index}(records, minimum={number}, fallback=None):
    """Selects the records whose {field} is large enough.

    Args:
        records: an iterable of dictionaries
        minimum: the smallest {field} that counts
        fallback: used where a record has no {field}

    Returns:
        a list of pairs of position and {field}, largest first
    """
    chosen = []
    skipped = 0
    for position, record in enumerate(records):
        value = record.get("{field}", fallback)
        if value is None or not isinstance(value, (int, float)):
            skipped += 1
            continue
        if value >= minimum and math.isfinite(value):
            chosen.append((position, round(value * {factor} / 100.0, 2)))
        elif "{other}" in record:
            chosen.append((position, len(str(record["{other}"])) + {offset}))
    if skipped > len(chosen):
        raise ValueError("too many {noun} records without {field}: %d of %d" % (skipped, skipped + len(chosen)))
    return sorted(chosen, key=lambda pair: (-pair[1], pair[0]))

'''

_CLASS = '''
class {Noun}{Field}Store{index}:
    """Keeps {noun} records by {field} and answers questions about them."""

    version = "{factor}.{number}"

    def __init__(self, records=(), limit=DEFAULT_{NOUN}_LIMIT):
        self._by_key = {{}}
        self._limit = limit
        self._dropped = []
        for record in records:
            self.add(record)

    def add(self, record):
        """Adds a record; the oldest of the same {field} goes when there are too many."""
        key = str(record.get("{field}", "unknown")).strip().lower()
        bucket = self._by_key.setdefault(key, [])
        bucket.append(dict(record, source="{noun}-{index}"))
        while len(bucket) > self._limit:
            self._dropped.append(bucket.pop(0))
        return len(bucket)

    def summary(self):
        """Counts and totals of {other} for each {field}."""
        result = {{}}
        for key, bucket in sorted(self._by_key.items()):
            values = [float(record["{other}"]) for record in bucket if "{other}" in record]
            result[key] = {{"count": len(bucket), "total": sum(values), "mean": sum(values) / max(len(values), 1)}}
        return result

    @property
    def dropped(self):
        """How many records had to go."""
        return len(self._dropped)

    def __repr__(self):
        return "%s(%d keys, %d dropped)" % (type(self).__name__, len(self._by_key), self.dropped)

'''


def _module(index: int, size: int, round_number: int, source: random.Random) -> Tuple[str, int, int]:
    """The source of one module of about `size` bytes, and factor and offset of its `signature`."""
    noun = _NOUNS[index % len(_NOUNS)]
    numbers = {"factor": source.randrange(2, 100), "offset": source.randrange(1000)}
    words = {"noun": noun, "Noun": noun.capitalize(), "NOUN": noun.upper()}
    parts = [_MODULE_HEAD.format(index=index, round=round_number, number=source.randrange(4, 90), **words, **numbers)]
    while sum(map(len, parts)) < size:
        field, other = source.sample(_FIELDS, 2)
        template = _CLASS if len(parts) % 3 == 0 else _FUNCTION
        parts.append(
            template.format(
                index=len(parts), field=field, Field=field.capitalize(), other=other, number=source.randrange(4, 900),
                factor=source.randrange(2, 100), offset=source.randrange(1000), **words,
            )
        )
    return "".join(parts), numbers["factor"], numbers["offset"]


def zip_sources(round_number: int) -> Tuple[Dict[str, str], Dict[str, int]]:
    """The files of the zip function and the result it has for `ZIP_VALUE`.

    A package `service` of `ZIP_MODULES` modules, about `ZIP_SOURCE_BYTES` in all, each imported by `__main__.py` and
    asked for its signature, so that the result is wrong if one is missing.

    Args:
        round_number: stands in each module, so that a cache that outlives a server has seen no round's sources before
    """
    source = random.Random(ZIP_MODULES)
    names: List[str] = [f"{_NOUNS[index % len(_NOUNS)]}_{index:02d}" for index in range(ZIP_MODULES)]
    files = {"service/__init__.py": '"""The service of the benchmark."""\n'}
    total = 0
    for index, name in enumerate(names):
        text, factor, offset = _module(index, ZIP_SOURCE_BYTES // ZIP_MODULES - 600, round_number, source)
        files[f"service/{name}.py"] = text
        total += factor * ZIP_VALUE["count"] + offset
    files["__main__.py"] = (
        "".join(f"from service import {name}\n" for name in names)
        + f"\nMODULES = [{', '.join(names)}]\n\n\n"
        + "def main(args):\n"
        + '    return {"modules": len(MODULES), "total": sum(module.signature(args["count"]) for module in MODULES)}\n'
    )
    return files, {"modules": ZIP_MODULES, "total": total}


def zip_init_body(round_number: int) -> bytes:
    """The body of `/init` for the zip function, deflated as `zip -r` does it."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        for name, text in zip_sources(round_number)[0].items():
            entry = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            entry.external_attr = 0o100644 << 16
            writer.writestr(entry, text, zipfile.ZIP_DEFLATED)
    return archive_init_body(archive.getvalue())


def archive_init_body(archive: bytes) -> bytes:
    """The body of `/init` for an archive."""
    return init_body(base64.b64encode(archive).decode("ascii"), binary=True)


def archive_of(body: bytes) -> bytes:
    """The archive in a body of `/init`."""
    return base64.b64decode(json.loads(body)["value"]["code"])
