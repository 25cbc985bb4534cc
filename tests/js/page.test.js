import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Candles } from '../../ctrader_twisted/web/static/page/candles.js';
import { snippets } from '../../ctrader_twisted/web/static/page/developer.js';
import * as format from '../../ctrader_twisted/web/static/page/format.js';
import { Line, Quote } from '../../ctrader_twisted/web/static/page/quotes.js';
import { search } from '../../ctrader_twisted/web/static/page/symbols.js';
import { glance, hint, trouble } from '../../ctrader_twisted/web/static/page/words.js';

const FACTS = { host: 'daemon.test', everOpen: true, online: true, onBoard: 3 };
const OPEN = { link: 'open', status: 'connected', symbols: ['A'], env: 'live', epoch: 'a', protocol: 1, limits: {}, attempt: 0, retryAt: null, code: '', reason: '', trouble: null };

test('prices in three pieces', () => {
  assert.deepEqual(format.priceParts(1.0843, 5), ['1.08', '43', '0']);
  assert.deepEqual(format.priceParts(151.2, 3), ['151.', '20', '0']);
  assert.deepEqual(format.priceParts(2342.6, 2), ['2342.', '60', '']);
  assert.deepEqual(format.priceParts(5187.4, 1), ['5187.', '4', '']);
  assert.deepEqual(format.priceParts(40369, 0), ['403', '69', '']);
});

test('spreads in pips', () => {
  assert.equal(format.pips(0.00008, 5), '0.8');
  assert.equal(format.pips(0.014, 3), '1.4');
  assert.equal(format.pips(0.18, 2), '0.18');
  assert.equal(format.pips(0.5, 1), '0.5');
});

test('shares, durations, times', () => {
  assert.equal(format.percent(-0.00012), '−0.012');
  assert.equal(format.percent(-0.0000001), '0.000');
  assert.equal(format.duration(1234), '1.2 s');
  assert.equal(format.duration(182_000), '3 min 2 s');
  assert.equal(format.duration(-5), '0.0 s');
  assert.equal(format.plural(1, 'symbol'), '1 symbol');
});

test('candles grow, begin, and fold into longer ones', () => {
  const candles = new Candles();
  for (const [price, at] of [[3, 0], [5, 4000], [1, 5000], [2, 61_000], [9, 3000]]) candles.add(price, at);
  assert.deepEqual(candles.of(5)[0], { time: 0, open: 3, high: 5, low: 3, close: 5 });
  assert.deepEqual(candles.of(60)[0], { time: 0, open: 3, high: 5, low: 1, close: 1 });
  assert.deepEqual(candles.last(60), { time: 60, open: 2, high: 9, low: 2, close: 9 }, 'the past is not rewritten');
  assert.equal(new Candles().last(60), null);
});

test('a line keeps a price while nothing comes, and only the last minutes', () => {
  const line = new Line();
  line.add(1, 0);
  line.add(2, 500);
  line.add(3, 3000);
  assert.deepEqual(line.points, [2, 2, 2, 3]);
  line.add(4, 1e9);
  assert.equal(line.points.length, 180);
});

test('a quote knows its ways and its change', () => {
  const quote = new Quote('A');
  const one = { bid: 1, ask: 3, spread: 2, digits: 1, timestamp: 0, receivedAt: 5 };
  quote.take(one, 1);
  quote.take({ ...one, bid: 2, ask: 2.5 }, 2);
  assert.deepEqual([quote.bidWay, quote.askWay], ['up', 'down']);
  assert.equal(quote.change.toFixed(3), '0.125');
});

test('search: names that begin with it come first, in any case', () => {
  assert.deepEqual(search(['AUDUSD', 'USDJPY', 'EURGBP'], 'usd'), ['USDJPY', 'AUDUSD']);
  assert.deepEqual(search(['A'], ' '), ['A']);
});

test('every state has its sentence', () => {
  assert.match(glance(OPEN, FACTS).title, /Live from the live venue/);
  for (const [change, mood, title] of [
    [{ status: 'reconnecting', attempt: 2, reason: 'gone.' }, 'bad', /lost/],
    [{ status: 'stale' }, 'wait', /stale/],
    [{ status: 'error', reason: 'no', code: 'X' }, 'bad', /refuses/],
    [{ status: 'ctrader-connecting' }, 'wait', /Connecting/],
    [{ status: 'a word of the future' }, 'wait', /Connecting/],
    [{ link: 'waiting', attempt: 1 }, 'bad', /daemon is lost/],
    [{ link: 'stopped', code: '4403', reason: 'origin' }, 'bad', /Stopped/],
    [{ link: 'connecting' }, 'wait', /Connecting/],
  ]) {
    const words = glance({ ...OPEN, ...change }, FACTS);
    assert.equal(words.mood, mood);
    assert.match(words.title, title);
    assert.ok(words.detail);
  }
  const waiting = { ...OPEN, link: 'waiting', attempt: 2 };
  assert.match(glance(waiting, { ...FACTS, everOpen: false }).detail, /Nothing listens/);
  assert.match(glance(waiting, { ...FACTS, online: false }).detail, /offline/);
  assert.match(glance(waiting, { ...FACTS, answersHttp: true }).detail, /older than this page/);
});

test('hints: an old daemon, a clock that is wrong', () => {
  assert.equal(hint(OPEN, 0, format.duration), '');
  assert.match(hint({ ...OPEN, protocol: null }, 0, format.duration), /older/);
  assert.match(hint(OPEN, -180_000, format.duration), /3 min 0 s ahead/);
});

test('what is broken on the way to the venue, and what helps', () => {
  const link = { name: 'account', holds: 'no', since: 3_600_000, cause: 'token expired.', advice: 'Make a new one.', code: 'X' };
  const at = (/** @type {number} */ ms) => `${ms / 60_000} min`;
  const open = { ...OPEN, status: 'error', trouble: link };
  assert.equal(trouble(open, at), 'The account is refused or closed since 60 min: token expired. Make a new one.');
  const told = { ...open, reason: 'X: token expired' };
  assert.equal(trouble(told, at), 'The account is refused or closed since 60 min. Make a new one.', 'the reason stands above already');
  assert.equal(trouble({ ...open, trouble: { ...link, name: 'moon', since: null, advice: '' } }, at), 'moon is broken: token expired.');
  assert.equal(trouble({ ...open, trouble: null }, at), '');
  assert.equal(trouble({ ...open, link: 'waiting' }, at), '', 'what a lost daemon said is of yesterday');
  assert.equal(trouble({ ...open, trouble: /** @type {any} */ ('text') }, at), '', 'nothing is guessed');
});

test('a line to copy survives quotes in a name', () => {
  const { websocat } = snippets('ws://h/ws', ["it's"]);
  assert.ok(websocat.includes(String.raw`it'\''s`));
});

test('every module of the page can be read, and is not too long', async () => {
  const { readdir, readFile } = await import('node:fs/promises');
  const { spawnSync } = await import('node:child_process');
  const root = new URL('../../ctrader_twisted/web/static/', import.meta.url);
  const names = (await readdir(root, { recursive: true })).filter((name) => name.endsWith('.js'));
  assert.ok(names.length > 15);
  for (const name of names) {
    const text = await readFile(new URL(name, root), 'utf8');
    assert.ok(text.split('\n').length <= 350, name);
    const checked = spawnSync(process.execPath, ['--input-type=module', '--check'], { input: text });
    assert.equal(checked.status, 0, `${name}: ${checked.stderr}`);
  }
});
