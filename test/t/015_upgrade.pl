# pg_upgrade with the library preloaded and orders in flight: all rows are
# there, chains verify, money stays blocked until the new cluster is adopted,
# and then the worker goes on.  And the server that pg_upgrade itself starts.
# Scenarios 62, 81.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PayorderTest;
use Test::More;

my $old = PostgreSQL::Test::Cluster->new('old');
my $new = PostgreSQL::Test::Cluster->new('new');

for my $node ($old, $new)
{
	$node->init;
	$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'payorder'
payorder.databases = 'shop'
payorder.poll_interval = '100ms'
payorder.lock_wait = '500ms'
fsync = off
CONF
}
$old->start;
$old->safe_psql('postgres', 'CREATE DATABASE shop');

# ---- orders in flight, of all kinds
$old->safe_psql('shop', <<'SQL');
CREATE EXTENSION payorder;
SELECT payorder.add_gateway('g', 'generic', 'm', settings => '{"return_delay": "0"}');
SELECT payorder.define_task_kind('mail');
SELECT payorder.define_machine('shop', '{"initial": "new", "states": {"new": {"on": {"pay": {"target": "done"}, "drop": {"target": "gone"}},
    "after": {"1h": {"fire": "drop"}}}, "done": {"type": "final"}, "gone": {"type": "final"}}}');
SELECT payorder.create_order('o' || n, 100, 'CNY', CASE n % 2 WHEN 0 THEN 'order' ELSE 'shop' END)
FROM generate_series(1, 40) AS n;
SELECT payorder.begin_payment('o' || n, 'g') FROM generate_series(2, 10, 2) AS n;
SELECT (payorder.ingest('g', 't' || n, 'pay', 'o' || n, 100, 'CNY')).verdict FROM generate_series(11, 30) AS n;
SELECT payorder.fire('o12', 'cancel', 'buyer');
SELECT payorder.request_refund('refund_one', 'o14', 30);
SELECT (payorder.ingest('g', 'parked', 'pay', 'unknown', 70, 'CNY')).verdict;
SELECT (payorder.ingest('g', 'excess', 'pay', 'o16', 100, 'CNY')).verdict;
SELECT payorder.enqueue('mail', 'o20', payload => '{"to": "x"}');
SELECT payorder.create_consumer('books', '-infinity');
CREATE TABLE shipments (id integer PRIMARY KEY, state text);
SELECT payorder.define_machine('parcel', '{"initial": "packed", "states": {"packed": {"on": {"send": {"target": "sent"}}}, "sent": {"type": "final"}}}');
SELECT payorder.guard('shipments', 'state', 'parcel', 'id');
INSERT INTO shipments VALUES (1, 'packed');
SELECT count(payorder.ack_events('books', e.position)) FROM (SELECT position FROM payorder.next_events('books', 20) OFFSET 19) AS e;
SQL
sql_comes_to($old, 'shop',
	"SELECT count(*) FROM payorder.task_ready WHERE kind = 'refund_all'",
	'0', 'the old cluster\'s worker has nothing left to do');
well($old, 'shop', 'the old cluster is well');
# from here on nothing changes, whatever comes due
for my $node ($old, $new)
{
	$node->append_conf('postgresql.conf', "payorder.databases = ''");
}
$old->reload;
ok(comes_true(sub { worker_pids($old, 'shop') eq '' }),
	'its worker is stopped');

# All rows of all tables, as they are.
my $digest = <<'SQL';
SELECT string_agg(t.relname || ' ' || (xpath('/row/d/text()', query_to_xml(format(
    'SELECT count(*) || '' '' || md5(string_agg(r::text, E''\n'' ORDER BY r::text COLLATE "C")) AS d FROM (SELECT %s FROM payorder.%I) AS r',
        CASE t.relkind WHEN 'S' THEN 'last_value' ELSE '*' END, t.relname), false, true, '')))[1]::text,
    E'\n' ORDER BY t.relname)
FROM pg_class AS t
WHERE t.relnamespace = 'payorder'::regnamespace AND t.relkind IN ('r', 'p', 'S')
SQL
my $events = "SELECT count(*) FILTER (WHERE v.ok), count(*) FROM payorder.orders AS o, payorder.verify_events(o.order_no) AS v";
my $before = $old->safe_psql('shop', $digest);
my $verified = $old->safe_psql('shop', $events);
my $epochs = $old->safe_psql('shop', 'SELECT count(*) FROM payorder.log_epochs');

like($before, qr/^orders 40 /m, 'its rows are known');
$old->stop;

# ---- a server of pg_upgrade's: it starts nothing, and hinders nothing
my $bindir = $old->config_data('--bindir');
system_or_bail('pg_ctl', '-w', '-D', $old->data_dir, '-l', $old->logfile,
	'-o', '-b', 'start');
$old->{_pid} = (split /\n/, slurp_file($old->data_dir . '/postmaster.pid'))[0];
is(launcher_pid($old), undef, 'in binary upgrade mode there is no launcher');
is(worker_pids($old, 'shop'), '', '... and no worker');
is($old->safe_psql('shop', $digest), $before, '... the rows can be read');
$old->safe_psql('postgres', $_)
  for 'CREATE DATABASE other', 'ALTER DATABASE other RENAME TO another',
  'DROP DATABASE another';
