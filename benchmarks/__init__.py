"""Side-by-side measurements of streaming servers: Patinox, its peers, and the limit of the machine.

How a figure is made::

    scenarios.py ── what is measured (data)          contestants.py ── who is measured (data)
            └──────────────┬───────────────────────────────┘
                      rounds.py        A B C A B C …, medians
                           │ one measurement
                      measures.py ──── processes.py   server pinned to one core, load client to the other
                           │                └── servers/*.py, client/rawsend.c  ◄── client/load.c
                      report.py, chart.py    table, results/latest.json, results/latest.svg

Every contestant speaks one protocol (`servers/control.py`), and the load client paces them all alike: it asks
for the next message when the last reader has the one before. Run it with ``python -m benchmarks``.
"""
