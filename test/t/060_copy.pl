# A copy of a database, made by CREATE DATABASE ... TEMPLATE or by dump and
# restore, gives out no task that has a gateway, applies no callback and closes
# nothing, until somebody adopts it; the original goes on.  What is no copy: a
# renamed database, a promoted standby.  Scenario 81.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PayorderTest;
use Test::More;

my $main = PostgreSQL::Test::Cluster->new('main');
my $other = PostgreSQL::Test::Cluster->new('other');
my $standby = PostgreSQL::Test::Cluster->new('standby');

$main->init(allows_streaming => 1);
$main->append_conf('postgresql.conf', 'fsync = off');
$main->start;
$other->init;
$other->append_conf('postgresql.conf', 'fsync = off');
$other->start;

# ---- a database with everything in it that talks to a gateway
$main->safe_psql('postgres', 'CREATE DATABASE shop');
$main->safe_psql('shop', 'CREATE EXTENSION payorder');
is($main->safe_psql('shop', 'SELECT payorder.is_copy()'),
	'f', 'a database without a gateway is no copy');
$main->safe_psql('shop', <<'SQL');
SELECT payorder.add_gateway('g', 'generic', 'm', settings => '{"return_delay": "0"}');
SELECT payorder.add_gateway('h', 'generic', 'm2');
SELECT payorder.define_task_kind('mail');
SELECT payorder.create_order(o, 100, 'CNY') FROM unnest('{open,asked,doubt,leased,twice,closing,cancel,late}'::text[]) AS o;
SELECT payorder.ingest('g', 't-' || o, 'pay', o, 100, 'CNY') FROM unnest('{asked,doubt,leased,twice,cancel}'::text[]) AS o;
-- open attempts, one of them to be closed at the gateway
SELECT payorder.begin_payment('open', 'g');
SELECT payorder.begin_payment('closing', 'h');
SELECT payorder.fire('closing', 'close');
-- refunds: in doubt, with a worker that is gone, a return, not asked for yet
SELECT payorder.request_refund('refund_doubt', 'doubt');
SELECT payorder.fail(c.task, c.token, 'no answer') FROM payorder.claim('{refund}') AS c;
UPDATE payorder.task_ready SET run_at = now() WHERE kind = 'refund';
SELECT payorder.request_refund('refund_leased', 'leased');
SELECT count(*) FROM payorder.claim('{refund}', 10, '1 second')  AS c WHERE c.idempotency_key = 'refund_leased' OR payorder.fail(c.task, c.token, 'no answer') IS NULL;
UPDATE payorder.task_ready SET run_at = now() WHERE kind = 'refund';
SELECT payorder.request_refund('refund_asked', 'asked');
SELECT payorder.ingest('g', 't2-twice', 'pay', 'twice', 100, 'CNY');
SELECT payorder.fire('cancel', 'cancel');
SELECT payorder.enqueue('mail', 'open');
SQL
my $tasks = <<'SQL';
SELECT string_agg(DISTINCT c.kind || ' ' || coalesce(c.gateway, '-'), ', ' ORDER BY c.kind || ' ' || coalesce(c.gateway, '-'))
FROM payorder.claim(NULL, 1000) AS c
SQL
is($main->safe_psql('shop', 'SELECT payorder.is_copy()'),
	'f', 'nor is the one in which the gateways were added');
well($main, 'shop', 'the original is well');

# What an unharmed original, or an adopted copy, gives out.  The lease of the
# worker that is gone ends first.
my $given = 'close_payment h, mail -, refund g, return g';
my $numbers = <<'SQL';
SELECT string_agg(c.idempotency_key, ' ' ORDER BY c.idempotency_key COLLATE "C") FROM payorder.claim('{refund}', 1000) AS c
WHERE c.idempotency_key ~ '^refund'
SQL

# What a statement says in a transaction that is rolled back; the last line.
sub would
{
	my ($node, $database, $sql) = @_;
	my $said = $node->safe_psql($database, "BEGIN;\n$sql;\nROLLBACK;");

	$said =~ s/.*\n//s;
	return $said;
}

# The orders whose states and money can be compared.
my $orders = <<'SQL';
SELECT string_agg(concat_ws(' ', order_no, state, paid_amount, refunding_amount), ', ' ORDER BY order_no) FROM payorder.orders
SQL

