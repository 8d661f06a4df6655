"""Patinox relaying an upstream's answers."""

import sys

if __name__ == "__main__":
    print("Patinox's gateway is not there yet", file=sys.stderr)
    sys.exit(3)
