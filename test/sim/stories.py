"""The kinds of fate that an order can have.

A story has a plan, which draws what the gateways will do and says where the
money must end, and a script, which the shop plays.  Both follow from the seed
alone.  What a gateway does by itself (lose, repeat, delay, time out) is in
the plan; what must come after something else is in the script.

shares are out of 1000; the plain story takes what is left.
"""

import random

from fate import (Back, Dispute, Fate, RefundPlan, Try, add_try, after_failure,
                  delivery, draw_amount, draw_back, draw_currency,
                  draw_gateway, money, transaction_id)
from steps import (Acked, Begin, Break, Create, Fire, Refund, RefundAt,
                   RefundEnds, Reprice, Ship, State, Tell)

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
        # if it was refused, somebody asks once more
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
        made.pots = money(made.amount, returned=made.amount)
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
    """Wrong amount or currency: somebody keeps what is too much and returns
    the rest; every other time the right one follows."""
    name, share = "wrong_amount", 20
    gateways = ("wechat", "stripe")

    def plan(self, fate, seed, gateway):
        kind = fate.variant % 3
        amount = (max(fate.amount - 50, 10), fate.amount + 990,
                  fate.amount)[kind]
        wrong = add_try(fate, seed, gateway, amount=amount,
                        currency="GBP" if kind == 2 else None)
        wrong.pots = money(wrong.amount, returned=wrong.amount)
        if kind == 1:
            wrong.pots = money(wrong.amount)
        elif self.put_right(fate):
            right = add_try(fate, seed, gateway)
            right.pots = money(right.amount)
        else:
            fate.pay_within, fate.end = "12 seconds", "expired"

    def put_right(self, fate):
        return fate.variant % 3 != 1 and fate.variant % 2 == 1

    def script(self, fate):
        yield Create((0,))
        yield Tell(0, "pay")
        if self.put_right(fate):
            yield Begin(1)
            yield Tell(1, "pay")
        if fate.end == "completed":
            yield from ship()


class Foreign(Story):
    """A payment names nobody's order: it goes back.  Or it is the order's,
    misspelt: somebody gives it to the order."""
    name, share = "foreign", 8

    def plan(self, fate, seed, gateway):
        misspelt = self.misspelt(fate)
        if not misspelt:
            super().plan(fate, seed, gateway)
        amount = fate.amount if misspelt else \
            draw_amount(fate.rng, fate.currency)
        fate.foreign = Try(9, gateway,
                           transaction_id(gateway, seed, fate.i, 9),
                           amount, fate.currency,
                           delivery(fate.rng, may_lose=False),
                           delivery(fate.rng), back=draw_back(fate.rng))
        fate.foreign.pots = money(amount) if misspelt \
            else money(amount, returned=amount)

    def misspelt(self, fate):
        return fate.variant % 3 == 0

    def script(self, fate):
        yield Create(() if self.misspelt(fate) else (0,))
        yield Tell(9, "foreign")
        if not self.misspelt(fate):
            yield Tell(0, "pay")
        yield from ship()


class FailedFirst(Story):
    """The first try fails; another one, or the same at Stripe, succeeds."""
    name, share = "failed_first", 40
    gateways = ("alipay", "stripe", "till")     # WeChat Pay tells no failure

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


def add_refund(fate, amount, back, refused=False, **more):
    number = "RF%06d_%d" % (fate.i, len(fate.refunds))
    fate.refunds.append(RefundPlan(number, amount, back, refused, **more))


