// Released gateways over one PostgreSQL, and a database full of providers for them.
import path from 'node:path'
import { openStore } from '../../src/store/open.ts'
import { realClock, realRandom } from '../../src/system/real.ts'
import { fillStore } from './credentials.ts'
import { type MeasuredGateway, startGateway } from './gateway.ts'
import type { MeasuredDatabase } from './postgres.ts'
import { BOTH_CORES } from './processes.ts'
import type { Stage } from './stage.ts'

const KEY_BYTES = 32
const HOUR_MS = 3_600_000

/** The users of the database that the replicas are. */
export const REPLICAS = ['replica_1', 'replica_2', 'replica_3'] as const

/** What replicas share besides their database. */
export interface Keys {
  readonly masterKey: Uint8Array
  /** Options of `gateway start`. */
  readonly words: readonly string[]
  readonly adminToken: string
}

/** Makes a master key and an administrator's token. */
export function makeKeys(stage: Stage): Keys {
  const masterKey = realRandom.bytes(KEY_BYTES)
  const adminToken = Buffer.from(realRandom.bytes(KEY_BYTES)).toString('base64url')
  const masterKeyFile = stage.write('master.key', Buffer.from(masterKey).toString('base64'))
  return { masterKey, adminToken, words: ['--master-key-file', masterKeyFile] }
}

/** Starts so many gateways at the same time; each is at work when this resolves. */
export async function startReplicas(
  stage: Stage,
  options: {
    readonly count: number
    readonly database: MeasuredDatabase
    readonly keys: Keys
    readonly words: readonly string[]
  },
): Promise<readonly MeasuredGateway[]> {
  const { count, database, keys, words } = options
  const started = await Promise.allSettled(
    REPLICAS.slice(0, count).map(replica => {
      const tokenFile = stage.write(path.join(replica, 'admin.token'), keys.adminToken)
      return startGateway(stage, {
        stateDir: path.dirname(tokenFile),
        words: ['--store', database.urlOf(replica), ...keys.words, ...words],
        cores: BOTH_CORES,
      })
    }),
  )
  const gateways = started.filter(one => one.status === 'fulfilled').map(one => one.value)
  const failed = started.find(one => one.status === 'rejected')
  if (failed === undefined) return gateways
  await stopAll(gateways)
  throw failed.reason
}

/** Asks gateways to stop, and waits until they have written what they minted. */
export async function stopAll(gateways: readonly MeasuredGateway[]): Promise<void> {
  await Promise.all(gateways.map(one => one.stop()))
}

/** Makes the schema, and `count` providers that are due in some hours. */
export async function fillDatabase(
  database: MeasuredDatabase,
  options: { readonly count: number; readonly tokenUrl: string; readonly keys: Keys },
): Promise<void> {
  const { masterKey } = options.keys
  const deps = { clock: realClock, random: realRandom, masterKey }
  await fillStore(await openStore(deps, database.url), options)
}

/**
 * Makes so many credentials due from an instant on, evenly over a span, and the others in some hours;
 * then the database is tidied, so that no window pays for the one before.
 */
export async function setDue(
  database: MeasuredDatabase,
  {
    count,
    fromMs,
    spreadMs,
  }: { readonly count: number; readonly fromMs: number; readonly spreadMs: number },
): Promise<void> {
  // Nobody listens, and a hundred thousand triggers have nobody to tell.
  await database.query('set session_replication_role = replica')
  await database.query(
    `update credentials set claimed_by = '', claimed_until_ms = 0, version = version + 1,
      due_at_ms = case when place <= $1 then $2::bigint + place * $3::bigint / $1 else $4::bigint end
      from (select provider_id as id, row_number() over (order by provider_id) as place
        from credentials) as places where places.id = provider_id`,
    [count, fromMs, spreadMs, Date.now() + 6 * HOUR_MS],
  )
  await database.query('vacuum analyze')
  await database.query('checkpoint')
}

/** How many credentials have a token that was minted since that instant. */
export async function renewedSince(database: MeasuredDatabase, sinceMs: number): Promise<number> {
  const [row] = await database.query(
    'select count(*)::float8 as renewed from credentials where token_issued_at_ms >= $1',
    [sinceMs],
  )
  return Number(row?.renewed)
}

/** Changes are counted as ever, and told to nobody, as when each notification were lost. */
export async function loseNotifications(database: MeasuredDatabase): Promise<void> {
  const [row] = await database.query(
    "select pg_get_functiondef(oid) as text from pg_proc where proname = 'openshell_raise'",
  )
  const text = String(row?.text)
  const mute = text.replace("pg_notify('openshell_changes'", "pg_notify('openshell_nobody'")
  if (mute === text) throw new Error('openshell_raise notifies on another channel')
  await database.query(mute)
}
