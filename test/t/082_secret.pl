# Secrets of gateways: where they may be, what is refused, sealed ones; and that
# their bytes are nowhere else: not in the log at its loudest, in statistics,
# dumps, errors, any file of the cluster, or a backend's memory after use.
# Scenario 67.
use strict;
use warnings;
no warnings 'portable';    # addresses have 64 bits

use Digest::SHA ();
use Fcntl ':mode';
use File::Find ();
use MIME::Base64 ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PayorderTest;
use Test::More;

# ---- secrets, none of them like anything that is elsewhere
my $turn = 0;

# A number of letters and digits that no two calls give.
sub letters
{
	my ($length) = @_;

	return substr(Digest::SHA::sha512_hex("$$ " . time . ' ' . ++$turn), 0, $length);
}

my %secret = (
	stripe => 'whsec_' . letters(40),
	apiv3 => letters(32),
	hex => letters(64),
	env => letters(48),
	sealing => letters(64),
	raw_sealing => Digest::SHA::sha256(letters(64)),
	short_sealing => letters(62),
	nohex => 'not hex ' . letters(40));

# All forms in which a secret's bytes could stand somewhere.
sub forms
{
	my ($bytes) = @_;
	my @bytes = ($bytes);

	push @bytes, pack('H*', $bytes) if $bytes =~ /^(?:[0-9a-f]{2})+$/;
	return map {
		my $hex = unpack('H*', $_);
		# the part of a base64 text that doesn't depend on what is before it
		($_, $hex, uc $hex, map { substr($_, 4, length($_) - 12) }
			  map { MIME::Base64::encode_base64($_, '') }
			  $_, "x$_", "xx$_")
	} @bytes;
}

# The names of the secrets that a text has in any form.
sub found_in
{
	my ($text, @names) = @_;

	return join ' ', grep {
		my $name = $_;
		grep { index($text, $_) >= 0 } forms($secret{$name})
	} @names ? @names : sort keys %secret;
}

# ---- a server that says all it can
my $folder = PostgreSQL::Test::Utils::tempdir() . '/secrets';
my $node = PostgreSQL::Test::Cluster->new('secret');

$ENV{PAYORDER_TEST_SECRET} = $secret{env};
$ENV{PAYORDER_TEST_EMPTY} = '';
$node->init;
$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.track = 'all'
compute_query_id = on
log_statement = 'all'
log_min_messages = debug5
log_min_duration_statement = 0
log_error_verbosity = verbose
log_parameter_max_length_on_error = -1
log_duration = on
debug_print_parse = on
debug_print_plan = on
track_activity_query_size = 8192
shared_buffers = 2MB
max_connections = 20
payorder.secret_directory = '$folder'
payorder.seal_key = 'file:seal'
fsync = off
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', <<'SQL');
CREATE EXTENSION payorder;
CREATE EXTENSION pg_stat_statements;
SELECT payorder.create_roles();
CREATE ROLE ann LOGIN;
CREATE ROLE bob LOGIN;
GRANT payorder_admin TO ann;
INSERT INTO payorder.gateways (gateway, adapter, merchant_id)
VALUES ('stripe', 'stripe', 'm'), ('wechat', 'wechatpay', 'm'), ('adyen', 'adyen', 'm'), ('hmac', 'hmac', 'm');
SQL

my $said = '';    # all that clients were told

# A secret's file.
sub write_file
{
	my ($name, $content, $mode) = @_;

	unlink "$folder/$name";
	append_to_file("$folder/$name", $content);
	chmod(defined $mode ? $mode : 0600, "$folder/$name") or die "chmod: $!";
	return;
}

# What ann's statement ends with, the SQLSTATE and the message; or what it
# returns.
sub answer
{
	my ($sql) = @_;
	my ($rc, $out, $err) = $node->psql('shop', "\\set VERBOSITY verbose\n$sql",
		on_error_die => 0, on_error_stop => 1, extra_params => ['-U', 'ann']);

	$said .= "$out$err";
	return $rc == 0 ? $out : join ' ',
	  $err =~ /ERROR:  (PO011): /, $err =~ /DETAIL:  (.*)/;
}

