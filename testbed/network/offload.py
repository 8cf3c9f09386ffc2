"""What interfaces leave to hardware, turned off where there is none on the way."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket

_SIOCETHTOOL = 0x8946
_SENDING = (0x17, 0x1F, 0x24)  # ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO
_RECEIVING = (0x2C,)  # ETHTOOL_SGRO


class _Value(ctypes.Structure):
    _fields_ = (("command", ctypes.c_uint32), ("value", ctypes.c_uint32))


class _Request(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char * 16), ("data", ctypes.c_void_p), ("rest", ctypes.c_byte * 16))


def finish_before_sending(interface: str) -> None:
    """Has an interface of the calling thread's namespace compute checksums and cut segments before it sends.

    A switch in user space passes packets on as they come.

    Raises:
        OSError: there is no such interface.
    """
    _switch_off(interface, _SENDING)


def take_as_they_come(interface: str) -> None:
    """Has an interface of the calling thread's namespace merge no packets that come one after the other, which would be
    counted as one and pass a link in one piece; raises as above."""
    _switch_off(interface, _RECEIVING)


def _switch_off(interface: str, switches: tuple[int, ...]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for switch in switches:
            value = _Value(switch, 0)
            request = _Request(interface.encode(), ctypes.addressof(value))
            try:
                fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:  # what it cannot do is off
                    raise
