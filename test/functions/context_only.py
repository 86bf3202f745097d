"""Take the context only, and see how much time is left before the deadline.

    $ scripts/invoke test/functions/context_only.py --deadline-ms 5000
    {
      "body": {
        "namespace": "guest",
        "milliseconds_left": "..."
      }
    }
"""


def main(_, context):
    return {
        "body": {
            "namespace": context.namespace,
            "milliseconds_left": context.get_remaining_time_in_millis(),
        }
    }
