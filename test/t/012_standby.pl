# A standby: its worker waits until it is promoted, then nothing happens twice
# (61); what writes is refused there and in read-only transactions (25).
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PayorderTest;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
my $standby = PostgreSQL::Test::Cluster->new('standby');

$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'payorder'
payorder.databases = 'postgres'
max_connections = 20
CONF
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION payorder');
$primary->backup('base');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# Due and done on the primary; open; paid, with a refund under way; and paid
# before it exists.
$primary->safe_psql('postgres', <<'SQL');
SELECT payorder.add_gateway('g', 'generic', 'm');
SELECT payorder.create_order('S1', 100, 'CNY', pay_within => '1 second');
SELECT payorder.create_order('S0', 100, 'CNY');
SELECT payorder.create_order('S3', 300, 'CNY');
SELECT payorder.ingest('g', 't3', 'pay', 'S3', 300, 'CNY');
SELECT payorder.fire('S3', 'cancel', 'buyer');
SELECT payorder.ingest('g', 't4', 'pay', 'S4', 400, 'CNY');
SELECT payorder.create_consumer('c', '-infinity');
SQL
sql_comes_to($primary, 'postgres',
	"SELECT state FROM payorder.orders WHERE order_no = 'S1'",
	'expired', 'the primary\'s worker works');
sql_comes_to($primary, 'postgres',
	'SELECT count(*) FROM payorder.refunds',
	'1', 'and has made the refund');
$primary->wait_for_catchup($standby);

# ---- the standby reads, and its worker waits
is(worker_pids($standby, 'postgres'), '', 'a standby has no worker');
is(launcher_pid($standby), undef, 'nor a launcher');
well($standby, 'postgres', 'the invariants can be checked there, and hold');
is( $standby->safe_psql('postgres',
		"SELECT ok FROM payorder.verify_events('S3')"),
	't',
	'events can be verified there');
is( $standby->safe_psql('postgres', 'SELECT consumer, behind > 5 FROM payorder.consumers'),
	'c|t', 'consumers are seen there');
my $mark = $primary->safe_psql('postgres',
	'SELECT to_mark, digest FROM payorder.event_digest()');
my $digest = $mark =~ s/\|(.*)//r ? $1 : '';
$mark =~ s/\|.*//;
$primary->wait_for_catchup($standby);
is( $standby->safe_psql('postgres', "SELECT digest FROM payorder.event_digest(NULL, '$mark')"),
	$digest, 'the digest of a mark is the same there');
is(sql_state($standby, 'postgres', 'SELECT payorder.event_digest()'),
	'25006', 'a new mark is not made there');
like( $standby->safe_psql('postgres', "SELECT payorder.machine_diagram('order')"),
	qr/stateDiagram/, 'the machine can be drawn there');
is( $standby->safe_psql('postgres',
		"SELECT string_agg(e, ' ') FROM payorder.allowed_events('S0') AS e"),
	$primary->safe_psql('postgres',
		"SELECT string_agg(e, ' ') FROM payorder.allowed_events('S0') AS e"),
	'allowed_events() is the same there');

is( $standby->safe_psql('postgres',
		"SELECT count(*) > 0, payorder.is_copy() FROM payorder.order_money('S3')"),
	't|f',
	'how money moved can be read there, and that it is no copy');
is($standby->safe_psql('postgres', "SELECT payorder.parse_amount('19.90', 'CNY')"),
	'1990', 'amounts can be read there');

