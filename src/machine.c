/*-------------------------------------------------------------------------
 *
 * machine.c
 *		State machines: the cache of definitions, and the table of guards
 *		and fan-outs that the rooms above fill at load.
 *
 * A version of a machine never changes, so what is cached by its id is right
 * until the table itself is dropped or replaced, which the relcache tells.
 * Which version is a name's newest is never cached: create_order() asks the
 * table, and so sees what its transaction and others have defined.
 *
 * A cache that has become stale lives on until the end of the transaction
 * that notices it, because callers up the stack may hold pointers into it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "errors.h"
#include "machine.h"
#include "relation.h"

#define MOST_GUARDS		16
#define MOST_FAN_OUTS	16

typedef struct CacheEntry
{
	int			id;
	Machine    *machine;
} CacheEntry;

static MemoryContext cache_context = NULL;
static HTAB *cache = NULL;
static Oid	machines_relation = InvalidOid;
static bool cache_stale = false;
static bool callback_registered = false;

static struct
{
	const char *name;
	Guard		guard;
}			guards[MOST_GUARDS];
static int	guard_count = 0;

static struct
{
	const char *kind;
	FanOut		fan_out;
}			fan_outs[MOST_FAN_OUTS];
static int	fan_out_count = 0;

static Statement get_machine = {
	.sql = "SELECT id, name, version, initial FROM payorder.machines WHERE id = $1",
	.arguments = "i"
};
static Statement get_states = {
	.sql = "SELECT state, final, enqueue, alarm FROM payorder.states"
	" WHERE machine_id = $1 ORDER BY state",
	.arguments = "i"
};
static Statement get_edges = {
	.sql = "SELECT event, candidate, to_state, guard, by_timer, within, stock,"
	" enqueue, alarm FROM payorder.transitions"
	" WHERE machine_id = $1 AND from_state = $2 ORDER BY event, candidate",
	.arguments = "it"
};
static Statement get_timers = {
	.sql = "SELECT number, after, parameter, action, argument, guard, retry"
	" FROM payorder.state_timers"
	" WHERE machine_id = $1 AND state = $2 ORDER BY number",
	.arguments = "it"
};
static Statement get_newest = {
	.sql = "SELECT id FROM payorder.machines WHERE name = $1"
	" ORDER BY version DESC LIMIT 1",
	.arguments = "t"
};
static Statement get_version = {
	.sql = "SELECT id FROM payorder.machines WHERE name = $1 AND version = $2",
	.arguments = "ti"
};

static void
relation_changed(Datum argument, Oid relation)
{
	if (relation == InvalidOid || relation == machines_relation)
		cache_stale = true;
}

static void
make_cache(void)
{
	HASHCTL		control = {0};

	if (!callback_registered)
	{
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		callback_registered = true;
	}
	if (cache_stale && cache_context != NULL)
	{
		MemoryContextSetParent(cache_context, TopTransactionContext);
		cache_context = NULL;
		cache = NULL;
	}
	cache_stale = false;
	if (cache != NULL)
		return;
	machines_relation = get_relname_relid("machines",
										  get_namespace_oid("payorder", false));
	cache_context = AllocSetContextCreate(CacheMemoryContext,
										  "payorder machines",
										  ALLOCSET_SMALL_SIZES);
	control.keysize = sizeof(int);
	control.entrysize = sizeof(CacheEntry);
	control.hcxt = cache_context;
	cache = hash_create("payorder machines", 16, &control,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static const char **
read_names(Reader *reader)
{
	Cell	   *cell = reader->next++;
	Datum	   *elements;
	int			count;
	const char **names;

	deconstruct_array(DatumGetArrayTypeP(cell->datum), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, NULL, &count);
	names = palloc0(sizeof(char *) * (count + 1));
	for (int i = 0; i < count; i++)
		names[i] = TextDatumGetCString(elements[i]);
	return names;
}

static int64
read_duration(Reader *reader)
{
	Interval   *interval = payorder_read_interval(reader);
	int64		duration = 0;

	if (interval != NULL && !payorder_duration(interval, &duration))
		elog(ERROR, "stored interval is out of range");
	return duration;
}

static void
load_edges(int machine_id, State *state)
{
	Rows	   *rows = payorder_query(&get_edges, machine_id, state->name);

	state->edge_count = rows->count;
	state->edges = palloc0(sizeof(Edge) * Max(rows->count, 1));
	for (int i = 0; i < rows->count; i++)
	{
		Reader		reader = payorder_row(rows, i);
		Edge	   *edge = &state->edges[i];

		edge->event = payorder_read_text(&reader);
		edge->candidate = payorder_read_number(&reader);
		edge->to = payorder_read_text(&reader);
		edge->guard = payorder_read_text(&reader);
		edge->by_timer = payorder_read_truth(&reader);
		edge->within = read_duration(&reader);
		edge->stock = payorder_read_text(&reader);
		edge->enqueue = read_names(&reader);
		edge->alarm = read_names(&reader);
	}
}

static void
load_timers(int machine_id, State *state)
{
	Rows	   *rows = payorder_query(&get_timers, machine_id, state->name);

	state->timer_count = rows->count;
	state->timers = palloc0(sizeof(StateTimer) * Max(rows->count, 1));
	for (int i = 0; i < rows->count; i++)
	{
		Reader		reader = payorder_row(rows, i);
		StateTimer *timer = &state->timers[i];
		const char *action;

		timer->number = payorder_read_number(&reader);
		timer->after = read_duration(&reader);
		timer->parameter = payorder_read_text(&reader);
		action = payorder_read_text(&reader);
		timer->action = strcmp(action, "fire") == 0 ? TIMER_FIRE :
			strcmp(action, "enqueue") == 0 ? TIMER_ENQUEUE : TIMER_ALARM;
		timer->argument = payorder_read_text(&reader);
		timer->guard = payorder_read_text(&reader);
		timer->retry = read_duration(&reader);
	}
}

static Machine *
load_machine(int id)
{
	Machine    *machine = palloc0(sizeof(Machine));
	Rows	   *rows = payorder_query(&get_machine, id);
	Reader		reader;

	if (rows->count != 1)
		ereport(ERROR,
				(errcode(ERRCODE_PO_MACHINE_INVALID),
				 errmsg("no machine has the id %d", id),
				 errhint("The table payorder.machines lists machines and versions.")));
	reader = payorder_row(rows, 0);
	machine->id = payorder_read_number(&reader);
	machine->name = payorder_read_text(&reader);
	machine->version = payorder_read_number(&reader);
	machine->initial = payorder_read_text(&reader);
	rows = payorder_query(&get_states, id);
	machine->state_count = rows->count;
	machine->states = palloc0(sizeof(State) * rows->count);
	for (int i = 0; i < rows->count; i++)
	{
		State	   *state = &machine->states[i];

		reader = payorder_row(rows, i);
		state->name = payorder_read_text(&reader);
		state->final = payorder_read_truth(&reader);
		state->enqueue = read_names(&reader);
		state->alarm = read_names(&reader);
		load_edges(id, state);
		load_timers(id, state);
	}
	return machine;
}

/* The machine with this id, which must exist. */
const Machine *
payorder_machine(int id)
{
	CacheEntry *entry;
	MemoryContext caller;
	Machine    *machine;

	if (cache == NULL || cache_stale)
		make_cache();
	entry = hash_search(cache, &id, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->machine;
	caller = MemoryContextSwitchTo(cache_context);
	machine = load_machine(id);
	MemoryContextSwitchTo(caller);
	entry = hash_search(cache, &id, HASH_ENTER, NULL);
	entry->machine = machine;
	return machine;
}

static int
one_id(Rows *rows)
{
	return rows->count == 0 ? 0 : rows->cells[0].number;
}

/* The id of a name's newest version, 0 if there is none. */
int
payorder_machine_newest(const char *name)
{
	return one_id(payorder_query(&get_newest, name));
}

/* The id of one version of a name, 0 if there is none. */
int
payorder_machine_version(const char *name, int version)
{
	return one_id(payorder_query(&get_version, name, version));
}

/* A state of the machine, NULL if it has none of that name. */
const State *
payorder_machine_state(const Machine *machine, const char *name)
{
	for (int i = 0; i < machine->state_count; i++)
	{
		if (strcmp(machine->states[i].name, name) == 0)
			return &machine->states[i];
	}
	return NULL;
}

/* The first candidate of an event in a state, NULL if it has none. */
const Edge *
payorder_state_edge(const State *state, const char *event)
{
	for (int i = 0; i < state->edge_count; i++)
	{
		if (strcmp(state->edges[i].event, event) == 0)
			return &state->edges[i];
	}
	return NULL;
}

/* Whether an event's edges are taken by ingest, refunds and timers only. */
bool
payorder_is_money_event(const char *event)
{
	static const char *const money_events[] = {
		"pay", "pay_part", "reopen", "close_confirmed", "refunded"
	};

	for (size_t i = 0; i < lengthof(money_events); i++)
	{
		if (strcmp(event, money_events[i]) == 0)
			return true;
	}
	return false;
}

static bool
is_empty(const char **names)
{
	return names == NULL || names[0] == NULL;
}

static bool
is_plain_edge(const Edge *edge)
{
	return edge->guard == NULL && !edge->by_timer && edge->within == 0 &&
		edge->stock == NULL && is_empty(edge->enqueue) &&
		is_empty(edge->alarm) && !payorder_is_money_event(edge->event);
}

/*
 * Whether a machine is of states and events only.  Such a one is for users'
 * tables, whose rows have no money, timers or tasks; it is not for orders.
 */
bool
payorder_machine_is_plain(const Machine *machine)
{
	for (int i = 0; i < machine->state_count; i++)
	{
		const State *state = &machine->states[i];

		if (state->timer_count > 0 || !is_empty(state->enqueue) ||
			!is_empty(state->alarm))
			return false;
		for (int j = 0; j < state->edge_count; j++)
		{
			if (!is_plain_edge(&state->edges[j]))
				return false;
		}
	}
	return true;
}

void
payorder_register_guard(const char *name, Guard guard)
{
	if (guard_count == MOST_GUARDS)
		elog(ERROR, "too many guards");
	guards[guard_count].name = name;
	guards[guard_count++].guard = guard;
}

static Guard
find_guard(const char *name)
{
	for (int i = 0; i < guard_count; i++)
	{
		if (strcmp(guards[i].name, name) == 0)
			return guards[i].guard;
	}
	return NULL;
}

bool
payorder_guard_exists(const char *name)
{
	return find_guard(name) != NULL;
}

/* Whether a guard holds for an order; no guard (NULL) always does. */
bool
payorder_guard_holds(const char *name, struct Order *order)
{
	Guard		guard;

	if (name == NULL)
		return true;
	guard = find_guard(name);
	if (guard == NULL)
		elog(ERROR, "unknown guard \"%s\"", name);
	return guard(order);
}

void
payorder_register_fan_out(const char *task_kind, FanOut fan_out)
{
	if (fan_out_count == MOST_FAN_OUTS)
		elog(ERROR, "too many fan-outs");
	fan_outs[fan_out_count].kind = task_kind;
	fan_outs[fan_out_count++].fan_out = fan_out;
}

/* What enqueues a kernel kind's tasks for an order, NULL for a user's kind. */
FanOut
payorder_fan_out(const char *task_kind)
{
	for (int i = 0; i < fan_out_count; i++)
	{
		if (strcmp(fan_outs[i].kind, task_kind) == 0)
			return fan_outs[i].fan_out;
	}
	return NULL;
}
