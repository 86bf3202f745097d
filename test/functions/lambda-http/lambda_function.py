"""Answer a web request, with the event of a function URL or an HTTP API. The
gateway, which is not part of pyaction, makes a response of the result.

    $ build/pyaction --code test/functions/lambda-http \
        lambda_function.lambda_handler
    $ curl -d '{"version": "2.0", "rawPath": "/hello", \
        "queryStringParameters": {"name": "Ada"}, \
        "requestContext": {"http": {"method": "GET", "path": "/hello"}}}' \
        http://127.0.0.1:8080/2015-03-31/functions/function/invocations
    {
      "statusCode": 200,
      "headers": {"content-type": "text/html; charset=utf-8"},
      "body": "<h1>Hello Ada!</h1>",
      "isBase64Encoded": false
    }
"""

from html import escape


def lambda_handler(event, context):
    parameters = event.get("queryStringParameters") or {}
    name = escape(parameters.get("name", "stranger"))
    return {
        "statusCode": 200,
        "headers": {"content-type": "text/html; charset=utf-8"},
        "body": f"<h1>Hello {name}!</h1>",
        "isBase64Encoded": False,
    }
