/*-------------------------------------------------------------------------
 *
 * machine_define.c
 *		define_machine(): stores a definition that was found right as the
 *		next version of its name.
 *
 * Three steps: read (machine_read.c), prove (machine_check.c), store (here).
 * What is stored never changes; the definition is kept as it was written, and
 * the rows beside it are what the kernel works with.
 *
 * Those who store machines exclude each other by a SHARE ROW EXCLUSIVE lock on
 * payorder.machines until their transactions end; who only reads them is never
 * kept waiting.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "machine_define.h"
#include "relation.h"

#define LONGEST_DEFINITION	(1024 * 1024)

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
	.arguments = "ititj"
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

static ArrayType *
make_array(const char **names)
{
	int			count = 0;
	Datum	   *elements;

	while (names[count] != NULL)
		count++;
	elements = palloc(sizeof(Datum) * (count + 1));
	for (int i = 0; i < count; i++)
		elements[i] = CStringGetTextDatum(names[i]);
	return construct_array(elements, count, TEXTOID, -1, false, TYPALIGN_INT);
}

/* Microseconds as an interval of days of 24 hours, NULL for 0. */
static Interval *
days_and_time(int64 duration)
{
	Interval   *interval;

	if (duration == 0)
		return NULL;
	interval = palloc0(sizeof(Interval));
	interval->day = duration / USECS_PER_DAY;
	interval->time = duration % USECS_PER_DAY;
	return interval;
}

static void
store_state(int machine_id, const State *state)
{
	payorder_execute(&insert_state, machine_id, state->name, state->final,
					 make_array(state->enqueue), make_array(state->alarm));
	for (int i = 0; i < state->edge_count; i++)
	{
		const Edge *edge = &state->edges[i];

		payorder_execute(&insert_edge, machine_id, state->name, edge->event,
						 edge->candidate, edge->to, edge->guard,
						 edge->by_timer, days_and_time(edge->within),
						 edge->stock, make_array(edge->enqueue),
						 make_array(edge->alarm));
	}
	for (int i = 0; i < state->timer_count; i++)
	{
		const StateTimer *timer = &state->timers[i];

		payorder_execute(&insert_timer, machine_id, state->name,
						 timer->number, days_and_time(timer->after),
						 timer->parameter, payorder_timer_actions[timer->action],
						 timer->argument, timer->guard,
						 days_and_time(timer->retry));
	}
}

/* Ids below 100 are those of the rows that the extension's scripts seed. */
static int
make_id(void)
{
	Rows	   *rows = payorder_query(creating_extension ? &next_seeded_id :
									  &next_id);

	return rows->cells[0].number;
}

/*
 * Stores the machine as its name's next version and returns that, or only
 * returns the newest version if its definition says the same.
 */
static int
store_machine(Machine *machine, const char *source)
{
	Rows	   *newest;

	payorder_execute(&lock_machines);
	newest = payorder_query(&get_newest, machine->name, source);
	machine->version = 1;
	if (newest->count > 0)
	{
		Reader		reader = payorder_row(newest, 0);
		int			version = payorder_read_number(&reader);

		if (payorder_read_truth(&reader))
			return version;
		machine->version = version + 1;
	}
	machine->id = make_id();
	if (payorder_execute(&insert_machine, machine->id, machine->name,
						 machine->version, machine->initial, source) != 1)
		elog(ERROR, "could not insert version %d of machine \"%s\"",
			 machine->version, machine->name);
	for (int i = 0; i < machine->state_count; i++)
		store_state(machine->id, &machine->states[i]);
	return machine->version;
}

/* define_machine(name text, definition json) returns integer */
Datum
payorder_define_machine(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	text	   *definition = PG_GETARG_TEXT_PP(1);
	char	   *source;
	Machine    *machine;

	payorder_prevent_read_only("define_machine()");
	payorder_check_name(name, WHOLE_DEFINITION, "machine");
	if (VARSIZE_ANY_EXHDR(definition) > LONGEST_DEFINITION)
		REFUSE_MACHINE(WHOLE_DEFINITION, "is longer than 1 MB",
					   "Divide the machine into smaller ones.");
	source = text_to_cstring(definition);
	machine = payorder_read_machine(name, source);
	payorder_check_machine(machine);
	PG_RETURN_INT32(store_machine(machine, source));
}
