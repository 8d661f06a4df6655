"""gRPC: `patinox.v1.Streams` of `proto/patinox/v1/streams.proto`, on the same log, cursors and event ids.

words, values, messages, facts   data and facts to messages and back     sans-I/O
wire                             records as responses, made once for all
statuses, calls                  errors as statuses; what goes around every call
appending, service               the five calls
health, server                   the port
"""
