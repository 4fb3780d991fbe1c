"""Network addresses of this machine."""

import ipaddress
import socket

import psutil


def is_localhost(host: str) -> bool:
    """Whether only this machine can reach a server on this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def names_here() -> list[str]:
    """This machine's non-loopback IPv4 addresses, and its host name."""
    addresses = [each for interface in psutil.net_if_addrs().values() for each in interface]
    found = [each.address for each in addresses if each.family == socket.AF_INET and not is_localhost(each.address)]
    return [*dict.fromkeys([*found, socket.gethostname()])]


def loopback_interface() -> str:
    """The name of this machine's loopback interface: `lo` on Linux."""
    interfaces = psutil.net_if_addrs().items()
    return next((name for name, found in interfaces if any(each.address == "127.0.0.1" for each in found)), "lo")
