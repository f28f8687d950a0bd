"""The kinds of fate that an order can have.

A story has a plan, which draws what the gateways will do and says where the
money must end, and a script, which the shop plays.  Both follow from the seed
alone.  What a gateway does by itself (lose, repeat, delay, time out) is in
the plan; what must come after something else is in the script.

shares are out of 1000; the plain story takes what is left.
"""

import random

from fate import (Back, Fate, RefundPlan, Try, add_try, delivery, draw_amount,
                  draw_back, draw_currency, draw_gateway, money,
                  transaction_id)
from steps import (Acked, Begin, Create, Fire, Refund, RefundEnds, Ship, State,
                   Tell)

SHORT = "4 seconds"     # for orders that shall expire
LONG = "10 minutes"
PAID = ("paid", "to_ship", "shipped", "completed")


class Story:
    name = ""
    share = 0
    gateways = ()       # () = any

    def plan(self, fate, seed, gateway):
        made = add_try(fate, seed, gateway)
        made.pots = money(made.amount)

    def script(self, fate):
        yield Create((0,))
        yield Tell(0, "pay")
        yield from ship()


def ship():
    yield State(("to_ship",))
    yield Ship()


class Plain(Story):
    name = "plain"


class Early(Story):
    """Paid before the order exists; in part at the same time."""
    name, share = "early", 30

    def plan(self, fate, seed, gateway):
        made = add_try(fate, seed, gateway, may_lose=False)
        made.pots = money(made.amount)

    def script(self, fate):
        yield Tell(0, "pay", by_order=True)
        if fate.variant % 2:
            yield Acked(0, "pay")
        yield Create()
        yield from ship()


class Unpaid(Story):
    """Begun and never paid."""
    name, share = "unpaid", 60

    def plan(self, fate, seed, gateway):
        made = add_try(fate, seed, gateway)
        made.known = fate.variant % 3 > 0
        made.silences = (0, 0, 0, 1, 2)[fate.variant % 5]
        fate.pay_within, fate.end = SHORT, "expired"

    def script(self, fate):
        yield Create((0,))


class Abandoned(Story):
    """Nobody ever tries to pay."""
    name, share = "abandoned", 30

    def plan(self, fate, seed, gateway):
        fate.pay_within, fate.end = SHORT, "expired"

    def script(self, fate):
        yield Create()


class Cancelled(Story):
    """Cancelled unpaid, with and without an open try."""
    name, share = "cancelled", 35

    def plan(self, fate, seed, gateway):
        made = add_try(fate, seed, gateway)
        made.known = fate.variant % 4 > 0
        made.silences = (0, 0, 1)[fate.variant % 3]
        fate.pay_within, fate.end = "8 seconds", "cancelled"

    def script(self, fate):
        yield Create((0,) if fate.variant % 3 else ())
        yield Fire("cancel")


class CancelInDoubt(Story):
    """Cancelled while a payment is in doubt, and the payment wins."""
    name, share = "cancel_in_doubt", 30

    def plan(self, fate, seed, gateway):
        made = add_try(fate, seed, gateway)
        made.pots = money(made.amount, returned=made.amount)
        fate.end = "refunded"

    def script(self, fate):
        yield Create((0,))
        yield Tell(0, "pay", hold=True)
        yield Fire("cancel")
        yield Tell(0, "release")


class CancelPaid(Story):
    """Cancelled in the cooling-off time; the gateway refuses some refunds."""
    name, share = "cancel_paid", 30

    def plan(self, fate, seed, gateway):
        made = add_try(fate, seed, gateway)
        made.back = draw_back(fate.rng, refusable=True)
        fate.cooling_off, fate.end = LONG, "refunded"
        if made.back.outcome == "refused":
            made.pots = money(made.amount, owed=made.amount)
            fate.end = "refunding"
        else:
            made.pots = money(made.amount, returned=made.amount)

    def script(self, fate):
        yield Create((0,))
        yield Tell(0, "pay")
        yield State(("paid",))
        yield Fire("cancel")


class CancelTooLate(Story):
    """Cancelled when the goods are being packed: refused."""
    name, share = "cancel_too_late", 10

    def script(self, fate):
        yield Create((0,))
        yield Tell(0, "pay")
        yield State(("to_ship",))
        yield Fire("cancel", refused=True)
        yield Ship()


class LateReopened(Story):
    """Paid after it expired: closing was never answered, or was a lie."""
    name, share = "late_reopened", 15

    def plan(self, fate, seed, gateway):
        made = add_try(fate, seed, gateway, may_lose=False)
        made.pots = money(made.amount)
        made.closes = fate.variant % 3 > 0
        fate.pay_within = SHORT

    def script(self, fate):
        yield Create((0,))
        yield State(("expired",))
        yield Tell(0, "pay")
        yield from ship()


