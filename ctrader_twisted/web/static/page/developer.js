// @ts-check
/** For developers: lines to copy, and the raw messages. */

import { byId, choice, make, mark, write } from './dom.js';
import { plural } from './format.js';

const KEPT = 120;
const EVERY_MS = 150;

/**
 * Lines to copy. `needsKey`: with the place where the API key goes; never with the key itself.
 * @param {string} url @param {string[]} names @param {boolean} [needsKey] @returns {Record<string, string>}
 */
export function snippets(url, names, needsKey = false) {
  const request = JSON.stringify({ type: 'subscribe', symbols: names });
  const shell = request.replaceAll("'", String.raw`'\''`);
  const login = `{"type": "connect", "protocol": 1, "token": "'"$(cat key.txt)"'"}`;
  const place = JSON.stringify(url);
  const module = JSON.stringify(`${url.replace(/^ws/, 'http').replace(/\/ws$/, '')}/static/ctrader-stream.js`);
  return {
    websocat: needsKey
      ? `# key.txt: your API key, one line\nprintf '%s\\n' '${login}' \\\n  '${shell}' \\\n  | websocat -n ${url}`
      : `echo '${shell}' \\\n  | websocat -n ${url}`,
    Python: `# pip install websockets
${needsKey ? 'import json\n\n' : ''}from websockets.sync.client import connect

${needsKey ? 'key = open("key.txt").read().strip()  # your API key\n' : ''}with connect(${place}) as daemon:
${needsKey ? '    daemon.send(json.dumps({"type": "connect", "protocol": 1, "token": key}))\n' : ''}    daemon.send(${JSON.stringify(request)})
    for message in daemon:
        print(message)`,
    JavaScript: `import { CtraderStream } from
  ${module};

${needsKey ? "// Your API key. Whoever can open your page can read it there.\nconst token = 'YOUR-API-KEY';\n" : ''}const stream = new CtraderStream(${place}${needsKey ? ', { token }' : ''});
stream.subscribe(${JSON.stringify(names)}, (tick) =>
  console.log(tick.symbol, tick.bid, tick.ask));
stream.connect();`,
  };
}

export class DeveloperCorner {
  /** @param {import('../ctrader-stream.js').CtraderStream} stream @param {() => string[]} names */
  constructor(stream, names) {
    this.stream = stream;
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
    stream.on('status', () => this.show());
    setInterval(() => this.draw(), EVERY_MS);
    this.show();
  }

  show() {
    const names = this.names().slice(0, 2);
    const { status, token, url } = this.stream;
    const needsKey = token !== '' || status.code === '4401';
    write(byId('snippet'), snippets(url, names.length ? names : ['EURUSD'], needsKey)[this.kind]);
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
