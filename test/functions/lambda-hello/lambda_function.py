"""A Lambda function: `lambda_handler` in `lambda_function.py`, as the console
makes it. Serve the folder, and call it where Lambda is called.

    $ build/pyaction --code test/functions/lambda-hello \
        lambda_function.lambda_handler
    $ curl -d '{"first_name": "Ada", "last_name": "Lovelace"}' \
        http://127.0.0.1:8080/2015-03-31/functions/function/invocations
    {"message": "Hello Ada Lovelace!"}

Clients of AWS find it too: give boto3's `lambda` client the `endpoint_url`
http://127.0.0.1:8080, or the aws command the same `--endpoint-url`.
"""


def lambda_handler(event, context):
    message = f"Hello {event['first_name']} {event['last_name']}!"
    return {"message": message}
