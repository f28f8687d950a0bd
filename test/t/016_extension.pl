# ALTER EXTENSION UPDATE, DROP EXTENSION CASCADE and CREATE EXTENSION while the
# worker is busy and other sessions keep plans and machines: done in seconds,
# and everybody goes on with what is there now.  Scenario 63.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PayorderTest;
use Test::More;

my $SOON = 20;

# ---- a server tree of its own, with a next version in it
my $tree = PostgreSQL::Test::Utils::tempdir() . '/tree';
my $bin = $ENV{PG_CONFIG} =~ s/\/pg_config$//r;

system_or_bail('cp', '-r', $ENV{PAYORDER_TREE}, $tree);
$bin =~ s/^\Q$ENV{PAYORDER_TREE}\E/$tree/ or die "$bin is not in the tree";
$ENV{PATH} = "$bin:$ENV{PATH}";

my $node = PostgreSQL::Test::Cluster->new('extension');

$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'payorder'
payorder.databases = 'postgres'
payorder.poll_interval = '100ms'
deadlock_timeout = '100ms'
fsync = off
CONF
$node->start;

my $version = $node->safe_psql('postgres',
	"SELECT default_version FROM pg_available_extensions WHERE name = 'payorder'");
my $share = "$bin/pg_config";
chomp($share = `$share --sharedir`);
like($share, qr/^\Q$tree\E/, 'the server is of the copied tree');
# It locks, last to first, what a sweep locks, and takes its time.
append_to_file("$share/extension/payorder--$version--$version.next.sql", <<'SQL');
\echo Use "ALTER EXTENSION payorder UPDATE" to load this file. \quit
ALTER TABLE payorder.orders ADD COLUMN note text;
ALTER TABLE payorder.timers ADD COLUMN note text;
SELECT pg_catalog.pg_sleep(1);
ALTER TABLE payorder.task_ready ADD COLUMN note text;
ALTER TABLE payorder.task_leases ADD COLUMN note text;
ALTER TABLE payorder.callbacks_waiting ADD COLUMN note text;
ALTER TABLE payorder.gateways ADD COLUMN note text;
ALTER TABLE payorder.events ADD COLUMN note text;
ALTER TABLE payorder.machines ADD COLUMN note text;
CREATE FUNCTION payorder.next_thing() RETURNS text LANGUAGE sql AS 'SELECT ''next''::pg_catalog.text';
SQL

sub install
{
	my ($states, $statement) = @_;
	my ($first, $event, $second) = @$states;

	return ($statement || 'CREATE EXTENSION payorder') . ";\n" . <<SQL;
SELECT payorder.add_gateway('g', 'generic', 'm');
SELECT payorder.define_machine('kept', '{"initial": "$first", "states": {"$first": {"on": {"pay": {"target": "done"}, "$event": {"target": "$second"}},
    "after": {"30m": {"fire": "$event"}}}, "done": {"type": "final"}, "$second": {"type": "final"}}}');
SELECT payorder.define_machine('parcel', '{"initial": "$first", "states": {"$first": {"on": {"$event": {"target": "$second"}}}, "$second": {"type": "final"}}}');
SELECT payorder.create_consumer('c', '-infinity');
TRUNCATE parcels;
SELECT payorder.guard('parcels', 'state', 'parcel', 'id', log => true);
SQL
}

my $turn = 0;

# Uses in one session all that it may keep.
sub use_everything
{
	my ($session, $states, $name, $uncommitted) = @_;
	# a consumer is given what is committed only
	my $sent = $uncommitted ? '' : ' sent';
	my ($first, $event, $second) = @$states;
	my $o = 'U' . ++$turn;

	is($session->query_safe(<<SQL), "$first $second applied done 1|gone$sent", $name);
SELECT payorder.create_order('$o', 100, 'CNY', 'kept') IS NULL AS x, payorder.create_order('$o-2', 100, 'CNY', 'kept') IS NULL AS y \\gset
INSERT INTO parcels VALUES ($turn, '$first');
UPDATE parcels SET state = '$second' WHERE id = $turn;
SELECT concat_ws(' ',
    (SELECT state FROM payorder.orders WHERE order_no = '$o'),
    (SELECT state FROM payorder.fire('$o', '$event')),
    (SELECT concat_ws(' ', verdict, state) FROM payorder.ingest('g', 't$o', 'pay', '$o-2', 100, 'CNY')),
    (SELECT count(*) FROM payorder.request_refund('refund_$o', '$o-2', 1))) || '|' ||
  concat_ws(' ', (SELECT CASE WHEN (s).more THEN 'more' ELSE 'gone' END FROM payorder.sweep() AS s),
    (SELECT CASE WHEN count(*) > 0 THEN 'sent' END FROM payorder.next_events('c')));
SQL
	$session->query_safe(<<'SQL');
DO $$ BEGIN
    UPDATE parcels SET state = 'nonsense';
    RAISE 'taken';
EXCEPTION WHEN SQLSTATE 'PO001' THEN NULL;
END $$
SQL
	is($session->query_safe("SELECT state FROM parcels WHERE id = $turn"),
		$second, '... its guarded table too, which takes no nonsense');
	return;
}

