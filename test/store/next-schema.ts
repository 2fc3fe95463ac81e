import { sql } from 'kysely'
import { migrate, SCHEMA_PLAN, type SchemaPlan } from '../../src/store/migrations.ts'
import { openPostgres } from '../../src/store/postgres.ts'
import { parsePostgresUrl } from '../../src/store/postgres-url.ts'
import { openSqlite } from '../../src/store/sqlite.ts'
import { realClock, realRandom } from '../../src/system/real.ts'

const outside = { clock: realClock, random: realRandom, gather: async () => undefined }

/** The name of the step that the next version adds. */
export const NEXT_STEP = '0999'

const GROWN = ['providers', 'provider_secrets', 'credentials', 'routes', 'sandboxes', 'workspaces']

/**
 * The next version's plan: it adds whatever the rule of `BESIDE` allows, to every table that gateways
 * write. `oldest` is who may work beside it.
 */
function nextPlan(oldest: string): SchemaPlan {
  return {
    beside: { ...SCHEMA_PLAN.beside, [NEXT_STEP]: oldest },
    steps: {
      ...SCHEMA_PLAN.steps,
      [NEXT_STEP]: async db => {
        for (const table of GROWN) {
          for (const column of ['later_text text', 'later_count bigint not null default 7']) {
            await sql`alter table ${sql.table(table)} add column ${sql.raw(column)}`.execute(db)
          }
        }
        await sql`create table later (id text primary key)`.execute(db)
        await sql`create index later_index on providers (later_count)`.execute(db)
      },
    },
  }
}

/** Does to a database what a gateway of the next version does when it starts. */
export async function migrateToNext(location: string, oldest: string): Promise<void> {
  const database = location.startsWith('sqlite:')
    ? await openSqlite(location.slice('sqlite:'.length), outside)
    : openPostgres(parsePostgresUrl(new URL(location)), outside)
  await migrate(database, nextPlan(oldest))
  await database.db.destroy()
}
