"""Whether a server is up. Certificates are not looked at: some parts sign for themselves."""

from __future__ import annotations

import http.client
import ssl
from urllib.parse import urlsplit

SECONDS = 2.0


def answers(url: str) -> bool:
    """Whether a GET is answered with 200, in time."""
    parts = urlsplit(url)
    connection = _secure(parts.netloc) if parts.scheme == "https" else http.client.HTTPConnection(parts.netloc, timeout=SECONDS)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _secure(address: str) -> http.client.HTTPSConnection:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(address, timeout=SECONDS, context=context)
