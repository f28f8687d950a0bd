--
-- Room event: consumers of the log, its epochs, and its digest.  What is
-- written here is committed, since nothing else is given to a consumer; the
-- end of the file takes it away again.
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools

-- What a consumer is given, an event each; positions only grow.
CREATE FUNCTION pg_temp.given(consumer text, max_events integer DEFAULT 1000) RETURNS text
    LANGUAGE sql AS $$
SELECT coalesce(string_agg(coalesce(order_no, '-') || '/' || coalesce(seq, 0), ' ' ORDER BY n)
                || CASE WHEN bool_and(position > before) IS FALSE THEN ' out of order' ELSE '' END, 'nothing')
FROM (SELECT *, lag(position) OVER (ORDER BY n) AS before
      FROM payorder.next_events(consumer, max_events) WITH ORDINALITY AS e
          (position, id, order_no, seq, event, from_state, to_state, actor, source, reason, payload, request_id,
           trace, gateway, txn_id, at, hash, n)) AS e
$$;
-- The position of the nth event of those.
CREATE FUNCTION pg_temp.place(consumer text, nth integer) RETURNS text
    LANGUAGE sql AS $$
SELECT position FROM payorder.next_events(consumer) LIMIT 1 OFFSET nth - 1
$$;
-- Takes them: the same, and acknowledged.
CREATE FUNCTION pg_temp.taken(consumer text, max_events integer DEFAULT 1000) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    what text := pg_temp.given(consumer, max_events);
BEGIN
    PERFORM payorder.ack_events(consumer, (SELECT max(position) FROM payorder.next_events(consumer, max_events)));
    RETURN what;
EXCEPTION WHEN null_value_not_allowed THEN
    RETURN what;
END $$;

-- ---- made and dropped
SELECT payorder.create_consumer('mail'), payorder.create_consumer('mail'), payorder.create_consumer('mail', '-infinity');
SELECT payorder.create_consumer('search', '-infinity');
SELECT name, pg_temp.state_of(format('SELECT payorder.create_consumer(%L)', name))
    FROM unnest('{a,a-b_0,A,"a b",é,""}'::text[] || repeat('x', 63) || repeat('x', 64)) AS name;
SELECT pg_temp.error_of($$SELECT payorder.create_consumer('Mail')$$);
SELECT pg_temp.error_of($$SELECT payorder.create_consumer(NULL)$$);
SELECT pg_temp.error_of($$SELECT payorder.next_events('nobody')$$);
SELECT pg_temp.error_of($$SELECT payorder.ack_events('nobody', 'x')$$);
SELECT pg_temp.error_of($$SELECT payorder.seek_events('nobody', first_id => 1)$$);
SELECT pg_temp.error_of($$SELECT payorder.consumer_lag('nobody')$$);
SELECT payorder.drop_consumer('nobody');
SELECT pg_temp.given('mail'), pg_temp.given('search');

-- ---- given when it is committed, not before, also to who wrote it
BEGIN;
SELECT pg_temp.new_order('o1'), pg_temp.given('mail');
SELECT state, pg_temp.given('mail') FROM payorder.fire('o1', 'cancel');
SELECT consumer, behind FROM payorder.consumers ORDER BY 1;
COMMIT;
SELECT pg_temp.given('mail'), pg_temp.given('search');
BEGIN;
SELECT pg_temp.new_order('o2');
SELECT pg_temp.taken('mail'), pg_temp.taken('mail');
SELECT pg_temp.new_order('o3');
COMMIT;
SELECT pg_temp.taken('mail'), pg_temp.taken('mail');
-- what is rolled back never; in subtransactions, too
BEGIN;
SELECT pg_temp.new_order('o4');
SAVEPOINT s;
SELECT pg_temp.new_order('o5');
ROLLBACK TO s;
SELECT state FROM payorder.fire('o4', 'cancel');
SAVEPOINT t;
SELECT pg_temp.new_order('o6');
RELEASE t;
COMMIT;
BEGIN;
SELECT pg_temp.new_order('o7');
ROLLBACK;
SELECT pg_temp.given('mail');
-- all columns
SELECT position = pg_temp.place('mail', 2) AS position, (i.id, i.order_no, i.seq, i.event, i.from_state, i.to_state, i.actor, i.source, i.reason,
        i.payload::text, i.request_id, i.trace, i.gateway, i.txn_id, i.at, i.hash)
       IS NOT DISTINCT FROM (e.id, e.order_no, e.seq, e.event, e.from_state, e.to_state, e.actor, e.source, e.reason,
        e.payload::text, e.request_id, e.trace, e.gateway, e.txn_id, e.at, e.hash) AS same
    FROM payorder.next_events('mail') AS i JOIN payorder.events AS e USING (id) WHERE i.order_no = 'o4' AND i.seq = 2;

