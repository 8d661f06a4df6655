"""The gateway: the official clients' own calls, answered from an upstream through a log.

upstreams.py     which upstreams there are, and which one a model name means
client.py        one request to an upstream, read as it comes, with three deadlines
exchange.py      one call: attach to the log it names, or ask the upstream and write what it says into a new one
calls.py         a call in any dialect: the request passed on or translated, the answer streamed or whole
openai_api.py    POST /v1/chat/completions, GET /v1/models
responses_api.py POST /v1/responses, and GET and cancel by id
messages_api.py  POST /v1/messages
requests/        requests from one dialect into another, without I/O
speech.py        how an upstream of each dialect is spoken to over HTTP
routes.py        all of the calls
local_model.py   the embedded model: llama.cpp's server as a supervised child process
"""
