"""What an order's script can ask of the shop; see stories.py and shop.py."""

from dataclasses import dataclass


@dataclass
class Create:
    """Create the order and, in the same transaction, begin these tries."""
    tries: tuple = ()


@dataclass
class Begin:
    """Begin one more try as soon as the order takes it."""
    k: int


@dataclass
class Tell:
    """Tell a gateway what its buyer or clerk does.

    do: pay, release, fail, close, lie, console_refund, foreign.  hold: the
    gateway has the money but neither shows nor tells it before release.
    by_order: the payment names the order, not an attempt.
    """
    k: int
    do: str
    hold: bool = False
    by_order: bool = False


@dataclass
class Acked:
    """Wait until the message that this caused was acknowledged."""
    k: int
    do: str


@dataclass
class State:
    """Wait until the order is in one of these states."""
    states: tuple


@dataclass
class Fire:
    """Take an event by hand; refused: it must be refused with PO001."""
    event: str
    refused: bool = False


@dataclass
class Ship:
    """Ship the order, as soon as its money is quiet."""


@dataclass
class Refund:
    """Ask for the n-th planned refund."""
    n: int


@dataclass
class RefundEnds:
    """Wait until the n-th planned refund is in this state."""
    n: int
    state: str
