# Dump and restore, plain, custom and in parallel: equal rows, sequences that
# go on, chains that verify, and nothing that happens a second time.
# Scenario 62.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PayorderTest;
use Test::More;

my $ORDERS = 20000;

my $node = PostgreSQL::Test::Cluster->new('main');

$node->init;
# nothing here asks for durability
$node->append_conf('postgresql.conf', <<'CONF');
fsync = off
log_statement = 'none'
CONF
$node->start;

# ---- a database with everything in it
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', <<"SQL");
CREATE EXTENSION payorder;
SELECT payorder.add_gateway('g', 'generic', 'm', settings => '{"return_delay": "1 hour"}');
SELECT payorder.add_gateway('p', 'generic', 'm2');
INSERT INTO payorder.gateway_keys (gateway, purpose, key_id, kind, public_key, secret, valid_from, valid_until)
VALUES ('g', 'verify', 'k1', 'rsa', '\\x0102', NULL, '2026-01-01Z', 'infinity'), ('g', 'verify', '', 'secret', NULL, 'sealed:s', '2026-01-01Z', '2027-01-01Z');
-- messages that became no callbacks
SELECT payorder.add_gateway('raw', 'stripe', 'acct_1');
SELECT payorder.ingest_http('raw', '{"Stripe-Signature": "t=1,v1=00"}', 'x');
INSERT INTO payorder.sealed_secrets (name, nonce, ciphertext, key_check) VALUES ('s', '\\x01', '\\x02', '\\x03');
SELECT payorder.define_task_kind('mail', max_attempts => 3);
SELECT payorder.define_task_kind('query_payment', backoff_base => '7 seconds');
INSERT INTO payorder.currencies (currency, exponent) VALUES ('XTS', 4);
SELECT payorder.define_machine('short', '{"initial": "new", "states": {
  "new": {"on": {"pay": {"target": "done"}, "drop": {"target": "dropped"}},
          "after": {"{pay_within}": {"fire": "drop"}}},
  "done": {"type": "final"}, "dropped": {"type": "final"}},
  "parameters": {"pay_within": "1h"}}');
SELECT payorder.define_machine('short', '{"initial": "new", "states": {
  "new": {"on": {"pay": {"target": "done"}, "drop": {"target": "dropped"}},
          "after": {"{pay_within}": {"fire": "drop"}}},
  "done": {"type": "final"}, "dropped": {"type": "final"}},
  "parameters": {"pay_within": "2h"}}');

-- an order that was purged, from a month that was freed
SELECT payorder.create_order('P1', 100, 'CNY');
SELECT payorder.fire('P1', 'cancel');
SELECT orders, payorder.purge_some('60 days', position, at => now() + interval '120 days')
FROM payorder.purge_some('60 days', archive => true, at => now() + interval '120 days');

SELECT count(payorder.create_order('B' || n, 100 + n, 'CNY')) FROM generate_series(1, $ORDERS) AS n;
SELECT count(payorder.ingest('g', 'b' || n, 'pay', 'B' || n, 100 + n, 'CNY', payload => json_build_object('n', n)))
FROM generate_series(1, $ORDERS) AS n WHERE n % 2 = 0;

