r"""Handle a raw web request, of a function with `web: raw`.

The event then has the request as it came in `http`, instead of its parameters:
`queryString`, `body` and `isBase64Encoded` beside `method`, `path`, `headers`.

    $ scripts/invoke test/functions/raw_body.py '{"http": {"method": "POST", \
        "headers": {"content-type": "text/plain"}, "path": "", "queryString": \
        "as=text", "body": "SGkh", "isBase64Encoded": true}}'
    {
      "body": "POST as=text: 3 bytes, b'Hi!'"
    }
"""

import base64


def main(event):
    http = event["http"]
    body = http["body"].encode()
    if http.get("isBase64Encoded"):
        body = base64.b64decode(body)
    text = f"{http['method']} {http['queryString']}: {len(body)} bytes, {body!r}"
    return {"body": text}
