--
-- Room amount: parse_amount() and format_amount(), exact and by the exponent of
-- the currency, or the gateway's own.  Scenario 14 (what a shop types).
--
\getenv inputdir PG_ABS_SRCDIR
\set tools :inputdir '/sql/include/tools.psql'
\i :tools

-- currencies of all exponents; 1 and 4 are no country's
BEGIN;
SELECT pg_temp.empty();
INSERT INTO payorder.currencies (currency, exponent) VALUES ('XTA', 1), ('XTS', 4);
SELECT payorder.add_gateway('odd', 'generic', 'shop-2', settings => '{"exponents": {"JPY": 2, "CNY": 0, "XTS": 3, "KWD": 4, "USD": 1}}');

-- what is taken, and how it is written again
CREATE FUNCTION pg_temp.both_ways(amount text, currency text, gateway text DEFAULT NULL) RETURNS text
    LANGUAGE sql AS $$
SELECT format('%s %s = %s = %s', amount, currency, n, payorder.format_amount(n, currency, gateway))
    FROM payorder.parse_amount(amount, currency, gateway) AS n
$$;
SELECT pg_temp.both_ways(amount, currency)
    FROM (VALUES (1, '0', 'JPY'), (2, '100', 'JPY'), (3, '-100', 'JPY'), (4, '19.9', 'XTA'), (5, '19', 'XTA'), (6, '-0.1', 'XTA'),
                 (7, '19.90', 'CNY'), (8, '19.9', 'CNY'), (9, '19', 'CNY'), (10, '0.01', 'CNY'), (11, '-0.01', 'CNY'), (12, '0.00', 'CNY'),
                 (13, '1.234', 'KWD'), (14, '1.2', 'KWD'), (15, '0.001', 'KWD'), (16, '1.2345', 'XTS'), (17, '-5', 'XTS'), (18, '0.0001', 'XTS'),
                 (19, '007.50', 'CNY')) AS v (n, amount, currency)
    ORDER BY n;
-- by the gateway's own exponents where it has some, else the currency's
SELECT pg_temp.both_ways(amount, currency, 'odd'), payorder.parse_amount(amount, currency, 'till') AS till
    FROM (VALUES (1, '100', 'JPY'), (2, '100', 'CNY'), (3, '1.234', 'XTS'), (4, '1.2', 'KWD'), (5, '0.1', 'USD'), (6, '0.1', 'XTA')) AS v (n, amount, currency)
    ORDER BY n;
SELECT pg_temp.both_ways('100.25', 'JPY', 'odd'), pg_temp.both_ways('1.2345', 'KWD', 'odd');
-- the ends of the range
SELECT pg_temp.both_ways(amount, currency)
    FROM (VALUES (1, '9223372036854775807', 'JPY'), (2, '-9223372036854775808', 'JPY'), (3, '92233720368547758.07', 'CNY'), (4, '-92233720368547758.08', 'CNY'),
                 (5, '9223372036854775.807', 'KWD'), (6, '922337203685477.5807', 'XTS'), (7, '-922337203685477.5808', 'XTS'), (8, '000000000000000000000000000001', 'CNY'))
        AS v (n, amount, currency)
    ORDER BY n;

-- refused: never rounded, never guessed (14)
SELECT amount, currency, pg_temp.state_of(format('SELECT payorder.parse_amount(%L, %L)', amount, currency))
    FROM unnest(ARRAY['', ' ', '-', '+', '.', '-.', '+1', ' 1', '1 ', '1 0', E'1\n', E'\t1', '1.', '.5', '-.5', '1..0', '1.0.0', '1,00', '1,000.00', '1_000', '1e2', '1E2',
                      '0x10', '--1', '1-', 'NaN', 'Infinity', '-inf', 'one', '¥1', '1 CNY', '１', '٣', '1.00000000000000000000000000000000000000', 'null']) WITH ORDINALITY AS a (amount, n),
         (VALUES ('CNY')) AS c (currency)
    ORDER BY n;
-- too many decimals, even if they are nought
SELECT amount, currency, pg_temp.state_of(format('SELECT payorder.parse_amount(%L, %L)', amount, currency))
    FROM (VALUES (1, '100.5', 'JPY'), (2, '100.0', 'JPY'), (3, '19.90', 'XTA'), (4, '19.901', 'CNY'), (5, '19.900', 'CNY'), (6, '1.2340', 'KWD'), (7, '1.23456', 'XTS'))
        AS v (n, amount, currency)
    ORDER BY n;
