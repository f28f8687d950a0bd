# What payorder's TAP tests share besides PostgreSQL::Test.
package PayorderTest;

use strict;
use warnings;

use Exporter 'import';
use Time::HiRes qw(usleep);

our @EXPORT = qw(crash_and_start);

# Kills a node's postmaster with -9 and starts it again.  A start too soon is
# refused: the dead postmaster's number is taken until init has reaped it, and
# its orphaned backends hold the shared memory until they notice.
sub crash_and_start
{
    my ($node) = @_;
    my $tries = 10 * ($ENV{PG_TEST_TIMEOUT_DEFAULT} || 180);
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

1;