-- ---- portions, the same again, acknowledgements
SELECT pg_temp.taken('search');
SELECT pg_temp.given('search', 3), pg_temp.given('search', 1), pg_temp.given('search', 4);
SELECT pg_temp.place('search', 2) AS second, pg_temp.place('search', 4) AS fourth, pg_temp.place('search', 5) AS last \gset
SELECT payorder.ack_events('search', :'second'), payorder.ack_events('search', :'second'), pg_temp.given('search', 2);
SELECT position = :'second' AS position, behind, oldest_at IS NOT NULL AND acked_at <= now() AS times
    FROM payorder.consumers WHERE consumer = 'search';
SELECT payorder.ack_events('search', :'fourth'), payorder.ack_events('search', :'second'), pg_temp.given('search', 10);
SELECT payorder.ack_events('search', :'last'), payorder.ack_events('search', :'last');
SELECT position = :'last' AS position, behind, oldest_at, lag FROM payorder.consumers WHERE consumer = 'search';
SELECT pg_temp.given('search'), payorder.ack_events('search', :'last');
SELECT position > :'last' AS grows FROM payorder.consumers WHERE consumer = 'search';
-- refused: what was not given out, to this consumer or at all
SELECT payorder.create_consumer('other', '-infinity');
SELECT pg_temp.given('other', 2);
SELECT max(position) AS given FROM payorder.next_events('other', 2) \gset
BEGIN;
SELECT max(position) AS undone FROM payorder.next_events('other', 4) \gset
ROLLBACK;
SELECT pg_temp.error_of(format('SELECT payorder.ack_events(%L, %L)', 'other', :'undone'));
SELECT pg_temp.error_of(format('SELECT payorder.ack_events(%L, %L)', 'mail', :'given'));
SELECT n, pg_temp.state_of(format('SELECT payorder.ack_events(%L, %L)', 'other', p))
    FROM unnest(ARRAY['', 'x', '1-1-1', '-1', ' ' || :'given', :'given' || ' ', 'x' || :'given', replace(:'given', '-', '--'),
                      '000003-7fffffffffffffff-0000000000000001']) WITH ORDINALITY AS p (p, n) ORDER BY n;
SELECT regexp_replace(:'given', '^(.{7})............', '\1ffffffffffff') AS later \gset
SELECT pg_temp.state_of(format('SELECT payorder.ack_events(%L, %L)', 'other', :'later'));
SELECT pg_temp.error_of($$SELECT payorder.ack_events('other', NULL)$$);
SELECT payorder.drop_consumer('other'), payorder.create_consumer('other', '-infinity');
SELECT pg_temp.state_of(format('SELECT payorder.ack_events(%L, %L)', 'other', :'given'));
SELECT pg_temp.given('other', 2), payorder.drop_consumer('other');
-- rolled back, it is given again; taken in the transaction of its effects
BEGIN;
SELECT pg_temp.taken('mail');
ROLLBACK;
SELECT pg_temp.taken('mail', 2), pg_temp.taken('mail', 1), pg_temp.taken('mail');
SELECT n, pg_temp.state_of(format('SELECT payorder.next_events(%L, %s)', 'mail', n))
    FROM unnest('{1,0,-1,NULL,10000,10001,2147483647}'::text[]) AS v (t), LATERAL (SELECT coalesce(t, 'NULL')) AS w (n);
