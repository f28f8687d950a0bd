--
-- Room machine: define_machine() and each of its refusals, versions, the
-- cache, machine_diagram(), can_transition(), and that definitions never
-- change.  Scenario 64 as far as it concerns the tables of this room.
--
\pset format unaligned
\pset tuples_only on

-- What a statement that is refused says: SQLSTATE, message and hint.
CREATE FUNCTION pg_temp.error_of(statement text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    said text;
    advice text;
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS said = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
    RETURN format(E'%s %s\n    %s', SQLSTATE, said, advice);
END $$;

-- The same for a definition; what is taken is rolled back too.
CREATE FUNCTION pg_temp.verdict(definition text, name text DEFAULT 'shop')
    RETURNS text
    LANGUAGE sql AS $$
SELECT CASE WHEN said LIKE 'ZZZZZ %' THEN 'taken' ELSE said END
FROM pg_temp.error_of(format(
    'DO $do$ BEGIN PERFORM payorder.define_machine(%L, %L);'
    ' RAISE EXCEPTION SQLSTATE ''ZZZZZ''; END $do$', name, definition)) AS said
$$;

-- A small machine without fault, and what becomes of it with one change.
CREATE FUNCTION pg_temp.shop() RETURNS jsonb
    LANGUAGE sql IMMUTABLE AS $$
SELECT jsonb '{
    "initial": "new",
    "parameters": {"patience": "15m"},
    "states": {
        "new": {
            "on": {"pay": {"target": "paid"},
                   "drop": [{"guard": "no_open_attempt", "target": "dropped"},
                            {"target": "closing"}]},
            "after": {"{patience}": {"fire": "drop"}}},
        "closing": {
            "entry": {"enqueue": "close_payment"},
            "on": {"pay": {"target": "paid"},
                   "close_confirmed": {"target": "dropped"}},
            "after": {"30m": {"fire": "close_confirmed"}}},
        "paid": {
            "on": {"ship": {"target": "done"}},
            "after": {"1d": {"alarm": "not_shipped"}}},
        "done": {"type": "final"},
        "dropped": {"type": "final",
                    "on": {"reopen": {"target": "paid", "within": "2h"}}}}}'
$$;

CREATE TYPE pg_temp.change AS (path text[], value jsonb);

-- Each change by itself: its path, its value, and the verdict on the result.
CREATE FUNCTION pg_temp.try_changes(changes pg_temp.change[])
    RETURNS SETOF text
    LANGUAGE sql AS $$
SELECT format(E'%s = %s\n  %s', array_to_string(path, '.'),
              coalesce(value::text, '(left out)'),
              pg_temp.verdict(CASE WHEN value IS NULL
                              THEN pg_temp.shop() #- path
                              ELSE jsonb_set(pg_temp.shop(), path, value) END::text))
FROM unnest(changes) WITH ORDINALITY AS change (path, value, number)
ORDER BY number
$$;

-- the default machine, as the rows that the kernel works with
SELECT name, version, initial FROM payorder.machines WHERE name = 'order' ORDER BY version;
SELECT id < 100 AS seeded FROM payorder.machines WHERE name = 'order';
SELECT s.state, s.final, s.enqueue, s.alarm
    FROM payorder.states s JOIN payorder.machines m ON m.id = s.machine_id
    WHERE m.name = 'order' ORDER BY s.state;
SELECT t.from_state, t.event, t.candidate, t.to_state, t.guard, t.by_timer,
       extract(epoch FROM t.within)::integer AS within, t.stock, t.enqueue, t.alarm
    FROM payorder.transitions t JOIN payorder.machines m ON m.id = t.machine_id
    WHERE m.name = 'order' ORDER BY t.from_state, t.event, t.candidate;
SELECT t.state, t.number, extract(epoch FROM t.after)::integer AS after, t.parameter,
       t.action, t.argument, t.guard, extract(epoch FROM t.retry)::integer AS retry
    FROM payorder.state_timers t JOIN payorder.machines m ON m.id = t.machine_id
    WHERE m.name = 'order' ORDER BY t.state, t.number;

-- the small machine is taken as it stands
SELECT pg_temp.verdict(pg_temp.shop()::text);

