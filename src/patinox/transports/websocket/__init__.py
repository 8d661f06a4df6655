"""WebSocket: many streams on one socket (`patinox.v1`), and the frames it is made of (RFC 6455)."""
