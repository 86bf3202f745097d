"""Greet by name: both parameters of a handler.

`event` holds the input, `context` tells about the function. `make run` serves
this function.

    $ scripts/invoke test/functions/hello.py '{"name": "Sammy"}'
    {
      "body": "Hello Sammy! This is version 0.0.1"
    }
    $ scripts/invoke --run-only
    {
      "body": "Hello stranger! This is version 0.0.1"
    }
"""


def main(event, context):
    name = event.get("name", "stranger")
    version = context.function_version
    return {"body": f"Hello {name}! This is version {version}"}
