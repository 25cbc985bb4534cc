"""FastAPI on uvicorn: one text for each tick, one ``send_text`` for each client and tick.

python fastapi_app.py --port P --feed-port F
"""

import asyncio
import json
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from feed import Feed, acknowledgement, arguments

options = arguments()
wanting = {}


async def read_feed():
    reader, _ = await asyncio.open_connection("127.0.0.1", options.feed_port)
    feed = Feed()
    while some := await reader.read(65_536):
        for tick in feed.ticks(some):
            text = json.dumps(tick, separators=(",", ":"))
            for client in list(wanting.get(tick["symbol"], ())):
                try:
                    await client.send_text(text)
                except (WebSocketDisconnect, RuntimeError):
                    leave(client)


def leave(client):
    for clients in wanting.values():
        clients.pop(client, None)


@asynccontextmanager
async def lifespan(_):
    task = asyncio.create_task(read_feed())
    yield
    task.cancel()


app = FastAPI(lifespan=lifespan)


@app.websocket("/ws")
async def stream(client: WebSocket):
    await client.accept()
    try:
        while True:
            symbols = json.loads(await client.receive_text())["symbols"]
            await client.send_text(json.dumps(acknowledgement(symbols), separators=(",", ":")))
            for symbol in symbols:
                wanting.setdefault(symbol, {})[client] = None
    except WebSocketDisconnect:
        leave(client)


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=options.port,
        backlog=4096,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        log_level="warning",
    )
