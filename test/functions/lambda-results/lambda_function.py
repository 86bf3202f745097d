"""What JSON makes of a Lambda function's result. Lambda knows more types than
Python's json: a Decimal keeps its digits, a named tuple is an object, and
bytes are text. Bytes that are the whole result are sent as they are.

    $ build/pyaction --code test/functions/lambda-results \
        lambda_function.lambda_handler
    $ curl -d '{}' \
        http://127.0.0.1:8080/2015-03-31/functions/function/invocations
    {"price": 1.10, "point": {"x": 1, "y": 2}, "text": "abc", "none": null}
    $ curl -d '{"raw": true}' \
        http://127.0.0.1:8080/2015-03-31/functions/function/invocations
    {"raw": "bytes"}
    $ curl -d '{"wrong": true}' \
        http://127.0.0.1:8080/2015-03-31/functions/function/invocations
    {
      "errorMessage": "Unable to marshal response: Object of type set is not JSON serializable",
      "errorType": "Runtime.MarshalError",
      "requestId": "...-...-...-...-...",
      "stackTrace": []
    }
"""

from collections import namedtuple
from decimal import Decimal

Point = namedtuple("Point", "x y")


def lambda_handler(event, context):
    if "raw" in event:
        return b'{"raw": "bytes"}'
    if "wrong" in event:
        return {1, 2}
    return {"price": Decimal("1.10"), "point": Point(1, 2), "text": b"abc", "none": None}
