"""From a log to its readers: views (frames made once), subscriptions (cursors), the fan-out, and sinks."""
