/* ---- room order: orders under another version of their machine ---- */

CREATE FUNCTION payorder.migrate_order(order_no text, from_id integer, to_id integer, refused text[], reason text)
    RETURNS boolean
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'payorder_migrate_order';
COMMENT ON FUNCTION payorder.migrate_order(text, integer, integer, text[], text) IS
'one order of migrate_orders(); false if it is under another version by now. Errors: PO004 it is in one of the states that are refused, 55P03.';

CREATE FUNCTION payorder.migrate_some(name text, from_version integer, to_version integer, reason text, after text, max_orders integer)
    RETURNS text[]
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    from_id integer;
    to_id integer;
    refused text[];
    missing text;
    batch text[];
    moved text[] := '{}';
BEGIN
    SELECT max(m.id) FILTER (WHERE m.version = from_version), max(m.id) FILTER (WHERE m.version = to_version)
    INTO from_id, to_id FROM payorder.machines AS m WHERE m.name = migrate_some.name;
    IF from_id IS NULL OR to_id IS NULL THEN
        RAISE EXCEPTION 'no such machine or version'
            USING ERRCODE = 'PO004', HINT = 'The table payorder.machines lists machines and versions.';
    END IF;
    IF max_orders IS NULL OR max_orders NOT BETWEEN 1 AND 100000 THEN
        RAISE EXCEPTION 'batch is out of range'
            USING ERRCODE = '22023', HINT = 'Give 1 to 100000.';
    END IF;
    IF after IS NULL THEN
        RAISE EXCEPTION 'after must not be null'
            USING ERRCODE = '22004', HINT = 'Give the last order that was moved, at first the empty string.';
    END IF;
    SELECT coalesce(array_agg(f.state), '{}') INTO refused
    FROM payorder.sides_of_machines() AS f
    LEFT JOIN payorder.sides_of_machines() AS t ON t.machine_id = to_id AND t.state = f.state
    WHERE f.machine_id = from_id AND (t.state IS NULL OR (f.paid, f.unpaid) IS DISTINCT FROM (t.paid, t.unpaid));
    IF after = '' THEN
        SELECT string_agg(format('%s (%s)', o.state, o.orders), ', ' ORDER BY o.state) INTO missing
        FROM (SELECT o.state, count(*) AS orders FROM payorder.orders AS o
              WHERE o.machine_id = from_id AND o.state = ANY (refused) GROUP BY 1) AS o;
        IF missing IS NOT NULL THEN
            RAISE EXCEPTION 'version % of machine "%" cannot take all orders of version %', to_version, left(name, 63), from_version
                USING ERRCODE = 'PO004', DETAIL = format('It lacks, or has on the other side of payment: %s.', missing),
                      HINT = 'Take these orders to other states, or define a version that has theirs.';
        END IF;
    END IF;
    -- those that another one has just moved are not the end
    WHILE moved = '{}' LOOP
        SELECT array_agg(o.order_no ORDER BY o.order_no) INTO batch
        FROM (SELECT o.order_no FROM payorder.orders AS o WHERE o.machine_id = from_id AND o.order_no > after COLLATE "C"
              ORDER BY o.order_no LIMIT max_orders) AS o;
        EXIT WHEN batch IS NULL;
        SELECT coalesce(array_agg(b.order_no ORDER BY b.n) FILTER (WHERE payorder.migrate_order(b.order_no, from_id, to_id, refused, reason)), '{}')
        INTO moved FROM unnest(batch) WITH ORDINALITY AS b (order_no, n);
        after := batch[cardinality(batch)];
    END LOOP;
    RETURN moved;
END
$$;
COMMENT ON FUNCTION payorder.migrate_some(text, integer, integer, text, text, integer) IS
'the next orders of migrate_orders(), up to max_orders beyond the number after; returns their numbers, none: done. Errors: as migrate_orders().';

CREATE PROCEDURE payorder.migrate_orders(name text, from_version integer, to_version integer, reason text DEFAULT NULL,
                                         batch integer DEFAULT 1000, INOUT moved bigint DEFAULT 0)
    LANGUAGE plpgsql
AS $$
DECLARE
    numbers pg_catalog.text[];
    last pg_catalog.text := '';
BEGIN
    LOOP
        numbers := payorder.migrate_some(name, from_version, to_version, reason, last, batch);
        EXIT WHEN pg_catalog.cardinality(numbers) OPERATOR(pg_catalog.=) 0;
        moved := moved OPERATOR(pg_catalog.+) pg_catalog.cardinality(numbers);
        last := numbers[pg_catalog.cardinality(numbers)];
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE payorder.migrate_orders(text, integer, integer, text, integer, bigint) IS
'has all orders under one version of a machine go on under another, in their states, in transactions of batch orders each; moved: how many. Refused with a list when an order is in a state that the other version lacks, or has for unpaid orders where this one has it for paid ones. Timers are those of the other version, counted from the entry into the state; what an entry causes is not caused again. Errors: PO004 no such version, or refused; 22023 batch out of range; 55P03 an order is locked longer than payorder.lock_wait: call again.';
