// @ts-check
/** "Why do I get no ticks?": asks the daemon, where it can answer that. */

import { byId, make, write } from './dom.js';
import { timeOfDay } from './format.js';

const ROUTE = 'ctrader/diagnose?symbol=';

export class Diagnosis {
  constructor() {
    /** @type {boolean | null} null until somebody needed to know */
    this.exists = null;
    this.dialog = byId('diagnosis');
    byId('diagnosis-close').addEventListener('click', () => this.dialog.close());
  }

  /** @param {string} symbol @returns {Promise<boolean>} can the daemon tell? Asked once. */
  async isOffered(symbol) {
    if (this.exists === null) {
      this.exists = false;
      try {
        // An older daemon says 404 here. That is an answer, not a fault.
        this.exists = (await fetch(ROUTE + encodeURIComponent(symbol))).ok;
      } catch {
        this.exists = null;
      }
    }
    return this.exists === true;
  }

  /** @param {string} symbol */
  async open(symbol) {
    write(byId('diagnosis-title'), `Why no ticks of ${symbol}?`);
    byId('diagnosis-body').replaceChildren(make('dt', {}, 'Asking the daemon'), make('dd', {}, '…'));
    this.dialog.showModal();
    try {
      const answer = await fetch(ROUTE + encodeURIComponent(symbol), { cache: 'no-store' });
      byId('diagnosis-body').replaceChildren(...lines(await answer.json()));
    } catch (error) {
      byId('diagnosis-body').replaceChildren(make('dt', {}, 'No answer'), make('dd', {}, String(error)));
    }
  }
}

/**
 * The way of a tick, link by link, the first broken one in words above.
 * @param {any} answer @returns {Node[]}
 */
function lines(answer) {
  if (!Array.isArray(answer?.links)) return [make('dt', {}, 'Answer'), make('dd', {}, JSON.stringify(answer))];
  const verdict = answer.ok
    ? 'Every link holds; perhaps nobody traded.'
    : [answer.cause, answer.advice].filter(Boolean).join('. ') || `Broken at: ${answer.first_broken}`;
  return [
    make('dt', { class: 'verdict' }, answer.ok ? 'Nothing is broken' : 'Broken'),
    make('dd', { class: 'verdict' }, verdict),
    ...answer.links.flatMap(link),
  ];
}

/** @param {any} one @returns {Node[]} */
function link(one) {
  const since = one.since ? `since ${timeOfDay(one.since)}` : '';
  const words = [one.cause, one.advice, since].filter(Boolean).join(' · ');
  const mood = { ok: 'ok', no: 'bad' }[/** @type {string} */ (one.holds)] ?? 'wait';
  return [
    make('dt', { 'data-mood': mood }, make('i', { 'aria-hidden': 'true' }), String(one.name)),
    make('dd', {}, make('b', {}, String(one.holds)), words && ` ${words}`),
  ];
}
