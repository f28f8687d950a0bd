# pg_cron drives the sweeps where nothing can be preloaded for payorder:
# schedule(), a real run of the job, unschedule(); and without pg_cron.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PayorderTest;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('cron');

$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'pg_cron'
cron.database_name = 'postgres'
cron.use_background_workers = on
cron.timezone = 'GMT'
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION payorder');

# ---- without pg_cron
my ($rc, $out, $err) = $node->psql('postgres',
	"\\set VERBOSITY verbose\nSELECT payorder.schedule()");
isnt($rc, 0, 'without pg_cron there is nothing to schedule with');
like($err, qr/ERROR: +55000:.*\nHINT: .*pg_cron/s, '55000, with a hint');
is($node->safe_psql('postgres', 'SELECT payorder.unschedule()'),
	'f', 'and nothing to unschedule');

# somebody's schema of that name is not pg_cron, and is not run as the owner
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE stranger;
GRANT CREATE ON DATABASE postgres TO stranger;
SET ROLE stranger;
CREATE SCHEMA cron;
CREATE TABLE cron.job (jobid bigint, jobname text, database text, command text, schedule text);
INSERT INTO cron.job VALUES (1, 'payorder sweeps', current_database(), '', '');
CREATE FUNCTION cron.schedule(text, text, text) RETURNS bigint LANGUAGE plpgsql
	AS $$ BEGIN RAISE 'planted function ran as %', current_user; END $$;
CREATE FUNCTION cron.unschedule(bigint) RETURNS boolean LANGUAGE plpgsql
	AS $$ BEGIN RAISE 'planted function ran as %', current_user; END $$;
SQL
is( sql_state($node, 'postgres', 'SELECT payorder.schedule()'),
	'55000', 'a schema cron of somebody\'s is not pg_cron');
is( sql_state($node, 'postgres', 'SELECT payorder.unschedule()'),
	'00000', 'neither for unschedule()');
$node->safe_psql('postgres', 'DROP SCHEMA cron CASCADE');

# ---- with it
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_cron;
SELECT payorder.add_gateway('g', 'generic', 'm');
SELECT payorder.create_order('C1', 500, 'CNY');
SELECT payorder.ingest('g', 't1', 'pay', 'C1', 500, 'CNY');
SELECT payorder.fire('C1', 'cancel', 'buyer');
SELECT payorder.create_order('C2', 500, 'CNY', pay_within => '1 second');
SQL
my $job = $node->safe_psql('postgres', 'SELECT payorder.schedule()');
like($job, qr/^\d+$/, 'the job is scheduled');
is( $node->safe_psql('postgres',
		"SELECT jobid, schedule, command, database, active FROM cron.job"),
	"$job|* * * * *|CALL payorder.run_sweeps()|postgres|t",
	'every minute, in this database');
is($node->safe_psql('postgres', "SELECT payorder.schedule('*/2 * * * *')"),
	$job, 'again: the same job');
is( $node->safe_psql('postgres', "SELECT schedule FROM cron.job"),
	'*/2 * * * *', 'with the new schedule');
is($node->safe_psql('postgres', 'SELECT payorder.schedule()'),
	$job, 'and back');
is( sql_state($node, 'postgres', "SELECT payorder.schedule('nonsense')"),
	'22023', 'a bad schedule is an error')
  or diag('pg_cron\'s own error is passed on');

# ---- a real run, within a minute or so
ok( comes_true(
		sub {
			$node->safe_psql('postgres',
				"SELECT EXISTS (SELECT FROM cron.job_run_details WHERE status = 'succeeded')"
			) eq 't';
		},
		100),
	'pg_cron runs it')
  or diag($node->safe_psql('postgres', 'SELECT * FROM cron.job_run_details'));
is( $node->safe_psql('postgres',
		"SELECT string_agg(state, ' ' ORDER BY order_no) FROM payorder.orders"),
	'refunding expired',
	'what was due is done');
is( $node->safe_psql('postgres',
		"SELECT count(*) FROM payorder.refunds WHERE order_no = 'C1'"),
	'1',
	'once');

# ---- exactly its command, by a client
$node->safe_psql('postgres', <<'SQL');
SELECT count(payorder.create_order('D' || n, 500, 'CNY', pay_within => '1 second'))
FROM generate_series(1, 250) AS n;
SQL
my $command = $node->safe_psql('postgres', 'SELECT command FROM cron.job');
ok( comes_true(
		sub {
			$node->safe_psql('postgres', $command);
			return $node->safe_psql('postgres',
				"SELECT count(*) FROM payorder.orders WHERE state = 'expired'"
			) == 251;
		}),
	'the job\'s command does more than a batch');
is( sql_state($node, 'postgres', "BEGIN; $command; COMMIT;"),
	'2D000', 'in a transaction it says that it can\'t commit');

# ---- and no more
is($node->safe_psql('postgres', 'SELECT payorder.unschedule()'),
	't', 'the job is taken out');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron.job'),
	'0', 'and gone');
is($node->safe_psql('postgres', 'SELECT payorder.unschedule()'),
	'f', 'once');
well($node, 'postgres');
no_crash($node, 0);
$node->stop;

done_testing();
