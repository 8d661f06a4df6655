"""Asking models: upstreams over HTTP, and the one that is embedded."""
