"""Fail as an SCF function: the caller gets the traceback, as one text. An event
that is no JSON does not come to the function.

    $ build/pyaction --code test/functions/scf-errors index.main_handler
    $ curl -d '{"age": 7}' http://127.0.0.1:9000/event-invoke
    {
      "errorCode": 1,
      "errorMessage": "user code exception caught",
      "requestId": "...-...-...-...-...",
      "stackTrace": "Traceback (most recent call last):\\n  File \\"...index.py\\", line ..., in main_handler\\n    raise Exception(\\"too young\\")\\nException: too young",
      "statusCode": 430
    }
    console: Exception: too young
    console: ERROR RequestId:... Result:{"errorCode":1,...,"statusCode":430}
    $ curl -d 'seven' http://127.0.0.1:9000/event-invoke
    {
      "errorCode": -1,
      "errorMessage": "InvalidParameterValue: the event is not JSON...",
      "requestId": "...-...-...-...-...",
      "statusCode": 400
    }
    $ curl -d '{"age": 70}' http://127.0.0.1:9000/event-invoke
    "welcome"
"""


def main_handler(event, context):
    if event["age"] < 18:
        raise Exception("too young")
    return "welcome"
