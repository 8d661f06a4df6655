"""Who asks: credentials, what proves them, tickets for links, and the door that all transports go through."""
