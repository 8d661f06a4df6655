// One answer at a time: asked or visited, followed through cuts, stopped, and judged honestly at its end.

import { Announcer } from "./announcer.js";
import { Answer } from "./answer.js";
import * as api from "./api.js";
import { askUntilHeard } from "./asking.js";
import { recall, remember, showLink } from "./link.js";
import { Meter } from "./meter.js";
import { clearNotice, journal, notice, page, sentence, setState, show, tell } from "./page.js";
import { parseId, Reader } from "./reader.js";
import { duration, pause } from "./timing.js";

const METER_MS = 250;
const CANCEL_TRIES = 4;
const HELD_MS = 300;

const OUTCOMES = {
  complete: "Complete.",
  incomplete: "Incomplete: the answer ended before the model was done.",
  cancelled: "Cancelled: the model was stopped.",
  interrupted: "Interrupted: the answer broke off.",
  failed: "Failed.",
};

export class Playground {
  answer = new Answer(page.answer);
  announcer = new Announcer(page.announcer);
  meter = new Meter();
  reader = null;
  asking = null;
  ending = {};
  cutAt = null;
  ticker = null;
  positionDue = null;
  verdicts = 0;

  /** `transport` is "eventsource" or "fetch". */
  constructor(transport) {
    this.transport = transport;
  }

  // Asking

  async ask(prompt, model, pipeline) {
    this.leave();
    const asking = new AbortController();
    this.asking = asking;
    this.begin("sending");
    try {
      const stream = await askUntilHeard(prompt, model, pipeline, this.meter, asking.signal);
      this.asking = null;
      remember(stream.id, { prompt });
      this.attach(stream.id);
      if (asking.signal.aborted) this.stop();
    } catch (error) {
      this.asking = null;
      if (asking.signal.aborted) this.settle("idle");
      else this.fail(error);
    }
  }

  // Attaching

  /** Attaches to a stream that somebody else, or this page before its reload, has started. */
  async visit(id) {
    this.begin("connecting");
    const kept = recall(id);
    if (kept.prompt) page.prompt.value = kept.prompt;
    if (kept.ttftMs) tell(page.ttft, duration(kept.ttftMs));
    try {
      const snapshot = await api.snapshot(id);
      this.meter.replays(parseId(snapshot.position)?.seq ?? 0);
    } catch (error) {
      if (error.status && error.status < 500) return this.fail(error);
      // Not reachable right now: the reader goes on trying, and tells.
    }
    this.attach(id);
  }

  attach(id) {
    showLink(id);
    show(page.controls, true);
    this.reader = new Reader(id, this.transport, this.handlers());
    this.reader.attach();
    this.watchHeld(this.reader);
  }

  /** While a pipeline stands before the stream: whether it holds text back just now, which no reader can see. */
  async watchHeld(reader) {
    while (reader === this.reader) {
      const facts = await api.facts(reader.streamId).catch((error) => (error.status ? {} : null));
      if (reader !== this.reader || (facts && !facts.pipeline)) return;
      if (facts) {
        show(page.guarded, true);
        tell(page.held, facts.held ? `yes, by ${facts.pipeline}` : "no");
        page.held.dataset.held = String(facts.held);
        if (facts.state !== "open") return;
      }
      await pause(HELD_MS);
    }
  }

  handlers() {
    return {
      record: (kind, data, seq) => this.record(kind, data, seq),
      snapshot: (data) => this.answer.restore(data),
      gap: (from, to) => this.gap(from, to),
      reset: () => this.answer.clear(),
      attached: (outcome, again) => this.attached(outcome, again),
      connection: (state, detail) => this.connection(state, detail),
      position: () => this.position(),
      ended: (outcome, error) => this.ended(outcome, error),
      refused: (error) => this.fail(error),
    };
  }

  record(kind, data, seq) {
    const said = this.answer.apply(kind, data);
    if (said) {
      this.meter.delta(seq, performance.now());
      if (said.text && seq > this.meter.replayUntil) this.announcer.read(said.text);
    } else if (kind === "verdict") {
      this.judged(data);
    } else if (kind === "usage") {
      this.ending.usage = data;
    } else if (kind === "message.end") {
      this.ending.reason = data.finish_reason ?? data.provider_reason;
    }
    this.ticker ??= setInterval(() => this.measure(), METER_MS);
  }

  judged({ validator, action, rule }) {
    const what = `${rule ?? "a finding"}: ${action} (${validator})`;
    journal(what);
    this.verdicts += 1;
    tell(page.verdicts, String(this.verdicts));
    show(page.judged, true);
    if (action !== "pass") this.answer.withheld(what);
  }

  /** Once a frame: a replay brings thousands of events at a time. */
  position() {
    this.positionDue ??= requestAnimationFrame(() => this.showPosition());
  }

  showPosition() {
    cancelAnimationFrame(this.positionDue);
    this.positionDue = null;
    if (this.reader) tell(page.position, this.reader.lastId ?? "–");
  }

  attached(outcome, again) {
    setState("open");
    clearNotice();
    tell(page.attach, outcome);
    tell(page.resumes, String(this.reader.resumes));
    this.buttons();
    const after = this.reader.lastId;
    if (!again) return journal(`attached: ${outcome}`);
    const away = this.cutAt === null ? "" : ` ${duration(performance.now() - this.cutAt)} later`;
    this.cutAt = null;
    journal(`${outcome} after ${after}${away && `,${away}`}`);
    if (outcome === "resumed") this.answer.seam(`Cut here, and resumed after event ${after}`);
  }

  gap(from, to) {
    journal(`gap: events ${from} to ${to}`);
    this.answer.hole(from, to);
  }

