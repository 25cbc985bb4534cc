import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff, CLOSE_CODES, ServerClock, Wants } from '../../ctrader_twisted/web/static/ctrader-stream.js';
import { FakeSocket, makeStream, STATUS, tick } from './fakes.js';

test('wants are told at every opening, first the greeting', (t) => {
  const { stream, world } = makeStream(t);
  stream.subscribe(['EURUSD', 'GBPUSD']);
  stream.connect();
  FakeSocket.last.open();
  assert.equal(FakeSocket.last.sent[0].type, 'connect');
  assert.deepEqual(FakeSocket.last.asked('subscribe')[0].symbols, ['EURUSD', 'GBPUSD']);
  FakeSocket.last.end(1006);
  world.pass(1000);
  assert.equal(FakeSocket.all.length, 2);
  FakeSocket.last.open();
  assert.deepEqual(FakeSocket.last.asked('subscribe')[0].symbols, ['EURUSD', 'GBPUSD']);
});

test('a tick goes to those who want its symbol, in any case, with its digits', (t) => {
  const { stream } = makeStream(t);
  const heard = [];
  stream.subscribe('eurusd', (one) => heard.push(one));
  stream.subscribe('GBPUSD', () => assert.fail('not wanted'));
  stream.connect();
  FakeSocket.last.open();
  FakeSocket.last.say(tick('EURUSD', '1.10000'));
  assert.equal(heard[0].bid, 1.1);
  assert.equal(heard[0].digits, 5);
});

test('the last who unsubscribes tells the daemon; changes of one moment are one request', (t) => {
  const { stream, world } = makeStream(t);
  stream.connect();
  FakeSocket.last.open();
  const stops = ['A', 'B', 'C'].map((name) => stream.subscribe(name));
  const second = stream.subscribe('A');
  world.pass(50);
  assert.deepEqual(FakeSocket.last.asked('subscribe').map((m) => m.symbols), [['A', 'B', 'C']]);
  stops.forEach((stop) => stop());
  stops[0]();
  world.pass(50);
  assert.deepEqual(FakeSocket.last.asked('unsubscribe').map((m) => m.symbols), [['B', 'C']]);
  second();
  world.pass(50);
  assert.deepEqual(FakeSocket.last.asked('unsubscribe')[1].symbols, ['A']);
});

test('thousands of symbols are asked for, and let go, in portions that the daemon takes', (t) => {
  const { stream, world } = makeStream(t);
  stream.connect();
  FakeSocket.last.open();
  const names = Array.from({ length: 2500 }, (_, number) => `N${number}`);
  const stop = stream.subscribe(names);
  world.pass(50);
  stop();
  world.pass(50);
  for (const kind of ['subscribe', 'unsubscribe']) {
    const portions = FakeSocket.last.asked(kind).map((m) => m.symbols);
    assert.deepEqual(portions.flat(), names);
    assert.ok(portions.every((portion) => portion.length <= 1000));
  }
});

test('one callback for two subscriptions is two takers', (t) => {
  const { stream } = makeStream(t);
  let count = 0;
  const listener = () => (count += 1);
  const stop = stream.subscribe('A', listener);
  stream.subscribe('A', listener);
  stream.connect();
  FakeSocket.last.open();
  FakeSocket.last.say(tick('A'));
  stop();
  FakeSocket.last.say(tick('A'));
  assert.equal(count, 3);
});

