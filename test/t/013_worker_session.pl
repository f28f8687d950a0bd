# The worker's own session: settings that are made for clients don't reach it;
# what it shows of itself; signals, cancelled sweeps and stops of the server
# in whatever state it is.  Scenario 60.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PayorderTest;
use Test::More;

# A wait that no poll, pause or trigger that sleeps can explain.
my $SOON = 20;

my $node = PostgreSQL::Test::Cluster->new('session');
my $orders = 0;

# Creates an order that the worker closes when it can.
sub due_order
{
	my ($database, $prefix) = @_;
	my $order_no = sprintf('%s%03d', $prefix || 'W', ++$orders);

	$node->safe_psql($database,
		"SELECT payorder.create_order('$order_no', 100, 'CNY', pay_within => '1 second')"
	);
	return $order_no;
}

sub is_closed
{
	my ($database, $order_no, $name) = @_;
	return sql_comes_to($node, $database,
		"SELECT state FROM payorder.orders WHERE order_no = '$order_no'",
		'expired', $name, $SOON);
}

sub one_worker
{
	my ($database, $not) = @_;
	return comes_true(
		sub {
			my $pids = worker_pids($node, $database);
			return $pids =~ /^\d+$/ && $pids ne ($not || '') && $pids;
		}) || 0;
}

sub activity
{
	my ($columns) = @_;
	return $node->safe_psql('postgres',
		"SELECT $columns FROM pg_stat_activity WHERE backend_type = 'payorder worker' AND datname = 'postgres'"
	);
}

# Waits until the worker sleeps in a user's trigger.
sub worker_is_stuck
{
	return ok(
		comes_true(sub { activity('wait_event') eq 'PgSleep' }, $SOON),
		$_[0]);
}

sub ends_soon
{
	my ($pid, $name) = @_;
	return ok(comes_true(sub { !kill(0, $pid) }, $SOON), $name);
}

# Settings, of a database each; the first is the role's in its database.
my %settings = (
	s_read_only => ['default_transaction_read_only = on'],
	s_serializable => [
		'default_transaction_isolation = serializable',
		'default_transaction_deferrable = on'
	],
	s_replica => ['session_replication_role = replica'],
	s_role => ['role = nobody_at_all'],
	s_timeouts => [
		"statement_timeout = '1ms'", "lock_timeout = '1ms'",
		"idle_in_transaction_session_timeout = '1ms'",
		"idle_session_timeout = '1ms'"
	],
	s_others => [
		'search_path = planted, pg_catalog', 'synchronous_commit = off',
		"TimeZone = 'Asia/Kathmandu'", "DateStyle = 'German'"
	]);
# A client that needs them otherwise.
my $client = join ' ', map { "-c $_" } qw(
  default_transaction_read_only=off session_replication_role=origin role=none
  statement_timeout=0 lock_timeout=0 idle_in_transaction_session_timeout=0
  idle_session_timeout=0 search_path=pg_catalog);

$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'payorder'
payorder.databases = 'postgres'
payorder.poll_interval = '60s'
payorder.full_sweep_interval = '100ms'
restart_after_crash = on
fsync = off
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION payorder;
CREATE ROLE nobody_at_all;
CREATE TABLE slow (pattern text);
INSERT INTO slow VALUES ('slow%');
CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.order_no LIKE (SELECT pattern FROM public.slow) THEN
        PERFORM pg_sleep(600);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER be_slow AFTER UPDATE ON payorder.orders
    FOR EACH ROW EXECUTE FUNCTION be_slow();
CREATE DATABASE shop;
SQL
$node->safe_psql('shop', <<'SQL');
CREATE EXTENSION payorder;
CREATE TABLE seen (order_no text);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.seen VALUES (NEW.order_no);
    RETURN NULL;
END $$;
CREATE TRIGGER see AFTER UPDATE OF state ON payorder.orders
    FOR EACH ROW EXECUTE FUNCTION see();
