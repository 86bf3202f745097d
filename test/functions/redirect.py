"""Redirect a web client to another address.

    $ scripts/invoke test/functions/redirect.py
    {
      "headers": {
        "location": "https://example.com"
      },
      "statusCode": 302
    }
"""


def main():
    return {
        "headers": {"location": "https://example.com"},
        "statusCode": 302,
    }