-- refused: the definition as a whole
SELECT pg_temp.verdict(definition)
    FROM (VALUES (1, '[]'), (2, '"order"'), (3, 'null'),
                 (4, '{"initial": "a", "initial": "b"}'),
                 (5, '{"initial": "a", "states": {"a": {"on": {"pay": {"target": "a"}, "pay": {"target": "a"}}}}}'))
        AS d (number, definition)
    ORDER BY number;
SELECT pg_temp.verdict((pg_temp.shop() || jsonb_build_object('x', repeat('x', 1024 * 1024)))::text);
SELECT pg_temp.verdict(pg_temp.shop()::text, name)
    FROM (VALUES (1, ''), (2, 'Shop'), (3, '1st'), (4, 'a-b'), (5, repeat('a', 64)), (6, repeat('a', 63)))
        AS n (number, name)
    ORDER BY number;
SELECT pg_temp.try_changes(ARRAY[
    ('{comment}', '"my shop"'),
    ('{initial}', NULL),
    ('{initial}', '1'),
    ('{initial}', '"nowhere"'),
    ('{initial}', '"done"'),
    ('{states}', NULL),
    ('{states}', '[]'),
    ('{states}', '{}'),
    ('{states,done,type}', '"atomic"'),
    ('{states,New}', '{"type": "final"}')
    ]::pg_temp.change[]);
SELECT pg_temp.verdict('{"initial": "a", "states": {"a": {"on": {"pay": {"target": "a"}}, "after": {"1d": {"alarm": "b"}}}}}');

-- refused: parameters and intervals
SELECT pg_temp.try_changes(ARRAY[
    ('{parameters}', '["15m"]'),
    ('{parameters,Patience}', '"15m"'),
    ('{parameters,patience}', '15'),
    ('{parameters,patience}', '"soon"'),
    ('{parameters,patience}', '"{patience}"'),
    ('{parameters,patience}', NULL),
    ('{states,paid,after,""}', '{"alarm": "a"}'),
    ('{states,paid,after,"{}"}', '{"alarm": "a"}'),
    ('{states,paid,after,0s}', '{"alarm": "a"}'),
    ('{states,paid,after,-1h}', '{"alarm": "a"}'),
    ('{states,paid,after,1.5h}', '{"alarm": "a"}'),
    ('{states,paid,after,1}', '{"alarm": "a"}'),
    ('{states,paid,after,h}', '{"alarm": "a"}'),
    ('{states,paid,after,1H}', '{"alarm": "a"}'),
    ('{states,paid,after,1 mon}', '{"alarm": "a"}'),
    ('{states,paid,after,1 year}', '{"alarm": "a"}'),
    ('{states,paid,after,00:15:00}', '{"alarm": "a"}'),
    ('{states,paid,after,infinity}', '{"alarm": "a"}'),
    ('{states,paid,after,367d}', '{"alarm": "a"}'),
    ('{states,paid,after,366d 1us}', '{"alarm": "a"}'),
    ('{states,paid,after,9999999999999999999s}', '{"alarm": "a"}'),
    ('{states,paid,after,999999999999999w}', '{"alarm": "a"}')
    ]::pg_temp.change[]);

