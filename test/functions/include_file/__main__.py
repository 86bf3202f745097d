r"""Read a file that is deployed with the function.

All files of the folder ship, unless `.include` or `.ignore` says otherwise.
They are in the working directory.

    $ scripts/invoke test/functions/include_file
    {
      "body": "File contents: \"Hello, World!\""
    }
"""


def main():
    with open("to_be_included.txt", "r") as file:
        file_contents = file.read()
        return {"body": f'File contents: "{file_contents}"'}