sub check_copy
{
	my ($node, $database, $how) = @_;
	my $before = $node->safe_psql($database, $orders);

	is($node->safe_psql($database, 'SELECT payorder.is_copy()'),
		't', "$how: it is a copy");
	is( $node->safe_psql(
			$database, "SELECT kind, subject, cause, decisions FROM payorder.attention WHERE kind = 'installation'"),
		"installation|$database|copy|{adopt_cluster}",
		'... attention says so');
	well($node, $database, '... it is well');

	# ---- no task that has a gateway, whoever asks for it and however late
	is(would($node, $database, $tasks), 'mail -',
		'... only tasks without a gateway are given out');
	is( would(
			$node, $database, <<"SQL"),
SELECT count(*) FROM payorder.claim('{$_}', 1000, gateways => '{g,h}')
SQL
		'0',
		"... no $_")
	  for qw(refund return close_payment query_payment query_refund);
	is( would(
			$node, $database, <<"SQL"), 'mail -', '... neither after sweeps, for a day');
SELECT count(s) FROM generate_series(1, 48) AS n, LATERAL payorder.sweep(1000, now() + n * interval '30 minutes') AS s;
UPDATE payorder.task_ready SET run_at = now() WHERE run_at < 'infinity';
$tasks
SQL
	is( would(
			$node, $database, <<"SQL"), 'mail -', '... nor by requery() or resume_gateway()');
SELECT payorder.requery('2000-01-01');
SELECT payorder.resume_gateway('g', 'me', 'why');
$tasks
SQL

	# ---- a callback is kept and waits
	is( $node->safe_psql(
			$database, <<'SQL'), 'deferred|paused|pending|f|200', '... a callback is acknowledged, and deferred');
SELECT verdict, detail, state, paid, ack_status FROM payorder.ingest('g', 'late1', 'pay', 'late', 100, 'CNY')
SQL
	is( $node->safe_psql(
			$database, <<'SQL'), 'deferred|paused', '... also of an attempt, at another gateway');
SELECT verdict, detail FROM payorder.ingest('h', 'late2', 'pay', (SELECT payment_no FROM payorder.attempts WHERE order_no = 'closing'), 100, 'CNY')
SQL
	is( $node->safe_psql(
			$database, <<'SQL'), 'deferred|paused', '... and of a refund');
SELECT verdict, detail FROM payorder.ingest('g', 'r-asked', 'refund', amount => 100, refund_no => 'refund_asked')
SQL
	is( would(
			$node, $database, <<'SQL'), 'pending closing 100', '... no sweep applies it');
SELECT count(payorder.sweep(1000)) FROM generate_series(1, 3);
SELECT concat_ws(' ', (SELECT state FROM payorder.orders WHERE order_no = 'late'), (SELECT state FROM payorder.orders WHERE order_no = 'closing'),
                 (SELECT refunding_amount FROM payorder.orders WHERE order_no = 'asked'))
SQL
	is($node->safe_psql($database, $orders), $before,
		'... and nothing has happened to any order');
	well($node, $database, '... it is well');

	# ---- adopted
	is( sql_state($node, $database, "SELECT payorder.adopt_cluster($_)"),
		'22004', "... adopt_cluster($_) is refused")
	  for "NULL, 'moved'", "'me', NULL";
	is($node->safe_psql($database, 'SELECT payorder.is_copy()'), 't',
		'... and it is a copy still');
	$node->safe_psql($database, "SELECT payorder.adopt_cluster('me', 'moved')");
	is( $node->safe_psql(
			$database, "SELECT payorder.is_copy(), noted_by, reason, (SELECT count(*) FROM payorder.attention WHERE kind = 'installation') FROM payorder.installation"),
		'f|me|moved|0',
		'... adopted, with who and why');
	$node->poll_query_until($database,
		'SELECT count(*) = 0 FROM payorder.task_leases WHERE leased_until > now()')
	  or die 'a lease does not end';
	$node->safe_psql($database, 'SELECT payorder.sweep(1000) FROM generate_series(1, 3)');
	is( $node->safe_psql(
			$database, <<'SQL'), 'asked refunded, closing paid, late paid', '... sweep applies what waited');
SELECT string_agg(order_no || ' ' || state, ', ' ORDER BY order_no) FROM payorder.orders WHERE order_no IN ('late', 'closing', 'asked')
SQL
	is( $node->safe_psql(
			$database, "SELECT count(*) FROM payorder.callbacks_waiting"),
		'0',
		'... and nothing waits any more');
	is( $node->safe_psql(
			$database, "SELECT verdict, state FROM payorder.ingest('g', 'late1', 'pay', 'late', 100, 'CNY')"),
		'duplicate|paid',
		'... a callback of before is a duplicate');
	$node->safe_psql($database, 'UPDATE payorder.task_ready SET run_at = now() WHERE run_at < now() + interval \'1 hour\'');
	is(would($node, $database, $numbers),
		'refund_doubt refund_leased',
		'... the refunds are given out, with their numbers');
	like(would($node, $database, $tasks), qr/mail -.*refund g, return g/,
		'... and all other tasks');
	well($node, $database, '... it is well');
	return;
}

