/*-------------------------------------------------------------------------
 *
 * machine_define.c
 *		define_machine(): reads a definition, checks it and stores it as the
 *		next version of its name.
 *
 * The JSON text is read into the structs of machine.h.  Whatever can be said
 * about one part by itself is checked while it is read, what concerns several
 * states afterwards (machine_check.c).  Every error is PO004 and begins with
 * the place in the definition; the first one found is raised, in the order in
 * which the definition is written.
 *
 * Writers of machines exclude each other by a SHARE ROW EXCLUSIVE lock on
 * payorder.machines until they end; readers are never kept waiting.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "json.h"
#include "machine_check.h"
#include "relation.h"

#define LONGEST_DEFINITION	(1024 * 1024)

/* So that the checks stay quick and numbers fit their columns. */
#define MOST_STATES		1000
#define MOST_PER_STATE	1000	/* edges, and timers too */

/* What the parts of a definition refer to. */
typedef struct Definition
{
	const JsonNode *parameters; /* NULL: none */
	const JsonNode *states;
} Definition;

static const char *const definition_keys[] = {
	"initial", "parameters", "states", NULL
};
static const char *const state_keys[] = {
	"type", "entry", "on", "after", NULL
};
static const char *const entry_keys[] = {"enqueue", "alarm", NULL};
static const char *const edge_keys[] = {
	"target", "guard", "stock", "enqueue", "alarm", "within", "by", NULL
};
static const char *const timer_keys[] = {
	"fire", "enqueue", "alarm", "guard", "retry", NULL
};
static const char *const stock_effects[] = {
	"confirm", "release", "return", "take", NULL
};

/* In the order of TimerAction. */
static const char *const timer_actions[] = {
	"fire", "enqueue", "alarm", NULL
};

static const struct
{
	const char *name;
	int64		length;
}			units[] = {
	{"us", 1},
	{"ms", 1000},
	{"s", USECS_PER_SEC},
	{"sec", USECS_PER_SEC},
	{"second", USECS_PER_SEC},
	{"seconds", USECS_PER_SEC},
	{"m", USECS_PER_MINUTE},
	{"min", USECS_PER_MINUTE},
	{"minute", USECS_PER_MINUTE},
	{"minutes", USECS_PER_MINUTE},
	{"h", USECS_PER_HOUR},
	{"hour", USECS_PER_HOUR},
	{"hours", USECS_PER_HOUR},
	{"d", USECS_PER_DAY},
	{"day", USECS_PER_DAY},
	{"days", USECS_PER_DAY},
	{"w", 7 * USECS_PER_DAY},
	{"week", 7 * USECS_PER_DAY},
	{"weeks", 7 * USECS_PER_DAY}
};

/* Whether the kind is there and, if so, whether it is the kernel's. */
static Statement get_kind = {
	.sql = "SELECT id < 100 FROM payorder.task_kinds WHERE kind = $1"
	" ORDER BY id LIMIT 1",
	.arguments = "t"
};
static Statement lock_machines = {
	.sql = "LOCK TABLE payorder.machines IN SHARE ROW EXCLUSIVE MODE",
	.arguments = ""
};
static Statement get_newest = {
	.sql = "SELECT version, definition::jsonb = $2::jsonb"
	" FROM payorder.machines WHERE name = $1 ORDER BY version DESC LIMIT 1",
	.arguments = "tj"
};
static Statement next_id = {
	.sql = "SELECT nextval('payorder.machine_ids')",
	.arguments = ""
};
static Statement next_seeded_id = {
	.sql = "SELECT coalesce(max(id) FILTER (WHERE id < 100), 0) + 1"
	" FROM payorder.machines",
	.arguments = ""
};

/*
 * ON CONFLICT is for REPEATABLE READ, where a version that was stored after
 * the snapshot is not seen above: then it raises 40001.
 */
