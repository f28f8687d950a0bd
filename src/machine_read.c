/*-------------------------------------------------------------------------
 *
 * machine_read.c
 *		Reads the JSON of a machine definition.
 *
 * The document becomes the structs of machine.h.  Whatever can be said about
 * one part by itself is checked here, while it is read; what concerns several
 * states is left to machine_check.c.  Every error is PO004 and begins with its
 * place in the definition; the first one found is raised, and within a state
 * "entry" is read before "on" and that before "after".
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "json.h"
#include "machine_define.h"
#include "relation.h"

/* So that the checks stay quick and numbers fit their columns. */
#define MOST_STATES		1000
#define MOST_PER_STATE	1000	/* edges, and timers too */
#define MOST_EFFECTS	100		/* of one kind in one place */

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

/* In the order of TimerAction. */
const char *const payorder_timer_actions[] = {
	"fire", "enqueue", "alarm", NULL
};

/* Whether the kind is there and, if so, whether it is the kernel's. */
static Statement get_kind = {
	.sql = "SELECT id < 100 FROM payorder.task_kinds WHERE kind = $1"
	" ORDER BY id LIMIT 1",
	.arguments = "t"
};

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

/* The members of an object, an array counted by its elements. */
static int
count_entries(const JsonNode *object)
{
	int			count = 0;

	for (const JsonNode *node = object->first; node; node = node->next)
		count += node->kind == JSON_ARRAY ? count_nodes(node) : 1;
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
	if (count_entries(node) > most)
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

/* Refuses a text that cannot name a machine or a part of one. */
void
payorder_check_name(const char *text, const char *place, const char *what)
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
		REFUSE_MACHINE(place,
					   psprintf("unknown value \"%s\" of \"%s\"",
								shown(text), key),
					   psprintf("What can be here is %s.",
								list_texts(words)));
	return text;
}

