// @ts-check
/** All symbols, found as one types. Thousands of them: only the rows that can be seen exist. */

import { byId, make, mark, write } from './dom.js';
import { plural } from './format.js';

/** The height of a row, which is larger on touch screens. */
const ROW = globalThis.matchMedia?.('(pointer: coarse)').matches ? 44 : 34;
const BEYOND = 6;

/** @param {string[]} names @param {string} typed @returns {string[]} names that begin with it first */
export function search(names, typed) {
  const wanted = typed.trim().toUpperCase();
  if (!wanted) return names;
  const found = matching(names, wanted, (name) => name);
  // People write pairs as eur/usd, EUR-USD or eur usd, and names of the venue can have such signs, too.
  return found.length ? found : matching(names, lettersOf(wanted), lettersOf);
}

/** @param {string} text */
function lettersOf(text) {
  return text.replace(/[\s/_.:-]+/g, '');
}

/** @param {string[]} names @param {string} wanted @param {(name: string) => string} form */
function matching(names, wanted, form) {
  /** @type {string[]} */
  const begin = [];
  /** @type {string[]} */
  const within = [];
  if (!wanted) return begin;
  for (const name of names) {
    const at = form(name.toUpperCase()).indexOf(wanted);
    if (at === 0) begin.push(name);
    else if (at > 0) within.push(name);
  }
  return [...begin, ...within];
}