for (const [code, { then }] of Object.entries(CLOSE_CODES)) {
  test(`close code ${code}: ${then}`, (t) => {
    const { stream, world } = makeStream(t);
    const errors = [];
    stream.on('error', (error) => errors.push(error));
    stream.connect();
    FakeSocket.last.open();
    FakeSocket.last.end(Number(code), then === 'stated' ? 'come back in 7 s' : '');
    if (then === 'stop') {
      assert.equal(stream.status.link, 'stopped');
      assert.equal(errors[0].fatal, true);
      world.pass(120_000);
      assert.equal(FakeSocket.all.length, 1);
      stream.connect();
      assert.equal(FakeSocket.all.length, 2, 'a person may still say: again');
      return;
    }
    assert.equal(stream.status.link, 'waiting');
    const wait = stream.status.retryAt - world.now;
    if (then === 'slowly') assert.ok(wait >= 30_000);
    else if (then === 'stated') assert.ok(wait >= 7000 && wait < 8000);
    else assert.ok(wait < 1000);
    world.pass(wait - 20);
    assert.equal(FakeSocket.all.length, 1, 'not before the announced time');
    world.pass(40);
    assert.equal(FakeSocket.all.length, 2);
    if (code === '4413') {
      stream.subscribe('A');
      FakeSocket.last.open();
      assert.equal(FakeSocket.last.asked('subscribe')[0].mode, 'latest');
    }
  });
}

test('waits double up to a bound, and begin again only after a connection that lasted', (t) => {
  const { stream, world } = makeStream(t);
  stream.connect();
  const waits = [];
  for (let attempt = 0; attempt < 9; attempt += 1) {
    FakeSocket.last.open();
    FakeSocket.last.end(1006);
    waits.push(stream.status.retryAt - world.now);
    world.pass(waits.at(-1) + 20);
  }
  assert.ok(waits[1] > waits[0] && waits[8] <= 30_000 && waits[8] > 15_000);
  FakeSocket.last.open();
  world.pass(11_000);
  FakeSocket.last.end(1006);
  assert.equal(stream.status.attempt, 1);
});

test('jitter stays within its half', () => {
  assert.equal(new Backoff(() => 0).next(), 250);
  assert.equal(new Backoff(() => 1).next(), 500);
});

test('silence is doubted first, then the socket is given up', (t) => {
  const { stream, world } = makeStream(t);
  stream.connect();
  FakeSocket.last.open();
  FakeSocket.last.say(STATUS);
  world.pass(17_000);
  assert.equal(stream.status.link, 'open', 'a ping is out');
  FakeSocket.last.say({ type: 'heartbeat', timestamp: 1 });
  world.pass(10_000);
  assert.equal(stream.status.link, 'open');
  world.pass(20_000);
  assert.equal(FakeSocket.all[0].closedWith !== null, true);
  assert.notEqual(stream.status.link, 'idle');
  assert.ok(FakeSocket.all.length >= 2);
});

for (const event of ['online', 'visibilitychange', 'pageshow', 'focus']) {
  test(`${event} ends a wait at once`, (t) => {
    const { stream, world } = makeStream(t);
    stream.connect();
    for (let attempt = 0; attempt < 6; attempt += 1) {
      FakeSocket.last.end(1006);
      world.pass(attempt < 5 ? 40_000 : 100);
    }
    const before = FakeSocket.all.length;
    world.events.dispatchEvent(new Event(event));
    assert.equal(FakeSocket.all.length, before + 1);
  });
}

test('going away from the page while it lives changes nothing', (t) => {
  const { stream, world } = makeStream(t);
  stream.connect();
  FakeSocket.last.open();
  world.events.dispatchEvent(new Event('offline'));
  FakeSocket.last.say(STATUS);
  world.pass(10_000);
  assert.equal(FakeSocket.all.length, 1);
});

test('a connection that never opens is given up after ten seconds', (t) => {
  const { stream, world } = makeStream(t);
  stream.connect();
  world.pass(13_500);
  assert.equal(FakeSocket.all.length, 2);
  FakeSocket.all[0].onopen({});
  assert.equal(stream.status.link, 'connecting', 'a socket that was given up is not heard');
});

test('the venue: attempt and a countdown on our own clock', (t) => {
  const { stream, world } = makeStream(t);
  stream.connect();
  FakeSocket.last.open();
  world.pass(500);
  FakeSocket.last.say({ ...STATUS, status: 'reconnecting', attempt: 3, delayMs: 4000, reason: 'lost' });
  assert.equal(stream.status.attempt, 3);
  assert.equal(stream.status.retryAt, world.now + 4000);
  FakeSocket.last.end(1001);
  assert.equal(stream.status.status, 'disconnected');
  assert.deepEqual(stream.status.symbols, ['EURUSD', 'GBPUSD'], 'the list stays');
});