my $ids = 0;

sub add
{
	my ($gateway, $reference, $purpose) = @_;

	return answer(sprintf "SELECT payorder.add_gateway_key('%s', 'k%d', '%s', secret => '%s') ~ '^k'",
		$gateway, ++$ids, $purpose || 'verify', $reference);
}

# Has the server read its configuration, and waits until a new session sees it.
sub configure
{
	my ($name, $value) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET $name = '$value'");
	$node->reload;
	comes_true(sub { $node->safe_psql('postgres', "LOAD 'payorder'; SHOW $name") eq $value })
	  or die "$name does not become $value";
	return;
}

# ---- where files may be
my $nowhere = 'PO011 The folder of secrets isn\'t there, or isn\'t safe.';

is(add('stripe', 'file:stripe'), $nowhere, 'the folder is not there');
mkdir $folder or die "mkdir: $!";
write_file('seal', "$secret{sealing}\n");
write_file('stripe', "$secret{stripe}\n");
for my $mode (0770, 0702, 0777)
{
	chmod $mode, $folder;
	is(add('stripe', 'file:stripe'), $nowhere,
		sprintf 'a folder of mode %o', $mode);
}
chmod 0755, $folder;
is(add('stripe', 'file:stripe'), 't', 'a folder that others can read');
chmod 0700, $folder;
is(add('stripe', 'file:stripe'), 't', 'a folder of the server\'s user alone');
configure('payorder.secret_directory', '/tmp');
is(add('stripe', 'file:stripe'), $nowhere, 'a folder that everybody writes to');
configure('payorder.secret_directory', "$folder/stripe");
is(add('stripe', 'file:stripe'), $nowhere, 'a folder that is a file');
SKIP:
{
	my $uid = (stat '/etc/passwd')[4];

	skip '/etc/passwd is not root\'s, or the server is', 1 if $uid != 0 || $> == 0;
	configure('payorder.secret_directory', '/etc');
	is(add('stripe', 'file:passwd'), 'PO011 The file belongs to somebody else.',
		'a file of root\'s');
}
configure('payorder.secret_directory', '');
is(add('stripe', 'file:stripe'), 'PO011 There is no folder of secrets.',
	'no folder');
my ($rc, $out, $err) = $node->psql('postgres',
	"LOAD 'payorder'; ALTER SYSTEM SET payorder.secret_directory = 'secrets'");
like($err, qr/It must be an absolute path/, 'a relative path is refused');
configure('payorder.secret_directory', $folder);

# ---- what a file may be
write_file('apiv3', "$secret{apiv3}\n");
write_file('crlf', "$secret{apiv3}\r\n");
write_file('bare', $secret{apiv3});
write_file('two_lines', "$secret{apiv3}\n\n");
write_file('hex', "$secret{hex}\n");
write_file('upper', uc $secret{hex});
write_file('odd', substr($secret{hex}, 1));
write_file('nohex', $secret{nohex});
write_file('blank', " $secret{hex}");
write_file('empty', '');
write_file('newline', "\n");
write_file('read_only', $secret{stripe}, 0400);
write_file('group', $secret{stripe}, 0640);
write_file('world', $secret{stripe}, 0604);
write_file('program', $secret{stripe}, 0700);
write_file('sticky', $secret{stripe}, 01600);
write_file('unreadable', $secret{stripe}, 0200);
write_file('largest', $secret{stripe} . 'x' x (65536 - length $secret{stripe}));
write_file('too_large', $secret{stripe} . 'x' x (65537 - length $secret{stripe}));
write_file('nul', "$secret{stripe}\0\1\xff");
mkdir "$folder/folder" or die "mkdir: $!";
chmod 0600, "$folder/folder";
symlink "$folder/stripe", "$folder/link" or die "symlink: $!";
symlink "$folder/nothing", "$folder/dangling" or die "symlink: $!";
POSIX::mkfifo("$folder/fifo", 0600) or die "mkfifo: $!";

