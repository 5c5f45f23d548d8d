"""Which addresses a webhook may go to: not those of the inside, whatever an URL calls them.

A name is resolved once, every address that it has is looked at, and the connection goes to one of these and to no
other: a name that means something else a moment later gains nothing. How an address is written (decimal, octal, as
IPv6) doesn't matter, since what the resolver makes of it is what is looked at.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from shared.errors import Invalid
from shared.settings import WebhookSettings

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a host, in the order in which to try them. Raises ``OSError``."""
_PORTS = {"http": 80, "https": 443}
# Nothing that programs could read differently: no user, no backslash, no blank, no other alphabet.
_URL = re.compile(r"[A-Za-z0-9._~:/?\[\]!$&'()*+,;=%-]+")
_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?|[0-9a-f:.]+")
# IANA's special-purpose registries of 2025, written out: what Python calls global differs between its versions.
_INTERNET_6 = ip_network("2000::/3")
"""All of IPv6 that is given out. Loopback, what is local, multicast and most ways to wrap IPv4 lie outside of it."""
_NEVER = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
        "168.63.129.16/32",  # a cloud's inside, at an address that looks public
    )
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where one request goes: ``url`` as it was written, and what its host's addresses are, all of them allowed."""

    url: str
    host: str
    port: int
    addresses: Sequence[str]


def system_resolver(host: str, port: int) -> list[str]:
    """What the operating system says."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Guard:
    """Looks at URLs. Thread-safe."""

    def __init__(self, settings: WebhookSettings, resolve: Resolve = system_resolver) -> None:
        self._ports = frozenset(settings.ports)
        self._hosts = frozenset(host.lower() for host in settings.allow_hosts)
        self._networks = tuple(ip_network(text) for text in settings.allow_networks)
        self._resolve = resolve

    def look(self, url: str) -> Target:
        """Resolve an URL's host and return where a request to it may go.

        Raises ``Invalid`` for an URL that webhooks may not go to, and for one whose host can't be resolved.
        """
        scheme, host, port = _parsed(url)
        try:
            addresses = list(self._resolve(host, port))
        except (OSError, UnicodeError) as error:
            raise Invalid(f"the host {host} can't be resolved: {error}") from error
        if not addresses:
            raise Invalid(f"the host {host} has no address")
        trusted = host in self._hosts
        for text in addresses:
            if not trusted and not self._allowed(text):
                self._refuse_inside(host, text)
                self._refuse_plain(scheme, port)
        return Target(url=url, host=host, port=port, addresses=addresses)

    def _allowed(self, text: str) -> bool:
        address = _address(text)
        return address is not None and any(address in network for network in self._networks)

    def _refuse_inside(self, host: str, text: str) -> None:
        address = _address(text)
        if address is None or not _is_public(address):
            raise Invalid(
                f"webhooks may not go to {host}: it is {text}, which is not a public address. "
                "WINNOW_WEBHOOK_ALLOW_NETWORKS and WINNOW_WEBHOOK_ALLOW_HOSTS name what is allowed all the same"
            )

    def _refuse_plain(self, scheme: str, port: int) -> None:
        if scheme != "https":
            raise Invalid("the URL must begin with https://")
        if port not in self._ports:
            ports = ", ".join(map(str, sorted(self._ports)))
            raise Invalid(f"webhooks may not go to port {port}; allowed: {ports} (WINNOW_WEBHOOK_PORTS)")


def _parsed(url: str) -> tuple[str, str, int]:
    """Scheme, host and port. Raises ``Invalid``."""
    if not _URL.fullmatch(url):
        raise Invalid(
            "the URL has characters that it may not have: no user or password, no fragment, no blanks; a name in "
            "another alphabet is written in its xn-- form"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Invalid(f"this is not an URL: {error}") from None
    host = parts.hostname or ""
    if parts.scheme not in _PORTS:
        raise Invalid("the URL must begin with https://")
    if not _HOST.fullmatch(host) or port == 0:
        raise Invalid("the URL names no host and port that a request could go to")
    return parts.scheme, host, port or _PORTS[parts.scheme]


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _is_public(address: Address) -> bool:
    """Whether it is an address of the Internet at large."""
    if isinstance(address, IPv6Address) and (address.scope_id is not None or address not in _INTERNET_6):
        return False
    return not any(address in network for network in _NEVER)