static Statement insert_machine = {
	.sql = "INSERT INTO payorder.machines"
	" (id, name, version, initial, definition) VALUES ($1, $2, $3, $4, $5)"
	" ON CONFLICT (name, version) DO NOTHING",
	.arguments = "itiTj"
};
static Statement insert_state = {
	.sql = "INSERT INTO payorder.states"
	" (machine_id, state, final, enqueue, alarm) VALUES ($1, $2, $3, $4, $5)",
	.arguments = "itbAA"
};
static Statement insert_edge = {
	.sql = "INSERT INTO payorder.transitions"
	" (machine_id, from_state, event, candidate, to_state, guard, by_timer,"
	" within, stock, enqueue, alarm)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
	.arguments = "ittittbvtAA"
};
static Statement insert_timer = {
	.sql = "INSERT INTO payorder.state_timers"
	" (machine_id, state, number, after, parameter, action, argument, guard,"
	" retry) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
	.arguments = "itivttttv"
};

PG_FUNCTION_INFO_V1(payorder_define_machine);

/* A text of the definition as error messages show it: not at any length. */
static char *
shown(const char *text)
{
	return pnstrdup(text, pg_mbcliplen(text, strlen(text), NAMEDATALEN - 1));
}

static int
count_nodes(const JsonNode *container)
{
	int			count = 0;

	for (const JsonNode *node = container->first; node; node = node->next)
		count++;
	return count;
}

/* The number of a text in a list that NULL ends, -1 if it is not there. */
static int
find_text(const char *const *list, const char *text)
{
	for (int i = 0; list[i] != NULL; i++)
	{
		if (strcmp(list[i], text) == 0)
			return i;
	}
	return -1;
}

static char *
list_texts(const char *const *list)
{
	StringInfoData buffer;

	initStringInfo(&buffer);
	for (int i = 0; list[i] != NULL; i++)
		appendStringInfo(&buffer, "%s\"%s\"", i == 0 ? "" : ", ", list[i]);
	return buffer.data;
}

/* Refuses what is no object or has a member that is not among the keys. */
static void
check_object(const JsonNode *node, const char *place, const char *const *keys)
{
	if (node->kind != JSON_OBJECT)
		REFUSE_MACHINE(place, "is not an object",
					   psprintf("Give an object with keys out of %s.",
								list_texts(keys)));
	for (JsonNode *member = node->first; member; member = member->next)
	{
		if (find_text(keys, member->name) < 0)
			REFUSE_MACHINE(place,
						   psprintf("unknown key \"%s\"", shown(member->name)),
						   psprintf("The keys that can be here are %s.",
									list_texts(keys)));
	}
}

/* Refuses what is no object or larger than anybody needs. */
static void
check_container(const JsonNode *node, const char *place, int most)
{
	if (node->kind != JSON_OBJECT)
		REFUSE_MACHINE(place, "is not an object",
					   "Give an object whose keys are names.");
	if (count_nodes(node) > most)
		REFUSE_MACHINE(place, psprintf("has more than %d entries", most),
					   "Divide the machine into smaller ones.");
}

