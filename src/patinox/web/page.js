// The page's elements and how they show a fact. What the facts are is decided elsewhere.

const JOURNAL_LINES = 60;

const find = (id) => document.getElementById(id);

export const page = Object.freeze({
  signIn: find("signin"), credential: find("credential"), signInWhy: find("signin-why"),
  ask: find("ask"), prompt: find("prompt"), send: find("send"), model: find("model"), modelPick: find("modelpick"),
  modelName: find("modelname"), pipeline: find("pipeline"), pipelinePick: find("pipelinepick"), modKey: find("modkey"), stop: find("stop"), drop: find("drop"), share: find("share"),
  copy: find("copy"), controls: find("controls"), answer: find("answer"), empty: find("empty"),
  outcome: find("outcome"), notice: find("notice"), noticeText: find("notice-text"), retry: find("retry"),
  state: find("state"), position: find("position"), rate: find("rate"), ttft: find("ttft"),
  connection: find("connection"), transport: find("transport"), drops: find("drops"), resumes: find("resumes"),
  guarded: find("guarded"), held: find("held"), judged: find("judged"), verdicts: find("verdicts"),
  attach: find("attach"), journal: find("journal"), history: find("history"), announcer: find("announcer"),
  examples: document.querySelectorAll(".example"),
});

export function show(element, visible) {
  element.hidden = !visible;
}

/** Writes only what changed, so that a busy stream doesn't touch the page for nothing. */
export function tell(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A server's message as a sentence of the page's. */
export function sentence(text) {
  const whole = text.trim();
  return whole.charAt(0).toUpperCase() + whole.slice(1) + (/[.!?…]$/.test(whole) ? "" : ".");
}

export function setState(state) {
  tell(page.state, state);
  page.state.dataset.state = state;
  page.answer.dataset.live = String(state === "open");
  page.answer.setAttribute("aria-busy", String(state === "open"));
}

/** `tone` is "wait" or "error"; `retry` shows the button that tries at once. */
export function notice(text, tone = "error", retry = false) {
  tell(page.noticeText, sentence(text));
  page.notice.dataset.tone = tone;
  show(page.retry, retry);
  show(page.notice, true);
}

export function clearNotice() {
  show(page.notice, false);
}

export function journal(text) {
  const line = document.createElement("li");
  const time = document.createElement("time");
  const now = new Date();
  time.dateTime = now.toISOString();
  time.textContent = now.toLocaleTimeString([], { hour12: false });
  line.append(time, " ", text);
  page.history.append(line);
  while (page.history.childElementCount > JOURNAL_LINES) page.history.firstElementChild.remove();
  page.history.scrollTop = page.history.scrollHeight;
}
