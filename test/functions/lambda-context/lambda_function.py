"""All that a Lambda context knows. What a mobile client says of itself comes in
a header, as base64.

    $ build/pyaction --code test/functions/lambda-context \
        lambda_function.lambda_handler
    $ curl -d '{}' -H 'X-Amz-Client-Context: eyJjdXN0b20iOnsiayI6InYifX0=' \
        http://127.0.0.1:8080/2015-03-31/functions/hello/invocations
    {
      "aws_request_id": "...-...-...-...-...",
      "function_name": "...",
      "function_version": "$LATEST",
      "invoked_function_arn": "arn:aws:lambda:...",
      "memory_limit_in_mb": "128",
      "log_group_name": "/aws/lambda/...",
      "log_stream_name": "...",
      "custom": {"k": "v"},
      "identity": null,
      "in_time": true
    }
"""


def lambda_handler(event, context):
    client = context.client_context
    return {
        "aws_request_id": context.aws_request_id,
        "function_name": context.function_name,
        "function_version": context.function_version,
        "invoked_function_arn": context.invoked_function_arn,
        "memory_limit_in_mb": context.memory_limit_in_mb,
        "log_group_name": context.log_group_name,
        "log_stream_name": context.log_stream_name,
        "custom": client.custom if client else None,
        "identity": context.identity.cognito_identity_id,
        "in_time": 0 < context.get_remaining_time_in_millis() <= 3000,
    }
