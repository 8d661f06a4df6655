// Who this tab is, where the server asks: a key or a token, kept as long as the tab and never in an address.
// A link that was shared carries a ticket instead, which the server changes for a cookie at its first use.

const PLACE = "patinox.credential";

export function credential() {
  try {
    return sessionStorage.getItem(PLACE) ?? "";
  } catch {
    return "";
  }
}

export function signIn(text) {
  try {
    if (text) sessionStorage.setItem(PLACE, text);
    else sessionStorage.removeItem(PLACE);
  } catch {
    // Storage is off: there is nothing to sign in with.
  }
}

/** The header that says who asks; none where nobody has signed in. */
export function authorization() {
  const text = credential();
  return text ? { Authorization: `Bearer ${text}` } : {};
}

/** The ticket in the page's own address, taken out of it: it is good for one use, and not to be shared again. */
export function takeTicket() {
  const here = new URL(location.href);
  const ticket = here.searchParams.get("ticket");
  if (ticket === null) return null;
  here.searchParams.delete("ticket");
  history.replaceState(null, "", here);
  return ticket;
}
