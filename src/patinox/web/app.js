// The playground: asks a model, attaches to the stream that carries the answer, and shows what happens.
// The stream's id is in the address (`?stream=ID`), so a reload or another device attaches to the same answer.
// `?transport=fetch` reads with fetch instead of EventSource.

import * as api from "./api.js";
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
    } catch {
      await pause(MODELS_POLL_MS);
    }
  }
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
  try {
    await navigator.clipboard.writeText(page.share.href);
    tell(page.copy, "Copied");
  } catch {
    // Plain http on another host has no clipboard: show the link to be copied by hand.
    prompt("Link to this stream", page.share.href);
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

const query = new URLSearchParams(location.search);
const transport = chooseTransport(query.get("transport"));
const playground = new Playground(transport);
tell(page.transport, TRANSPORT_NAMES[transport]);
wire(playground);
if (/Mac|iPhone|iPad/.test(navigator.platform)) tell(page.modKey, "⌘");
page.journal.open = matchMedia("(min-width: 60rem)").matches;
showModels();
showPipelines();
if (query.get("stream")) playground.visit(query.get("stream"));
else showReadiness(playground);
