# What payorder's TAP tests share besides PostgreSQL::Test.
package PayorderTest;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Utils ();
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(crash_and_start comes_true sql_comes_to worker_pids
  launcher_pid log_size no_crash well sql_state);

# How long to wait for anything, in seconds.
sub patience { return $ENV{PG_TEST_TIMEOUT_DEFAULT} || 180; }

# Kills a node's postmaster with -9 and starts it again.  A start too soon is
# refused: the dead postmaster's number is taken until init has reaped it, and
# its orphaned backends hold the shared memory until they notice.
sub crash_and_start
{
	my ($node) = @_;
	my $tries = 10 * patience();
	my $pid = $node->{_pid};

	$node->kill9;
	for (; $tries > 0 && kill(0, $pid); $tries--) { usleep(100_000); }
	for (; $tries > 0; $tries--)
	{
		return if $node->start(fail_ok => 1);
		# the framework takes the stale file's number for a running server's
		$node->{_pid} = undef;
		usleep(100_000);
	}
	die 'the server did not start again';
}

# Polls until the code returns something true, which it returns; undef if it
# takes longer than the given number of seconds.
sub comes_true
{
	my ($code, $seconds) = @_;

	for (my $tries = 20 * ($seconds || patience()); $tries > 0; $tries--)
	{
		my $value = eval { $code->() };

		return $value if $value;
		usleep(50_000);
	}
	return undef;
}

# A test: the query's result becomes the expected one, in less than the given
# number of seconds.  The server may be down meanwhile.
sub sql_comes_to
{
	my ($node, $database, $query, $expected, $name, $seconds) = @_;
	my $last;

	return pass($name)
	  if comes_true(
		sub {
			my ($rc, $out, $err) = $node->psql($database, $query);

			$last = $rc == 0 ? $out : $err;
			return $rc == 0 && $out eq $expected;
		},
		$seconds);
	fail($name);
	diag("expected: $expected, last: $last");
	return 0;
}

# The process ids of a database's workers, as psql prints them.
sub worker_pids
{
	my ($node, $database) = @_;

	my ($rc, $out) = $node->psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'payorder worker'"
		  . " AND datname = '$database' ORDER BY pid");
	return $rc == 0 ? $out : '';
}

# The launcher has no database connection, so it is looked for among the
# postmaster's children.
sub launcher_pid
{
	my ($node) = @_;

	for my $stat (glob '/proc/[0-9]*/stat')
	{
		my ($pid) = $stat =~ /(\d+)/;
		my $text = eval { PostgreSQL::Test::Utils::slurp_file($stat) } || '';
		my ($parent) = $text =~ /^\d+ \(.*\) \S (\d+) /s or next;

		next unless $parent == $node->{_pid};
		$text = eval {
			PostgreSQL::Test::Utils::slurp_file("/proc/$pid/cmdline");
		} || '';
		return $pid if $text =~ /payorder launcher/;
	}
	return undef;
}

sub log_size { return -s $_[0]->logfile; }

# A test: no process of the server crashed since the log had that size.
sub no_crash
{
	my ($node, $since, $name) = @_;

	unlike(
		PostgreSQL::Test::Utils::slurp_file($node->logfile, $since),
		qr/terminated by signal (?:4|6|7|8|11)\b|PANIC: |TRAP: /,
		$name || 'no process crashed');
	return;
}

# A test: all that is stored fits together.
sub well
{
	my ($node, $database, $name) = @_;

	is($node->safe_psql($database, 'SELECT * FROM payorder.check_invariants()'),
		'', $name || 'the invariants hold');
	return;
}

# The SQLSTATE that a statement ends with, and its message; '00000' for none.
sub sql_state
{
	my ($node, $database, $sql, %params) = @_;
	my ($rc, $out, $err) = $node->psql($database,
		"\\set VERBOSITY verbose\n$sql", on_error_die => 0,
		on_error_stop => 1, %params);

	return '00000' if $rc == 0;
	return $err =~ /(?:ERROR|FATAL): +([0-9A-Z]{5}):/ ? $1 : $err;
}

1;
