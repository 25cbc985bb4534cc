// @ts-check
/** A small line of the last minutes, on a canvas. */

export class Sparkline {
  /** @param {() => void} resized */
  constructor(resized) {
    this.width = 0;
    this.height = 28;
    /** @type {Record<string, string>} */
    this.colours = {};
    addEventListener('theme', () => (this.colours = {}));
    // All lines are equally wide; the observer speaks once for each that is watched.
    this.observer = new ResizeObserver(([entry]) => {
      const width = Math.round(entry.contentRect.width);
      if (width === this.width) return;
      this.width = width;
      resized();
    });
  }

  /** @param {Element} canvas */
  watch(canvas) {
    this.observer.disconnect();
    this.observer.observe(canvas);
  }

  /** @param {string} name */
  colour(name) {
    return (this.colours[name] ??= getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  }

  /** @param {HTMLCanvasElement} canvas @param {import('./quotes.js').Quote} quote */
  draw(canvas, quote) {
    const { width, height } = this;
    const scale = devicePixelRatio || 1;
    const context = canvas.getContext('2d');
    if (!width || !context) return;
    if (canvas.width !== Math.round(width * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const { points } = quote.line;
    const low = Math.min(...points, quote.first);
    const high = Math.max(...points, quote.first);
    const y = (/** @type {number} */ price) => (high === low ? height / 2 : height - 4 - ((price - low) / (high - low)) * (height - 8));
    const x = (/** @type {number} */ at) => width - 3 - ((points.length - 1 - at) / (quote.line.steps - 1)) * (width - 6);
    context.strokeStyle = this.colour('line');
    context.setLineDash([2, 3]);
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(0, y(quote.first));
    context.lineTo(width, y(quote.first));
    context.stroke();
    context.setLineDash([]);
    context.strokeStyle = context.fillStyle = this.colour(quote.change < 0 ? 'down' : 'up');
    context.lineWidth = 1.5;
    context.lineJoin = 'round';
    context.beginPath();
    points.forEach((price, at) => (at ? context.lineTo(x(at), y(price)) : context.moveTo(x(at), y(price))));
    context.stroke();
    context.beginPath();
    context.arc(x(points.length - 1), y(points[points.length - 1]), 2.2, 0, 7);
    context.fill();
  }
}
