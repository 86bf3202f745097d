"""Write logs: whatever goes to standard output and standard error.

`print`, `logging` and programs that the function starts all end up in the log
of the activation, on the console of the container.

    $ scripts/invoke test/functions/logs.py
    console: printed
    console: WARNING:root:logged
    console: from a program
    {
      "body": "see the logs"
    }
"""

import logging
import subprocess


def main():
    print("printed")
    logging.warning("logged")
    subprocess.run(["echo", "from a program"], check=True)
    return {"body": "see the logs"}
