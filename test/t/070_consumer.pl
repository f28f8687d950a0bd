# Consumers of the log across what takes long and what goes elsewhere: prepared
# transactions, restart and crash, a transaction that holds a number and does
# nothing, and dumps that are restored into other clusters, where the numbers
# of transactions mean nothing.  Each event is given once, each order's in
# their order; what a call costs follows what is new.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PayorderTest;
use Test::More;

my $main = PostgreSQL::Test::Cluster->new('main');
my $other = PostgreSQL::Test::Cluster->new('other');
my $third = PostgreSQL::Test::Cluster->new('third');

for my $node ($main, $other, $third)
{
	$node->init;
	$node->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
max_prepared_transactions = 10
log_statement = 'none'
CONF
	$node->start;
}
$main->safe_psql('postgres', 'CREATE DATABASE shop');
$main->safe_psql('shop', <<'SQL');
CREATE EXTENSION payorder;
SELECT payorder.add_gateway('g', 'generic', 'm');
SELECT payorder.create_consumer('mail'), payorder.create_consumer('all', '-infinity');
-- takes all that there is, a few at a time; what it was given
CREATE TABLE taken (n bigserial, consumer text, id bigint, order_no text, seq integer);
CREATE FUNCTION take(consumer text, most integer DEFAULT 7, portions integer DEFAULT 1000000) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    place text;
    first bigint := (SELECT coalesce(max(n), 0) FROM taken);
BEGIN
    FOR i IN 1 .. portions LOOP
        WITH given AS (SELECT * FROM payorder.next_events(consumer, most)),
             noted AS (INSERT INTO taken (consumer, id, order_no, seq)
                       SELECT take.consumer, g.id, g.order_no, g.seq FROM given AS g)
        SELECT max(g.position) INTO place FROM given AS g;
        EXIT WHEN place IS NULL;
        PERFORM payorder.ack_events(consumer, place);
    END LOOP;
    RETURN (SELECT coalesce(string_agg(t.order_no || '/' || t.seq, ' ' ORDER BY t.n), 'nothing')
            FROM taken AS t WHERE t.n > first);
END
$$;
-- what was not taken exactly once, or out of its order's order
CREATE VIEW wrong AS
SELECT t.consumer, t.order_no, t.seq, 'twice' AS why FROM taken AS t
GROUP BY t.consumer, t.order_no, t.seq HAVING count(*) > 1
UNION ALL
SELECT c.consumer, e.order_no, e.seq, 'never' FROM (SELECT DISTINCT consumer FROM taken) AS c, payorder.events AS e
WHERE NOT EXISTS (SELECT FROM taken AS t WHERE t.consumer = c.consumer AND t.id = e.id)
UNION ALL
SELECT consumer, order_no, seq, 'order' FROM (
    SELECT t.*, lag(t.seq, 1, 0) OVER (PARTITION BY t.consumer, t.order_no ORDER BY t.n) AS before FROM taken AS t) AS t
WHERE seq <> before + 1;
SQL

sub value { my ($node, $sql) = @_; return $node->safe_psql('shop', $sql); }
sub taken { my ($node, $consumer, $rest) = @_; $rest ||= ''; return value($node, "SELECT take('$consumer'$rest)"); }
sub create { return "SELECT state FROM payorder.create_order('$_[0]', 100, 'CNY')"; }

# Buffers that a call touches; the first one plans.
sub buffers
{
	my ($call) = @_;
	my $plan = value($main, "SELECT count(*) FROM $call; BEGIN; EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM $call; ROLLBACK");
	my ($hit) = $plan =~ /"Shared Hit Blocks": (\d+)/;
	my ($read) = $plan =~ /"Shared Read Blocks": (\d+)/;
	return $hit + $read;
}

# its numbers are ahead of the others'
$main->safe_psql('postgres', <<'SQL');
DO $$ BEGIN FOR i IN 1 .. 3000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$
SQL

# ---- somebody in another database has a number, and does nothing
$main->safe_psql('postgres',
	"BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'idle'");

# ---- a writer is prepared
value($main, create($_)) for qw(A B C);
is(taken($main, 'mail'), 'A/1 B/1 C/1', 'what is committed is given');
value($main, "BEGIN; SELECT payorder.fire('A', 'cancel'); " . create('P') . "; PREPARE TRANSACTION 'writer'");
value($main, "SELECT payorder.fire('B', 'cancel')");
is(taken($main, 'mail'), 'B/2', 'a prepared writer stops nobody');
is(taken($main, 'mail'), 'nothing', '... and nothing comes twice');
$main->restart;
value($main, "SELECT payorder.fire('C', 'cancel')");
is(taken($main, 'mail'), 'C/2', '... after a restart');
crash_and_start($main);
value($main, create('D'));
is(taken($main, 'mail'), 'D/1', '... and after a crash');
value($main, 'SELECT count(' . create('N')  =~ s/'N'.*/'N' || n, 1, 'CNY')) FROM generate_series(1, 20) AS n/r =~ s/SELECT state FROM //r);
is(taken($main, 'mail', ', 4, 2'), 'N1/1 N2/1 N3/1 N4/1 N5/1 N6/1 N7/1 N8/1',
	'in the middle of a batch');