  connection(state, detail) {
    if (!this.reader) return;
    const words = { live: "live", connecting: "connecting", cut: "cut", offline: "offline", closed: "closed" };
    tell(page.connection, words[state] ?? "reconnecting");
    page.connection.dataset.state = state;
    tell(page.drops, String(this.reader.drops));
    if (state === "cut" || state === "waiting" || state === "offline") this.cutAt ??= performance.now();
    if (state === "cut") journal(`cut at ${this.reader.lastId}`);
    if (state === "offline") notice("This device is offline. The answer goes on; it is caught up when you're back.", "wait");
    if (state === "waiting") this.waiting(detail);
    this.buttons();
  }

  waiting({ delay, attempt, error }) {
    journal(`connection lost, attempt ${attempt} in ${duration(delay)}`);
    const why = error?.message ?? "The connection is lost.";
    notice(`${why} Reconnecting (attempt ${attempt}, in ${duration(delay)}).`, "wait", true);
  }

  // Ending

  /** Stops the model, for every viewer. Closing the page doesn't. */
  async stop() {
    if (this.asking) {
      page.stop.disabled = true;
      return this.asking.abort();
    }
    const reader = this.reader;
    if (!reader || page.stop.disabled) return;
    page.stop.disabled = true;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await api.cancel(reader.streamId);
      } catch (error) {
        if (reader !== this.reader || page.state.dataset.state !== "open") return;
        if (error.status || attempt === CANCEL_TRIES) {
          notice(`The stream could not be stopped. ${error.status ? sentence(error.message) : "The server can't be reached."}`);
          return this.buttons();
        }
        await pause(500 * attempt);
      }
    }
  }

  ended(outcome, error) {
    journal(`ended: ${outcome}`);
    clearNotice();
    this.settle(outcome);
    if (error?.message && outcome === "failed") notice(error.message);
    this.verdict(outcome, error);
    this.announcer.say(OUTCOMES[outcome] ?? outcome);
    this.compare(this.reader.streamId);
  }

  verdict(outcome, error) {
    const { usage, reason } = this.ending;
    const parts = [OUTCOMES[outcome] ?? `Ended: ${outcome}.`];
    if (outcome !== "failed" && error?.message) parts.push(sentence(error.message));
    if (reason && reason !== "stop") parts.push(`Finish reason: ${reason}.`);
    if (usage?.input_tokens != null) parts.push(`${usage.input_tokens} tokens in.`);
    if (usage?.output_tokens != null) parts.push(`${usage.output_tokens} tokens out.`);
    page.outcome.dataset.outcome = outcome;
    tell(page.outcome, parts.join(" "));
    show(page.outcome, true);
    this.answer.follow();
  }

  /** Proof that nothing was lost: what is on the page is what the server has. */
  async compare(id) {
    const text = this.answer.text;
    const stored = await api.snapshot(id).catch(() => null);
    if (typeof stored?.content !== "string" || this.reader?.streamId !== id) return;
    const length = Array.from(text).length.toLocaleString("en");
    const same = stored.content === text;
    page.outcome.dataset.same = String(same);
    page.outcome.append(same
      ? ` Same as the server's copy: ${length} characters.`
      : " This differs from the server's copy; reload to read it from the start.");
    if (page.answer.querySelector(".seam")) page.outcome.append(" A copper mark shows where the connection was cut.");
    this.answer.follow();
  }

  /** An error status instead of a stream. What was already read stays on the page. */
  fail(error) {
    const states = { 404: "not found", 410: "deleted", 503: "unavailable" };
    this.settle(states[error.status] ?? "failed");
    const hints = {
      404: "The server doesn't know this stream. It may have expired, or the server was started anew.",
      410: "This stream was deleted.",
    };
    notice(hints[error.status] ?? error.message ?? "Something went wrong.");
    show(page.controls, Boolean(this.reader));
    show(page.empty, !this.reader && !page.prompt.value);
  }

  // The page around it

  begin(state) {
    this.answer.clear();
    this.announcer.reset();
    this.meter = new Meter();
    this.ending = {};
    this.cutAt = null;
    this.verdicts = 0;
    for (const fact of [page.guarded, page.judged]) show(fact, false);
    clearNotice();
    setState(state);
    for (const fact of [page.position, page.rate, page.ttft, page.attach]) tell(fact, "–");
    for (const count of [page.drops, page.resumes]) tell(count, "0");
    page.history.replaceChildren();
    page.outcome.removeAttribute("data-same");
    show(page.outcome, false);
    show(page.empty, false);
    show(page.controls, true);
    this.buttons();
  }

  /** Stops watching; the stream goes on without us. */
  leave() {
    this.reader?.close();
    this.reader = null;
  }

  settle(state) {
    clearInterval(this.ticker);
    this.ticker = null;
    this.answer.flush();
    this.showPosition();
    this.measure();
    setState(state);
    this.buttons();
    if (state === "idle") {
      clearNotice();
      show(page.controls, false);
      show(page.empty, true);
    }
  }

  buttons() {
    const state = page.state.dataset.state;
    const underWay = ["sending", "starting", "connecting", "open"].includes(state);
    page.send.disabled = underWay;
    page.stop.disabled = !(this.asking || (this.reader && underWay));
    page.drop.disabled = !(state === "open" && this.reader?.isLive);
    page.controls.dataset.live = String(underWay);
    for (const button of [page.stop, page.drop]) show(button, underWay);
    for (const link of [page.share, page.copy]) show(link, Boolean(this.reader));
  }

  measure() {
    const rate = this.meter.tokensPerSecond;
    if (rate !== null) tell(page.rate, `${rate.toFixed(1)} tokens/s`);
    if (this.meter.ttftMs === null) return;
    tell(page.ttft, duration(this.meter.ttftMs));
    if (this.reader) remember(this.reader.streamId, { ttftMs: this.meter.ttftMs });
  }
}
