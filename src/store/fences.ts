import { type Kysely, sql } from 'kysely'
import type { Database } from './database.ts'
import { SEALED_COLUMNS } from './sealed-columns.ts'

/** What the database says when an envelope under a key that sealed before is written. */
export const RETIRED_KEY_WORDS = 'the master key that sealed this does not seal any more'
/** What the database says when a store that was moved away is written. */
const MOVED_WORDS = 'this store was moved away'

const MOVING_TABLES = ['providers', 'credentials'] as const

/**
 * Rules that the database itself holds, because a gateway that was paused, or is of an older version,
 * cannot be asked: no envelope under a retired master key comes in, and of a store that was moved away
 * nothing is minted any more (a mint begins with a claim, which is a write).
 */
export async function raiseFences(db: Kysely<unknown>, kind: Database['kind']): Promise<void> {
  const rules = [...SEALED_COLUMNS.flatMap(keyRules), ...MOVING_TABLES.flatMap(moveRules)]
  for (const rule of rules) {
    for (const statement of kind === 'sqlite' ? inSqlite(rule) : inPostgres(rule)) {
      await sql.raw(statement).execute(db)
    }
  }
}

interface Rule {
  readonly name: string
  /** `insert` or `update of COLUMN` or `update`. */
  readonly event: string
  readonly table: string
  /** What refuses the row, `new`. */
  readonly when: string
  readonly words: string
}

function keyRules({ table, column }: (typeof SEALED_COLUMNS)[number]): readonly Rule[] {
  // An envelope is `v1.<eight digits>.…`.
  const when = `exists (select 1 from retired_master_keys where id = substr(new.${column}, 4, 8))`
  const rule = { table, when, words: RETIRED_KEY_WORDS }
  return [
    { ...rule, name: `${table}_${column}_insert`, event: 'insert' },
    { ...rule, name: `${table}_${column}_update`, event: `update of ${column}` },
  ]
}

function moveRules(table: (typeof MOVING_TABLES)[number]): readonly Rule[] {
  const when = `exists (select 1 from store_marks where name = 'moved')`
  const rule = { table, when, words: MOVED_WORDS }
  return [
    { ...rule, name: `${table}_moved_insert`, event: 'insert' },
    { ...rule, name: `${table}_moved_update`, event: 'update' },
  ]
}

function inSqlite({ name, event, table, when, words }: Rule): readonly string[] {
  return [
    `create trigger ${name} before ${event} on ${table} when ${when}
     begin select raise(abort, '${words}'); end`,
  ]
}

/** The rule is a function, not a `when`, so that it sees what was committed while it waited for a lock. */
function inPostgres({ name, event, table, when, words }: Rule): readonly string[] {
  return [
    `create function ${name}() returns trigger language plpgsql as $$
     begin
       if ${when} then raise exception '${words}'; end if;
       return new;
     end $$`,
    `create trigger ${name} before ${event} on ${table}
     for each row execute function ${name}()`,
  ]
}
