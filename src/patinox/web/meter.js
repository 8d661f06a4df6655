// Speed and time to first token, of what this viewer saw live: a replay comes as fast as the network
// and says nothing about the model.

const BURST_MS = 50;

export class Meter {
  #askedAt = null;
  #firstAt = null;
  #fromAt = null;
  #lastAt = null;
  #count = 0;
  #replayUntil = 0;
  ttftMs = null;

  /** The prompt leaves now. */
  asked(nowMs) {
    this.#askedAt = nowMs;
  }

  /** Records up to this sequence were there before we came. */
  replays(untilSeq) {
    this.#replayUntil = untilSeq;
  }

  /** A piece of the answer: about one token each, since models send them one at a time. */
  delta(seq, nowMs) {
    if (seq <= this.#replayUntil) return;
    if (this.ttftMs === null && this.#askedAt !== null) this.ttftMs = nowMs - this.#askedAt;
    this.#firstAt ??= nowMs;
    this.#lastAt = nowMs;
    // What came at once with the first piece waited for us to attach: its speed is the network's, too.
    if (nowMs - this.#firstAt < BURST_MS) this.#fromAt = nowMs;
    else this.#count += 1;
  }

  /** The last sequence that was there before we came. */
  get replayUntil() {
    return this.#replayUntil;
  }

  /** The average since the first token, which a cut does not distort: what was missed is caught up. */
  get tokensPerSecond() {
    const elapsed_s = (this.#lastAt - this.#fromAt) / 1000;
    return this.#count > 1 && elapsed_s > 0.05 ? this.#count / elapsed_s : null;
  }
}
