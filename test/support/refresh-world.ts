import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Credential } from '../../src/core/credential.ts'
import type { ProviderRecord } from '../../src/core/provider.ts'
import { createRefresher } from '../../src/providers/refresher.ts'
import { findProviderType } from '../../src/providers/registry.ts'
import { createRefreshTask, type RefreshEvent } from '../../src/refresh/task.ts'
import { newCredential } from '../../src/refresh/transition.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import type { FetchRequest } from '../../src/system/fetch.ts'
import { silentLog } from '../../src/system/log.ts'
import { present } from '../store/records.ts'
import { FakeClock } from './fake-clock.ts'
import { noExecute, noFiles, rulesOf } from './outside.ts'
import { type Script, type ScriptedFetch, scriptedFetch } from './scripted-fetch.ts'
import { seededRandom } from './seeded-random.ts'
import { vertexProvider } from './service-account.ts'

const TOKEN_KEY = 'GOOGLE_VERTEX_AI_TOKEN'
/** Token hosts that providers of this world may name. */
export const HOSTS = Array.from({ length: 100 }, (_, index) => `host-${index}.example`)

const DAY_MS = 86_400_000
const TURNS_MAX = 100_000

/** A good answer of a token endpoint; each has another token. */
export function freshToken(index: number, expiresIn: unknown = 3_600): Script {
  const body = { access_token: `token-${index + 1}`, token_type: 'Bearer', expires_in: expiresIn }
  return { body }
}

/** What a world may be told. */
export interface RefreshWorldOptions {
  readonly answerOf?: (request: FetchRequest, index: number) => Script
  /** Stands between the task and its store, to make it fail. */
  readonly wrapStore?: (store: Store) => Store
  readonly sweepMs?: number
}

/** The refresh task over a real SQLite store, a scripted token endpoint, and a clock of its own. */
export interface RefreshWorld {
  readonly store: Store
  readonly clock: FakeClock
  readonly peer: ScriptedFetch
  readonly events: readonly RefreshEvent[]
  readonly task: ReturnType<typeof createRefreshTask>
  /** Starts the task; the test's end stops it. */
  run(): void
  /** Stops the task and resolves when it has ended. */
  stop(): Promise<void>
  /** Stores a provider whose credential is due now, unless `credential` says otherwise. */
  add(
    name: string,
    content?: {
      readonly fields?: Readonly<Record<string, unknown>>
      readonly credential?: Partial<Credential>
    },
  ): Promise<ProviderRecord>
  credentialOf(provider: ProviderRecord): Promise<Credential>
  /** Waits until nothing moves any more without the clock: all is done, asleep, or kept waiting. */
  rest(): Promise<void>
}

/** Builds one. */
export async function createRefreshWorld(
  t: TestContext,
  options: RefreshWorldOptions = {},
): Promise<RefreshWorld> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'openshell-refresh-'))
  const random = seededRandom()
  const peer = scriptedFetch(options.answerOf ?? ((_request, index) => freshToken(index)))
  let minting = 0
  const rest = async (): Promise<void> => {
    // What signs leaves the thread; it is over when the mint has ended or waits for its peer.
    for (let turns = 0, quiet = 0; quiet < 2; turns += 1) {
      if (turns > TURNS_MAX) throw new Error(`${minting} mints never came to rest`)
      await turn()
      quiet = minting > peer.silent ? 0 : quiet + 1
    }
  }
  const clock = new FakeClock(1_800_000_000_000, rest)
  const masterKey = new Uint8Array(32).fill(1)
  const store = await openStore(
    { clock, random, masterKey },
    `sqlite:${path.join(folder, 'gateway.db')}`,
  )
  const refresher = createRefresher(findProviderType('google-vertex-ai'), {
    fetch: peer.fetch,
    clock,
    random,
    files: noFiles,
    execute: noExecute,
    rules: rulesOf(HOSTS),
  })
  const counted: typeof refresher = {
    ...refresher,
    async refresh(provider, signal) {
      minting += 1
      return refresher.refresh(provider, signal).finally(() => {
        minting -= 1
      })
    },
  }
  const events: RefreshEvent[] = []
  const task = createRefreshTask(
    {
      store: options.wrapStore?.(store) ?? store,
      clock,
      random,
      log: silentLog,
      owner: 'gateway-1',
      refresherOf: () => counted,
      onOutcome: event => events.push(event),
    },
    { sweepMs: options.sweepMs ?? DAY_MS },
  )
  const stopping = new AbortController()
  let running: Promise<void> = Promise.resolve()
  t.after(async () => {
    stopping.abort()
    await clock.advance(60_000)
    await running
    await store.close()
    rmSync(folder, { recursive: true, force: true })
  })

  return {
    ...{ store, clock, peer, events, task, rest },
    run() {
      running = task.run(stopping.signal)
    },
    async stop() {
      stopping.abort()
      await running
    },
    async add(name, { fields = {}, credential = {} } = {}) {
      const provider = vertexProvider({ name }, fields)
      const row = newCredential(provider.id, TOKEN_KEY, clock.nowMs())
      await store.createProvider(provider, [{ ...row, ...credential }])
      return provider
    },
    credentialOf: async provider => present((await store.listCredentials(provider.id))[0]),
  }
}
