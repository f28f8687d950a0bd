# The postmaster is killed in the middle of load, five times, then a backend,
# then the server is stopped at once: what a client was told is there exactly
# once, and what it was not told can be sent again.  Scenario 60.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PayorderTest;
use Test::More;
use Time::HiRes qw(usleep);

my @HOW = (('postmaster') x 5, 'backend', 'immediate stop');
my $CLIENTS = 4;
my $ORDERS = 1500;     # per client and turn, more than it gets done
my @KILL_AT = (40, 1200, 300, 700, 2000, 500, 600);    # acknowledgements

# Every order has one payment of an amount that follows from its number.
my $AMOUNT = "100 + length(o) + hashtext(o) % 50";

my $node = PostgreSQL::Test::Cluster->new('main');
my $dir = PostgreSQL::Test::Utils::tempdir();

# What a client does, as a psql script that says what was committed.
sub script
{
	my ($turn, $client) = @_;
	my $text = "\\set ON_ERROR_STOP 1\nSET synchronous_commit = on;\n";
	my $call = sub {
		my ($what, $key, $select) = @_;
		$text .= "$select \\gset\n\\echo $what $key :answer\n";
	};

	for my $n (1 .. $ORDERS)
	{
		my $o = sprintf('C%d-%d-%d', $turn, $client, $n);
		my $pay = "SELECT verdict AS answer FROM (VALUES ('$o')) AS v (o), "
		  . "payorder.ingest('g', 't' || o, 'pay', o, $AMOUNT, 'CNY')";
		my $create = "SELECT state AS answer FROM (VALUES ('$o')) AS v (o), "
		  . "payorder.create_order(o, $AMOUNT, 'CNY')";

		# every third payment comes before its order
		$call->('pay', $o, $pay) if $n % 3 == 0;
		$call->('order', $o, $create);
		$call->('pay', $o, $pay) if $n % 3 != 0;
		# and every fourth is repeated
		$call->('pay', $o, $pay) if $n % 4 == 0;
		$call->('cancel', $o,
			"SELECT state AS answer FROM payorder.fire('$o', 'cancel', request_id => 'c')"
		) if $n % 5 == 0;
		$call->('refund', $o,
			"SELECT state AS answer FROM payorder.request_refund("
			  . "'RF_' || translate('$o', '-', '_'), '$o', 7)")
		  if $n % 7 == 0 && $n % 5;
		# several facts in one transaction
		$call->('pair', $o,
			"BEGIN;\nSELECT verdict FROM payorder.ingest('g', 'x$o', 'pay', '$o', 5, 'CNY') \\gset\n"
			  . "SELECT verdict FROM payorder.ingest('g', 'y$o', 'pay', '$o', 6, 'CNY') \\gset\n"
			  . "COMMIT;\nSELECT 'both' AS answer")
		  if $n % 11 == 0;
	}
	return $text;
}

# Ends the server, or has it end, and starts it again.
sub end_and_start
{
	my ($how) = @_;

	if ($how eq 'postmaster')
	{
		crash_and_start($node);
	}
	elsif ($how eq 'backend')
	{
		my $backend = $node->safe_psql('postgres',
			"SELECT min(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
		);

		# the postmaster ends the others and starts by itself
		kill('KILL', $backend);
		return if comes_true(
			sub {
				slurp_file($node->logfile) =~ /all server processes terminated/
				  && ($node->psql('postgres', 'SELECT'))[0] == 0;
			});
		die 'the server did not start again';
	}
	else
	{
		$node->stop('immediate');
		$node->start;
	}
	return;
}

sub noted_in { my $n = 0; $n += () = slurp_file($_) =~ /\n/g for @_; return $n; }

$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'payorder'
payorder.databases = 'postgres'
log_statement = 'none'
restart_after_crash = on
CONF
$node->start;
is($node->safe_psql('postgres', 'SHOW fsync'), 'on', 'fsync is on');
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION payorder;
SELECT payorder.add_gateway('g', 'generic', 'm',
	settings => '{"auto_return_per_hour": 1000000}');
CREATE TABLE noted (turn integer, what text, o text, answer text);
SQL

