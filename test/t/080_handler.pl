# Handlers in the worker: they have a process of their own, which a commit
# wakes; it comes and goes with the work, survives every handler, and no timer
# waits for one.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PayorderTest;
use Test::More;

# A wait that the worker's poll interval, a minute, can't explain.
my $SOON = 30;
my $KINDS = <<'SQL';
CREATE SCHEMA shop;
CREATE TABLE shop.sent (task bigint, attempt integer, pid integer, PRIMARY KEY (task));
CREATE FUNCTION shop.send(task payorder.task_info) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO shop.sent VALUES (task.task, task.attempt, pg_backend_pid());
    RETURN json_build_object('attempt', task.attempt);
END
$$;
CREATE FUNCTION shop.wait(task payorder.task_info) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO shop.sent VALUES (task.task, task.attempt, pg_backend_pid());
    PERFORM pg_advisory_xact_lock(4711);
END
$$;
CREATE FUNCTION shop.work(task payorder.task_info) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN EXECUTE task.payload ->> 'do'; END $$;
CREATE FUNCTION shop.raise(task payorder.task_info) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'said' USING ERRCODE = task.payload ->> 'code'; END $$;
CREATE FUNCTION shop.never_ends(task payorder.task_info) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            PERFORM pg_sleep(60);
        EXCEPTION WHEN query_canceled THEN
        END;
    END LOOP;
END
$$;
SELECT payorder.define_task_kind('send', handler => 'shop.send', backoff_list => '{100 ms}'),
       payorder.define_task_kind('wait', handler => 'shop.wait', lease => '60 seconds'),
       payorder.define_task_kind('short_wait', handler => 'shop.wait', lease => '500 ms', backoff_list => '{100 ms}'),
       payorder.define_task_kind('do', handler => 'shop.work', max_attempts => 2, backoff_list => '{100 ms}'),
       payorder.define_task_kind('raise', handler => 'shop.raise', max_attempts => 2, backoff_list => '{100 ms}'),
       payorder.define_task_kind('never_ends', handler => 'shop.never_ends', max_attempts => 1, lease => '100 ms');
SQL

my $node = PostgreSQL::Test::Cluster->new('handlers');

sub handler_pids
{
	my ($database) = @_;
	my ($rc, $out) = $node->psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'payorder handlers'"
		  . " AND datname = '$database' ORDER BY pid");
	return $rc == 0 ? $out : '';
}

# Enqueues a task and returns its id.
sub enqueue
{
	my ($kind, $payload, $database) = @_;

	$payload ||= '{}';
	return $node->safe_psql($database || 'postgres',
		"SELECT payorder.enqueue('$kind', payload => \$json\$$payload\$json\$)"
	);
}

# A test: where a task comes to be.
sub task_comes_to
{
	my ($task, $expected, $name, $database) = @_;

	return sql_comes_to($node, $database || 'postgres', <<SQL, $expected, $name, $SOON);
SELECT concat_ws(' ', coalesce(f.outcome, CASE WHEN r.task_id IS NOT NULL THEN 'ready' WHEN d.task_id IS NOT NULL THEN 'dead' ELSE 'leased' END),
                 coalesce(f.attempts, r.attempts, d.attempts, l.attempts), coalesce(f.result::text, r.error, d.error))
FROM payorder.tasks AS t LEFT JOIN payorder.task_ready AS r ON r.task_id = t.id LEFT JOIN payorder.task_dead AS d ON d.task_id = t.id
LEFT JOIN payorder.task_finished AS f ON f.task_id = t.id LEFT JOIN payorder.task_leases AS l ON l.task_id = t.id
WHERE t.id = $task
SQL
}

# Has a handler wait for a lock that is held; the session that holds it.
sub hold
{
	my ($database) = @_;
	my $holder = $node->background_psql($database || 'postgres');

	$holder->query_safe('SELECT pg_advisory_lock(4711)');
	return $holder;
}

# Waits until a handler waits; its process.
sub waiting_handler
{
	return comes_true(
		sub {
			$node->safe_psql('postgres',
				"SELECT a.pid FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
				  . " WHERE l.locktype = 'advisory' AND l.objid = 4711 AND NOT l.granted"
				  . " AND a.backend_type = 'payorder handlers'");
		});
}

$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'payorder'
payorder.databases = 'postgres'
payorder.poll_interval = '60s'
restart_after_crash = on
CONF
$node->start;
$node->safe_psql('postgres', "CREATE EXTENSION payorder; $KINDS");
my $log = log_size($node);

