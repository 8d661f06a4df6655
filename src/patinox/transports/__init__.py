"""The transports: how a reader or a producer reaches a stream. `patinox.asgi` is the public face for mounting."""