class LateReturned(Story):
    """Paid after it was cancelled, or too much after it expired."""
    name, share = "late_returned", 20

    def plan(self, fate, seed, gateway):
        wrong = fate.variant % 3 == 2
        made = add_try(fate, seed, gateway, may_lose=False,
                       amount=fate.amount + 10 if wrong else None)
        made.back = draw_back(fate.rng, refusable=True)
        waits = made.back.outcome == "refused"
        made.pots = money(made.amount,
                          **{"owed" if waits else "returned": made.amount})
        fate.end = "expired" if wrong else "cancelled"
        if wrong:
            fate.pay_within = SHORT

    def script(self, fate):
        kind = fate.variant % 3
        yield Create((0,) if kind else ())
        if kind == 1:
            yield Tell(0, "close")
            yield Acked(0, "close")
        if kind != 2:
            yield Fire("cancel")
        yield State((fate.end,))
        yield Tell(0, "pay", by_order=kind == 0)


class PaidTwice(Story):
    """Two tries side by side, both paid; the second goes back."""
    name, share = "paid_twice", 25
    gateways = ("wechat", "alipay")

    def plan(self, fate, seed, gateway):
        first = add_try(fate, seed, gateway, may_lose=False)
        other = "wechat" if fate.variant % 3 == 0 or gateway == "alipay" \
            else "alipay"
        second = add_try(fate, seed, other)
        first.pots = money(first.amount)
        second.pots = money(second.amount, returned=second.amount)

    def script(self, fate):
        yield Create((0, 1))
        yield Tell(1, "pay", hold=True)
        yield Tell(0, "pay")
        yield Acked(0, "pay")
        yield Tell(1, "release")
        yield from ship()


class WrongAmount(Story):
    """Wrong amount or currency; every other time the right one follows."""
    name, share = "wrong_amount", 20
    gateways = ("wechat", "stripe")

    def plan(self, fate, seed, gateway):
        kind = fate.variant % 3
        amount = (max(fate.amount - 50, 10), fate.amount + 990,
                  fate.amount)[kind]
        wrong = add_try(fate, seed, gateway, amount=amount,
                        currency="GBP" if kind == 2 else None)
        wrong.pots = money(wrong.amount, review=wrong.amount)
        if self.put_right(fate):
            right = add_try(fate, seed, gateway)
            right.pots = money(right.amount)
        else:
            fate.pay_within, fate.end = "20 seconds", "expired"

    def put_right(self, fate):
        return fate.variant % 2 == 1

    def script(self, fate):
        yield Create((0,))
        yield Tell(0, "pay")
        if self.put_right(fate):
            yield Begin(1)
            yield Tell(1, "pay")
            yield from ship()


class Foreign(Story):
    """Beside it a payment comes in that names nobody's order."""
    name, share = "foreign", 8

    def plan(self, fate, seed, gateway):
        super().plan(fate, seed, gateway)
        amount = draw_amount(fate.rng, fate.currency)
        fate.foreign = Try(9, gateway,
                           transaction_id(gateway, seed, fate.i, 9),
                           amount, fate.currency,
                           delivery(fate.rng, may_lose=False),
                           delivery(fate.rng),
                           pots=money(amount, review=amount))

    def script(self, fate):
        yield Create((0,))
        yield Tell(9, "foreign")
        yield Tell(0, "pay")
        yield from ship()


class FailedFirst(Story):
    """The first try fails; another one, or the same at Stripe, succeeds."""
    name, share = "failed_first", 40

    def plan(self, fate, seed, gateway):
        first = add_try(fate, seed, gateway)
        if gateway == "stripe":
            first.pots = money(first.amount)
        else:
            second = add_try(fate, seed, ("wechat", "alipay")[fate.variant % 2])
            second.pots = money(second.amount)

    def script(self, fate):
        yield Create((0,))
        yield Tell(0, "fail")
        if len(fate.tries) > 1:
            yield Begin(1)
        yield Tell(len(fate.tries) - 1, "pay")
        yield from ship()


class Closed(Story):
    """The gateway ends the try by itself."""
    name, share = "closed", 15

    def plan(self, fate, seed, gateway):
        add_try(fate, seed, gateway)
        fate.pay_within, fate.end = SHORT, "expired"

    def script(self, fate):
        yield Create((0,))
        yield Tell(0, "close")


class PartRefunds(Story):
    """One to three refunds after shipping; some are too much: refused."""
    name, share = "part_refunds", 45

    def plan(self, fate, seed, gateway):
        made = add_try(fate, seed, gateway)
        left = made.amount
        for n in range(1 + fate.variant % 3):
            back = draw_back(fate.rng)
            part = left // 30 * 10 if n < 2 else left
            if fate.variant % 4 == 3 and n == 1:
                part, refused = left + 10, True
            else:
                refused = False
            if part <= 0:
                continue
            add_refund(fate, part, back, refused)
            if not refused:
                left -= part
        made.pots = money(made.amount, returned=made.amount - left)
        if left == 0:
            fate.end = "refunded"

    def script(self, fate):
        yield Create((0,))
        yield Tell(0, "pay")
        yield from ship()
        for n in range(len(fate.refunds)):
            yield Refund(n)


def add_refund(fate, amount, back, refused=False):
    number = "RF%06d_%d" % (fate.i, len(fate.refunds))
    fate.refunds.append(RefundPlan(number, amount, back, refused))


