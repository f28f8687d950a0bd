# payorder.min_sync is a floor under synchronous_commit where a callback is
# taken or money is sent, for that transaction only: what was acknowledged
# survives a crash of the server though the session commits asynchronously.
# And what a failover to an asynchronous standby lost, requery() finds, since a
# gateway never sends an acknowledged message again.  Scenarios 60, 82.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PayorderTest;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');

$node->init;
# no commit waits for a standby that is not there, and what is committed
# asynchronously stays in memory for a while
$node->append_conf('postgresql.conf', <<'CONF');
synchronous_standby_names = ''
shared_preload_libraries = 'payorder'
wal_writer_delay = '10s'
wal_writer_flush_after = '10GB'
CONF
$node->start;
is($node->safe_psql('postgres', 'SHOW fsync'), 'on', 'fsync is on');
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION payorder;
SELECT payorder.add_gateway('g', 'generic', 'm', settings => '{"return_delay": "0"}');
CREATE TABLE control (n integer);
SQL
is($node->safe_psql('postgres', 'SHOW payorder.min_sync'),
	'local', 'the floor is local where nobody says otherwise');

# ---- the calls, each with what it needs before it
my $n = 0;
my %calls = (
	ingest => [ '', "payorder.ingest('g', 't{n}', 'pay', 'o{n}', 100, 'CNY')" ],
	ingest_conflict => [
		"SELECT payorder.ingest('g', 't{n}', 'pay', 'o{n}', 100, 'CNY');",
		"payorder.ingest('g', 't{n}', 'pay', 'o{n}', 101, 'CNY')" ],
	ingest_parked => [ '', "payorder.ingest('g', 't{n}', 'pay', 'x{n}', 100, 'CNY')" ],
	request_refund => [
		"SELECT payorder.ingest('g', 't{n}', 'pay', 'o{n}', 100, 'CNY');",
		"payorder.request_refund('refund_{n}', 'o{n}', 10)" ],
	request_refunds => [
		"SELECT payorder.ingest('g', 't{n}', 'pay', 'o{n}', 100, 'CNY');",
		"payorder.request_refunds('refund_{n}', 'o{n}', 10)" ],
	settle_callback => [
		"SELECT payorder.ingest('g', 't{n}', 'pay', 'o{n}', 120, 'CNY');",
		"payorder.settle_callback('g', 't{n}', 'pay', 'keep', 'me', 'why')" ],
	settle_refund => [
		"SELECT payorder.ingest('g', 't{n}', 'pay', 'o{n}', 100, 'CNY');"
		  . " SELECT payorder.request_refund('refund_{n}', 'o{n}', 10);"
		  . " SELECT payorder.fail(c.task, c.token, 'x', false) FROM payorder.claim('{refund}', 100) AS c;",
		"payorder.settle_refund('refund_{n}', 'failed', 'me', 'why')" ],
	claim => [
		"SELECT payorder.ingest('g', 't{n}', 'pay', 'o{n}', 100, 'CNY');"
		  . " SELECT payorder.request_refund('refund_{n}', 'o{n}', 10);",
		"payorder.claim('{refund}')" ],
	claim_any => [
		"SELECT payorder.ingest('g', 't{n}', 'pay', 'o{n}', 100, 'CNY');"
		  . " SELECT payorder.request_refund('refund_{n}', 'o{n}', 10);",
		'payorder.claim(max_tasks => 100)' ],
	complete => [
		"SELECT payorder.ingest('g', 't{n}', 'pay', 'o{n}', 100, 'CNY');"
		  . " SELECT payorder.request_refund('refund_{n}', 'o{n}', 10);"
		  . " SELECT task, token FROM payorder.claim('{refund}') \\gset",
		"payorder.complete(:task, :token, '{\"messages\": [{\"event\": \"refund\", \"txn_id\": \"r{n}\", \"amount\": 10}]}')" ]);

