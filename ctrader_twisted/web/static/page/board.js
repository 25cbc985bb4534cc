// @ts-check
/** The quote board. Ticks only mark rows; rows are written once per animation frame. */

import { byId, make, mark, write } from './dom.js';
import { percent, plural, priceParts, spreadText } from './format.js';
import { Sparkline } from './sparkline.js';

const FLASH_MS = 260;
const LINE_EVERY_MS = 2000;
const UNSEEN_EVERY_MS = 2000;

class Row {
  /** @param {import('./quotes.js').Quote} quote @param {Sparkline} sparkline */
  constructor(quote, sparkline) {
    this.quote = quote;
    this.sparkline = sparkline;
    this.pick = make('button', { type: 'button', class: 'pick', title: quote.symbol }, quote.symbol);
    this.bid = new PriceCell();
    this.ask = new PriceCell();
    this.spread = make('td', { class: 'num' }, '–');
    this.change = make('td', { class: 'num change waiting' }, 'waiting');
    this.canvas = make('canvas', { 'aria-hidden': 'true' });
    const remove = make('button', { type: 'button', class: 'remove', 'aria-label': `Remove ${quote.symbol}` }, '×');
    this.why = make('button', { type: 'button', class: 'why', 'aria-label': `Why no ticks of ${quote.symbol}?` }, '?');
    this.why.hidden = true;
    this.element = make(
      'tr', {},
      make('th', { scope: 'row' }, this.pick),
      this.bid.cell, this.ask.cell, this.spread, this.change,
      make('td', { class: 'spark' }, this.canvas),
      make('td', { class: 'actions' }, this.why, remove),
    );
    // Lines are drawn in turns, not all in one frame.
    this.drawnAt = -1e9 * Math.random();
    this.isSeen = true;
  }

  /** @param {number} now @returns {boolean} is something of it still to be done later? */
  paint(now) {
    const { quote } = this;
    mark(this.element, 'data-old', quote.isOld || quote.closed ? '' : null);
    mark(this.element, 'data-closed', quote.closed ? '' : null);
    mark(this.canvas.parentElement, 'data-opens', quote.opens || null);
    this.pick.title = quote.closed ? `${quote.symbol}: ${quote.closed}` : quote.symbol;
    if (!quote.count || quote.trouble || quote.waitsFor) {
      this.change.className = quote.trouble ? 'num change wrong' : 'num change waiting';
      write(this.change, quote.trouble ? 'refused' : quote.closed ? 'closed' : 'waiting');
      this.change.title = quote.trouble || quote.waitsFor || quote.closed;
      return false;
    }
    const bidLater = this.bid.paint(quote.bid, quote.digits, quote.bidWay, now);
    const askLater = this.ask.paint(quote.ask, quote.digits, quote.askWay, now);
    write(this.spread, spreadText(quote.symbol, quote.spread, quote.digits));
    const { change } = quote;
    if (this.change.className !== 'num change') this.change.className = 'num change';
    this.change.title = quote.closed;
    const text = quote.closed ? 'closed' : percent(change);
    mark(this.change, 'data-way', quote.closed || text === '0.000' ? null : change > 0 ? 'up' : 'down');
    write(this.change, text);
    if (now - this.drawnAt > LINE_EVERY_MS) {
      this.drawnAt = now;
      this.sparkline.draw(this.canvas, quote);
    }
    return bidLater || askLater;
  }
}

/** A price in three pieces, which is written only where it changed, and shines for a moment. */
class PriceCell {
  constructor() {
    this.head = document.createTextNode('–');
    this.big = document.createTextNode('');
    this.small = document.createTextNode('');
    this.span = make('span', { class: 'price' }, this.head, make('b', {}, this.big), make('sup', {}, this.small));
    this.cell = make('td', { class: 'num' }, this.span);
    this.price = NaN;
    this.litUntil = 0;
  }

  /** @param {number} price @param {number} digits @param {string | null} way @param {number} now */
  paint(price, digits, way, now) {
    if (price !== this.price) {
      const [head, big, small] = priceParts(price, digits);
      if (this.head.nodeValue !== head) this.head.nodeValue = head;
      if (this.big.nodeValue !== big) this.big.nodeValue = big;
      if (this.small.nodeValue !== small) this.small.nodeValue = small;
      const isFirst = Number.isNaN(this.price);
      this.price = price;
      if (!isFirst && way) {
        mark(this.span, 'data-way', way);
        mark(this.span, 'data-flash', way);
        this.litUntil = now + FLASH_MS;
      }
    }
    if (!this.litUntil) return false;
    if (now < this.litUntil) return true;
    this.litUntil = 0;
    mark(this.span, 'data-flash', null);
    return false;
  }
}

