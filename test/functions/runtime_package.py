"""Use a package that the runtime provides: nothing to deploy but the import.

DigitalOcean's Python 3.11 has pandas; here it is there if it is installed for
the Python that runs the function. Where it is not, /init says so:

    $ scripts/invoke test/functions/runtime_package.py
    {
      "body": "<module 'pandas' from '.../pandas/__init__.py'>"
    }
"""

import pandas


def main():
    return {"body": str(pandas)}
