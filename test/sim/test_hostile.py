"""Every routine with NULL and with extreme values in each argument, by every
role and by PUBLIC: clean errors only, no crash, nothing internal (scenario
65).  What is called comes from the catalog, so what is added is tried, too;
an argument of a type without extremes (hostile_values.py) fails the test.

A clean error has a SQLSTATE of CLEAN, is short, says nothing of the server's
insides, and has a hint where it is payorder's own.  What calls that were taken leave must hold the invariants,
which are asked after every few of them.

Seeded: SEED=n; HOSTILE=n JSON documents for an argument; INVARIANTS=n asks
after every nth call.
"""

import os
import pathlib
import re
import unittest

import psycopg

from hostile_values import EXTREMES, mutations, ordinary

SEED = int(os.environ.get("SEED", "1"))
DOCUMENTS = int(os.environ.get("HOSTILE", "25"))
EVERY = int(os.environ.get("INVARIANTS", "7"))

CLEAN = re.compile("^(PO|22|42501|42704|42P01|42602|42703|42804|42809|55000|55P03|54001|0A000|2D000|39P01)")
# what is for who develops the server, not for who calls
INTERNAL = re.compile("cache lookup|could not (find|open|execute|prepare|append|insert|update|compute|read)|unrecognized|unexpected|"
                      "invalid memory alloc|index row|out of memory|assert|violates|SPI_|tuple|failed to", re.I)
LONGEST = 1200
OWN = {"pl_exec.c"} | {path.name for path in (pathlib.Path(__file__).parents[2] / "src").glob("*.c")}
ROLES = "app gateway ingest worker support admin monitor".split()

WORLD = """
SELECT payorder.create_roles();
CREATE ROLE payorder_hostile_nobody;
SELECT payorder.add_gateway('g', 'generic', 'shop-g'), payorder.add_gateway('h', 'generic', 'shop-h'), payorder.add_gateway('s', 'stripe', 'acct_1');
INSERT INTO payorder.gateways (gateway, adapter, merchant_id) VALUES ('w', 'wechatpay', 'shop-w');
SELECT payorder.define_task_kind('mail');
SELECT payorder.define_machine('ticket', '{"initial": "new", "states": {
    "new": {"on": {"close": {"target": "closed"}}}, "closed": {"type": "final"}}}');
SELECT payorder.define_machine('parcel', format('{"initial": "new", "states": {
    "new": {"on": {"pay": {"target": "done"}, "close": {"target": "dropped"}}, "after": {"%s": {"fire": "close"}}},
    "dropped": {"type": "final"}, "done": {"type": "final"}}}', patience)::json)
FROM unnest('{1d,2d}'::text[]) AS patience;
SELECT payorder.create_order('H-' || name, 100, 'CNY') FROM unnest('{open,paid,more,held,asked}'::text[]) AS name;
SELECT payorder.create_order('H-parcel', 100, 'CNY', 'parcel');
SELECT payorder.ingest(gateway, 't-' || name, 'pay', 'H-' || name, amount, 'CNY')
FROM (VALUES ('g', 'paid', 100), ('g', 'more', 120), ('h', 'held', 100), ('g', 'asked', 100)) AS p (gateway, name, amount);
SELECT payorder.ingest('g', 't-lost', 'pay', 'H-nowhere', 100, 'CNY');
UPDATE payorder.callbacks_waiting SET verdict = 'deferred', reason = 'error', tries = 3, next_at = 'infinity';
SELECT payorder.set_refund_limits('h', NULL, '{"share_per_hour": 0}');
SELECT payorder.request_refund('HFHELD001', 'H-held', 40), payorder.request_refund('HFASKED01', 'H-asked', 40);
CREATE TABLE public.hostile_things (name text, value text);
INSERT INTO public.hostile_things SELECT v.* FROM payorder.claim('{refund}') AS c,
    LATERAL (VALUES ('refund_task', c.task), ('refund_token', c.token)) AS v;
SELECT payorder.enqueue('mail', 'H-open', dedup_key => 'dies');
INSERT INTO public.hostile_things SELECT 'dead_task', c.task FROM payorder.claim('{mail}') AS c, payorder.fail(c.task, c.token, 'no', false);
SELECT payorder.enqueue('mail', 'H-open');
INSERT INTO public.hostile_things SELECT v.* FROM payorder.claim('{mail}') AS c,
    LATERAL (VALUES ('mail_task', c.task), ('mail_token', c.token)) AS v;
INSERT INTO public.hostile_things SELECT 'ready_task', payorder.enqueue('mail', 'H-open');
SELECT payorder.create_consumer('outbox', '-infinity');
INSERT INTO public.hostile_things SELECT 'position', position FROM payorder.next_events('outbox', 3) ORDER BY id DESC LIMIT 1;
CREATE TABLE public.hostile_tickets (id bigint PRIMARY KEY, state text, other xml, numbers integer[]);
CREATE VIEW public.hostile_view AS SELECT * FROM public.hostile_tickets;
CREATE TABLE public.hostile_odd ("a""b;--" integer, state json);
CREATE TABLE public.hostile_none ();
"""