class PartRefund(Story):
    """One refund of a part after shipping; its gateway's ways vary."""

    def back(self, fate):
        return draw_back(fate.rng)

    def plan(self, fate, seed, gateway):
        made = add_try(fate, seed, gateway)
        part = max(made.amount // 20 * 10, 10)
        add_refund(fate, part, self.back(fate))
        self.outcome(fate, made, part)

    def outcome(self, fate, made, part):
        made.pots = money(made.amount, returned=part)

    def script(self, fate):
        yield Create((0,))
        yield Tell(0, "pay")
        yield from ship()
        yield Refund(0)


class RefundRefused(PartRefund):
    """The gateway refuses a refund for good: people ask again or keep it."""
    name, share = "refund_refused", 10

    def back(self, fate):
        return Back("refused", delivery=delivery(fate.rng))

    def outcome(self, fate, made, part):
        made.pots = after_failure(made, part)


class RefundStuck(PartRefund):
    """WeChat's ABNORMAL: neither done nor failed, until people see to it."""
    name, share, gateways = "refund_stuck", 3, ("wechat",)

    def back(self, fate):
        return Back("stuck", cured=("done", "refused")[fate.variant % 2],
                    delivery=delivery(fate.rng))

    def outcome(self, fate, made, part):
        made.pots = money(made.amount, returned=part) \
            if fate.refunds[0].back.cured == "done" \
            else after_failure(made, part)


class RefundNever(RefundRefused):
    """The gateway never answers about a refund; it was not made."""
    name, share = "refund_never", 2

    def back(self, fate):
        return Back("never", delivery=delivery(fate.rng))


class RefundBack(RefundRefused):
    """A refund comes back days after its success."""
    name, share, gateways = "refund_back", 5, ("stripe",)

    def back(self, fate):
        return draw_back(fate.rng)

    def script(self, fate):
        yield from super().script(fate)
        yield RefundEnds(0, "succeeded")
        yield Tell(0, "unrefund")

    def plan(self, fate, seed, gateway):
        super().plan(fate, seed, gateway)
        fate.tries[0].end = delivery(fate.rng, may_lose=False)


class Forgotten(PartRefund):
    """No answer until the gateway has forgotten the refund's number: sent
    again then, it would be paid twice."""
    name, share, gateways = "forgotten", 5, ("stripe",)

    def back(self, fate):
        return Back(silent_for=13, done_in_silence=fate.variant % 2 == 0,
                    delivery=delivery(fate.rng))


class Sale(PartRefund):
    """Many of one sale come back at once: beyond the hour's share their
    refunds are held, and people let them go."""
    name, share = "sale", 16

    def plan(self, fate, seed, gateway):
        super().plan(fate, seed, gateway)
        fate.machine = "sale"


class Suspect(PartRefund):
    """Refunds that are always held; people cancel the suspect ones."""
    name, share = "suspect", 6

    def outcome(self, fate, made, part):
        fate.machine = "watched"
        if fate.variant % 2:
            fate.refunds[0].suspect = True
            made.pots = money(made.amount)
        else:
            super().outcome(fate, made, part)


class ConsoleBeside(PartRefund):
    """Refunded in the console while a refund of ours waits for its answer;
    Alipay tells the total of both."""
    name, share = "console_beside", 10

    def back(self, fate):
        late = delivery(fate.rng)
        late.delay += 2
        return Back(silences=3, done_in_silence=True, delivery=late)

    def plan(self, fate, seed, gateway):
        super().plan(fate, seed, gateway)
        made = fate.tries[0]
        fate.console = max(made.amount // 40 * 10, 10)
        made.back = Back(delivery=delivery(fate.rng, may_lose=False))
        made.pots = money(made.amount, returned=fate.refunds[0].amount +
                          fate.console)

    def script(self, fate):
        yield from super().script(fate)
        yield RefundAt(0, ("done",))
        yield Tell(0, "console_refund")


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


class Disputed(Story):
    """The buyer's bank takes the money back: lost, won, won and lost again,
    told before the payment, for more than was paid, beside a refund."""
    name, share, gateways = "disputed", 30, ("stripe",)
    LOST, WON, AGAIN, EARLY, REFUND, MORE, MORE_WON = range(7)

    def kind(self, fate):
        return (self.LOST, self.LOST, self.WON, self.WON, self.WON,
                self.AGAIN, self.AGAIN, self.EARLY, self.EARLY, self.REFUND,
                self.MORE, self.MORE_WON)[fate.variant]

    def plan(self, fate, seed, gateway):
        kind, rng = self.kind(fate), fate.rng
        made = add_try(fate, seed, gateway, may_lose=False)
        amount = made.amount
        more = 50 if kind in (self.MORE, self.MORE_WON) else 0
        for _ in range(2 if kind == self.AGAIN else 1):
            fate.disputes.append(Dispute(
                0, amount + more, delivery(rng, may_lose=False),
                delivery(rng, may_lose=False)))
        part = max(amount // 20 * 10, 10)
        back = Back("slow", takes=4, delivery=delivery(rng, may_lose=False))
        if kind == self.REFUND:
            add_refund(fate, part, back)
        won = kind in (self.WON, self.EARLY, self.MORE_WON)
        if not won:
            fate.machine, fate.end = "patient", "shipped"
        made.pots = money(amount) if won else money(
            amount, disputed=amount + more, overdrawn=more)
        if kind == self.REFUND:
            made.pots = money(amount, disputed=amount, returned=part,
                              overdrawn=part)

    def script(self, fate):
        kind = self.kind(fate)
        yield Create((0,))
        if kind == self.EARLY:
            yield Tell(0, "pay", hold=True)
            yield Tell(0, "withdraw")
            yield Acked(0, "withdraw")
            yield Tell(0, "release")
            yield State(("to_ship",))
            yield Tell(0, "reinstate")
            yield Ship()
            return
        yield Tell(0, "pay")
        yield from ship()
        if kind == self.REFUND:
            yield Refund(0)
            yield RefundAt(0, ("pending", "done"))
        yield Tell(0, "withdraw")
        yield Tell(0, "reinstate" if fate.end == "completed" or
                   kind == self.AGAIN else "lose")
        if kind == self.AGAIN:
            yield Tell(0, "withdraw2")
            yield Tell(0, "lose2")


class Reversed(Story):
    """The gateway undoes a payment: some buyers pay again, some don't; told
    before the payment, or beside a refund."""
    name, share, gateways = "reversed", 16, ("till",)
    AGAIN, GONE, EARLY, REFUND = range(4)

    def kind(self, fate):
        return (self.AGAIN, self.GONE, self.EARLY, self.AGAIN, self.GONE,
                self.EARLY, self.AGAIN, self.GONE, self.AGAIN, self.REFUND,
                self.EARLY, self.AGAIN)[fate.variant]

    def plan(self, fate, seed, gateway):
        kind, rng = self.kind(fate), fate.rng
        made = add_try(fate, seed, gateway, may_lose=False)
        made.end = delivery(rng, may_lose=False)
        part = max(made.amount // 20 * 10, 10)
        back = Back("slow", takes=4, delivery=delivery(rng))
        made.pots = money(made.amount, undone=made.amount)
        if kind in (self.AGAIN, self.EARLY):
            second = add_try(fate, seed, rng.choice(("wechat", "alipay")),
                             may_lose=False)
            second.pots = money(second.amount)
        elif kind == self.GONE:
            fate.machine, fate.end = "patient", "shipped"
        else:
            add_refund(fate, part, back)
            made.pots = money(made.amount, undone=made.amount - part,
                              returned=part)
            fate.end = "refunded"

    def script(self, fate):
        kind = self.kind(fate)
        yield Create((0,))
        if kind == self.EARLY:
            yield Tell(0, "pay", hold=True)
            yield Tell(0, "revoke")
            yield Acked(0, "revoke")
            yield Tell(0, "release")
            yield Acked(0, "pay")
        else:
            yield Tell(0, "pay")
            yield Acked(0, "pay")
        if kind in (self.GONE, self.REFUND):
            yield from ship()
        if kind == self.REFUND:
            yield Refund(0)
            yield RefundAt(0, ("pending", "done"))
        if kind != self.EARLY:
            yield Tell(0, "revoke")
            yield Acked(0, "revoke")
        if len(fate.tries) > 1:
            yield Begin(1)
            yield Tell(1, "pay")
            yield Acked(1, "pay")
            yield from ship()


class Repriced(Story):
    """Another price before payment, or a lower one in the cooling-off.

    Who pays by the old number has paid the old price: people keep what is
    too much and return what is too little.
    """
    name, share = "repriced", 20
    gateways = ("wechat", "alipay")
    BEGINS, OLD_HIGHER, OLD_LOWER, COOLING, CANCELS = range(5)

    def kind(self, fate):
        return (self.BEGINS, self.OLD_HIGHER, self.OLD_LOWER, self.COOLING,
                self.CANCELS, self.BEGINS)[fate.variant % 6]

    def plan(self, fate, seed, gateway):
        kind = self.kind(fate)
        first = add_try(fate, seed, gateway, may_lose=False)
        lower = max(fate.amount // 20 * 10, 10)
        fate.price = fate.amount + 500 if kind == self.OLD_LOWER else lower
        first.pots = money(first.amount)
        if kind == self.BEGINS:
            first.pots = {}
        if kind == self.OLD_LOWER:
            first.pots = money(first.amount, returned=first.amount)
        if kind in (self.BEGINS, self.OLD_LOWER):
            second = add_try(fate, seed, gateway, amount=fate.price)
            second.pots = money(second.amount)
        if kind in (self.COOLING, self.CANCELS):
            fate.cooling_off, fate.end = LONG, "paid"
            first.pots = money(first.amount,
                               returned=first.amount - fate.price)
        if kind == self.CANCELS:
            fate.end = "refunded"
            first.pots = money(first.amount, returned=first.amount)

    def script(self, fate):
        kind = self.kind(fate)
        yield Create((0,))
        if kind in (self.COOLING, self.CANCELS):
            yield Tell(0, "pay")
            yield State(("paid",))
            yield Reprice()
            if kind == self.CANCELS:
                yield Fire("cancel")
            return
        if kind != self.BEGINS:
            yield Tell(0, "pay", hold=True)
        yield Reprice()
        if kind != self.BEGINS:
            yield Tell(0, "release")
        if kind == self.OLD_LOWER:
            yield Acked(0, "pay")
        if kind != self.OLD_HIGHER:
            yield Begin(1)
            yield Tell(1, "pay")
        yield from ship()


class Parts(Story):
    """Authorised, then captured in parts: in any order, with a part too
    much, refunded over several payments, a capture that fails later."""
    name, share, gateways = "parts", 16, ("adyen",)
    PLAIN, TOO_MUCH, REFUND, FAILS = range(4)

    def kind(self, fate):
        return fate.variant % 4

    def plan(self, fate, seed, gateway):
        kind = self.kind(fate)
        fate.machine = "parts"
        third = max(fate.amount // 3, 1)
        amounts = [third, third, fate.amount - 2 * third]
        if kind == self.TOO_MUCH:
            amounts = [third, fate.amount]      # all that is left, and more
        if kind == self.FAILS:
            amounts.append(amounts[-1])
        for amount in amounts:
            made = add_try(fate, seed, gateway, amount=amount, may_lose=False)
            made.end = delivery(fate.rng, may_lose=False)
            made.back = Back(delivery=delivery(fate.rng, may_lose=False))
            made.again = Back(delivery=delivery(fate.rng, may_lose=False))
            made.pots = money(amount)
        if kind == self.FAILS:
            fate.tries[2].pots = money(amounts[2], undone=amounts[2])
        if kind == self.REFUND:
            # all of the newest, and of the one before it a part
            part = third // 2
            add_refund(fate, amounts[2] + part, made.back, over=True)
            fate.tries[2].pots = money(amounts[2], returned=amounts[2])
            fate.tries[1].pots = money(third, returned=part)

    def script(self, fate):
        kind = self.kind(fate)
        yield Create((0,))
        yield Tell(0, "authorise")
        if kind != self.PLAIN:
            yield Acked(0, "authorise")
        for k in range(2 if kind == self.TOO_MUCH else 3):
            yield Tell(k, "pay", of=0)
            if kind != self.PLAIN:
                yield Acked(k, "pay")
        if kind == self.FAILS:
            yield Tell(2, "revoke", of=0)
            yield Acked(2, "revoke")
            yield Begin(3)
            yield Tell(3, "pay")
            yield Acked(3, "pay")
        yield from ship()
        if kind == self.REFUND:
            yield Refund(0)


class Broken(Story):
    """A trigger of the shop's own raises until somebody has repaired it: for
    a callback, or for the timer of an order that nobody pays."""
    name, share = "broken", 4

    def plan(self, fate, seed, gateway):
        super().plan(fate, seed, gateway)
        if fate.variant % 2:
            fate.tries[0].pots = {}
            fate.pay_within, fate.end = SHORT, "expired"

    def script(self, fate):
        yield Create((0,))
        yield Break()
        if fate.end == "completed":
            yield Tell(0, "pay")
            yield from ship()


class Ghost(Story):
    """Beside it comes a dispute of a payment that somebody else took."""
    name, share, gateways = "ghost", 3, ("stripe",)

    def plan(self, fate, seed, gateway):
        super().plan(fate, seed, gateway)
        fate.tries[0].end = delivery(fate.rng, may_lose=False)

    def script(self, fate):
        yield Create((0,))
        yield Tell(0, "ghost")
        yield Tell(0, "pay")
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
    RefundNever, RefundBack, Forgotten, Sale, Suspect, ConsoleBeside,
    ConsoleRefund, RefundFirst, Disputed, Reversed, Repriced, Parts, Broken,
    Ghost, Conflict, Stale, Plain)}


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