-- taken: intervals, and what they mean
BEGIN;
SELECT payorder.define_machine('intervals', jsonb_set(pg_temp.shop(), '{states,paid,after}',
    '{"1us": {"alarm": "a"}, "2ms": {"alarm": "a"}, "3s": {"alarm": "a"}, "4m": {"alarm": "a"},
      "5min": {"alarm": "a"}, "6h": {"alarm": "a"}, "7d": {"alarm": "a"}, "8w": {"alarm": "a"},
      "15 minutes": {"alarm": "a"}, "1 day 12 hours": {"alarm": "a"}, "1h30m": {"alarm": "a"},
      "24h": {"alarm": "a"}, "1d": {"alarm": "b"}, "366d": {"alarm": "a"}, "60s": {"alarm": "a"},
      "1m": [{"alarm": "b"}, {"alarm": "c"}], "{patience}": {"alarm": "d"}}')::json);
SELECT extract(epoch FROM after) AS after, argument, parameter
    FROM payorder.state_timers t JOIN payorder.machines m ON m.id = t.machine_id
    WHERE m.name = 'intervals' AND t.state = 'paid'
    ORDER BY t.after, t.argument;
ROLLBACK;

-- numbers of timers and candidates follow the text
BEGIN;
SELECT payorder.define_machine('numbers', '{
    "states": {
        "open": {"after": {"1h": [{"fire": "close"}, {"alarm": "old"}], "1s": {"alarm": "new"}},
                 "on": {"close": [{"guard": "open_attempt", "target": "open"}, {"target": "shut"}],
                        "pay": {"target": "shut"}}},
        "shut": {"type": "final"}},
    "initial": "open"}');
SELECT number, action, argument FROM payorder.state_timers t
    JOIN payorder.machines m ON m.id = t.machine_id WHERE m.name = 'numbers' ORDER BY number;
SELECT candidate, to_state FROM payorder.transitions t
    JOIN payorder.machines m ON m.id = t.machine_id
    WHERE m.name = 'numbers' AND event = 'close' ORDER BY candidate;
ROLLBACK;

-- refused: states and their entry
SELECT pg_temp.try_changes(ARRAY[
    ('{states,paid}', '"paid"'),
    ('{states,paid,onn}', '{}'),
    ('{states,paid,type}', 'true'),
    ('{states,paid,entry}', '"refund_all"'),
    ('{states,paid,entry}', '{"stock": "confirm"}'),
    ('{states,paid,entry}', '{"enqueue": 1}'),
    ('{states,paid,entry}', '{"enqueue": "bake"}'),
    ('{states,paid,entry}', '{"enqueue": "refund"}'),
    ('{states,paid,entry}', '{"enqueue": ["query_payment", "query_payment"]}'),
    ('{states,paid,entry}', '{"alarm": "Not me"}'),
    ('{states,done,entry}', '{"enqueue": ["query_payment", "close_payment"]}')
    ]::pg_temp.change[]);

-- refused: edges
SELECT pg_temp.try_changes(ARRAY[
    ('{states,new,on}', '[]'),
    ('{states,new,on,Drop}', '{"target": "dropped"}'),
    ('{states,new,on,pay}', '"paid"'),
    ('{states,new,on,drop}', '[]'),
    ('{states,new,on,drop,1}', '"closing"'),
    ('{states,new,on,pay,target}', '"payed"'),
    ('{states,new,on,drop,0,target}', '"payed"'),
    ('{states,new,on,pay,target}', '["paid"]'),
    ('{states,new,on,pay,target}', NULL),
    ('{states,new,on,pay,fire}', '"ship"'),
    ('{states,new,on,pay,stock}', '"sell"'),
    ('{states,new,on,pay,enqueue}', '"bake"'),
    ('{states,new,on,pay,enqueue}', '["return"]'),
    ('{states,new,on,pay,alarm}', '["a", "a"]'),
    ('{states,new,on,drop,0,guard}', '"is_friday"'),
    ('{states,new,on,drop,0,guard}', 'null'),
    ('{states,new,on,drop,0,guard}', NULL),
    ('{states,new,on,drop,1,guard}', '"no_open_attempt"'),
    ('{states,paid,on,ship,by}', '"hand"'),
    ('{states,paid,on,ship,by}', '"timer"'),
    ('{states,paid,on,ship,within}', '"1h"'),
    ('{states,dropped,on,reopen,within}', '"1 month"'),
    ('{states,dropped,on,reopen,within}', '"{grace}"')
    ]::pg_temp.change[]);

-- refused: an order's own interval where it could not count
SELECT pg_temp.verdict(jsonb_set(jsonb_set(pg_temp.shop(), '{parameters,pay_within}', '"1h"'),
                                 '{states,dropped,on,reopen,within}', '"{pay_within}"')::text);
SELECT pg_temp.verdict(jsonb_set(pg_temp.shop(), '{states,dropped,on,reopen,within}', '"{patience}"')::text);

-- refused: timers
SELECT pg_temp.try_changes(ARRAY[
    ('{states,paid,after}', '[]'),
    ('{states,paid,after,2d}', '"alarm"'),
    ('{states,paid,after,2d}', '[]'),
    ('{states,paid,after,2d}', '{}'),
    ('{states,paid,after,2d}', '{"alarm": "a", "fire": "ship"}'),
    ('{states,paid,after,2d}', '{"alarm": ["a", "b"]}'),
    ('{states,paid,after,2d}', '{"stock": "return"}'),
    ('{states,paid,after,2d}', '{"fire": "shp"}'),
    ('{states,paid,after,2d}', '[{"alarm": "a"}, {"fire": "drop"}]'),
    ('{states,paid,after,2d}', '{"enqueue": "bake"}'),
    ('{states,paid,after,2d}', '{"enqueue": "review"}'),
    ('{states,paid,after,2d}', '{"alarm": "a", "guard": "is_friday"}'),
    ('{states,paid,after,2d}', '{"fire": "ship", "guard": "money_quiet", "retry": "often"}'),
    ('{states,paid,after,2d}', '{"alarm": "a", "retry": "1d"}'),
    ('{states,new,after,1h}', '{"fire": "pay"}'),
    ('{states,done,after}', '{"1d": {"alarm": "a"}}')
    ]::pg_temp.change[]);

-- refused: states that lead nowhere or are led to from nowhere
SELECT pg_temp.try_changes(ARRAY[
    ('{states,lost}', '{"type": "final"}'),
    ('{states,paid,on}', NULL),
    ('{states,paid,on,ship,target}', '"paid"'),
    ('{states,paid,after}', NULL),
    ('{states,paid,after}', '{}')
    ]::pg_temp.change[]);

SELECT pg_temp.verdict(jsonb_set(jsonb_set(pg_temp.shop(),
    '{states,paid,on,lose}', '{"target": "lost"}'), '{states,lost}', lost)::text)
    FROM (VALUES (1, jsonb '{"after": {"1d": {"alarm": "a"}}}'),
                 (2, '{"on": {"look": {"target": "lost"}}, "after": {"1d": {"fire": "look"}}}'),
                 (3, '{"on": {"find": {"target": "paid"}}, "after": {"1d": {"fire": "find"}}}'))
        AS l (number, lost)
    ORDER BY number;

-- refused: more than anybody needs
SELECT pg_temp.verdict(jsonb_set(pg_temp.shop(), path, value)::text)
    FROM (SELECT 1, '{states}'::text[], jsonb_object_agg('s' || n, '{}'::jsonb) || '{"new": {}}'
          FROM generate_series(1, 1000) AS n
          UNION ALL
          SELECT 2, '{states,paid,after,2d}', jsonb_agg('{"alarm": "a"}'::jsonb)
          FROM generate_series(1, 1000) AS n
          UNION ALL
          SELECT 3, '{states,paid,entry}', jsonb_build_object('alarm', jsonb_agg('a' || n))
          FROM generate_series(1, 101) AS n) AS c (number, path, value)
    ORDER BY number;

-- refused: what concerns money
SELECT pg_temp.try_changes(ARRAY[
    ('{states,done,on}', '{"ship": {"target": "paid"}}'),
    ('{states,done,on}', '{"pay": {"target": "paid"}}'),
    ('{states,paid,on,reopen}', '{"target": "done"}'),
    ('{states,new,on,pay}', '[{"guard": "stock_available", "target": "paid"}, {"target": "done"}]'),
    ('{states,new,on,pay}', '[{"target": "paid"}, {"target": "done"}]'),
    ('{states,new,on,pay,guard}', '"stock_available"'),
    ('{states,new,on,pay,by}', '"timer"'),
    ('{states,paid,on,refunded}', '{"target": "done", "guard": "nothing_left"}'),
    ('{states,closing,on,close_confirmed,guard}', '"no_open_attempt"'),
    ('{states,paid,on,close_confirmed}', '{"target": "done"}'),
    ('{states,paid,on,pay_part}', '{"target": "paid"}'),
    ('{states,new,on,pay_part}', '{"target": "dropped"}'),
    ('{states,new,on,pay_part}', '{"target": "new"}'),
    ('{states,new,on,pay}', NULL),
    ('{states,closing,on,pay}', '{"target": "new"}'),
    ('{states,paid,on,pay}', '{"target": "done"}'),
    ('{states,new,on,skip}', '{"target": "paid"}')
    ]::pg_temp.change[]);

-- taken: a guard on reopen, a final state that refunds
SELECT pg_temp.try_changes(ARRAY[
    ('{states,dropped,on,reopen,guard}', '"stock_available"'),
    ('{states,done,entry}', '{"enqueue": "refund_all", "alarm": ["a", "b"]}'),
    ('{states,done,on}', '{"refunded": {"target": "dropped"}}'),
    ('{states,paid,after,2d}', '{"fire": "ship", "guard": "money_quiet", "retry": "{patience}"}')
    ]::pg_temp.change[]);

-- payment in parts: every final state in which an order can end with a part
-- paid refunds it on entry, one that is reached by "pay" or without a part
-- need not
SELECT entry, pg_temp.verdict(jsonb_set(jsonb_set(pg_temp.shop(), '{states,new,on,pay_part}', '{"target": "new"}'),
                                        '{states,dropped,entry}', entry)::text)
    FROM (VALUES (1, jsonb '{}'), (2, '{"alarm": "lost"}'), (3, '{"enqueue": "query_payment"}'),
                 (4, '{"enqueue": "refund_all"}'), (5, '{"enqueue": ["query_payment", "refund_all"]}'))
        AS e (number, entry)
    ORDER BY number;
SELECT entry, pg_temp.verdict(jsonb_set(jsonb_set(pg_temp.shop(), '{states,new,on,pay_part}', '{"target": "part"}'), '{states}',
                                        jsonb_set(pg_temp.shop(), '{states,new,on,pay_part}', '{"target": "part"}') -> 'states'
                                        || jsonb_build_object('part', part, 'gone', '{"type": "final"}'::jsonb || entry))::text)
    FROM (VALUES (jsonb '{"on": {"pay": {"target": "paid"}, "pay_part": {"target": "part"}, "give_up": {"target": "gone"}},
                          "after": {"1d": {"fire": "give_up"}}}')) AS p (part),
         (VALUES (1, jsonb '{}'), (2, '{"entry": {"enqueue": "refund_all"}}')) AS e (number, entry)
    ORDER BY number;

-- a kind of the user's can be enqueued once it is defined
BEGIN;
SELECT payorder.define_task_kind('bake');
SELECT pg_temp.try_changes(ARRAY[
    ('{states,paid,entry}', '{"enqueue": "bake"}')]::pg_temp.change[]);
ROLLBACK;

-- versions: the next one when something else is said, in whatever layout
BEGIN;
SELECT payorder.define_machine('shop', pg_temp.shop()::json);
SELECT payorder.define_machine('shop', pg_temp.shop()::json);
SELECT payorder.define_machine('shop', jsonb_pretty(pg_temp.shop())::json);
SELECT payorder.define_machine('shop', jsonb_set(pg_temp.shop(), '{parameters,patience}', '"20m"')::json);
SELECT payorder.define_machine('shop', pg_temp.shop()::json);
SELECT payorder.define_machine('shop', pg_temp.shop()::json);
SELECT payorder.define_machine('shop2', pg_temp.shop()::json);
SELECT name, version, id >= 100 AS users FROM payorder.machines
    WHERE name LIKE 'shop%' ORDER BY name, version;
SELECT payorder.can_transition('shop', 'new', 'paid', 3);
ROLLBACK;

-- the default machine is unchanged when it is defined again
SELECT payorder.define_machine('order', definition) FROM payorder.machines WHERE name = 'order' AND version = 1;

-- the cache: what a rolled-back transaction defined and used is forgotten
BEGIN;
SELECT payorder.define_machine('shop', pg_temp.shop()::json);
SELECT payorder.can_transition('shop', 'new', 'done');
SAVEPOINT s;
SELECT payorder.define_machine('shop', jsonb_set(pg_temp.shop(), '{states,new,on,pay,target}', '"done"')::json);
SELECT payorder.can_transition('shop', 'new', 'done');
ROLLBACK TO s;
SELECT payorder.can_transition('shop', 'new', 'done');
SELECT payorder.define_machine('shop', jsonb_set(pg_temp.shop(), '{states,new,on,late}', '{"target": "dropped"}')::json);
SELECT payorder.can_transition('shop', 'new', 'done');
ROLLBACK;
SELECT pg_temp.error_of($$SELECT payorder.can_transition('shop', 'new', 'done')$$);
BEGIN;
SELECT payorder.define_machine('shop', jsonb_set(pg_temp.shop(), '{states,new,on,pay,target}', '"done"')::json);
SELECT payorder.can_transition('shop', 'new', 'done');
ROLLBACK;

-- definitions never change (64)
SELECT format('%s %s: %s', command, relation, pg_temp.error_of(format(statement, relation)))
    FROM (VALUES ('machines'), ('states'), ('transitions'), ('state_timers')) AS r (relation),
         (VALUES (1, 'UPDATE', 'UPDATE payorder.%1$I SET %2$s = %2$s'),
                 (2, 'DELETE', 'DELETE FROM payorder.%I'),
                 (3, 'TRUNCATE', 'TRUNCATE payorder.%I')) AS c (number, command, template),
         LATERAL (SELECT replace(template, '%2$s', CASE relation WHEN 'machines' THEN 'id' ELSE 'machine_id' END)) AS t (statement)
    ORDER BY relation COLLATE "C", number;

-- read-only transactions
BEGIN READ ONLY;
SELECT pg_temp.error_of($$SELECT payorder.define_machine('shop', '{}')$$);
SELECT payorder.can_transition('order', 'pending', 'paid');
ROLLBACK;

-- can_transition: whoever may take the edge
SELECT from_state, string_agg(to_state, ' ' ORDER BY to_state)
    FROM (SELECT f.state AS from_state, t.state AS to_state
          FROM payorder.states f JOIN payorder.states t USING (machine_id)
               JOIN payorder.machines m ON m.id = machine_id
          WHERE m.name = 'order'
            AND payorder.can_transition('order', f.state, t.state, m.version)) AS ways
    GROUP BY from_state ORDER BY from_state;
SELECT pg_temp.error_of(format('SELECT payorder.can_transition(%s)', arguments))
    FROM (VALUES (1, $$NULL, 'pending', 'paid'$$), (2, $$'order', NULL, 'paid'$$),
                 (3, $$'order', 'pending', NULL$$), (4, $$'nothing', 'pending', 'paid'$$),
                 (5, $$'order', 'pending', 'payed'$$), (6, $$'order', 'Pending', 'paid'$$),
                 (7, $$'order', 'pending', 'paid', 0$$), (8, $$'order', 'pending', 'paid', 2147483647$$))
        AS a (number, arguments)
    ORDER BY number;

-- diagrams
SELECT payorder.machine_diagram('order');
SELECT payorder.machine_diagram('order', 'mermaid', 1) = payorder.machine_diagram('order');
BEGIN;
SELECT payorder.define_machine('words', '{
    "initial": "note", "parameters": {"pay_within": "1d 1h 1m 1s 1ms 1us"},
    "states": {
        "note": {"on": {"pay": {"target": "class"}, "late": {"target": "class", "by": "timer"}},
                 "after": {"{pay_within}": {"fire": "late", "guard": "no_open_attempt"}, "2d": {"fire": "late"}}},
        "class": {"type": "final"}}}');
SELECT payorder.machine_diagram('words');
SELECT payorder.machine_diagram('words', 'dot');
SELECT payorder.machine_diagram('words', 'scxml');
ROLLBACK;
SELECT payorder.machine_diagram('order', 'dot');
SELECT payorder.machine_diagram('order', 'scxml');
SELECT xml_is_well_formed_document(payorder.machine_diagram('order', 'scxml'));
SELECT pg_temp.error_of(format('SELECT payorder.machine_diagram(%s)', arguments))
    FROM (VALUES (1, 'NULL'), (2, $$'order', NULL$$), (3, $$'order', 'svg'$$),
                 (4, $$'nothing'$$), (5, $$'order', 'mermaid', 7$$))
        AS a (number, arguments)
    ORDER BY number;

-- what is exported is the same version again, and the same text
SELECT name, version, payorder.define_machine(name, payorder.export_machine(name)) = version AS same,
       payorder.export_machine(name, version)::text = definition::text AS text
    FROM payorder.machines AS m WHERE version = (SELECT max(version) FROM payorder.machines AS n WHERE n.name = m.name) ORDER BY 1;
BEGIN;
SELECT payorder.define_machine('copy', payorder.export_machine('order'));
SELECT replace(payorder.machine_diagram('copy'), 'machine copy', 'machine order') = payorder.machine_diagram('order');
ROLLBACK;
SELECT pg_temp.error_of(format('SELECT payorder.export_machine(%s)', arguments))
    FROM (VALUES (1, 'NULL'), (2, $$'nothing'$$), (3, $$'order', 7$$)) AS a (number, arguments)
    ORDER BY number;