class Routine:
    def __init__(self, name, kind, reads, strict, arguments):
        self.name, self.kind = name, kind
        self.reads, self.strict = reads, strict
        self.arguments = arguments      # (name, type), those that go in

    def call(self, values):
        """The statement; values: by argument's name, without is its default."""
        said = ", ".join(f'"{name}" => ({values[name]})::{sql_type}' for name, sql_type in self.arguments if name in values)
        return {"p": "CALL ", "f": "SELECT * FROM ", "t": "SELECT "}[self.kind] + f"payorder.{self.name}({said})"


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.db = cls.connect()
        for statement in WORLD.strip().split(";\n"):
            cls.db.execute(statement)
        cls.things = dict(cls.db.execute("SELECT name, value FROM hostile_things").fetchall())
        cls.routines = [cls.described(*row) for row in cls.db.execute("""
            SELECT p.proname, CASE WHEN p.prorettype = 'trigger'::regtype THEN 't' ELSE p.prokind END,
                   p.provolatile <> 'v', p.proisstrict,
                   (SELECT json_agg(json_build_array(coalesce(p.proargnames[i], ''), format_type(t, NULL)) ORDER BY i)
                    FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) WITH ORDINALITY AS a (t, i)
                    WHERE coalesce(p.proargmodes[i], 'i') IN ('i', 'b'))
            FROM pg_proc AS p WHERE p.pronamespace = 'payorder'::regnamespace ORDER BY p.proname""").fetchall()]

    @classmethod
    def tearDownClass(cls):
        cls.db.close()
        with cls.connect() as db:
            roles = ", ".join(f"payorder_{r}" for r in ROLES + ["hostile_nobody"])
            db.execute(f"DROP OWNED BY {roles}")
            db.execute(f"DROP ROLE {roles}")

    @staticmethod
    def connect():
        return psycopg.connect(autocommit=True, options="-c client_min_messages=error -c payorder.lock_wait=1s "
                                                        "-c statement_timeout=60s")

    @staticmethod
    def described(name, kind, reads, strict, arguments):
        return Routine(name, kind, reads, strict, [tuple(a) for a in arguments or ()])

    def setUp(self):
        self.wrong, self.called = [], 0

    def tearDown(self):
        if self.wrong:
            self.fail(f"{len(self.wrong)} of {self.called} calls ended badly:\n" + "\n".join(map(str, self.wrong)))

    # ---- what is called

    def usual(self, routine):
        return {name: ordinary(routine.name, name, sql_type) for name, sql_type in routine.arguments}

    def hostile(self, routine):
        """(what, values) of each call with one hostile argument."""
        usual = self.usual(routine)
        yield "as usual", usual
        for name, sql_type in routine.arguments:
            for value in ["NULL"] + EXTREMES[sql_type] + list(mutations(routine.name, name, SEED, DOCUMENTS)):
                yield f"{name} = {value[:80]}", {**usual, name: value}
        if routine.arguments:
            yield "all NULL", {name: "NULL" for name, _ in routine.arguments}

    def statements(self, routine, calls):
        for what, values in calls:
            sql = routine.call(values)
            for name, value in self.things.items():
                sql = sql.replace(f"@{name}@", value)
            yield what, sql

    # ---- how it ends

    def end(self, what, sql, reads=True, role=None):
        """Calls in a transaction that is undone; the SQLSTATE, None if taken."""
        self.called += 1
        if self.db.closed:
            type(self).db = self.connect()
        try:
            with self.db.transaction(force_rollback=True):
                if role:
                    self.db.execute(f"SET LOCAL ROLE {role}")
                self.db.execute(sql)
                if not reads and self.called % EVERY == 0:
                    self.taken(what)
        except psycopg.Error as error:
            return self.judged(what, error)
        return None

    def taken(self, what):
        self.db.execute("RESET ROLE")
        broken = self.db.execute("SELECT * FROM payorder.check_invariants()").fetchall()
        if broken:
            self.wrong.append((what, "breaks", broken[:3]))

    def judged(self, what, error):
        diagnostic, state = error.diag, error.sqlstate
        said = [diagnostic.message_primary, diagnostic.message_detail, diagnostic.message_hint]
        length = sum(len(s or "") for s in said)
        no_handler = state == "42883" and "(payorder.task_info)" in said[0]
        unclean = (state is None or not (CLEAN.match(state) or no_handler) or length > LONGEST
                   or INTERNAL.search(f"{said[0]} {said[1] or ''}")
                   or any("\ufffd" in (s or "") for s in said)    # cut within a character
                   or (not said[2] and os.path.basename(diagnostic.source_file or "") in OWN))
        if unclean:
            self.wrong.append((what, state, [(s or "")[:200] for s in said] if any(said) else str(error)[:200]))
        return state

    # ---- the tests

    def test_types_have_extremes(self):
        types = {sql_type for r in self.routines for _, sql_type in r.arguments}
        self.assertEqual(types - set(EXTREMES), set())

    def test_superuser(self):
        for routine in self.routines:
            if routine.kind == "f" and routine.name != "start_worker":
                for what, sql in self.statements(routine, self.hostile(routine)):
                    self.end(f"{routine.name}: {what}", sql, routine.reads)

    def test_triggers_called_by_hand(self):
        for routine in self.routines:
            if routine.kind == "t":
                self.assertIsNotNone(self.end(routine.name, f"SELECT payorder.{routine.name}()"))

    def test_roles(self):
        """NULL in each argument, one extreme of each, and all as usual."""
        for role in ROLES:
            may = {r for r, in self.db.execute(
                "SELECT proname FROM pg_proc WHERE pronamespace = 'payorder'::regnamespace "
                "AND has_function_privilege(%s, oid, 'EXECUTE')", (f"payorder_{role}",)).fetchall()}
            for number, routine in enumerate(self.routines):
                if routine.name == "start_worker" and "start_worker" in may:
                    continue
                self.as_role(role, routine, number, routine.name in may)

    def as_role(self, role, routine, number, may):
        calls = [("as usual", self.usual(routine))]
        for name, sql_type in routine.arguments:
            extreme = EXTREMES[sql_type][(number + len(role)) % len(EXTREMES[sql_type])]
            calls += [(f"{name} = {v[:80]}", {**self.usual(routine), name: v}) for v in ("NULL", extreme)]
        for what, sql in self.statements(routine, calls):
            # in a transaction a procedure that commits is refused, which is clean
            state = self.end(f"{role} {routine.name}: {what}", sql, role=f"payorder_{role}")
            # of an argument that is none, or a NULL that needs no call, nothing is called
            if not may and state != "42501" and not (state or "").startswith("22") and not (
                    routine.strict and what.endswith("= NULL")):
                self.wrong.append((role, routine.name, what, state))

    def test_public(self):
        for routine in self.routines:
            sql = list(self.statements(routine, [("as usual", self.usual(routine))]))[0][1]
            self.assertEqual(self.end(f"nobody {routine.name}", sql, role="payorder_hostile_nobody"), "42501")

    def test_procedures(self):
        """Which commit, so they come to a world of their own, and last."""
        for routine in self.routines:
            if routine.kind != "p":
                continue
            for what, sql in self.statements(routine, self.hostile(routine)):
                self.called += 1
                try:
                    self.db.execute(sql)
                except psycopg.Error as error:
                    self.judged(f"{routine.name}: {what}", error)
        self.taken("procedures")


if __name__ == "__main__":
    unittest.main()