static int64
find_unit(const char *text, size_t length)
{
	for (size_t i = 0; i < lengthof(units); i++)
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
		payorder_check_name(text, place, key);
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
	if (count_nodes(node) > MOST_EFFECTS)
		REFUSE_MACHINE(place,
					   psprintf("\"%s\" has more than %d entries", key,
								MOST_EFFECTS),
					   "Divide them over several states or edges.");
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

/*
 * An entry of "on" or "after" is one object or an array of them: returns the
 * first of them, and how many there are.
 */
static const JsonNode *
open_entry(const JsonNode *node, const char *place, int *count)
{
	*count = node->kind == JSON_ARRAY ? count_nodes(node) : 1;
	if (*count == 0)
		REFUSE_MACHINE(place, "is an empty array",
					   "Give an object or an array of objects.");
	return node->kind == JSON_ARRAY ? node->first : node;
}

/* An event's entry in "on": an edge or an array of candidates. */
static void
read_event(const Definition *definition, const JsonNode *node,
		   const char *place, State *state)
{
	const JsonNode *candidate;
	int			count;

	payorder_check_name(node->name, place, "event");
	place = psprintf("%s, event \"%s\"", place, node->name);
	candidate = open_entry(node, place, &count);
	for (int i = 0; i < count; i++, candidate = candidate->next)
	{
		Edge	   *edge = &state->edges[state->edge_count++];

		edge->event = node->name;
		edge->candidate = i;
		read_edge(definition, candidate,
				  count == 1 ? place :
				  psprintf("%s, candidate %d of %d", place, i + 1, count),
				  edge);
	}
}

/* The one action of a timer, and what it fires, enqueues or tells. */
static void
read_action(const JsonNode *node, const char *place, const State *state,
			StateTimer *timer)
{
	int			count = 0;

	for (int i = 0; payorder_timer_actions[i] != NULL; i++)
	{
		const JsonNode *member = payorder_json_member(node, payorder_timer_actions[i]);

		if (member == NULL)
			continue;
		count++;
		timer->action = (TimerAction) i;
		timer->argument = timer->action == TIMER_FIRE ?
			read_string(member, place, "\"fire\"") :
			read_effect(member, payorder_timer_actions[i], place);
	}
	if (count != 1)
		REFUSE_MACHINE(place,
					   psprintf("has %s action", count == 0 ? "no" : "more than one"),
					   "Give one of \"fire\", \"enqueue\" and \"alarm\"; for several actions an array of objects.");
	if (timer->action == TIMER_FIRE &&
		payorder_state_edge(state, timer->argument) == NULL)
		REFUSE_MACHINE(place,
					   psprintf("unknown event \"%s\"",
								shown(timer->argument)),
					   "Name an event that the state has in \"on\".");
}

static void
read_timer(const Definition *definition, const JsonNode *node,
		   const char *place, const State *state, StateTimer *timer)
{
	check_object(node, place, timer_keys);
	read_action(node, place, state, timer);
	timer->guard = read_guard(node, place);
	timer->retry = read_duration_member(definition, node, "retry", place);
	if (timer->retry != 0 && timer->guard == NULL &&
		timer->action != TIMER_FIRE)
		REFUSE_MACHINE(place, "\"retry\" has nothing to wait for",
					   "Give the timer a guard, or leave \"retry\" out.");
}

/* An entry of "after": what becomes due at one time, one action or several. */
static void
read_time(const Definition *definition, const JsonNode *node,
		  const char *place, State *state)
{
	const JsonNode *action;
	const char *parameter = NULL;
	int64		after;
	int			count;

	place = psprintf("%s, after \"%s\"", place, shown(node->name));
	after = read_duration(definition, node->name, place, &parameter);
	action = open_entry(node, place, &count);
	for (int i = 0; i < count; i++, action = action->next)
	{
		StateTimer *timer = &state->timers[state->timer_count];

		timer->number = state->timer_count++;
		timer->after = after;
		timer->parameter = parameter;
		read_timer(definition, action,
				   count == 1 ? place :
				   psprintf("%s, action %d of %d", place, i + 1, count),
				   state, timer);
	}
}

static void
read_entry(const JsonNode *entry, const char *place, State *state)
{
	static const JsonNode none = {.kind = JSON_OBJECT};

	if (entry == NULL)
		entry = &none;
	place = psprintf("%s, entry", place);
	check_object(entry, place, entry_keys);
	state->enqueue = read_effects(entry, "enqueue", place);
	state->alarm = read_effects(entry, "alarm", place);
}

/* The edges come first, since timers refer to their events. */
static void
read_state(const Definition *definition, const JsonNode *node, State *state)
{
	static const char *const types[] = {"final", NULL};
	char	   *place = psprintf("state \"%s\"", shown(node->name));
	const JsonNode *on = payorder_json_member(node, "on");
	const JsonNode *after = payorder_json_member(node, "after");

	payorder_check_name(node->name, WHOLE_DEFINITION, "state");
	check_object(node, place, state_keys);
	state->name = node->name;
	state->final = read_word(node, "type", place, types) != NULL;
	read_entry(payorder_json_member(node, "entry"), place, state);
	if (on != NULL)
	{
		check_container(on, psprintf("%s, \"on\"", place), MOST_PER_STATE);
		state->edges = palloc0(sizeof(Edge) * count_entries(on));
		for (node = on->first; node != NULL; node = node->next)
			read_event(definition, node, place, state);
	}
	if (after != NULL)
	{
		check_container(after, psprintf("%s, \"after\"", place),
						MOST_PER_STATE);
		state->timers = palloc0(sizeof(StateTimer) * count_entries(after));
		for (node = after->first; node != NULL; node = node->next)
			read_time(definition, node, place, state);
	}
}

static void
check_parameters(const JsonNode *parameters)
{
	check_container(parameters, "\"parameters\"", MOST_PER_STATE);
	for (JsonNode *node = parameters->first; node; node = node->next)
	{
		char	   *place;

		payorder_check_name(node->name, "\"parameters\"", "parameter");
		place = psprintf("parameter \"%s\"", node->name);
		read_literal_duration(read_string(node, place, "the value"), place);
	}
}

/* Reads a whole definition; what it says as a whole is not yet checked. */
Machine *
payorder_read_machine(const char *name, const char *text)
{
	Machine    *machine = palloc0(sizeof(Machine));
	JsonNode   *root = payorder_json_parse(text, ERRCODE_PO_MACHINE_INVALID,
										   WHOLE_DEFINITION);
	JsonNode   *initial = payorder_json_member(root, "initial");
	Definition	definition = {
		.parameters = payorder_json_member(root, "parameters"),
		.states = payorder_json_member(root, "states")
	};

	check_object(root, WHOLE_DEFINITION, definition_keys);
	if (definition.states == NULL)
		REFUSE_MACHINE(WHOLE_DEFINITION, "has no states",
					   "Give the states as members of \"states\".");
	check_container(definition.states, "\"states\"", MOST_STATES);
	if (initial == NULL)
		REFUSE_MACHINE(WHOLE_DEFINITION, "has no initial state",
					   "Name the state of new orders in \"initial\".");
	machine->name = name;
	machine->initial = read_string(initial, WHOLE_DEFINITION, "\"initial\"");
	if (payorder_json_member(definition.states, machine->initial) == NULL)
		REFUSE_MACHINE(WHOLE_DEFINITION,
					   psprintf("unknown initial state \"%s\"",
								shown(machine->initial)),
					   "Name a state of this definition.");
	if (definition.parameters != NULL)
		check_parameters(definition.parameters);
	machine->states = palloc0(sizeof(State) * count_nodes(definition.states));
	for (JsonNode *node = definition.states->first; node; node = node->next)
		read_state(&definition, node,
				   &machine->states[machine->state_count++]);
	return machine;
}
