"""Return the event as JSON: a `body` that is a dictionary.

    $ scripts/invoke test/functions/return_event.py '{"shark": "mako", "n": 1.10}'
    {
      "body": {
        "event": {
          "shark": "mako",
          "n": 1.1
        }
      }
    }
"""


def main(event, context):
    return {"body": {"event": event}}
