# purge() is killed in the middle, again and again: an order is either there or
# purged as a whole, and what guards its money is there in both cases.  Then
# the database is dumped and restored, where purged orders answer as before,
# come back, and are purged again.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PayorderTest;
use Test::More;

my $ORDERS = 2000;
my @KILL_AT = ('A1100', 'A1500', 'A700');    # orders that are just going

my $node = PostgreSQL::Test::Cluster->new('main');

$node->init;
$node->append_conf('postgresql.conf', "log_statement = 'none'\n");
$node->start;

# Four months pass at each call.
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION payorder;
SELECT payorder.add_gateway('g', 'generic', 'm');
SELECT payorder.define_task_kind('mail');
CREATE PROCEDURE purge_all(step integer) LANGUAGE plpgsql AS \$\$
DECLARE
    c payorder.purge_counts;
BEGIN
    LOOP
        c := payorder.purge_some('60 days', c.position, step, true, now() + interval '120 days');
        COMMIT;
        EXIT WHEN c.position IS NULL;
    END LOOP;
END
\$\$;
-- where it is stopped: with the step's rows gone, and nothing committed
CREATE TABLE stop_at (order_no text);
CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN
    IF EXISTS (SELECT FROM public.stop_at AS s WHERE s.order_no = OLD.order_no) THEN
        PERFORM pg_sleep(3600);
    END IF;
    RETURN NULL;
END
\$\$;
CREATE TRIGGER stop AFTER DELETE ON payorder.orders FOR EACH ROW EXECUTE FUNCTION stop();
SELECT count(payorder.create_order('A' || n, 100, 'CNY')) FROM generate_series(1, $ORDERS) AS n;
SELECT count(payorder.ingest('g', 't' || n, 'pay', 'A' || n, 100, 'CNY', payload => '{"n": 1}'))
FROM generate_series(1, $ORDERS) AS n;
SELECT timers FROM payorder.sweep(10000, now() + interval '10 minutes');
SELECT count((payorder.fire(order_no, 'ship')).state) FROM payorder.orders WHERE state = 'to_ship';
SELECT count((payorder.fire(order_no, 'complete')).state) FROM payorder.orders WHERE state = 'shipped';
SELECT count(payorder.create_order('open' || n, 100, 'CNY')) FROM generate_series(1, 3) AS n;
SELECT count(payorder.enqueue('mail')) FROM generate_series(1, 5) AS n;
SELECT payorder.cancel_task(id, 'me', 'not needed') FROM payorder.tasks WHERE kind = 'mail';
SQL
is( $node->safe_psql('postgres', "SELECT count(*) FROM payorder.orders WHERE closed_at IS NOT NULL"),
	$ORDERS, 'the orders are closed');
well($node, 'postgres', 'all is well before');

# What must be so at every moment: how many orders are neither or both, have
# lost or kept what they should not.
my $torn = <<'SQL';
SELECT count(*) FILTER (WHERE (o.order_no IS NULL) = (u.order_no IS NULL)),
       count(*) FILTER (WHERE p.order_no IS NULL),
       count(*) FILTER (WHERE c.order_no IS NULL OR (c.body IS NULL) = (u.order_no IS NULL)),
       count(*) FILTER (WHERE (a.order_no IS NULL) <> (u.order_no IS NULL))
FROM (SELECT 'A' || n AS order_no FROM generate_series(1, 2000) AS n) AS g
LEFT JOIN payorder.orders AS o USING (order_no)
LEFT JOIN payorder.purged_orders AS u USING (order_no)
LEFT JOIN payorder.payments AS p USING (order_no)
LEFT JOIN payorder.callbacks AS c USING (order_no)
LEFT JOIN payorder.purge_archive AS a USING (order_no)
SQL