pass('... and databases made, renamed and dropped');
system_or_bail('pg_ctl', '-w', '-D', $old->data_dir, 'stop');
$old->{_pid} = undef;

# ---- pg_upgrade
# it writes where it is started
chdir PostgreSQL::Test::Utils::tempdir() or die;
command_ok(
	[
		'pg_upgrade', '--no-sync',
		'-d', $old->data_dir, '-D', $new->data_dir,
		'-b', $bindir, '-B', $bindir,
		'-s', $new->host, '-p', $old->port, '-P', $new->port
	],
	'pg_upgrade takes the cluster over');
my $log = -e $new->logfile ? log_size($new) : 0;
$new->start;

# ---- it is all there
is($new->safe_psql('shop', $digest), $before, 'all rows and sequences are equal');
is($new->safe_psql('shop', $events), $verified, 'all chains verify');
$new->append_conf('postgresql.conf', "payorder.databases = 'shop'");
$new->reload;
ok(comes_true(sub { worker_pids($new, 'shop') =~ /^\d+$/ }),
	'the worker starts in the new cluster');
well($new, 'shop', 'the invariants hold');
is( $new->safe_psql('shop',
		"SELECT count(*) FROM pg_depend AS d JOIN pg_extension AS e ON d.refobjid = e.oid WHERE e.extname = 'payorder' AND d.deptype = 'e'"
	) > 100 ? 1 : 0,
	1,
	'the extension owns its objects');

# ---- another system identifier: no money moves until somebody says so
is($new->safe_psql('shop', 'SELECT payorder.is_copy()'),
	't', 'it takes itself for a copy');
is( $new->safe_psql('shop', "SELECT kind, cause, decisions FROM payorder.attention WHERE kind = 'installation'"),
	'installation|copy|{adopt_cluster}', '... and says so');
is( $new->safe_psql('shop',
		"SELECT string_agg(kind, ' ' ORDER BY kind) FROM payorder.claim(NULL, 100)"),
	'mail', '... gives out no task that sends money');
is( $new->safe_psql('shop',
		"SELECT verdict, detail, ack_status FROM payorder.ingest('g', 'n1', 'pay', 'o32', 100, 'CNY')"),
	'deferred|paused|200', '... keeps callbacks, and applies none');
$new->safe_psql('shop',
	"SELECT payorder.create_order('timed', 100, 'CNY', pay_within => '1 second')");
sql_comes_to($new, 'shop',
	"SELECT state FROM payorder.orders WHERE order_no = 'timed'",
	'expired', '... while orders without a payment go on');
$new->safe_psql('shop', "SELECT payorder.adopt_cluster('dba', 'pg_upgrade')");
sql_comes_to($new, 'shop',
	"SELECT verdict FROM payorder.callbacks WHERE txn_id = 'n1'",
	'applied', 'adopted, the worker applies what waited');
like( $new->safe_psql('shop',
		"SELECT string_agg(kind || coalesce(' ' || idempotency_key, ''), ', ' ORDER BY kind, idempotency_key) FROM payorder.claim(NULL, 100)"),
	qr/refund refund_one/, '... and refunds are given out, with their numbers');

# ---- life goes on
is( $new->safe_psql('shop', "SELECT verdict FROM payorder.ingest('g', 't11', 'pay', 'o11', 100, 'CNY')"),
	'duplicate', 'a callback of before is a duplicate');
is( $new->safe_psql('shop', "SELECT state FROM payorder.create_order('unknown', 70, 'CNY')"),
	'paid', 'a parked payment meets its order');
$new->safe_psql('shop', <<'SQL');
CREATE TABLE booked AS SELECT id FROM payorder.events WHERE false;
CREATE PROCEDURE book() LANGUAGE plpgsql AS $$
DECLARE
    n integer;
    last text;
BEGIN
    LOOP
        WITH given AS MATERIALIZED (SELECT * FROM payorder.next_events('books')),
             kept AS (INSERT INTO public.booked SELECT id FROM given)
        SELECT count(*), (array_agg(position))[count(*)] INTO n, last FROM given;
        EXIT WHEN n = 0;
        PERFORM payorder.ack_events('books', last);
        COMMIT;
    END LOOP;
END $$;
CALL book();
SQL
is( $new->safe_psql('shop', 'SELECT (SELECT count(*) FROM payorder.events) - count(*), count(*) - count(DISTINCT id) FROM booked'),
	'20|0', 'the consumer gets what it had not acknowledged, once');
is( sql_state($new, 'shop', "UPDATE shipments SET state = 'nonsense'"),
	'PO001', 'a guarded table is guarded');
is( sql_state($new, 'shop', "UPDATE shipments SET state = 'sent'"),
	'00000', '... and its legal changes are taken');
well($new, 'shop', 'the invariants hold');
no_crash($new, $log);
$new->stop;

done_testing();