-- attempts, surplus, late, mismatched, conflicting, parked and paused payments
SELECT payorder.begin_payment('B' || n, 'g') FROM generate_series(1, 99, 2) AS n;
SELECT payorder.ingest('g', 'x' || n, 'pay', 'B' || n, 5, 'CNY') FROM generate_series(2, 40, 2) AS n;
SELECT payorder.fire('B' || n, 'cancel', 'buyer', request_id => 'r') FROM generate_series(101, 119, 2) AS n;
SELECT payorder.ingest('g', 'l' || n, 'pay', 'B' || n, 100 + n, 'CNY') FROM generate_series(101, 111, 2) AS n;
SELECT payorder.ingest('g', 'w' || n, 'pay', 'B' || n, 1, 'CNY') FROM generate_series(121, 131, 2) AS n;
SELECT payorder.ingest('g', 'b2', 'pay', 'B2', 1, 'CNY');
SELECT payorder.ingest('g', 'early' || n, 'pay', 'E' || n, 100, 'CNY') FROM generate_series(1, 5) AS n;
SELECT payorder.create_order('S' || n, 10, 'XTS', 'short') FROM generate_series(1, 5) AS n;
SELECT payorder.pause_gateway('p', 'me', 'maintenance');
SELECT payorder.ingest('p', 'q1', 'pay', 'B133', 233, 'CNY');
-- limits, and a decision that waits for a second person
SELECT payorder.set_refund_limits('g', NULL, '{"share_per_hour": 0.9, "second_person_above": 0}');
SELECT payorder.set_task_limit('g', max_running => 3);
SELECT payorder.ingest('g', 'w143', 'pay', 'B143', 300, 'CNY');
SELECT payorder.settle_callback('g', 'w143', 'pay', 'keep', 'me', 'a gift');
-- refunds: asked, succeeded, failed, made elsewhere, of everything
SELECT payorder.request_refund('REFUND' || lpad(n::text, 4, '0'), 'B' || n, 3) FROM generate_series(50, 60, 2) AS n;
SELECT payorder.ingest('g', 'rr1', 'refund', amount => 3, currency => 'CNY', payment_txn => 'b50', refund_no => 'REFUND0050');
SELECT payorder.ingest('g', 'rr2', 'refund_failed', payment_txn => 'b52', refund_no => 'REFUND0052');
SELECT payorder.ingest('g', 'rr3', 'refund', amount => 4, currency => 'CNY', payment_txn => 'b54', refund_no => 'FOREIGN');
SELECT payorder.fire('B' || n, 'cancel', 'buyer') FROM generate_series(70, 80, 2) AS n;
-- tasks: ready, leased, dead, done, cancelled, with keys
SELECT payorder.enqueue('mail', 'B1', '{"n": 1}', dedup_key => 'k' || n) FROM generate_series(1, 6) AS n;
SELECT count(payorder.fail(c.task, c.token, 'no such address', false)) FROM payorder.claim('{mail}', 2) AS c;
SELECT payorder.complete(c.task, c.token, '{"ok": true}') FROM payorder.claim('{mail}', 1) AS c;
SELECT payorder.cancel_task((SELECT max(task_id) FROM payorder.task_ready WHERE kind = 'mail'), 'me', 'not needed');
SELECT count(*) FROM payorder.claim('{mail}', 1, '1 hour');
SELECT payorder.sweep(1000);
-- a consumer in the middle of a batch
SELECT payorder.create_consumer('mail', '-infinity');
SELECT payorder.ack_events('mail', (SELECT max(position) FROM payorder.next_events('mail', 100)));
UPDATE payorder.orders SET attributes = '{"gift": true}' WHERE order_no = 'B3';
UPDATE payorder.orders SET state = 'cancelled' WHERE order_no = 'B141';
-- tables of the user's under machines: renamed, with a dropped column, an enum, partitions by state
SELECT payorder.define_machine('ticket', '{"initial": "open", "states": {
  "open": {"on": {"take": {"target": "taken"}}}, "taken": {"on": {"solve": {"target": "closed"}}},
  "closed": {"type": "final"}}}');
CREATE TABLE tickets (gone integer, id integer PRIMARY KEY, state varchar(9) DEFAULT 'open');
SELECT payorder.guard('tickets', 'state', 'ticket', log => true);
INSERT INTO tickets (id) SELECT n FROM generate_series(1, 9) AS n;
UPDATE tickets SET state = 'taken' WHERE id < 6;
UPDATE tickets SET state = 'closed' WHERE id < 3;
ALTER TABLE tickets DROP gone;
ALTER TABLE tickets RENAME state TO "the state";
CREATE TYPE ticket_state AS ENUM ('closed', 'taken', 'open');
CREATE DOMAIN ticket_domain AS ticket_state NOT NULL;
CREATE TABLE parts (id integer, gone integer, state ticket_state DEFAULT 'open', other ticket_domain DEFAULT 'open')
  PARTITION BY LIST (state);
CREATE TABLE parts_open PARTITION OF parts FOR VALUES IN ('open');
CREATE TABLE parts_rest (other ticket_domain, state ticket_state, gone integer, id integer);
ALTER TABLE parts ATTACH PARTITION parts_rest DEFAULT;
ALTER TABLE parts DROP gone;
SELECT payorder.guard('parts', 'state', 'ticket', 'id');
SELECT payorder.guard('parts', 'other', 'ticket', 'id');
INSERT INTO parts (id) SELECT n FROM generate_series(1, 9) AS n;
UPDATE parts SET state = 'taken' WHERE id < 6;
-- version 2, which nothing is guarded by
SELECT payorder.define_machine('ticket', '{"initial": "open", "states": {
  "open": {"on": {"close": {"target": "closed"}}}, "closed": {"type": "final"}}}');
