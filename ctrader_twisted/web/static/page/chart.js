// @ts-check
/** Candles of the chosen symbol, drawn by Lightweight Charts. */

import { byId, choice, mark, write } from './dom.js';

const PERIODS = { '5s': 5, '15s': 15, '1m': 60, '5m': 300 };
const EVERY_MS = 100;

export class ChartView {
  /** @param {import('./painter.js').Painter} painter */
  constructor(painter) {
    this.painter = painter;
    this.periodS = 5;
    /** @type {import('./quotes.js').Quote | null} */
    this.quote = null;
    this.drawnAt = 0;
    this.digits = -1;
    this.newest = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.later = undefined;
    this.job = () => this.paint();
    const press = choice(byId('periods'), Object.keys(PERIODS), (name) => {
      this.periodS = PERIODS[/** @type {keyof typeof PERIODS} */ (name)];
      this.reload();
    });
    press('5s');
    this.build();
    addEventListener('theme', () => this.chart?.applyOptions(look()));
  }

  build() {
    const library = /** @type {any} */ (globalThis).LightweightCharts;
    if (!library) {
      write(byId('chart-note'), 'The library that draws candles is not installed with this daemon (pip install litecharts).');
      return;
    }
    const holder = document.createElement('div');
    byId('chart').append(holder);
    this.chart = library.createChart(holder, { autoSize: true, ...look() });
    this.series = this.chart.addSeries(library.CandlestickSeries, { priceLineStyle: 3 });
    this.chart.applyOptions(look());
    this.series.applyOptions(candleColours());
    addEventListener('theme', () => this.series.applyOptions(candleColours()));
  }

  /** @param {import('./quotes.js').Quote | null} quote */
  show(quote) {
    this.quote = quote;
    write(byId('chart-title'), quote ? quote.symbol : 'Chart');
    mark(byId('chart'), 'aria-label', quote ? `Candles of ${quote.symbol}, of the ticks seen` : 'No symbol is chosen');
    this.reload();
  }

  reload() {
    this.digits = -1;
    this.newest = 0;
    this.series?.setData(this.quote ? this.quote.candles.of(this.periodS) : []);
    this.chart?.timeScale().applyOptions({ barSpacing: 9, rightOffset: 6 });
    this.chart?.timeScale().scrollToRealTime();
    this.touch();
  }

  touch() {
    this.painter.soon(this.job);
  }

  paint() {
    const { quote } = this;
    const now = performance.now();
    if (!quote?.count) return write(byId('chart-price'), '');
    if (now - this.drawnAt < EVERY_MS) {
      this.later ??= setTimeout(() => {
        this.later = undefined;
        this.touch();
      }, EVERY_MS);
      return undefined;
    }
    this.drawnAt = now;
    write(byId('chart-price'), quote.bid.toFixed(quote.digits));
    if (!this.series) return undefined;
    if (this.digits !== quote.digits) {
      this.digits = quote.digits;
      this.series.applyOptions({ priceFormat: { type: 'price', precision: quote.digits, minMove: 10 ** -quote.digits } });
    }
    const candle = quote.candles.last(this.periodS);
    // What was missed while the page could not be seen is loaded as a whole.
    if (candle && candle.time > this.newest + this.periodS) this.series.setData(quote.candles.of(this.periodS));
    else if (candle) this.series.update(candle);
    this.newest = candle?.time ?? 0;
    return undefined;
  }
}

/** @param {string} name */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function candleColours() {
  const [up, down] = [colour('up'), colour('down')];
  return { upColor: up, downColor: down, wickUpColor: up, wickDownColor: down, borderVisible: false };
}

function look() {
  return {
    layout: {
      background: { type: 'solid', color: colour('panel') },
      textColor: colour('soft'),
      fontFamily: colour('sans'),
      fontSize: 11,
      // Its logo brings a style element of its own, which our policy forbids; the note below the
      // chart names TradingView and links to it instead, as the licence asks.
      attributionLogo: false,
    },
    grid: { vertLines: { color: colour('raised') }, horzLines: { color: colour('raised') } },
    rightPriceScale: { borderColor: colour('line'), scaleMargins: { top: 0.12, bottom: 0.12 }, minimumWidth: 76 },
    timeScale: { borderColor: colour('line'), timeVisible: true, secondsVisible: true, tickMarkFormatter: clock },
    crosshair: { mode: 0 },
    localization: { timeFormatter: clock },
    handleScale: { axisPressedMouseMove: { time: true, price: false } },
  };
}

/** @param {number} seconds since the epoch @returns {string} the local time of day */
function clock(seconds) {
  const at = new Date(seconds * 1000);
  const text = at.toTimeString().slice(0, 8);
  return at.getSeconds() ? text : text.slice(0, 5);
}
