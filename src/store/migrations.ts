import { type Kysely, type RawBuilder, sql } from 'kysely'
import { type Migration, Migrator } from 'kysely/migration'
import { AppError } from '../core/errors.ts'
import { addChanges } from './changes-migration.ts'
import type { Database } from './database.ts'
import { addOperations } from './operations-migration.ts'
import { addProfilesAndGrants } from './profile-migration.ts'
import type { Schema } from './schema.ts'
import { addWorkspacesAndSandboxes } from './workspace-migration.ts'

/** A change of the schema; it runs in a transaction of its own on both databases. */
type Step = (db: Kysely<unknown>, kind: Database['kind']) => Promise<void>

/** The step that made the tables of `addOperations`. */
export const OPERATIONS_STEP = '0006'

/** In this order, by name. A released step is never edited: a change is a new one. */
const STEPS: Readonly<Record<string, Step>> = {
  '0001': createTables,
  '0002': addCandidatesAndHistory,
  '0003': addProfilesAndGrants,
  '0004': addWorkspacesAndSandboxes,
  '0005': addChanges,
  [OPERATIONS_STEP]: addOperations,
}

/**
 * For each step the oldest program, named by the newest step that it knows, that may work on the schema
 * beside programs that know the step. One that is not listed stands programs of its own age alone.
 *
 * A step that only adds (a table, an index, a column with a default or without `not null`) stands the
 * program before it. One that takes away or changes the meaning of something comes a version after the
 * last program that used it, and says that version.
 */
const BESIDE: Readonly<Record<string, string>> = {
  [OPERATIONS_STEP]: '0005',
}

/** What a program makes of a database. */
export interface SchemaPlan {
  readonly steps: Readonly<Record<string, Step>>
  readonly beside: Readonly<Record<string, string>>
}

/** This program's. */
export const SCHEMA_PLAN: SchemaPlan = { steps: STEPS, beside: BESIDE }

/** The newest step that this version knows. */
export const NEWEST_STEP = newestOf(Object.keys(STEPS)) ?? ''

/** How far the schema of a database is. */
export interface SchemaState {
  /** The steps that it has gone; none when it has no tables yet. */
  readonly steps: ReadonlySet<string>
  /** Null when it has no tables yet. */
  readonly newest: string | null
}

/**
 * Reads how far the schema is.
 *
 * @throws AppError `store_unavailable` when a newer version of this program made it so that this one may
 * not work on it.
 */
export async function readSchema(database: Database): Promise<SchemaState> {
  const migrations = await createMigrator(database.db, {
    kind: database.kind,
    plan: SCHEMA_PLAN,
  }).getMigrations()
  // Kysely tells of steps that it knows; without one of those there is no table to ask.
  if (migrations.every(one => one.executedAt === undefined)) {
    return { steps: new Set(), newest: null }
  }
  const rows = await database.db.selectFrom('openshell_migrations').select('name').execute()
  const steps = new Set(rows.map(row => row.name))
  for (const foreign of steps) {
    if (Object.hasOwn(STEPS, foreign)) continue
    const oldest = steps.has(OPERATIONS_STEP) ? await oldestBeside(database, foreign) : null
    if (oldest === null || oldest > NEWEST_STEP) throw tooNew(database, foreign)
  }
  return { steps, newest: newestOf([...steps]) }
}

async function oldestBeside({ db }: Database, step: string): Promise<string | null> {
  const row = await db
    .selectFrom('schema_steps')
    .select('oldest_beside')
    .where('name', '=', step)
    .executeTakeFirst()
  return row?.oldest_beside ?? null
}

function tooNew({ location }: Database, step: string): AppError {
  return new AppError(
    'store_unavailable',
    `The database "${location}" has schema ${step}, which this version does not know`,
    { hint: 'A newer version wrote it: start that version, or choose another --store' },
  )
}

/**
 * Brings the schema to the newest version of a plan, and says in the database who may work beside each
 * step. Safe when several gateways start at the same time: one does it, and the others wait for it. A
 * schema that is newer is left alone.
 *
 * @throws AppError as `readSchema` does.
 */
export async function migrate(database: Database, plan: SchemaPlan = SCHEMA_PLAN): Promise<void> {
  const { error } = await database.withoutHaste(db =>
    createMigrator(db, { kind: database.kind, plan }).migrateToLatest(),
  )
  if (error === undefined) return
  // Kysely takes a step that it does not know for a fault; it may be of a newer version beside us.
  const { newest } = await readSchema(database)
  if (newest === null || newest <= NEWEST_STEP) throw error
}

/** In the transaction of the step, so that nobody meets the one without the other. */
async function sayWhoMayWork(db: Kysely<unknown>, name: string, oldest: string): Promise<void> {
  await sql`insert into schema_steps (name, oldest_beside) values (${name}, ${oldest})`.execute(db)
}

function newestOf(steps: readonly string[]): string | null {
  return [...steps].sort().at(-1) ?? null
}

function createMigrator(
  db: Kysely<Schema>,
  { kind, plan }: { readonly kind: Database['kind']; readonly plan: SchemaPlan },
): Migrator {
  const migrations: Record<string, Migration> = Object.fromEntries(
    Object.entries(plan.steps).map(([name, step]) => [
      name,
      {
        async up(inner: Kysely<unknown>) {
          await step(inner, kind)
          // The table came with this step; programs before it asked nobody.
          if (name >= OPERATIONS_STEP) await sayWhoMayWork(inner, name, plan.beside[name] ?? name)
        },
      },
    ]),
  )
  return new Migrator({
    db,
    provider: { getMigrations: async () => migrations },
    // Names of our own, because a PostgreSQL database may be shared with another program on Kysely.
    migrationTableName: 'openshell_migrations',
    migrationLockTableName: 'openshell_migrations_lock',
  })
}

