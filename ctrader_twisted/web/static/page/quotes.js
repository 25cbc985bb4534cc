// @ts-check
/** What is known of one symbol since the page opened: prices, a line of minutes, candles. Pure. */

import { Candles } from './candles.js';

const STEP_MS = 1000;
const STEPS = 180;

/** The last minutes as a line: one point per second, the last price in each. */
export class Line {
  constructor() {
    /** @type {number[]} oldest first */
    this.points = [];
    this.step = 0;
  }

  /** @param {number} price @param {number} atMs */
  add(price, atMs) {
    const step = Math.floor(atMs / STEP_MS);
    const missed = Math.min(STEPS, step - this.step);
    if (!this.points.length || missed <= 0) {
      this.points[Math.max(0, this.points.length - 1)] = price;
      this.step = this.step || step;
      return;
    }
    // While nothing came the price was the one before.
    const before = this.points[this.points.length - 1];
    for (let each = 1; each < missed; each += 1) this.points.push(before);
    this.points.push(price);
    this.step = step;
    if (this.points.length > STEPS) this.points.splice(0, this.points.length - STEPS);
  }

  /** How many points the line is wide: few at first, so that there is something to see. */
  get steps() {
    return Math.max(45, this.points.length);
  }
}

/** How far the venue's clock may be ahead of the daemon's. */
const AHEAD_MS = 60_000;

/**
 * Where a tick belongs on the chart. A time from the future would take all later prices into its
 * candle, so the time of receipt replaces it.
 *
 * @param {import('../ctrader-stream.js').Tick} tick @returns {number} ms since the epoch
 */
function chartedAt({ timestamp, receivedAt }) {
  return receivedAt && timestamp > receivedAt + AHEAD_MS ? receivedAt : timestamp;
}

/** One symbol. */
export class Quote {
  /** @param {string} symbol */
  constructor(symbol) {
    this.symbol = symbol;
    this.digits = 0;
    this.bid = this.ask = this.spread = 0;
    this.first = 0;
    this.count = 0;
    /** @type {'up' | 'down' | null} */
    this.bidWay = null;
    /** @type {'up' | 'down' | null} */
    this.askWay = null;
    this.heardAt = -1;
    this.receivedAt = 0;
    this.isOld = false;
    /** Text about its closed market; '' if the market is open or its state unknown. */
    this.closed = this.opens = '';
    this.closedUntil = 0;
    /** What the daemon said when it refused. */
    this.trouble = '';
    /** Why there are no prices now, although the daemon keeps the subscription. */
    this.waitsFor = '';
    this.line = new Line();
    this.candles = new Candles();
  }

  /** @param {import('../ctrader-stream.js').Tick} tick @param {number} now steady ms */
  take(tick, now) {
    const middle = (tick.bid + tick.ask) / 2;
    if (this.count === 0) this.first = middle;
    else {
      if (tick.bid !== this.bid) this.bidWay = tick.bid > this.bid ? 'up' : 'down';
      if (tick.ask !== this.ask) this.askWay = tick.ask > this.ask ? 'up' : 'down';
    }
    this.digits = tick.digits;
    this.bid = tick.bid;
    this.ask = tick.ask;
    this.spread = tick.spread;
    this.count += 1;
    this.heardAt = now;
    this.receivedAt = tick.snapshot ? 0 : (tick.receivedAt ?? 0);
    this.isOld = false;
    this.trouble = this.waitsFor = '';
    // The venue sends a first price after each subscription even if the market is closed.
    if (this.closed && !tick.snapshot && this.count > 2) {
      this.closed = this.opens = '';
      this.closedUntil = 0;
    }
    const at = chartedAt(tick);
    this.line.add(middle, at);
    this.candles.add(tick.bid, at);
  }

  /** Since the page opened, as a share of the first price. */
  get change() {
    return this.first ? (this.bid + this.ask) / 2 / this.first - 1 : 0;
  }
}
