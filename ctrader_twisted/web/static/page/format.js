// @ts-check
/** Numbers and times as people read them. Pure. */

/** @param {number} digits @returns {number} decimals of one pip, by the market's custom */
export function pipDigits(digits) {
  // Currencies: the last of an odd number of decimals is a tenth of a pip. Metals, indices and
  // coins: whole units of price.
  if (digits < 3) return 0;
  return digits % 2 ? digits - 1 : digits;
}

/** @param {number} spread @param {number} digits @param {number} [pip] @returns {string} in pips */
export function pips(spread, digits, pip = pipDigits(digits)) {
  return (spread * 10 ** pip).toFixed(digits - pip);
}

/**
 * A price in three pieces: what rarely changes, the pips, the tenth of a pip.
 * @param {number} price @param {number} digits @returns {[string, string, string]}
 */
export function priceParts(price, digits) {
  const text = price.toFixed(digits);
  if (digits >= 3 && digits % 2) return [text.slice(0, -3), text.slice(-3, -1), text.slice(-1)];
  const big = digits === 1 ? 1 : 2;
  return [text.slice(0, -big), text.slice(-big), ''];
}

/** @param {number} part @returns {string} a share of one, with its sign, in percent */
export function percent(part) {
  const text = (part * 100).toFixed(3);
  if (Number(text) === 0) return '0.000';
  return `${part > 0 ? '+' : '−'}${text.replace('-', '')}`;
}

/** @param {number} ms @returns {string} */
export function duration(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

/** @param {number} ms @returns {string} */
export function latency(ms) {
  if (ms >= 1000) return duration(ms);
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

/** @param {number} ms since the epoch @returns {string} the local time of day */
export function timeOfDay(ms) {
  const at = new Date(ms);
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map((n) => String(n).padStart(2, '0')).join(':');
}

/** @param {number} count @param {string} one @param {string} [many] */
export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString('en')} ${count === 1 ? one : many}`;
}
