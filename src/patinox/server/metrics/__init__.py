"""`/metrics`: what a manager counts anyway, read at the scrape; nothing is added to the path that chunks take.

observation.py   a manager and its sockets, looked at once, in slices that leave the event loop to the streams
families.py      an observation as Prometheus's families; the names are data
endpoint.py      the endpoint; a registry for each manager
"""
