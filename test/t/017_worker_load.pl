# Much is due at once: 20,000 orders while callbacks come in, with the worker,
# pg_cron's command and sweeps by clients beside each other; orders that raise
# among them; timers of orders that have moved on.  Scenarios 31 to 35.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PayorderTest;
use Test::More;
use Time::HiRes qw(time);

my $DUE = $ENV{PAYORDER_TEST_DUE} || 20_000;

my $node = PostgreSQL::Test::Cluster->new('load');
my $dir = PostgreSQL::Test::Utils::tempdir();

# A psql that runs a script beside the others; its process id.
sub client
{
	my ($name, $script) = @_;

	append_to_file("$dir/$name.sql", $script);
	my $pid = fork // die 'could not fork';

	if ($pid == 0)
	{
		open STDOUT, '>', "$dir/$name.out" or die;
		open STDERR, '>', "$dir/$name.err" or die;
		exec 'psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d',
		  $node->connstr('postgres'), '-f', "$dir/$name.sql"
		  or die;
	}
	return $pid;
}

$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'payorder'
fsync = off
CONF
$node->start;
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION payorder;
SELECT payorder.add_gateway('g', 'generic', 'm');
SELECT payorder.define_machine('shop', '{"initial": "new", "states": {"new": {"on": {"pay": {"target": "done"}, "drop": {"target": "gone"}, "move": {"target": "moved"}},
    "after": {"1s": {"fire": "drop"}}}, "moved": {"on": {"pay": {"target": "done"}, "drop": {"target": "gone"}}, "after": {"1d": {"fire": "drop"}}}, "done": {"type": "final"}, "gone": {"type": "final"}}}');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN
    IF NEW.order_no ~ '^bad' AND NEW.state = 'gone' THEN
        RAISE EXCEPTION 'not this one';
    END IF;
    RETURN NULL;
END \$\$;
CREATE TRIGGER refuse AFTER UPDATE ON payorder.orders FOR EACH ROW EXECUTE FUNCTION refuse();
-- one in a thousand raises, one in a hundred has moved on
SELECT count(payorder.create_order(CASE n % 1000 WHEN 500 THEN 'bad' ELSE 'o' END || n, 100, 'CNY', 'shop'))
FROM generate_series(1, $DUE) AS n;
SELECT count(payorder.fire('o' || n, 'move')) FROM generate_series(1, $DUE) AS n WHERE n % 100 = 1;
SELECT count(payorder.create_order('c' || n, 100, 'CNY')) FROM generate_series(1, 400) AS n;
ANALYZE;
SQL
sql_comes_to($node, 'postgres',
	"SELECT max(due_at) < now() FROM payorder.timers WHERE state = 'new'",
	't', "$DUE orders are due");

# ---- all at once: the worker, clients' sweeps, pg_cron's command, callbacks
$node->append_conf('postgresql.conf', "payorder.databases = 'postgres'");
$node->reload;
sql_comes_to($node, 'postgres',
	"SELECT count(*) > 100 FROM payorder.orders WHERE state = 'gone'",
	't', 'the worker is at it');
my @pids = (
	client('sweep', "SELECT (s).timers FROM payorder.sweep() AS s;\n" x 20),
	client('cron', "CALL payorder.run_sweeps(50, '5 seconds');\n"),
	# those that have moved on, and others' orders
	client('pay', join '', map {
		my $o = $_ % 2 ? 'c' . $_ : 'o' . ($_ * 50 + 1);
		"SELECT clock_timestamp() AS since \\gset\n"
		  . "SELECT verdict FROM payorder.ingest('g', 't$_', 'pay', '$o', 100, 'CNY') \\gset\n"
		  . "SELECT :'verdict', extract(epoch FROM clock_timestamp() - :'since')::numeric(9, 3);\n"
	} 1 .. 300));
for my $pid (@pids)
{
	waitpid($pid, 0);
	is($?, 0, 'a client ends without an error');
}
is(slurp_file("$dir/$_.err"), '', "... $_ says nothing") for qw(sweep cron pay);
note 'timers due when the callbacks were through: '
  . $node->safe_psql('postgres',
	"SELECT count(*) FROM payorder.timers WHERE due_at < now() AND state = 'new'");

my @answers = map { [ split /\|/ ] } split /\n/, slurp_file("$dir/pay.out");
is(scalar(@answers), 300, 'each callback has its answer');
is(scalar(grep { $_->[0] ne 'applied' } @answers), 0, '... and is applied');
my ($slowest) = sort { $b <=> $a } map { $_->[1] } @answers;
my ($median) = (sort { $a <=> $b } map { $_->[1] } @answers)[150];
note("callbacks: median $median s, slowest $slowest s");

# ---- each once
sql_comes_to($node, 'postgres',
	"SELECT count(*) FROM payorder.timers WHERE due_at < now() AND tries = 0",
	'0', 'all is done that can be done', 120);
is( $node->safe_psql('postgres', <<'SQL'), '', 'no timer fired twice');
SELECT order_no, count(*) FROM payorder.events WHERE source = 'timer' GROUP BY 1 HAVING count(*) > 1
SQL
is( $node->safe_psql('postgres',
		"SELECT count(*) FILTER (WHERE state = 'gone'), count(*) FILTER (WHERE state = 'new') FROM payorder.orders WHERE order_no ~ '^(o|bad)'"),
	join('|', $DUE - $DUE / 100 - $DUE / 1000, $DUE / 1000),
	'all that were due and could are closed, and no other');
is( $node->safe_psql('postgres',
		"SELECT count(*) FROM payorder.events WHERE order_no ~ '^o' AND source = 'timer' AND from_state = 'moved'"),
	'0', 'the timer of an order that had moved on did nothing');
sql_comes_to($node, 'postgres',
	"SELECT count(*), min(due_at), min(error) FROM payorder.timers WHERE state = 'new'",
	$DUE / 1000 . '|infinity|not this one',
	'those that raise are set aside, with their error', 60);
is( $node->safe_psql('postgres',
		"SELECT count(*) FROM payorder.attention WHERE cause = 'timer_error'"),
	$DUE / 1000, '... and a person is told of each');
well($node, 'postgres');
no_crash($node, 0);
$node->stop;

done_testing();