my $connection = $node->connstr('postgres');
for my $turn (1 .. @HOW)
{
	my (@clients, @files);

	for my $client (1 .. $CLIENTS)
	{
		my $in = "$dir/$turn-$client.sql";
		my $out = "$dir/$turn-$client.out";

		append_to_file($in, script($turn, $client));
		append_to_file($out, '');
		my $pid = fork // die 'could not fork';
		if ($pid == 0)
		{
			open STDOUT, '>', $out or die;
			open STDERR, '>', "$out.err" or die;
			exec 'psql', '-X', '-q', '-A', '-t', '-d', $connection,
			  '-f', $in
			  or die;
		}
		push @clients, $pid;
		push @files, $out;
	}
	ok( comes_true(sub { noted_in(@files) >= $KILL_AT[ $turn - 1 ] }),
		"turn $turn, $HOW[$turn - 1]: the server is under load");
	end_and_start($HOW[ $turn - 1 ]);
	# a client that had come to its end would not have been killed in flight
	my $ended_itself = 0;
	for (@clients)
	{
		waitpid($_, 0);
		$ended_itself++ if $? == 0;
	}
	is($ended_itself, 0, '... all clients are in the middle of their work');
	note(noted_in(@files) . ' answers noted');

	# \copy takes the answers as they were noted, the last line only if whole
	my $noted = join '',
	  map { my ($whole) = slurp_file($_) =~ /\A(.*\n)/s; $whole // '' } @files;
	$noted =~ s/^/$turn /mg;
	append_to_file("$dir/$turn.noted", $noted);
	$node->safe_psql('postgres',
		"\\copy noted FROM '$dir/$turn.noted' (DELIMITER ' ')");

	# ---- each acknowledgement is kept
	is( $node->safe_psql(
			'postgres', <<SQL), '', '... every acknowledged order is there');
SELECT o FROM noted WHERE turn = $turn AND what = 'order'
EXCEPT SELECT order_no FROM payorder.orders
SQL
	is( $node->safe_psql(
			'postgres', <<SQL), '', '... every acknowledged callback, once, with its amount');
SELECT n.o, n.answer, c.verdict, p.amount
FROM noted AS n
LEFT JOIN payorder.callbacks AS c ON c.gateway = 'g' AND c.txn_id = 't' || n.o AND c.event = 'pay'
LEFT JOIN payorder.payments AS p ON p.gateway = 'g' AND p.txn_id = 't' || n.o
WHERE n.turn = $turn AND n.what = 'pay'
  AND (c.verdict IS NULL OR p.amount IS DISTINCT FROM $AMOUNT
       OR n.answer NOT IN ('applied', 'parked', 'duplicate')
       OR (n.answer = 'applied' AND c.verdict IS DISTINCT FROM 'applied'))
SQL
	is( $node->safe_psql(
			'postgres', <<SQL), '', '... every acknowledged cancel and refund');
SELECT n.what, n.o FROM noted AS n
WHERE n.turn = $turn AND n.what = 'cancel'
  AND (SELECT count(*) FROM payorder.events AS e
       WHERE e.order_no = n.o AND e.request_id = 'c') <> 1
UNION ALL
SELECT n.what, n.o FROM noted AS n
WHERE n.turn = $turn AND n.what = 'refund'
  AND NOT EXISTS (SELECT FROM payorder.refunds AS r
                  WHERE r.refund_no = 'RF_' || translate(n.o, '-', '_'))
UNION ALL
SELECT n.what, n.o FROM noted AS n
WHERE n.turn = $turn AND n.what = 'pair'
  AND (SELECT count(*) FROM payorder.payments AS p
       WHERE p.txn_id IN ('x' || n.o, 'y' || n.o)) <> 2
SQL
	is( $node->safe_psql(
			'postgres', <<SQL), '', '... of two facts of one transaction both or none');
SELECT substr(p.txn_id, 2), count(*) FROM payorder.payments AS p
WHERE p.txn_id ~ '^[xy]' GROUP BY 1 HAVING count(*) <> 2
SQL
	well($node, 'postgres', '... and the invariants hold');

	# ---- the gateway sends everything of the turn again
	is( $node->safe_psql(
			'postgres', <<SQL), '', '... what was acknowledged is a duplicate now');
SELECT n.o, a.verdict FROM (SELECT DISTINCT o FROM noted
                            WHERE turn = $turn AND what = 'pay') AS n,
    payorder.ingest('g', 't' || o, 'pay', o, $AMOUNT, 'CNY') AS a
WHERE a.verdict <> 'duplicate' AND NOT (a.verdict = 'parked' AND a.order_no IS NULL)
SQL
	# those that were parked in the instant of the crash get their orders
	is( $node->safe_psql('postgres', <<SQL), '', '... and parked ones are applied by their order');
SELECT v.o, s.state FROM (SELECT substr(w.txn_id, 2) AS o FROM payorder.callbacks_waiting AS w) AS v,
    payorder.create_order(o, $AMOUNT, 'CNY') AS s
WHERE s.state <> 'paid'
SQL
	for my $client (1 .. $CLIENTS)
	{
		my $last = $node->safe_psql('postgres',
			"SELECT coalesce(max(split_part(o, '-', 3)::integer), 0) FROM noted WHERE o LIKE 'C$turn-$client-%'"
		);

		is( $node->safe_psql(
				'postgres', <<SQL), '', "... client $client can go on where it was");
SELECT o, a.verdict FROM generate_series(greatest($last - 1, 1), $last + 10) AS n,
    LATERAL (SELECT 'C$turn-$client-' || n AS o) AS v,
    LATERAL (SELECT state FROM payorder.create_order(o, $AMOUNT, 'CNY')) AS s,
    LATERAL (SELECT a.verdict FROM payorder.ingest('g', 't' || o, 'pay', o, $AMOUNT, 'CNY') AS a
             WHERE s.state IS NOT NULL) AS a
WHERE a.verdict NOT IN ('applied', 'duplicate')
SQL
	}
}

# ---- in the end each order is paid by one event, and no money is lost
is( $node->safe_psql(
		'postgres', <<'SQL'), '', 'each payment took effect in one event');
SELECT e.txn_id, count(*) FROM payorder.events AS e
WHERE e.event IN ('pay', 'reopen') GROUP BY 1 HAVING count(*) <> 1
SQL
is( $node->safe_psql(
		'postgres', <<'SQL'), 't', 'received = kept + waiting');
SELECT sum(received) = sum(kept + waiting + returned + disputed + undone - overdrawn)
FROM payorder.money_balance
SQL
sql_comes_to($node, 'postgres',
	"SELECT count(*) FROM payorder.task_ready WHERE kind = 'refund_all'",
	'0', 'the worker does what is left');
well($node, 'postgres');
no_crash($node, 0);
note($node->safe_psql('postgres',
	"SELECT state, count(*) FROM payorder.orders GROUP BY 1 ORDER BY 1"));
$node->stop;

done_testing();
