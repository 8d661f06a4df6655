// The event stream format (WHATWG HTML, section 9.2.6) as a push parser: the same events for every
// way of cutting the text. Lines end at LF, CR or CRLF only; an unfinished event at the end is dropped.

export class SseParser {
  #rest = "";
  #data = [];
  #kind = "";
  #id = "";
  #started = false;
  #afterCr = false;

  /** Takes decoded text and returns the events it completes, each `{kind, data, id}`. */
  push(text) {
    if (text === "") return [];
    if (!this.#started) {
      this.#started = true;
      if (text.startsWith("\uFEFF")) text = text.slice(1);
    }
    if (this.#afterCr) {
      this.#afterCr = false;
      if (text[0] === "\n") text = text.slice(1);
    }
    const events = [];
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#afterCr = text.endsWith("\r");
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line, events);
    return events;
  }

  #line(line, events) {
    if (line === "") return this.#dispatch(events);
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#kind = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
  }

  #dispatch(events) {
    if (this.#data.length) {
      events.push({ kind: this.#kind || "message", data: this.#data.join("\n"), id: this.#id });
    }
    this.#data = [];
    this.#kind = "";
  }
}
