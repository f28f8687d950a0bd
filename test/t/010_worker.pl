# The worker of a preloaded library: it starts, is woken by a commit, fires
# what is due, and comes back after whatever ends it.  Scenarios 26, 31, 60.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PayorderTest;
use Test::More;

# A wait that the worker's poll interval, a minute, can't explain.
my $SOON = 30;

my $node = PostgreSQL::Test::Cluster->new('preloaded');
my $orders = 0;

# Creates an order that is due at once or a little later and waits until the
# worker has closed it.
sub due_order_is_closed
{
	my ($database, $name) = @_;
	my $order_no = sprintf('W%03d', ++$orders);

	$node->safe_psql($database,
		"SELECT payorder.create_order('$order_no', 100, 'CNY', pay_within => '1 second')"
	);
	sql_comes_to($node, $database,
		"SELECT state FROM payorder.orders WHERE order_no = '$order_no'",
		'expired', $name, $SOON);
	is( $node->safe_psql(
			$database,
			"SELECT count(*), min(source) FROM payorder.events WHERE order_no = '$order_no' AND event = 'close'"
		),
		'1|timer',
		'... by one event of a timer');
	return;
}

# Waits until a database has exactly one worker, and not the one given.
sub new_worker
{
	my ($database, $old, $name) = @_;
	my $pid = comes_true(
		sub {
			my $pids = worker_pids($node, $database);
			return $pids =~ /^\d+$/ && $pids ne $old && $pids;
		});

	ok($pid, $name);
	return $pid || 0;
}

$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'payorder'
payorder.databases = 'postgres, nowhere'
payorder.poll_interval = '60s'
restart_after_crash = on
CONF
$node->start;

# ---- it appears, and without the extension it idles
my $worker = new_worker('postgres', '', 'a worker starts with the server');

$node->safe_psql('postgres', 'CREATE DATABASE second');
$node->safe_psql($_, 'CREATE EXTENSION payorder') for qw(postgres second);
due_order_is_closed('postgres',
	'a timer fires long before the poll interval is over');
is(worker_pids($node, 'postgres'), $worker,
	'... in the worker that was there before the extension');
like(
	slurp_file($node->logfile),
	qr/database "nowhere" does not exist/,
	'a listed database that is not there is logged');

# ---- a commit wakes it for work of the kernel's, too
$node->safe_psql('postgres', <<'SQL');
SELECT payorder.add_gateway('g', 'generic', 'm');
SELECT payorder.create_order('R1', 500, 'CNY');
SELECT payorder.ingest('g', 't1', 'pay', 'R1', 500, 'CNY');
SELECT payorder.fire('R1', 'cancel', 'buyer');
SQL
sql_comes_to($node, 'postgres',
	"SELECT count(*), sum(amount) FROM payorder.refunds WHERE order_no = 'R1' AND state = 'asked'",
	'1|500',
	'a task of the kernel is carried out when a commit made it ready',
	$SOON);

# ---- a transaction that commits late arms a timer before those that fired
my $late = $node->background_psql('postgres');
$late->query_safe(
	"BEGIN; SELECT payorder.create_order('B1', 100, 'CNY', pay_within => '1 second')"
);
due_order_is_closed('postgres', "others' timers fire meanwhile")
  for 1 .. 3;
$late->query_safe('COMMIT');
$late->quit;
sql_comes_to($node, 'postgres',
	"SELECT state FROM payorder.orders WHERE order_no = 'B1'",
	'expired', 'the worker goes back for what was committed behind its mark',
	$SOON);

# ---- an order that is locked does not keep it busy
$node->safe_psql('postgres',
	"SELECT payorder.create_order('L1', 100, 'CNY', pay_within => '1 second')");
my $holder = $node->background_psql('postgres');
$holder->query_safe(
	"BEGIN; SELECT FROM payorder.orders WHERE order_no = 'L1' FOR UPDATE");
