// @ts-check
/**
 * The life of one WebSocket to a ctrader-stream daemon: it is opened, found silent, lost, and
 * opened again as the close code asks. Knows nothing of prices. Used by ctrader-stream.js.
 *
 * @typedef {'idle' | 'connecting' | 'open' | 'waiting' | 'stopped'} LinkState
 * @typedef {{WebSocket: any, now: () => number, wall: () => number, random: () => number,
 *   events: EventTarget[]}} Parts what a browser gives: `now` is steady, and stands still while the
 *   device sleeps in some browsers; `wall` is the time of day, which may be set at any time
 * @typedef {{code: 'SLEPT' | 'SILENT', reason: string}} Doubt why the connection may be dead
 * @typedef {{opened: () => void, text: (text: string) => void, changed: () => void,
 *   probe: () => void, leapt: (ms: number) => void}} Owner who is told; `probe` must make the daemon
 *   say something; `leapt`: the time of day went so much further than the steady clock
 */

import { span } from './ctrader-stream-wants.js';

const LOOK_EVERY_MS = 1000;
/** Ms by which the two clocks must differ to show that one was set, or stood still. */
const LEAP_MS = 250;
/** A leap forward of more than this many ms counts as sleep, until a sample shows that a clock was set. */
const SLEEP_MS = 2000;
/** Ms without an answer after sleep until the connection is replaced. */
const PATIENCE_MS = 3000;

const WAKERS = ['online', 'offline', 'pageshow', 'focus', 'resume', 'visibilitychange'];

/** What each close code asks of us. @type {Record<number, {then: string, why: string}>} */
export const CLOSE_CODES = {
  1001: { then: 'retry', why: 'the daemon is shutting down' },
  1008: { then: 'slowly', why: 'the daemon was sent too many bad messages, or frames' },
  1009: { then: 'slowly', why: 'a message was too large' },
  1011: { then: 'retry', why: 'the daemon failed' },
  1012: { then: 'retry', why: 'the daemon is restarting' },
  1013: { then: 'retry', why: 'the daemon is full' },
  4400: { then: 'stop', why: 'the daemon speaks another version of the protocol' },
  4401: { then: 'stop', why: 'a credential is missing or wrong' },
  4403: { then: 'stop', why: 'the daemon refuses this origin or scope' },
  4404: { then: 'stop', why: 'there is no such account' },
  4408: { then: 'retry', why: 'we did not authenticate in time' },
  4409: { then: 'stop', why: 'a newer connection took our place' },
  4413: { then: 'latest', why: 'we read too slowly' },
  4429: { then: 'stated', why: 'a quota is used up' },
};

/** Waits that double, with jitter, and begin again small only after a connection that lasted. */
export class Backoff {
  /** @param {() => number} random @param {{firstMs?: number, maxMs?: number}} [limits] */
  constructor(random, { firstMs = 500, maxMs = 30_000 } = {}) {
    this.random = random;
    this.firstMs = firstMs;
    this.maxMs = maxMs;
    this.attempt = 0;
  }

  /** @param {number} leastMs @returns {number} the next wait in ms */
  next(leastMs = 0) {
    const bound = Math.min(this.maxMs, this.firstMs * 2 ** Math.min(this.attempt, 20));
    this.attempt += 1;
    return Math.max(leastMs, bound / 2) + (bound / 2) * this.random();
  }

  reset() {
    this.attempt = 0;
  }
}

/** The life of the socket: opens it, hears when it is silent or gone, opens it again. */
export class Link {
  /** @param {string} url @param {Parts} parts  @param {Owner} owner */
  constructor(url, parts, owner) {
    this.parts = parts;
    this.url = url;
    this.owner = owner;
    this.backoff = new Backoff(parts.random);
    /** @type {LinkState} */
    this.state = 'idle';
    /** @type {any} */
    this.socket = null;
    this.heartbeatMs = 10_000;
    /** @type {number | null} */
    this.retryAt = null;
    this.slow = false;
    this.lastLook = { now: 0, wall: 0 };
    this.code = 0;
    this.reason = '';
    this.heardAt = this.doubtUntil = 0;
    /** @type {Doubt | null} shown to users, unlike a probe after the page got the focus */
    this.doubted = null;
    /** Only the answer to our probe ends the doubt: other messages may have been sent before it. */
    this.mustAnswer = false;
    /** Whether a doubt that expired while the page did not run has been started again. */
    this.isSecondDoubt = false;
    this.wake = (/** @type {Event} */ event) => {
      this.look();
      const isGoing = event.type === 'visibilitychange' && globalThis.document?.hidden;
      if (!isGoing) this.nudge();
    };
  }

  start() {
    if (this.state !== 'idle' && this.state !== 'stopped') return;
    this.backoff.reset();
    for (const target of this.parts.events)
      for (const name of WAKERS) target.addEventListener(name, this.wake);
    this.lastLook = { now: this.parts.now(), wall: this.parts.wall() };
    this.watch = setInterval(() => this.look(), LOOK_EVERY_MS);
    this.open();
  }

  /** @param {LinkState} state */
  stop(state = 'idle') {
    for (const target of this.parts.events)
      for (const name of WAKERS) target.removeEventListener(name, this.wake);
    clearInterval(this.watch);
    clearTimeout(this.retry);
    const socket = this.socket;
    this.socket = null;
    this.retryAt = null;
    this.trust();
    socket?.close(1000);
    this.become(state);
  }

  /** @param {string} text */
  send(text) {
    if (this.state === 'open') this.socket.send(text);
    return this.state === 'open';
  }

