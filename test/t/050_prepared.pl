# Transactions that are prepared, crash, and are decided later; that roll back,
# whole or to a savepoint; with the worker running.  Scenarios 6, 7, 24.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PayorderTest;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');

$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'payorder'
payorder.databases = 'postgres'
payorder.lock_wait = '100ms'
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION payorder;
SELECT payorder.add_gateway('g', 'generic', 'm');
SELECT payorder.define_task_kind('mail');
SQL

# Runs a statement in a transaction that is prepared under a name.
sub prepare
{
	my ($name, $statement) = @_;
	return $node->safe_psql('postgres',
		"BEGIN;\n$statement;\nPREPARE TRANSACTION '$name';");
}

sub decide
{
	my ($how, $name) = @_;
	return $node->safe_psql('postgres', "$how PREPARED '$name'");
}

sub value { return $node->safe_psql('postgres', $_[0]); }

# The answer to a payment, without the end that only a gateway reads.
sub pay
{
	my ($txn_id, $order_no) = @_;
	return
	    "SELECT concat_ws(' ', verdict, detail, state, ack_status)"
	  . " FROM payorder.ingest('g', '$txn_id', 'pay', '$order_no', 100, 'CNY')";
}

sub create { return "SELECT state FROM payorder.create_order('$_[0]', 100, 'CNY')"; }

sub state_of { return "SELECT state FROM payorder.orders WHERE order_no = '$_[0]'"; }

value(create($_)) for qw(A B C D E F);

# ---- what is open, prepared, across a crash
is(prepare('pay A', pay('a', 'A')), 'applied paid 200', 'a payment is prepared');
is(prepare('pay B', pay('b', 'B')), 'applied paid 200', 'and another');
is( prepare('order G', create('G')), 'pending', 'an order is prepared');
is(prepare('pay H', pay('h', 'H')), 'parked order 200',
	'a payment of an order that comes later');
is( prepare('order I',
		"SELECT state FROM payorder.create_order('I', 100, 'CNY', pay_within => '1 second')"
	),
	'pending',
	'an order that is soon due');
value(pay('c', 'C'));
is( prepare('cancel C', "SELECT state FROM payorder.fire('C', 'cancel')"),
	'refunding', 'a cancel');
value(pay('d', 'D'));
is( prepare('refund D',
		"SELECT state FROM payorder.request_refund('REFUND0001', 'D', 30)"),
	'asked',
	'a refund');

for my $when ('before', 'after')
{
	like(value(pay('a', 'A')),
		qr/^deferred undecided/, "$when the crash: the key is undecided");
	unlike(value(pay('a', 'A')),
		qr/200/, '... and not acknowledged, nothing written');
	like(value(pay('e' . $when, 'B')),
		qr/^deferred locked .*200$/,
		'... another payment of the order waits for its row');
	is(value(state_of('A')), 'pending', '... the order is as it was');
	crash_and_start($node) if $when eq 'before';
}
is(value('SELECT count(*) FROM pg_prepared_xacts'),
	'7', 'the prepared transactions survived');
like(value(pay('g', 'G')), qr/^parked order /,
	'a payment meets an order not yet committed: parked');
is(value(create('H')), 'pending',
	'an order meets a payment not yet committed: unpaid');
well($node, 'postgres');

decide('COMMIT', 'pay A');
is(value(state_of('A')), 'paid', 'committed: paid');
is(value(pay('a', 'A')), 'duplicate paid 200', 'and sent again a duplicate');
decide('ROLLBACK', 'pay B');
sql_comes_to($node, 'postgres', state_of('B'), 'paid',
	'rolled back: the worker applies what had waited');
is( value(
		"SELECT string_agg(txn_id || ' ' || verdict, ', ' ORDER BY txn_id) FROM payorder.callbacks WHERE order_no = 'B'"
	),
	'eafter excess, ebefore applied',
	'... in the order of arrival');
is(value(pay('b', 'B')), 'excess paid 200',
	'... and what was rolled back comes as if for the first time');
decide('COMMIT', 'order G');
sql_comes_to($node, 'postgres', state_of('G'), 'paid',
	'committed: the worker brings order and waiting payment together');
decide('COMMIT', 'pay H');
sql_comes_to($node, 'postgres', state_of('H'), 'paid',
	'committed: the other way round, too');
decide('COMMIT', 'order I');
sql_comes_to($node, 'postgres', state_of('I'), 'expired',
	'committed: a timer armed behind the worker\'s back fires');
decide('COMMIT', 'cancel C');
sql_comes_to($node, 'postgres',
	"SELECT sum(amount) FROM payorder.refunds WHERE order_no = 'C'",
	'100', 'committed: the kernel\'s task is found');
decide('ROLLBACK', 'refund D');
is( value(
		"SELECT (SELECT count(*) FROM payorder.refunds WHERE order_no = 'D'), (SELECT count(*) FROM payorder.tasks WHERE idempotency_key = 'REFUND0001'), (SELECT kept FROM payorder.payments WHERE txn_id = 'd')"
	),
	'0|0|100',
	'rolled back: no refund, no task, all money there');
