"""The log of a Lambda function. Levels below WARNING are not shown unless the
function, or AWS_LAMBDA_LOG_LEVEL, says so.

    $ build/pyaction --code test/functions/lambda-logs \
        lambda_function.lambda_handler
    $ curl -d '{"name": "Ada"}' \
        http://127.0.0.1:8080/2015-03-31/functions/function/invocations
    null
    console: START RequestId: ... Version: $LATEST
    console: printed
    console: [INFO]\t...Z\t...\tthe event is {'name': 'Ada'}
    console: [ERROR]\t...Z\t...\tthis is bad
    console: END RequestId: ...
    console: REPORT RequestId: ...\tDuration: ... ms\tBilled Duration: ... ms\t...
"""

import logging

logger = logging.getLogger()
logger.setLevel(logging.INFO)


def lambda_handler(event, context):
    print("printed")
    logger.debug("not shown")
    logger.info("the event is %s", event)
    logger.error("this is bad")