# ---- it comes with the work
ok(comes_true(sub { worker_pids($node, 'postgres') }), 'the worker is there');
is(handler_pids('postgres'), '', 'without work for handlers no process is');
task_comes_to(enqueue('send'), 'done 1 {"attempt" : 1}',
	'a commit has a handler called');
my $pid = handler_pids('postgres');
like($pid, qr/^\d+$/, 'in a process of its own');
isnt($pid, worker_pids($node, 'postgres'), '... not the worker');
task_comes_to(enqueue('send'), 'done 1 {"attempt" : 1}', '... and again');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT pid) FROM shop.sent'),
	'2|1', '... by the same process');
my $later = $node->safe_psql('postgres',
	"SELECT payorder.enqueue('send', run_at => now() + interval '2 seconds')");
task_comes_to($later, 'done 1 {"attempt" : 1}', '... and when it is time');

# ---- it fails, again after its pause, and is dead in the end
task_comes_to(enqueue('do', '{"do": "SELECT 1 / 0"}'),
	'dead 2 22012: division by zero', 'a handler that fails is tried again, then dead');
task_comes_to(enqueue('do', '{"do": "CREATE TEMP TABLE t ()"}'),
	'dead 2 42501: cannot create temporary table within security-restricted operation',
	'it is restricted');
task_comes_to(enqueue('raise', '{"code": "PO017"}'),
	'dead 1 PO017: said', 'one that gives up is dead at once');
task_comes_to(enqueue('raise', '{"code": "53100"}'),
	'dead 2 53100: could not run the handler', "a failure of the server's, too");
unlike(slurp_file($node->logfile, $log), qr/division by zero/,
	'no message of a handler is in the log');
like(slurp_file($node->logfile, $log),
	qr/handler of task \d+ of kind "do" failed: SQLSTATE 22012/,
	'... but that it failed is');

# ---- what it is called for goes away
$node->safe_psql('postgres', 'ALTER FUNCTION shop.work RENAME TO was_work');
task_comes_to(enqueue('do'),
	'dead 2 42883: function shop.work(payorder.task_info) does not exist',
	'a function that is gone');
$node->safe_psql('postgres', 'ALTER FUNCTION shop.was_work RENAME TO work');

# ---- timers don't wait for it
my $holder = hold();
my $task = enqueue('wait');
ok(waiting_handler(), 'a handler takes long');
$node->safe_psql('postgres',
	"SELECT payorder.create_order('T$_', 100, 'CNY', pay_within => '1 second')")
  for 1 .. 5;
sql_comes_to($node, 'postgres',
	"SELECT count(*) FROM payorder.orders WHERE order_no LIKE 'T%' AND state = 'expired'",
	'5', 'timers fire meanwhile', $SOON);
# 5 seconds: of a machine that is busy with other things
is( $node->safe_psql(
		'postgres',
		"SELECT count(*) FROM payorder.events AS e JOIN payorder.orders AS o USING (order_no)"
		  . " WHERE o.order_no LIKE 'T%' AND e.event = 'close' AND e.at < o.pay_by + interval '5 seconds'"
	),
	'5',
	'... in time');
task_comes_to($task, 'leased 1', '... while the handler still runs');
is($node->safe_psql('postgres', 'SELECT payorder.sweep() IS NOT NULL'),
	't', 'a sweep does not wait for it either');
$holder->quit;
task_comes_to($task, 'done 1', 'and it comes to its end');

# ---- it takes too long
$holder = hold();
$task = enqueue('short_wait');
task_comes_to($task, 'ready 1 57014: the handler took longer than its lease',
	'a handler that takes too long is cancelled');
$holder->quit;
task_comes_to($task, 'done 2', '... and tried again');
$pid = handler_pids('postgres');
$task = enqueue('never_ends');
my $next = enqueue('send');
task_comes_to($next, 'done 1 {"attempt" : 1}',
	'one that takes no cancellation does not bar the way');
isnt(handler_pids('postgres'), $pid, '... for its process ends');
task_comes_to($task, 'dead 1 lease expired', '... and its lease');

# ---- kill -9 while a handler runs
$holder = hold();
$task = enqueue('short_wait');
ok($pid = waiting_handler(), 'a handler runs');
kill('KILL', $pid);
$node->poll_query_until('postgres', 'SELECT true');
eval { $holder->quit };
task_comes_to($task, 'done 2', "a killed handler's task is done by the next");
is( $node->safe_psql('postgres',
		"SELECT task, attempt FROM shop.sent WHERE task = $task"),
	"$task|2",
	'... the same task, its work of the first try undone');