SELECT pg_temp.error_of($$SELECT payorder.next_events('mail', 0)$$);
SELECT pg_temp.error_of($$SELECT payorder.next_events(NULL)$$);
BEGIN READ ONLY;
SELECT call, pg_temp.state_of('SELECT payorder.' || call)
    FROM unnest('{next_events(''mail''),"ack_events(''mail'', '''')","seek_events(''mail'', first_id => 1)",create_consumer(''c''),drop_consumer(''mail''),event_digest(),consumer_lag(''mail''),consumers_behind(1)}'::text[]) AS call;
ROLLBACK;

-- ---- seek
SELECT min(id) AS first FROM payorder.events WHERE order_no = 'o3' \gset
SELECT at FROM payorder.events WHERE order_no = 'o4' AND seq = 2 \gset
SELECT pg_temp.new_order('s1');
SELECT pg_temp.place('mail', 1) AS before \gset
SELECT payorder.seek_events('mail', first_id => :first) = :first, pg_temp.given('mail');
SELECT pg_temp.place('mail', 1) > :'before' AS grows, payorder.ack_events('mail', :'before') AS old, pg_temp.given('mail', 1);
SELECT payorder.seek_events('mail', :'at') = (SELECT id FROM payorder.events WHERE order_no = 'o4' AND seq = 2), pg_temp.given('mail');
SELECT payorder.seek_events('mail', '-infinity'), pg_temp.given('mail', 2);
SELECT payorder.seek_events('mail', 'infinity') > :first, pg_temp.given('mail');
SELECT pg_temp.new_order('s2');
SELECT pg_temp.given('mail');
SELECT payorder.seek_events('mail', first_id => 9223372036854775807) < 1000000, pg_temp.given('mail');
SELECT pg_temp.new_order('s3');
SELECT pg_temp.taken('mail');
SELECT pg_temp.error_of($$SELECT payorder.seek_events('mail')$$);
SELECT pg_temp.state_of($$SELECT payorder.seek_events('mail', now(), 1)$$), pg_temp.state_of($$SELECT payorder.seek_events('mail', first_id => 0)$$),
       pg_temp.state_of($$SELECT payorder.seek_events(NULL, now())$$);
-- a consumer that begins with what was written since an instant
SELECT payorder.create_consumer('since', :'at'), pg_temp.given('since', 3), payorder.drop_consumer('since');

-- ---- who has yet to pass a partition
SELECT DISTINCT slot FROM payorder.events \gset
SELECT payorder.consumers_behind(:slot);
SELECT pg_temp.taken('search');
SELECT count(*) FROM payorder.consumers_behind(:slot);
SELECT pg_temp.taken('search'), pg_temp.taken('mail');
SELECT count(*) FROM payorder.consumers_behind(:slot);
SELECT count(*) FROM payorder.consumers_behind((:slot + 1) % 64);
SELECT pg_temp.state_of('SELECT payorder.consumers_behind(-1)'), pg_temp.error_of('SELECT payorder.consumers_behind(64)');

-- ---- more than is counted, and a frozen log
SELECT count(*) FROM (SELECT pg_temp.new_order('m' || n) FROM generate_series(1, 1500) AS n OFFSET 0) AS m;
SELECT behind, lag >= '0' FROM payorder.consumers WHERE consumer = 'mail';
VACUUM FREEZE payorder.events;
SELECT count(*), count(DISTINCT id), bool_and(order_no ~ '^m') FROM payorder.next_events('mail', 10000);
SELECT payorder.ack_events('mail', (SELECT max(position) FROM payorder.next_events('mail', 700)));
SELECT behind FROM payorder.consumers WHERE consumer = 'mail';
SELECT count(*), min(order_no COLLATE "C") FROM payorder.next_events('mail', 10000) WHERE order_no = 'm701' OR order_no = 'm700';
SELECT payorder.seek_events('mail', 'infinity') IS NULL, payorder.seek_events('search', 'infinity') IS NULL;

-- ---- the digest: the same for the same marks, whatever is written meanwhile
SELECT to_mark AS one, events AS events_one, digest AS digest_one FROM payorder.event_digest() \gset
SELECT from_mark, events = (SELECT count(*) FROM payorder.events) AS all, first_id = (SELECT min(id) FROM payorder.events) AS first,
       last_id = (SELECT max(id) FROM payorder.events) AS last FROM payorder.event_digest();
SELECT pg_temp.new_order('d1');
SELECT state FROM payorder.fire('d1', 'cancel', 'me', 'a reason', '{"a": 1}');
SELECT to_mark AS two, digest AS digest_two, events, last_id - first_id AS ids FROM payorder.event_digest(:'one') \gset
SELECT :events, :ids, digest = :'digest_two'::bytea, to_mark = :'two' FROM payorder.event_digest(:'one', :'two');
SELECT digest = :'digest_one' AS same, events = :events_one FROM payorder.event_digest(NULL, :'one');
SELECT events, first_id, last_id, digest FROM payorder.event_digest(:'one', :'one');
SELECT events FROM payorder.event_digest(:'two', :'one');
-- the digest, computed a second time from its description
CREATE FUNCTION pg_temp.field(value bytea) RETURNS bytea
    LANGUAGE sql AS $$
SELECT coalesce('\x01' || int4send(octet_length(value)) || value, '\x00')
$$;
CREATE FUNCTION pg_temp.field(value text) RETURNS bytea
    LANGUAGE sql AS $$
SELECT pg_temp.field(convert_to(value, 'UTF8'))
$$;
WITH RECURSIVE said AS (
    SELECT row_number() OVER (ORDER BY id) AS n, id, sha256('\x01' || coalesce(e.hash, decode(repeat('00', 32), 'hex'))
        || pg_temp.field(e.order_no) || pg_temp.field(int8send(coalesce(e.seq, 0)))
        || pg_temp.field(e.event) || pg_temp.field(e.from_state) || pg_temp.field(e.to_state)
        || pg_temp.field(e.actor) || pg_temp.field(e.source) || pg_temp.field(e.reason)
        || pg_temp.field(sha256(convert_to(e.payload::text, 'UTF8'))) || pg_temp.field(e.request_id)
        || pg_temp.field(e.trace) || pg_temp.field(e.gateway) || pg_temp.field(e.txn_id)
        || pg_temp.field(timestamptz_send(e.at))) AS said
    FROM payorder.events AS e),
digests AS (SELECT 0::bigint AS n, decode(repeat('00', 32), 'hex') AS digest
    UNION ALL SELECT s.n, sha256(d.digest || int8send(s.id) || s.said) FROM digests AS d JOIN said AS s ON s.n = d.n + 1)
SELECT digest = (SELECT digest FROM payorder.event_digest()) FROM digests ORDER BY n DESC LIMIT 1;
-- whatever is changed, removed or added in between shows
SELECT change, pg_temp.outcome(format('SELECT pg_temp.tamper(%L)', change),
        format('SELECT concat_ws('' '', digest = %L, events) FROM payorder.event_digest(%L, %L)', :'digest_two', :'one', :'two'))
    FROM unnest(ARRAY[
        'UPDATE payorder.events SET reason = ''x'' WHERE order_no = ''d1'' AND seq = 2',
        'UPDATE payorder.events SET payload = ''{"a":1}'' WHERE order_no = ''d1'' AND seq = 2',
        'UPDATE payorder.events SET hash = sha256('''') WHERE order_no = ''d1'' AND seq = 2',
        'UPDATE payorder.events SET at = at - interval ''1 microsecond'' WHERE order_no = ''d1'' AND seq = 1',
        'UPDATE payorder.events SET id = id + 1000 WHERE order_no = ''d1'' AND seq = 2',
        'UPDATE payorder.events SET txid = ''9'' WHERE order_no = ''d1'' AND seq = 2',
        'DELETE FROM payorder.events WHERE order_no = ''d1'' AND seq = 2',
        'UPDATE payorder.events SET reason = NULL WHERE order_no = ''m1''',
        'INSERT INTO payorder.events (id, slot, gateway, txn_id, event, actor, source, at, txid) SELECT id, slot, ''g'', ''t'', ''callback'', actor, source, at, txid FROM payorder.events WHERE order_no = ''d1'' AND seq = 1']) WITH ORDINALITY AS c (change, n) ORDER BY n;
