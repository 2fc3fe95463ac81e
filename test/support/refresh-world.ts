import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Credential } from '../../src/core/credential.ts'
import type { ProviderRecord } from '../../src/core/provider.ts'
import { Secret } from '../../src/core/secret.ts'
import {
  type CredentialRefresher,
  createRefresher,
  type RefresherDeps,
} from '../../src/providers/refresher.ts'
import { findProviderType } from '../../src/providers/registry.ts'
import type { RefreshEvent } from '../../src/refresh/attempt.ts'
import { createRefreshTask, type RefreshTask } from '../../src/refresh/task.ts'
import { newCredential } from '../../src/refresh/transition.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import type { FetchRequest } from '../../src/system/fetch.ts'
import { silentLog } from '../../src/system/log.ts'
import { aProvider, present } from '../store/records.ts'
import { FakeClock } from './fake-clock.ts'
import { type Death, type Life, mortalLife } from './mortal.ts'
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
  /** When the first gateway is killed; never by itself if absent. */
  readonly death?: Death
}

/** The refresh task over a real SQLite store, a scripted token endpoint, and a clock of its own. */
export interface RefreshWorld {
  readonly store: Store
  readonly clock: FakeClock
  readonly peer: ScriptedFetch
  readonly events: readonly RefreshEvent[]
  /** The task of the gateway that lives now. */
  readonly task: RefreshTask
  /** Whether the gateway that was started last was killed. */
  readonly isDead: boolean
  /** Starts the task; the test's end stops it. */
  run(): void
  /** Kills the gateway, wherever it stands, and starts another on the same database. */
  succeed(next?: { readonly owner?: string; readonly death?: Death }): void
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
  /** The same for a provider of type `oauth2` with the single-use refresh token `old-0`. */
  addRotating(name: string, credential?: Partial<Credential>): Promise<ProviderRecord>
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
  let gateway: TestGateway | null = null
  const rest = async (): Promise<void> => {
    // What signs leaves the thread; it is over when the mint has ended or waits for its peer.
    for (let turns = 0, quiet = 0; quiet < 2; turns += 1) {
      if (turns > TURNS_MAX) throw new Error(`${gateway?.minting} mints never came to rest`)
      await turn()
      quiet = (gateway?.minting ?? 0) > peer.silent ? 0 : quiet + 1
    }
  }
  const clock = new FakeClock(1_800_000_000_000, rest)
  const masterKey = new Uint8Array(32).fill(1)
  const store = await openStore(
    { clock, random, masterKey },
    `sqlite:${path.join(folder, 'gateway.db')}`,
  )
  const events: RefreshEvent[] = []
  const begin = (owner: string, death: Death | null): TestGateway => {
    const life = mortalLife(death)
    const stopping = new AbortController()
    let minting = 0
    const refresherOf = refresherTable(
      { ...{ fetch: life.fetch(peer.fetch), clock, random }, rules: rulesOf(HOSTS) },
      change => {
        minting += change
      },
    )
    const task = createRefreshTask(
      {
        ...{ store: life.store(options.wrapStore?.(store) ?? store), clock, random },
        ...{ log: silentLog, owner, refresherOf, onOutcome: event => events.push(event) },
      },
      { sweepMs: options.sweepMs ?? DAY_MS },
    )
    let running: Promise<void> = Promise.resolve()
    return {
      ...{ life, task },
      get minting() {
        return life.isDead ? 0 : minting
      },
      run() {
        running = task.run(stopping.signal)
      },
      async stop() {
        stopping.abort()
        // Who is dead never comes to an end.
        if (!life.isDead) await running
      },
    }
  }
  let living = begin('gateway-1', options.death ?? null)
  gateway = living
  t.after(async () => {
    const stopped = living.stop()
    await clock.advance(60_000)
    await stopped
    await store.close()
    rmSync(folder, { recursive: true, force: true })
  })

  return {
    ...{ store, clock, peer, events, rest },
    get task() {
      return living.task
    },
    get isDead() {
      return living.life.isDead
    },
    run: () => living.run(),
    stop: () => living.stop(),
    succeed({ owner = 'gateway-2', death } = {}) {
      living.life.kill()
      living = begin(owner, death ?? null)
      gateway = living
      living.run()
    },
    async add(name, { fields = {}, credential = {} } = {}) {
      const provider = vertexProvider({ name }, fields)
      const row = newCredential(provider.id, TOKEN_KEY, clock.nowMs())
      await store.createProvider(provider, [{ ...row, ...credential }])
      return provider
    },
    async addRotating(name, credential = {}) {
      const provider = aProvider({
        ...{ name, type: 'oauth2' },
        material: new Map([
          ['OAUTH2_REFRESH_TOKEN', new Secret('old-0')],
          ['OAUTH2_CLIENT_SECRET', new Secret('s')],
        ]),
        config: new Map([
          ['OAUTH2_TOKEN_URL', `https://${HOSTS[0]}/token`],
          ['OAUTH2_CLIENT_ID', 'client'],
        ]),
      })
      const row = newCredential(provider.id, 'OAUTH2_ACCESS_TOKEN', clock.nowMs())
      await store.createProvider(provider, [{ ...row, ...credential }])
      return provider
    },
    credentialOf: async provider => present((await store.listCredentials(provider.id))[0]),
  }
}

/** A gateway process over the world's store. */
interface TestGateway {
  readonly life: Life
  readonly task: RefreshTask
  /** Mints that have begun and not ended. */
  readonly minting: number
  run(): void
  stop(): Promise<void>
}

/** The refreshers of a gateway, counting their mints. */
function refresherTable(
  deps: Omit<RefresherDeps, 'files' | 'execute'>,
  count: (change: 1 | -1) => void,
): (provider: ProviderRecord) => CredentialRefresher {
  const made = new Map<string, CredentialRefresher>()
  return ({ type }) => {
    const known = made.get(type)
    if (known !== undefined) return known
    const refresher = createRefresher(findProviderType(type), {
      ...{ ...deps, files: noFiles, execute: noExecute },
    })
    const counted: CredentialRefresher = {
      ...refresher,
      async refresh(provider, signal) {
        count(1)
        return refresher.refresh(provider, signal).finally(() => count(-1))
      },
    }
    made.set(type, counted)
    return counted
  }
}