SQL
well($node, 'shop', 'the source is well');

# Every table with all that is in it; seeded rows too, so that one that came
# twice is seen, but not when they were installed.
my %seeded = (
	'payorder.machines' => 't.id < 100',
	'payorder.gateways' => 't.builtin');
my $tables = $node->safe_psql('shop', <<'SQL');
SELECT c.oid::regclass FROM pg_class AS c
WHERE c.relnamespace = 'payorder'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY 1
SQL
my @tables = split /\n/, $tables;
cmp_ok(scalar(@tables), '>=', 20, 'the tables are found');

sub contents
{
	my ($database) = @_;
	my $query = join ' UNION ALL ', map {
		my $row = $seeded{$_}
		  ? "CASE WHEN $seeded{$_} THEN (to_jsonb(t) - 'created_at')::text ELSE t::text END"
		  : 't::text';

		"SELECT '$_', count(*), md5(string_agg(md5($row), '' ORDER BY md5($row) COLLATE \"C\")) FROM $_ AS t"
	} @tables;
	return $node->safe_psql($database, "$query ORDER BY 1");
}

# The sequences as they would go on.
sub sequences
{
	my ($database) = @_;
	return $node->safe_psql($database, <<'SQL');
SELECT schemaname || '.' || sequencename, coalesce(last_value, start_value - 1)
FROM pg_sequences WHERE schemaname = 'payorder' ORDER BY 1
SQL
}

sub triggers
{
	my ($database) = @_;
	return $node->safe_psql($database, <<'SQL');
SELECT tgrelid::regclass, tgname, tgenabled, pg_get_triggerdef(oid)
FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace IN ('payorder'::regnamespace, 'public'::regnamespace))
ORDER BY tgrelid::regclass::text COLLATE "C", tgname
SQL
}

my $empty = $node->safe_psql('shop',
	join ' UNION ALL ',
	map { "SELECT '$_' WHERE NOT EXISTS (SELECT FROM $_)" } @tables);
is($empty, '', 'and each has rows that could be lost');

