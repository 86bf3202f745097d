"""Use an instance of a class as the handler; it keeps its state between runs.

    $ scripts/invoke test/functions/callable_handler.py --repeat 2
    {
      "body": {
        "runs": 1
      }
    }
    {
      "body": {
        "runs": 2
      }
    }
"""


class Counter:
    def __init__(self):
        self.runs = 0

    def __call__(self):
        self.runs += 1
        return {"body": {"runs": self.runs}}


main = Counter()
