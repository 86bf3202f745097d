"""The log of an SCF function, as Tencent's page on Python shows it: what is
printed and what is logged, both as they are.

    $ build/pyaction --code test/functions/scf-logs index.main_handler
    $ curl -d '{"key1": "value1"}' http://127.0.0.1:9000/event-invoke
    "Hello World!"
    console: got event{'key1': 'value1'}
    console: got event{'key1': 'value1'}
"""

import logging
logger = logging.getLogger()
logger.setLevel(logging.INFO)
def main_handler(event, context):
    logger.info('got event{}'.format(event))
    print("got event{}".format(event))
    return 'Hello World!'  
