// Sleep, frozen tabs, and clocks that are set. The clocks are the product's own.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServerClock } from '../../ctrader_twisted/web/static/ctrader-stream.js';
import { FakeSocket, makeStream, STATUS, tick } from './fakes.js';

/** A stream that is open and knows the daemon's clock, which is right like ours. */
function makeOpen(t) {
  const { stream, world } = makeStream(t);
  const heard = [];
  stream.on('health', (health) => heard.push(health));
  stream.subscribe('A');
  stream.connect();
  FakeSocket.last.open();
  FakeSocket.last.say(STATUS);
  FakeSocket.last.pong(world.wall);
  world.pass(3000);
  FakeSocket.last.say({ type: 'heartbeat', timestamp: world.wall });
  assert.equal(stream.status.status, 'connected');
  return { stream, world, heard };
}

for (const ms of [3000, 30_000, 3_600_000, 200_000_000]) {
  test(`after ${ms} ms of sleep the prices are stale until the daemon has answered`, (t) => {
    const { stream, world, heard } = makeOpen(t);
    world.sleep(ms);
    world.pass(1000);
    assert.equal(stream.status.status, 'stale');
    assert.equal(stream.status.code, 'SLEPT');
    assert.match(stream.status.reason, /this device slept for .*checking the connection/);
    assert.equal(heard.at(-1).fresh, false);
    assert.ok(Math.abs(heard.at(-1).sleptMs - ms) < 50);
    assert.equal(FakeSocket.last.asked('ping').length, 2, 'one at opening, one on waking');
    FakeSocket.last.pong(world.wall);
    assert.equal(stream.status.status, 'connected');
    assert.equal(heard.at(-1).fresh, true);
    assert.equal(stream.clock.offsetMs, 0, 'no clock is wrong');
    assert.equal(FakeSocket.all.length, 1, 'the connection was good');
  });
}

test('after sleep a dead connection is replaced within seconds', (t) => {
  const { stream, world } = makeOpen(t);
  world.sleep(30_000);
  world.pass(5500);
  assert.equal(FakeSocket.all.length, 2);
  FakeSocket.last.open();
  FakeSocket.last.say(STATUS);
  FakeSocket.last.pong(world.wall);
  assert.equal(stream.status.status, 'connected');
  assert.equal(stream.clock.offsetMs, 0);
  assert.deepEqual(FakeSocket.last.asked('subscribe')[0].symbols, ['A']);
});

test('what was under way before the sleep is no sign of life', (t) => {
  const { stream, world } = makeOpen(t);
  world.sleep(60_000);
  world.pass(1000);
  FakeSocket.last.say(tick('A'));
  assert.equal(stream.status.status, 'stale');
  world.pass(4500);
  assert.equal(FakeSocket.all.length, 2);
});

test('an answer to a ping of before the sleep tells nothing of the clocks', (t) => {
  const { stream, world } = makeOpen(t);
  world.pass(17_000);
  const late = FakeSocket.last.asked('ping').at(-1);
  world.sleep(30_000);
  FakeSocket.last.say({ type: 'pong', id: late.id, timestamp: world.wall - 30_000 });
  assert.equal(stream.status.code, 'SLEPT');
  assert.equal(stream.clock.rttMs, null);
  FakeSocket.last.pong(world.wall);
  assert.equal(stream.clock.offsetMs, 0);
  assert.equal(stream.clock.rttMs, 0);
});

for (const event of ['visibilitychange', 'focus', 'resume', 'pageshow', 'online']) {
  test(`${event} after sleep finds it at once`, (t) => {
    const { stream, world } = makeOpen(t);
    world.sleep(30_000);
    world.events.dispatchEvent(new Event(event));
    assert.equal(stream.status.code, 'SLEPT');
  });

  test(`${event} without sleep changes nothing that is seen`, (t) => {
    const { stream, world } = makeOpen(t);
    world.events.dispatchEvent(new Event(event));
    assert.equal(stream.status.status, 'connected');
    FakeSocket.last.pong(world.wall);
    world.pass(8000);
    assert.equal(FakeSocket.all.length, 1);
  });
}

test('asleep while waiting, or while connecting: a new attempt at once', (t) => {
  const { stream, world } = makeOpen(t);
  for (let attempt = 0; attempt < 5; attempt += 1) {
    FakeSocket.last.end(1006);
    world.pass(attempt < 4 ? 40_000 : 100);
  }
  assert.equal(stream.status.link, 'waiting');
  const before = FakeSocket.all.length;
  world.sleep(30_000);
  world.pass(1000);
  assert.equal(FakeSocket.all.length, before + 1);
  assert.equal(stream.status.link, 'connecting');
  world.sleep(30_000);
  world.pass(1000);
  assert.equal(FakeSocket.all.length, before + 2, 'what was begun before the sleep is void');
  assert.equal(FakeSocket.all.at(-2).closedWith !== null, true);
});

test('a quota of the daemon is kept across sleep', (t) => {
  const { stream, world } = makeOpen(t);
  FakeSocket.last.end(4429, 'come back in 20 s');
  world.sleep(5000);
  world.pass(1000);
  assert.equal(stream.status.link, 'waiting');
  assert.equal(FakeSocket.all.length, 1);
});

test('the clock of this device is set forward: it is not called sleep once that is known', (t) => {
  const { stream, world, heard } = makeOpen(t);
  const right = world.wall;
  world.sleep(3_600_000);
  world.pass(1000);
  FakeSocket.last.pong(right + 1000);
  assert.equal(stream.status.status, 'connected');
  assert.match(heard.at(-1).reason, /clock of this device was set forward by 1 h/);
  assert.ok(Math.abs(stream.clock.offsetMs + 3_600_000) < 50);
  assert.equal(FakeSocket.all.length, 1);
});

