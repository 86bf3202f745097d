"""Return everything that a handler gets: the event and all of the context.

The context is not JSON, so its attributes are named one by one.

    $ scripts/invoke test/functions/echo.py '{"shark": "hammerhead"}'
    {
      "body": {
        "event": {
          "shark": "hammerhead"
        },
        "context": {
          "activationId": "...",
          "apiHost": "",
          "apiKey": "",
          "deadline": "...",
          "functionName": "/guest/echo",
          "functionVersion": "0.0.1",
          "namespace": "guest",
          "requestId": "..."
        }
      }
    }
"""


def main(event, context):
    return {
        "body": {
            "event": event,
            "context": {
                "activationId": context.activation_id,
                "apiHost": context.api_host,
                "apiKey": context.api_key,
                "deadline": context.deadline,
                "functionName": context.function_name,
                "functionVersion": context.function_version,
                "namespace": context.namespace,
                "requestId": context.request_id,
            },
        },
    }
