// @ts-check
/**
 * Live prices from a ctrader-stream daemon: no dependencies, no build step. This file is what you
 * import; beside it lie ctrader-stream-link.js (the socket) and ctrader-stream-wants.js.
 *
 *     import { CtraderStream } from './ctrader-stream.js';
 *     const stream = new CtraderStream('ws://localhost:8080/ws');
 *     const stop = stream.subscribe(['EURUSD'], (tick) => console.log(tick.bid, tick.ask));
 *     stream.connect();
 *
 * What you subscribe to is wanted until you call the function that `subscribe` returns: it outlives
 * lost connections, restarts of the daemon, sleep, and a browser that was offline.
 *
 * @typedef {{type: 'tick', symbol: string, symbolId: number, bid: number, ask: number,
 *   spread: number, timestamp: number, seq?: number, receivedAt?: number, snapshot?: boolean,
 *   conflated?: number, digits: number}} Tick `timestamp`: the venue's time, `receivedAt`: the
 *   daemon's, both in ms since the epoch; `digits`: decimals as the daemon wrote them
 * @typedef {import('./ctrader-stream-link.js').LinkState} LinkState
 * @typedef {import('./ctrader-stream-wants.js').Availability} Availability
 * @typedef {{name: string, holds: string, since?: number | null, cause?: string, advice?: string,
 *   code?: string | null}} Trouble the first broken link from the daemon to its account
 * @typedef {{link: LinkState, status: string, symbols: string[], env: string, epoch: string,
 *   protocol: number | null, limits: Record<string, number>, attempt: number,
 *   retryAt: number | null, code: string, reason: string, trouble: Trouble | null}} Status `status`
 *   is the daemon's word for its venue ('connected', 'reconnecting', 'stale', ...), 'disconnected'
 *   without a daemon, and 'stale' with the `code` 'SLEPT' or 'SILENT' while the connection itself is
 *   in doubt; `attempt` and `retryAt` (on the scale of performance.now()) belong to the
 *   link while that is 'waiting', else to the daemon's own attempts to reach the venue
 * @typedef {{fresh: boolean, rttMs: number | null, offsetMs: number, reason: string,
 *   symbols?: string[], sleptMs?: number}} Health `offsetMs`: how far the daemon's clock is ahead of
 *   ours; `symbols`: whose prices went stale or came back, all of them without it; `sleptMs`: the
 *   device woke up after so long
 * @typedef {{code: string, message: string, symbol?: string, fatal: boolean}} StreamError `fatal`:
 *   the stream has stopped and will not try again
 * @typedef {{status: Status, tick: Tick, health: Health, error: StreamError, symbol: Availability,
 *   message: {direction: 'in' | 'out', text: string}}} Events
 * @typedef {{WebSocket?: any, now?: () => number, wall?: () => number, random?: () => number,
 *   events?: EventTarget[], client?: {name: string, version?: string}, token?: string}} Options
 *   `token`: the API key, where the daemon asks for one; the rest is for tests and odd environments
 */

import { Backoff, CLOSE_CODES, Link } from './ctrader-stream-link.js';
import { Dispatch, ServerClock, Wants } from './ctrader-stream-wants.js';

export { Backoff, CLOSE_CODES, ServerClock, Wants };

export const PROTOCOL = 1;

