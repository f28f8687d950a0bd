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

    do: pay, release, fail, close, lie, authorise, revoke, console_refund,
    unrefund (a refund comes back after its success), foreign, ghost (a dispute
    of a payment that is not there), withdraw, reinstate and lose (of the first
    dispute; withdraw2 and so on of the second).
    hold: the gateway has the money but neither shows nor tells it before
    release.  by_order: the payment names the order, not an attempt; of: it
    names this try's number.
    """
    k: int
    do: str
    hold: bool = False
    by_order: bool = False
    of: int = None


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


@dataclass
class RefundAt:
    """Wait until the gateway has the n-th planned refund in such a state."""
    n: int
    states: tuple


@dataclass
class Reprice:
    """Give the order its other price."""


@dataclass
class Break:
    """From now on a trigger of the shop's own raises for this order."""
