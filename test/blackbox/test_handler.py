"""How the handler is called: its shapes, the event and the context."""

import json
import time

import pytest

METADATA = {
    "activation_id": "5f56b7e9fbd84b2f96b7e9fbd83b2f2e",
    "action_name": "/fn-52ad03a2-8660-4f7c-55a5-81aa8bbe73b1/example",
    "action_version": "0.0.10",
    "namespace": "fn-52ad03a2-8660-4f7c-55a5-81aa8bbe73b1",
    "transaction_id": "452164dfeced0a7ad91ee675609024e7",
    "api_host": "https://faas-nyc1-2ef2e6cc.doserverless.co",
    "api_key": "secret:key",
    "deadline": "1675959023728",
}

BOTH = {"event": {"n": 1}, "version": "0.0.10"}
EVENT = {"event": {"n": 1}}
NOTHING = {"event": "none"}

#: Handlers by shape: source, expected result for the event {"n": 1} and version 0.0.10.
SHAPES = {
    "no-parameters": ("def main():\n    return {'event': 'none'}", NOTHING),
    "event": ("def main(event):\n    return {'event': event}", EVENT),
    "event-with-default": ("def main(event=None):\n    return {'event': event}", EVENT),
    "event-and-context": (
        "def main(event, context):\n    return both(event, context)",
        BOTH,
    ),
    "unused-event": (
        "def main(_, context):\n    return {'event': _, 'version': context.function_version}",
        BOTH,
    ),
    "context-with-default": (
        "def main(event, context=None):\n    return both(event, context)",
        BOTH,
    ),
    "both-with-defaults": (
        "def main(event=None, context=None):\n    return both(event, context)",
        BOTH,
    ),
    "third-with-default": (
        "def main(event, context, more=3):\n    return {**both(event, context), 'more': more}",
        {**BOTH, "more": 3},
    ),
    "positional-only": (
        "def main(event, context, /):\n    return both(event, context)",
        BOTH,
    ),
    "varargs": ("def main(*args):\n    return both(*args)", BOTH),
    "event-and-varargs": ("def main(event, *rest):\n    return both(event, *rest)", BOTH),
    "varargs-and-keywords": ("def main(*args, **kwargs):\n    return both(*args)", BOTH),
    "event-and-keywords": ("def main(event, **kwargs):\n    return {'event': event}", EVENT),
    "keyword-only-default": (
        "def main(event, *, flag=True):\n    return {'event': event, 'flag': flag}",
        {**EVENT, "flag": True},
    ),
    "decorated-with-wraps-one": (
        "@wrapping\ndef main(event):\n    return {'event': event}",
        EVENT,
    ),
    "decorated-with-wraps-two": (
        "@wrapping\ndef main(event, context):\n    return both(event, context)",
        BOTH,
    ),
    "decorated-with-wraps-none": (
        "@wrapping\ndef main():\n    return {'event': 'none'}",
        NOTHING,
    ),
    "decorated-twice": (
        "@wrapping\n@wrapping\ndef main(event, context):\n    return both(event, context)",
        BOTH,
    ),
    "decorated-without-wraps": (
        "@plain\ndef main(event, context):\n    return both(event, context)",
        BOTH,
    ),
    "decorated-without-wraps-one": (
        "@plain\ndef main(event):\n    return {'event': event}",
        EVENT,
    ),
    "decorated-without-wraps-none": (
        "@plain\ndef main():\n    return {'event': 'none'}",
        NOTHING,
    ),
    "lambda": ("main = lambda event, context: both(event, context)", BOTH),
    "callable-object": (
        "class Handler:\n"
        "    def __call__(self, event, context):\n        return both(event, context)\n"
        "main = Handler()",
        BOTH,
    ),
    "callable-object-one": (
        "class Handler:\n"
        "    def __call__(self, event):\n        return {'event': event}\n"
        "main = Handler()",
        EVENT,
    ),
    "partial": (
        "import functools\n"
        "def handle(prefix, event, context):\n    return both(event, context)\n"
        "main = functools.partial(handle, 'prefix')",
        BOTH,
    ),
    "partial-with-keyword": (
        "import functools\n"
        "def handle(event, prefix):\n    return {'event': event, 'prefix': prefix}\n"
        "main = functools.partial(handle, prefix='p')",
        {**EVENT, "prefix": "p"},
    ),
    "bound-method": (
        "class App:\n"
        "    def handle(self, event):\n        return {'event': event}\n"
        "main = App().handle",
        EVENT,
    ),
    "bound-method-two": (
        "class App:\n"
        "    def handle(self, event, context):\n        return both(event, context)\n"
        "main = App().handle",
        BOTH,
    ),
    "static-method": (
        "class App:\n"
        "    @staticmethod\n"
        "    def handle(event, context):\n        return both(event, context)\n"
        "main = App.handle",
        BOTH,
    ),
    "class-method": (
        "class App:\n"
        "    @classmethod\n"
        "    def handle(cls, event):\n        return {'event': event}\n"
        "main = App.handle",
        EVENT,
    ),
    "class": (
        "class main(dict):\n"
        "    def __init__(self, event, context):\n"
        "        super().__init__(both(event, context))",
        BOTH,
    ),
    "class-without-parameters": (
        "class main(dict):\n"
        "    def __init__(self):\n        super().__init__(event='none')",
        NOTHING,
    ),
    "async": (
        "import asyncio\n"
        "async def main(event, context):\n"
        "    await asyncio.sleep(0)\n"
        "    return both(event, context)",
        BOTH,
    ),
    "async-no-parameters": ("async def main():\n    return {'event': 'none'}", NOTHING),
    "async-decorated": (
        "@wrapping\nasync def main(event):\n    return {'event': event}",
        EVENT,
    ),
    "async-callable-object": (
        "class Handler:\n"
        "    async def __call__(self, event):\n        return {'event': event}\n"
        "main = Handler()",
        EVENT,
    ),
    "async-partial": (
        "import functools\n"
        "async def handle(prefix, event):\n    return {'event': event}\n"
        "main = functools.partial(handle, 'prefix')",
        EVENT,
    ),
    "returns-awaitable": (
        "import asyncio\n"
        "async def work(event):\n    return {'event': event}\n"
        "def main(event):\n    return work(event)",
        EVENT,
    ),
    "builtin-type": ("main = lambda event: dict(event=event)", EVENT),
}