# What synchronous_commit is after a call in its transaction, and after that
# transaction, for a session that has set it.
sub levels
{
	my ($name, $session, $floor, $end) = @_;
	my ($before, $call) = @{ $calls{$name} };
	my $sql = <<"SQL";
SELECT payorder.create_order('o{n}', 100, 'CNY') IS NULL;
$before
SET payorder.min_sync = $floor;
SET synchronous_commit = $session;
BEGIN;
SELECT count(*) FROM $call;
SELECT 'within ' || current_setting('synchronous_commit');
$end;
SELECT 'after ' || current_setting('synchronous_commit');
SQL
	$n++;
	$sql =~ s/\{n\}/$n/g;
	my $said = $node->safe_psql('postgres', $sql);

	return join ' ', $said =~ /(?:within|after) (\S+)/g;
}

is(levels($_, 'off', 'local', 'COMMIT'),
	'local off', "$_: a lower session is raised, for the transaction")
  for sort keys %calls;
is(levels($_, 'off', 'local', 'ROLLBACK'),
	'local off', "$_: ... also for one that is rolled back")
  for sort keys %calls;
is(levels($_, 'on', 'local', 'COMMIT'), 'on on', "$_: a higher one stays")
  for sort keys %calls;

# every pair of levels; without a standby that must confirm none of them waits
my @order = ('off', 'local', 'remote_write', 'on', 'remote_apply');

