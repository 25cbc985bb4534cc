// @ts-check
/** What happened, with times: newest first, the last two hundred. */

import { byId, make } from './dom.js';
import { duration, timeOfDay } from './format.js';
import { glance } from './words.js';

const KEPT = 200;

export class EventLog {
  /** @param {import('../ctrader-stream.js').CtraderStream} stream */
  constructor(stream) {
    this.stream = stream;
    this.list = byId('log');
    this.before = '';
    this.lostAt = 0;
    this.wasLive = false;
    this.isLoss = false;
    this.addedAt = 0;
    stream.on('status', (status) => this.status(status));
    stream.on('error', ({ message, symbol, fatal }) => {
      if (!fatal) this.add('bad', symbol ? `${symbol}: ${message}` : message);
    });
    addEventListener('offline', () => this.add('wait', 'This device is offline'));
    addEventListener('online', () => this.add('ok', 'This device is online again'));
    this.add('wait', 'The page is open');
  }

  /** @param {import('../ctrader-stream.js').Status} status */
  status(status) {
    // One line per change, not one per message about it.
    const what = `${status.link}/${status.status}/${status.attempt}/${status.epoch}`;
    if (what === this.before || (status.link === 'open' && status.status === 'disconnected' && !status.reason)) return;
    this.before = what;
    const isLive = status.link === 'open' && status.status === 'connected';
    if (this.wasLive && !isLive) this.lostAt ||= performance.now();
    const host = new URL(this.stream.url).host;
    const words = glance(status, { host, everOpen: this.wasLive, online: true, onBoard: 0 });
    if (isLive) {
      const outage = this.lostAt ? `after ${duration(performance.now() - this.lostAt)} without prices` : '';
      this.add('ok', this.lostAt ? 'Connected again' : words.title, outage || `session ${status.epoch || 'unnamed'}`);
      this.lostAt = 0;
      this.wasLive = true;
    } else if (status.link === 'waiting' || status.status === 'reconnecting') {
      // That it is lost was said a moment ago; now it is known what follows.
      if (this.isLoss && performance.now() - this.addedAt < 1000) this.list.firstElementChild?.remove();
      const wait = status.retryAt === null ? '' : `, in ${duration(status.retryAt - performance.now())}`;
      this.add('bad', words.title, `attempt ${status.attempt}${wait}: ${status.reason}`);
    } else if (status.link === 'open' || status.link === 'stopped') this.add(words.mood, words.title, words.detail);
  }

  /** @param {string} mood @param {string} title @param {string} [detail] */
  add(mood, title, detail = '') {
    this.isLoss = this.stream.status.status === 'disconnected' && mood === 'bad';
    this.addedAt = performance.now();
    const now = Date.now();
    const words = make('p', {}, title, ...(detail ? [make('span', { class: 'soft' }, ` ${detail}`)] : []));
    const time = make('time', { datetime: new Date(now).toISOString() }, timeOfDay(now));
    this.list.prepend(make('li', { 'data-mood': mood }, time, make('i', { 'aria-hidden': 'true' }), words));
    while (this.list.childElementCount > KEPT) this.list.lastElementChild.remove();
  }
}
