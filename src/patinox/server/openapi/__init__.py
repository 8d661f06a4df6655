"""`/openapi.json`: the HTTP calls of this server, in OpenAPI 3.1.

calls.py      every call as data: what it takes, what it answers
schemas.py    the objects that go over the wire
document.py   both put together, for the routes that this server has
"""
