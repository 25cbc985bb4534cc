// @ts-check
/** The page, wired: one stream, one painter, and the views that show what it brings. */

import { CtraderStream } from '../ctrader-stream.js';
import { Board } from './board.js';
import { ChartView } from './chart.js';
import { DeveloperCorner } from './developer.js';
import { closed, Diagnosis } from './diagnosis.js';
import { byId, mark } from './dom.js';
import { EventLog } from './eventlog.js';
import { GlanceView } from './glance.js';
import { Painter } from './painter.js';
import { Quote } from './quotes.js';
import { keepKey, keepNames, readNames, themes } from './stored.js';
import { SymbolList } from './symbols.js';
import { DOUBTS, isLive } from './words.js';

const FIRST_BOARD = ['EURUSD', 'GBPUSD', 'USDJPY', 'AUDUSD', 'XAUUSD', 'XAGUSD', 'US500', 'US100', 'DE40', 'BTCUSD', 'ETHUSD'];
const SILENT_MS = 15_000;
const CLOSED_AFTER_MS = 5000;
const ASK_AGAIN_MS = 30_000;

themes(byId('theme'));

const stream = new CtraderStream('ws', { client: { name: 'page' } });
const painter = new Painter();
/** @type {Map<string, {quote: Quote, stop: () => void}>} */
const desk = new Map();
stream.token = keepKey(byId('key-form'), stream);
const favourites = new Set(readNames('favourites') ?? []);
let chosen = '';

const glance = new GlanceView(stream, {
  onBoard: () => desk.size,
  expectsTicks: () => [...desk.values()].some(({ quote }) => !quote.closed),
});
const log = new EventLog(stream);
const chart = new ChartView(painter);
const diagnosis = new Diagnosis(() => stream.token);
const board = new Board(painter, {
  picked: choose,
  removed: toggle,
  why: (name) => diagnosis.open(name),
  painted(received) {
    const now = stream.serverNow();
    // Without a sample the difference between the two clocks is unknown.
    if (!stream.clock.best) return;
    for (const at of received) if (at > seenSince) glance.sawLatency(now - at);
  },
});
const symbols = new SymbolList({
  isOnBoard: (name) => desk.has(name),
  board: () => [...desk.keys()],
  toggle,
  put(name) {
    if (desk.has(name)) choose(name);
    else toggle(name);
  },
  favourites,
  favouritesChanged: () => keepNames('favourites', favourites),
});
const developer = new DeveloperCorner(stream, () => [...desk.keys()]);

// -- the board

/** @param {string} name */
function put(name) {
  const quote = new Quote(name);
  board.add(quote);
  const stop = stream.subscribe(name, (tick) => {
    const now = performance.now();
    quote.take(tick, now);
    // A snapshot may hold an old price, so it is no sample of the latency.
    const ageMs = tick.snapshot && tick.receivedAt ? Math.max(0, stream.serverNow() - tick.receivedAt) : 0;
    glance.tickAt = Math.max(glance.tickAt, stream.elapsed() - ageMs);
    glance.ticks += tick.snapshot ? 0 : 1;
    board.touch(name);
    if (name === chosen) chart.touch();
  });
  desk.set(name, { quote, stop });
}

/** @param {string} name */
function take(name) {
  desk.get(name)?.stop();
  desk.delete(name);
  board.remove(name);
  if (name === chosen) choose(desk.keys().next().value ?? '');
}

/** @param {string} name */
function toggle(name) {
  if (desk.has(name)) take(name);
  else {
    put(name);
    choose(name);
  }
  changed();
}

function changed() {
  keepNames('board', desk.keys());
  symbols.relabel();
  developer.show();
  glance.show();
}

/** @param {string} name */
function choose(name) {
  chosen = name;
  board.select(name);
  chart.show(desk.get(name)?.quote ?? null);
}

byId('board-clear').addEventListener('click', () => {
  for (const name of [...desk.keys()]) take(name);
  changed();
  byId('search').focus();
});

// -- what the stream says

// Ticks that waited while the page was hidden are no samples of the latency.
let seenSince = 0;

const asked = new URLSearchParams(location.search).get('symbols');
const kept = asked ? asked.split(',').filter(Boolean) : readNames('board');
let isBoardSet = kept !== null;
for (const name of new Set(kept ?? [])) put(name);