export class SymbolList {
  /**
   * @param {{isOnBoard: (name: string) => boolean, board: () => string[],
   *   toggle: (name: string) => void, put: (name: string) => void, favourites: Set<string>, favouritesChanged: () => void}} desk
   */
  constructor(desk) {
    this.desk = desk;
    /** @type {string[]} */
    this.names = [];
    /** @type {string[]} */
    this.shown = [];
    this.filter = 'all';
    this.active = 0;
    this.box = byId('symbols');
    this.rows = byId('symbol-rows');
    this.input = byId('search');
    /** @type {Map<number, any>} */
    this.drawn = new Map();
    this.rows.style.setProperty('--row', `${ROW}px`);
    this.input.addEventListener('input', () => this.refresh(true));
    this.input.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => this.typed(event));
    this.rows.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => this.moved(event));
    this.rows.addEventListener('click', (/** @type {any} */ event) => this.clicked(event.target));
    this.box.addEventListener('scroll', () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(this.box);
    for (const filter of ['all', 'favourites', 'board'])
      byId(`filter-${filter}`).addEventListener('click', () => this.choose(filter));
    document.addEventListener('keydown', (event) => {
      if (event.key !== '/' || /INPUT|TEXTAREA/.test(document.activeElement?.tagName ?? '')) return;
      event.preventDefault();
      this.open();
    });
  }

  open() {
    document.documentElement.dataset.view = 'symbols';
    dispatchEvent(new Event('view'));
    this.input.focus();
    this.input.select();
  }

  /** @param {string[]} names */
  setNames(names) {
    if (names.length === this.names.length && names.every((name, at) => name === this.names[at])) return;
    this.names = [...names].sort((a, b) => a.localeCompare(b, 'en'));
    this.refresh(false);
  }

  /** @param {string} filter */
  choose(filter) {
    this.filter = filter;
    for (const each of ['all', 'favourites', 'board'])
      mark(byId(`filter-${each}`), 'aria-pressed', String(each === filter));
    this.refresh(true);
  }

  /** @param {boolean} fromTop */
  refresh(fromTop) {
    const { favourites } = this.desk;
    let names = this.names;
    if (this.filter === 'favourites') names = names.filter((name) => favourites.has(name));
    if (this.filter === 'board') names = this.desk.board();
    this.shown = search(names, this.input.value);
    if (fromTop) {
      this.active = 0;
      this.box.scrollTop = 0;
    }
    this.active = Math.min(this.active, Math.max(0, this.shown.length - 1));
    this.rows.style.height = `${this.shown.length * ROW}px`;
    for (const row of this.drawn.values()) row.remove();
    this.drawn.clear();
    this.draw();
    write(byId('symbols-count'), this.names.length ? plural(this.shown.length, 'symbol') : '');
    byId('symbols-empty').hidden = this.shown.length > 0;
    this.box.hidden = this.shown.length === 0;
    write(byId('symbols-empty'), this.emptyWords());
  }

  emptyWords() {
    if (!this.names.length) return 'The list comes with the first connection to the venue.';
    if (this.input.value.trim()) return `No symbol has “${this.input.value.trim()}” in its name.`;
    return this.filter === 'favourites' ? 'No favourites yet: press ☆ beside a symbol.' : 'Nothing here yet.';
  }

  draw() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - BEYOND);
    const end = Math.ceil((this.box.scrollTop + this.box.clientHeight) / ROW) + BEYOND;
    const last = Math.min(this.shown.length, end);
    for (const [at, row] of this.drawn)
      // The row that has the focus stays, or the focus would fall to the page.
      if ((at < first || at >= last) && !row.contains(document.activeElement)) {
        row.remove();
        this.drawn.delete(at);
      }
    for (let at = first; at < last; at += 1) if (!this.drawn.has(at)) this.rows.append(this.row(at));
  }

  /** @param {number} at */
  row(at) {
    const name = this.shown[at];
    const button = make('button', { type: 'button', class: 'list-name', tabindex: at === this.active ? '0' : '-1', title: name });
    button.append(...highlighted(name, this.input.value.trim()));
    const star = make('button', { type: 'button', class: 'list-star', tabindex: '-1' });
    const row = make('li', { 'aria-setsize': String(this.shown.length), 'aria-posinset': String(at + 1) }, button, star);
    row.style.transform = `translateY(${at * ROW}px)`;
    row.dataset.at = String(at);
    this.drawn.set(at, row);
    this.label(row, name);
    return row;
  }

  /** @param {any} row @param {string} name */
  label(row, name) {
    const [button, star] = row.children;
    mark(button, 'aria-pressed', String(this.desk.isOnBoard(name)));
    const isFavourite = this.desk.favourites.has(name);
    mark(star, 'aria-pressed', String(isFavourite));
    mark(star, 'aria-label', `Favourite: ${name}`);
    write(star, isFavourite ? '★' : '☆');
  }

  relabel() {
    if (this.filter === 'board') this.refresh(false);
    else for (const [at, row] of this.drawn) this.label(row, this.shown[at]);
  }

  /** @param {any} target */
  clicked(target) {
    const row = target.closest('li');
    if (!row) return;
    this.active = Number(row.dataset.at);
    if (target.closest('.list-star')) this.star(this.active);
    else this.desk.toggle(this.shown[this.active]);
  }

  /** @param {number} at */
  star(at) {
    const { favourites } = this.desk;
    const name = this.shown[at];
    if (!favourites.delete(name)) favourites.add(name);
    this.desk.favouritesChanged();
    if (this.filter === 'favourites') this.refresh(false);
    else this.relabel();
  }

  /** @param {KeyboardEvent} event in the field */
  typed(event) {
    if (event.key === 'ArrowDown' && this.shown.length) this.focus(0);
    else if (event.key === 'Enter' && this.shown.length) this.desk.put(this.shown[0]);
    else if (event.key === 'Escape') {
      this.input.value = '';
      this.refresh(true);
    } else return;
    event.preventDefault();
  }

  /** @param {KeyboardEvent} event in the list */
  moved(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -1e9, End: 1e9 };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    if (event.key === 'ArrowUp' && this.active === 0) this.input.focus();
    else if (step) this.focus(this.active + step);
    else if (event.key === 'ArrowRight' || event.key === 'ArrowLeft')
      this.drawn.get(this.active)?.children[event.key === 'ArrowRight' ? 1 : 0].focus();
    else if (event.key.toLowerCase() === 'f' && !event.ctrlKey && !event.metaKey) this.star(this.active);
    else if (event.key === 'Escape') this.input.focus();
    else return;
    event.preventDefault();
  }

  /** @param {number} at */
  focus(at) {
    const before = this.drawn.get(this.active);
    before?.firstElementChild.setAttribute('tabindex', '-1');
    this.active = Math.max(0, Math.min(this.shown.length - 1, at));
    const top = this.active * ROW;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    if (top + ROW > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + ROW - this.box.clientHeight;
    this.draw();
    const button = this.drawn.get(this.active)?.firstElementChild;
    button?.setAttribute('tabindex', '0');
    button?.focus({ preventScroll: true });
    this.draw();
  }
}

/** @param {string} name @param {string} typed @returns {(Node | string)[]} */
function highlighted(name, typed) {
  const at = typed ? name.toUpperCase().indexOf(typed.toUpperCase()) : -1;
  if (at < 0) return [name];
  return [name.slice(0, at), make('mark', {}, name.slice(at, at + typed.length)), name.slice(at + typed.length)];
}
