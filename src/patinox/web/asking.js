// Getting a prompt heard by a server that may be starting or out of reach, without asking the model twice.

import * as api from "./api.js";
import { clearNotice, notice, sentence, setState } from "./page.js";
import { pause } from "./timing.js";

const READY_POLL_MS = 1000;
const WAIT_MAX_MS = 5000;

/**
 * Repeats only what can't ask the model twice: a server that isn't ready, a connection that broke.
 * A request on its way isn't aborted by Stop, since it may have been heard: its answer is awaited and cancelled.
 */
export async function askUntilHeard(prompt, model, pipeline, meter, signal) {
  let id = api.newStreamId();
  for (let attempt = 0; ; attempt += 1) {
    meter.asked(performance.now());
    try {
      const stream = await api.ask(prompt, model, id, pipeline);
      clearNotice();
      return stream;
    } catch (error) {
      if (error.status && (error.status !== 503 || error.code === "no_upstream")) throw error;
      if (signal.aborted && !error.status) api.cancel(id).catch(() => {});
      await waitToAsk(error, attempt, signal);
      if (error.status) id = api.newStreamId();
    }
  }
}

async function waitToAsk(error, attempt, signal) {
  if (error.status) {
    setState("starting");
    notice(`${sentence(error.message)} Your prompt goes out as soon as the server is ready.`, "wait");
  } else {
    setState("sending");
    notice("The server can't be reached. Trying again; the model is asked only once.", "wait");
  }
  const backoff = Math.min(WAIT_MAX_MS, READY_POLL_MS * 2 ** Math.min(attempt, 3));
  await pause(Math.max(backoff, (error.retryAfterS ?? 0) * 1000), signal);
  while (error.status && (await api.ready()) === false) await pause(READY_POLL_MS, signal);
}
