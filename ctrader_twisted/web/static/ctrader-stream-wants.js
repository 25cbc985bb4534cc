// @ts-check
/**
 * Who wants what, who is told what, and how far the daemon's clock is from ours: values without a
 * socket. Used by ctrader-stream.js.
 *
 * @typedef {(tick: any) => void} Taker
 */

/** Who wants which symbol. Names are compared upper-case; wanting twice counts once. */
export class Wants {
  constructor() {
    /** @type {Map<string, {name: string, takers: Set<Taker>}>} */
    this.bySymbol = new Map();
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

/** How far the daemon's clock is from ours, judged by the quickest of the last few answers. */
export class ServerClock {
  constructor() {
    /** @type {{rttMs: number, offsetMs: number}[]} */
    this.samples = [];
  }

  /** @param {number} sent @param {number} heard @param {number} server all ms since the epoch */
  sample(sent, heard, server) {
    const rttMs = Math.max(0, heard - sent);
    this.samples = [...this.samples.slice(-7), { rttMs, offsetMs: server + 0.5 - (sent + heard) / 2 }];
  }

  get best() {
    return this.samples.reduce((a, b) => (b.rttMs < a.rttMs ? b : a), this.samples[0]);
  }

  get rttMs() {
    return this.samples.at(-1)?.rttMs ?? null;
  }

  /** Zero while what we see may be only the way of the message. */
  get offsetMs() {
    const best = this.best;
    return best && Math.abs(best.offsetMs) > best.rttMs / 2 + 2 ? best.offsetMs : 0;
  }
}