test('the clock of this device is set back: samples are forgotten, the connection is not doubted', (t) => {
  const { stream, world } = makeOpen(t);
  world.pass(100);
  const right = world.wall;
  world.sleep(-30_000);
  world.pass(1000);
  assert.equal(stream.status.status, 'connected');
  assert.equal(stream.clock.offsetMs, 0, 'not known yet');
  FakeSocket.last.pong(right + 1000);
  assert.ok(Math.abs(stream.clock.offsetMs - 30_000) < 60);
  assert.ok(Math.abs(stream.serverNow() - right - 1000) < 60);
});

test('a clock that is stepped by less than a second is followed', (t) => {
  const { stream, world } = makeOpen(t);
  world.sleep(-800);
  const right = world.wall + 800;
  world.pass(1000);
  FakeSocket.last.pong(right + 1000);
  assert.ok(Math.abs(stream.serverNow() - right - 1000) < 5);
});

test('a clock that is wrong from the beginning is no sleep', (t) => {
  const { stream, world } = makeStream(t);
  stream.connect();
  FakeSocket.last.open();
  FakeSocket.last.say(STATUS);
  FakeSocket.last.pong(world.wall + 30_000);
  world.pass(5000);
  assert.equal(stream.status.status, 'connected');
  assert.ok(Math.abs(stream.clock.offsetMs - 30_000) < 5);
});

test("the daemon's clock jumps: older samples are forgotten", (t) => {
  const { stream, world } = makeOpen(t);
  world.pass(7000);
  for (const jumped of [60_000, -60_000, 0]) {
    world.pass(10_000);
    FakeSocket.last.say({ type: 'heartbeat', timestamp: 0 });
    FakeSocket.last.pong(world.wall + jumped);
    assert.ok(Math.abs(stream.clock.offsetMs - jumped) < 50, String(jumped));
    assert.equal(stream.status.status, 'connected');
    world.pass(10_000);
  }
});

test('a slow answer contradicts nothing', () => {
  const clock = new ServerClock();
  clock.sample(1000, 1010, 1005);
  clock.sample(2000, 4000, 2005);
  clock.sample(5000, 7000, 6990);
  assert.equal(clock.samples.length, 3);
  assert.equal(clock.offsetMs, 0);
});

test('timers of a background tab, once a minute, are no sleep', (t) => {
  const { stream, world } = makeOpen(t);
  for (let minute = 0; minute < 5; minute += 1) {
    for (let second = 0; second < 60; second += 5) {
      world.freeze(5000);
      FakeSocket.last.say({ type: 'heartbeat', timestamp: world.wall });
    }
    world.pass(10);
    assert.equal(stream.status.status, 'connected');
    for (const { id } of FakeSocket.last.asked('ping').slice(-1))
      FakeSocket.last.say({ type: 'pong', id, timestamp: world.wall });
  }
  assert.equal(FakeSocket.all.length, 1);
});

test('a page that did not run for a minute doubts what it shows, and does not give up before it asked', (t) => {
  const { stream, world } = makeOpen(t);
  world.freeze(60_000);
  world.events.dispatchEvent(new Event('resume'));
  assert.equal(stream.status.status, 'stale');
  assert.match(stream.status.reason, /nothing was heard for 1 min/);
  FakeSocket.last.say({ type: 'heartbeat', timestamp: world.wall });
  FakeSocket.last.pong(world.wall);
  assert.equal(stream.status.status, 'connected');
  assert.equal(FakeSocket.all.length, 1);
});

test('a dead connection is found in a background tab too, whose timers run once a minute', (t) => {
  const { stream, world } = makeOpen(t);
  for (let minute = 0; minute < 3; minute += 1) {
    world.freeze(60_000);
    world.pass(1000);
  }
  world.pass(1000);
  assert.equal(FakeSocket.all.length, 2);
});

test('a tab that is hidden and frozen at once keeps its connection', (t) => {
  const { stream, world } = makeOpen(t);
  world.events.dispatchEvent(new Event('visibilitychange'));
  world.freeze(8000);
  world.events.dispatchEvent(new Event('resume'));
  assert.equal(stream.status.link, 'open');
  FakeSocket.last.pong(world.wall);
  world.pass(5000);
  assert.equal(FakeSocket.all.length, 1);
  assert.equal(stream.status.status, 'connected');
});

test('a doubt of before the page stood still begins again', (t) => {
  const { stream, world } = makeOpen(t);
  world.pass(17_000);
  assert.equal(stream.status.code, 'SILENT');
  world.freeze(60_000);
  world.pass(1000);
  assert.equal(FakeSocket.all.length, 1, 'queued messages may come only now');
  FakeSocket.last.pong(world.wall);
  assert.equal(stream.status.status, 'connected');
});

test('time that has passed includes sleep, and no step of a clock', (t) => {
  const { stream, world } = makeOpen(t);
  const began = stream.elapsed();
  world.sleep(60_000);
  world.pass(1000);
  assert.ok(Math.abs(stream.elapsed() - began - 61_000) < 50);
  FakeSocket.last.pong(world.wall);
  assert.ok(Math.abs(stream.elapsed() - began - 61_000) < 50);
  world.sleep(60_000);
  world.pass(1000);
  FakeSocket.last.pong(world.wall - 60_000);
  assert.ok(Math.abs(stream.elapsed() - began - 62_000) < 50, 'that was a clock that was set');
});