test('stale and resumed are told as health', (t) => {
  const { stream } = makeStream(t);
  const heard = [];
  stream.on('health', ({ fresh }) => heard.push(fresh));
  stream.connect();
  FakeSocket.last.open();
  for (const status of ['connected', 'stale', 'tick_resumed', 'connected'])
    FakeSocket.last.say({ ...STATUS, status });
  assert.deepEqual(heard, [false, true]);
});

test('a warning about some symbols is health of those alone', (t) => {
  const { stream } = makeStream(t);
  const heard = [];
  stream.on('health', ({ fresh, symbols }) => heard.push([fresh, symbols]));
  stream.connect();
  FakeSocket.last.open();
  FakeSocket.last.say({ type: 'warning', code: 'STALE', message: 'quiet', symbols: ['A'] });
  FakeSocket.last.say({ type: 'warning', code: 'RESUMED', message: '', symbols: ['A'] });
  assert.deepEqual(heard, [[false, ['A']], [true, ['A']]]);
});

test('a refusal for now is asked again when it says', (t) => {
  const { stream, world } = makeStream(t);
  stream.subscribe('A');
  stream.connect();
  FakeSocket.last.open();
  const { id } = FakeSocket.last.asked('subscribe')[0];
  FakeSocket.last.say({ type: 'requestError', id, code: 'RATE_LIMIT', message: '', temporary: true, retryAfterMs: 300 });
  world.pass(320);
  assert.deepEqual(FakeSocket.last.asked('subscribe')[1].symbols, ['A']);
});

test('a symbol that is refused is an error with its name', (t) => {
  const { stream } = makeStream(t);
  const errors = [];
  stream.on('error', (error) => errors.push(error));
  stream.connect();
  FakeSocket.last.open();
  FakeSocket.last.say({ type: 'subscribeResponse', results: [{ symbol: 'X', status: 'error', code: 'UNKNOWN_SYMBOL', message: 'no' }] });
  assert.deepEqual(errors, [{ code: 'UNKNOWN_SYMBOL', message: 'no', symbol: 'X', fatal: false }]);
});

test('a symbol without prices now stays wanted, and is told once, and once when it is back', (t) => {
  const { stream } = makeStream(t);
  const told = [];
  stream.on('symbol', (news) => told.push(news));
  stream.on('error', () => assert.fail('it is no error'));
  const stop = stream.subscribe('eurusd');
  stream.connect();
  FakeSocket.last.open();
  const row = { symbol: 'EURUSD', status: 'subscribed' };
  const away = { ...row, pending: true, code: 'SYMBOL_NOT_FOUND', message: 'away' };
  for (const one of [row, away, away, row, row]) FakeSocket.last.say({ type: 'subscribeResponse', results: [one] });
  assert.deepEqual(told, [
    { symbol: 'EURUSD', available: false, code: 'SYMBOL_NOT_FOUND', message: 'away' },
    { symbol: 'EURUSD', available: true, code: '', message: '' },
  ]);
  FakeSocket.last.say({ type: 'subscribeResponse', results: [away] });
  assert.deepEqual([...stream.wants.answers.unavailable], [['EURUSD', 'SYMBOL_NOT_FOUND']]);
  assert.deepEqual(stream.wants.names(), ['eurusd']);
  stop();
  assert.equal(stream.wants.answers.unavailable.size, 0);
});