my $transactions =
  "SELECT pg_stat_clear_snapshot(), xact_commit FROM pg_stat_database WHERE datname = current_database()";
ok( comes_true(
		sub {
			$node->safe_psql('postgres',
				"SELECT count(*) FROM payorder.timers WHERE order_no = 'L1' AND due_at < now()"
			) == 1;
		}),
	'the timer of a locked order is due');
my $before = (split /\|/, $node->safe_psql('postgres', $transactions))[1];
# each poll is a transaction of its own; the rest are the worker's
my $polls = 0;
comes_true(
	sub {
		$polls++;
		return $node->safe_psql('postgres',
			"SELECT min(due_at) < now() - interval '3 seconds' FROM payorder.timers WHERE order_no = 'L1'"
		) eq 't';
	});
my $after = (split /\|/, $node->safe_psql('postgres', $transactions))[1];
cmp_ok($after - $before - $polls, '<', 200,
	'the worker does not spin while an order is locked');
$holder->query_safe('COMMIT');
$holder->quit;
sql_comes_to($node, 'postgres',
	"SELECT state FROM payorder.orders WHERE order_no = 'L1'",
	'expired', 'and fires its timer once it is free', $SOON);

# ---- SIGTERM of the worker
my $log = log_size($node);

$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
$worker = new_worker('postgres', $worker, 'a terminated worker comes back');
due_order_is_closed('postgres', 'and fires timers');

# ---- kill -9 of the worker: the server starts all its processes again
kill('KILL', $worker);
$worker = new_worker('postgres', $worker, 'a killed worker comes back');
due_order_is_closed('postgres', 'and fires timers');

# ---- SIGTERM of the launcher
my $launcher = comes_true(sub { launcher_pid($node) });
ok($launcher, 'the launcher runs');
kill('TERM', $launcher);
ok( comes_true(
		sub {
			my $pid = launcher_pid($node);
			return $pid && $pid != $launcher;
		}),
	'a terminated launcher comes back');
$worker = new_worker('postgres', $worker, 'with a worker of its own');
due_order_is_closed('postgres', 'and fires timers');

# ---- kill -9 of the launcher
$launcher = launcher_pid($node);
kill('KILL', $launcher);
ok( comes_true(
		sub {
			my $pid = launcher_pid($node);
			return $pid && $pid != $launcher;
		}),
	'a killed launcher comes back');
$worker = new_worker('postgres', $worker, 'with a worker of its own');
due_order_is_closed('postgres', 'and fires timers');

# ---- the list of databases changes
is(worker_pids($node, 'second'), '', 'a database not listed has no worker');
$node->append_conf('postgresql.conf', "payorder.databases = 'postgres,second'");
$node->reload;
my $second = new_worker('second', '', 'a database is added');
due_order_is_closed('second', 'and its timers fire');
is(worker_pids($node, 'postgres'), $worker,
	'the other database keeps its worker');
$node->append_conf('postgresql.conf', "payorder.databases = 'second'");
$node->reload;
ok(comes_true(sub { worker_pids($node, 'postgres') eq '' }),
	'a database is removed');
is(worker_pids($node, 'second'), $second, 'the other keeps its worker');
$node->append_conf('postgresql.conf',
	"payorder.databases = 'postgres, \"second\", postgres'");
$node->reload;
$worker = new_worker('postgres', '', 'it is added again');
due_order_is_closed('postgres', 'and its timers fire');
is(worker_pids($node, 'second'), $second,
	'a quoted name is the same database');
$node->append_conf('postgresql.conf', "payorder.databases = 'postgres,,'");
$node->reload;
ok( comes_true(
		sub {
			slurp_file($node->logfile, $log) =~
			  /"payorder.databases" is not a list of names|invalid value for parameter "payorder.databases"/;
		}),
	'a list that is none is logged');
is(worker_pids($node, 'postgres'), $worker, 'and changes nothing');
$node->append_conf('postgresql.conf', "payorder.databases = 'postgres'");
$node->reload;
ok(comes_true(sub { worker_pids($node, 'second') eq '' }),
	'the second database is left alone again');

