// @ts-check
/** Numbers and times as people read them. Pure. */

/** @param {number} digits @returns {number} decimals of one pip, by the market's custom */
export function pipDigits(digits) {
  // Currencies: the last of an odd number of decimals is a tenth of a pip. Metals, indices and
  // coins: whole units of price.
  if (digits < 3) return 0;
  return digits % 2 ? digits - 1 : digits;
}

const CURRENCIES = new Set(
  ('AED AUD BRL CAD CHF CLP CNH CNY COP CZK DKK EUR GBP HKD HUF IDR ILS INR JPY KRW KWD MXN MYR NOK NZD ' +
    'PHP PLN RON RUB SAR SEK SGD THB TRY TWD USD ZAR').split(' '),
);

/** @param {string} symbol @returns {boolean} two currencies, as EURUSD, EUR/USD or EURUSD.x */
export function isCurrencyPair(symbol) {
  const found = /^([A-Z]{3})[^A-Z0-9]?([A-Z]{3})(?![A-Z0-9])/i.exec(symbol);
  return found !== null && [found[1], found[2]].every((one) => CURRENCIES.has(one.toUpperCase()));
}

/**
 * A spread with its unit: pips for currency pairs, units of the price for everything else.
 * @param {string} symbol @param {number} spread @param {number} digits
 */
export function spreadText(symbol, spread, digits) {
  return isCurrencyPair(symbol) && digits >= 2 ? `${pips(spread, digits)} p` : spread.toFixed(digits);
}

/** @param {number} ms since the epoch @returns {string} local day of the week and time, to the minute */
export function weekTime(ms) {
  const day = new Date(ms).toLocaleDateString('en', { weekday: 'short' });
  return `${day} ${timeOfDay(ms).slice(0, 5)}`;
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
