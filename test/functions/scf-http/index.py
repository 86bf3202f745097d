"""Answer a web request, with the event of a function URL or an API gateway. The
gateway, which is not part of pyaction, makes a response of the result.

    $ build/pyaction --code test/functions/scf-http index.main_handler
    $ curl -d '{"httpMethod": "GET", "path": "/hello", \
        "queryString": {"name": "Ada"}, "headers": {}, "body": ""}' \
        http://127.0.0.1:9000/event-invoke
    {
      "isBase64Encoded": false,
      "statusCode": 200,
      "headers": {"Content-Type": "text/html; charset=utf-8"},
      "body": "<h1>Hello Ada!</h1>"
    }
"""

from html import escape


def main_handler(event, context):
    name = escape(event["queryString"].get("name", "stranger"))
    return {
        "isBase64Encoded": False,
        "statusCode": 200,
        "headers": {"Content-Type": "text/html; charset=utf-8"},
        "body": f"<h1>Hello {name}!</h1>",
    }