PRELUDE = """
import functools
def both(event, context):
    return {'event': event, 'version': context.function_version}
def wrapping(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper
def plain(function):
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper
"""


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_shape_of_the_handler(action, shape):
    source, expected = SHAPES[shape]
    one = action(PRELUDE + source + "\n")
    assert one.result({"n": 1}, **METADATA) == expected
    assert one.result({"n": 1}, **METADATA) == expected


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("def main(a, b, c):\n    return {}", id="three-parameters"),
        pytest.param("def main(event, *, flag):\n    return {}", id="keyword-only"),
    ],
)
def test_handler_that_cannot_be_called(action, source):
    one = action(PRELUDE + source + "\n")
    for _ in range(2):
        answer = one.run({"n": 1})
        assert answer.status == 502
        assert "argument" in answer.error
    assert "TypeError" in one.err.text()
    assert "Traceback" in one.err.text()


def test_async_handlers_share_one_loop(action):
    """Clients and pools made in one activation work in the next."""
    code = (
        "import asyncio\n"
        "loops, tasks = [], []\n"
        "async def main(event):\n"
        "    loop = asyncio.get_running_loop()\n"
        "    loops.append(loop)\n"
        "    if not tasks:\n"
        "        tasks.append(loop.create_task(asyncio.sleep(0, 'done')))\n"
        "        return {}\n"
        "    return {'same': loops[0] is loop, 'task': await tasks[0]}\n"
    )
    one = action(code)
    assert one.result() == {}
    assert one.result() == {"same": True, "task": "done"}


def test_async_handler_may_use_run_in_executor_and_subprocess(action):
    code = (
        "import asyncio\n"
        "async def main(event):\n"
        "    loop = asyncio.get_running_loop()\n"
        "    number = await loop.run_in_executor(None, lambda: 42)\n"
        "    child = await asyncio.create_subprocess_exec('/bin/echo', 'hi',\n"
        "                                                 stdout=asyncio.subprocess.PIPE)\n"
        "    out, _ = await child.communicate()\n"
        "    return {'number': number, 'out': out.decode(), 'status': child.returncode}\n"
    )
    one = action(code)
    for _ in range(2):
        assert one.result() == {"number": 42, "out": "hi\n", "status": 0}


def test_sync_handler_may_use_asyncio_run(action):
    code = (
        "import asyncio\n"
        "async def work():\n    return {'ok': 1}\n"
        "def main():\n    return asyncio.run(work())\n"
    )
    one = action(code)
    assert one.result() == {"ok": 1}
    assert one.result() == {"ok": 1}


def test_async_exception(action):
    code = "async def main(event):\n    raise LookupError('async reason')\n"
    one = action(code)
    answer = one.run()
    assert answer.status == 502 and "async reason" in answer.error
    assert "Traceback" in one.err.text()


# --- event


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a": [1, -2.5, "x", None, True, {"deep": []}]},
        [],
        [1, 2],
        "text",
        "",
        0,
        -7,
        2**53 + 1,
        10**30,
        1.5,
        True,
        False,
        None,
        "grüße \U0001f600 \u2028 \x7f \x01",
    ],
    ids=ascii,
)
def test_any_json_as_value(action, value):
    one = action("def main(event):\n    return {'event': event, 'type': type(event).__name__}\n")
    assert one.result(value) == {"event": value, "type": type(value).__name__}


