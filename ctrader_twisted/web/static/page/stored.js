// @ts-check
/** What the browser keeps for this page. A browser that keeps nothing is fine. */

/** @param {string} name @returns {string[] | null} null when nothing was ever kept */
export function readNames(name) {
  try {
    const kept = JSON.parse(localStorage.getItem(`ctrader-stream.${name}`) ?? 'null');
    return Array.isArray(kept) ? kept.filter((one) => typeof one === 'string') : null;
  } catch {
    return null;
  }
}

/** @param {string} name @param {Iterable<string>} names */
export function keepNames(name, names) {
  try {
    localStorage.setItem(`ctrader-stream.${name}`, JSON.stringify([...names]));
  } catch {
    // Private windows and full disks: it is forgotten with the page.
  }
}

/** The colours: as the system has them, until somebody chooses. @param {any} button */
export function themes(button) {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const [kept] = readNames('theme') ?? [];
  let chosen = kept === 'light' || kept === 'dark' ? kept : 'system';
  const apply = () => {
    const theme = chosen === 'system' ? (dark.matches ? 'dark' : 'light') : chosen;
    document.documentElement.dataset.theme = theme;
    button.textContent = { system: '◐', light: '☀', dark: '☾' }[chosen];
    const words = chosen === 'system' ? 'as the system' : chosen;
    button.setAttribute('aria-label', `Colours: ${words}`);
    button.title = `Colours: ${words}`;
    dispatchEvent(new Event('theme'));
  };
  button.addEventListener('click', () => {
    chosen = { system: 'dark', dark: 'light', light: 'system' }[chosen] ?? 'system';
    keepNames('theme', [chosen]);
    apply();
  });
  dark.addEventListener('change', apply);
  apply();
}

/**
 * The API key, asked for when the daemon wants one. Kept in this tab only.
 * @param {any} form @param {import('../ctrader-stream.js').CtraderStream} stream
 * @returns {string} the key of before, if the tab has one
 */
export function keepKey(form, stream) {
  const input = form.querySelector('input');
  form.addEventListener('submit', (/** @type {Event} */ event) => {
    event.preventDefault();
    stream.token = input.value.trim();
    input.value = '';
    stream.connect();
  });
  stream.on('status', ({ link, code }) => {
    const isAsked = link === 'stopped' && code === '4401';
    const isNew = isAsked && form.hidden;
    form.hidden = !isAsked;
    if (isNew && document.activeElement === document.body) input.focus();
    try {
      if (link === 'open') sessionStorage.setItem('ctrader-stream.key', stream.token);
    } catch {
      // Then it is asked for again after a reload.
    }
  });
  try {
    return sessionStorage.getItem('ctrader-stream.key') ?? '';
  } catch {
    return '';
  }
}