-- found first by whoever lets a caller's search_path reach him
CREATE SCHEMA planted;
CREATE FUNCTION planted.pg_try_advisory_lock(integer, integer) RETURNS boolean
    LANGUAGE sql AS 'SELECT false';
SELECT payorder.create_order('O', 100, 'CNY', pay_within => '1 second');
SQL

# ---- settings of a database, or of a role
for my $name (sort keys %settings)
{
	my $whose =
	  $name eq 's_read_only'
	  ? "ROLE CURRENT_USER IN DATABASE $name"
	  : "DATABASE $name";

	$node->safe_psql('postgres', "CREATE DATABASE $name TEMPLATE shop");
	$node->safe_psql('postgres',
		join ';', map { "ALTER $whose SET $_" } @{ $settings{$name} });
}
$node->append_conf('postgresql.conf',
	"payorder.databases = 'postgres, " . join(', ', sort keys %settings) . "'");
$node->reload;
for my $name (sort keys %settings)
{
	local $ENV{PGOPTIONS} = $client;

	sql_comes_to($node, $name,
		"SELECT o.state, e.source, (SELECT count(*) FROM public.seen) FROM payorder.orders AS o JOIN payorder.events AS e USING (order_no) WHERE e.event = 'close'",
		'expired|timer|1',
		"@{ $settings{$name} }: the worker works, and the shop's trigger fires",
		60);
	well($node, $name, '... and the invariants hold');
}
$node->append_conf('postgresql.conf', "payorder.databases = 'postgres'");
$node->reload;
for my $name (sort keys %settings)
{
	ok(comes_true(sub { worker_pids($node, $name) eq '' }, $SOON),
		"the worker of $name ends when it is not wanted");
}

# ---- what can be seen of it
my $worker = one_worker('postgres');
my $event = $node->safe_psql('postgres',
	"SELECT CASE WHEN current_setting('server_version_num')::integer >= 170000 THEN 'PayorderWorker' ELSE 'Extension' END"
);

is_closed('postgres', due_order('postgres'), 'an order is closed');
ok( comes_true(
		sub { activity('state, wait_event_type, wait_event') eq "idle|Extension|$event" },
		$SOON),
	'it is seen to be idle, and what it waits for');
like(activity('query'), qr/payorder\.sweep/, '... and what it did last');
like(slurp_file("/proc/$worker/cmdline"),
	qr/payorder worker postgres\s+idle/, '... also in its title');
sql_comes_to($node, 'postgres',
	"SELECT n_tup_del > 0 FROM pg_stat_all_tables WHERE relid = 'payorder.timers'::regclass",
	't', 'autovacuum learns which rows it has deleted', $SOON);

# ---- the poll interval counts from the reload on
$node->safe_psql('postgres',
	"BEGIN; SELECT payorder.create_order('PREPARED', 100, 'CNY', pay_within => '1 second'); PREPARE TRANSACTION 'p'"
);
ok( comes_true(
		sub {
			$node->safe_psql('postgres',
				"SELECT now() > prepared + interval '2 seconds' FROM pg_prepared_xacts"
			) eq 't';
		}),
	'a prepared order is due');
$node->safe_psql('postgres', "COMMIT PREPARED 'p'");
is($node->safe_psql('postgres', "SELECT state FROM payorder.orders WHERE order_no = 'PREPARED'"),
	'pending', 'nobody is woken by COMMIT PREPARED');
$node->append_conf('postgresql.conf', "payorder.poll_interval = '100ms'");
$node->reload;
is_closed('postgres', 'PREPARED', 'a shorter poll interval counts at once');

# ---- a request to cancel while it rests
is($node->safe_psql('postgres', "SELECT pg_cancel_backend($worker)"),
	't', 'it is asked to cancel what it does not do');
is_closed('postgres', due_order('postgres'), '... and goes on');
is(worker_pids($node, 'postgres'), $worker, '... as the same process');

# ---- in a trigger that sleeps: cancelled, then terminated
my $log = log_size($node);
my $slow = due_order('postgres', 'slow');