my $regular = 'PO011 It isn\'t a regular file.';
my $private = 'PO011 The file\'s mode gives rights to others, or to execute it.';
my $form = 'PO011 It isn\'t an even number of hexadecimal digits.';

for (
	[ 'stripe', 'file:read_only', 't' ],
	[ 'stripe', 'file:largest', 't' ],
	[ 'stripe', 'file:nul', 't' ],
	[ 'hmac', 'file:nohex', 't' ],
	[ 'stripe', 'file:group', $private ],
	[ 'stripe', 'file:world', $private ],
	[ 'stripe', 'file:program', $private ],
	[ 'stripe', 'file:sticky', $private ],
	[ 'stripe', 'file:nothing', 'PO011 There is no such file in the folder of secrets.' ],
	[ 'stripe', 'file:folder', $regular ],
	[ 'stripe', 'file:link', $regular ],
	[ 'stripe', 'file:dangling', $regular ],
	[ 'stripe', 'file:fifo', $regular ],
	[ 'stripe', 'file:too_large', 'PO011 The file is larger than 64 kB.' ],
	[ 'stripe', 'file:empty', 'PO011 It is empty.' ],
	[ 'stripe', 'file:newline', 'PO011 It is empty.' ],
	[ 'stripe', 'file:seal', 'PO011 It is the key that seals secrets.' ],
	[ 'wechat', 'file:apiv3', 't', 'decrypt' ],
	[ 'wechat', 'file:crlf', 't', 'decrypt' ],
	[ 'wechat', 'file:bare', 't', 'decrypt' ],
	[ 'wechat', 'file:two_lines', 'PO011 It isn\'t 32 bytes long.', 'decrypt' ],
	[ 'wechat', 'file:hex', 'PO011 It isn\'t 32 bytes long.', 'decrypt' ],
	[ 'adyen', 'file:hex', 't' ],
	[ 'adyen', 'file:upper', 't' ],
	[ 'adyen', 'file:odd', $form ],
	[ 'adyen', 'file:nohex', $form ],
	[ 'adyen', 'file:blank', $form ],
	[ 'stripe', 'env:PAYORDER_TEST_SECRET', 't' ],
	[ 'stripe', 'env:PAYORDER_TEST_EMPTY', 'PO011 It is empty.' ],
	[ 'stripe', 'env:PAYORDER_TEST_OTHER', 'PO011 The server\'s environment has no such variable.' ],
	[ 'adyen', 'env:PAYORDER_TEST_SECRET', 't' ])
{
	my ($gateway, $reference, $expected, $purpose) = @$_;

	is(add($gateway, $reference, $purpose), $expected, "$gateway: $reference");
}
SKIP:
{
	skip 'root reads everything', 1 if $> == 0;
	is(add('stripe', 'file:unreadable'), 'PO011 The file can\'t be opened.',
		'stripe: file:unreadable');
}

# ---- what a message finds when a file has changed
is(answer('SELECT payorder.check_gateway_keys(\'adyen\')'), '3', 'all can be read');
write_file('hex', $secret{nohex});
is(answer('SELECT payorder.check_gateway_keys(\'adyen\')'), $form,
	'a key whose file is of another form now');
unlink "$folder/hex";
is( answer('SELECT payorder.check_gateway_keys(\'adyen\')'),
	'PO011 There is no such file in the folder of secrets.',
	'a key whose file is gone');
write_file('hex', $secret{hex});
is(answer('SELECT payorder.check_gateway_keys(\'adyen\')'), '3', 'back again');

# ---- sealed secrets
is(answer('SELECT payorder.seal_secret(\'a\', \'file:stripe\')'), '', 'sealed from a file');
is(answer('SELECT payorder.seal_secret(\'b.c-d\', \'env:PAYORDER_TEST_SECRET\')'), '', 'sealed from the environment');
is(answer('SELECT payorder.seal_secret(\'a\', \'file:apiv3\')'), 'PO011', 'a name that is taken');
is( answer('SELECT payorder.seal_secret(\'c\', \'file:group\')'), $private,
	'what can\'t be read is not sealed');
