"""Define the handler with `async def`: it is awaited.

    $ scripts/invoke test/functions/async_handler.py '{"names": ["Ada", "Bob"]}'
    {
      "body": [
        "Hello Ada",
        "Hello Bob"
      ]
    }
"""

import asyncio


async def greet(name):
    await asyncio.sleep(0.01)
    return f"Hello {name}"


async def main(event):
    return {"body": await asyncio.gather(*map(greet, event["names"]))}