worker_is_stuck('it is held by a trigger of the shop\'s');
is(activity('state'), 'active', '... and seen to be active');
like(activity('query'), qr/payorder\.sweep/, '... with what it does');
like(slurp_file("/proc/$worker/cmdline"),
	qr/payorder worker postgres\s+sweeping/, '... also in its title');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($worker)");
ok( comes_true(
		sub {
			slurp_file($node->logfile, $log) =~
			  /canceling statement due to user request/;
		},
		$SOON),
	'the sweep is cancelled');
worker_is_stuck('... and tried again');
is(worker_pids($node, 'postgres'), $worker, '... by the same process');
is( $node->safe_psql('postgres',
		"SELECT tries, error FROM payorder.timers WHERE order_no = '$slow' AND state = 'pending' ORDER BY due_at LIMIT 1"),
	'0|', '... which blames no order for it');
$log = log_size($node);
$node->safe_psql('postgres', 'SELECT payorder.stop_worker()');
ends_soon($worker, 'terminated in the middle of a sweep it ends');
$worker = one_worker('postgres', $worker);
worker_is_stuck('another one takes its place');
unlike(slurp_file($node->logfile, $log),
	qr/FATAL|ERROR:.*cancel|exited with exit code [^0]/,
	'... and nothing is said to be wrong');

# ---- stops of the server
for my $mode (qw(fast immediate))
{
	my $since = time;

	$node->stop($mode);
	cmp_ok(time - $since, '<', $SOON, "stop $mode in the middle of a sweep");
	$node->start;
	one_worker('postgres');
	worker_is_stuck('... and it is there again');
}
$worker = one_worker('postgres');
$node->safe_psql('postgres', 'DELETE FROM slow');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($worker)");
is_closed('postgres', $slow, 'the trigger being quick, the order is closed');
my $since = time;
$node->stop('smart');
cmp_ok(time - $since, '<', $SOON, 'stop smart while it rests');
$node->start;

# ---- terminated while it waits for a lock
$worker = one_worker('postgres');
my $dropper = $node->background_psql('postgres');
$dropper->query_safe('BEGIN; DROP EXTENSION payorder CASCADE');
ok(comes_true(sub { activity('wait_event_type') eq 'Lock' }, $SOON),
	'it waits for the end of a DROP EXTENSION');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
ends_soon($worker, 'terminated while it waits it ends');
$dropper->query_safe('ROLLBACK');
$dropper->quit;
is_closed('postgres', due_order('postgres'), 'and another one works');

# ---- sweeps that fail: a pause that no commit ends
$log = log_size($node);
$node->safe_psql('postgres', 'ALTER FUNCTION payorder.next_due() RENAME TO hidden');
ok( comes_true(
		sub { slurp_file($node->logfile, $log) =~ /function payorder.next_due\(\) does not exist/; },
		$SOON),
	'a sweep that fails is logged');
$worker = one_worker('postgres');
$node->safe_psql('postgres',
	"SELECT payorder.create_order('C' || $_, 100, 'CNY', pay_within => '1 second')")
  for 1 .. 40;
sql_comes_to($node, 'postgres',
	"SELECT count(*) > 30 FROM payorder.timers WHERE due_at < now() AND state = 'pending'",
	't', 'orders become due meanwhile', $SOON);
my @failures = slurp_file($node->logfile, $log) =~ /ERROR: .*next_due/g;
cmp_ok(scalar(@failures), '<', 6, 'it is tried again after growing pauses')
  or diag(scalar(@failures) . ' failures');
is(one_worker('postgres'), $worker, '... by the same process');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
ends_soon($worker, 'terminated while it pauses it ends');
$node->safe_psql('postgres', 'ALTER FUNCTION payorder.hidden() RENAME TO next_due');
sql_comes_to($node, 'postgres',
	"SELECT count(*) FROM payorder.orders WHERE order_no ~ '^C' AND state = 'expired'",
	'40', 'and all is done that was due', 60);
well($node, 'postgres');
no_crash($node, 0);
$node->stop;

done_testing();