def test_missing_value_is_an_empty_object(action):
    one = action("def main(event):\n    return {'event': event}\n")
    assert one.result() == {"event": {}}
    assert one.run(activation_id="x").json == {"event": {}}


def test_order_of_keys_is_kept(action):
    one = action("def main(event):\n    return event\n")
    body = b'{"value": {"z": 1, "a": 2, "m": 3}}'
    assert one.post("/run", body).body.replace(b" ", b"") == b'{"z":1,"a":2,"m":3}'


def test_web_event_passes_through(action):
    event = {
        "http": {
            "headers": {"accept": "*/*", "user-agent": "curl/7.85.0"},
            "method": "POST",
            "path": "",
        },
        "shark": "hammerhead",
    }
    one = action('def main(event, context):\n\treturn { "body": { "event": event } }\n')
    assert one.result(event) == {"body": {"event": event}}


# --- context


def test_echo_example_of_the_documentation(action):
    """The first example of DigitalOcean's page on the Python runtime."""
    code = """
def main(event, context):
    return {
        "body": {
            "event": event,
            "context": {
                "activationId": context.activation_id,
                "apiHost": context.api_host,
                "apiKey": context.api_key,
                "deadline": context.deadline,
                "functionName": context.function_name,
                "functionVersion": context.function_version,
                "namespace": context.namespace,
                "requestId": context.request_id,
            },
        },
    }
"""
    assert action(code).result({"shark": "hammerhead"}, **METADATA) == {
        "body": {
            "event": {"shark": "hammerhead"},
            "context": {
                "activationId": METADATA["activation_id"],
                "apiHost": METADATA["api_host"],
                "apiKey": METADATA["api_key"],
                "deadline": 1675959023728,
                "functionName": METADATA["action_name"],
                "functionVersion": METADATA["action_version"],
                "namespace": METADATA["namespace"],
                "requestId": METADATA["transaction_id"],
            },
        },
    }


CONTEXT = """
def main(event, context):
    names = [name for name in dir(context) if not name.startswith('_')]
    values = {n: getattr(context, n) for n in names if n != 'get_remaining_time_in_millis'}
    return {'names': names, 'values': values,
            'types': {n: type(v).__name__ for n, v in values.items()},
            'left': context.get_remaining_time_in_millis(),
            'left_type': type(context.get_remaining_time_in_millis()).__name__}
"""

ATTRIBUTES = [
    "activation_id",
    "api_host",
    "api_key",
    "deadline",
    "function_name",
    "function_version",
    "namespace",
    "request_id",
]


def test_context_has_exactly_the_documented_attributes(action):
    result = action(CONTEXT).result({}, **METADATA)
    assert result["names"] == sorted(ATTRIBUTES + ["get_remaining_time_in_millis"])
    expected_types = {name: "str" for name in ATTRIBUTES}
    assert result["types"] == {**expected_types, "deadline": "int"}
    assert result["left_type"] == "int"


def test_context_without_metadata(action):
    """A curl of two lines must work: empty strings, and a deadline still to come."""
    one = action(CONTEXT)
    before = int(time.time() * 1000)
    result = one.result({})
    assert {n: v for n, v in result["values"].items() if n != "deadline"} == {
        name: "" for name in ATTRIBUTES if name != "deadline"
    }
    assert result["types"]["deadline"] == "int"
    assert result["values"]["deadline"] > before
    assert 0 < result["left"] <= result["values"]["deadline"] - before


def test_container_variables_fill_the_context(action):
    """DigitalOcean gives `__OW_API_HOST` to the container and not to each run."""
    one = action(CONTEXT, settings={"env": {"__OW_API_HOST": "https://host.example"}})
    assert one.result({})["values"]["api_host"] == "https://host.example"
    assert one.result({}, api_host="https://other")["values"]["api_host"] == "https://other"


@pytest.mark.parametrize("as_text", [True, False], ids=["string", "number"])
def test_remaining_time(action, as_text):
    one = action(CONTEXT)
    deadline = int(time.time() * 1000) + 60_000
    result = one.result({}, deadline=str(deadline) if as_text else deadline)
    assert result["values"]["deadline"] == deadline
    assert 30_000 < result["left"] <= 60_000


@pytest.mark.parametrize("deadline", ["0", 0, "1", -5, "-5"], ids=repr)
def test_remaining_time_is_never_negative(action, deadline):
    result = action(CONTEXT).result({}, deadline=deadline)
    assert result["left"] == 0
    assert result["values"]["deadline"] == int(deadline)


