"""Use a method of an object as the handler; `self` is not a parameter of it.

    $ scripts/invoke test/functions/bound_method.py '{"name": "Sammy"}'
    {
      "body": "Ahoy Sammy"
    }
"""


class Greeter:
    def __init__(self, greeting):
        self.greeting = greeting

    def handle(self, event):
        return {"body": f"{self.greeting} {event['name']}"}


main = Greeter("Ahoy").handle
