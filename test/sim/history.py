"""What a newcomer should see: the machine, and one order's life."""

INTERESTING = ("reversed", "disputed", "cancel_in_doubt", "late_reopened",
               "paid_twice", "failed_first", "part_refunds")

DIAGRAM = "SELECT payorder.machine_diagram('order', 'mermaid')"
EVENTS = """
SELECT at, event, from_state, to_state, actor, reason,
       coalesce(payload ->> 'verdict', ''), payload ->> 'detail'
FROM payorder.events WHERE order_no = %s ORDER BY seq
"""
LONGEST = """
SELECT order_no FROM payorder.events WHERE order_no = ANY (%s)
GROUP BY order_no ORDER BY count(*) DESC, order_no LIMIT 1
"""


def choose(link, fates):
    """The order with the longest history of an interesting kind."""
    for story in INTERESTING:
        names = [fate.order_no for fate in fates if fate.story == story][:200]
        rows = link.insist(LONGEST, (names,))
        if rows:
            return story, rows[0][0]
    return "plain", fates[0].order_no


def show(link, fates):
    yield "The machine, as payorder.machine_diagram('order', 'mermaid') draws it:"
    (diagram,), = link.insist(DIAGRAM)
    yield from ("    " + line for line in diagram.splitlines())
    story, order_no = choose(link, fates)
    yield ""
    yield f"The life of order {order_no} ({story.replace('_', ' ')}):"
    begin = None
    for at, event, before, after, actor, reason, verdict, detail in \
            link.insist(EVENTS, (order_no,)):
        begin = begin or at
        move = f"{before or ''} -> {after}" if before != after else after
        more = " ".join(filter(None, (verdict, detail, reason)))
        yield (f"    {(at - begin).total_seconds():7.2f} s  {event:16} "
               f"{move or '':26} {actor:10} {more}")
    yield ""
