"""Read environment variables: the function's own, and those of an activation.

The function's own (`environment` in project.yml, `--env` here) are set before
the module is imported. The `__OW_*` ones are set anew for each run.

    $ scripts/invoke test/functions/environment.py --env GREETING=Hi --namespace bay
    {
      "body": {
        "greeting": "Hi",
        "namespace": "bay"
      }
    }
"""

import os

GREETING = os.environ.get("GREETING", "Hello")


def main():
    return {
        "body": {"greeting": GREETING, "namespace": os.environ["__OW_NAMESPACE"]}
    }
