"""`python -m patinox.config > docs/reference/config.md` makes the reference page anew."""

import sys

from patinox.config.rendering import render_reference

sys.stdout.write(render_reference())
