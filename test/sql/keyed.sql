/*
 * Statements by key, which are done without the executor (src/keyed.c): what a
 * user has put on the kernel's tables still has its effect, and what was kept
 * of a table goes with what it was.  All other tests run both ways, too.
 */
\set VERBOSITY terse
SET client_min_messages = warning;
DROP EXTENSION payorder CASCADE;
CREATE EXTENSION payorder;
SELECT payorder.add_gateway('keyed', 'generic', 'keyed-shop');

/* Creates an order, begins a payment and takes it; what became of it. */
CREATE FUNCTION pay(number text, payload json DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    payment_no text;
    answer payorder.ingest_result;
BEGIN
    PERFORM payorder.create_order(number, 100, 'CNY');
    SELECT a.payment_no INTO payment_no FROM payorder.begin_payment(number, 'keyed') AS a;
    answer := payorder.ingest('keyed', 'txn-' || number, 'pay', payment_no, 100, 'CNY', payload => payload);
    RETURN concat_ws(' ', answer.verdict, answer.detail, answer.state,
                     (payorder.ingest('keyed', 'txn-' || number, 'pay', payment_no, 100, 'CNY')).verdict,
                     (SELECT c.error FROM payorder.callbacks AS c WHERE c.txn_id = 'txn-' || number));
END
$$;
/* From the second time on nothing is new to the session. */
SELECT pay('K-' || n) FROM generate_series(1, 4) AS n;

-- a user's triggers fire: AFTER and BEFORE, for rows and statements
CREATE TABLE seen (n serial, what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.seen (what) VALUES (concat_ws(' ', TG_WHEN, TG_OP, TG_LEVEL, TG_TABLE_NAME));
    RETURN NEW;
END
$$;
CREATE TRIGGER note AFTER INSERT ON payorder.payments FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER note AFTER UPDATE ON payorder.orders FOR EACH STATEMENT EXECUTE FUNCTION note();
CREATE TRIGGER note BEFORE UPDATE ON payorder.attempts FOR EACH ROW EXECUTE FUNCTION note();
SELECT pay('K-5');
SELECT what FROM seen ORDER BY n;
DROP TRIGGER note ON payorder.payments;
DROP TRIGGER note ON payorder.orders;
DROP TRIGGER note ON payorder.attempts;
TRUNCATE seen;
SELECT pay('K-6');
SELECT count(*) FROM seen;

-- what a user's BEFORE trigger does to a row is in it, and what it may not do is refused
CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.attributes := NEW.attributes || '{"marked": true}';
    IF NEW.order_no = 'K-8' THEN NEW.paid_amount := 7; END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER mark BEFORE UPDATE ON payorder.orders FOR EACH ROW EXECUTE FUNCTION mark();
SELECT pay('K-7'), pay('K-8');
SELECT order_no, state, paid_amount, attributes FROM payorder.orders WHERE order_no IN ('K-7', 'K-8') ORDER BY 1;
DROP TRIGGER mark ON payorder.orders;
SELECT payorder.retry_order('K-8', 'anna', 'trigger gone') > 0;
SELECT failed FROM payorder.sweep();
SELECT state, paid_amount FROM payorder.orders WHERE order_no = 'K-8';

-- a CHECK, with a function of the user's and without
CREATE FUNCTION is_lucky(amount bigint) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT amount <> 100';
ALTER TABLE payorder.payments ADD CONSTRAINT lucky CHECK (public.is_lucky(amount)) NOT VALID;
SELECT pay('K-9');
ALTER TABLE payorder.payments DROP CONSTRAINT lucky;
ALTER TABLE payorder.payments ADD CONSTRAINT other CHECK (txn_id <> 'txn-K-10');
SELECT pay('K-10');
SELECT pay('K-11');
ALTER TABLE payorder.payments DROP CONSTRAINT other;

-- indexes of the user's: unique, partial, by an expression
CREATE UNIQUE INDEX one_amount ON payorder.payments (amount) WHERE txn_id IN ('txn-K-12', 'txn-K-13');
CREATE INDEX by_length ON payorder.payments ((length(txn_id)));
SELECT pay('K-12'), pay('K-13');
SET enable_seqscan = off;
SELECT count(*) FROM payorder.payments WHERE length(txn_id) = 8;
RESET enable_seqscan;
DROP INDEX payorder.one_amount, payorder.by_length;

-- columns of the user's: with a default, generated
ALTER TABLE payorder.orders ADD COLUMN channel text DEFAULT 'web', ADD COLUMN twice bigint GENERATED ALWAYS AS (paid_amount * 2) STORED;
SELECT pay('K-14');
SELECT order_no, paid_amount, channel, twice FROM payorder.orders WHERE order_no IN ('K-1', 'K-14') ORDER BY 1;
ALTER TABLE payorder.orders DROP COLUMN twice;
SELECT pay('K-15');
SELECT order_no, channel FROM payorder.orders WHERE order_no IN ('K-1', 'K-15') ORDER BY 1;
ALTER TABLE payorder.orders DROP COLUMN channel;
SELECT pay('K-16');

-- others may refer to orders
CREATE TABLE parcels (order_no text COLLATE "C" REFERENCES payorder.orders);
SELECT pay('K-17');
INSERT INTO parcels VALUES ('K-17');
INSERT INTO parcels VALUES ('K-0');
SELECT state FROM payorder.fire('K-17', 'cancel');
DROP TABLE parcels;

-- a table that others are told of by its keys only
ALTER TABLE payorder.attempts REPLICA IDENTITY NOTHING;
SET client_min_messages = error;
CREATE PUBLICATION told FOR TABLE payorder.attempts;
SET client_min_messages = warning;
SELECT pay('K-18');
DROP PUBLICATION told;
ALTER TABLE payorder.attempts REPLICA IDENTITY DEFAULT;
SELECT pay('K-19');

-- what a page cannot hold
SELECT pay('K-20', json_build_object('text', (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 2000) AS n)));
SELECT length(body::text), body_sha256 = sha256(convert_to(body::text, 'UTF8')) FROM payorder.callbacks WHERE txn_id = 'txn-K-20';

-- many rows of arguments for one statement: neighbours, far apart, backwards, twice, unknown
SELECT payorder.define_task_kind('bulk');
SELECT cardinality(payorder.enqueue_batch('bulk', (SELECT array_agg(to_json(n)) FROM generate_series(1, 300) AS n)));
CREATE TABLE held (n serial, task bigint, token bigint, payload json);
INSERT INTO held (task, token, payload) SELECT task, token, payload FROM payorder.claim(ARRAY['bulk'], 10);
INSERT INTO held (task, token, payload) SELECT task, token, payload FROM payorder.claim(ARRAY['bulk'], 1000);
SELECT count(*), count(DISTINCT token), bool_and(payload::text = n::text) FROM held;
SELECT payorder.complete_batch(array_agg(task ORDER BY n DESC), array_agg(token ORDER BY n DESC)) FROM held WHERE n % 100 = 1;
SELECT cardinality(lost), ARRAY(SELECT n FROM held WHERE task = ANY (lost) ORDER BY n)
FROM (SELECT payorder.complete_batch(array_agg(task) || array_agg(task) || 9223372036854775807 || -9223372036854775808,
                                     array_agg(token) || array_agg(token) || 1::bigint || 1::bigint) AS lost FROM held) AS c;
SELECT outcome, count(*) FROM payorder.task_finished WHERE task_id IN (SELECT task FROM held) GROUP BY 1;
SELECT cardinality(payorder.enqueue_batch('bulk', (SELECT array_agg(json_build_object('text', (SELECT string_agg(md5((n * m)::text), '') FROM generate_series(1, 500) AS m)))
                                                   FROM generate_series(1, 20) AS n)));
SELECT count(*), sum(length(payload ->> 'text')) FROM payorder.claim(ARRAY['bulk'], 1000);
-- a row that this transaction has locked itself; what is taken back by a savepoint; claims of one statement
SELECT cardinality(payorder.enqueue_batch('bulk', '{1,2,3,4,5}'));
BEGIN;
SELECT count(*) FROM (SELECT FROM payorder.task_ready WHERE kind = 'bulk' FOR UPDATE) AS r;
SAVEPOINT one;
SELECT array_agg(payload::text ORDER BY task) FROM payorder.claim(ARRAY['bulk'], 10);
ROLLBACK TO one;
SELECT array_agg(payload::text ORDER BY task) FROM payorder.claim(ARRAY['bulk'], 10);
ROLLBACK;
SELECT array_agg(payload::text ORDER BY task) FROM generate_series(1, 3) AS n, LATERAL payorder.claim(ARRAY['bulk'], 1 + n - n);
-- a user's triggers see each row; one that keeps a row makes the claim fail
CREATE TRIGGER note AFTER DELETE ON payorder.task_ready FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER note AFTER INSERT ON payorder.task_leases FOR EACH ROW EXECUTE FUNCTION note();
TRUNCATE seen;
SELECT count(*) FROM payorder.claim(ARRAY['bulk'], 10);
SELECT what, count(*) FROM seen GROUP BY 1 ORDER BY 1;
DROP TRIGGER note ON payorder.task_ready;
DROP TRIGGER note ON payorder.task_leases;
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER keep BEFORE DELETE ON payorder.task_ready FOR EACH ROW EXECUTE FUNCTION keep();
SELECT cardinality(payorder.enqueue_batch('bulk', '{6}'));
SELECT count(*) FROM payorder.claim(ARRAY['bulk'], 10);
DROP TRIGGER keep ON payorder.task_ready;
SELECT count(*) FROM payorder.claim(ARRAY['bulk'], 10);
-- where a row was, another is now; or the table ends before
SELECT payorder.add_gateway('paused', 'generic', 'keyed-paused');
UPDATE payorder.gateways SET paused = gateway = 'paused' WHERE gateway IN ('keyed', 'paused');
VACUUM FULL payorder.gateways;
SELECT pay('K-30'), pay('K-31');
UPDATE payorder.gateways SET paused = false WHERE gateway = 'keyed';
VACUUM FULL payorder.gateways;
SELECT pay('K-32'), pay('K-33');
DO $$
BEGIN
    FOR n IN 1 .. 500 LOOP
        UPDATE payorder.gateways SET auto_return_per_hour = n WHERE gateway = 'keyed';
    END LOOP;
END
$$;
SELECT pay('K-34'), pay('K-35');
VACUUM FULL payorder.gateways;
SELECT pay('K-36'), pay('K-37');

-- rolled back, and again; within a cursor's and a savepoint's life
BEGIN;
DECLARE orders CURSOR FOR SELECT order_no FROM payorder.orders ORDER BY order_no;
FETCH orders;
SAVEPOINT one;
SELECT pay('K-21');
ROLLBACK TO one;
SELECT pay('K-21');
FETCH orders;
ROLLBACK;
SELECT pay('K-21');

-- rights and row security of whom the functions run as
CREATE ROLE keyed_owner;
GRANT ALL ON SCHEMA payorder, public TO keyed_owner;
GRANT ALL ON ALL TABLES IN SCHEMA payorder TO keyed_owner;
GRANT ALL ON ALL SEQUENCES IN SCHEMA payorder TO keyed_owner;
ALTER FUNCTION payorder.ingest OWNER TO keyed_owner;
SELECT pay('K-22');
REVOKE UPDATE ON payorder.attempts FROM keyed_owner;
SELECT pay('K-23');
GRANT UPDATE (state) ON payorder.attempts TO keyed_owner;
SELECT pay('K-24');
GRANT UPDATE ON payorder.attempts TO keyed_owner;
SELECT pay('K-25');
ALTER TABLE payorder.attempts ENABLE ROW LEVEL SECURITY;
CREATE POLICY most ON payorder.attempts TO keyed_owner USING (order_no <> 'K-26');
SELECT pay('K-26'), pay('K-27');
DROP POLICY most ON payorder.attempts;
ALTER TABLE payorder.attempts DISABLE ROW LEVEL SECURITY;
SELECT pay('K-28');
-- another one, of whom nothing tells that he has less
CREATE ROLE keyed_other;
GRANT ALL ON SCHEMA payorder, public TO keyed_other;
GRANT ALL ON ALL TABLES IN SCHEMA payorder TO keyed_other;
GRANT ALL ON ALL SEQUENCES IN SCHEMA payorder TO keyed_other;
REVOKE UPDATE ON payorder.attempts FROM keyed_other;
SELECT pay('K-28' || n) FROM generate_series(1, 3) AS n;
ALTER FUNCTION payorder.ingest OWNER TO keyed_other;
SELECT pay('K-29');
ALTER FUNCTION payorder.ingest OWNER TO CURRENT_USER;
DROP OWNED BY keyed_owner, keyed_other;
DROP ROLE keyed_owner, keyed_other;
SELECT payorder.sweep(at => now() + interval '1 minute') IS NOT NULL;
SELECT order_no, state, paid_amount FROM payorder.orders WHERE order_no BETWEEN 'K-22' AND 'K-29' ORDER BY 1;

SELECT * FROM payorder.check_invariants();
SELECT order_no FROM payorder.orders AS o WHERE NOT (SELECT ok FROM payorder.verify_events(o.order_no));

-- another extension in its place
DROP EXTENSION payorder CASCADE;
CREATE EXTENSION payorder;
SELECT payorder.add_gateway('keyed', 'generic', 'keyed-shop');
SELECT count(payorder.create_order('K-' || n, 100, 'CNY')) FROM generate_series(1, 3) AS n;
SELECT (payorder.ingest('keyed', 'txn-' || n, 'pay', 'K-' || n, 100, 'CNY')).verdict FROM generate_series(1, 3) AS n;
SELECT order_no, state FROM payorder.orders ORDER BY 1;
SELECT * FROM payorder.check_invariants();

DROP FUNCTION pay, note, mark, is_lucky;
DROP TABLE seen;
DROP EXTENSION payorder CASCADE;
CREATE EXTENSION payorder;
