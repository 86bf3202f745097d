"""The function of the soak test: it keeps nothing, so whatever grows is not its own."""

import sys
from typing import Any, Dict


def main(event: Dict[str, Any]) -> Any:
    """Do what `do` says: return the event, or fail in one of three ways."""
    if event["n"] % 10 == 0:
        print("activation", event["n"])
    if event["do"] == "raise":
        raise ValueError(f"on purpose {event['n']}")
    if event["do"] == "bad":
        return {"bad": {1}}
    if event["do"] == "exit":
        sys.exit(3)
    return event
