// @ts-check
/** The state at a glance: a sentence, a countdown that is true, four numbers. */

import { byId, mark, write } from './dom.js';
import { duration, latency, timeOfDay } from './format.js';
import { glance, hint, trouble, venueWord } from './words.js';

const PROBE_EVERY_MS = 1500;

export class GlanceView {
  /** @param {import('../ctrader-stream.js').CtraderStream} stream 
   *  @param {{onBoard: () => number, expectsTicks: () => boolean}} facts `expectsTicks`: a market is open */
  constructor(stream, facts) {
    this.stream = stream;
    this.facts = facts;
    this.host = new URL(stream.url).host;
    this.everOpen = false;
    /** @type {boolean | undefined} */
    this.answersHttp = undefined;
    this.tickAt = -1;
    this.ticks = 0;
    /** @type {{at: number, ticks: number}[]} */
    this.counts = [];
    /** @type {number[]} the last latencies in ms */
    this.latencies = [];
    this.waitMs = 0;
    this.isProbing = false;
    this.probedAt = 0;
    byId('retry').addEventListener('click', () => {
      stream.connect();
      stream.link.slow = false;
      stream.link.nudge();
    });
    stream.on('status', () => this.changed());
    addEventListener('online', () => this.changed());
    addEventListener('offline', () => this.changed());
    setInterval(() => this.tick(), 250);
    this.changed();
  }

  /** @param {number} ms from the daemon's socket to the screen */
  sawLatency(ms) {
    this.latencies.push(ms);
    if (this.latencies.length > 99) this.latencies.shift();
  }

  changed() {
    const { status } = this.stream;
    if (status.link === 'open') {
      this.everOpen = true;
      this.answersHttp = undefined;
    } else if (status.link === 'waiting' && status.attempt > 1) this.probe();
    this.waitMs = status.retryAt === null ? 0 : status.retryAt - performance.now();
    this.show();
  }

  show() {
    const { status } = this.stream;
    const { onBoard } = this.facts;
    const words = glance(status, {
      host: this.host,
      everOpen: this.everOpen,
      online: navigator.onLine || /^(localhost|127\.|\[::1])/.test(this.host),
      onBoard: onBoard(),
      answersHttp: this.answersHttp,
      hasKey: this.stream.token !== '',
    });
    mark(byId('glance'), 'data-mood', words.mood);
    write(byId('glance-title'), words.title);
    write(byId('glance-detail'), words.detail);
    byId('glance-detail').title = words.detail;
    write(byId('announce'), words.title);
    const broken = trouble(status, timeOfDay);
    byId('trouble').hidden = !broken;
    write(byId('trouble-text'), broken);
    byId('retry').hidden = !words.canRetry;
    document.title = `${words.mood === 'ok' ? '' : '⚠ '}${words.title} · ctrader-stream`;
    const env = byId('env');
    env.hidden = !status.epoch && !status.env;
    mark(env, 'data-env', status.env || 'unknown');
    write(env, status.env || 'unknown venue');
    const [mood, word] = venueWord(status);
    this.meter('venue', word, mood);
    this.tick();
  }

  tick() {
    const { status } = this.stream;
    const now = performance.now();
    const remaining = status.retryAt === null ? -1 : Math.max(0, status.retryAt - now);
    const countdown = byId('countdown');
    countdown.hidden = remaining < 0;
    if (remaining >= 0) {
      write(byId('countdown-text'), `${remaining < 9950 ? (remaining / 1000).toFixed(1) : Math.ceil(remaining / 1000)}`);
      countdown.style.setProperty('--part', String(this.waitMs ? remaining / this.waitMs : 0));
    }
    this.tickMeters(now, status.link === 'open');
    if (status.link === 'waiting' && status.attempt > 1 && !document.hidden && now - this.probedAt > PROBE_EVERY_MS) this.probe();
    const words = hint(status, this.stream.clock.offsetMs, duration);
    byId('hint').hidden = !words;
    write(byId('hint'), words);
  }

  /** @param {number} now @param {boolean} isOpen */
  tickMeters(now, isOpen) {
    const silent = this.stream.elapsed() - this.tickAt;
    if (this.tickAt < 0 || !this.facts.onBoard()) this.meter('fresh', '–', null);
    else this.meter('fresh', duration(silent), this.facts.expectsTicks() ? (silent < 5000 ? 'ok' : silent < 30_000 ? 'wait' : 'bad') : null);
    this.counts.push({ at: now, ticks: this.ticks });
    while (this.counts.length > 9) this.counts.shift();
    const [oldest] = this.counts;
    const rate = ((this.ticks - oldest.ticks) * 1000) / Math.max(250, now - oldest.at);
    this.meter('rate', `${rate < 10 ? rate.toFixed(1) : Math.round(rate).toLocaleString('en')} /s`, null);
    const middle = [...this.latencies].sort((a, b) => a - b)[this.latencies.length >> 1];
    const shown = isOpen && middle !== undefined ? latency(Math.max(0, middle)) : '–';
    this.meter('latency', shown, shown === '–' ? null : middle < 100 ? 'ok' : 'wait');
  }

  /** @param {string} name @param {string} text @param {string | null} mood */
  meter(name, text, mood) {
    const meter = byId(`meter-${name}`);
    mark(meter, 'data-mood', mood);
    write(meter.lastElementChild, text);
  }

  /** No WebSocket: is anybody there at all? */
  async probe() {
    if (this.isProbing) return;
    this.isProbing = true;
    this.probedAt = performance.now();
    try {
      const answer = await fetch('healthz', { cache: 'no-store' });
      const isBack = answer.ok && this.answersHttp === false;
      this.answersHttp = answer.ok;
      // The daemon answers again, so the announced wait is not needed.
      if (isBack) this.stream.link.nudge();
    } catch {
      this.answersHttp = false;
    }
    this.isProbing = false;
    if (this.stream.status.link === 'waiting') this.show();
  }
}
