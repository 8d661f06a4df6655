// Two ways to read a stream's native events: the browser's EventSource, and fetch with a parser where
// EventSource is missing or a header is needed. Each opens one connection and never reconnects by itself:
// when to come back, and after which event, is the reader's decision.
//
// Handlers: event({kind, data, id}) and closed(error|null), at most once; neither is called after close().
// `error` is an ApiError where the status is known, null for a connection that broke or ran out.

import { SseParser } from "./sse.js";
import { refusal } from "./api.js";
import { authorization, credential } from "./credential.js";

const KINDS = [
  "message", "position", "gap", "snapshot", "goaway", "end",
  "text", "json", "binary",
  "run.start", "run.end", "step.start", "step.end", "message.start", "message.end",
  "block.start", "block.delta", "block.end",
  "tool.ready", "tool.result", "tool.error", "tool.approval",
  "usage", "state.snapshot", "state.patch", "metadata", "verdict", "retract", "native",
];

/** EventSource can't send a header, so it names the event to continue after in the address. */
export function openEventSource(url, after, handlers) {
  const target = new URL(url);
  if (after) target.searchParams.set("after", after);
  const source = new EventSource(target);
  let open = true;
  const close = () => {
    open = false;
    source.close();
  };
  const deliver = (event) => {
    if (open) handlers.event({ kind: event.type, data: event.data, id: event.lastEventId });
  };
  for (const kind of KINDS) source.addEventListener(kind, deliver);
  // One name for two things: an `event: error` of the stream has data, a broken connection has none.
  source.addEventListener("error", (event) => {
    if (event instanceof MessageEvent) return deliver(event);
    if (!open) return;
    const refused = source.readyState === EventSource.CLOSED;
    close();
    handlers.closed(null, refused);
  });
  return { close };
}

/** The same over fetch, which can say who asks. */
export function openFetch(url, after, handlers) {
  const abort = new AbortController();
  const request = {
    headers: { ...authorization(), Accept: "text/event-stream", ...(after ? { "Last-Event-ID": after } : {}) },
    cache: "no-store",
    signal: abort.signal,
  };
  const closed = (error, refused) => {
    if (!abort.signal.aborted) handlers.closed(error, refused);
    abort.abort();
  };
  pump(url, request, abort.signal, handlers).then(
    (status) => closed(null, status === 204),
    (error) => closed(error.status ? error : null, false),
  );
  return { close: () => abort.abort() };
}

async function pump(url, request, signal, handlers) {
  const response = await fetch(url, request);
  if (!response.ok) throw await refusal(response);
  if (response.status === 204) return 204;
  const parser = new SseParser();
  const body = response.body.getReader();
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  for (;;) {
    const { done, value } = await body.read();
    if (done) return response.status;
    for (const event of parser.push(decoder.decode(value, { stream: true }))) {
      if (signal.aborted) return response.status;
      handlers.event(event);
    }
  }
}

export const TRANSPORTS = { eventsource: openEventSource, fetch: openFetch };
export const TRANSPORT_NAMES = { eventsource: "EventSource", fetch: "fetch" };

/** EventSource unless the page asks for fetch, the browser has none, or a header must say who asks. */
export function chooseTransport(asked) {
  return asked === "fetch" || typeof EventSource === "undefined" || credential() ? "fetch" : "eventsource";
}