class RefundRefused(Story):
    """The gateway refuses a refund for good; half are asked for anew."""
    name, share = "refund_refused", 10

    def plan(self, fate, seed, gateway):
        made = add_try(fate, seed, gateway)
        part = max(made.amount // 20 * 10, 10)
        again = draw_back(fate.rng)
        add_refund(fate, part, Back("refused", delivery=delivery(fate.rng)))
        if fate.variant % 2:
            add_refund(fate, part, again)
            made.pots = money(made.amount, returned=part)
        else:
            made.pots = money(made.amount, owed=part)

    def script(self, fate):
        yield Create((0,))
        yield Tell(0, "pay")
        yield from ship()
        yield Refund(0)
        yield RefundEnds(0, "failed")
        if len(fate.refunds) > 1:
            yield Refund(1)


class RefundStuck(Story):
    """WeChat's ABNORMAL: neither done nor failed."""
    name, share, gateways = "refund_stuck", 3, ("wechat",)
    outcome = "stuck"

    def plan(self, fate, seed, gateway):
        made = add_try(fate, seed, gateway)
        part = max(made.amount // 20 * 10, 10)
        add_refund(fate, part, Back(self.outcome, delivery=delivery(fate.rng)))
        made.pots = money(made.amount, returning=part)
        fate.end = "shipped"

    def script(self, fate):
        yield Create((0,))
        yield Tell(0, "pay")
        yield from ship()
        yield Refund(0)


class RefundNever(RefundStuck):
    """The gateway never answers about a refund."""
    name, share, gateways = "refund_never", 2, ()
    outcome = "never"


class ConsoleRefund(Story):
    """Refunded in the gateway's console, in part or in full."""
    name, share = "console_refund", 20

    def plan(self, fate, seed, gateway):
        made = add_try(fate, seed, gateway)
        fate.console = made.amount if fate.variant % 3 == 0 \
            else max(made.amount // 20 * 10, 10)
        made.back = Back(delivery=delivery(fate.rng, may_lose=False))
        made.pots = money(made.amount, returned=fate.console)
        if fate.console == made.amount:
            fate.end = "refunded"

    def script(self, fate):
        yield Create((0,))
        yield Tell(0, "pay")
        yield from ship()
        yield Tell(0, "console_refund")


class RefundFirst(Story):
    """The console's refund is told before the payment itself."""
    name, share = "refund_first", 10

    def plan(self, fate, seed, gateway):
        made = add_try(fate, seed, gateway)
        fate.console = max(made.amount // 20 * 10, 10)
        made.back = Back(delivery=delivery(fate.rng, may_lose=False))
        made.pots = money(made.amount, returned=fate.console)

    def script(self, fate):
        yield Create((0,))
        yield Tell(0, "pay", hold=True)
        yield Tell(0, "console_refund")
        yield Acked(0, "console_refund")
        yield Tell(0, "release")
        yield from ship()


class Conflict(Story):
    """The payment is told again with another amount: a lie."""
    name, share = "conflict", 8

    def plan(self, fate, seed, gateway):
        made = add_try(fate, seed, gateway, may_lose=False)
        made.pots = money(made.amount)

    def script(self, fate):
        yield Create((0,))
        yield Tell(0, "pay")
        yield Acked(0, "pay")
        yield Tell(0, "lie")
        yield from ship()


class Stale(Story):
    """A failure or an end is told after the success."""
    name, share = "stale", 12

    def plan(self, fate, seed, gateway):
        made = add_try(fate, seed, gateway, may_lose=False)
        made.failures = 1
        made.pots = money(made.amount)

    def script(self, fate):
        yield Create((0,))
        yield Tell(0, "pay")
        yield Acked(0, "pay")
        yield Tell(0, "fail")
        yield from ship()


STORIES = {story.name: story() for story in (
    Early, Unpaid, Abandoned, Cancelled, CancelInDoubt, CancelPaid,
    CancelTooLate, LateReopened, LateReturned, PaidTwice, WrongAmount,
    Foreign, FailedFirst, Closed, PartRefunds, RefundRefused, RefundStuck,
    RefundNever, ConsoleRefund, RefundFirst, Conflict, Stale, Plain)}


def choose(dice):
    """The story at a point of [0, 1)."""
    point = dice * 1000
    for story in STORIES.values():
        point -= story.share
        if point < 0 and story.share:
            return story
    return STORIES["plain"]


def draw(seed, i):
    """The fate of order i: the same for the same seed, whoever asks."""
    rng = random.Random(f"{seed}:{i}")
    story = choose(rng.random())
    fate = Fate(i, f"shop{seed}_{i:06d}", story.name, rng.randrange(12), 0, "",
                rng=rng)
    gateway = draw_gateway(rng)
    if story.gateways and gateway not in story.gateways:
        gateway = story.gateways[fate.variant % len(story.gateways)]
    fate.currency = draw_currency(rng, gateway)
    fate.amount = draw_amount(rng, fate.currency)
    story.plan(fate, seed, gateway)
    return fate


def script(fate):
    """The steps that the shop plays for an order."""
    return STORIES[fate.story].script(fate)
