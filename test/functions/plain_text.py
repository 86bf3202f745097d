"""Set the status code and the headers of a web response.

The platform applies them to the response that a browser gets. /run itself
passes them on: its status is 200.

    $ scripts/invoke test/functions/plain_text.py
    {
      "body": "Hello world",
      "statusCode": 200,
      "headers": {
        "Content-Type": "text/plain"
      }
    }
"""


def main(event, context):
    return {
        "body": "Hello world",
        "statusCode": 200,
        "headers": {"Content-Type": "text/plain"},
    }