SELECT pg_temp.error_of($$SELECT payorder.event_digest('x')$$);
SELECT mark, pg_temp.state_of(format('SELECT payorder.event_digest(NULL, %L)', mark))
    FROM unnest(ARRAY['',
        '1',
        '1/5:5:/5/0',
        '1/5:5:/5/0/0',
        '1/5:9:6,8/9/0/0',
        '1/5:9:8,6/9/0/0',
        '1/5:9:6,/9/0/0',
        '1/5:9:9/9/0/0',
        '1/5:9:4/9/0/0',
        '1/9:5:/9/0/0',
        '1/0:5:/5/0/0',
        '1/5:5:/4/0/0',
        '1/5:5:/5/0/0x',
        '1/5:5:/5/0/-1',
        '1/5:5:/2000/0/0',
        '1/5:5:/99999999999999999999/0/0',
        '2/5:5:/5/0/0',
        '1/999999999999:999999999999:/999999999999/0/0',
        '-1/5:5:/5/0/0',
        '99999999999/5:5:/5/0/0']) WITH ORDINALITY AS m (mark, n) ORDER BY n;

-- ---- the log goes to another cluster: there is another epoch, and all of
-- the one before is committed, whatever its numbers seem to say there
SELECT count(*), max(epoch), count(DISTINCT first_id) FROM payorder.log_epochs;
SELECT pg_temp.new_order('e1');
SELECT pg_temp.taken('search'), pg_temp.taken('mail');
SELECT state FROM payorder.fire('e1', 'cancel');
SELECT pg_temp.new_order('e2'), pg_temp.new_order('e3');
SELECT pg_temp.taken('mail', 2);
-- as a dump would bring it: numbers of transactions that are yet to come here
SELECT pg_temp.tamper($$UPDATE payorder.log_epochs SET system_identifier = 1$$);
SELECT pg_temp.tamper($$UPDATE payorder.events SET txid = (txid::text::bigint + 1000000)::text::xid8$$),
       pg_temp.tamper($$UPDATE payorder.consumer_cursors SET seen = regexp_replace(seen, '^1/(\d+):(\d+):[^/]*/(\d+)/', format('1/%s:%s:/%s/', split_part(split_part(seen, '/', 2), ':', 1)::bigint + 1000000, split_part(split_part(seen, '/', 2), ':', 2)::bigint + 1000000, split_part(seen, '/', 3)::bigint + 1000000)),
                                upto = regexp_replace(upto, '^1/(\d+):(\d+):[^/]*/(\d+)/', format('1/%s:%s:/%s/', split_part(split_part(upto, '/', 2), ':', 1)::bigint + 1000000, split_part(split_part(upto, '/', 2), ':', 2)::bigint + 1000000, split_part(upto, '/', 3)::bigint + 1000000))$$);