  /** Something changed about the world (woke up, online again): find out now, not later. */
  nudge() {
    if (this.state === 'waiting' && !this.slow) this.open();
    else if (this.state === 'open') this.doubt(PATIENCE_MS);
  }

  open() {
    clearTimeout(this.retry);
    this.retryAt = null;
    this.openedAt = this.heardAt = this.parts.now();
    this.trust();
    this.become('connecting');
    const socket = (this.socket = new this.parts.WebSocket(this.url));
    // A socket that we gave up may still speak; nobody listens.
    const ours = (/** @type {(event: any) => void} */ act) => (/** @type {any} */ event) =>
      void (this.socket === socket && act(event));
    socket.onopen = ours(() => {
      this.openedAt = this.heardAt = this.parts.now();
      this.slow = false;
      this.become('open');
      this.owner.opened();
    });
    socket.onmessage = ours((event) => {
      this.heardAt = this.parts.now();
      if (!this.mustAnswer) this.answered();
      this.owner.text(event.data);
    });
    socket.onclose = ours((event) => this.lost(event.code, event.reason));
  }

  /** @param {number} code @param {string} said */
  lost(code, said) {
    const advice = CLOSE_CODES[code] ?? { then: code >= 4000 ? 'slowly' : 'retry', why: '' };
    const was = this.state;
    this.trust();
    this.socket = null;
    this.code = code;
    this.reason = said || advice.why || (was === 'open' ? 'the connection broke' : 'no answer');
    if (advice.then === 'stop') return this.stop('stopped');
    if (advice.then === 'latest') this.latest = true;
    // A connection that lasted was a good one; one that is closed at once is not.
    if (was === 'open' && this.parts.now() - (this.openedAt ?? 0) > 10_000) this.backoff.reset();
    this.slow = advice.then === 'slowly' || advice.then === 'stated';
    const waitMs = this.backoff.next(advice.then === 'stated' ? stated(said) : this.slow ? 30_000 : 0);
    this.retryAt = this.parts.now() + waitMs;
    this.retry = setTimeout(() => this.open(), waitMs);
    this.become('waiting');
    return undefined;
  }

  /** Compare the clocks, and judge the silence. Timers of background tabs run once a minute. */
  look() {
    const before = this.lastLook;
    this.compare();
    const { now } = this.lastLook;
    this.judge(now, now - this.heardAt, now - before.now);
  }

  /** Detect a leap of the time of day against the steady clock since the last look. */
  compare() {
    const before = this.lastLook;
    this.lastLook = { now: this.parts.now(), wall: this.parts.wall() };
    const leapMs = this.lastLook.wall - before.wall - (this.lastLook.now - before.now);
    if (Math.abs(leapMs) < LEAP_MS) return;
    this.owner.leapt(leapMs);
    if (leapMs > SLEEP_MS) this.woke(leapMs);
    else if (this.state === 'open') this.owner.probe();
  }

  /** @param {number} now @param {number} silentMs @param {number} gapMs since the look before */
  judge(now, silentMs, gapMs) {
    if (this.state === 'connecting' && silentMs > 10_000) this.giveUp('no answer in 10 s');
    if (this.state !== 'open') return;
    const isOver = this.doubtUntil > 0 && now > this.doubtUntil;
    if (isOver && gapMs > 3 * LOOK_EVERY_MS && !this.isSecondDoubt) {
      // A page that did not run, such as a frozen tab, has not handled the messages of that time yet.
      this.isSecondDoubt = true;
      this.doubtUntil = now + PATIENCE_MS;
      this.owner.probe();
    } else if (isOver) this.giveUp(this.doubted?.code === 'SLEPT' ? 'no answer after sleep' : 'the daemon fell silent');
    else if (silentMs > 1.5 * this.heartbeatMs && !this.doubted)
      this.doubt(5000, { code: 'SILENT', reason: `nothing was heard for ${span(silentMs)}; checking the connection` });
  }

  /** Handle a sleep of the device. @param {number} ms its estimated length */
  woke(ms) {
    const reason = `this device slept for ${span(ms)}, or its clock was set; checking the connection`;
    if (this.state === 'open') this.doubt(PATIENCE_MS, { code: 'SLEPT', reason });
    else if (this.state === 'connecting') {
      const socket = this.socket;
      this.open();
      socket.close();
    } else this.nudge();
  }

  /**
   * Probe the daemon; without an answer within the patience the socket is replaced.
   * @param {number} patienceMs @param {Doubt} [doubted]
   */
  doubt(patienceMs, doubted) {
    const isSleep = doubted?.code === 'SLEPT';
    if (this.doubtUntil && !doubted) return;
    this.doubtUntil = this.parts.now() + patienceMs;
    this.mustAnswer ||= isSleep;
    this.owner.probe();
    if (!doubted) return;
    this.doubted = doubted;
    this.owner.changed();
  }

  /** End the doubt: the daemon answered. */
  answered() {
    const wasDoubted = this.doubted;
    this.trust();
    if (wasDoubted) this.owner.changed();
  }

  trust() {
    this.doubtUntil = 0;
    this.doubted = null;
    this.mustAnswer = this.isSecondDoubt = false;
  }

  /** @param {string} reason */
  giveUp(reason) {
    const socket = this.socket;
    this.lost(1006, reason);
    socket.close();
  }

  /** @param {LinkState} state */
  become(state) {
    this.state = state;
    this.owner.changed();
  }
}

/** @param {string} reason @returns {number} the wait in ms that a text names; else half a minute */
function stated(reason) {
  const found = /(\d+(?:\.\d+)?)\s*(ms|s)/.exec(reason);
  return found ? Number(found[1]) * (found[2] === 's' ? 1000 : 1) : 30_000;
}
