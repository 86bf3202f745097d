"""Keep the handler in a module of its own: `--main module.function`.

A handler named like this needs no `__main__.py`. It is an extension:
DigitalOcean looks for a function in `__main__.py` only.

    $ scripts/invoke test/functions/module_handler --main greetings.greet
    {
      "body": "Hello from a module!"
    }
"""

from wording import GREETING


def greet():
    return {"body": f"{GREETING} from a module!"}
