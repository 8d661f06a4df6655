// The calls the page makes. Addresses are relative to the page, so it works mounted under a prefix.

import { authorization } from "./credential.js";

/** An answer with an error status, as the server tells it: `{"error": {"code", "message"}}`. */
export class ApiError extends Error {
  constructor(status, code, message, retryAfterS = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfterS = retryAfterS;
  }
}

export const address = (path) => new URL(path, document.baseURI).href;
export const streamAddress = (id) => address(`v1/streams/${encodeURIComponent(id)}`);

/** Makes an ApiError of a response that is not ok; its body may be anything. */
export async function refusal(response) {
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch {
    // Not JSON (a proxy's page, an empty body): the status says enough.
  }
  const retryAfterS = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  const message = error.message ?? `The server answered ${response.status} ${response.statusText}`.trim() + ".";
  return new ApiError(response.status, error.code ?? "", message, Number.isFinite(retryAfterS) ? retryAfterS : null);
}

async function call(path, options = {}) {
  const headers = { ...options.headers, ...authorization() };
  const response = await fetch(address(path), { cache: "no-store", ...options, headers });
  if (!response.ok) throw await refusal(response);
  return response.status === 204 ? null : response.json();
}

const posting = (body, headers = {}) => ({
  method: "POST",
  headers: { "Content-Type": "application/json", ...headers },
  body: JSON.stringify(body),
});

/** 128 random bits, so that a repeated request attaches to the answer it started instead of asking again. */
export function newStreamId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Starts an answer that runs on without us; gives `{id, epoch, state, position}`. `pipeline` stands before it. */
export function ask(prompt, model, streamId, pipeline = null) {
  const body = {
    ...(model ? { model } : {}),
    messages: [{ role: "user", content: prompt }],
    stream: true,
    stream_options: { include_usage: true },
  };
  return call("v1/chat/completions?detached=true", posting(body, {
    "Patinox-Stream-Id": streamId,
    ...(pipeline ? { "Patinox-Pipeline": pipeline } : {}),
  }));
}

export const cancel = (id) =>
  call(`v1/streams/${encodeURIComponent(id)}/cancel`, posting({ reason: "stopped by the viewer" }));

export const snapshot = (id) =>
  call(`v1/streams/${encodeURIComponent(id)}`, { headers: { Accept: "application/json" } });

/** What is known of a stream without its content: `state`, `readers`, and `pipeline` and `held` where it has one. */
export const facts = (id) => call(`v1/streams/${encodeURIComponent(id)}/facts`);

/** Changes a ticket for the cookie by which this browser may read the stream from then on. */
export const redeem = (id, ticket) =>
  call(`v1/streams/${encodeURIComponent(id)}?ticket=${encodeURIComponent(ticket)}`, {
    headers: { Accept: "application/json" },
  });

/** A ticket for the stream, to be put into a link; null where the server asks nobody who they are. */
export async function ticket(id) {
  try {
    return (await call("v1/tickets", posting({ stream: id }))).ticket;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

/** The ids of the models that can be asked, the default one first. */
export async function models() {
  const list = await call("v1/models");
  return (list?.data ?? []).map((model) => model.id);
}

/** The pipelines that an answer may be given, and the name of the one that it gets in any case. */
export async function pipelines() {
  const list = await call("v1/pipelines");
  return { known: list?.pipelines ?? [], fixed: list?.default ?? null };
}

/** Whether the server can answer yet: true, false, or null where it can't be reached. */
export async function ready() {
  try {
    return (await fetch(address("readyz"), { cache: "no-store" })).ok;
  } catch {
    return null;
  }
}
