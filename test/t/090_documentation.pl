# The documentation is true: its examples run and print what it shows, all that
# is there is in it, and what it names is there.
#
# Code blocks of README.md and doc/*.md, by their info string:
#   sql             is run; those of one file in one session, in their order,
#                   in a database of their own (with the extension, unless the
#                   file creates it)
#   sql error XXXXX is run and must raise that SQLSTATE
#   sql norun       is not run
#   text            right after a block that is run: what it prints
use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @files = ('README.md', sort glob 'doc/*.md');
my %text = map { $_ => slurp_file($_) } @files;
my $reference = join "\n", map { $text{$_} } grep { m{^doc/} } @files;

# The code blocks of a file, each with its info string, text and line.
sub blocks
{
	my ($file) = @_;
	my (@blocks, $open, $number);

	for my $line (split /\n/, $text{$file}, -1)
	{
		$number++;
		if (!$open && $line =~ /^```(.*)$/)
		{
			$open = { info => $1, line => $number, text => '', gap => '' };
		}
		elsif ($open && $line eq '```')
		{
			push @blocks, $open;
			undef $open;
		}
		elsif ($open) { $open->{text} .= "$line\n"; }
		elsif (@blocks) { $blocks[-1]{gap} .= $line; }
	}
	die "$file: a code block is not closed" if $open;
	return @blocks;
}

sub trimmed
{
	my ($text) = @_;

	$text =~ s/[ \t]+$//mg;
	$text =~ s/^\n+|\n+$//g;
	return $text;
}

# One psql script of a file's blocks, with a mark before and after each.
sub script
{
	my @blocks = @_;
	my $script = "\\pset pager off\nSET client_min_messages = warning;\n";

	for my $n (0 .. $#blocks)
	{
		my $raises = $blocks[$n]{info} =~ /^sql error/;

		$script .= "\\echo \@begin $n\n\\set LAST_ERROR_SQLSTATE 00000\n";
		$script .= '\\set ON_ERROR_STOP ' . ($raises ? 'off' : 'on') . "\n";
		$script .= $blocks[$n]{text};
		$script .= "\\echo \@end $n :LAST_ERROR_SQLSTATE\n";
	}
	return $script;
}

# Runs a script in a database; its output and what went wrong.
sub psql_file
{
	my ($node, $database, $script) = @_;
	my ($out, $err) = ('', '');

	local $ENV{PGTZ} = 'UTC';
	IPC::Run::run([
			'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d',
			$node->connstr($database), '-f', '-' ],
		'<', \$script, '>', \$out, '2>', \$err);
	return ($out, $err);
}

sub examples_of
{
	my ($node, $file) = @_;
	my @all = blocks($file);
	my @run = grep { $all[$_]{info} =~ /^sql(?: error \w{5})?$/ } 0 .. $#all;
	my $database = lc $file =~ s/\W/_/gr;

	is( join(', ',
			map { $_->{info} }
			grep { $_->{info} !~ /^(?:sql(?: error \w{5}| norun)?|text|json|sh|mermaid|python|ini|c|)$/ }
			@all),
		'',
		"$file: known info strings");
	return if !@run;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, 'CREATE EXTENSION payorder')
	  if !grep { $all[$_]{text} =~ /^CREATE EXTENSION payorder\b/m } @run;
	my ($out, $err) =
	  psql_file($node, $database, script(map { $all[$_] } @run));

	for my $n (0 .. $#run)
	{
		my $block = $all[ $run[$n] ];
		my $next = $all[ $run[$n] + 1 ];
		my $name = "$file, line $block->{line}";
		my ($printed, $state) =
		  $out =~ /^\@begin $n\n(.*?)^\@end $n (\w+)$/ms;

		if (!defined $state)
		{
			fail("$name runs");
			diag($err);
			last;
		}
		is( $state,
			$block->{info} =~ /error (\w+)/ ? $1 : '00000',
			"$name ends as it says");
		is(trimmed($printed), trimmed($next->{text}),
			"$name prints what is shown")
		  if $next && $next->{info} eq 'text' && $block->{gap} eq '';
	}
	is( $node->safe_psql(
			$database, 'SELECT * FROM payorder.check_invariants()'),
		'',
		"$file: the invariants hold afterwards");
	return;
}

my $node = PostgreSQL::Test::Cluster->new('documentation');
$node->init;
$node->append_conf('postgresql.conf', 'max_prepared_transactions = 10');
$node->start;

# ---- the examples
my $examples = 0;
for my $file (@files)
{
	$examples += grep { $_->{info} =~ /^sql(?: error|$)/ } blocks($file);
	examples_of($node, $file);
}
cmp_ok($examples, '>', 20, 'there are examples');

# ---- all that is there is in it
$node->safe_psql('postgres', 'CREATE DATABASE names');
$node->safe_psql('names', 'CREATE EXTENSION payorder');

sub names
{
	my ($query) = @_;
	my @names = split /\n/, $node->safe_psql('names', $query);

	die "nothing found by: $query" if !@names;
	return @names;
}

my @routines = names('SELECT proname FROM pg_proc
	WHERE pronamespace = \'payorder\'::regnamespace ORDER BY 1');
for my $routine (@routines)
{
	ok($reference =~ /\b\Q$routine\E\(/, "routine $routine() is in doc/");
}
for my $name (
	names('SELECT relname FROM pg_class
		WHERE relnamespace = \'payorder\'::regnamespace
		  AND relkind IN (\'r\', \'p\', \'v\', \'c\') AND NOT relispartition
		ORDER BY 1'),
	names('LOAD \'payorder\'; SELECT name FROM pg_settings
		WHERE name LIKE \'payorder.%\' ORDER BY 1'))
{
	ok($reference =~ /`(?:payorder\.)?\Q$name\E`/, "$name is in doc/");
}
my $errors = slurp_file('src/errors.h');
my %states =
  map { $_ => 1 } $errors =~ /MAKE_SQLSTATE\(([^)]*)\)/g;
ok(%states, 'src/errors.h has SQLSTATEs');
for my $state (sort keys %states)
{
	my $code = join '', $state =~ /'(.)'/g;
	ok($text{'doc/errors.md'} =~ /^\| $code \|/m,
		"SQLSTATE $code has its row in doc/errors.md");
}

# ---- what it names is there
my %known = map { $_ => 1 } @routines;
for my $file (@files)
{
	my %wrong = map { $_ => 1 }
	  grep { !$known{$_} } $text{$file} =~ /\bpayorder\.(\w+)\(/g;
	is(join(', ', sort keys %wrong), '', "$file names no routine that is not there");

	my @dead = grep { !-e $_ }
	  map { ($file =~ m{^doc/} ? 'doc/' : '') . $_ }
	  grep { !/^[a-z]+:/ && $_ ne '' }
	  map { s/#.*//r } $text{$file} =~ /\]\(([^)\s]+)\)/g;
	is(join(', ', @dead), '', "$file links to files that are there");
}

# ---- signatures: headings "#### `name(argument, …)` → `type`"
my %signature = map { my ($name, $rest) = split /\|/, $_, 2; $name => $rest }
  names('SELECT proname, coalesce(array_to_string(proargnames[1:pronargs], \', \'), \'\')
			|| \' -> \' || CASE WHEN prokind = \'p\' THEN \'\'
				ELSE replace(pg_get_function_result(oid), \'payorder.\', \'\') END
		FROM pg_proc WHERE pronamespace = \'payorder\'::regnamespace
		  AND prorettype <> \'trigger\'::regtype ORDER BY 1');
my %described;
while ($reference =~ /^#### `(\w+)\((.*?)\)`(?: → `(.*?)`)?$/mg)
{
	my ($name, $arguments, $result) = ($1, $2, $3);
	my $names = join ', ', map { /^(\w+)/ ? $1 : "?$_" } split /, /, $arguments;

	$described{$name} = 1;
	is("$names -> " . ($result || ''), $signature{$name} || '(no such routine)',
		"the signature of $name() is right");
}
is(join(', ', grep { !$described{$_} } sort keys %signature),
	'', 'every routine has a heading with its signature');

# ---- tables and types: a row "| `column` |" for each column below "### name"
my %columns;
for (names('SELECT c.relname, a.attname FROM pg_attribute AS a
	JOIN pg_class AS c ON c.oid = a.attrelid
	WHERE c.relnamespace = \'payorder\'::regnamespace AND a.attnum > 0
	  AND NOT a.attisdropped AND NOT c.relispartition
	  AND c.relkind IN (\'r\', \'p\', \'v\', \'c\') ORDER BY 1, a.attnum'))
{
	my ($relation, $column) = split /\|/;
	push @{ $columns{$relation} }, $column;
}
for my $relation (sort keys %columns)
{
	my ($section) =
	  $text{'doc/tables.md'} =~ /^### `$relation`\n(.*?)(?=^#|\z)/ms;

	ok(defined $section, "doc/tables.md has a section $relation") or next;
	my %there = map { $_ => 1 } $section =~ /`(\w+)`/g;
	is( join(', ', grep { !$there{$_} } @{ $columns{$relation} }),
		'', "... with all its columns");
}

# ---- attention: each cause and each decision that the view knows
my ($view) = slurp_file('sql/parts/60_report.sql') =~
  /^CREATE VIEW payorder\.attention WITH \(security_barrier\) AS\n(.*?);$/ms;
my %of_view = map { $_ => 1 } map { /(\w[\w ]*)/g }
  $view =~ /'\{(.*?)\}'/g, map { /'(\w+)'/g } $view =~ /\bj\.cause (?:=|IN) (.*)$/mg;
cmp_ok(scalar keys %of_view, '>', 20, 'the view attention knows causes');
for my $name (sort keys %of_view)
{
	my ($call, $decision) = split / /, $name;

	ok($text{'doc/operations.md'} =~ /\b$call\b/
		  && (!defined $decision || $text{'doc/operations.md'} =~ /\b$decision\b/),
		"doc/operations.md says $name of attention");
}

# ---- the events that a gateway's message can be
for my $event (slurp_file('src/callback_store.c') =~ /^\t\{EVENT_\w+, "(\w+)", \d+\}/mg)
{
	ok( $text{'doc/callback.md'} =~ /^\|.*`$event`.*\|$/m
		  && $text{'doc/messages.md'} =~ /`$event`/,
		"event $event is in doc/callback.md and doc/messages.md");
}

# ---- settings: a row "| `name` | default | context |"
for (names('LOAD \'payorder\'; SELECT name, boot_val || coalesce(unit, \'\'),
	context FROM pg_settings WHERE name LIKE \'payorder.%\' ORDER BY 1'))
{
	my ($name, $default, $context) = split /\|/;

	$default = 'empty' if $default eq '';
	ok( $text{'doc/settings.md'} =~
		  /^\| `$name` \| \Q$default\E \| $context \|/m,
		"$name: default and context in doc/settings.md");
}

# ---- the lines of the decision list, and the default machine's diagram
my %lines = map { $_ => 1 }
  map { slurp_file($_) =~ /^\t\{"(\w+)", [A-Z_| ]+, \w+, \w+\},$/mg }
  glob 'src/callback*.c';
cmp_ok(scalar keys %lines, '>', 25, 'src/callback*.c have lines');
for my $line (sort keys %lines)
{
	ok($text{'doc/verdicts.md'} =~ /^\| $line \|/m,
		"line $line is in doc/verdicts.md");
}
my ($diagram) = map { $_->{text} }
  grep { $_->{info} eq 'mermaid' } blocks('doc/machine.md');
is(trimmed($diagram || ''),
	trimmed($node->safe_psql('names', "SELECT payorder.machine_diagram('order')")),
	'doc/machine.md shows the default machine');

done_testing();