/** The whole: what you want, what you hear, and the link in between. */
export class CtraderStream {
  /** @param {string} [url] ws:, wss:, http: or https:, or relative to the page; '/ws' by default
   *  @param {Options} [options] */
  constructor(url = '/ws', options = {}) {
    const parts = {
      WebSocket: globalThis.WebSocket,
      now: () => performance.now(),
      // Not performance.timeOrigin + performance.now(): that stands still while the device sleeps.
      wall: () => Date.now(),
      random: Math.random,
      events: /** @type {EventTarget[]} */ ([globalThis.window, globalThis.document].filter(Boolean)),
      ...options,
    };
    this.url = absolute(url);
    this.parts = parts;
    this.client = options.client ?? { name: 'ctrader-stream.js' };
    /** The API key; may be set at any time, and is shown at the next connection. */
    this.token = options.token ?? '';
    this.clock = new ServerClock();
    this.wants = new Wants();
    this.dispatch = new Dispatch();
    this.link = new Link(this.url, parts, {
      opened: () => this.greet(),
      text: (text) => this.hear(text),
      changed: () => this.linkChanged(),
      probe: () => this.ping(),
      leapt: (ms) => void (this.clock.leapt(ms), (this.pinged = null)),
    });
    /** @type {any} the daemon's last status */
    this.told = {};
    this.requests = 0;
    /** @type {Map<number, string[]>} subscribe requests without an answer yet */
    this.asked = new Map();
    /** @type {Map<string, number>} */
    this.digits = new Map();
    this.fresh = true;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.telling = undefined;
    /** @type {{id: number, at: number} | null} */
    this.pinged = null;
    this.wasDoubted = false;
  }

  /** Connect, and stay connected until `close()`. Calling it again does nothing. */
  connect() {
    this.link.start();
  }

  /** Let go of the daemon. What is wanted stays wanted: `connect()` asks for it again. */
  close() {
    clearInterval(this.pinging);
    this.link.stop();
  }

  /**
   * Every tick of these symbols goes to `onTick`, from now on until the returned function is called.
   * @param {string | string[]} symbols @param {(tick: Tick) => void} [onTick]
   * @returns {() => void}
   */
  subscribe(symbols, onTick = () => {}) {
    const names = [symbols].flat();
    const taker = (/** @type {Tick} */ tick) => onTick(tick);
    for (const name of names) if (this.wants.add(name, taker)) this.changes.set(name, true);
    this.tellSoon();
    return () => {
      for (const name of names) if (this.wants.remove(name, taker)) this.changes.set(name, false);
      this.tellSoon();
    };
  }

  /**
   * @template {keyof Events} K
   * @param {K} event @param {(value: Events[K]) => void} listener
   * @returns {() => void} stops listening
   */
  on(event, listener) {
    return this.dispatch.on(event, listener);
  }

  /** Where everything stands now. @returns {Status} */
  get status() {
    const { link } = this;
    const isOpen = link.state === 'open';
    const told = link.doubted ? { ...this.told, status: 'stale', ...link.doubted } : this.told;
    return {
      link: link.state,
      status: (isOpen && told.status) || 'disconnected',
      symbols: told.availableSymbols ?? [],
      env: told.env ?? '',
      epoch: told.epoch ?? '',
      protocol: told.protocol ?? null,
      limits: told.limits ?? {},
      attempt: isOpen ? (told.attempt ?? 0) : link.backoff.attempt,
      retryAt: isOpen ? (told.retryAt ?? null) : link.retryAt,
      code: isOpen ? (told.code ?? '') : String(link.code || ''),
      reason: isOpen ? (told.reason ?? told.message ?? '') : link.reason,
      trouble: (isOpen && told.trouble) || null,
    };
  }

  /** The daemon's time of day now, in ms since the epoch, as well as we know it. */
  serverNow() {
    return this.parts.wall() + this.clock.offsetMs;
  }

  /** Elapsed time in ms, which goes on while the device sleeps and ignores changes of the clock. */
  elapsed() {
    return this.parts.now() + this.clock.sleptMs;
  }

  // -- inside

  /** @type {Map<string, boolean>} names whose want changed since the daemon was last told */
  changes = new Map();

  greet() {
    this.asked.clear();
    this.changes.clear();
    const { client, token } = this;
    const hello = { type: 'connect', protocol: PROTOCOL, features: ['health'], client };
    // Told to the daemon, and to no listener: a key belongs into no log.
    this.link.send(JSON.stringify({ ...hello, ...(token && { token }) }));
    this.dispatch.emit('message', { direction: 'out', text: JSON.stringify(hello) });
    this.ask(this.wants.names());
    this.ping();
    clearInterval(this.pinging);
    this.pinging = setInterval(() => this.ping(), 20_000);
  }

