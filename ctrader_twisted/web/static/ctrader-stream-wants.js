// @ts-check
/**
 * Who wants what, who is told what, and how far the daemon's clock is from ours: values without a
 * socket. Used by ctrader-stream.js.
 *
 * @typedef {(tick: any) => void} Taker
 * @typedef {{symbol: string, available: boolean, code: string, message: string}} Availability a
 *   symbol that is wanted has no prices now, with the reason, or has them again; the daemon asks its
 *   venue again by itself
 */

/** Who wants which symbol. Names are compared upper-case; wanting twice counts once. */
export class Wants {
  constructor() {
    /** @type {Map<string, {name: string, takers: Set<Taker>}>} */
    this.bySymbol = new Map();
    this.answers = new Answers();
  }

  /** @param {string} name @param {Taker} taker @returns {boolean} is it news? */
  add(name, taker) {
    const key = name.toUpperCase();
    const want = this.bySymbol.get(key);
    if (want) want.takers.add(taker);
    else this.bySymbol.set(key, { name, takers: new Set([taker]) });
    return !want;
  }

  /** @param {string} name @param {Taker} taker @returns {boolean} the last one? */
  remove(name, taker) {
    const want = this.bySymbol.get(name.toUpperCase());
    if (!want || !want.takers.delete(taker) || want.takers.size) return false;
    this.answers.forget(name);
    return this.bySymbol.delete(name.toUpperCase());
  }

  /** @param {string} name */
  has(name) {
    return this.bySymbol.has(name.toUpperCase());
  }

  names() {
    return [...this.bySymbol.values()].map((want) => want.name);
  }

  /** @param {string} name */
  takers(name) {
    return this.bySymbol.get(name.toUpperCase())?.takers ?? [];
  }

  /** What the daemon refused and is in its list now. @param {string[]} [listed] */
  listedAgain(listed = []) {
    const { refused } = this.answers;
    if (!refused.size) return [];
    const known = new Set(listed.map((name) => name.toUpperCase()));
    return this.names().filter((name) => refused.has(name.toUpperCase()) && known.has(name.toUpperCase()));
  }
}

/** The daemon's last answer for each wanted symbol. Names are compared upper-case. */
export class Answers {
  /** @type {Map<string, string>} without prices now, and the code of each; the daemon goes on asking */
  unavailable = new Map();
  /** @type {Set<string>} not wanted by the daemon, which did not know them */
  refused = new Set();

  /** @param {{symbol: string, status: string, code?: string, message?: string}} row
   *  @returns {Availability | null} what is new of a symbol that the daemon keeps */
  take({ symbol, status, code = '', message = '' }) {
    const key = String(symbol).toUpperCase();
    const isRefused = status === 'error';
    const before = this.unavailable.get(key) ?? '';
    this.forget(key);
    if (isRefused) this.refused.add(key);
    else if (code) this.unavailable.set(key, code);
    return isRefused || before === code ? null : { symbol, available: !code, code, message };
  }

  /** @param {string} name */
  forget(name) {
    this.unavailable.delete(name.toUpperCase());
    this.refused.delete(name.toUpperCase());
  }
}

/** Calls listeners; one that throws costs the others nothing. */
export class Dispatch {
  constructor() {
    /** @type {Map<string, Set<(value: any) => void>>} */
    this.listeners = new Map();
  }

  /** @param {string} event @param {(value: any) => void} listener */
  on(event, listener) {
    const listeners = this.listeners.get(event) ?? new Set();
    this.listeners.set(event, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /** @param {string} event @param {any} value */
  emit(event, value) {
    Dispatch.call(this.listeners.get(event) ?? [], value);
  }

  /** @param {Iterable<(value: any) => void>} listeners @param {any} value */
  static call(listeners, value) {
    for (const listener of listeners) {
      try {
        listener(value);
      } catch (error) {
        console.error('a listener of ctrader-stream failed', error);
      }
    }
  }
}

/** Ms by which two good clocks may drift apart while samples are kept. */
const DRIFT_MS = 100;

/**
 * How far the daemon's clock is from ours, judged by the quickest of the last few answers; and
 * whether a leap of ours was sleep, or a clock that was set.
 */
export class ServerClock {
  constructor() {
    /** @type {{rttMs: number, offsetMs: number}[]} */
    this.samples = [];
    /** Ms that the device slept while the steady clock stood still. */
    this.sleptMs = 0;
    /** @type {{ms: number, offsetMs: number | undefined} | null} a leap that is not explained yet */
    this.leap = null;
  }

  /** @param {number} sent @param {number} heard @param {number} server all ms since the epoch */
  sample(sent, heard, server) {
    const rttMs = Math.max(0, heard - sent);
    const offsetMs = server + 0.5 - (sent + heard) / 2;
    // A sample is exact to half its round trip. If two exclude each other, a clock was set in between.
    const { best } = this;
    const boundMs = (rttMs + (best?.rttMs ?? 0)) / 2 + DRIFT_MS;
    if (best && Math.abs(offsetMs - best.offsetMs) > boundMs) this.samples = [];
    this.samples = [...this.samples.slice(-7), { rttMs, offsetMs }];
  }

  /** @param {number} ms Our time of day went so much further than the steady clock. */
  leapt(ms) {
    const offsetMs = this.leap ? this.leap.offsetMs : this.best?.offsetMs;
    this.leap = { ms: ms + (this.leap?.ms ?? 0), offsetMs };
    this.sleptMs += Math.max(0, ms);
    // Samples from before the leap are not valid any more.
    this.samples = [];
  }

  /** @returns {string} how our clock was set, as the first sample after a leap tells; '' if it was sleep */
  explainLeap() {
    const { leap, best } = this;
    this.leap = null;
    if (!leap || leap.offsetMs === undefined || !best) return '';
    if (Math.abs(leap.offsetMs - best.offsetMs) < Math.abs(leap.ms) / 2) return '';
    this.sleptMs -= Math.max(0, leap.ms);
    return `the clock of this device was set ${leap.ms > 0 ? 'forward' : 'back'} by ${span(Math.abs(leap.ms))}`;
  }

  /** @returns {{rttMs: number, offsetMs: number} | undefined} */
  get best() {
    return this.samples.reduce((a, b) => (b.rttMs < a.rttMs ? b : a), this.samples[0]);
  }

  get rttMs() {
    return this.samples.at(-1)?.rttMs ?? null;
  }

  /** Zero while what we see may be only the way of the message. */
  get offsetMs() {
    const { best } = this;
    return best && Math.abs(best.offsetMs) > best.rttMs / 2 + 2 ? best.offsetMs : 0;
  }
}

/** @param {number} ms @returns {string} a length of time in words */
export function span(ms) {
  const seconds = Math.round(ms / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (seconds < 60) return `${seconds} s`;
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${seconds % 60} s`;
}