@pytest.mark.parametrize(
    "deadline", ["", "soon", None, [], {}, True, 1e300, "1e5", 10**40, 1.9], ids=repr
)
def test_odd_deadline_does_no_harm(action, deadline):
    one = action(CONTEXT)
    result = one.result({}, deadline=deadline)
    assert result["types"]["deadline"] == "int"
    assert result["left"] >= 0
    assert one.result({}, **METADATA)["values"]["deadline"] == 1675959023728


@pytest.mark.parametrize("value", [5, None, ["a"], {"b": 1}, True], ids=repr)
def test_context_attributes_are_text_whatever_came(action, value):
    one = action(CONTEXT)
    result = one.result({}, activation_id=value)
    assert result["types"]["activation_id"] == "str"


def test_context_is_fresh_and_writable(action):
    code = (
        "def main(event, context):\n"
        "    seen = getattr(context, 'mine', None), context.activation_id\n"
        "    context.mine = 1\n"
        "    context.activation_id = 'spoiled'\n"
        "    return {'seen': seen}\n"
    )
    one = action(code)
    assert one.result({}, activation_id="a") == {"seen": [None, "a"]}
    assert one.result({}, activation_id="b") == {"seen": [None, "b"]}


def test_metadata_of_one_run_is_not_in_the_next_context(action):
    one = action(CONTEXT)
    one.result({}, **METADATA)
    values = one.result({})["values"]
    assert values["activation_id"] == values["api_key"] == ""
    assert values["deadline"] != 1675959023728


def test_returning_the_context_is_an_error_not_a_crash(action):
    one = action(
        "import os\ndef main(event, context):\n"
        "    return {'context': context} if event.get('bad') else {'pid': os.getpid()}\n"
    )
    pid = one.result({})
    answer = one.run({"bad": True})
    assert answer.status == 502
    assert "Context" in answer.error and "context" in answer.error
    assert one.result({}) == pid


# --- the other examples of the documentation

EXAMPLES = {
    "greeting": (
        'def main(event, context):\n    name = event.get("name", "stranger")\n'
        "    version = context.function_version\n"
        "    return {\"body\": f'Hello {name}! This is version {version}'}\n",
        {"body": "Hello Sammy! This is version 0.0.10"},
    ),
    "full-response": (
        "def main(event, context):\n\treturn {\n"
        '\t\t"body": "Hello world",\n\t\t"statusCode": 200,\n'
        '\t\t"headers": {\n\t\t\t"Content-Type": "text/plain"\n\t\t}\n\t}\n',
        {"body": "Hello world", "statusCode": 200, "headers": {"Content-Type": "text/plain"}},
    ),
    "list-body": (
        'def main():\n\treturn {\n\t\t"body": [{"type": "hammerhead"}, {"type": "mako"}]\n\t}\n',
        {"body": [{"type": "hammerhead"}, {"type": "mako"}]},
    ),
    "image": (
        'def main():\n\tgif = "R0lGODlhAQABAAD/ACwAAAAAAQABAAACADs="\n\treturn {\n'
        '\t\t"headers": { "Content-Type": "image/gif" },\n\t\t"statusCode": 200,\n'
        '\t\t"body": gif\n  }\n',
        {
            "headers": {"Content-Type": "image/gif"},
            "statusCode": 200,
            "body": "R0lGODlhAQABAAD/ACwAAAAAAQABAAACADs=",
        },
    ),
    "redirect": (
        'def main():\n\treturn {\n\t\t"headers": { "location": "https://example.com" },\n'
        '\t\t"statusCode": 302\n  }\n',
        {"headers": {"location": "https://example.com"}, "statusCode": 302},
    ),
    "cookie": (
        "def main():\n\treturn {\n\t\t\"headers\": {\n"
        '\t\t\t"Set-Cookie": "UserID=Sammy; Max-Age=3600; Version=",\n'
        '\t\t\t"Content-Type": "text/html"\n\t\t},\n\t\t"statusCode": 200,\n'
        '\t\t"body": "<html><body><h3>hello</h3></body></html>"\n\t}\n',
        {
            "headers": {
                "Set-Cookie": "UserID=Sammy; Max-Age=3600; Version=",
                "Content-Type": "text/html",
            },
            "statusCode": 200,
            "body": "<html><body><h3>hello</h3></body></html>",
        },
    ),
}


@pytest.mark.parametrize("example", sorted(EXAMPLES))
def test_examples_of_the_documentation(action, example):
    """`/run` is 200 whatever statusCode says, and passes it through untouched."""
    code, expected = EXAMPLES[example]
    answer = action(code).run({"name": "Sammy"}, **METADATA)
    assert answer.status == 200
    assert json.dumps(answer.json) == json.dumps(expected)
