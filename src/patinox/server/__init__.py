"""The server: the application of its own, with the gateway, the playground, health, and how it starts and ends."""