  ping() {
    const id = (this.requests += 1);
    this.pinged = { id, at: this.parts.wall() };
    this.send({ type: 'ping', id });
  }

  /** Many changes of one moment become one request. */
  tellSoon() {
    this.telling ??= setTimeout(() => this.tell(), 20);
  }

  tell() {
    this.telling = undefined;
    const changed = [...this.changes];
    this.changes.clear();
    this.ask(changed.filter(([name, on]) => on && this.wants.has(name)).map(([name]) => name));
    const dropped = changed.filter(([name, on]) => !on && !this.wants.has(name));
    for (let start = 0; start < dropped.length; start += 200) {
      const symbols = dropped.slice(start, start + 200).map(([name]) => name);
      this.send({ type: 'unsubscribe', symbols });
    }
  }

  /** @param {string[]} names in portions that fit into any frame */
  ask(names) {
    for (let start = 0; start < names.length; start += 200) {
      const symbols = names.slice(start, start + 200);
      const id = (this.requests += 1);
      this.asked.set(id, symbols);
      this.send({ type: 'subscribe', id, symbols, ...(this.link.latest && { mode: 'latest' }) });
    }
  }

  /** @param {object} message */
  send(message) {
    const text = JSON.stringify(message);
    if (this.link.send(text)) this.dispatch.emit('message', { direction: 'out', text });
  }

