// A WebSocket and a daemon's side of it, for tests: nothing happens unless the test says so.

import { mock } from 'node:test';
import { CtraderStream } from '../../ctrader_twisted/web/static/ctrader-stream.js';

export class FakeSocket {
  static all = [];

  static get last() {
    return FakeSocket.all.at(-1);
  }

  constructor(url) {
    this.url = url;
    this.sent = [];
    this.closedWith = null;
    FakeSocket.all.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close(code) {
    this.closedWith = code ?? 1005;
  }

  open() {
    this.onopen({});
  }

  say(message) {
    this.onmessage({ data: typeof message === 'string' ? message : JSON.stringify(message) });
  }

  end(code, reason = '') {
    this.onclose({ code, reason });
  }

  /** Answer the last ping, as a daemon whose clock says `timestamp`. */
  pong(timestamp) {
    this.say({ type: 'pong', id: this.asked('ping').at(-1).id, timestamp });
  }

  asked(type) {
    return this.sent.filter((message) => message.type === type);
  }
}

/**
 * A stream whose time passes only by `world.pass(ms)`. It reads the clocks that it reads in a
 * browser: what is replaced is what the platform says, not how the product asks.
 */
export function makeStream(t, options = {}) {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  FakeSocket.all = [];
  const events = new EventTarget();
  const world = { now: 0, wall: 1_700_000_000_000, events };
  t.mock.method(performance, 'now', () => world.now);
  t.mock.method(Date, 'now', () => world.wall);
  /** The machine sleeps: the time of day goes on; the steady clock and all timers stand still. */
  world.sleep = (ms) => {
    world.wall += ms;
  };
  /** The page does not run, as in a frozen tab, or asleep where the steady clock goes on. */
  world.freeze = (ms) => {
    world.wall += ms;
    world.now += ms;
  };
  world.pass = (ms) => {
    for (let left = ms; left > 0; left -= 10) {
      world.now += Math.min(10, left);
      world.wall += Math.min(10, left);
      mock.timers.tick(Math.min(10, left));
    }
  };
  const stream = new CtraderStream('ws://daemon.test/ws', {
    WebSocket: FakeSocket,
    random: () => 0.5,
    events: [events],
    ...options,
  });
  t.after(() => {
    stream.close();
    mock.timers.reset();
  });
  return { stream, world };
}

export const STATUS = {
  type: 'status',
  status: 'connected',
  availableSymbols: ['EURUSD', 'GBPUSD'],
  protocol: 1,
  epoch: 'a-1',
  env: 'simulator',
  limits: { heartbeatMs: 10_000, symbols: 500 },
};

export function tick(symbol, bid = '1.08430', ask = '1.08440') {
  return `{"type":"tick","symbol":${JSON.stringify(symbol)},"symbolId":1,"bid":${bid},"ask":${ask},"spread":0.0001,"timestamp":1700000000000,"seq":1,"receivedAt":1700000000001}`;
}