async function createTables(db: Kysely<unknown>, kind: Database['kind']): Promise<void> {
  // Both databases sort names by their bytes then, as SQLite always does.
  const text = kind === 'postgres' ? sql`text collate "C"` : sql`text`
  await createProviderTables(db, text)
  await createCredentialTable(db, text)
  await db.schema
    .createTable('routes')
    .addColumn('workspace', text, column => column.notNull())
    .addColumn('name', text, column => column.notNull())
    .addColumn('provider_name', text, column => column.notNull())
    .addColumn('model_id', text, column => column.notNull())
    .addColumn('timeout_seconds', 'bigint', column => column.notNull())
    .addColumn('version', 'bigint', column => column.notNull())
    .addPrimaryKeyConstraint('routes_key', ['workspace', 'name'])
    .execute()
  await db.schema
    .createTable('sandboxes')
    .addColumn('id', text, column => column.notNull().primaryKey())
    .addColumn('workspace', text, column => column.notNull())
    .addColumn('name', text, column => column.notNull())
    .addColumn('created_at_ms', 'bigint', column => column.notNull())
    .addUniqueConstraint('sandboxes_name', ['workspace', 'name'])
    .execute()
  await db.schema
    .createTable('gateway_secrets')
    .addColumn('name', text, column => column.notNull().primaryKey())
    .addColumn('envelope', text, column => column.notNull())
    .execute()
}

type TextType = RawBuilder<unknown>

async function createProviderTables(db: Kysely<unknown>, text: TextType): Promise<void> {
  await db.schema
    .createTable('providers')
    .addColumn('id', text, column => column.notNull().primaryKey())
    .addColumn('workspace', text, column => column.notNull())
    .addColumn('name', text, column => column.notNull())
    .addColumn('type', text, column => column.notNull())
    .addColumn('config', text, column => column.notNull())
    .addColumn('version', 'bigint', column => column.notNull())
    .addColumn('credentials_version', 'bigint', column => column.notNull())
    .addColumn('created_at_ms', 'bigint', column => column.notNull())
    .addColumn('updated_at_ms', 'bigint', column => column.notNull())
    .addUniqueConstraint('providers_name', ['workspace', 'name'])
    .execute()
  await db.schema
    .createTable('provider_secrets')
    .addColumn('provider_id', text, column =>
      column.notNull().references('providers.id').onDelete('cascade'),
    )
    .addColumn('key', text, column => column.notNull())
    .addColumn('envelope', text, column => column.notNull())
    .addPrimaryKeyConstraint('provider_secrets_key', ['provider_id', 'key'])
    .execute()
}

async function createCredentialTable(db: Kysely<unknown>, text: TextType): Promise<void> {
  await db.schema
    .createTable('credentials')
    .addColumn('provider_id', text, column =>
      column.notNull().references('providers.id').onDelete('cascade'),
    )
    .addColumn('key', text, column => column.notNull())
    .addColumn('version', 'bigint', column => column.notNull())
    .addColumn('generation', 'bigint', column => column.notNull())
    .addColumn('token_envelope', text)
    .addColumn('token_issued_at_ms', 'bigint')
    .addColumn('token_expires_at_ms', 'bigint')
    .addColumn('due_at_ms', 'bigint')
    .addColumn('mandatory_at_ms', 'bigint', column => column.notNull())
    .addColumn('last_refresh_at_ms', 'bigint', column => column.notNull())
    .addColumn('last_attempt_at_ms', 'bigint', column => column.notNull())
    .addColumn('last_forced_at_ms', 'bigint', column => column.notNull())
    .addColumn('consecutive_failures', 'bigint', column => column.notNull())
    .addColumn('failure', text)
    .addColumn('failing_since_ms', 'bigint', column => column.notNull())
    .addColumn('is_disabled', 'smallint', column => column.notNull())
    .addColumn('claimed_by', text, column => column.notNull())
    .addColumn('claimed_until_ms', 'bigint', column => column.notNull())
    .addColumn('claimable_at_ms', 'bigint', column =>
      column
        .generatedAlwaysAs(
          sql`case when claimed_until_ms > due_at_ms then claimed_until_ms else due_at_ms end`,
        )
        .stored(),
    )
    .addPrimaryKeyConstraint('credentials_key', ['provider_id', 'key'])
    .execute()
  // What is due is found without looking at what is not, however many credentials there are.
  await db.schema
    .createIndex('credentials_claimable')
    .on('credentials')
    .column('claimable_at_ms')
    .execute()
}

async function addCandidatesAndHistory(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('providers').addColumn('candidate_envelope', 'text').execute()
  for (const [name, type, isNullable, byDefault] of [
    ['spends', 'bigint', false, 0],
    ['candidate_spends', 'bigint', false, 0],
    ['candidate_due_at_ms', 'bigint', false, 0],
    ['candidate_failure', 'text', true, null],
    ['history', 'text', false, '[]'],
  ] as const) {
    // One column a statement, because SQLite adds no more at once.
    await db.schema
      .alterTable('credentials')
      .addColumn(name, type, column =>
        isNullable ? column : column.notNull().defaultTo(byDefault),
      )
      .execute()
  }
}