SELECT consumer, behind FROM payorder.consumers ORDER BY 1;
SELECT pg_temp.given('search', 2);
\c -
SET client_min_messages = warning;
\pset format unaligned
\pset tuples_only on
CREATE FUNCTION pg_temp.given(consumer text, max_events integer DEFAULT 1000) RETURNS text
    LANGUAGE sql AS $$
SELECT coalesce(string_agg(order_no || '/' || seq, ' '), 'nothing') FROM payorder.next_events(consumer, max_events)
$$;
SELECT state FROM payorder.create_order('e4', 100, 'CNY');
SELECT state FROM payorder.fire('e2', 'cancel');
SELECT epoch, first_id = (SELECT id FROM payorder.events WHERE order_no = 'e4') AS first, system_identifier = 1 AS elsewhere, txid > '0' AS numbered
    FROM payorder.log_epochs ORDER BY 1;
SELECT consumer, behind FROM payorder.consumers ORDER BY 1;
SELECT pg_temp.given('search'), pg_temp.given('mail');
SELECT payorder.ack_events(c, (SELECT max(position) FROM payorder.next_events(c))) FROM unnest('{mail,search}'::text[]) AS c;
SELECT pg_temp.given('search'), pg_temp.given('mail');
SELECT state FROM payorder.fire('e3', 'cancel');
SELECT pg_temp.given('search'), pg_temp.given('mail');
-- a mark that can't be of this copy of the log is refused, rather than
-- events be lost
SELECT payorder.ack_events(c, (SELECT max(position) FROM payorder.next_events(c))) FROM unnest('{mail,search}'::text[]) AS c;
SELECT count(*) FROM payorder.next_events('mail');
UPDATE payorder.consumer_cursors SET seen = '2/9000000000:9000000000:/9000000000/9/9' WHERE consumer = 'mail';
SELECT payorder.next_events('mail');
SELECT payorder.seek_events('mail', first_id => (SELECT id FROM payorder.events WHERE order_no = 'e4')) IS NOT NULL, pg_temp.given('mail');

-- ---- nothing is left for the next file
SELECT payorder.drop_consumer(c) FROM unnest('{mail,search}'::text[]) AS c;
SET session_replication_role = replica;
DELETE FROM payorder.events;
DELETE FROM payorder.orders;
DELETE FROM payorder.timers;
DELETE FROM payorder.tasks;
DELETE FROM payorder.task_ready;
DELETE FROM payorder.task_keys;
DELETE FROM payorder.log_epochs;
SELECT setval('payorder.event_ids', 1, false), setval('payorder.consumer_ids', 1, false);
