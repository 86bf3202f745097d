"""Return JSON: a `body` that is a list or a dictionary is sent as JSON.

    $ scripts/invoke test/functions/return_json.py
    {
      "body": [
        {
          "type": "hammerhead"
        },
        {
          "type": "mako"
        }
      ]
    }
"""


def main():
    return {"body": [{"type": "hammerhead"}, {"type": "mako"}]}
