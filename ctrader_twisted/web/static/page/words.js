// @ts-check
/**
 * The state of the house in words. Pure: a status in, sentences out.
 *
 * @typedef {import('../ctrader-stream.js').Status} Status
 * @typedef {'ok' | 'wait' | 'bad'} Mood
 * @typedef {{mood: Mood, title: string, detail: string, canRetry: boolean}} Glance
 */

/** @type {Record<string, string>} */
export const VENUES = {
  simulator: 'the simulated venue',
  demo: 'the demo venue',
  live: 'the live venue',
};

/** @type {Record<string, [Mood, string]>} */
const VENUE_STATES = {
  connected: ['ok', 'connected'],
  tick_resumed: ['ok', 'resumed'],
  stale: ['wait', 'stale'],
  'ctrader-connecting': ['wait', 'connecting'],
  'ws-connecting': ['wait', 'connecting'],
  'ws-open': ['wait', 'connecting'],
  reconnecting: ['bad', 'reconnecting'],
  disconnected: ['bad', 'lost'],
  error: ['bad', 'refused'],
};

/** @param {Status} status @returns {[Mood, string]} one word about the venue */
export function venueWord(status) {
  if (status.link !== 'open' || status.code in DOUBTS) return ['wait', 'not known'];
  return VENUE_STATES[status.status] ?? ['wait', status.status];
}

/**
 * @param {Status} status
 * @param {{host: string, everOpen: boolean, online: boolean, onBoard: number, answersHttp?: boolean,
 *   hasKey?: boolean}} facts what the page itself knows
 * @returns {Glance}
 */
export function glance(status, facts) {
  if (status.link === 'open') return venueGlance(status, facts.onBoard);
  if (status.link === 'stopped') {
    if (status.code === '4401' && !facts.hasKey)
      return { mood: 'wait', title: 'A key is needed', detail: 'This daemon is private: enter your API key below', canRetry: false };
    if (status.code === '4401')
      return { mood: 'bad', title: 'The key was not accepted', detail: `${sentence(status.reason.replace(/^KEY_[A-Z]+: /, ''))}. Enter another below`, canRetry: false };
    const detail = `${sentence(status.reason)} (code ${status.code}). ${REMEDY[status.code] ?? ''}`;
    return { mood: 'bad', title: 'Stopped', detail: detail.trim(), canRetry: true };
  }
  const title = facts.everOpen ? 'The daemon is lost' : 'The daemon does not answer';
  if (status.link === 'waiting') {
    const why = facts.online ? noAnswer(status, facts) : 'This device is offline';
    return { mood: 'bad', title, detail: `${why}. Attempt ${status.attempt} follows.`, canRetry: true };
  }
  if (status.attempt > 0)
    return { mood: 'bad', title, detail: `Attempt ${status.attempt} is on its way`, canRetry: false };
  return { mood: 'wait', title: 'Connecting', detail: `to the daemon at ${facts.host}`, canRetry: false };
}

/** @param {Status} status @param {{host: string, everOpen: boolean, answersHttp?: boolean}} facts */
function noAnswer(status, facts) {
  if (facts.answersHttp)
    return 'It answers HTTP but no WebSocket: it may be older than this page, refuse this origin, or stand behind a proxy that lets none through';
  return facts.everOpen ? sentence(status.reason) : `Nothing listens at ${facts.host}, or it is not ready`;
}

/** @param {Status} status @param {number} onBoard @returns {Glance} */
function venueGlance(status, onBoard) {
  const venue = VENUES[status.env] ?? 'the venue';
  const again = status.attempt ? `Attempt ${status.attempt} follows. ` : '';
  const reason = status.reason ? sentence(status.reason) : 'No reason was given';
  if (DOUBTS[status.code] && status.status === 'stale')
    return { mood: 'wait', title: DOUBTS[status.code], detail: sentence(status.reason.replace('this device slept ', '')), canRetry: false };
  const known = {
    connected: ['ok', `Live from ${venue}`, symbolsSentence(status, onBoard)],
    tick_resumed: ['ok', `Live again from ${venue}`, symbolsSentence(status, onBoard)],
    stale: ['wait', 'Prices are stale', status.reason ? reason : `${capital(venue)} is connected but sends none`],
    reconnecting: ['bad', `${capital(venue)} is lost`, `${again}${reason}`],
    disconnected: ['bad', `${capital(venue)} is lost`, reason],
    error: ['bad', `${capital(venue)} refuses us`, `${reason}${status.code ? ` [${status.code}]` : ''}`],
  }[status.status] ?? ['wait', `Connecting to ${venue}`, 'Prices come as soon as it is ready'];
  const [mood, title, detail] = known;
  return { mood: /** @type {Mood} */ (mood), title, detail, canRetry: false };
}

/** Why the connection itself is in doubt, by the code of the client module. @type {Record<string, string>} */
export const DOUBTS = {
  SLEPT: 'This device slept',
  SILENT: 'The daemon is silent',
};

/** @param {Status} status */
export function isLive({ link, status }) {
  return link === 'open' && (status === 'connected' || status === 'tick_resumed');
}

/** @param {Status} status @param {number} onBoard */
function symbolsSentence(status, onBoard) {
  return `${onBoard} of ${status.symbols.length.toLocaleString('en')} symbols on the board`;
}

/** @type {Record<string, string>} */
const REMEDY = {
  4400: 'Reload this page: it is of another version than the daemon.',
  4403: 'Open the page at the address that the daemon itself serves, or allow this one there.',
  4409: 'This page was opened a second time.',
};

/** @param {string} text */
export function sentence(text) {
  return capital(text.trim().replace(/\.$/, ''));
}

/** @param {string} text */
export function capital(text) {
  // A name with a lower-case first letter, such as cTrader, stays as it is.
  if (/^[a-z]+[A-Z]/.test(text)) return text;
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** @type {Record<string, string>} */
const BROKEN = {
  socket: 'The venue cannot be reached',
  tls: 'TLS with the venue fails',
  application: 'The application is not let in',
  account: 'The account is refused or closed',
};

/**
 * The first broken link on the way to the venue, since when, and what helps. Empty when none is.
 * @param {Status} status @param {(ms: number) => string} timeOfDay
 */
export function trouble(status, timeOfDay) {
  const { link, trouble: broken } = status;
  if (link !== 'open' || typeof broken?.name !== 'string') return '';
  const since = broken.since ? ` since ${timeOfDay(broken.since)}` : '';
  const cause = (broken.cause ?? '').trim().replace(/\.$/, '');
  // What stands in the line above is not said twice.
  const why = cause && !status.reason.includes(cause) ? `: ${cause}` : '';
  return `${BROKEN[broken.name] ?? `${broken.name} is broken`}${since}${why}. ${broken.advice ?? ''}`.trim();
}

/**
 * What else somebody should know: an old daemon, a clock that is wrong. Empty when all is well.
 * @param {Status} status @param {number} offsetMs how far the daemon's clock is ahead of ours
 * @param {(ms: number) => string} duration
 */
export function hint(status, offsetMs, duration) {
  if (status.link === 'open' && status.status !== 'disconnected' && status.protocol === null)
    return 'This daemon is older than the page: environment, latency and countdowns may be missing.';
  if (Math.abs(offsetMs) > 1000) {
    const side = offsetMs > 0 ? 'behind' : 'ahead of';
    return `The clock of this device is ${duration(Math.abs(offsetMs))} ${side} the daemon's. Latency is corrected for that; times of day are not.`;
  }
  return '';
}
