/*
 * The data of bench/untouched/run: :rows orders of payorder's, and the same rows in
 * a table that is alike but for its triggers, which it has none of.  Both lie alike
 * on their pages, with room for versions.
 */
\set ON_ERROR_STOP on
CREATE SCHEMA free;
CREATE TABLE free.orders (LIKE payorder.orders INCLUDING ALL);
\o /dev/null
SELECT count(payorder.create_order('A-' || lpad(n::text, 9, '0'), 1000 + n % 9000, 'CNY',
                                   attributes => '{"n": 0}'))
FROM generate_series(1, :rows) AS n;
\o
ALTER TABLE payorder.orders SET (fillfactor = 45);
ALTER TABLE free.orders SET (fillfactor = 45);
INSERT INTO free.orders SELECT * FROM payorder.orders ORDER BY order_no;
VACUUM (FULL, FREEZE, ANALYZE) payorder.orders;
VACUUM (FULL, FREEZE, ANALYZE) free.orders;
