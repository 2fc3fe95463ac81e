import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { ProviderRecord } from '../../src/core/provider.ts'
import { Secret } from '../../src/core/secret.ts'
import type { ProviderRules } from '../../src/providers/provider-type.ts'
import { type CredentialRefresher, createRefresher } from '../../src/providers/refresher.ts'
import { createRefreshTask } from '../../src/refresh/task.ts'
import { newCredential } from '../../src/refresh/transition.ts'
import { openStore } from '../../src/store/open.ts'
import type { FetchRequest } from '../../src/system/fetch.ts'
import type { Files } from '../../src/system/files.ts'
import { createLog } from '../../src/system/real.ts'
import { aProvider, present } from '../store/records.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { noExecute, noFiles } from '../support/outside.ts'
import { type Script, type ScriptedFetch, scriptedFetch } from '../support/scripted-fetch.ts'
import { seededRandom } from '../support/seeded-random.ts'
import type { Fixture } from './fixture.ts'

/** A fixture's provider before a scripted token endpoint, on a clock of its own. */
export interface FixtureWorld {
  readonly clock: FakeClock
  readonly provider: ProviderRecord
  readonly rules: ProviderRules
  readonly refresher: CredentialRefresher
  readonly peer: ScriptedFetch
  /** Requests to the token endpoint itself, not to the sources before it. */
  asked(): readonly FetchRequest[]
  refresh(signal?: AbortSignal): ReturnType<CredentialRefresher['refresh']>
}

/** Builds one; `answerOf` speaks for the token endpoint alone and is told how many came before. */
export function createFixtureWorld(
  fixture: Fixture,
  answerOf: (request: FetchRequest, index: number) => Script,
): FixtureWorld {
  const clock = new FakeClock()
  const asked: FetchRequest[] = []
  const peer = scriptedFetch(request => {
    const source = fixture.sources?.[request.url]
    if (source !== undefined) return { body: source.body }
    asked.push(request)
    const script = answerOf(request, asked.length - 1)
    if (script === 'silence' || script instanceof Error) return script
    return { ...script, headers: { ...fixture.answerHeaders, ...script.headers } }
  })
  const rules = rulesOf(fixture)
  const refresher = createRefresher(fixture.type, {
    ...{ fetch: peer.fetch, clock, random: seededRandom(1), rules },
    ...{ files: filesOf(fixture), execute: fixture.execute ?? noExecute },
  })
  const provider = providerOf(fixture)
  return {
    ...{ clock, provider, rules, refresher, peer },
    asked: () => asked,
    refresh: (signal = new AbortController().signal) => refresher.refresh(provider, signal),
  }
}

/** The provider that a fixture describes. */
export function providerOf({ type, material, config }: Fixture): ProviderRecord {
  const secrets = Object.entries(material).map(([key, text]) => [key, new Secret(text)] as const)
  return aProvider({
    type: type.type,
    name: 'conforming',
    material: new Map(secrets),
    config: new Map(Object.entries(config)),
  })
}

/** The token of the answer that a minted one is, or is made of. */
export function tokenIn({ ownForm }: Fixture, minted: string): unknown {
  return ownForm === undefined ? minted : ownForm.tokenIn(minted)
}

/** A complete answer with this token and, in seconds, an hour's or another life. */
export function tokenAnswer(fixture: Fixture, token: unknown, life: unknown = 3_600): Script {
  return { body: answerBody(fixture, token, life) }
}

/** The same, without a word about the life. */
export function endlessAnswer(fixture: Fixture, token: unknown): Script {
  return { body: answerBody(fixture, token, undefined) }
}

function answerBody(fixture: Fixture, token: unknown, life: unknown): unknown {
  const usual = { access_token: token, token_type: 'Bearer', expires_in: life, ...fixture.extra }
  return fixture.success?.(token, life, new FakeClock().nowMs()) ?? usual
}

/** The refresh task over a real store that holds the fixture's provider, due far in the future. */
export async function createTaskWorld(world: FixtureWorld, fixture: Fixture) {
  const { clock, provider } = world
  const folder = mkdtempSync(path.join(os.tmpdir(), 'openshell-conformance-'))
  const lines: string[] = []
  const random = seededRandom(2)
  const masterKey = new Uint8Array(32).fill(1)
  const store = await openStore({ clock, random, masterKey }, `sqlite:${folder}/gateway.db`)
  const row = newCredential(provider.id, fixture.type.tokenKey, clock.nowMs())
  await store.createProvider(provider, [{ ...row, dueAtMs: clock.nowMs() + 86_400_000 }])
  const task = createRefreshTask(
    {
      ...{ store, clock, random, owner: 'gateway-1' },
      log: createLog({ format: 'json', level: 'debug', write: line => lines.push(line) }),
      refresherOf: () => world.refresher,
      onOutcome: event => lines.push(JSON.stringify(event)),
    },
    { sweepMs: 86_400_000 },
  )
  return {
    ...{ task, lines, store },
    credential: async () => present((await store.listCredentials(provider.id))[0]),
    stored: async () => present(await store.getProviderById(provider.id)),
    async [Symbol.asyncDispose]() {
      await store.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function rulesOf({ config, rules }: Fixture): ProviderRules {
  const hosts = Object.values(config)
    .map(value => URL.parse(value)?.host ?? '')
    .filter(host => host.endsWith('.example'))
  return { allowList: hosts, subjectTokenDirs: ['/var/run/secrets'], mayExecute: false, ...rules }
}

function filesOf({ files }: Fixture): Files {
  if (files === undefined) return noFiles
  const isThere = (name: string) => Object.keys(files).some(file => file.startsWith(name))
  return {
    realPath: name => (isThere(name) ? Promise.resolve(name) : noFiles.realPath(name)),
    read: (name, bytesMax) => {
      const text = files[name]
      if (text === undefined) return noFiles.read(name, bytesMax)
      return Promise.resolve(Buffer.from(text).subarray(0, bytesMax))
    },
  }
}
