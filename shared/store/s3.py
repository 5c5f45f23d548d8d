"""The store on S3, or anything that speaks it, through the minio client."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import BinaryIO, cast
from urllib.parse import urlsplit

import certifi
import urllib3
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.util import Retry, Timeout

from shared.errors import Invalid, NotFound, Permanent, Retryable, WinnowError
from shared.store.base import Entry
from shared.store.checks import ExactBody, check_key, check_prefix, check_range

CONNECT_S = 5
READ_S = 60
CONNECTIONS = 64
"""Kept open for reuse; more threads than that get connections of their own. An API runs 40 threads by default."""
CHUNK = 1 << 20
PART = 16 << 20
"""Larger objects go up in parts of this size, one after the other: it is what an upload takes of memory."""
LONGEST_LINK_S = 7 * 24 * 3600

_REFUSED = {"AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "RequestTimeTooSkewed", "AllAccessDisabled"}
_PASSING = {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted"}


class S3Store:
    """See ``shared.store.base.Store``. Makes the bucket, if it isn't there, when first used.

    Parameters
    ----------
    endpoint : where this process reaches the server, ``http://host:port`` or ``https://host``.
    public_endpoint : where browsers reach it; signed links point there. The same as ``endpoint`` if None.
    region : is never asked for, so signing a link makes no request, to an endpoint that this process may not reach.

    The client sends a digest with every upload (SHA-256 within the signature, MD5 over https), so the server refuses
    what was damaged on its way.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        access_key: str,
        secret_key: str,
        bucket: str,
        region: str = "us-east-1",
        public_endpoint: str | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._bucket = bucket
        self._client = _client(endpoint, access_key, secret_key, region)
        self._public = _client(public_endpoint or endpoint, access_key, secret_key, region)
        self._bucket_known = False

    def put(self, key: str, body: BinaryIO, length: int, content_type: str = "application/octet-stream") -> None:
        check_key(key)
        exact = cast(BinaryIO, ExactBody(body, length))
        with self._ready(key):
            self._client.put_object(
                self._bucket, key, exact, length, content_type, part_size=PART, num_parallel_uploads=1
            )

    def put_bytes(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> None:
        self.put(key, io.BytesIO(body), len(body), content_type)

    def get(self, key: str) -> bytes:
        with self.open(key) as chunks:
            return b"".join(chunks)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        check_key(key)
        check_range(start, length)
        with self._ready(key):
            if length == 0:  # the client takes 0 for "to the end"
                self._client.stat_object(self._bucket, key)
                return b""
            try:
                with _closing(self._client.get_object(self._bucket, key, start, length)) as response:
                    return response.read()
            except S3Error as error:
                if error.code == "InvalidRange":
                    return b""
                raise

    @contextmanager
    def open(self, key: str) -> Iterator[Iterator[bytes]]:
        check_key(key)
        with self._ready(key):
            response = self._client.get_object(self._bucket, key)
        with _closing(response):
            yield self._chunks(response, key)

    def exists(self, key: str) -> bool:
        check_key(key)
        try:
            with self._ready(key):
                self._client.stat_object(self._bucket, key)
        except NotFound:
            return False
        return True

    def delete(self, key: str) -> None:
        check_key(key)
        with self._ready(key):
            self._client.remove_object(self._bucket, key)

    def list(self, prefix: str) -> Iterator[str]:
        return (entry.key for entry in self.entries(prefix))

    def entries(self, prefix: str) -> Iterator[Entry]:
        check_prefix(prefix)
        return self._entries(prefix)

    def presigned_get(self, key: str, expires_s: int) -> str | None:
        check_key(key)
        if not 1 <= expires_s <= LONGEST_LINK_S:
            raise Invalid(f"a link is good for between 1 second and 7 days, not {expires_s} seconds")
        with self._errors(key):
            return self._public.presigned_get_object(self._bucket, key, timedelta(seconds=expires_s))

    def check(self) -> None:
        key, body = f"checks/{uuid.uuid4().hex}", b"winnow"
        try:
            self.put_bytes(key, body)
            if self.get(key) != body:
                raise Retryable(f"what was written to {self._endpoint} came back different")
            self.delete(key)
        except (NotFound, Permanent) as error:
            raise Retryable(str(error)) from error

    def _entries(self, prefix: str) -> Iterator[Entry]:
        with self._ready(prefix):
            for found in self._client.list_objects(self._bucket, prefix, recursive=True):
                if found.size is None or found.last_modified is None:
                    raise ValueError(f"the listing tells nothing of {found.object_name}")
                yield Entry(key=str(found.object_name), size=found.size, modified=found.last_modified)

    def _chunks(self, response: urllib3.BaseHTTPResponse, key: str) -> Iterator[bytes]:
        with self._errors(key):
            yield from response.stream(CHUNK)

    @contextmanager
    def _ready(self, key: str) -> Iterator[None]:
        """Make sure of the bucket, once, then turn what goes wrong into our errors."""
        with self._errors(key):
            if not self._bucket_known:  # several threads may come here at once: making it twice does no harm
                self._make_bucket()
                self._bucket_known = True
            yield

    def _make_bucket(self) -> None:
        if self._client.bucket_exists(self._bucket):
            return
        try:
            self._client.make_bucket(self._bucket)
        except S3Error as error:
            if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except S3Error as error:
            raise self._translated(error, key) from error
        except (InvalidResponseError, ServerError) as error:
            raise Retryable(f"{self._endpoint} gave an answer that is not S3's, for {key}: {error}") from error
        except (MinioException, ValueError) as error:
            raise Permanent(f"the store can't do this with {key}: {error}") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Retryable(f"the store at {self._endpoint} can't be reached, or broke off: {error}") from error

    def _translated(self, error: S3Error, key: str) -> WinnowError:
        if error.code == "NoSuchKey":
            return NotFound(f"there is no object {key}")
        if error.code == "NoSuchBucket":
            self._bucket_known = False
            return Retryable(f"the bucket {self._bucket} is gone; it is made again at the next use")
        if error.code in _REFUSED:
            return Permanent(
                f"the store at {self._endpoint} refused the access key, or what it may do in bucket {self._bucket} "
                f"({error.code}): {error.message}"
            )
        if error.code in _PASSING or error.response.status >= 500:
            return Retryable(f"the store at {self._endpoint} failed at {key} ({error.code}): {error.message}")
        return Permanent(f"the store at {self._endpoint} refused {key} ({error.code}): {error.message}")


def _client(endpoint: str, access_key: str, secret_key: str, region: str) -> Minio:
    """Raises ``Invalid`` for an endpoint that is more or less than a scheme, a host and a port."""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
        raise Invalid(f"an S3 endpoint looks like http://host:port or https://host, not {endpoint!r}")
    pool = urllib3.PoolManager(
        maxsize=CONNECTIONS,
        timeout=Timeout(connect=CONNECT_S, read=READ_S),
        retries=Retry(total=3, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504)),
        cert_reqs="CERT_REQUIRED",
        ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
    )
    try:
        return Minio(
            parts.netloc, access_key, secret_key, secure=parts.scheme == "https", region=region, http_client=pool
        )
    except ValueError as error:
        raise Invalid(f"the S3 endpoint {endpoint!r} can't be used: {error}") from error


@contextmanager
def _closing(response: urllib3.BaseHTTPResponse) -> Iterator[urllib3.BaseHTTPResponse]:
    """Give the connection back: to the pool if the response was read to its end, to nobody otherwise."""
    try:
        yield response
    finally:
        response.close()
        response.release_conn()
