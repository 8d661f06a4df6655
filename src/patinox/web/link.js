// The link to a stream, in the address bar and for others, and what a reload should still know.

import { page } from "./page.js";

export function showLink(id) {
  const here = new URL(location.href);
  here.searchParams.set("stream", id);
  history.replaceState(null, "", here);
  const shared = new URL("./", document.baseURI);
  shared.searchParams.set("stream", id);
  page.share.href = shared.href;
}

/** Only this tab's own memory: who opens the link sees the answer, not the prompt. */
export function recall(id) {
  try {
    return JSON.parse(sessionStorage.getItem(`patinox:${id}`)) ?? {};
  } catch {
    return {};
  }
}

export function remember(id, facts) {
  try {
    sessionStorage.setItem(`patinox:${id}`, JSON.stringify({ ...recall(id), ...facts }));
  } catch {
    // Storage is off or full: a reload shows the answer all the same.
  }
}