well($node, 'postgres');

# ---- each writing function can be prepared
my $task = value("SELECT payorder.enqueue('mail', 'E')");
value("SELECT payorder.create_consumer('c', '-infinity')");
my %writers = (
	ack_events => "payorder.ack_events('c', (SELECT max(position) FROM payorder.next_events('c')))",
	create_consumer => "payorder.create_consumer('d')",
	drop_consumer => "payorder.drop_consumer('c')",
	next_events => "count(*) FROM payorder.next_events('c')",
	seek_events => "payorder.seek_events('c', 'infinity')",
	add_gateway => "payorder.add_gateway('h', 'generic', 'm2')",
	alter_gateway => "payorder.alter_gateway('g', '{}')",
	begin_payment => "payorder.begin_payment('E', 'g')",
	cancel_task => "payorder.cancel_task($task, 'me', 'why')",
	claim => 'payorder.claim()',
	create_order => "payorder.create_order('P', 0, 'CNY')",
	define_machine =>
	  q(payorder.define_machine('m', '{"initial": "a", "states": {"a": {"on": {"pay": {"target": "b"}}, "after": {"1h": {"alarm": "old"}}}, "b": {"type": "final"}}}')),
	define_task_kind => "payorder.define_task_kind('post')",
	enqueue => "payorder.enqueue('mail')",
	fire => "payorder.fire('F', 'cancel')",
	ingest => "payorder.ingest('g', 'p', 'pay', 'E', 100, 'CNY')",
	pause_gateway => "payorder.pause_gateway('g', 'me', 'why')",
	request_refund => "payorder.request_refund('REFUND0002', 'D', 1)",
	resume_gateway => "payorder.resume_gateway('g', 'me', 'why')",
	retry_order => "payorder.retry_order('E', 'me', 'why')",
	sweep => "payorder.sweep(100, now() + interval '1 day')",
	try_fire => "payorder.try_fire('F', 'cancel')",
	by_hand => "1; UPDATE payorder.orders SET state = 'cancelled' WHERE order_no = 'F'");
for my $name (sort keys %writers)
{
	is( sql_state($node, 'postgres',
			"BEGIN; SELECT $writers{$name}; PREPARE TRANSACTION '$name'"),
		'00000', "$name can be prepared");
	decide('ROLLBACK', $name);
}
well($node, 'postgres');

# ---- rollback, and rollback to a savepoint
my $everything = <<'SQL';
SELECT (SELECT count(*) FROM payorder.callbacks), (SELECT count(*) FROM payorder.payments),
       (SELECT count(*) FROM payorder.events), (SELECT count(*) FROM payorder.tasks),
       (SELECT count(*) FROM payorder.timers), (SELECT sum(version) FROM payorder.orders)
SQL
value("SELECT payorder.create_order('$_', 100, 'CNY')") for qw(Q R S);
my $before = value($everything);
value('BEGIN; ' . pay('q1', 'Q') . '; ' . pay('q2', 'Q') . "; SELECT payorder.fire('R', 'cancel'); ROLLBACK");
is(value($everything), $before, 'rolled back: nothing was there');
value('BEGIN; SAVEPOINT s; ' . pay('q1', 'Q') . '; ROLLBACK TO s; COMMIT');
is(value($everything), $before, 'rolled back to a savepoint: nothing was there');
is( value(  'BEGIN; '
		  . pay('q1', 'Q')
		  . '; SAVEPOINT s; '
		  . pay('q2', 'Q')
		  . '; ROLLBACK TO s; '
		  . pay('q2', 'Q')
		  . '; '
		  . pay('q1', 'Q')
		  . '; COMMIT'),
	"applied paid 200\nexcess paid 200\nexcess paid 200\nduplicate paid 200",
	'what was done before the savepoint stays, what came after comes again');
is( value(  'BEGIN; SAVEPOINT s; '
		  . pay('r1', 'R')
		  . "; ROLLBACK TO s; SELECT state FROM payorder.fire('R', 'cancel'); "
		  . pay('r1', 'R')
		  . '; COMMIT'),
	"applied paid 200\ncancelled\nlate returned cancelled 200",
	'another way after the savepoint');
is( value(
		"SELECT string_agg(event, ' ' ORDER BY seq) FROM payorder.events WHERE order_no = 'R'"
	),
	'create_order cancel callback refund_held',
	'and one history');
is( sql_state($node, 'postgres',
		'BEGIN; ' . pay('s1', 'S') . '; SELECT 1 / 0; COMMIT'),
	'22012', 'the caller fails after the payment');
is(value(pay('s1', 'S')), 'applied paid 200', 'it is sent again and applied');
well($node, 'postgres');
no_crash($node, 0);
$node->stop;

done_testing();
