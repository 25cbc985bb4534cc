"""uWebSockets by way of socketify: one text for each tick, one ``publish`` to the symbol's topic.

    python socketify_app.py --port P --feed-port F

The engine itself joins what it publishes within one turn of its loop.
"""

import asyncio
import json

from feed import Feed, acknowledgement, arguments
from socketify import App, CompressOptions, OpCode

options = arguments()
app = App()


def message(ws, text, opcode):
    symbols = json.loads(text)["symbols"]
    for symbol in symbols:
        ws.subscribe(symbol)
    ws.send(json.dumps(acknowledgement(symbols), separators=(",", ":")), OpCode.TEXT)


async def read_feed():
    reader, _ = await asyncio.open_connection("127.0.0.1", options.feed_port)
    feed = Feed()
    while some := await reader.read(65_536):
        for tick in feed.ticks(some):
            app.publish(tick["symbol"], json.dumps(tick, separators=(",", ":")), OpCode.TEXT)
    app.close()


if __name__ == "__main__":
    app.ws(
        "/ws",
        {
            "compression": CompressOptions.DISABLED,
            "max_payload_length": 1 << 20,
            "max_backpressure": 64 << 20,
            "idle_timeout": 120,
            "message": message,
        },
    )
    app.listen(options.port)
    # Kept: the loop itself holds its tasks weakly.
    task = app.loop.create_task(read_feed())
    app.run()
