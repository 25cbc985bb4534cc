// Node `ws` as people use it: one JSON.stringify and one send for each client and tick.
// node node_ws.js --port P --feed-port F      (NODE_PATH names the folder of `ws`)
"use strict";

const http = require("node:http");
const net = require("node:net");
const { WebSocketServer } = require("ws");

const RECORD = 28;
const option = (name) => Number(process.argv[process.argv.indexOf(name) + 1]);
const symbolName = (index) => "SYM" + String(index).padStart(3, "0");

const wanting = new Map(); // symbol -> set of clients
const seqs = new Map();

function subscribe(client, symbols) {
  for (const symbol of symbols) {
    if (!wanting.has(symbol)) wanting.set(symbol, new Set());
    wanting.get(symbol).add(client);
    client.symbols.add(symbol);
  }
  client.send(
    JSON.stringify({
      type: "subscribeResponse",
      results: symbols.map((symbol) => ({ symbol, status: "subscribed" })),
      symbols: [...client.symbols],
    }),
  );
}

function deliver(index, bid, ask, timestamp, receivedAt) {
  const symbol = symbolName(index);
  const seq = (seqs.get(symbol) ?? 0) + 1;
  seqs.set(symbol, seq);
  const clients = wanting.get(symbol);
  if (clients === undefined) return;
  const tick = {
    type: "tick",
    symbol,
    symbolId: index + 1,
    bid: bid / 1e5,
    ask: ask / 1e5,
    spread: Math.round(ask - bid) / 1e5,
    timestamp,
    seq,
    receivedAt,
  };
  for (const client of clients) client.send(JSON.stringify(tick));
}

let rest = Buffer.alloc(0);
const feed = net.connect(option("--feed-port"), "127.0.0.1");
feed.setNoDelay(true);
feed.on("close", () => process.exit(0));
feed.on("data", (chunk) => {
  const some = rest.length ? Buffer.concat([rest, chunk]) : chunk;
  const receivedAt = Date.now();
  let at = 0;
  for (; some.length - at >= RECORD; at += RECORD) {
    deliver(
      some.readUInt32BE(at),
      Number(some.readBigUInt64BE(at + 4)),
      Number(some.readBigUInt64BE(at + 12)),
      Number(some.readBigUInt64BE(at + 20)),
      receivedAt,
    );
  }
  rest = some.subarray(at);
});

const web = http.createServer();
const stream = new WebSocketServer({ server: web, path: "/ws" });
stream.on("connection", (client) => {
  client.symbols = new Set();
  client.on("message", (message) => subscribe(client, JSON.parse(message).symbols));
  client.on("error", () => client.terminate());
  client.on("close", () => {
    for (const symbol of client.symbols) wanting.get(symbol).delete(client);
  });
});
// The same length of queue as the others: a storm should not be decided by it.
web.listen({ port: option("--port"), host: "127.0.0.1", backlog: 4096 });