value($main, "COMMIT PREPARED 'writer'");
is( value($main, "SELECT behind FROM payorder.consumers WHERE consumer = 'mail'"),
	'14', 'it is committed: the lag counts its events');
is(taken($main, 'mail'), join(' ', map { "N$_/1" } 9 .. 20) . ' A/2 P/1',
	'... and its events come after the batch');
is(taken($main, 'mail'), 'nothing', '... once');
value($main, "BEGIN; SELECT payorder.fire('D', 'cancel'); PREPARE TRANSACTION 'undone'");
value($main, create('E'));
is(taken($main, 'mail'), 'E/1', 'another one');
value($main, "ROLLBACK PREPARED 'undone'");
is(taken($main, 'mail'), 'nothing', '... that is rolled back gives nothing');
like(taken($main, 'all'), qr{^A/1 B/1 C/1 A/2 P/1 B/2 C/2 D/1 N1/1 }, 'who begins later sees the order of ids');

# ---- a consumer that is prepared: others get nothing meanwhile
value($main, create('F'));
value($main, "BEGIN; SELECT take('mail'); PREPARE TRANSACTION 'consumer'");
is(taken($main, 'mail'), 'nothing', 'a consumer is prepared: nobody else gets anything');
value($main, "ROLLBACK PREPARED 'consumer'");
is(taken($main, 'mail'), 'F/1', '... rolled back, the next one gets it');
is(value($main, "SELECT * FROM wrong WHERE consumer = 'mail'"), '', 'all once, in order');

