// @ts-check
/**
 * Candles of the prices seen. Kept as short ones; longer ones are made of those when asked for. Pure.
 *
 * @typedef {{time: number, open: number, high: number, low: number, close: number}} Candle `time` in
 *   seconds since the epoch, where the candle begins
 */

const BASE_S = 5;
const KEPT = 1440;

export class Candles {
  constructor() {
    /** @type {Candle[]} oldest first */
    this.base = [];
  }

  /** @param {number} price @param {number} atMs since the epoch */
  add(price, atMs) {
    const last = this.base[this.base.length - 1];
    const time = Math.floor(atMs / 1000 / BASE_S) * BASE_S;
    // A clock that goes back does not rewrite what is past: it counts into the last candle.
    if (last && time <= last.time) grow(last, price, price, price);
    else {
      this.base.push({ time, open: price, high: price, low: price, close: price });
      if (this.base.length > KEPT) this.base.splice(0, this.base.length - KEPT);
    }
  }

  /** @param {number} periodS a multiple of five @returns {Candle[]} */
  of(periodS) {
    /** @type {Candle[]} */
    const candles = [];
    for (const one of this.base) {
      const last = candles[candles.length - 1];
      const time = Math.floor(one.time / periodS) * periodS;
      if (last && last.time === time) grow(last, one.high, one.low, one.close);
      else candles.push({ ...one, time });
    }
    return candles;
  }

  /** @param {number} periodS @returns {Candle | null} the forming one */
  last(periodS) {
    const newest = this.base[this.base.length - 1];
    if (!newest) return null;
    const time = Math.floor(newest.time / periodS) * periodS;
    let start = this.base.length - 1;
    while (start > 0 && this.base[start - 1].time >= time) start -= 1;
    const candle = { ...this.base[start], time };
    for (const one of this.base.slice(start + 1)) grow(candle, one.high, one.low, one.close);
    return candle;
  }
}

/** @param {Candle} candle @param {number} high @param {number} low @param {number} close */
function grow(candle, high, low, close) {
  candle.high = Math.max(candle.high, high);
  candle.low = Math.min(candle.low, low);
  candle.close = close;
}
