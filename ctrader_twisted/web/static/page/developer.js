// @ts-check
/** For developers: lines to copy, and the raw messages. */

import { byId, choice, make, mark, write } from './dom.js';
import { plural } from './format.js';

const KEPT = 120;
const EVERY_MS = 150;

/** @param {string} url @param {string[]} names @returns {Record<string, string>} */
export function snippets(url, names) {
  const request = JSON.stringify({ type: 'subscribe', symbols: names });
  const shell = request.replaceAll("'", String.raw`'\''`);
  return {
    websocat: `echo '${shell}' \\\n  | websocat -n ${url}`,
    Python: `# pip install websockets
from websockets.sync.client import connect

with connect(${JSON.stringify(url)}) as daemon:
    daemon.send(${JSON.stringify(request)})
    for message in daemon:
        print(message)`,
    JavaScript: `import { CtraderStream } from
  ${JSON.stringify(`${url.replace(/^ws/, 'http').replace(/\/ws$/, '')}/static/ctrader-stream.js`)};

const stream = new CtraderStream(${JSON.stringify(url)});
stream.subscribe(${JSON.stringify(names)}, (tick) =>
  console.log(tick.symbol, tick.bid, tick.ask));
stream.connect();`,
  };
}

export class DeveloperCorner {
  /** @param {import('../ctrader-stream.js').CtraderStream} stream @param {() => string[]} names */
  constructor(stream, names) {
    this.url = stream.url;
    this.names = names;
    this.kind = 'websocat';
    this.isPaused = false;
    this.count = 0;
    /** @type {{direction: string, text: string}[]} */
    this.waiting = [];
    this.box = byId('wire');
    const press = choice(byId('snippet-kinds'), ['websocat', 'Python', 'JavaScript'], (kind) => {
      this.kind = kind;
      this.show();
    });
    press(this.kind);
    byId('copy').addEventListener('click', () => this.copy());
    byId('wire-pause').addEventListener('click', () => this.pause());
    stream.on('message', (message) => {
      this.count += 1;
      if (!this.isPaused && (this.waiting.push(message) > KEPT)) this.waiting.shift();
    });
    setInterval(() => this.draw(), EVERY_MS);
    this.show();
  }

  show() {
    const names = this.names().slice(0, 2);
    write(byId('snippet'), snippets(this.url, names.length ? names : ['EURUSD'])[this.kind]);
  }

  pause() {
    this.isPaused = !this.isPaused;
    mark(byId('wire-pause'), 'aria-pressed', String(this.isPaused));
    write(byId('wire-pause'), this.isPaused ? 'Go on' : 'Pause');
  }

  async copy() {
    const text = byId('snippet').textContent;
    let isDone = false;
    try {
      await navigator.clipboard.writeText(text);
      isDone = true;
    } catch {
      // No clipboard without TLS or loopback: then it is marked, ready for the keyboard.
      getSelection()?.selectAllChildren(byId('snippet'));
    }
    write(byId('copy'), isDone ? 'Copied' : 'Press Ctrl+C');
    setTimeout(() => write(byId('copy'), 'Copy'), 1500);
  }

  draw() {
    if (byId('pane-code').hidden || document.hidden) return;
    write(byId('wire-count'), plural(this.count, 'message'));
    if (this.isPaused || !this.waiting.length) return;
    // Who has scrolled up is reading: nothing moves then.
    const isAtEnd = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 24;
    const fresh = this.waiting.splice(0).map(({ direction, text }) =>
      make('p', { 'data-way': direction }, text.length > 400 ? `${text.slice(0, 400)}… (${text.length.toLocaleString('en')} characters)` : text),
    );
    this.box.append(...fresh);
    while (this.box.childElementCount > KEPT) this.box.firstElementChild.remove();
    if (isAtEnd) this.box.scrollTop = this.box.scrollHeight;
  }
}
