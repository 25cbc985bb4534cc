// @ts-check
/**
 * List of the last two hundred events, newest first. An outage is one line, which is rewritten until
 * the outage ends.
 */

import { byId, make, mark } from './dom.js';
import { duration, timeOfDay } from './format.js';
import { DOUBTS, glance, isLive, sentence } from './words.js';

const KEPT = 200;
const NAMED = 5;

/**
 * An outage that has not ended; `what` is the worst state in it.
 * @typedef {{at: number, what: 'doubt' | 'stale' | 'lost', title: string, reason: string, line: HTMLElement}} Outage
 * @typedef {{at: number, names: Set<string>, line: HTMLElement}} Quiet symbols without ticks
 */

export class EventLog {
  /** @param {import('../ctrader-stream.js').CtraderStream} stream */
  constructor(stream) {
    this.stream = stream;
    this.list = byId('log');
    this.before = '';
    this.epoch = '';
    this.wasLive = false;
    /** @type {Outage | null} */
    this.outage = null;
    /** @type {Quiet[]} */
    this.quiets = [];
    /** @type {HTMLElement | null} */
    this.lastDoubt = null;
    stream.on('status', (status) => this.status(status));
    stream.on('error', ({ message, symbol, fatal }) => {
      if (!fatal) this.add('bad', symbol ? `${symbol}: ${message}` : message);
    });
    stream.on('health', ({ fresh, reason, symbols }) => {
      if (!fresh || !reason || symbols) return;
      // The last line took a clock that was set for sleep, so it is corrected.
      if (this.lastDoubt) this.rewrite(this.lastDoubt, 'ok', sentence(reason), 'The connection held');
      else this.add('wait', sentence(reason));
    });
    addEventListener('offline', () => this.add('wait', 'This device is offline'));
    addEventListener('online', () => this.add('ok', 'This device is online again'));
    this.add('wait', 'Page opened');
  }

  /** @param {import('../ctrader-stream.js').Status} status */
  status(status) {
    // One line per change, not one per message about it.
    const what = `${status.link}/${status.status}/${status.attempt}/${status.epoch}/${status.code}`;
    if (what === this.before || (status.link === 'open' && status.status === 'disconnected' && !status.reason)) return;
    this.before = what;
    const host = new URL(this.stream.url).host;
    const words = glance(status, { host, everOpen: this.wasLive, online: true, onBoard: 0, hasKey: this.stream.token !== '' });
    if (isLive(status)) this.live(status, words.title);
    else if (this.outage || this.wasLive || status.link === 'waiting') this.out(status, words);
    else if (status.link === 'open' || status.link === 'stopped') this.add(words.mood, words.title, words.detail);
  }

  /** @param {import('../ctrader-stream.js').Status} status @param {string} title */
  live(status, title) {
    const { outage } = this;
    this.outage = null;
    if (!outage) {
      if (!this.wasLive || status.epoch !== this.epoch) this.add('ok', title, `session ${status.epoch || 'unnamed'}`);
    } else {
      const took = duration(this.stream.elapsed() - outage.at);
      const [end, detail] = {
        lost: ['Connected again', `after ${took} without prices: ${outage.reason}`],
        stale: ['Prices are fresh again', `after ${took}: ${outage.reason}`],
        doubt: [outage.title.replace(' is ', ' was '), `for ${took}; the connection held`],
      }[outage.what];
      this.rewrite(outage.line, 'ok', end, detail);
      this.lastDoubt = outage.what === 'doubt' ? outage.line : null;
    }
    this.wasLive = true;
    this.epoch = status.epoch;
  }

  /** @param {import('../ctrader-stream.js').Status} status @param {import('./words.js').Glance} words */
  out(status, words) {
    const isDoubt = status.link === 'open' && status.code in DOUBTS;
    const what = isDoubt ? 'doubt' : status.link === 'open' && status.status === 'stale' ? 'stale' : 'lost';
    const outage = (this.outage ??= { at: this.lastHeard(), what, title: '', reason: '', line: this.add(words.mood, '') });
    if (RANK[what] < RANK[outage.what]) return;
    outage.what = what;
    const isWaiting = status.link === 'waiting' || (status.link === 'open' && status.status === 'reconnecting');
    // The states between two attempts bring no news.
    if (!isWaiting && status.link !== 'stopped' && what === 'lost' && outage.title && !status.reason) return;
    outage.title = words.title;
    outage.reason = status.reason || words.detail;
    const wait = isWaiting && status.retryAt !== null ? `attempt ${status.attempt} in ${duration(status.retryAt - performance.now())}: ` : '';
    this.rewrite(outage.line, words.mood, words.title, isWaiting ? `${wait}${status.reason}` : words.detail);
  }

  /** The time of the daemon's last message, before a sleep that may have just been noticed. */
  lastHeard() {
    const { clock, link } = this.stream;
    return this.stream.elapsed() - (performance.now() - link.heardAt) - Math.max(0, clock.leap?.ms ?? 0);
  }

  /** Log that symbols fell silent, or tick again. @param {string[]} names @param {boolean} fresh @param {string} reason */
  quiet(names, fresh, reason) {
    if (!fresh) {
      // While all prices are stale, the outage has a line already.
      if (names.length && this.outage?.what !== 'stale')
        this.quiets.push({ at: this.stream.elapsed(), names: new Set(names), line: this.add('wait', `${some(names)}: no ticks`, reason) });
      return;
    }
    for (const quiet of this.quiets) {
      const back = names.filter((name) => quiet.names.delete(name));
      if (!back.length) continue;
      const took = duration(this.stream.elapsed() - quiet.at);
      if (quiet.names.size) this.rewrite(quiet.line, 'wait', `${some([...quiet.names])}: no ticks`, `${some(back)}: ticks again after ${took}`);
      else this.rewrite(quiet.line, 'ok', `${some(back)}: ticks again`, `after ${took}`);
    }
    this.quiets = this.quiets.filter((quiet) => quiet.names.size);
  }

  /** @param {string} mood @param {string} title @param {string} [detail] @returns {HTMLElement} */
  add(mood, title, detail = '') {
    const now = Date.now();
    const time = make('time', { datetime: new Date(now).toISOString() }, timeOfDay(now));
    const line = make('li', {}, time, make('i', { 'aria-hidden': 'true' }), make('p', {}));
    this.rewrite(line, mood, title, detail);
    this.list.prepend(line);
    while (this.list.childElementCount > KEPT) this.list.lastElementChild.remove();
    return line;
  }

  /** @param {HTMLElement} line @param {string} mood @param {string} title @param {string} [detail] */
  rewrite(line, mood, title, detail = '') {
    mark(line, 'data-mood', mood);
    line.lastElementChild?.replaceChildren(title, ...(detail ? [make('span', { class: 'soft' }, ` ${detail}`)] : []));
  }
}

const RANK = { doubt: 0, stale: 1, lost: 2 };

/** @param {string[]} names */
function some(names) {
  const more = names.length - NAMED;
  return `${names.slice(0, NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
