# Several databases: each its worker, also one without the extension, one that
# comes later, one that goes and comes again; no slots left for more.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PayorderTest;
use Test::More;

my $SOON = 30;

my $node = PostgreSQL::Test::Cluster->new('databases');
my $orders = 0;

sub set
{
	my ($setting) = @_;

	$node->append_conf('postgresql.conf', $setting);
	$node->reload;
	return;
}

sub works
{
	my ($database, $name) = @_;
	my $order_no = 'W' . ++$orders;

	$node->safe_psql($database,
		"SELECT payorder.create_order('$order_no', 100, 'CNY', pay_within => '1 second')"
	);
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
		},
		$SOON) || 0;
}

$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'payorder'
payorder.databases = 'a, "Shop 2", bare, later, a'
payorder.poll_interval = '60s'
max_logical_replication_workers = 0
fsync = off
CONF
$node->start;
$node->safe_psql('postgres', $_)
  for 'CREATE DATABASE bare', 'CREATE DATABASE a', 'CREATE DATABASE "Shop 2"';
$node->safe_psql($_, 'CREATE EXTENSION payorder') for 'a', 'Shop 2';

# ---- each its own
works($_, "database $_ has a worker that works") for 'a', 'Shop 2';
my %worker = map { $_ => one_worker($_) } 'a', 'Shop 2', 'bare';
is(scalar(grep { $_ } values %worker), 3, 'each database has one');
$node->safe_psql('a', <<'SQL');
SELECT payorder.create_order('LOCKED', 100, 'CNY', pay_within => '1 second');
SQL
my $holder = $node->background_psql('a');
$holder->query_safe(
	"BEGIN; SELECT FROM payorder.orders WHERE order_no = 'LOCKED' FOR UPDATE");
works('Shop 2', 'what is locked in one holds up no other');
$holder->query_safe('COMMIT');
$holder->quit;
$node->safe_psql('bare', 'CREATE EXTENSION payorder');
works('bare', 'the one without the extension works when it is there');
is(one_worker('bare'), $worker{bare}, '... in the worker that idled');

# ---- one that comes later
like(slurp_file($node->logfile), qr/database "later" does not exist/,
	'a database that is not there is logged');
my @tries = slurp_file($node->logfile) =~ /database "later" does not exist/g;
cmp_ok(scalar(@tries), '<', 10, '... after growing pauses');
$node->safe_psql('postgres', 'CREATE DATABASE later');
$node->safe_psql('later', 'CREATE EXTENSION payorder');
works('later', '... and has its worker once it is there');

# ---- one that goes and comes again
$node->safe_psql('postgres', 'DROP DATABASE a');
ok(comes_true(sub { !kill(0, $worker{a}) }, $SOON),
	'the worker of a dropped database is gone');
$node->safe_psql('postgres', 'CREATE DATABASE a');
$node->safe_psql('a', 'CREATE EXTENSION payorder');
works('a', 'created again it has one again');
is(one_worker($_), $worker{$_}, "... and $_ has kept its own")
  for 'Shop 2', 'bare';

# ---- the list changes
set("payorder.databases = '\"Shop 2\", postgres'");
ok( comes_true(
		sub { join('', map { worker_pids($node, $_) } qw(a bare later)) eq '' },
		$SOON),
	'those that left the list have no worker');
is(one_worker('Shop 2'), $worker{'Shop 2'}, '... the one that stayed has its own');
$node->safe_psql('postgres', 'CREATE EXTENSION payorder');
works('postgres', '... and the new one works');
set("payorder.databases = ''");
ok( comes_true(
		sub { join('', map { worker_pids($node, $_) } 'postgres', 'Shop 2') eq '' },
		$SOON),
	'an empty list: no worker');
set("payorder.databases = 'bare'");
works('bare', 'one is listed again');

# ---- no slot is free for a third one: the launcher and two
my $log = log_size($node);
$node->append_conf('postgresql.conf', "payorder.databases = 'a, bare'");
$node->append_conf('postgresql.conf', 'max_worker_processes = 3');
$node->append_conf('postgresql.conf', 'max_parallel_workers = 0');
$node->restart;
one_worker('a');
my $bare = one_worker('bare');
set("payorder.databases = 'a, bare, later'");
ok( comes_true(
		sub {
			slurp_file($node->logfile, $log) =~
			  /LOG:  could not start payorder worker for database "later"\n.*DETAIL:  All background worker slots are in use.\n.*HINT:  Increase max_worker_processes/;
		},
		$SOON),
	'when no slot is free the launcher says what to do');
my ($rc, $out, $err) = $node->psql('later',
	"\\set VERBOSITY verbose\nSELECT payorder.start_worker()");
like($err, qr/ERROR:  53000: could not start a worker.*HINT:  Increase max_worker_processes/s,
	'... and so does start_worker()');
$node->safe_psql('later',
	"SELECT payorder.create_order('WAITS', 100, 'CNY', pay_within => '1 second')"
);
works('bare', 'the others work');
ok( comes_true(
		sub {
			my @said = slurp_file($node->logfile, $log) =~
			  /could not start payorder worker/g;
			return @said >= 3;
		},
		$SOON),
	'it is said again');
my @said = slurp_file($node->logfile, $log) =~
  /^(.*) \[.*could not start payorder worker/mg;
my $longest = $node->safe_psql('postgres',
	"SELECT '$said[2]'::timestamptz - '$said[1]'::timestamptz > 1.5 * ('$said[1]'::timestamptz - '$said[0]'::timestamptz)"
);
is($longest, 't', '... less and less often');
set("payorder.databases = 'a, later'");
sql_comes_to($node, 'later',
	"SELECT state FROM payorder.orders WHERE order_no = 'WAITS'",
	'expired', 'a slot that becomes free is taken', 15);

# ---- more than the launcher can keep
$log = log_size($node);
set("payorder.databases = 'a, later, "
	  . join(', ', map { "none$_" } 1 .. 63) . "'");
ok( comes_true(
		sub {
			slurp_file($node->logfile, $log) =~
			  /database "none63" has no payorder worker\n.*At most 64 databases have one/;
		},
		$SOON),
	'a list that is too long is logged');
works('later', '... and the others work');
well($node, $_) for qw(a bare later);
no_crash($node, 0);
$node->stop;

done_testing();