# ---- a clone in the same cluster
$main->safe_psql('postgres', 'CREATE DATABASE clone TEMPLATE shop');
check_copy($main, 'clone', 'a clone');

# ---- a dump restored beside its original, and in another cluster
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';

$main->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'shop' ], 'it is dumped');
for my $node ($main, $other)
{
	my $where = $node->name;

	# in the other cluster it has the original's name
	my $database = $node == $main ? 'restored' : 'shop';

	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0");
	$node->command_ok(
		[ 'pg_restore', '-e', '-d', $node->connstr($database), $dump ],
		"it is restored in $where");
	check_copy($node, $database, "a dump restored in $where");
}

# ---- the original goes on, whatever became of its copies
is($main->safe_psql('shop', 'SELECT payorder.is_copy()'),
	'f', 'the original is no copy');
is( $main->safe_psql(
		'shop', "SELECT count(*) FROM payorder.attention WHERE kind = 'installation'"),
	'0',
	'... and nobody is troubled');
$main->safe_psql('shop', 'SELECT payorder.sweep(1000)');
$main->safe_psql('shop', "UPDATE payorder.task_ready SET run_at = now() WHERE run_at < now() + interval '1 hour'");
is(would($main, 'shop', $tasks), $given, '... its tasks are given out');
is(would($main, 'shop', $numbers),
	'refund_asked refund_doubt refund_leased', '... its refunds too');
is( $main->safe_psql(
		'shop', "SELECT verdict, state FROM payorder.ingest('g', 'late1', 'pay', 'late', 100, 'CNY')"),
	'applied|paid',
	'... a callback is applied');
well($main, 'shop', '... and it is well');

# ---- the name is not what counts
$main->safe_psql('postgres', 'ALTER DATABASE shop RENAME TO store');
is($main->safe_psql('store', 'SELECT payorder.is_copy()'),
	'f', 'a renamed database is no copy');
$main->safe_psql('postgres', 'CREATE DATABASE shop TEMPLATE store');
is($main->safe_psql('shop', 'SELECT payorder.is_copy()'),
	't', 'another one with its old name is');
is( $main->safe_psql(
		'shop', "SELECT payorder.create_order('new', 100, 'CNY'); SELECT payorder.begin_payment('new', 'g'); SELECT (payorder.ingest('g', 'n1', 'pay', 'new', 100, 'CNY')).verdict"
	) =~ /deferred\z/ ? 1 : 0,
	1,
	'... new orders in it wait as well');

# ---- a dump of a database without a gateway notes where it was restored
$main->safe_psql('postgres', 'CREATE DATABASE bare');
$main->safe_psql('bare', 'CREATE EXTENSION payorder');
$main->command_ok([ 'pg_dump', '-Fc', '-f', "$dump.bare", 'bare' ], 'one without a gateway is dumped');
$other->safe_psql('postgres', 'CREATE DATABASE bare TEMPLATE template0');
$other->command_ok([ 'pg_restore', '-e', '-d', $other->connstr('bare'), "$dump.bare" ], '... and restored');
$other->safe_psql('bare', "SELECT payorder.add_gateway('g', 'generic', 'm')");
is($other->safe_psql('bare', 'SELECT payorder.is_copy()'),
	'f', '... its first gateway makes it the original');

# ---- a standby is no copy, promoted or not
$main->backup('base');
$standby->init_from_backup($main, 'base', has_streaming => 1);
$standby->start;
$main->wait_for_catchup($standby);
is($standby->safe_psql('store', 'SELECT payorder.is_copy()'),
	'f', 'a standby is no copy');
is($standby->safe_psql('shop', 'SELECT payorder.is_copy()'),
	't', '... of a copy it is');
$main->stop;
$standby->promote;
is($standby->safe_psql('store', 'SELECT payorder.is_copy()'),
	'f', 'nor is it when it is promoted');
like(would($standby, 'store', $tasks), qr/refund g/, '... it gives out tasks');
is( $standby->safe_psql(
		'store', "SELECT payorder.create_order('after', 100, 'CNY'); SELECT (payorder.ingest('g', 'a1', 'pay', 'after', 100, 'CNY')).verdict"
	) =~ /applied\z/ ? 1 : 0,
	1,
	'... and applies callbacks');
well($standby, 'store');
$standby->stop;
$other->stop;

done_testing();
