// @ts-check
/**
 * One painting per animation frame, however many ticks came in between. Nothing is painted, and no
 * frame asked for, while nothing changed or the page cannot be seen.
 */
export class Painter {
  constructor() {
    /** @type {Set<() => void>} */
    this.jobs = new Set();
    /** @type {Set<() => void>} */
    this.after = new Set();
    this.asked = false;
    // A message posted in a frame arrives when that frame is on its way to the screen.
    this.channel = new MessageChannel();
    this.channel.port1.onmessage = () => this.done();
  }

  /** @param {() => void} job */
  soon(job) {
    this.jobs.add(job);
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => this.paint());
  }

  /** @param {() => void} job called once the frame that is being painted is done */
  afterwards(job) {
    this.after.add(job);
  }

  paint() {
    this.asked = false;
    const jobs = [...this.jobs];
    this.jobs.clear();
    for (const job of jobs) job();
    if (this.after.size) this.channel.port2.postMessage(0);
  }

  done() {
    const jobs = [...this.after];
    this.after.clear();
    for (const job of jobs) job();
  }
}