export class Board {
  /**
   * @param {import('./painter.js').Painter} painter
   * @param {{picked: (name: string) => void, removed: (name: string) => void,
   *   why: (name: string) => void, painted: (receivedAt: number[]) => void}} desk
   */
  constructor(painter, desk) {
    this.painter = painter;
    this.desk = desk;
    this.body = byId('board');
    this.sparkline = new Sparkline(() => this.redraw());
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    /** @type {Set<Row>} */
    this.dirty = new Set();
    this.job = () => this.paint();
    this.body.addEventListener('click', (/** @type {any} */ event) => this.clicked(event.target));
    addEventListener('theme', () => this.redraw());
    document.addEventListener('visibilitychange', () => this.redraw());
    // Rows beyond the edge are written now and then only: nobody sees them, a reader may hear them.
    this.observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const row = this.rows.get(/** @type {HTMLElement} */ (target).dataset.symbol ?? '');
        if (row) row.isSeen = isIntersecting;
        if (row && isIntersecting) this.touch(row.quote.symbol);
      }
    }, { root: byId('board-scroll'), rootMargin: '40px' });
    setInterval(() => this.refresh(), UNSEEN_EVERY_MS);
    this.counted();
  }

  /** @param {import('./quotes.js').Quote} quote */
  add(quote) {
    const row = new Row(quote, this.sparkline);
    row.element.dataset.symbol = quote.symbol;
    this.rows.set(quote.symbol, row);
    this.body.append(row.element);
    this.sparkline.watch(row.canvas);
    this.observer.observe(row.element);
    this.counted();
  }

  /** @param {string} name */
  remove(name) {
    const row = this.rows.get(name);
    if (!row) return;
    const next = row.element.nextElementSibling ?? row.element.previousElementSibling;
    const hadFocus = row.element.contains(document.activeElement);
    this.observer.unobserve(row.element);
    row.element.remove();
    this.dirty.delete(row);
    this.rows.delete(name);
    if (hadFocus) (next?.querySelector('.remove') ?? byId('quotes')).focus();
    this.counted();
  }

  counted() {
    const { size } = this.rows;
    write(byId('board-count'), size ? plural(size, 'symbol') : '');
    byId('board-empty').hidden = size > 0;
    byId('board-scroll').hidden = size === 0;
    byId('board-clear').hidden = size === 0;
    byId('board-note').hidden = size === 0;
  }

  /** @param {string} name Something of it changed. */
  touch(name) {
    const row = this.rows.get(name);
    if (!row) return;
    if (!row.isSeen) {
      // It waits for its turn, or for somebody who scrolls; that is no latency.
      row.quote.receivedAt = 0;
      return;
    }
    this.dirty.add(row);
    this.painter.soon(this.job);
  }

  redraw() {
    for (const row of this.rows.values()) row.drawnAt = -1e9;
    this.refresh();
  }

  refresh() {
    for (const row of this.rows.values()) this.dirty.add(row);
    if (this.rows.size && !document.hidden) this.painter.soon(this.job);
  }

  /** @param {string} name */
  select(name) {
    for (const [each, row] of this.rows) {
      mark(row.element, 'aria-current', each === name ? 'true' : null);
      mark(row.pick, 'aria-pressed', String(each === name));
    }
  }

  /** @param {(quote: import('./quotes.js').Quote) => boolean} isSilent */
  offerWhy(isSilent) {
    for (const row of this.rows.values()) row.why.hidden = !isSilent(row.quote);
  }

  paint() {
    const now = performance.now();
    const rows = [...this.dirty];
    this.dirty.clear();
    /** @type {number[]} */
    const received = [];
    for (const row of rows) {
      if (row.paint(now)) this.dirty.add(row);
      if (row.quote.receivedAt) received.push(row.quote.receivedAt);
      row.quote.receivedAt = 0;
    }
    if (received.length) this.painter.afterwards(() => this.desk.painted(received));
    // What shines must stop shining, also when no tick follows.
    if (this.dirty.size) this.painter.soon(this.job);
  }

  /** @param {any} target */
  clicked(target) {
    const name = target.closest('tr')?.dataset.symbol;
    if (name === undefined) return;
    if (target.closest('.remove')) this.desk.removed(name);
    else if (target.closest('.why')) this.desk.why(name);
    else this.desk.picked(name);
  }
}
