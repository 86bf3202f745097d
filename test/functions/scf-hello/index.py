"""An SCF function: `main_handler` in `index.py`, as Tencent's page on Python
shows it. Serve the folder, and call it as the cloud calls a custom image.

    $ build/pyaction --code test/functions/scf-hello index.main_handler
    $ curl -d '{"key1": "value1"}' http://127.0.0.1:9000/event-invoke
    "Hello World"
    console: START RequestId:...
    console: Received event: {
    console:   "key1": "value1"
    console: }
    console: Received context: {'memory_limit_in_mb': 128, ...}
    console: Response RequestId:... RetMsg:"Hello World"
    console: END RequestId:...
    console: Report RequestId:... Duration:...ms Memory:128MB MemUsage:...MB
"""

import json

def main_handler(event, context):
    print("Received event: " + json.dumps(event, indent = 2)) 
    print("Received context: " + str(context))
    return("Hello World")