my $rows = contents('shop');
my $numbers = sequences('shop');
my $guards = triggers('shop');
my $guarded = $node->safe_psql('shop', <<'SQL');
SELECT * FROM payorder.guarded ORDER BY relation::text COLLATE "C", state_column
SQL
is($guarded =~ tr/\n//, 2, 'three guards are there');
my $dir = PostgreSQL::Test::Utils::tempdir();
my $events = $node->safe_psql('shop', 'SELECT count(*) FROM payorder.events');
my $tasks = $node->safe_psql('shop', 'SELECT count(*) FROM payorder.tasks');

my %dumps = (
	plain => {
		dump => [ 'pg_dump', '-Fp', '-f', "$dir/plain" ],
		restore => [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain", '-d' ] },
	custom => {
		dump => [ 'pg_dump', '-Fc', '-f', "$dir/custom" ],
		restore => [ 'pg_restore', '-e', "$dir/custom", '-d' ] },
	parallel => {
		dump => [ 'pg_dump', '-Fd', '-j4', '-f', "$dir/parallel" ],
		restore => [ 'pg_restore', '-j4', "$dir/parallel", '-d' ] });

for my $kind (sort keys %dumps)
{
	my $copy = "copy_$kind";

	my ($out, $err) =
	  run_command([ @{ $dumps{$kind}->{dump} }, $node->connstr('shop') ]);
	is($err, '', "$kind: it is dumped without a word");
	$node->safe_psql('postgres', "CREATE DATABASE $copy TEMPLATE template0");
	($out, $err) =
	  run_command([ @{ $dumps{$kind}->{restore} }, $node->connstr($copy) ]);
	is($err, '', '... and restored without a word');

	is(contents($copy), $rows, '... with equal rows');
	is(sequences($copy), $numbers, '... sequences that go on');
	is(triggers($copy), $guards, '... and all triggers');
	# this reads and verifies every order's events
	well($node, $copy, '... the invariants hold');
	is( $node->safe_psql($copy, <<'SQL'), '1|0', '... seeded rows are there once');
SELECT (SELECT count(*) FROM payorder.machines WHERE name = 'order'),
       (SELECT count(*) FROM payorder.task_kinds WHERE id >= 100 AND kind NOT IN ('mail', 'query_payment'))
SQL
	is( $node->safe_psql($copy, <<'SQL'), '100,101', '... users\' ids start at 100');
SELECT string_agg(id::text, ',' ORDER BY id) FROM payorder.machines WHERE name = 'short'
SQL

	# ---- what was done is done
	is( $node->safe_psql(
			$copy, <<'SQL'), 'duplicate', '... a callback of before is a duplicate');
SELECT DISTINCT a.verdict FROM generate_series(2, 20, 2) AS n,
	payorder.ingest('g', 'b' || n, 'pay', 'B' || n, 100 + n, 'CNY') AS a
SQL
	is( $node->safe_psql($copy, <<'SQL'), "$events|$tasks", '... and nothing is done again');
SELECT (SELECT count(*) FROM payorder.events), (SELECT count(*) FROM payorder.tasks)
SQL

	is( $node->safe_psql($copy, <<'SQL'), 't', '... a consumer goes on where it was');
SELECT count(*) = 50 AND min(id) = (SELECT id FROM payorder.events ORDER BY id OFFSET 100 LIMIT 1) FROM payorder.next_events('mail', 50)
SQL

	# ---- adopted, it is a database to work with (060_copy.pl: and not before)
	$node->safe_psql($copy, "SELECT payorder.adopt_cluster('me', 'restored')");
	is( $node->safe_psql($copy, <<'SQL'), 'applied|settled|paid', '... the second person can decide');
SELECT verdict, detail, state FROM payorder.settle_callback('g', 'w143', 'pay', 'keep', 'you', 'a gift')
SQL
	is( $node->safe_psql($copy, <<'SQL'), 'paid', '... a parked payment meets its order');
SELECT state FROM payorder.create_order('E1', 100, 'CNY')
SQL
	is( $node->safe_psql($copy, <<'SQL'), 'applied|done', '... a new order of a user\'s machine is paid');
SELECT a.verdict, a.state FROM payorder.create_order('N1', 10, 'XTS', 'short') AS o,
	LATERAL (SELECT a.* FROM payorder.ingest('g', 'n1', 'pay', o.order_no, 10, 'XTS') AS a) AS a
SQL
	is( $node->safe_psql($copy, <<'SQL'), $guarded, '... the same is guarded');
SELECT * FROM payorder.guarded ORDER BY relation::text COLLATE "C", state_column
SQL
	is(sql_state($node, $copy, 'UPDATE tickets SET "the state" = \'closed\' WHERE id = 9'),
		'PO001', '... as it was, by its version');
	is( $node->safe_psql($copy, <<'SQL'), 'solve|taken|closed', '... and goes on, with its log');
UPDATE tickets SET "the state" = 'closed' WHERE id = 4;
SELECT event, from_state, to_state FROM payorder.guard_events
ORDER BY id DESC LIMIT 1
SQL
	is(sql_state($node, $copy, "UPDATE parts SET state = 'open' WHERE id = 1"),
		'PO001', '... a row that moves is judged');
	is(sql_state($node, $copy, "UPDATE parts SET state = 'closed', other = 'taken' WHERE id = 1"),
		'00000', '... as it may');
	is( $node->safe_psql($copy, <<'SQL'), '3', '... the machine\'s next version has the next number');
SELECT payorder.define_machine('short', '{"initial": "new", "states": {
  "new": {"on": {"pay": {"target": "done"}, "drop": {"target": "dropped"}},
          "after": {"{pay_within}": {"fire": "drop"}}},
  "done": {"type": "final"}, "dropped": {"type": "final"}},
  "parameters": {"pay_within": "3h"}}')
SQL
	is( $node->safe_psql($copy, <<'SQL'), '104', '... and the next id');
SELECT max(id) FROM payorder.machines
SQL
	like($node->safe_psql($copy, "SELECT payorder.enqueue('mail')"),
		qr/^\d+$/, '... a task is enqueued');
	is(sql_state($node, $copy, 'DELETE FROM payorder.events'),
		'42501', '... events can\'t be deleted');
	is( sql_state($node, $copy,
			"UPDATE payorder.orders SET paid_amount = 1 WHERE order_no = 'B1'"),
		'42501', '... money can\'t be updated');
	is( sql_state($node, $copy,
			"UPDATE payorder.orders SET state = 'shipped' WHERE order_no = 'B1'"),
		'PO001', '... an illegal transition is refused');
	well($node, $copy, '... and the invariants hold afterwards');
	# a dump of the copy shows that the config of the extension came along
	$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/again_$kind", $copy ],
		'... the copy can be dumped');
}
$node->stop;

done_testing();
