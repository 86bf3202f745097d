"""Give the handler another name than `main`: `--main`, or `main` in project.yml.

    $ scripts/invoke test/functions/other_main.py --main greet --param name=Sammy
    {
      "body": "Hello Sammy!"
    }
"""


def greet(event):
    return {"body": f"Hello {event['name']}!"}
