"""The sans-I/O core: chunks, events, the log, its lifecycle and back-pressure. No sockets, no tasks, no clock."""