# ---- SIGTERM of it, and of the worker
$holder = hold();
$task = enqueue('short_wait');
ok($pid = waiting_handler(), 'a handler runs');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
$holder->quit;
task_comes_to($task, 'done 2', "a terminated one's task is done by the next");
$holder = hold();
$task = enqueue('short_wait');
ok($pid = waiting_handler(), 'a handler runs');
$node->safe_psql('postgres', 'SELECT payorder.stop_worker()');
ok( comes_true(
		sub {
			$node->safe_psql('postgres',
				"SELECT count(*) FROM pg_stat_activity WHERE pid = $pid") == 0;
		}),
	'it ends with the worker');
$holder->quit;
task_comes_to($task, 'done 2', '... and comes back with it');

# ---- DROP EXTENSION under it
$node->safe_psql('postgres',
	"DROP SCHEMA shop CASCADE; DROP EXTENSION payorder; CREATE EXTENSION payorder; $KINDS"
);
task_comes_to(enqueue('send'), 'done 1 {"attempt" : 1}',
	'it goes on with the next extension');

# ---- DROP DATABASE under a handler
$node->safe_psql('postgres', 'CREATE DATABASE second');
$node->safe_psql('second', "CREATE EXTENSION payorder; $KINDS");
$node->append_conf('postgresql.conf', "payorder.databases = 'postgres, second'");
$node->reload;
enqueue('do', '{"do": "SELECT pg_sleep(3000)"}', 'second');
ok( comes_true(
		sub {
			$node->safe_psql('postgres',
				"SELECT count(*) FROM pg_stat_activity WHERE datname = 'second'"
				  . " AND backend_type = 'payorder handlers' AND wait_event = 'PgSleep'"
			) == 1;
		}),
	'a handler runs in the second database');
$node->safe_psql('postgres', 'DROP DATABASE second');
pass('which can be dropped');

# ---- it goes when there is nothing to do
ok(comes_true(sub { handler_pids('postgres') eq '' }, 60),
	'the process ends after a while without work');
task_comes_to(enqueue('send'), 'done 1 {"attempt" : 1}', 'and comes again');

# ---- no room for it, and a shutdown while it runs
$holder = hold();
enqueue('wait');
ok(waiting_handler(), 'a handler runs');
$node->append_conf('postgresql.conf', <<'CONF');
max_worker_processes = 2
max_logical_replication_workers = 0
payorder.databases = 'postgres'
CONF
eval { $holder->{run}->kill_kill };
$node->restart;
pass('a shutdown does not wait for it');
$log = log_size($node);
$task = enqueue('send');
ok( comes_true(
		sub {
			slurp_file($node->logfile) =~
			  /could not start a process for handlers/;
		}),
	'without a free process it says so');
$node->safe_psql('postgres',
	"SELECT payorder.create_order('N1', 100, 'CNY', pay_within => '1 second')");
sql_comes_to($node, 'postgres',
	"SELECT state FROM payorder.orders WHERE order_no = 'N1'",
	'expired', '... and timers fire', $SOON);

# ---- a dump takes it along
my $dump = "$PostgreSQL::Test::Utils::tmp_check/handlers.dump";
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok(
	[
		'pg_dump', '-Fc', '-f', $dump, '-d',
		$node->connstr('postgres')
	],
	'a task that waits for its handler is dumped');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('copy'), $dump ],
	'... and restored');
$node->safe_psql($_, 'CALL payorder.run_sweeps()') for qw(postgres copy);
task_comes_to($task, 'done 1 {"attempt" : 1}',
	"run_sweeps() does the handlers' tasks, too");
task_comes_to($task, 'done 1 {"attempt" : 1}', '... in the copy', 'copy');
well($node, 'postgres');

# ---- without preload
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = ''
max_worker_processes = 8
payorder.poll_interval = '100ms'
CONF
$node->restart;
$task = enqueue('send');
$node->safe_psql('postgres', 'SELECT payorder.start_worker()');
task_comes_to($task, 'done 1 {"attempt" : 1}', 'start_worker() has them run, too');
task_comes_to(enqueue('send'), 'done 1 {"attempt" : 1}', '... found by polling');
$node->safe_psql('postgres', 'SELECT payorder.stop_worker()');
ok(comes_true(sub { handler_pids('postgres') eq '' }),
	'and stop_worker() ends both');
no_crash($node, $log);
$node->stop;

done_testing();
