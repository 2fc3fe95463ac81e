import { type Kysely, sql } from 'kysely'
import type { Database } from './database.ts'

/** The channel on which PostgreSQL tells of changes when they are committed. */
export const CHANGES_CHANNEL = 'openshell_changes'

/** What of a credential can be seen in a bundle or a status; claims and intents are not among it. */
const SEEN_COLUMNS = [
  'generation',
  'token_expires_at_ms',
  'mandatory_at_ms',
  'due_at_ms',
  'failure',
  'failing_since_ms',
  'is_disabled',
  'candidate_failure',
]

const IS_SEEN = SEEN_COLUMNS.map(name => `old.${name} is distinct from new.${name}`).join(' or ')

/** What is counted: a kind of change, on a table, when it happens. */
interface Watched {
  readonly table: string
  readonly event: 'insert' | 'update' | 'delete'
  readonly kind: 'bundle' | 'sandboxes'
  /** Of the row: its workspace, and the id of the provider or sandbox that it belongs to, or ''. */
  readonly workspace: string
  readonly id: string
  /** Null counts each row. */
  readonly when: string | null
}

const row = (event: Watched['event']): 'old' | 'new' => (event === 'delete' ? 'old' : 'new')

const WATCHED: readonly Watched[] = [
  ...(['insert', 'update', 'delete'] as const).map(event => ({
    ...{ table: 'providers', event, kind: 'bundle' as const, when: null },
    ...{ workspace: `${row(event)}.workspace`, id: `${row(event)}.id` },
  })),
  ...(['insert', 'update', 'delete'] as const).map(event => ({
    ...{ table: 'routes', event, kind: 'bundle' as const, when: null },
    ...{ workspace: `${row(event)}.workspace`, id: `''` },
  })),
  // A credential goes with its provider or is replaced, and both are counted.
  ...(['insert', 'update'] as const).map(event => ({
    ...{ table: 'credentials', event, kind: 'bundle' as const },
    workspace: '(select workspace from providers where id = new.provider_id)',
    ...{ id: 'new.provider_id', when: event === 'update' ? IS_SEEN : null },
  })),
  {
    ...{ table: 'sandboxes', event: 'delete', kind: 'sandboxes', when: null },
    ...{ workspace: 'old.workspace', id: 'old.id' },
  },
]

/** What several gateways need that share a database: they hear of changes, and count all routers. */
export async function addChanges(db: Kysely<unknown>, kind: Database['kind']): Promise<void> {
  // Sorted by bytes, as SQLite always does.
  const text = kind === 'postgres' ? sql`text collate "C"` : sql`text`
  await db.schema
    .createTable('changes')
    .addColumn('workspace', text, column => column.notNull())
    .addColumn('kind', text, column => column.notNull())
    .addColumn('counter', 'bigint', column => column.notNull())
    .addPrimaryKeyConstraint('changes_key', ['workspace', 'kind'])
    .execute()
  await addTriggers(db, kind)
  await db.schema
    .createTable('gateway_routers')
    .addColumn('gateway_id', text, column => column.notNull())
    .addColumn('workspace', text, column => column.notNull())
    .addColumn('counts', text, column => column.notNull())
    .addColumn('seen_at_ms', 'bigint', column => column.notNull())
    .addPrimaryKeyConstraint('gateway_routers_key', ['gateway_id', 'workspace'])
    .execute()
  await db.schema
    .alterTable('credentials')
    .addColumn('claimed_from', text, column => column.notNull().defaultTo(''))
    .execute()
}

/**
 * Counts changes by workspace and kind in the transaction that makes them, whoever makes it: a gateway
 * of another version, too, or a person at the database's own prompt. PostgreSQL tells of them as well.
 */
async function addTriggers(db: Kysely<unknown>, kind: Database['kind']): Promise<void> {
  const statements =
    kind === 'sqlite' ? WATCHED.map(sqliteTrigger) : [RAISE, ...WATCHED.flatMap(postgresTrigger)]
  for (const statement of statements) await sql.raw(statement).execute(db)
}

function sqliteTrigger({ table, event, kind, workspace, when }: Watched): string {
  return `create trigger ${table}_${event}_counted after ${event} on ${table}
    ${when === null ? '' : `when ${when}`}
    begin
      insert into changes (workspace, kind, counter)
        select place, '${kind}', 1 from (select ${workspace} place) where place is not null
        on conflict (workspace, kind) do update set counter = counter + 1;
    end`
}

/**
 * Deferred to the commit, so that the lock on a counter is the last that a transaction takes: two that
 * hold rows the other wants never wait in a circle. A transaction raises each counter once.
 */
function postgresTrigger(watched: Watched): readonly string[] {
  const { table, event, kind, workspace, id, when } = watched
  const name = `${table}_${event}_counted`
  return [
    `create function openshell_${name}() returns trigger language plpgsql as $$
    begin
      perform openshell_raise(${workspace}, '${kind}', ${id});
      return null;
    end $$`,
    `create constraint trigger ${name} after ${event} on ${table}
      deferrable initially deferred for each row
      ${when === null ? '' : `when (${when})`} execute function openshell_${name}()`,
  ]
}

const RAISE = `create function openshell_raise(place text, what text, id text)
  returns void language plpgsql as $$
  declare
    mark text := chr(10) || what || ' ' || place || chr(10);
    raised text := coalesce(current_setting('openshell.raised', true), '');
    counted bigint := 0;
  begin
    if place is null then
      return;
    end if;
    if position(mark in raised) = 0 then
      insert into changes (workspace, kind, counter) values (place, what, 1)
        on conflict (workspace, kind) do update set counter = changes.counter + 1
        returning changes.counter into counted;
      perform set_config('openshell.raised', raised || mark, true);
    end if;
    perform pg_notify('${CHANGES_CHANNEL}', what || ' ' || place || ' ' || counted || ' ' || id
      || ' ' || current_setting('application_name'));
  end $$`