static bool
is_name(const char *text)
{
	size_t		length = strlen(text);

	return text[0] >= 'a' && text[0] <= 'z' && length < NAMEDATALEN &&
		strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

static void
check_name(const char *text, const char *place, const char *what)
{
	if (!is_name(text))
		REFUSE_MACHINE(place,
					   psprintf("bad %s name \"%s\"", what, shown(text)),
					   "A name has 1 to 63 lower-case letters, digits and underscores and begins with a letter.");
}

static const char *
read_string(const JsonNode *node, const char *place, const char *what)
{
	if (node->kind != JSON_STRING)
		REFUSE_MACHINE(place, psprintf("%s is not a string", what),
					   "Write it as a string in double quotes.");
	return node->text;
}

/* A member that is one of a few words, NULL if it is not there. */
static const char *
read_word(const JsonNode *object, const char *key, const char *place,
		  const char *const *words)
{
	const JsonNode *node = payorder_json_member(object, key);
	const char *text;

	if (node == NULL)
		return NULL;
	text = read_string(node, place, psprintf("\"%s\"", key));
	if (find_text(words, text) < 0)
		REFUSE_MACHINE(place, psprintf("unknown %s \"%s\"", key, shown(text)),
					   psprintf("What can be here is %s.",
								list_texts(words)));
	return text;
}

static int64
find_unit(const char *text, size_t length)
{
	for (int i = 0; i < lengthof(units); i++)
	{
		if (strlen(units[i].name) == length &&
			strncmp(units[i].name, text, length) == 0)
			return units[i].length;
	}
	return 0;
}

/*
 * Adds up an interval such as "15m", "1h 30m" or "15 minutes".
 *
 * This is a part of what PostgreSQL reads as an interval, and means the same;
 * the rest (months, signs, fractions, clock and ISO forms) is refused, so that
 * a definition means one thing only, under any setting.
 */
static bool
parse_duration(const char *text, int64 *duration)
{
	*duration = 0;
	while (*text != '\0')
	{
		size_t		digits = strspn(text, "0123456789");
		size_t		letters;
		int64		count = 0;
		int64		unit;

		if (digits == 0 || digits > 15)
			return false;
		for (; digits > 0; digits--)
			count = count * 10 + (*text++ - '0');
		text += strspn(text, " ");
		letters = strspn(text, "abcdefghijklmnopqrstuvwxyz");
		unit = find_unit(text, letters);
		if (unit == 0 || count > LONGEST_DURATION / unit)
			return false;
		*duration += count * unit;
		if (*duration > LONGEST_DURATION)
			return false;
		text += letters;
		text += strspn(text, " ");
	}
	return *duration > 0;
}

static int64
read_literal_duration(const char *text, const char *place)
{
	int64		duration;

	if (!parse_duration(text, &duration))
		REFUSE_MACHINE(place, psprintf("bad interval \"%s\"", shown(text)),
					   "Write numbers with units us, ms, s, m, h, d or w, such as \"30s\", \"1h 30m\" or \"15 minutes\": more than 0, at most 366 days.");
	return duration;
}

/*
 * An interval or "{parameter}", whose name goes to *parameter.  Where an
 * order's own value could not be used instead, parameter is NULL.
 */
static int64
read_duration(const Definition *definition, const char *text,
			  const char *place, const char **parameter)
{
	size_t		length = strlen(text);
	const JsonNode *node;
	char	   *name;

	if (length < 2 || text[0] != '{' || text[length - 1] != '}')
		return read_literal_duration(text, place);
	name = pnstrdup(text + 1, length - 2);
	node = payorder_json_member(definition->parameters, name);
	if (node == NULL)
		REFUSE_MACHINE(place,
					   psprintf("unknown parameter \"%s\"", shown(name)),
					   "Give its value in \"parameters\".");
	if (parameter != NULL)
		*parameter = name;
	else if (strcmp(name, "pay_within") == 0 ||
			 strcmp(name, "cooling_off") == 0)
		REFUSE_MACHINE(place,
					   psprintf("parameter \"%s\" cannot be used here", name),
					   "An order can have its own value of it, which counts in \"after\" only; use another parameter.");
	return read_literal_duration(node->text, place);
}

/* A member that is an interval, 0 if it is not there. */
static int64
read_duration_member(const Definition *definition, const JsonNode *object,
					 const char *key, const char *place)
{
	const JsonNode *node = payorder_json_member(object, key);

	if (node == NULL)
		return 0;
	return read_duration(definition,
						 read_string(node, place, psprintf("\"%s\"", key)),
						 place, NULL);
}

/* A member that names a guard, NULL if it is not there. */
static const char *
read_guard(const JsonNode *object, const char *place)
{
	const JsonNode *node = payorder_json_member(object, "guard");
	const char *guard;

	if (node == NULL)
		return NULL;
	guard = read_string(node, place, "\"guard\"");
	if (!payorder_guard_exists(guard))
		REFUSE_MACHINE(place, psprintf("unknown guard \"%s\"", shown(guard)),
					   "The guards are no_open_attempt, open_attempt, stock_available, money_quiet and nothing_left.");
	return guard;
}

/*
 * Refuses a task kind that is not there, and the kernel's kinds that nothing
 * can fan out for an order: a refund is not asked for without its row.
 */
static void
check_kind(const char *kind, const char *place)
{
	Rows	   *rows = payorder_query(&get_kind, kind);

	if (rows->count == 0)
		REFUSE_MACHINE(place,
					   psprintf("unknown task kind \"%s\"", shown(kind)),
					   "Define the kind with payorder.define_task_kind() first.");
	if (rows->cells[0].truth && payorder_fan_out(kind) == NULL)
		REFUSE_MACHINE(place,
					   psprintf("task kind \"%s\" cannot be enqueued by a machine",
								kind),
					   "The kernel enqueues these tasks by itself; use another kind.");
}

static const char *
read_effect(const JsonNode *node, const char *key, const char *place)
{
	const char *text = read_string(node, place, psprintf("\"%s\"", key));

	if (strcmp(key, "enqueue") == 0)
		check_kind(text, place);
	else
		check_name(text, place, key);
	return text;
}

/* "enqueue" or "alarm": a string or an array of them, as a list. */
static const char **
read_effects(const JsonNode *object, const char *key, const char *place)
{
	const JsonNode *node = payorder_json_member(object, key);
	const char **names;
	int			count = 0;

	if (node == NULL)
		return palloc0(sizeof(char *));
	if (node->kind != JSON_ARRAY)
	{
		names = palloc0(sizeof(char *) * 2);
		names[0] = read_effect(node, key, place);
		return names;
	}
	names = palloc0(sizeof(char *) * (count_nodes(node) + 1));
	for (node = node->first; node != NULL; node = node->next)
	{
		const char *name = read_effect(node, key, place);

		if (find_text(names, name) >= 0)
			REFUSE_MACHINE(place,
						   psprintf("%s \"%s\" is there twice", key, name),
						   "Say each effect once.");
		names[count++] = name;
	}
	return names;
}

static void
read_edge(const Definition *definition, const JsonNode *node,
		  const char *place, Edge *edge)
{
	static const char *const takers[] = {"timer", NULL};
	const JsonNode *target;

	check_object(node, place, edge_keys);
	target = payorder_json_member(node, "target");
	if (target == NULL)
		REFUSE_MACHINE(place, "has no target",
					   "Name the state that the edge leads to in \"target\".");
	edge->to = read_string(target, place, "\"target\"");
	if (payorder_json_member(definition->states, edge->to) == NULL)
		REFUSE_MACHINE(place,
					   psprintf("unknown target \"%s\"", shown(edge->to)),
					   "Name a state of this definition.");
	edge->guard = read_guard(node, place);
	edge->stock = read_word(node, "stock", place, stock_effects);
	edge->enqueue = read_effects(node, "enqueue", place);
	edge->alarm = read_effects(node, "alarm", place);
	edge->within = read_duration_member(definition, node, "within", place);
	edge->by_timer = read_word(node, "by", place, takers) != NULL;
}

/* An event's entry in "on": one edge or an array of candidates. */
static void
read_event(const Definition *definition, const JsonNode *node,
		   const char *place, State *state)
{
	const JsonNode *candidate = node;
	int			count = 1;

	check_name(node->name, place, "event");
	place = psprintf("%s, event \"%s\"", place, node->name);
	if (node->kind == JSON_ARRAY)
	{
		candidate = node->first;
		count = count_nodes(node);
	}
	if (count == 0)
		REFUSE_MACHINE(place, "has no candidate",
					   "Give an edge, or take the event out.");
	for (int i = 0; i < count; i++)
	{
		Edge	   *edge = &state->edges[state->edge_count++];

		edge->event = node->name;
		edge->candidate = i;
		read_edge(definition, candidate,
				  count == 1 ? place :
				  psprintf("%s, candidate %d of %d", place, i + 1, count),
				  edge);
		candidate = candidate->next;
	}
}
