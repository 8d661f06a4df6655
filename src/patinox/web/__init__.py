"""The playground: the page at `/` where a person asks a model, cuts the connection and loses nothing.

Plain files, served as they are: `index.html`, `style.css`, `icon.svg` and ES modules. There is no build step
and no resource from elsewhere, and the page works under `CONTENT_SECURITY_POLICY`, which allows no inline
script or style.

    app.js          wires the page and starts it           reader.js      a cursor that comes back by itself
    playground.js   attaches, shows, stops                 transport.js   EventSource, or fetch
    asking.js       gets a prompt heard, once              sse.js         the parser fetch needs
    answer.js       the answer, block by block             api.js         the calls
    page.js         the elements, how they show a fact     meter.js       tokens/s, time to first token
    link.js         the address, what a reload knows       announcer.js   what a screen reader hears
    timing.js       pauses, and durations in words         credential.js  who this tab is, where the server asks

They are package data, found with `importlib.resources`, so they are there in a wheel, a zip or an editable
install. `index.html` belongs at the mount point, every other asset at `web/<name>` beneath it; all addresses
in the page are relative, so the application can be mounted under any prefix that ends in a slash.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files

import msgspec

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The `Content-Security-Policy` (W3C CSP Level 3) to send with every asset."""

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""File suffix to `Content-Type`. A file with another suffix in this package is not an asset."""


class Asset(msgspec.Struct, frozen=True):
    """One file of the page, and what to send with it. `etag` has its quotes (RFC 9110 §8.8.3)."""

    name: str
    content_type: str
    etag: str
    body: bytes


def load_assets() -> dict[str, Asset]:
    """Reads every asset, by name (`index.html`, `app.js`, …). For the server to do once, at start."""
    return {
        entry.name: _asset(entry.name, entry.read_bytes())
        for entry in files(__name__).iterdir()
        if _suffix(entry.name) in CONTENT_TYPES
    }


def _asset(name: str, body: bytes) -> Asset:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return Asset(name=name, content_type=CONTENT_TYPES[_suffix(name)], etag=etag, body=body)


def _suffix(name: str) -> str:
    return name[name.rfind(".") :] if "." in name else ""
