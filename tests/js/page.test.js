import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Candles } from '../../ctrader_twisted/web/static/page/candles.js';
import { closed, verdict } from '../../ctrader_twisted/web/static/page/diagnosis.js';
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

test('pips are for currency pairs; other spreads are in units of the price', () => {
  for (const [symbol, spread, digits, text] of [
    ['EURUSD', 0.00008, 5, '0.8 p'], ['EURJPY', 0.014, 3, '1.4 p'], ['EUR/USD', 0.00008, 5, '0.8 p'], ['eurusd.x', 0.00008, 5, '0.8 p'],
    ['XAUUSD', 0.19, 2, '0.19'], ['XAGUSD', 0.028, 3, '0.028'], ['US500', 0.5, 1, '0.5'], ['BTCUSD', 7.58, 2, '7.58'],
    ['USDIDR', 25, 0, '25'], ['EURUSDT', 0.001, 4, '0.0010'], ['GBPUSD100', 0.1, 1, '0.1'], ['', 1, 0, '1'],
  ])
    assert.equal(format.spreadText(symbol, spread, digits), text, symbol);
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

test('a time from the future does not stop the chart', () => {
  const quote = new Quote('A');
  const at = 1_795_000_000_000;
  const tick = (price, timestamp, receivedAt) => quote.take({ bid: price, ask: price, spread: 0, digits: 1, timestamp, receivedAt }, 1);
  tick(1, at, at);
  tick(2, at + 86_400_000, at + 60_000);
  tick(3, at + 120_000, at + 120_000);
  assert.deepEqual(quote.candles.of(60).map((one) => one.close), [1, 2, 3]);
});

test('search: names that begin with it come first, in any case', () => {
  assert.deepEqual(search(['AUDUSD', 'USDJPY', 'EURGBP'], 'usd'), ['USDJPY', 'AUDUSD']);
  assert.deepEqual(search(['A'], ' '), ['A']);
  for (const typed of ['eur/usd', 'EUR-USD', 'eur usd', 'eur.usd', ' eur_usd ']) assert.deepEqual(search(['USDJPY', 'EURUSD'], typed), ['EURUSD']);
  assert.deepEqual(search(['EUR/USD', 'GBPUSD.m'], 'eurusd'), ['EUR/USD']);
  assert.deepEqual(search(['EUR/USD', 'EURUSD'], 'eur/'), ['EUR/USD'], 'as it is written first');
  assert.deepEqual(search(['EURUSD'], '/'), []);
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

test('one meaning of the diagnosis: a closed market is not broken, unknown is not well', () => {
  const links = (/** @type {string[]} */ ...holds) => holds.map((one, at) => ({ name: `l${at}`, holds: one }));
  assert.deepEqual(verdict({ ok: true, first_broken: null, cause: '', advice: '', links: links('ok', 'ok') }).slice(0, 2), ['ok', 'Nothing is broken']);
  const [mood, title, words] = verdict({ ok: true, first_broken: null, cause: '', advice: '', links: links('ok', 'unknown') });
  assert.deepEqual([mood, title, words], ['wait', 'No link is broken', 'Not known yet: l1.']);
  assert.equal(verdict({ ok: false, first_broken: 'market', cause: 'closed', advice: 'Wait.', links: [] })[1], 'The market is closed');
  assert.deepEqual(verdict({ ok: false, first_broken: 'tick', cause: 'a', advice: 'b', links: [] }), ['bad', 'Broken', 'a. b']);
});

test('a closed market says when it opens', () => {
  const opens = new Date(2025, 5, 22, 21, 5).getTime();
  const market = { name: 'market', holds: 'no', cause: 'closed by its weekly hours', opens };
  assert.equal(closed({ links: [market] }, 0)?.text, 'closed by its weekly hours; opens Sun 21:05');
  assert.equal(closed({ links: [{ ...market, opens: undefined }] }, 0)?.text, 'closed by its weekly hours');
  for (const other of [{ ...market, holds: 'ok' }, { ...market, holds: 'unknown' }, null])
    assert.equal(closed({ links: [other] }, 0), null);
  for (const answer of [null, {}, { links: 7 }, 'text']) assert.equal(closed(answer, 0), null);
});

test('a private daemon asks for a key, calmly; a wrong key is said', () => {
  const status = { ...OPEN, link: 'stopped', code: '4401', reason: 'show a key' };
  const first = glance(status, { ...FACTS, hasKey: false });
  assert.deepEqual([first.mood, first.title, first.canRetry], ['wait', 'A key is needed', false]);
  const wrong = glance({ ...status, reason: 'KEY_WRONG: the key is unknown' }, { ...FACTS, hasKey: true });
  assert.deepEqual([wrong.mood, wrong.title], ['bad', 'The key was not accepted']);
  assert.match(wrong.detail, /^The key is unknown\. /);
});

test('doubts about the connection have their own words', () => {
  assert.equal(glance({ ...OPEN, status: 'stale', code: 'SLEPT', reason: 'this device slept for 8 s; x' }, FACTS).title, 'This device slept');
  assert.equal(glance({ ...OPEN, status: 'stale', code: 'SLEPT', reason: 'this device slept for 8 s; x' }, FACTS).detail, 'For 8 s; x');
  assert.equal(glance({ ...OPEN, status: 'stale', code: 'SILENT', reason: 'x' }, FACTS).title, 'The daemon is silent');
  assert.match(glance({ ...OPEN, status: 'stale', reason: 'cTrader demo: no price' }, FACTS).detail, /^cTrader/);
});

test('lines to copy show where the key goes, and work as they are', async () => {
  const { spawnSync } = await import('node:child_process');
  const open = snippets('ws://h/ws', ['A']);
  const secret = snippets('ws://h/ws', ["it's"], true);
  for (const text of Object.values(open)) assert.doesNotMatch(text, /key|token/i);
  for (const text of Object.values(secret)) assert.match(text, /key/i);
  assert.match(secret.JavaScript, /\{ token \}/);
  const cat = "cat() { echo secret; }; websocat() { command cat; };";
  const shown = spawnSync('sh', ['-c', `${cat} ${secret.websocat}`], { encoding: 'utf8' }).stdout.trim().split('\n');
  assert.deepEqual(shown.map((line) => JSON.parse(line)), [
    { type: 'connect', protocol: 1, token: 'secret' },
    { type: 'subscribe', symbols: ["it's"] },
  ]);
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
