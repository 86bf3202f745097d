"""Return an image: binary content is base64 text with its content type.

    $ scripts/invoke test/functions/image.py
    {
      "headers": {
        "Content-Type": "image/gif"
      },
      "statusCode": 200,
      "body": "R0lGODlhAQABAAD/ACwAAAAAAQABAAACADs="
    }
"""


def main():
    gif = "R0lGODlhAQABAAD/ACwAAAAAAQABAAACADs="
    return {
        "headers": {"Content-Type": "image/gif"},
        "statusCode": 200,
        "body": gif,
    }
