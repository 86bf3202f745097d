"""Fail as a Lambda function. The answer is 200, for the call as such went well;
a header says that the function did not, and the body is Lambda's document.

    $ build/pyaction --code test/functions/lambda-errors \
        lambda_function.lambda_handler
    $ curl -i -d '{"age": "old"}' \
        http://127.0.0.1:8080/2015-03-31/functions/function/invocations
    HTTP/1.1 200 OK
    X-Amz-Function-Error: Unhandled
    {
      "errorMessage": "invalid literal for int() with base 10: 'old'",
      "errorType": "ValueError",
      "requestId": "...-...-...-...-...",
      "stackTrace": ["  File \\"...lambda_function.py\\", line ..., in lambda_handler\\n    if int(event[\\"age\\"]) < 18:\\n"]
    }
    $ curl -d '{"age": 7}' \
        http://127.0.0.1:8080/2015-03-31/functions/function/invocations
    {
      "errorMessage": "7",
      "errorType": "TooYoung",
      "requestId": "...-...-...-...-...",
      "stackTrace": ["  File \\"...lambda_function.py\\", line ..., in lambda_handler\\n    raise TooYoung(event[\\"age\\"])\\n"]
    }
    $ curl -d '{"age": 70}' \
        http://127.0.0.1:8080/2015-03-31/functions/function/invocations
    "welcome"
"""


class TooYoung(Exception):
    pass


def lambda_handler(event, context):
    if int(event["age"]) < 18:
        raise TooYoung(event["age"])
    return "welcome"