  /** @param {string} text */
  hear(text) {
    this.dispatch.emit('message', { direction: 'in', text });
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      this.fail('NOT_JSON', 'the daemon sent something that is not JSON');
    }
    if (message?.type === 'tick') this.hearTick(message, text);
    else if (Object.hasOwn(HEARD, message?.type)) HEARD[message.type](this, message);
  }

  /** @param {Tick} tick @param {string} text */
  hearTick(tick, text) {
    let digits = this.digits.get(tick.symbol);
    if (digits === undefined) {
      // A number does not remember its zeros, the text does: 1.10000 has five digits.
      digits = /"bid":\s*-?\d+(?:\.(\d+))?[,}]/.exec(text)?.[1]?.length ?? 0;
      this.digits.set(tick.symbol, digits);
    }
    tick.digits = digits;
    Dispatch.call(this.wants.takers(tick.symbol), tick);
    this.dispatch.emit('tick', tick);
  }

  /** @param {any} told */
  hearStatus(told) {
    const before = this.told;
    this.told = told;
    if (told.delayMs !== undefined) told.retryAt = this.parts.now() + told.delayMs;
    this.link.heartbeatMs = told.limits?.heartbeatMs ?? this.link.heartbeatMs;
    // A new life of the venue's session: its digits, and what it refuses, may be others.
    if (told.epoch && before.epoch && told.epoch !== before.epoch) this.digits.clear();
    if (told.status === 'stale') this.feel(false, told.reason ?? told.message ?? '');
    else if (!this.fresh && told.status !== 'error') this.feel(true, '');
    if (told.status === 'connected') this.ask(this.wants.listedAgain(told.availableSymbols));
    this.dispatch.emit('status', this.status);
  }

  /** @param {any} answer */
  hearResults(answer) {
    this.asked.delete(answer.id);
    for (const row of answer.results ?? []) {
      const news = this.wants.answers.take(row);
      if (news) this.dispatch.emit('symbol', news);
      if (row.status === 'error') this.fail(row.code ?? 'ERROR', row.message ?? `no ${row.symbol}`, row.symbol);
    }
  }

  /** @param {any} refusal */
  hearRefusal(refusal) {
    const names = this.asked.get(refusal.id);
    this.asked.delete(refusal.id);
    // Not now is not no: what we asked for is still wanted.
    if (names && refusal.temporary)
      setTimeout(() => this.ask(names.filter((n) => this.wants.has(n))), refusal.retryAfterMs ?? 1000);
    this.fail(refusal.code ?? 'ERROR', refusal.message ?? 'a request was refused');
  }

  /** @param {any} warning about the prices of some symbols, or about something else */
  hearWarning({ code, message, symbols }) {
    if (code !== 'STALE' && code !== 'RESUMED') this.fail(code ?? 'WARNING', message ?? 'a warning');
    else this.feel(code === 'RESUMED', message ?? '', symbols ?? []);
  }

  /** @param {any} pong */
  hearPong(pong) {
    if (this.pinged === null || this.pinged.id !== pong.id) return;
    // First, since a clock may have leapt while this answer was on its way.
    this.link.compare();
    if (this.pinged === null || this.pinged.id !== pong.id) return;
    this.clock.sample(this.pinged.at, this.parts.wall(), pong.timestamp);
    const news = this.clock.explainLeap();
    this.link.answered();
    this.feel(this.fresh, news);
  }

  /** @param {boolean} fresh @param {string} reason @param {string[]} [symbols] all, without them */
  feel(fresh, reason, symbols) {
    if (symbols) return this.tellHealth({ fresh, reason, symbols });
    this.fresh = fresh;
    return this.tellHealth({ fresh: fresh && !this.link.doubted, reason });
  }

  /** @param {{fresh: boolean, reason: string, symbols?: string[], sleptMs?: number}} news */
  tellHealth(news) {
    const { rttMs, offsetMs } = this.clock;
    this.dispatch.emit('health', { ...news, rttMs, offsetMs });
  }

  /** @param {string} code @param {string} message @param {string} [symbol] */
  fail(code, message, symbol) {
    this.dispatch.emit('error', { code, message, symbol, fatal: this.link.state === 'stopped' });
  }

  linkChanged() {
    if (this.link.state !== 'open') {
      clearInterval(this.pinging);
      // What the daemon said of its venue ended with the connection; its symbols are still a help.
      const { availableSymbols, env, protocol, limits, epoch } = this.told;
      this.told = { availableSymbols, env, protocol, limits, epoch };
    }
    this.dispatch.emit('status', this.status);
    this.doubtChanged();
    if (this.link.state === 'stopped') this.fail(String(this.link.code), this.link.reason);
  }

  /** Tell users that the connection is in doubt, so that prices may be old, or no longer is. */
  doubtChanged() {
    const { doubted, state } = this.link;
    if (Boolean(doubted) === this.wasDoubted || !(doubted || state === 'open')) return;
    this.wasDoubted = Boolean(doubted);
    const sleptMs = doubted?.code === 'SLEPT' ? this.clock.leap?.ms : undefined;
    this.tellHealth({ fresh: this.fresh && !doubted, reason: doubted?.reason ?? '', ...(sleptMs && { sleptMs }) });
  }
}

/** Messages by type; every other type is ignored. @type {Record<string, any>} */
const HEARD = {
  status: (/** @type {CtraderStream} */ s, /** @type {any} */ m) => s.hearStatus(m),
  subscribeResponse: (/** @type {CtraderStream} */ s, /** @type {any} */ m) => s.hearResults(m),
  requestError: (/** @type {CtraderStream} */ s, /** @type {any} */ m) => s.hearRefusal(m),
  pong: (/** @type {CtraderStream} */ s, /** @type {any} */ m) => s.hearPong(m),
  warning: (/** @type {CtraderStream} */ s, /** @type {any} */ m) => s.hearWarning(m),
  error: (/** @type {CtraderStream} */ s, /** @type {any} */ m) => s.fail('ERROR', m.message),
};

/** @param {string} url */
function absolute(url) {
  return new URL(url, globalThis.location?.href).href.replace(/^http/, 'ws');
}
