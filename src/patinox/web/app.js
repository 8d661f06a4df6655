// The playground: asks a model, attaches to the stream that carries the answer, and shows what happens.
// The stream's id is in the address (`?stream=ID`), so a reload or another device attaches to the same answer.
// `?transport=fetch` reads with fetch instead of EventSource.

import * as api from "./api.js";
import { credential, signIn, takeTicket } from "./credential.js";
import { clearNotice, notice, page, setState, show, tell } from "./page.js";
import { Playground } from "./playground.js";
import { pause } from "./timing.js";
import { chooseTransport, TRANSPORT_NAMES } from "./transport.js";

const READY_POLL_MS = 1000;
const MODELS_POLL_MS = 3000;
const COPIED_MS = 2000;

async function showModels() {
  for (;;) {
    try {
      const names = await api.models();
      page.model.replaceChildren(...names.map((name) => new Option(name, name)));
      show(page.modelPick, names.length > 1);
      show(page.modelName, names.length === 1);
      if (names.length === 1) tell(page.modelName, names[0]);
      return;
    } catch (error) {
      if (error.status === 401) return askWho();
      if (error.status === 403) return;
      await pause(MODELS_POLL_MS);
    }
  }
}

/** The server asks who we are, and what we said (if anything) did not do. A shared stream can be read all the same. */
function askWho() {
  if (credential()) tell(page.signInWhy, "The server does not know this key or token, or it has expired.");
  signIn("");
  if (query.get("stream") && hadTicket) return;
  show(page.signIn, true);
  show(page.ask, false);
  show(page.empty, false);
  page.credential.focus();
}

/** A switch, where the server has pipelines to choose from; the name, where it has chosen. */
async function showPipelines() {
  const { known, fixed } = await api.pipelines().catch(() => ({ known: [], fixed: null }));
  const offered = fixed ? known.filter((pipeline) => pipeline.name === fixed) : known;
  const options = offered.map(({ name, description }) => {
    const option = new Option(name, name);
    option.title = description;
    return option;
  });
  page.pipeline.replaceChildren(...(fixed ? [] : [new Option("no pipeline", "")]), ...options);
  page.pipeline.disabled = Boolean(fixed);
  show(page.pipelinePick, options.length > 0);
}

async function showReadiness(playground) {
  const idle = () => !playground.reader && !playground.asking && page.state.dataset.state !== "failed";
  let wasStarting = false;
  for (;;) {
    const ready = await api.ready();
    if (!idle()) return;
    if (ready) break;
    wasStarting = true;
    setState(ready === false ? "starting" : "unreachable");
    notice(ready === false
      ? "The model is starting. You can write your prompt already; it goes out as soon as the model is ready."
      : "The server can't be reached. Trying again.", "wait");
    await pause(READY_POLL_MS);
    if (!idle()) return;
  }
  if (!wasStarting) return;
  clearNotice();
  setState("idle");
}

async function copyLink() {
  const link = new URL(page.share.href);
  const ticket = await api.ticket(link.searchParams.get("stream")).catch(() => null);
  if (ticket) link.searchParams.set("ticket", ticket);
  try {
    await navigator.clipboard.writeText(link.href);
    tell(page.copy, ticket ? "Copied, good for 30 s" : "Copied");
  } catch {
    // Plain http on another host has no clipboard: show the link to be copied by hand.
    prompt("Link to this stream", link.href);
  }
  await pause(COPIED_MS);
  tell(page.copy, "Copy link");
}

function wire(playground) {
  const send = () => {
    const text = page.prompt.value.trim();
    if (!text || page.send.disabled) return;
    playground.ask(text, page.model.value || null, page.pipeline.value || null);
  };
  page.signIn.addEventListener("submit", (event) => {
    event.preventDefault();
    signIn(page.credential.value.trim());
    location.reload();
  });
  page.ask.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  page.prompt.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
    event.preventDefault();
    send();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.isComposing && !event.defaultPrevented) playground.stop();
  });
  page.stop.addEventListener("click", () => playground.stop());
  page.drop.addEventListener("click", () => playground.reader?.drop());
  page.retry.addEventListener("click", () => playground.reader?.attach());
  page.copy.addEventListener("click", copyLink);
  for (const example of page.examples) {
    example.addEventListener("click", () => {
      page.prompt.value = example.textContent;
      page.prompt.focus();
    });
  }
  addEventListener("offline", () => playground.reader?.suspend());
  addEventListener("online", () => playground.reader?.attach());
  // A page that comes back from the browser's cache has a dead connection and doesn't know it.
  addEventListener("pagehide", (event) => event.persisted && playground.reader?.suspend());
  addEventListener("pageshow", (event) => event.persisted && playground.reader?.attach());
}

async function visit(id) {
  if (ticket !== null) await api.redeem(id, ticket).catch((error) => notice(error.message));
  playground.visit(id);
}

const query = new URLSearchParams(location.search);
const ticket = takeTicket();
const hadTicket = ticket !== null;
const transport = chooseTransport(query.get("transport"));
const playground = new Playground(transport);
tell(page.transport, TRANSPORT_NAMES[transport]);
wire(playground);
if (/Mac|iPhone|iPad/.test(navigator.platform)) tell(page.modKey, "⌘");
page.journal.open = matchMedia("(min-width: 60rem)").matches;
showModels().then(showPipelines);
if (query.get("stream")) visit(query.get("stream"));
else showReadiness(playground);