SELECT pg_temp.state_of($$SELECT payorder.parse_amount('1.0', 'CNY', 'odd')$$), pg_temp.state_of($$SELECT payorder.parse_amount('1.2345', 'XTS', 'odd')$$);
-- more than a bigint holds
SELECT amount, currency, pg_temp.state_of(format('SELECT payorder.parse_amount(%L, %L)', amount, currency))
    FROM (VALUES (1, '9223372036854775808', 'JPY'), (2, '-9223372036854775809', 'JPY'), (3, '92233720368547758.08', 'CNY'), (4, '-92233720368547758.09', 'CNY'),
                 (5, '9223372036854775807', 'CNY'), (6, '922337203685477.5808', 'XTS'), (7, repeat('9', 100), 'CNY'), (8, '18446744073709551617', 'JPY'))
        AS v (n, amount, currency)
    ORDER BY n;
-- unknown currency, no such gateway, NULL
SELECT f, a, pg_temp.state_of(format('SELECT payorder.%s(%s, %s)', f, CASE f WHEN 'parse_amount' THEN '''1''' ELSE '1' END, a))
    FROM unnest('{parse_amount,format_amount}'::text[]) AS f,
         unnest(ARRAY[$$'XXX'$$, $$'cny'$$, $$''$$, $$'CNYX'$$, $$'CN'$$, $$'CNY '$$, $$'CNY', 'nowhere'$$, $$'CNY', ''$$, $$'CNY', 'till'$$, $$'CNY', NULL$$, $$'XXX', 'odd'$$, 'NULL']) WITH ORDINALITY AS v (a, n)
    ORDER BY f DESC, n;
SELECT pg_temp.state_of($$SELECT payorder.parse_amount(NULL, 'CNY')$$), pg_temp.state_of($$SELECT payorder.format_amount(NULL, 'CNY')$$);
SELECT pg_temp.error_of(s)
    FROM unnest(ARRAY[$$SELECT payorder.parse_amount('1e2', 'CNY')$$, $$SELECT payorder.parse_amount('100.5', 'JPY')$$, $$SELECT payorder.parse_amount('9223372036854775808', 'JPY')$$,
                      $$SELECT payorder.parse_amount('1', 'XXX')$$, $$SELECT payorder.parse_amount('1', 'CNY', 'nowhere')$$, $$SELECT payorder.parse_amount(NULL, 'CNY')$$,
                      $$SELECT payorder.format_amount(1, 'XXX')$$, $$SELECT payorder.format_amount(1, 'CNY', 'nowhere')$$, $$SELECT payorder.format_amount(1, NULL)$$]) WITH ORDINALITY AS t (s, n)
    ORDER BY n;

-- there and back again, 10,000 amounts of every size and sign: text of an
-- amount is read as the amount, and has the currency's decimals
SELECT setseed(0.42) \g /dev/null
SELECT count(*), count(*) FILTER (WHERE payorder.parse_amount(payorder.format_amount(a, c, g), c, g) = a) AS same,
       count(*) FILTER (WHERE payorder.format_amount(a, c, g)::numeric = a / 10.0 ^ e) AS right,
       count(*) FILTER (WHERE payorder.format_amount(a, c, g) ~ ('^-?(0|[1-9]\d*)' || CASE e WHEN 0 THEN '$' ELSE format('\.\d{%s}$', e) END)) AS well_formed
    FROM (SELECT (CASE WHEN random() < 0.5 THEN -1 ELSE 1 END * (random() * 9.2 * 10 ^ floor(random() * 19)))::bigint AS a, n % 6 AS k
          FROM generate_series(1, 10000) AS n) AS r
    JOIN (VALUES (0, 'JPY', NULL, 0), (1, 'XTA', NULL, 1), (2, 'CNY', NULL, 2), (3, 'KWD', NULL, 3), (4, 'XTS', NULL, 4), (5, 'JPY', 'odd', 2)) AS c (k, c, g, e) USING (k);
ROLLBACK;

-- no setting of the session matters, and nothing is written
BEGIN READ ONLY;
SET LOCAL lc_numeric = 'C.UTF-8';
SET LOCAL extra_float_digits = -15;
SELECT payorder.parse_amount('19.90', 'CNY'), payorder.format_amount(1990, 'CNY');
ROLLBACK;
