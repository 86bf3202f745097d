"""Fail: by an exception, or by a result that says `error`.

An exception makes /run answer 502 with its text; the traceback is in the log.
A result with the key `error` is an answer like others, which the platform
counts as an error of the application.

    $ scripts/invoke test/functions/error.py '{"age": "old"}'
    invoke: /run answered 502: invalid literal for int() with base 10: 'old'
    console: ValueError: invalid literal for int() with base 10: 'old'
    exit status: 1
    $ scripts/invoke --run-only '{"age": 7}'
    {
      "error": "too young"
    }
    invoke: the result is an error: too young
    exit status: 1
    $ scripts/invoke --run-only '{"age": 70}'
    {
      "body": "welcome"
    }
"""


def main(event):
    if int(event["age"]) < 18:
        return {"error": "too young"}
    return {"body": "welcome"}
