// A viewer's cursor on one stream: it attaches, remembers the last event id, and comes back after it as often
// as needed. It knows events and connections, not the page.
//
//   connecting ──event──▶ live ──broke──▶ waiting ──back-off──▶ connecting
//                          │  └─drop()──▶ cut ──────────────────▶ connecting
//                          └─end, error, 204, 404, 410──▶ closed
//
// Handlers: record(kind, data, seq), snapshot(data), gap(from, to), reset(), attached(outcome, again),
// connection(state, detail), position(id), ended(outcome, error), refused(error).

import { snapshot, streamAddress } from "./api.js";
import { TRANSPORTS } from "./transport.js";

const CUT_FOR_MS = 1000;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 15000;
const FINAL_STATUSES = new Set([400, 401, 403, 404, 406, 410]);

/** `<epoch>-<sequence>[.k]`: the last frame of a record has no k and sorts after the ones that have. */
export function parseId(id) {
  const match = /^(.*)-(\d+)(?:\.(\d+))?$/.exec(id ?? "");
  if (!match) return null;
  return { epoch: match[1], seq: Number(match[2]), part: match[3] === undefined ? Infinity : Number(match[3]) };
}

function isSeen(id, last) {
  if (!id || !last || id.epoch !== last.epoch) return false;
  return id.seq < last.seq || (id.seq === last.seq && id.part <= last.part);
}

export class Reader {
  drops = 0;
  resumes = 0;
  lastId = null;
  #link = null;
  #timer = null;
  #failures = 0;
  #attached = false;
  #live = false;
  #closed = false;

  constructor(streamId, transport, handlers) {
    this.streamId = streamId;
    this.transport = transport;
    this.on = handlers;
  }

  get isLive() {
    return this.#live;
  }

  attach() {
    if (this.#closed || this.#link) return;
    clearTimeout(this.#timer);
    this.on.connection("connecting");
    this.#link = TRANSPORTS[this.transport](streamAddress(this.streamId), this.lastId, {
      event: (event) => this.#event(event),
      closed: (error, refused) => this.#lost(error, refused),
    });
  }

  /** Cuts the connection for real, as a tunnel or a dead battery would, and comes back a moment later. */
  drop() {
    if (!this.isLive) return;
    this.#unlink();
    this.drops += 1;
    this.on.connection("cut");
    this.#timer = setTimeout(() => this.attach(), CUT_FOR_MS);
  }

  /** The network is gone, or the page is put away: wait without burning attempts. */
  suspend() {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    if (this.#live) this.drops += 1;
    this.#unlink();
    this.on.connection("offline");
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#unlink();
  }

  #unlink() {
    this.#link?.close();
    this.#link = null;
    this.#live = false;
  }

  #event({ kind, data, id }) {
    let value;
    try {
      value = JSON.parse(data);
    } catch {
      value = { text: data };
    }
    if (kind === "position") return this.#position(value.outcome, id);
    if (kind === "goaway") return id ? this.#moveTo(id) : undefined;
    if (kind === "gap") return this.on.gap(value.from, value.to);
    const place = parseId(id);
    if (kind !== "snapshot" && isSeen(place, parseId(this.lastId))) return;
    this.#failures = 0;
    if (id) this.#moveTo(id);
    if (kind === "snapshot") this.on.snapshot(value);
    else if (kind === "end") this.#end(value.outcome ?? "complete", value.error ?? null);
    else if (kind === "error") this.#end("failed", value);
    else this.on.record(kind, value, place?.seq ?? 0);
  }

  #position(outcome, id) {
    const again = this.#attached;
    this.#attached = true;
    this.#live = true;
    if (outcome === "reset") this.on.reset();
    else if (again) this.resumes += 1;
    if (id) this.#moveTo(id);
    this.on.connection("live");
    this.on.attached(outcome, again);
    if (outcome !== "complete") return;
    // Nothing will follow: how it ended is in the snapshot.
    this.#unlink();
    this.#diagnose();
  }

  #moveTo(id) {
    this.lastId = id;
    this.on.position(id);
  }

  #end(outcome, error) {
    this.close();
    this.on.connection("closed");
    this.on.ended(outcome, error);
  }

  #lost(error, refused) {
    if (this.#closed) return;
    if (this.#live) this.drops += 1;
    this.#unlink();
    if (refused) return this.#diagnose();
    if (error && FINAL_STATUSES.has(error.status)) return this.#refuse(error);
    this.#comeBack(error);
  }

  /** EventSource hides the status, and 204 says only that there is nothing more: the snapshot tells why. */
  async #diagnose() {
    let state;
    try {
      state = await snapshot(this.streamId);
    } catch (error) {
      if (this.#closed) return;
      if (FINAL_STATUSES.has(error.status)) return this.#refuse(error);
      return this.#comeBack(error.status ? error : null);
    }
    if (this.#closed) return;
    if (state.state === "open") return this.#comeBack(null);
    if (state.position !== this.lastId) this.on.snapshot(state);
    this.#moveTo(state.position);
    this.#end(state.state, state.error ?? null);
  }

  #refuse(error) {
    this.close();
    this.on.connection("closed");
    this.on.refused(error);
  }

  #comeBack(error) {
    const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** this.#failures);
    this.#failures += 1;
    // Between half and the whole, so that a thousand viewers don't come back in the same instant.
    const jittered = ceiling * (0.5 + Math.random() / 2);
    const delay = Math.max(jittered, (error?.retryAfterS ?? 0) * 1000);
    this.on.connection("waiting", { delay, attempt: this.#failures, error });
    this.#timer = setTimeout(() => this.attach(), delay);
  }
}