# ---- everything that writes is refused there, and in READ ONLY
my %writers = (
	create_order => "payorder.create_order('S9', 1, 'CNY')",
	create_order_again => "payorder.create_order('S3', 300, 'CNY')",
	begin_payment => "payorder.begin_payment('S0', 'g')",
	next_events => "payorder.next_events('c')",
	ack_events => "payorder.ack_events('c', 'x')",
	seek_events => "payorder.seek_events('c', 'infinity')",
	create_consumer => "payorder.create_consumer('d')",
	drop_consumer => "payorder.drop_consumer('c')",
	fire => "payorder.fire('S0', 'cancel')",
	ingest => "payorder.ingest('g', 't9', 'pay', 'S0', 100, 'CNY')",
	ingest_duplicate => "payorder.ingest('g', 't3', 'pay', 'S3', 300, 'CNY')",
	ingest_conflict => "payorder.ingest('g', 't3', 'pay', 'S3', 301, 'CNY')",
	request_refund => "payorder.request_refund('REFUND001', 'S3', 1)",
	request_refunds => "payorder.request_refunds('REFUND00', 'S3', 1)",
	reprice_order => "payorder.reprice_order('S0', 90, 'me', 'why')",
	settle_callback => "payorder.settle_callback('g', 't4', 'pay', 'return', 'me', 'why')",
	settle_refund => "payorder.settle_refund('REFUND001', 'keep', 'me', 'why')",
	set_refund_limits => "payorder.set_refund_limits('g', NULL, '{}')",
	requery => "payorder.requery('2000-01-01')",
	retry_callback => "payorder.retry_callback('g', 't4', 'pay', 'me', 'why')",
	adopt_cluster => "payorder.adopt_cluster('me', 'why')",
	enqueue => "payorder.enqueue('nothing')",
	claim => 'payorder.claim()',
	heartbeat => 'payorder.heartbeat(1, 1)',
	complete => 'payorder.complete(1, 1)',
	fail => "payorder.fail(1, 1, 'error')",
	retry_dead => "payorder.retry_dead(1, 'me', 'why')",
	cancel_task => "payorder.cancel_task(1, 'me', 'why')",
	retry_order => "payorder.retry_order('S0', 'me', 'why')",
	sweep => 'payorder.sweep()',
	define_machine => "payorder.define_machine('m', '{}')",
	define_task_kind => "payorder.define_task_kind('k')",
	add_gateway => "payorder.add_gateway('h', 'generic', 'm2')",
	alter_gateway => "payorder.alter_gateway('g', '{}')",
	pause_gateway => "payorder.pause_gateway('g', 'me', 'why')",
	resume_gateway => "payorder.resume_gateway('g', 'me', 'why')",
	start_worker => 'payorder.start_worker()');
for my $name (sort keys %writers)
{
	is(sql_state($standby, 'postgres', "SELECT $writers{$name}"),
		'25006', "$name is refused on a standby");
	is( sql_state($primary, 'postgres',
			"BEGIN READ ONLY; SELECT $writers{$name}"),
		'25006', "$name is refused in a read-only transaction");
}
# here the refusal is the answer
is( sql_state($standby, 'postgres', "SELECT payorder.try_fire('S0', 'cancel')"),
	'25006', 'try_fire raises on a standby');
is( sql_state($standby, 'postgres', 'CALL payorder.run_sweeps()'),
	'25006', 'run_sweeps is refused on a standby');

# ---- the primary dies before S2 is due; the standby takes over
$primary->safe_psql('postgres',
	"SELECT payorder.create_order('S2', 100, 'CNY', pay_within => '4 seconds')");
$primary->wait_for_catchup($standby);
$primary->stop('immediate');
my $before = $standby->safe_psql('postgres',
	"SELECT count(*) FROM payorder.events WHERE order_no <> 'S2'");
$standby->promote;
ok( comes_true(
		sub { worker_pids($standby, 'postgres') =~ /^\d+$/; }),
	'the promoted server starts its worker');
sql_comes_to($standby, 'postgres',
	"SELECT state FROM payorder.orders WHERE order_no = 'S2'",
	'expired', 'which fires the timer');
is( $standby->safe_psql('postgres',
		"SELECT count(*) FROM payorder.events WHERE order_no <> 'S2'"),
	$before,
	'nothing happens twice to the other orders');
is( $standby->safe_psql('postgres',
		"SELECT string_agg(event, ' ' ORDER BY seq) FROM payorder.events WHERE order_no = 'S2'"),
	'create_order close',
	'and one thing once to this');
is( $standby->safe_psql('postgres',
		'SELECT count(*), sum(amount) FROM payorder.refunds'),
	'1|300',
	'one refund');
is( $standby->safe_psql('postgres', <<'SQL'),
SELECT verdict, state FROM payorder.ingest('g', 't3', 'pay', 'S3', 300, 'CNY')
SQL
	'duplicate|refunding',
	'an acknowledged callback is a duplicate there');
is( $standby->safe_psql('postgres',
		"SELECT state FROM payorder.create_order('S4', 400, 'CNY')"),
	'paid',
	'a parked one meets its order there');
is( $standby->safe_psql('postgres', <<'SQL'), 't|1', 'the consumer gets all events there, in the same epoch');
SELECT (SELECT count(*) FROM payorder.next_events('c', 10000)) = (SELECT count(*) FROM payorder.events),
       (SELECT max(epoch) FROM payorder.log_epochs)
SQL
well($standby, 'postgres');
$standby->stop;

done_testing();
