"""Use a package that the runtime lacks, from a virtualenv.

`build.sh` makes the folder `virtualenv` and installs requirements.txt into it;
`scripts/invoke` and `scripts/package` run it before they zip the folder. It
needs the commands `virtualenv` and `pip` of the Python version that is to run
the function.

    $ scripts/invoke test/functions/cowsay_virtualenv '{"name": "Sammy"}' --raw
    {"body": "...Hello Sammy from Python!..."}
"""

import cowsay


def main(event):
    name = event.get("name", "stranger")
    greeting = cowsay.get_output_string("cow", f"Hello {name} from Python!")
    return {"body": greeting}
