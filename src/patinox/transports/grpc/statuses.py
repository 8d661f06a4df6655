"""Errors as statuses: which code, and the details that go with it (google.rpc, AIP-193).

The details are a `google.rpc.Status` in the trailing metadata, under `grpc-status-details-bin`: an `ErrorInfo` with our
code as its reason and what else the error says of itself, and a `RetryInfo` where it says when to try again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from patinox.errors import LimitExceeded, PatinoxError

DOMAIN = "patinox"
DETAILS = "grpc-status-details-bin"
_MAX_TEXT = 1000  # characters; clients take 8 KiB of trailing metadata

_C = grpc.StatusCode
BY_CODE: Mapping[str, grpc.StatusCode] = {
    "exists": _C.ALREADY_EXISTS,
    "closed": _C.FAILED_PRECONDITION,
    "gone": _C.NOT_FOUND,
    "buffer_full": _C.RESOURCE_EXHAUSTED,
    "limit": _C.RESOURCE_EXHAUSTED,
    "too_large": _C.RESOURCE_EXHAUSTED,
    "producer_gap": _C.ABORTED,
    "producer_fenced": _C.FAILED_PRECONDITION,
    "too_slow": _C.ABORTED,
}
"""What says more than the HTTP status does."""
BY_HTTP_STATUS: Mapping[int, grpc.StatusCode] = {
    401: _C.UNAUTHENTICATED,
    403: _C.PERMISSION_DENIED,
    404: _C.NOT_FOUND,
    409: _C.ABORTED,
    410: _C.NOT_FOUND,
    429: _C.RESOURCE_EXHAUSTED,
    501: _C.UNIMPLEMENTED,
    502: _C.UNAVAILABLE,
    503: _C.UNAVAILABLE,
    504: _C.DEADLINE_EXCEEDED,
}


def status_code(error: PatinoxError) -> grpc.StatusCode:
    """The status code for an error: by its code, else by its HTTP status."""
    found = BY_CODE.get(error.code) or BY_HTTP_STATUS.get(error.http_status)
    return found or (_C.INVALID_ARGUMENT if 400 <= error.http_status < 500 else _C.INTERNAL)


def status_details(error: PatinoxError, **facts: Any) -> Status:
    """The details of an error, and `facts` that the call adds to them."""
    said = {key: value for key, value in error.as_dict().items() if key not in ("code", "message")} | facts
    info = ErrorInfo(
        reason=error.code.upper(), domain=DOMAIN, metadata={k: str(v)[:_MAX_TEXT] for k, v in said.items()}
    )
    code: int = status_code(error).value[0]
    status = Status(code=code, message=error.message[:_MAX_TEXT])
    status.details.add().Pack(info)
    if isinstance(error, LimitExceeded):
        retry = RetryInfo()
        retry.retry_delay.FromMilliseconds(round(error.retry_after_s * 1000))
        status.details.add().Pack(retry)
    return status
