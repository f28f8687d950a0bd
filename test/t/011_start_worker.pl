# Without preload everything but the launcher works; start_worker() and
# stop_worker().  Two more servers where no worker can be had.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PayorderTest;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('plain');

$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
payorder.databases = 'postgres'
payorder.poll_interval = '100ms'
restart_after_crash = on
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION payorder');

# ---- no launcher, no worker, and all functions work
my $log = log_size($node);

$node->safe_psql('postgres', <<'SQL');
SELECT payorder.add_gateway('g', 'generic', 'm');
SELECT payorder.create_order('P1', 500, 'CNY');
SELECT payorder.ingest('g', 't1', 'pay', 'P1', 500, 'CNY');
SELECT payorder.fire('P1', 'cancel', 'buyer');
SELECT payorder.create_order('P2', 500, 'CNY', pay_within => '1 second');
SQL
is($node->safe_psql('postgres', 'SELECT payorder.stop_worker()'),
	'f', 'there is no worker');
is(launcher_pid($node), undef, 'nor a launcher');
is( $node->safe_psql('postgres',
		"SELECT string_agg(state, ' ' ORDER BY order_no) FROM payorder.orders"),
	'refunding pending',
	'orders are kept without one');
$node->safe_psql('postgres',
	"SELECT payorder.sweep(at => now() + interval '2 seconds')");
is( $node->safe_psql('postgres',
		"SELECT string_agg(state, ' ' ORDER BY order_no) FROM payorder.orders"),
	'refunding expired',
	'a sweep by hand fires their timers');
is( $node->safe_psql('postgres', 'SELECT count(*) FROM payorder.refunds'),
	'1', 'and does the kernel\'s tasks');

# ---- many at once leave one
my @clients =
  map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 6;

$_->{stdin} .= "SELECT payorder.start_worker();\n" for @clients;
$_->{run}->pump_nb for @clients;
$_->quit for @clients;
my $worker = comes_true(
	sub {
		my $pids = worker_pids($node, 'postgres');
		return $pids =~ /^\d+$/ && $pids;
	});
ok($worker, 'of six workers started at once one stays');
$node->safe_psql('postgres',
	"SELECT payorder.create_order('P3', 100, 'CNY', pay_within => '1 second')");
sql_comes_to($node, 'postgres',
	"SELECT state FROM payorder.orders WHERE order_no = 'P3'",
	'expired', 'it polls and fires what is due');
is(worker_pids($node, 'postgres'), $worker, 'it is still the same');

# ---- its settings can be changed
$node->append_conf('postgresql.conf', "payorder.poll_interval = '50ms'");
$node->reload;

# ---- it comes back after a crash, not after a stop
kill('KILL', $worker);
my $next = comes_true(
	sub {
		my $pids = worker_pids($node, 'postgres');
		return $pids =~ /^\d+$/ && $pids ne $worker && $pids;
	});
ok($next, 'a killed worker comes back');
$node->safe_psql('postgres',
	"SELECT payorder.create_order('P4', 100, 'CNY', pay_within => '1 second')");
sql_comes_to($node, 'postgres',
	"SELECT state FROM payorder.orders WHERE order_no = 'P4'",
	'expired', 'and fires what is due');
is($node->safe_psql('postgres', 'SELECT payorder.stop_worker()'),
	't', 'it is stopped');
ok(comes_true(sub { worker_pids($node, 'postgres') eq '' }), 'and ends');
is($node->safe_psql('postgres', 'SELECT payorder.stop_worker()'),
	'f', 'and is not started again');

# ---- a database can be dropped once its worker is stopped
$node->safe_psql('postgres', 'CREATE DATABASE gone');
$node->safe_psql('gone', 'CREATE EXTENSION payorder');
like($node->safe_psql('gone', 'SELECT payorder.start_worker()'),
	qr/^\d+$/, 'start_worker() returns a process id');
ok(comes_true(sub { worker_pids($node, 'gone') ne '' }), 'in each database');
is($node->safe_psql('gone', 'SELECT payorder.stop_worker()'),
	't', 'stop_worker() stops this database\'s');
ok( comes_true(
		sub {
			($node->psql('postgres', 'DROP DATABASE gone'))[0] == 0;
		}),
	'a database without worker is dropped');
no_crash($node, $log);
well($node, 'postgres');

# ---- start_worker() in a transaction that reads only
is( sql_state($node, 'postgres',
		"BEGIN READ ONLY; SELECT payorder.start_worker();"),
	'25006',
	'start_worker() is refused in a read-only transaction');
$node->stop;

# ---- max_worker_processes is used up by the launcher
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'payorder'
max_worker_processes = 1
max_parallel_workers = 0
max_logical_replication_workers = 0
CONF
$log = log_size($node);
$node->start;
ok( comes_true(
		sub {
			my @complaints = slurp_file($node->logfile, $log) =~
			  /could not start payorder worker for database "postgres"/g;
			return @complaints >= 2;
		}),
	'with max_worker_processes used up the launcher logs and tries again');
is( sql_state($node, 'postgres', 'SELECT payorder.start_worker()'),
	'53000', 'and start_worker() says so');
$node->safe_psql('postgres',
	"SELECT payorder.create_order('P5', 100, 'CNY', pay_within => '1 second')");
is( $node->safe_psql('postgres',
		"SELECT state FROM payorder.orders WHERE order_no = 'P5'"),
	'pending',
	'the server works meanwhile');
no_crash($node, $log);
$node->stop;
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$node->start;
sql_comes_to($node, 'postgres',
	"SELECT state FROM payorder.orders WHERE order_no = 'P5'",
	'expired', 'with one more the worker starts and does what was due');
well($node, 'postgres');
$node->stop;

done_testing();