is( answer('SELECT payorder.seal_secret(\'c\', \'file:seal\')'),
	'PO011 It is the key that seals secrets.', 'nor is the key that seals');
is( $node->safe_psql('shop', 'SELECT name, octet_length(nonce), octet_length(ciphertext), octet_length(key_check), sealed_by
	FROM payorder.sealed_secrets ORDER BY name'),
	'a|12|' . (16 + length $secret{stripe}) . "|16|ann\nb.c-d|12|64|16|ann",
	'what is stored');
$node->safe_psql('shop', 'DELETE FROM payorder.gateway_keys WHERE gateway = \'stripe\'');
is(add('stripe', 'sealed:a'), 't', 'a key that is sealed');
unlink "$folder/stripe";
is(answer('SELECT payorder.check_gateway_keys(\'stripe\')'), '1', 'its file may go');

sub tampered
{
	my ($change, $expected, $name) = @_;

	$node->safe_psql('shop', "CREATE TABLE kept AS TABLE payorder.sealed_secrets; $change");
	is(answer('SELECT payorder.check_gateway_keys(\'stripe\')'), $expected, $name);
	$node->safe_psql('shop', 'DELETE FROM payorder.sealed_secrets;
		INSERT INTO payorder.sealed_secrets TABLE kept; DROP TABLE kept');
	return;
}

my $changed = 'PO011 Its row isn\'t as it was sealed, or belongs to another name.';

tampered("UPDATE payorder.sealed_secrets SET ciphertext = set_byte(ciphertext, $_, get_byte(ciphertext, $_) # 1)",
	$changed, "byte $_ of the ciphertext is changed") for 0, 45, 61;
tampered('UPDATE payorder.sealed_secrets SET nonce = set_byte(nonce, 11, get_byte(nonce, 11) # 128)',
	$changed, 'the nonce is changed');
tampered('UPDATE payorder.sealed_secrets SET ciphertext = substr(ciphertext, 1, 15)',
	$changed, 'the ciphertext is cut');
tampered('UPDATE payorder.sealed_secrets SET nonce = substr(nonce, 1, 11)',
	$changed, 'the nonce is cut');
tampered('UPDATE payorder.sealed_secrets SET key_check = \'\'',
	'PO011 It was sealed with another key.', 'the key\'s check is changed');
tampered('UPDATE payorder.sealed_secrets AS s SET nonce = t.nonce, ciphertext = t.ciphertext
	FROM payorder.sealed_secrets AS t WHERE t.name <> s.name',
	$changed, 'two rows are swapped');
tampered('DELETE FROM payorder.sealed_secrets WHERE name = \'a\';
	UPDATE payorder.sealed_secrets SET name = \'a\'',
	$changed, 'another row has its name');
is(answer('SELECT payorder.check_gateway_keys(\'stripe\')'), '1', 'and as it was');

# ---- the key that seals
sub unusable
{
	my ($name, $content, $expected) = @_;

	write_file('seal', $content);
	is(answer('SELECT payorder.check_gateway_keys(\'stripe\')'), $expected, $name);
	return;
}

my $other = 'PO011 It was sealed with another key.';
my $none = 'PO011 A seal key is 32 bytes, or 64 hexadecimal digits.';

unusable('another key seals', $secret{raw_sealing}, $other);
unusable('a key that is too short', $secret{short_sealing}, $none);
unusable('a key that is no hex', 'x' . substr($secret{sealing}, 1), $none);
unusable('a key in capitals', uc($secret{sealing}) . "\r\n", '1');
unusable('the same as bytes', pack('H*', $secret{sealing}), '1');
unusable('with a line\'s end', pack('H*', $secret{sealing}) . "\n", '1');
write_file('old', pack('H*', $secret{sealing}));
# a key whose last byte is one
write_file('seal', substr($secret{raw_sealing}, 0, 31) . "\n");
is(answer('SELECT payorder.check_gateway_keys(\'stripe\')'), $other, 'after a change of the key');
is( answer('SELECT payorder.reseal_secrets(\'file:nothing\')'),
	'PO011 There is no such file in the folder of secrets.', 'the old one is asked for');
is(answer('SELECT payorder.reseal_secrets(\'file:seal\')'), $other, 'the new one is not the old one');
is(answer('SELECT payorder.reseal_secrets(\'file:old\')'), '2', 'all are sealed anew');
is(answer('SELECT payorder.check_gateway_keys(\'stripe\')'), '1', 'and can be read');
is(answer('SELECT payorder.reseal_secrets(\'file:old\')'), '0', 'once');
# a third key has sealed one of three: nothing is done
write_file('third', $secret{sealing});
write_file('old', substr($secret{raw_sealing}, 0, 31) . "\n");
configure('payorder.seal_key', 'file:third');
is(answer('SELECT payorder.seal_secret(\'z\', \'file:apiv3\')'), '', 'sealed by a third key');
configure('payorder.seal_key', 'env:PAYORDER_TEST_OTHER');
is( answer('SELECT payorder.seal_secret(\'y\', \'file:apiv3\')'),
	'PO011 The server\'s environment has no such variable.', 'the key can be in the environment');
write_file('fourth', $secret{raw_sealing});
configure('payorder.seal_key', 'file:fourth');
is(answer('SELECT payorder.reseal_secrets(\'file:old\')'), $other, 'one was sealed by another');
is( $node->safe_psql('shop', 'SELECT count(DISTINCT key_check) FROM payorder.sealed_secrets'),
	'2', 'and none is changed then');
for my $nonsense ('', 'sealed:a', 'hush', 'file:../x')
{
	configure('payorder.seal_key', $nonsense);
	is(answer('SELECT payorder.check_gateway_keys(\'stripe\')'), 'PO011',
		"seal_key = '$nonsense'");
}
configure('payorder.seal_key', 'file:seal');

# ---- dropped when nobody uses it
is(answer('SELECT payorder.drop_secret(\'a\')'), 'PO011', 'a secret in use');
$node->safe_psql('shop', "SELECT payorder.retire_gateway_key('stripe', 'k$ids', at => now() + '1 hour')");
is(answer('SELECT payorder.drop_secret(\'a\')'), 'PO011', 'and until its key ends');
$node->safe_psql('shop', "SELECT payorder.retire_gateway_key('stripe', 'k$ids')");
is(answer('SELECT payorder.drop_secret(\'a\')'), '', 'not any more');
is( answer('SELECT payorder.drop_secret(\'a\')'),
	'PO011 There is no sealed secret of this name.', 'it is gone');
is(add('stripe', 'sealed:a'), 'PO011 There is no sealed secret of this name.',
	'no key begins with it');
write_file('stripe', $secret{stripe});
answer('SELECT payorder.seal_secret(\'a\', \'file:stripe\')');
is(add('stripe', 'sealed:a'), 't', 'sealed and used again');

# ---- nobody but the configuration says where secrets are
mkdir "$folder/evil" or die "mkdir: $!";
append_to_file("$folder/evil/seal", '0' x 64);
for my $set ("SET payorder.secret_directory = '$folder/evil'", 'SET payorder.seal_key = \'file:stripe\'')
{
	like(answer("$set;\nSELECT payorder.check_gateway_keys('stripe')"),
		qr/^1$/m, "before the library is loaded: $set");
	isnt(answer("SELECT payorder.check_gateway_keys('stripe');\n$set"), "1\nSET",
		"... and after");
}
$node->safe_psql('shop', 'ALTER DATABASE shop OWNER TO ann');
for my $what ('DATABASE shop', 'ROLE ann')
{
	$node->psql('shop', "ALTER $what SET payorder.secret_directory = '$folder/evil'",
		extra_params => ['-U', 'ann']);
	is(answer('SELECT payorder.check_gateway_keys(\'stripe\')'), '1',
		"ALTER $what by who owns it");
}
$node->safe_psql('shop', 'ALTER DATABASE shop OWNER TO CURRENT_USER;
	ALTER DATABASE shop RESET ALL; ALTER ROLE ann RESET ALL');
for my $name ('secret_directory', 'seal_key')
{
	my ($code, $shown, $why) = $node->psql('shop',
		"SELECT payorder.check_gateway_keys('stripe') \\g /dev/null\nSHOW payorder.$name",
		extra_params => ['-U', 'ann']);
	like($why, qr/permission denied|must be superuser/, "ann doesn't see payorder.$name");
}

# ---- bob, who has no right
for my $call ('add_gateway_key(\'stripe\')', 'rotate_gateway_key(\'stripe\')', 'retire_gateway_key(\'stripe\', \'k\')',
	'check_gateway_keys(\'stripe\')', 'seal_secret(\'x\', \'file:stripe\')', 'reseal_secrets(\'file:stripe\')', 'drop_secret(\'a\')')
{
	is(sql_state($node, 'shop', "SELECT payorder.$call", extra_params => ['-U', 'bob']),
		'42501', "bob can't call $call");
}
is(answer('SELECT count(*) FROM (SELECT name, sealed_by FROM payorder.sealed_secrets) AS s'), '3',
	'ann sees which secrets there are');
like(answer('SELECT ciphertext FROM payorder.sealed_secrets'), qr/^$/,
	'but not how they are sealed');

# ---- memory: of a backend that has used every kind, in every way
sub memory_of
{
	my ($pid) = @_;
	my $all = '';

	open my $maps, '<', "/proc/$pid/maps" or return undef;
	open my $memory, '<:raw', "/proc/$pid/mem" or return undef;
	while (<$maps>)
	{
		my ($from, $to) = /^([0-9a-f]+)-([0-9a-f]+) rw\S+ / or next;
		my $bytes;

		sysseek $memory, hex $from, 0 or next;
		$all .= $bytes
		  if sysread $memory, $bytes, hex($to) - hex($from);
	}
	close $memory;
	close $maps;
	return $all;
}

my $session = $node->background_psql('shop', on_error_stop => 0);
my $pid = $session->query_safe('SELECT pg_backend_pid()');
my $canary = 'canary ' . letters(40);

for my $call (
	'check_gateway_keys(\'stripe\')', 'check_gateway_keys(\'adyen\')', 'check_gateway_keys(\'wechat\')',
	'check_gateway_keys(\'hmac\')', 'add_gateway_key(\'stripe\', \'m1\', secret => \'file:largest\')',
	'add_gateway_key(\'stripe\', \'m2\', secret => \'sealed:a\')', 'rotate_gateway_key(\'adyen\', \'m3\', secret => \'file:hex\')',
	'add_gateway_key(\'adyen\', \'m4\', secret => \'file:nohex\')', 'add_gateway_key(\'wechat\', \'m5\', \'decrypt\', secret => \'file:stripe\')',
	'seal_secret(\'memory\', \'file:stripe\')', 'seal_secret(\'memory\', \'file:stripe\')', 'seal_secret(\'m2\', \'file:apiv3\')',
	'reseal_secrets(\'file:third\')', 'reseal_secrets(\'file:old\')', 'drop_secret(\'m2\')')
{
	# also of one that raises, and in the middle of a transaction
	for my $query ("SELECT payorder.$call;",
		"BEGIN; DO \$\$ BEGIN PERFORM payorder.$call; EXCEPTION WHEN OTHERS THEN NULL; END \$\$;")
	{
		$session->query($query);
		my $memory = memory_of($pid);
	  SKIP:
		{
			skip 'a backend\'s memory can\'t be read here', 1 if !defined $memory;
			is(found_in($memory, grep { $_ ne 'env' } sort keys %secret), '',
				"no secret is left in memory by $query");
		}
	}
	$session->query('ROLLBACK;');
}
SKIP:
{
	$session->query("SELECT set_config('test.canary', '$canary', false);");
	my $memory = memory_of($pid);

	skip 'a backend\'s memory can\'t be read here', 2 if !defined $memory;
	ok(index($memory, $canary) >= 0, 'what is in memory is found there');
	is(found_in($memory), 'env', 'so is the environment');
}
$session->quit;

# ---- statistics, and what others see of a session
for my $query ('SELECT string_agg(query, E\'\n\') FROM pg_stat_statements',
	'SELECT string_agg(a::text, E\'\n\') FROM pg_stat_activity AS a',
	'LOAD \'payorder\'; SELECT string_agg(s::text, E\'\n\') FROM pg_settings AS s WHERE name ~ \'payorder\'',
	'SELECT string_agg(c::text, E\'\n\') FROM pg_get_backend_memory_contexts() AS c',
	'SELECT string_agg(k::text, E\'\n\') FROM payorder.gateway_keys AS k')
{
	my $shown = $node->safe_psql('shop', $query);

	cmp_ok(length $shown, '>', 0, "something is shown by: $query");
	is(found_in($shown), '', '... and no secret');
}
like($node->safe_psql('shop', 'SELECT string_agg(query, \' \') FROM pg_stat_statements'),
	qr/add_gateway_key/, 'pg_stat_statements has seen the calls');

# ---- errors and answers
like($said, qr/PO011/, 'clients were told of errors');
is(found_in($said), '', 'clients were told no secret');

# ---- dumps
for my $dump ([], ['--inserts'], ['--data-only'], ['-Fc', '-Z0'])
{
	my ($dumped, $problem) = run_command(
		[ 'pg_dump', @$dump, '-d', $node->connstr('shop') ]);

	cmp_ok(length $dumped, '>', 1000, "pg_dump @$dump dumps");
	is(found_in("$dumped$problem"), '', '... and no secret');
}
my ($dumped, $problem) = run_command([ 'pg_dump', '-U', 'ann', '-d', $node->connstr('shop') ]);
like($problem, qr/permission denied/, 'ann may not dump');
is(found_in("$dumped$problem"), '', '... and sees no secret');
my ($all) = run_command([ 'pg_dump', '-d', $node->connstr('shop') ]);
like($all, qr/sealed:a/, 'the dump has the reference');
my $keys = 'SELECT name, payorder.check_gateway_keys(\'stripe\') FROM payorder.sealed_secrets ORDER BY 1';
my $before = $node->safe_psql('shop', $keys);
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->safe_psql('copy', $all);
is($node->safe_psql('copy', $keys), $before, 'the copy opens what the original has sealed');

# ---- the whole cluster: log, tables, WAL, statistics
$node->stop;

# The secrets that the files of a folder have, and how many files there are.
sub found_below
{
	my ($root) = @_;
	my %found;
	my $files = 0;

	File::Find::find({
			no_chdir => 1,
			wanted => sub {
				return if !-f $_ || -l $_ || !open my $file, '<:raw', $_;
				local $/;
				my $content = <$file>;
				$files++;
				$found{$_} = 1 for split / /, found_in(defined $content ? $content : '');
			}
		}, $root);
	return (join(' ', sort keys %found), $files);
}
my $log = slurp_file($node->logfile);
like($log, qr/add_gateway_key\('stripe', 'm1'/, 'the log has the statements');
like($log, qr/DEBUG/, '... and more');
# At this level the server itself logs its environment when it starts.
my $environment = $log =~ s/^.*\bDEBUG:  [0-9A-Z]+: +\tPAYORDER_TEST_SECRET=\Q$secret{env}\E$//mg;
ok($environment, 'DEBUG3 has the server\'s environment');
is(found_in($log), '', '... and the log has no secret besides');
my ($found, $files) = found_below($node->data_dir);
cmp_ok($files, '>', 500, 'the cluster has files');
is($found, '', '... and no secret in them');
($found) = found_below($folder);
like($found, qr/apiv3.*hex.*stripe/, 'what has secrets is found to have them');

done_testing();