for my $floor (0 .. $#order)
{
	for my $session (0 .. $#order)
	{
		my $higher = $order[ $floor > $session ? $floor : $session ];

		is(levels('ingest', $order[$session], $order[$floor], 'COMMIT'),
			"$higher $order[$session]",
			"session $order[$session], floor $order[$floor]: $higher");
	}
}

# an order of SET LOCAL in the same transaction, a savepoint, a function's own
is( $node->safe_psql(
		'postgres', <<'SQL'), "local\nlocal\noff", 'the floor holds to the end of the transaction');
SELECT payorder.create_order('s1', 100, 'CNY') IS NULL \g /dev/null
SET synchronous_commit = off;
BEGIN;
SAVEPOINT s;
SELECT payorder.ingest('g', 's1', 'pay', 's1', 100, 'CNY') IS NULL \g /dev/null
RELEASE s;
SHOW synchronous_commit;
SELECT payorder.ingest('g', 's1', 'pay', 's1', 100, 'CNY') IS NULL \g /dev/null
SHOW synchronous_commit;
COMMIT;
SHOW synchronous_commit;
SQL
# who may not set it can't lower it
$node->safe_psql('postgres', 'CREATE ROLE caller');
is( sql_state($node, 'postgres', 'SET ROLE caller; SET payorder.min_sync = off'),
	'42501', 'a caller can\'t lower the floor');
is(sql_state($node, 'postgres', "SET payorder.min_sync = 'sometimes'"),
	'22023', 'nor is there any other level');
well($node, 'postgres');

# ---- the server dies in the instant after an acknowledgement
my $lost = 0;

for my $turn (1 .. 3)
{
	my ($rc, $out) = $node->psql('postgres', <<"SQL");
SELECT payorder.create_order('c$turn', 100, 'CNY') IS NULL \\g /dev/null
SELECT payorder.create_order('d$turn', 100, 'CNY') IS NULL \\g /dev/null
SELECT payorder.ingest('g', 'd$turn', 'pay', 'd$turn', 100, 'CNY') IS NULL \\g /dev/null
SET synchronous_commit = off;
SELECT payorder.request_refund('refund_d$turn', 'd$turn', 10) IS NULL \\g /dev/null
SELECT verdict FROM payorder.ingest('g', 'c$turn', 'pay', 'c$turn', 100, 'CNY');
INSERT INTO control VALUES ($turn);
SQL
	is($out, 'applied', "turn $turn: a callback is acknowledged");
	crash_and_start($node);
	is( $node->safe_psql(
			'postgres', "SELECT c.verdict, o.state FROM payorder.callbacks AS c JOIN payorder.orders AS o USING (order_no) WHERE c.txn_id = 'c$turn'"),
		'applied|paid',
		'... and there after the crash');
	is( $node->safe_psql(
			'postgres', "SELECT state FROM payorder.refunds WHERE refund_no = 'refund_d$turn'"),
		'asked',
		'... and so is a refund');
	$lost++
	  if $node->safe_psql('postgres',
		"SELECT count(*) FROM control WHERE n = $turn") == 0;
	well($node, 'postgres');
}
cmp_ok($lost, '>', 0,
	'what was committed after them without a floor was lost in the crash');
no_crash($node, 0);
$node->stop;

# ---- a failover loses what was acknowledged (82)
my $primary = PostgreSQL::Test::Cluster->new('primary');
my $standby = PostgreSQL::Test::Cluster->new('standby');

$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', 'fsync = off');
$primary->start;
$primary->safe_psql('postgres', <<'SQL');
CREATE EXTENSION payorder;
SELECT payorder.add_gateway('g', 'generic', 'm');
SELECT payorder.add_gateway('h', 'generic', 'm2');
-- to be paid, closed, failed and paid after all, and left alone
SELECT payorder.create_order('p' || n, 100 + n, 'CNY') FROM generate_series(1, 30) AS n;
SELECT payorder.begin_payment('p' || n, CASE WHEN n % 3 = 0 THEN 'h' ELSE 'g' END) FROM generate_series(1, 30) AS n;
SELECT payorder.ingest('g', 'f' || n, 'pay_failed', (SELECT payment_no FROM payorder.attempts WHERE order_no = 'p' || n)) FROM unnest('{1,2}'::integer[]) AS n;
-- to be refunded
SELECT payorder.create_order('r' || n, 100, 'CNY') FROM generate_series(1, 12) AS n;
SELECT payorder.ingest('g', 'tr' || n, 'pay', 'r' || n, 100, 'CNY') FROM generate_series(1, 12) AS n;
SELECT payorder.request_refund('refund_' || n, 'r' || n, 10 * n / 2) FROM generate_series(1, 12) AS n;
SELECT payorder.ingest('g', 'br12', 'refund', amount => 60, refund_no => 'refund_12');
SQL
$primary->backup('base');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
my $since = $primary->safe_psql('postgres', 'SELECT now() - interval \'1 minute\'');
$primary->wait_for_catchup($standby);
# from here on nothing reaches the standby
$standby->stop;

# The gateway: what it knows, by the number that it was given.
my (%paid, %refunded);
my @acknowledged;

sub acknowledge
{
	my ($sql) = @_;
	my $said = $primary->safe_psql('postgres',
		"SELECT verdict, ack_status FROM payorder.ingest($sql)");

	like($said, qr/^applied\|200$/, "acknowledged: $sql");
	push @acknowledged, $sql;
	return;
}

sub attempt_of
{
	my ($order, $gateway) = split /\|/, $primary->safe_psql('postgres',
		"SELECT payment_no, gateway FROM payorder.attempts WHERE order_no = '$_[0]'");

	return ($order, $gateway);
}

# 1 and 2 had failed, and are paid after all; 3 to 12 are paid; 13 to 15 are
# closed; nobody has begun to pay the others
for my $i (1 .. 15)
{
	my ($number, $gateway) = attempt_of("p$i");
	my $amount = 100 + $i;

	if ($i <= 12)
	{
		$paid{$number} =
		  qq({"event": "pay", "txn_id": "tp$i", "amount": $amount, "currency": "CNY"});
		acknowledge("'$gateway', 'tp$i', 'pay', '$number', $amount, 'CNY'");
	}
	else
	{
		$paid{$number} = qq({"event": "pay_closed", "txn_id": "cp$i"});
		acknowledge("'$gateway', 'cp$i', 'pay_closed', '$number'");
	}
}
# refunds 1 to 5 have succeeded, 6 has failed for good, 7 is stuck, 8 is at the
# gateway without an end, the others have not been sent; 12 fails after all
$primary->safe_psql('postgres',
	"SELECT count(*) FROM payorder.claim('{refund}', 8)");
for my $i (1 .. 8)
{
	my $amount = int(10 * $i / 2);

	$refunded{"refund_$i"} =
		$i <= 5 ? qq({"event": "refund", "txn_id": "br$i", "amount": $amount})
	  : $i == 6 ? qq({"event": "refund_failed", "txn_id": "br$i"})
	  : $i == 7 ? qq({"event": "refund_stuck", "txn_id": "br$i"})
	  :           '';
	acknowledge("'g', 'br$i', 'refund', amount => $amount, refund_no => 'refund_$i'")
	  if $i <= 5;
	acknowledge("'g', 'br$i', 'refund_failed', refund_no => 'refund_$i'") if $i == 6;
	acknowledge("'g', 'br$i', 'refund_stuck', refund_no => 'refund_$i'") if $i == 7;
}
$refunded{refund_12} = '{"event": "refund_failed", "txn_id": "br12"}';
acknowledge("'g', 'br12', 'refund_failed', refund_no => 'refund_12'");

my $books = <<'SQL';
SELECT o.order_no, o.state, o.paid_amount, o.refunding_amount, o.refunded_amount, sum(p.owed),
       (SELECT string_agg(r.state, ' ' ORDER BY r.refund_no) FROM payorder.refunds AS r WHERE r.order_no = o.order_no AND r.state <> 'in_doubt' AND r.state <> 'asked')
FROM payorder.orders AS o LEFT JOIN payorder.payments AS p USING (order_no) GROUP BY 1 ORDER BY 1
SQL
my $truth = $primary->safe_psql('postgres', $books);
$primary->stop('immediate');

# ---- the standby knows nothing of it
$standby->start;
$standby->promote;
isnt($standby->safe_psql('postgres', $books), $truth, 'the standby has lost it');
is( $standby->safe_psql(
		'postgres', "SELECT count(*) FROM payorder.orders WHERE state = 'paid' AND order_no LIKE 'p%'"),
	'0',
	'... each payment');
is($standby->safe_psql('postgres', 'SELECT payorder.is_copy()'),
	'f', 'a promoted standby is no copy');

# The gateway answers every question that is asked now.
sub answer_all
{
	my $answered = 0;

	while (1)
	{
		my ($task, $token, $kind, $number) = split /\|/, $standby->safe_psql(
			'postgres', <<'SQL');
SELECT task, token, kind, coalesce(payload ->> 'refund_no', payload ->> 'payment_no') FROM payorder.claim('{query_payment,query_refund}')
SQL
		last unless defined $task;
		my $known = $kind eq 'query_refund' ? $refunded{$number} : $paid{$number};
		my $result =
			!defined $known ? '{"unknown": true}'
		  : $known eq '' ? '{}'
		  :                qq({"messages": [$known]});

		$standby->safe_psql('postgres',
			"SELECT verdict FROM payorder.complete($task, $token, '$result')");
		$answered++;
	}
	return $answered;
}

is(answer_all(), 0, 'nothing is asked by itself');
cmp_ok(
	$standby->safe_psql('postgres', "SELECT payorder.requery('$since')"),
	'>=',
	30 + 12,
	'requery() asks about every attempt and refund');
cmp_ok(answer_all(), '>=', 30 + 12, '... each is answered');
is($standby->safe_psql('postgres', $books),
	$truth, '... and the books are as they were');
well($standby, 'postgres');
is( $standby->safe_psql(
		'postgres', <<'SQL'), '', 'each payment took effect in one event');
SELECT e.txn_id, count(*) FROM payorder.events AS e WHERE e.event IN ('pay', 'reopen') GROUP BY 1 HAVING count(*) <> 1
SQL

# what the gateway sends again is known, and what was not sent is sent once
for my $sql (@acknowledged)
{
	is( $standby->safe_psql('postgres', "SELECT verdict FROM payorder.ingest($sql)"),
		'duplicate',
		"known: $sql");
}
is( $standby->safe_psql(
		'postgres', "SELECT string_agg(idempotency_key, ' ' ORDER BY idempotency_key) FROM payorder.claim('{refund}', 100) WHERE idempotency_key <> 'refund_7'"),
	'refund_10 refund_11 refund_8 refund_9',
	'no refund that was answered for good is given out, the others with their numbers');
is($standby->safe_psql('postgres', "SELECT payorder.requery(now() + interval '1 hour')")
	> 0 ? 1 : 0,
	1, 'what is open can be asked about again');
answer_all();
is($standby->safe_psql('postgres', $books), $truth, '... which changes nothing');
well($standby, 'postgres');
$standby->stop;

done_testing();