# Gives the worker something to do for the next seconds.
sub make_busy
{
	$node->safe_psql('postgres', <<"SQL");
SELECT count(payorder.create_order('B$turn-' || n, 100, 'CNY', pay_within => make_interval(secs => 1 + n * 0.02)))
FROM generate_series(1, 200) AS n
SQL
	return;
}

sub timed
{
	my ($sql, $name) = @_;
	my $since = time;

	is(sql_state($node, 'postgres', $sql), '00000', $name);
	cmp_ok(time - $since, '<', $SOON, '... in seconds');
	return;
}

my @states = ([ 'new', 'send', 'sent' ], [ 'fresh', 'post', 'posted' ],
	[ 'raw', 'cook', 'cooked' ]);

$node->safe_psql('postgres', 'CREATE TABLE parcels (id integer PRIMARY KEY, state text)');
$node->safe_psql('postgres', install($states[0]));
my @sessions = map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 2;
$_->query_safe('SET client_min_messages = warning') for @sessions;
use_everything($_, $states[0], 'a session uses all rooms') for @sessions;
my $worker = comes_true(sub { worker_pids($node, 'postgres') });
sql_comes_to($node, 'postgres',
	"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 1885438319",
	$worker, 'the worker works');
my $log = log_size($node);

# ---- ALTER EXTENSION UPDATE
make_busy();
sql_comes_to($node, 'postgres',
	"SELECT count(*) > 5 FROM payorder.orders WHERE order_no LIKE 'B%' AND state = 'expired'",
	't', 'the worker is busy', $SOON);
timed("ALTER EXTENSION payorder UPDATE TO '$version.next'",
	'the extension is updated');
is($node->safe_psql('postgres', 'SELECT payorder.next_thing()'),
	'next', 'the next version is there');
sql_comes_to($node, 'postgres',
	"SELECT count(*) FROM payorder.orders WHERE order_no LIKE 'B%' AND state = 'expired'",
	'200', 'the worker goes on', $SOON);
use_everything($_, $states[0], 'a session that kept plans goes on') for @sessions;
well($node, 'postgres');

# ---- DROP EXTENSION CASCADE and CREATE EXTENSION, at once and one by one
for my $states (@states[ 1, 2 ])
{
	make_busy();
	timed('DROP EXTENSION payorder CASCADE', 'the extension is dropped');
	timed(install($states), '... and created again, with other machines');
	use_everything($_, $states, 'a session that kept the old ones uses the new')
	  for @sessions;
	make_busy();
	sql_comes_to($node, 'postgres',
		"SELECT count(*) FROM payorder.orders WHERE order_no LIKE 'B%' AND state = 'expired'",
		'200', '... so does the worker', $SOON);
	well($node, 'postgres');
}
make_busy();
timed('BEGIN; '
	  . install($states[0], 'DROP EXTENSION payorder CASCADE; CREATE EXTENSION payorder')
	  . 'COMMIT',
	'the same in one transaction');
use_everything($_, $states[0], 'a session that kept the old ones uses the new')
  for @sessions;
make_busy();
sql_comes_to($node, 'postgres',
	"SELECT count(*) FROM payorder.orders WHERE order_no LIKE 'B%' AND state = 'expired'",
	'200', '... so does the worker', $SOON);

# ---- in a session that keeps its own
$sessions[0]->query_safe('BEGIN; '
	  . install($states[1], 'DROP EXTENSION payorder CASCADE; CREATE EXTENSION payorder'));
use_everything($sessions[0], $states[1], 'the session that does it uses the new ones', 1);
$sessions[0]->query_safe('ROLLBACK');
use_everything($_, $states[0], 'rolled back, the old ones are used') for @sessions;
well($node, 'postgres');
$_->quit for @sessions;

# ---- nothing of it troubled the worker
is(worker_pids($node, 'postgres'), $worker, 'it is the same worker');
my @errors = slurp_file($node->logfile, $log) =~ /^.*payorder worker.*(?:ERROR|FATAL).*$/mg;
is("@errors", '', '... which met no error');
unlike(slurp_file($node->logfile, $log), qr/deadlock/, '... and there was no deadlock');
no_crash($node, $log);
$node->stop;

done_testing();