test('a symbol that the daemon did not know is asked for again when it is in the list', (t) => {
  const { stream } = makeStream(t);
  stream.on('error', () => {});
  stream.subscribe(['eurusd', 'NOSUCH']);
  stream.connect();
  FakeSocket.last.open();
  const results = ['EURUSD', 'NOSUCH'].map((symbol) => ({ symbol, status: 'error', code: 'UNKNOWN_SYMBOL' }));
  FakeSocket.last.say({ type: 'subscribeResponse', results });
  const asked = () => FakeSocket.last.asked('subscribe').map((m) => m.symbols);
  FakeSocket.last.say({ ...STATUS, availableSymbols: ['GBPUSD'] });
  assert.equal(asked().length, 1);
  FakeSocket.last.say({ ...STATUS, availableSymbols: ['GBPUSD', 'EURUSD'] });
  assert.deepEqual(asked()[1], ['eurusd']);
  FakeSocket.last.say({ type: 'subscribeResponse', results: [{ symbol: 'EURUSD', status: 'subscribed' }] });
  FakeSocket.last.say({ ...STATUS, availableSymbols: ['GBPUSD', 'EURUSD'] });
  assert.equal(asked().length, 2);
});

test('what is unknown, or no JSON, or no object, hurts nothing', (t) => {
  const { stream } = makeStream(t);
  let errors = 0;
  stream.on('error', () => (errors += 1));
  stream.connect();
  FakeSocket.last.open();
  for (const text of ['{"type":"novelty"}', '{"type":"constructor"}', '{"type":"__proto__"}', 'null', '[]', '7', '{'])
    FakeSocket.last.say(text);
  assert.equal(errors, 1);
  FakeSocket.last.say(STATUS);
  assert.equal(stream.status.status, 'connected');
});

test('a listener that throws costs the others nothing', (t) => {
  const { stream } = makeStream(t);
  t.mock.method(console, 'error', () => {});
  let count = 0;
  stream.on('tick', () => {
    throw new Error('mine');
  });
  stream.on('tick', () => (count += 1));
  stream.connect();
  FakeSocket.last.open();
  FakeSocket.last.say(tick('A'));
  assert.equal(count, 1);
});

test('close lets go, connect begins again with the same wants', (t) => {
  const { stream, world } = makeStream(t);
  stream.subscribe('A');
  stream.connect();
  stream.connect();
  assert.equal(FakeSocket.all.length, 1);
  FakeSocket.last.open();
  stream.close();
  assert.equal(FakeSocket.last.closedWith, 1000);
  world.pass(100_000);
  assert.equal(FakeSocket.all.length, 1);
  stream.connect();
  FakeSocket.last.open();
  assert.deepEqual(FakeSocket.last.asked('subscribe')[0].symbols, ['A']);
});

test('the key is shown to the daemon and to nobody else', (t) => {
  const { stream } = makeStream(t, { token: 'secret' });
  const seen = [];
  stream.on('message', ({ text }) => seen.push(text));
  stream.connect();
  FakeSocket.last.open();
  assert.equal(FakeSocket.last.sent[0].token, 'secret');
  assert.ok(!seen.join().includes('secret'));
});

test('many wants fit into any frame', (t) => {
  const { stream } = makeStream(t);
  stream.subscribe(Array.from({ length: 450 }, (_, at) => `S${at}`));
  stream.connect();
  FakeSocket.last.open();
  assert.deepEqual(FakeSocket.last.asked('subscribe').map((m) => m.symbols.length), [200, 200, 50]);
});

test('a clock that is an hour off is found; one within the noise counts as right', () => {
  const clock = new ServerClock();
  clock.sample(1000, 1010, 1005);
  assert.equal(clock.offsetMs, 0);
  const off = new ServerClock();
  off.sample(1000, 1400, 3_601_100);
  off.sample(2000, 2010, 3_602_005);
  assert.ok(Math.abs(off.offsetMs - 3_600_000) < 6);
});

test('wants count their takers', () => {
  const wants = new Wants();
  const one = () => {};
  assert.equal(wants.add('a', one), true);
  assert.equal(wants.add('A', () => {}), false);
  assert.equal(wants.remove('A', one), false);
  assert.equal(wants.remove('A', one), false);
  assert.deepEqual(wants.names(), ['a']);
});