# ---- what a call costs follows what is new, though the number is still held
taken($main, 'all');
my $few = buffers("payorder.next_events('mail')");
value($main, "INSERT INTO payorder.events (slot, gateway, txn_id, event, actor, source, at)
	SELECT n % 64, 'g', n::text, 'callback', 'x', 'callback', now() FROM generate_series(1, 20000) AS n");
value($main, "SELECT take('$_', 10000)") for qw(mail all);
value($main, 'VACUUM payorder.events');
my $many = buffers("payorder.next_events('mail')");
cmp_ok($many, '<', 3 * $few + 200, "a call that finds nothing: $few buffers with 30 events, $many with 20,000");
value($main, create('G'));
cmp_ok(buffers("payorder.next_events('mail')"), '<', $many + 300, '... and little more that finds one');
cmp_ok(buffers("payorder.consumers"), '<', 3 * $many + 600, 'nor does the view read the log');
is(taken($main, 'mail'), 'G/1', '... which is given');
is( $main->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'),
	'1', 'all that with a transaction that does nothing');

# ---- into another cluster, in the middle of a batch, with one that is late
value($main, "BEGIN; SELECT payorder.fire('G', 'cancel'); PREPARE TRANSACTION 'lost'");
value($main, "BEGIN; SELECT payorder.fire('F', 'cancel'); PREPARE TRANSACTION 'late'");
value($main, create("H$_")) for 1 .. 9;
is(taken($main, 'mail', ', 2, 2'), 'H1/1 H2/1 H3/1 H4/1', 'a batch is open');
value($main, "COMMIT PREPARED 'late'");
value($main, create('I'));
my ($mark, $events, $digest) = split /\|/,
  value($main, 'SELECT to_mark, events, digest FROM payorder.event_digest()');
value($main, create('J'));
my $last = value($main, 'SELECT max(id) FROM payorder.events');

# Restores a dump; the rest of its life is another log's.
sub moved
{
	my ($from, $to, $database) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/dump';

	$from->command_ok([ 'pg_dump', '-Fc', '-f', $file, 'shop' ], 'it is dumped');
	$to->safe_psql('postgres', 'DROP DATABASE IF EXISTS shop WITH (FORCE)');
	$to->safe_psql('postgres', 'CREATE DATABASE shop');
	$to->command_ok([ 'pg_restore', '-e', '-d', $to->connstr('shop'), $file ], '... and restored');
	return;
}
moved($main, $other);
cmp_ok($other->safe_psql('shop', "SELECT pg_current_xact_id()::text::bigint - max(txid::text::bigint) FROM payorder.events"),
	'<', 0, 'its numbers are yet to come there');
is( value($other, "SELECT events, digest FROM payorder.event_digest(NULL, '$mark')"),
	"$events|$digest", 'the digest is the same there');
# two are the first to append, and one of them stays open
value($other, "BEGIN; " . create('X') . "; SELECT payorder.fire('J', 'cancel'); PREPARE TRANSACTION 'first'");
value($other, create('Y'));
is( value($other, 'SELECT epoch, first_id FROM payorder.log_epochs ORDER BY 1'),
	"1|1\n2|" . ($last + 1), 'another epoch begins after the last event that came along');
is( value($other, "SELECT behind FROM payorder.consumers WHERE consumer = 'mail'"),
	'9', 'the lag is known');
is(taken($other, 'mail'), 'H5/1 H6/1 H7/1 H8/1 H9/1 F/2 I/1 J/1 Y/1', 'the consumer goes on');
is(taken($other, 'mail'), 'nothing', '... once');
value($other, "COMMIT PREPARED 'first'");
is( value($other, 'SELECT count(*), count(DISTINCT first_id), max(epoch) FROM payorder.log_epochs WHERE epoch > 1'),
	'2|1|2', '... both began the same epoch');
is(taken($other, 'mail'), 'X/1 J/2', '... who was late is given there, too');
is( value($other, "SELECT events, digest FROM payorder.event_digest(NULL, '$mark')"),
	"$events|$digest", 'the digest stays the same');
like(taken($other, 'all'), qr{^G/1 F/2 H1/1 .*H9/1 I/1 J/1 X/1 J/2 Y/1$}, 'the other consumer goes on, too');
value($other, "SELECT payorder.create_consumer('new', '-infinity')");
taken($other, 'new', ', 10000');
is( value($other, 'SELECT consumer, order_no, seq, why FROM wrong WHERE order_no IS NOT NULL'),
	'', 'all once, in order');
well($other, 'shop');

# ---- and on, where its numbers are long past; nobody appends before it asks
$third->safe_psql('postgres', <<'SQL');
DO $$ BEGIN FOR i IN 1 .. 6000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$
SQL
value($other, "SELECT payorder.fire('I', 'cancel')");
value($other, create('K'));
is(taken($other, 'mail', ', 1, 1'), 'I/2', 'a batch is open');
my ($second, $rest) = split /\|/, value($other, "SELECT to_mark, digest FROM payorder.event_digest('$mark')"), 2;
moved($other, $third);
is(taken($third, 'mail'), 'K/1', 'a consumer goes on before anybody appends');
is(taken($third, 'mail'), 'nothing', '... once');
is(value($third, 'SELECT max(epoch) FROM payorder.log_epochs'), '2', '... which needs no epoch');
value($third, create('L'));
value($third, "SELECT payorder.fire('K', 'cancel')");
is(value($third, 'SELECT max(epoch) FROM payorder.log_epochs'), '3', 'the first event begins one');
is(taken($third, 'mail'), 'L/1 K/2', '... and is given');
is( value($third, "SELECT digest FROM payorder.event_digest('$mark', '$second')"),
	$rest, 'a digest from one epoch to the next is the same there');
is(value($third, "SELECT digest FROM payorder.event_digest(NULL, '$mark')"), $digest, '... and the first');
taken($third, 'all');
is( value($third, 'SELECT consumer, order_no, seq, why FROM wrong WHERE order_no IS NOT NULL AND consumer <> \'new\''),
	'', 'all once, in order');
is( value($third, "SELECT string_agg(s::text, '') FROM generate_series(0, 63) AS s, payorder.consumers_behind(s) AS b WHERE b = 'mail'"),
	'', 'it has passed all partitions');

# ---- back to where it came from: the same cluster, and again an epoch
value($main, "ROLLBACK PREPARED 'lost'");
moved($third, $main);
is(taken($main, 'mail'), 'nothing', 'back in the first cluster');
value($main, create('M'));
is(taken($main, 'mail'), 'M/1', '... it goes on');
is(value($main, 'SELECT max(epoch), count(DISTINCT system_identifier) FROM payorder.log_epochs'), '4|3', '... in an epoch of its own');
is(value($main, "SELECT digest FROM payorder.event_digest(NULL, '$mark')"), $digest, '... with the same digest');
well($main, 'shop');

# ---- a copy by CREATE DATABASE ... TEMPLATE
value($main, create('O'));
is(taken($main, 'all', ', 1, 1'), 'M/1', 'a batch is open');
$main->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE shop');
$main->safe_psql('copy', create('Q'));
is($main->safe_psql('copy', "SELECT take('all')"), 'O/1 Q/1', 'a copy goes on');
is(taken($main, 'all'), 'O/1', '... as does what it was made from');

$main->safe_psql('postgres', "ROLLBACK PREPARED 'idle'");
for my $node ($main, $other, $third)
{
	no_crash($node, 0);
	$node->stop;
}
done_testing();