for my $kill_at (@KILL_AT)
{
	$node->safe_psql('postgres', "TRUNCATE stop_at; INSERT INTO stop_at VALUES ('$kill_at')");
	my $pid = fork // die 'could not fork';

	if ($pid == 0)
	{
		open STDOUT, '>', '/dev/null' or die;
		open STDERR, '>', '/dev/null' or die;
		exec 'psql', '-X', '-d', $node->connstr('postgres'), '-c', 'CALL purge_all(20)';
	}
	sql_comes_to($node, 'postgres', "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", '1',
		"$kill_at is just going");
	crash_and_start($node);
	waitpid($pid, 0);
	isnt($?, 0, '... when it is killed');
	is( $node->safe_psql('postgres', <<"SQL2"), '1|0|t', '... it is there');
SELECT (SELECT count(*) FROM payorder.orders WHERE order_no = '$kill_at'),
       (SELECT count(*) FROM payorder.purged_orders WHERE order_no = '$kill_at'),
       EXISTS (SELECT FROM payorder.purged_orders)
SQL2
	is($node->safe_psql('postgres', $torn), '0|0|0|0', '... no order is torn');
	well($node, 'postgres', '... and all is well');
}
$node->safe_psql('postgres', 'TRUNCATE stop_at');

# Two of them at once, to the end.
my @both = map {
	my $pid = fork // die 'could not fork';

	if ($pid == 0)
	{
		open STDOUT, '>', '/dev/null' or die;
		exec 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', 'CALL purge_all(50)';
	}
	$pid;
} 1 .. 2;
waitpid($_, 0) for @both;
$node->safe_psql('postgres', 'CALL purge_all(1000)');
is( $node->safe_psql('postgres', <<'SQL'), '3|2000|3|0|1', 'all closed orders are purged, and the month is freed');
SELECT (SELECT count(*) FROM payorder.orders), (SELECT count(*) FROM payorder.purged_orders WHERE away),
       (SELECT count(*) FROM payorder.events), (SELECT count(*) FROM payorder.tasks),
       (SELECT count(*) FROM payorder.events_freed)
SQL
is($node->safe_psql('postgres', $torn), '0|0|0|0', '... each as a whole');
well($node, 'postgres', '... and all is well');

# A copy has it all, and goes on.
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'postgres' ], 'it is dumped');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE template0');
$node->command_ok([ 'pg_restore', '-e', $dump, '-d', $node->connstr('copy') ], '... and restored');
is($node->safe_psql('copy', "SELECT noted.* FROM payorder.adopt_cluster('me', 'test') AS noted"), '', '... and adopted');
is( $node->safe_psql('copy', "SELECT verdict, first_verdict, state, paid FROM payorder.ingest('g', 't7', 'pay', 'A7', 100, 'CNY')"),
	'duplicate|applied|completed|t', '... a message is a duplicate');
is( $node->safe_psql('copy', "SELECT state FROM payorder.create_order('A7', 100, 'CNY')"),
	'completed', '... a number is taken');
is( $node->safe_psql('copy', "SELECT verdict, detail FROM payorder.ingest('g', 'd7', 'chargeback', payment_txn => 't7', amount => 50, currency => 'CNY')"),
	'applied|', '... a chargeback is applied');
is($node->safe_psql('copy', "SELECT ok, events FROM payorder.verify_events('A7')"), 't|2', '... and the chain goes on');
is(sql_state($node, 'copy', $_), '42501', "... $_ is refused")
  for 'DELETE FROM payorder.orders', 'DELETE FROM payorder.purged_orders', 'TRUNCATE payorder.events_03';
$node->safe_psql('copy', <<'SQL');
SELECT verdict FROM payorder.ingest('g', 'd7', 'chargeback_lost', payment_txn => 't7');
CALL purge_all(1000);
SQL
is( $node->safe_psql('copy', "SELECT away, last_seq, disputed_amount FROM payorder.purged_orders WHERE order_no = 'A7'"),
	't|8|50', '... and is purged again when that has ended');
well($node, 'copy', '... all is well there');

done_testing();
