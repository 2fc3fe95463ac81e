import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { sql as raw } from 'kysely'
import { claimDueQuery } from '../../src/store/credentials.ts'
import { openPostgres } from '../../src/store/postgres.ts'
import { parsePostgresUrl } from '../../src/store/postgres-url.ts'
import { openSqlite } from '../../src/store/sqlite.ts'
import { realClock, realRandom } from '../../src/system/real.ts'
import { besideCases } from './beside-cases.ts'
import { candidateCases } from './candidate-cases.ts'
import { changeCases } from './change-cases.ts'
import { configuredCases } from './configured-cases.ts'
import { connectionCases } from './connection-cases.ts'
import { credentialCases } from './credential-cases.ts'
import { damageCases } from './damage-cases.ts'
import { newStore, sqlite, type TestDatabase } from './databases.ts'
import { openCases } from './open-cases.ts'
import { gatewaySecretCases, routeCases } from './other-cases.ts'
import { postgresCases } from './postgres-cases.ts'
import { providerCases } from './provider-cases.ts'
import { rekeyCases } from './rekey-cases.ts'
import { sandboxCases } from './sandbox-cases.ts'
import { upgradeCases } from './upgrade-cases.ts'
import { workspaceCases } from './workspace-cases.ts'

/** Declares the whole suite for one database. */
export function storeSuite(database: TestDatabase): void {
  describe(`the store on ${database.name}`, { skip: database.missing }, () => {
    before(() => database.start())
    after(() => database.stop())

    describe('providers', () => providerCases(database))
    describe('credentials', () => credentialCases(database))
    describe('candidates', () => candidateCases(database))
    describe('configured grants, notes and profiles', () => configuredCases(database))
    describe('damage', () => damageCases(database))
    describe('changes', () => changeCases(database))
    describe('routes', () => routeCases(database))
    describe('sandboxes', () => sandboxCases(database))
    describe('workspaces', () => workspaceCases(database))
    describe('gateway secrets', () => gatewaySecretCases(database))
    describe('opening', () => openCases(database))
    describe('rekeying', () => rekeyCases(database))
    describe('upgrades', () => upgradeCases(database))
    describe('beside the next version', () => besideCases(database))
    if (database !== sqlite) {
      describe('the server', () => postgresCases(database))
      describe('the way to the server', () => connectionCases(database))
    }

    test('what is due is found by index, not by looking at every credential', async t => {
      const { location } = await newStore(t, database)
      await database.run(
        location,
        `insert into providers (id, workspace, name, type, config, version, credentials_version,
          created_at_ms, updated_at_ms) values ('p', 'default', 'p', 't', '{}', 1, 1, 0, 0)`,
      )
      await database.run(location, insertMany(5_000))
      await database.run(location, 'analyze')
      const opened =
        database === sqlite
          ? await openSqlite(location.slice('sqlite:'.length), {
              clock: realClock,
              gather: async () => {},
            })
          : openPostgres(parsePostgresUrl(new URL(location)), {
              clock: realClock,
              random: realRandom,
            })
      t.after(() => opened.db.destroy())
      const values = { claimed_by: 'a', nowMs: 50, claimed_until_ms: 100, limit: 10 }
      const query = claimDueQuery(opened.kind)(
        opened.db,
        <T>(name: keyof typeof values) => raw<T>`${values[name]}`,
      )
      const { sql, parameters } = query.compile()
      const explain = database === sqlite ? 'explain query plan ' : 'explain '
      const plan = await database.run(location, explain + withValues(sql, parameters))
      const text = plan.flatMap(row => Object.values(row)).join('\n')
      assert.match(text, /credentials_claimable/)
      assert.doesNotMatch(text, /Seq Scan on credentials|SCAN credentials/)
    })
  })
}

function insertMany(count: number): string {
  const rows = Array.from(
    { length: count },
    (_, index) => `('p', 'k${index}', 1, 0, ${index * 10}, 0, 0, 0, 0, 0, 0, 0, '', 0)`,
  )
  return `insert into credentials (provider_id, key, version, generation, due_at_ms, mandatory_at_ms,
    last_refresh_at_ms, last_attempt_at_ms, last_forced_at_ms, consecutive_failures,
    failing_since_ms, is_disabled, claimed_by, claimed_until_ms) values ${rows.join(',')}`
}

/** The statement with its parameters written in: they are numbers and one plain name. */
function withValues(sql: string, parameters: readonly unknown[]): string {
  const text = (value: unknown) => (typeof value === 'number' ? String(value) : `'${value}'`)
  let next = 0
  return sql.replace(/\$(\d+)|\?/g, (_, number?: string) =>
    text(parameters[number === undefined ? next++ : Number(number) - 1]),
  )
}
