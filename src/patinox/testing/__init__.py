"""For tests of what is built on Patinox: contract checks, fakes, faults."""
