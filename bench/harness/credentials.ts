// A store full of providers, as a gateway that has run for a while would have it.
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { ProviderRecord } from '../../src/core/provider.ts'
import { Secret } from '../../src/core/secret.ts'
import { newCredential } from '../../src/refresh/transition.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import { realClock, realRandom } from '../../src/system/real.ts'

const HOUR_MS = 3_600_000
const KEY_BYTES = 32
/** Providers that are written at a time. */
const AT_ONCE = 32

/** A state folder with a database that can be opened and changed. */
export interface SeededState {
  readonly stateDir: string
  open(): Promise<Store>
  /** Makes every credential due at once, or in some hours, spread evenly over an hour. */
  setDue(when: 'now' | 'in hours'): void
  /** How many credentials have a token that was minted since the store was filled. */
  minted(): number
}

/** Fills a new state folder with `count` providers whose token endpoint is at `tokenUrl`. */
export async function seedState(
  stateDir: string,
  options: { readonly count: number; readonly tokenUrl: string },
): Promise<SeededState> {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  const masterKey = realRandom.bytes(KEY_BYTES)
  const keyText = `${Buffer.from(masterKey).toString('base64')}\n`
  writeFileSync(path.join(stateDir, 'master.key'), keyText, { mode: 0o600 })
  const file = path.join(stateDir, 'gateway.db')
  const deps = { clock: realClock, random: realRandom, masterKey }
  const open = () => openStore(deps, `sqlite:${file}`)
  await fillStore(await open(), options)
  const within = <T>(act: (database: DatabaseSync) => T): T => {
    const database = new DatabaseSync(file)
    try {
      return act(database)
    } finally {
      database.close()
    }
  }
  return {
    ...{ stateDir, open },
    setDue: when =>
      within(database => {
        const firstMs = Date.now() + (when === 'now' ? 0 : 6 * HOUR_MS)
        const spreadMs = when === 'now' ? 0 : HOUR_MS
        database
          .prepare(
            'UPDATE credentials SET due_at_ms = ? + (rowid * 7919) % 1000 * ? / 1000, claimed_until_ms = 0',
          )
          .run(firstMs, spreadMs)
      }),
    minted: () =>
      within(database => {
        const row = database
          .prepare('SELECT count(*) AS minted FROM credentials WHERE generation > 1')
          .get()
        return Number(row?.minted)
      }),
  }
}

/** Fills a store with `count` providers whose token endpoint is at `tokenUrl`, and closes it. */
export async function fillStore(
  store: Store,
  options: { readonly count: number; readonly tokenUrl: string },
): Promise<void> {
  const numbers = Array.from({ length: options.count }, (_, at) => at).values()
  const work = async (): Promise<void> => {
    for (const number of numbers) await createOne(store, { ...options, number })
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  await store.close()
}

async function createOne(
  store: Store,
  { number, tokenUrl }: { readonly number: number; readonly tokenUrl: string },
): Promise<void> {
  const nowMs = realClock.nowMs()
  const provider: ProviderRecord = {
    id: `provider-${number}`,
    workspace: 'default',
    name: `provider-${number}`,
    type: 'oauth2',
    material: new Map([['OAUTH2_CLIENT_SECRET', new Secret(`secret-${number}`)]]),
    config: new Map([
      ['OAUTH2_TOKEN_URL', tokenUrl],
      ['OAUTH2_CLIENT_ID', `client-${number}`],
      ['OAUTH2_BASE_URL', `${new URL(tokenUrl).origin}/v1`],
    ]),
    candidate: null,
    ...{ profileWorkspace: '', expiries: new Map(), labels: new Map(), annotations: new Map() },
    version: 1,
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
  }
  const credential = {
    ...newCredential(provider.id, 'OAUTH2_ACCESS_TOKEN', nowMs),
    generation: 1,
    token: {
      // As long as the tokens of the big vendors.
      value: new Secret(Buffer.from(realRandom.bytes(768)).toString('base64url')),
      issuedAtMs: nowMs,
      expiresAtMs: nowMs + 12 * HOUR_MS,
    },
    dueAtMs: nowMs + 6 * HOUR_MS,
    mandatoryAtMs: nowMs + 11 * HOUR_MS,
    lastRefreshAtMs: nowMs,
    lastAttemptAtMs: nowMs,
  }
  await store.createProvider(provider, [credential])
}
