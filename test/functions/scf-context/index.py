"""All that an SCF function is told: the context, a dictionary of eleven keys.
The cloud sends it in headers; without them there are examples.

    $ build/pyaction --code test/functions/scf-context index.main_handler
    $ curl -d '{}' -H 'X-Scf-Name: hello' -H 'X-Scf-Memory: 256' \
        -H 'X-Scf-Region: ap-shanghai' http://127.0.0.1:9000/event-invoke
    {
      "memory_limit_in_mb": 256,
      "time_limit_in_ms": 3000,
      "request_id": "...-...-...-...-...",
      "environment": "{\\"SCF_NAMESPACE\\":\\"default\\"}",
      "environ": "SCF_NAMESPACE=default",
      "function_version": "$LATEST",
      "function_name": "hello",
      "namespace": "default",
      "tencentcloud_region": "ap-shanghai",
      "tencentcloud_appid": "1250000000",
      "tencentcloud_uin": "100000000001"
    }
"""


def main_handler(event, context):
    return context