stream.on('status', (status) => {
  if (status.symbols.length) symbols.setNames(status.symbols);
  if (!isBoardSet && status.symbols.length) {
    isBoardSet = true;
    const known = new Set(status.symbols);
    const first = FIRST_BOARD.filter((name) => known.has(name));
    for (const name of first.length ? first : status.symbols.slice(0, 10)) put(name);
    changed();
    choose(desk.keys().next().value ?? '');
  }
  if (isLive(status)) {
    // The doubtful connection turned out to be alive, so nothing was missed.
    for (const name of doubtedNames) markOld(name, false);
    doubtedNames.clear();
    return;
  }
  const isDoubt = status.link === 'open' && status.code in DOUBTS;
  if (!isDoubt) doubtedNames.clear();
  // A price of before the outage is shown as what it is: old.
  for (const [name, { quote }] of desk) {
    if (isDoubt && !quote.isOld) doubtedNames.add(name);
    markOld(name, true);
  }
});
/** @type {Set<string>} symbols marked as old only because the connection is in doubt */
const doubtedNames = new Set();

/** @param {string} name @param {boolean} isOld */
function markOld(name, isOld) {
  const quote = desk.get(name)?.quote;
  if (!quote) return;
  quote.isOld = isOld && quote.count > 0;
  board.touch(name);
}

stream.on('error', ({ symbol, message }) => {
  const quote = [...desk.values()].find((one) => one.quote.symbol.toUpperCase() === symbol?.toUpperCase())?.quote;
  if (!quote) return;
  quote.trouble = message;
  board.touch(quote.symbol);
});

stream.on('symbol', ({ symbol, available, message }) => {
  const quote = [...desk.values()].find((one) => one.quote.symbol.toUpperCase() === symbol.toUpperCase())?.quote;
  if (!quote) return;
  quote.trouble = '';
  quote.waitsFor = available ? '' : message;
  // A price stays marked as old until a new one comes.
  markOld(quote.symbol, true);
  log.add(available ? 'ok' : 'wait', `${symbol} ${available ? 'is available again' : 'is not available now'}`, message);
});

stream.on('health', ({ fresh, reason, symbols: some, sleptMs, rttMs }) => {
  // Ticks from before are no samples of the latency, and our clock may have been set.
  if (sleptMs) seenSince = Infinity;
  else if (rttMs !== null && seenSince === Infinity) seenSince = stream.serverNow();
  if (!some) return;
  const ours = some.filter((name) => desk.has(name));
  for (const name of ours) markOld(name, !fresh);
  log.quiet(ours, fresh, reason);
});

// -- silence, and what there is to say about it

// Ask the daemon about one silent symbol after another, whether its market is closed.
setInterval(async () => {
  const now = performance.now();
  const isAsked = isLive(stream.status) || stream.status.status === 'stale';
  const isSilent = (/** @type {Quote} */ quote) => isAsked && now - Math.max(quote.heardAt, openedAt) > SILENT_MS;
  // Earlier than a symbol is called silent, so that a closed market does not look late first.
  const still = [...desk.values()].map(({ quote }) => quote).filter((quote) => isAsked && now - quote.heardAt > CLOSED_AFTER_MS);
  const next = still.sort((a, b) => a.closedUntil - b.closedUntil)[0];
  if (next && now >= next.closedUntil && !document.hidden) {
    next.closedUntil = now + ASK_AGAIN_MS;
    const answer = await diagnosis.look(next.symbol, now);
    const found = closed(answer, now);
    const isClosed = found !== null && now - next.heardAt > CLOSED_AFTER_MS;
    next.closed = isClosed ? found.text : '';
    next.opens = isClosed ? found.opens : '';
    next.closedUntil = found?.until ?? next.closedUntil;
    board.touch(next.symbol);
  }
  board.offerWhy((quote) => diagnosis.isAnswered && isSilent(quote));
}, 2000);
const openedAt = performance.now();

document.addEventListener('visibilitychange', () => {
  seenSince = stream.serverNow();
});

// -- views and tabs

function showView() {
  const { view } = document.documentElement.dataset;
  for (const button of document.querySelectorAll('.views button'))
    mark(button, 'aria-pressed', String(/** @type {HTMLElement} */ (button).dataset.view === view));
}

for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('.views button')))
  button.addEventListener('click', () => {
    document.documentElement.dataset.view = button.dataset.view;
    showView();
  });
addEventListener('view', showView);

const tabs = /** @type {HTMLElement[]} */ ([byId('tab-log'), byId('tab-code')]);
for (const tab of tabs) {
  tab.addEventListener('click', () => openTab(tab));
  tab.addEventListener('keydown', (event) => {
    if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
    openTab(tabs[1 - tabs.indexOf(tab)]).focus();
  });
}

/** @param {HTMLElement} chosenTab */
function openTab(chosenTab) {
  for (const tab of tabs) {
    mark(tab, 'aria-selected', String(tab === chosenTab));
    mark(tab, 'tabindex', tab === chosenTab ? '0' : '-1');
    byId(tab.getAttribute('aria-controls') ?? '').hidden = tab !== chosenTab;
  }
  return chosenTab;
}

choose(desk.keys().next().value ?? '');
stream.connect();
