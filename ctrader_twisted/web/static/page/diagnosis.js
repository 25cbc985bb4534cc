// @ts-check
/** "Why do I get no ticks?": asks the daemon, where it can answer that. */

import { byId, make, write } from './dom.js';

const ROUTE = '/ctrader/diagnose?symbol=';

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

/** Whatever the answer is made of, as terms and texts. @param {any} answer @returns {Node[]} */
function lines(answer, prefix = '') {
  if (answer === null || typeof answer !== 'object')
    return [make('dt', {}, prefix), make('dd', {}, String(answer))];
  return Object.entries(answer).flatMap(([name, value]) => {
    const words = name.replaceAll('_', ' ');
    return lines(value, Array.isArray(answer) ? `${prefix} ${Number(name) + 1}` : [prefix, words].filter(Boolean).join(' · '));
  });
}
