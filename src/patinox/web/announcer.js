// What a screen reader hears: whole sentences every few seconds, not every token.

const EVERY_MS = 4000;

export class Announcer {
  #text = "";
  #timer = null;

  constructor(region) {
    this.region = region;
  }

  /** At once, and before whatever of the answer is still unsaid. */
  say(words) {
    this.region.textContent = `${this.#take(this.#text.length)} ${words}`.trim();
  }

  read(text) {
    this.#text += text;
    this.#timer ??= setTimeout(() => this.#speak(), EVERY_MS);
  }

  reset() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#text = "";
    this.region.textContent = "";
  }

  #speak() {
    this.#timer = null;
    const ends = [...this.#text.matchAll(/[.!?\n]+\s/g)];
    const last = ends.at(-1);
    if (last) this.region.textContent = this.#take(last.index + last[0].length);
    if (this.#text) this.#timer = setTimeout(() => this.#speak(), EVERY_MS);
  }

  #take(length) {
    const taken = this.#text.slice(0, length);
    this.#text = this.#text.slice(length);
    if (!this.#text) {
      clearTimeout(this.#timer);
      this.#timer = null;
    }
    return taken;
  }
}