# ---- the extension goes and comes under it
for my $turn (1 .. 3)
{
	$node->safe_psql('postgres', 'DROP EXTENSION payorder');
	$node->safe_psql('postgres', 'CREATE EXTENSION payorder');
	due_order_is_closed('postgres',
		"turn $turn: dropped and created again, its timers fire");
}
is(worker_pids($node, 'postgres'), $worker, 'all in the same worker');
$node->safe_psql('postgres', 'DROP EXTENSION payorder');
# an empty transaction, so that the worker looks
$node->reload;
is(worker_pids($node, 'postgres'), $worker, 'without it the worker idles');
no_crash($node, $log);

# ---- commands that need a database for themselves: the worker lets go
$node->append_conf('postgresql.conf', "payorder.databases = 'postgres, \"moving\"'");
$node->reload;
$node->safe_psql('postgres', 'CREATE EXTENSION payorder; CREATE DATABASE moving');
$node->safe_psql('moving', 'CREATE EXTENSION payorder');
my $moving = new_worker('moving', '', 'another database has a worker');
$node->safe_psql('postgres', 'CREATE ROLE somebody LOGIN CREATEDB');
for my $command (
	'DROP DATABASE moving',
	'CREATE DATABASE copied TEMPLATE moving',
	'ALTER DATABASE moving RENAME TO moved')
{
	my ($rc, $out, $err) = $node->psql('postgres', "SET ROLE somebody; $command");

	like($err, qr/must be owner|permission denied/, "who may not: $command");
}
is(worker_pids($node, 'moving'), $moving, '... does not disturb the worker');
$node->safe_psql('postgres', 'CREATE DATABASE copied TEMPLATE moving');
pass('a database can be a template while it has a worker');
$moving = new_worker('moving', $moving, '... which comes back');
$node->safe_psql('postgres', 'ALTER DATABASE moving RENAME TO moved');
$node->safe_psql('postgres', 'ALTER DATABASE moved RENAME TO moving');
pass('it can be renamed');
$moving = new_worker('moving', $moving, '... and the worker comes back');
$node->safe_psql('postgres',
	"SET allow_in_place_tablespaces = on; CREATE TABLESPACE elsewhere LOCATION ''");
$node->safe_psql('postgres', 'ALTER DATABASE moving SET TABLESPACE elsewhere');
pass('it can be moved');
$moving = new_worker('moving', $moving, '... and the worker comes back');
due_order_is_closed('moving', '... and does its work');
$node->safe_psql('postgres', 'DROP DATABASE moving');
pass('it can be dropped');
ok(comes_true(sub { worker_pids($node, 'moving') eq '' }), '... and has no worker');
$node->append_conf('postgresql.conf', "payorder.databases = 'postgres'");
$node->reload;
$node->safe_psql('postgres', 'DROP EXTENSION payorder');
no_crash($node, $log);

# ---- several workers asked for: one
$node->safe_psql('postgres', 'CREATE EXTENSION payorder');
$node->safe_psql('postgres', 'SELECT payorder.start_worker()') for 1 .. 3;
due_order_is_closed('postgres', 'start_worker() beside the launcher\'s');
ok(comes_true(sub { worker_pids($node, 'postgres') eq $worker }),
	'the launcher\'s worker stays the only one');

# ---- stop_worker() of the launcher's: it comes back
is($node->safe_psql('postgres', 'SELECT payorder.stop_worker()'),
	't', 'stop_worker() finds it');
$worker = new_worker('postgres', $worker, 'the launcher starts it again');
well($node, 'postgres');

# ---- the server stops and starts with it
$log = log_size($node);
$node->restart('fast');
new_worker('postgres', $worker, 'a worker starts again with the server');
unlike(slurp_file($node->logfile, $log),
	qr/not properly shut down|was interrupted/, 'which had stopped cleanly');
$node->stop('fast');

done_testing();
