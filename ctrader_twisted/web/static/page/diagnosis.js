// @ts-check
/** "Why do I get no ticks?": asks the daemon, where it can answer that. */

import { byId, make, write } from './dom.js';
import { timeOfDay, weekTime } from './format.js';

const ROUTE = 'ctrader/diagnose?symbol=';

const RETRY_MS = 30_000;
const CLOSED_FOR_MS = 300_000;

export class Diagnosis {
  /** @param {() => string} key the API key of this page; '' without one */
  constructor(key) {
    this.key = key;
    /** False only for an older daemon without the route. */
    this.exists = true;
    this.retryAt = 0;
    this.isAnswered = false;
    this.dialog = byId('diagnosis');
    byId('diagnosis-close').addEventListener('click', () => this.dialog.close());
  }

  /** @param {string} symbol @returns {Promise<Response>} */
  ask(symbol) {
    const key = this.key();
    const headers = key ? { Authorization: `Bearer ${key}` } : undefined;
    return fetch(ROUTE + encodeURIComponent(symbol), { cache: 'no-store', headers });
  }

  /**
   * Fetch the diagnosis of a silent symbol; null without an answer.
   * @param {string} symbol @param {number} now steady ms @returns {Promise<any>}
   */
  async look(symbol, now) {
    if (!this.exists || now < this.retryAt) return null;
    try {
      const answer = await this.ask(symbol);
      // 404: an older daemon without the route. Other errors (key, quota, proxy) may pass.
      if (answer.status === 404) this.exists = false;
      if (answer.ok) {
        this.isAnswered = true;
        return await answer.json();
      }
    } catch {
      // The daemon is away, and the page says so already.
    }
    this.retryAt = now + RETRY_MS;
    this.isAnswered = false;
    return null;
  }

  /** @param {string} symbol */
  async open(symbol) {
    write(byId('diagnosis-title'), `Why no ticks of ${symbol}?`);
    byId('diagnosis-body').replaceChildren(make('dt', {}, 'Asking the daemon'), make('dd', {}, '…'));
    this.dialog.showModal();
    try {
      const answer = await this.ask(symbol);
      byId('diagnosis-body').replaceChildren(...lines(await answer.json()));
    } catch (error) {
      byId('diagnosis-body').replaceChildren(make('dt', {}, 'No answer'), make('dd', {}, String(error)));
    }
  }
}

/**
 * The closed market of a silent symbol, as the reason of its silence; null if it is open or unknown.
 * @param {any} answer of the daemon @param {number} now steady ms
 * @returns {{text: string, opens: string, until: number} | null} `until`: when to ask again
 */
export function closed(answer, now) {
  const market = answer?.links?.find?.((/** @type {any} */ one) => one?.name === 'market');
  if (market?.holds !== 'no') return null;
  const opens = typeof market.opens === 'number' ? `opens ${weekTime(market.opens)}` : '';
  return { text: [market.cause || 'closed', opens].filter(Boolean).join('; '), opens, until: now + CLOSED_FOR_MS };
}

/**
 * What the daemon's answer means: [mood, title, sentence].
 * @param {any} answer @returns {[string, string, string]}
 */
export function verdict(answer) {
  const said = [answer.cause, answer.advice].filter(Boolean).join('. ');
  if (answer.first_broken === 'market') return ['wait', 'The market is closed', said];
  if (answer.first_broken) return ['bad', 'Broken', said || `at: ${answer.first_broken}`];
  const missing = answer.links.filter((/** @type {any} */ one) => one.holds !== 'ok').map((/** @type {any} */ one) => one.name);
  if (missing.length) return ['wait', 'No link is broken', `Not known yet: ${missing.join(', ')}.`];
  return ['ok', 'Nothing is broken', 'Every link holds; perhaps nobody traded.'];
}

/**
 * The way of a tick, link by link, the first broken one in words above.
 * @param {any} answer @returns {Node[]}
 */
function lines(answer) {
  if (!Array.isArray(answer?.links)) {
    const problem = typeof answer?.detail === 'string' ? answer.detail : JSON.stringify(answer);
    return [make('dt', {}, 'The daemon refuses'), make('dd', {}, problem)];
  }
  const [mood, title, words] = verdict(answer);
  return [
    make('dt', { class: 'verdict', 'data-mood': mood }, title),
    make('dd', { class: 'verdict' }, words),
    ...answer.links.flatMap(link),
  ];
}

/** @param {any} one @returns {Node[]} */
function link(one) {
  const since = one.since ? `since ${timeOfDay(one.since)}` : '';
  const words = [one.cause, one.advice, since].filter(Boolean).join(' · ');
  const mood = one.holds === 'ok' ? 'ok' : one.holds === 'no' && one.name !== 'market' ? 'bad' : 'wait';
  return [
    make('dt', { 'data-mood': mood }, make('i', { 'aria-hidden': 'true' }), String(one.name)),
    make('dd', {}, make('b', {}, String(one.holds)), words && ` ${words}`),
  ];
}
