// The answer as it grows: one element per block, in order of arrival. Model output only ever becomes text nodes.
// Deltas are gathered and appended once a frame, each to the text node it belongs to; nothing is rendered again.

const FOLDED = { reasoning: "Reasoning", reasoning_summary: "Reasoning, summarised" };
const CODE = {
  tool_call: "Tool call", server_tool_call: "Tool call on the server", tool_result: "Tool result",
  code: "Code", custom: "Custom",
};
const HIDDEN_WAIT_MS = 250;
const AT_BOTTOM_PX = 90;

const make = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};

const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

export class Answer {
  #blocks = new Map();
  #pending = [];
  #scheduled = false;
  #atBottom = true;
  #loose = 0;

  constructor(root) {
    this.root = root;
    const scroller = document.scrollingElement;
    addEventListener("scroll", () => {
      this.#atBottom = scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop < AT_BOTTOM_PX;
    }, { passive: true });
  }

  clear() {
    this.#blocks.clear();
    this.#pending = [];
    this.root.replaceChildren();
  }

  /** What was said, without reasoning and tool calls: the text blocks joined. */
  get text() {
    this.flush();
    const said = [...this.#blocks.values()].filter((block) => block.of === "text");
    return said.map((block) => block.body.textContent).join("");
  }

  /** Replaces everything by what a snapshot holds. */
  restore(snapshot) {
    this.clear();
    const content = snapshot.content ?? "";
    for (const block of snapshot.blocks ?? []) this.#put(this.#open(block), contentOf(block));
    // Text may also stand between the blocks, in chunks of its own: then only `content` has all of it.
    if (this.text === content) return;
    for (const block of this.#blocks.values()) if (block.of === "text") rewrite(block, "");
    this.#put(this.#textTail(), content);
    this.flush();
  }

  /** Takes one record of the log; gives the text it said, if any, and whether it was a piece of the answer. */
  apply(kind, data) {
    if (kind === "text") return this.#said(this.#textTail(), data.text ?? "");
    if (kind === "block.start") this.#open(data);
    else if (kind === "block.delta") return this.#delta(data);
    else if (kind === "retract") this.#retract(data);
    else if (kind === "json") this.#aside("JSON", pretty(data));
    else if (kind === "binary") this.#aside("Binary", `${byteCount(data.base64 ?? "")} bytes`);
    else if (kind === "tool.result") this.#aside(`Result of ${data.name ?? "a tool"}`, pretty(data.result ?? null));
    else if (kind === "tool.error") this.#aside(`Error of ${data.name ?? "a tool"}`, data.error ?? "");
    return null;
  }

  /** Marks the place where the connection was cut and the answer carried on. */
  seam(title) {
    this.#mark("seam", title);
  }

  /** Marks the place where a validator has kept something back. */
  withheld(title) {
    this.#mark("withheld", title);
  }

  /** Says in its place that records are missing. */
  hole(from, to) {
    this.flush();
    this.root.append(make("p", "hole", `Events ${from} to ${to} are no longer kept and can't be shown.`));
    this.#loose += 1;
    for (const block of this.#blocks.values()) if (block.of === "text") block.isCut = true;
  }

  flush() {
    const pending = this.#pending;
    this.#pending = [];
    this.#scheduled = false;
    const joined = new Map();
    for (const [block, text] of pending) joined.set(block, (joined.get(block) ?? "") + text);
    for (const [block, text] of joined) append(block, text);
    if (joined.size) this.follow();
  }

  /** Keeps the end in sight for who is at the end; who has scrolled up is left alone. */
  follow() {
    if (this.#atBottom) scrollTo({ top: document.scrollingElement.scrollHeight, behavior: "instant" });
  }

  #mark(className, title) {
    this.flush();
    const last = [...this.#blocks.values()].at(-1);
    if (!last) return;
    const mark = make("span", className);
    mark.title = title;
    mark.setAttribute("aria-hidden", "true");
    last.body.append(mark);
    last.node = null;
  }

  #open(data) {
    const of = data.of ?? data.kind ?? "text";
    const entry = { of, body: null, node: null };
    if (of in FOLDED) entry.body = this.#fold(FOLDED[of], of);
    else if (of in CODE) entry.body = this.#figure(data.name ? `${CODE[of]}: ${data.name}` : CODE[of]);
    else if (of === "text" || of === "refusal") entry.body = this.#add(make("div", `block ${of}`));
    else entry.body = this.#figure(of.replaceAll("_", " "));
    this.#blocks.set(keyOf(data), entry);
    return entry;
  }

  #add(element) {
    this.root.append(element);
    return element;
  }

  #fold(title) {
    const details = this.#add(make("details", "block reasoning"));
    details.append(make("summary", "", title));
    const body = make("div", "reasoning-text");
    details.append(body);
    return body;
  }

  #figure(title) {
    const figure = this.#add(make("figure", "block code"));
    figure.append(make("figcaption", "", title));
    const code = make("code");
    const pre = make("pre");
    pre.tabIndex = 0;
    pre.append(code);
    figure.append(pre);
    return code;
  }

  #aside(title, text) {
    this.#loose += 1;
    const entry = { of: "aside", body: this.#figure(title), node: null };
    this.#blocks.set(`loose-${this.#loose}`, entry);
    this.#put(entry, text);
  }

  /** The block that text without a block of its own continues. */
  #textTail() {
    const last = [...this.#blocks.values()].at(-1);
    if (last?.of === "text" && last.isLoose && !last.isCut) return last;
    this.#loose += 1;
    const entry = { of: "text", body: this.#add(make("div", "block text")), node: null, isLoose: true };
    this.#blocks.set(`loose-${this.#loose}`, entry);
    return entry;
  }

  #delta(data) {
    const op = data.op ?? "text.append";
    if (op !== "text.append" && op !== "json.append" && op !== "replace") return null;
    const entry = this.#blocks.get(keyOf(data)) ?? this.#open(data);
    if (op !== "replace") return this.#said(entry, data.text ?? "");
    this.flush();
    rewrite(entry, pretty(data.value ?? data.text ?? ""));
    return null;
  }

  #retract({ start = 0, count = 0, replacement = "", ...place }) {
    this.flush();
    const entry = this.#blocks.get(keyOf(place));
    if (!entry) return;
    const characters = Array.from(entry.body.textContent);
    characters.splice(start, count, replacement);
    rewrite(entry, characters.join(""));
  }

  #said(entry, text) {
    this.#put(entry, text);
    return { text: entry.of === "text" ? text : "" };
  }

  #put(entry, text) {
    this.#pending.push([entry, text]);
    if (this.#scheduled) return;
    this.#scheduled = true;
    // A page in the background gets no frames, but its text still has to be there.
    if (document.hidden) setTimeout(() => this.flush(), HIDDEN_WAIT_MS);
    else requestAnimationFrame(() => this.flush());
  }
}

const keyOf = (data) => `${data.message ?? 0}/${data.block ?? 0}`;

const byteCount = (base64) => Math.floor((base64.replace(/=+$/, "").length * 3) / 4);

function contentOf(block) {
  return pretty(block.text ?? block.content ?? block.arguments ?? block.value ?? "");
}

function append(block, text) {
  if (!block.node) {
    block.node = document.createTextNode("");
    block.body.append(block.node);
  }
  block.node.appendData(text);
}

function rewrite(block, text) {
  block.node = document.createTextNode(text);
  block.body.replaceChildren(block.node);
}
