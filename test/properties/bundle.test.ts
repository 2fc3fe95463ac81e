// Goal: a bundle holds every route once and no dead token, its revision tells exactly what a router
// uses. Method: arbitrary workspaces in a real store, built into a bundle, then changed in one thing at
// a time.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { inspect } from 'node:util'
import { toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import type { Bundle } from '../../src/core/bundle.ts'
import type { Credential } from '../../src/core/credential.ts'
import type { Failure } from '../../src/core/failure.ts'
import type { ProviderRecord, RouteName } from '../../src/core/provider.ts'
import { Secret } from '../../src/core/secret.ts'
import { buildBundle } from '../../src/gateway/bundle-builder.ts'
import { newCredential } from '../../src/refresh/transition.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import { bundleToWire } from '../../src/wire/bundle.ts'
import { GetInferenceBundleResponseSchema } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { aProvider } from '../store/records.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { rulesOf } from '../support/outside.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { holds } from './holds.ts'

const NOW_MS = 1_800_000_000_000
const HOUR_MS = 3_600_000
const ROUTE_NAMES = ['inference.local', 'sandbox-system'] as const
const NAMES = ['one', 'two', 'three'] as const
const rules = rulesOf(['api.example', 'issuer.example'])

/** A credential's part that a bundle may depend on, and the part that it must not. */
interface Row {
  readonly endsInMs: number | null
  /** From when on requests wait. */
  readonly waitsInMs: number
  readonly value: string
  readonly generation: number
  readonly isDisabled: boolean
  readonly failure: 'T' | 'P' | null
  readonly message: string
  readonly isParked: boolean
  /** Of no interest to a router. */
  readonly dueInMs: number
  readonly attempts: number
  readonly claimedBy: string
}

type Kind = 'static' | 'minted' | 'broken'

interface ProviderPlan {
  readonly name: (typeof NAMES)[number]
  readonly kind: Kind
  readonly key: string
  readonly host: string
  readonly row: Row | null
}

interface RoutePlan {
  readonly name: RouteName
  readonly providerName: string
  readonly modelId: string
  readonly timeoutSeconds: number
}

/** A workspace, as a person and the refresh task left it. */
interface Plan {
  readonly providers: readonly ProviderPlan[]
  readonly routes: readonly RoutePlan[]
}

const word = fc.stringMatching(/^[a-z]{1,8}$/)
/** Long enough that it stands nowhere by accident. */
const secret = fc.stringMatching(/^[A-Za-z0-9]{24}$/)
const row: fc.Arbitrary<Row> = fc.record({
  endsInMs: fc.option(
    fc.oneof(fc.constantFrom(-1, 0, 1), fc.integer({ min: -HOUR_MS, max: HOUR_MS })),
  ),
  waitsInMs: fc.integer({ min: 1, max: HOUR_MS }),
  value: secret,
  generation: fc.integer({ min: 1, max: 1_000 }),
  isDisabled: fc.boolean(),
  failure: fc.constantFrom('T', 'P', null),
  message: word,
  isParked: fc.boolean(),
  dueInMs: fc.integer({ min: -HOUR_MS, max: HOUR_MS }),
  attempts: fc.nat(9),
  claimedBy: fc.constantFrom('', 'gateway'),
})
const plan: fc.Arbitrary<Plan> = fc.record({
  providers: fc.uniqueArray(
    fc.record({
      name: fc.constantFrom(...NAMES),
      kind: fc.constantFrom<Kind>('static', 'minted', 'minted', 'broken'),
      key: secret,
      host: fc.constantFrom('https://api.example/v1', 'https://api.example/v2'),
      row: fc.option(row, { freq: 8 }),
    }),
    { selector: one => one.name, maxLength: 3 },
  ),
  routes: fc.uniqueArray(
    fc.record({
      name: fc.constantFrom(...ROUTE_NAMES),
      providerName: fc.constantFrom(...NAMES),
      modelId: word,
      timeoutSeconds: fc.nat(600),
    }),
    { selector: one => one.name, maxLength: 2 },
  ),
})

/** A workspace in which one route has a living token, the other a static key. */
const lively: fc.Arbitrary<Plan> = fc
  .record({
    workspace: plan,
    token: row,
    endsInMs: fc.integer({ min: 2, max: HOUR_MS }),
    key: secret,
  })
  .map(({ workspace, token, endsInMs, key }) => {
    const usual = { key, host: 'https://api.example/v1', row: null }
    const usable = { ...token, endsInMs, isDisabled: false }
    const route = { modelId: 'model', timeoutSeconds: 60 }
    return {
      providers: [
        { ...usual, name: 'one', kind: 'minted', row: usable },
        { ...usual, name: 'two', kind: 'static' },
        ...workspace.providers.filter(({ name }) => name === 'three'),
      ],
      routes: [
        { ...route, name: 'inference.local', providerName: 'one' },
        { ...route, name: 'sandbox-system', providerName: 'two' },
      ],
    }
  })

/** The same with a token that ends at this very instant and is tried for again. */
const dead = lively.map(({ providers, routes }) => ({
  providers: providers.map(one => ({
    ...one,
    row: one.row && { ...one.row, endsInMs: 0, failure: 'T' as const, isParked: false },
  })),
  routes,
}))

const folder = mkdtempSync(path.join(tmpdir(), 'bundles-'))
const clock = new FakeClock(NOW_MS)
let store: Store
let standing: Plan = { providers: [], routes: [] }
before(async () => {
  const masterKey = new Uint8Array(32).fill(1)
  store = await openStore(
    { clock, random: seededRandom(), masterKey },
    `sqlite:${folder}/gateway.db`,
  )
})
after(async () => {
  await store.close()
  rmSync(folder, { recursive: true })
})

const MATERIAL = { static: 'API_KEY', minted: 'OAUTH2_CLIENT_SECRET', broken: 'API_KEY' } as const

function recordOf(one: ProviderPlan, workspace: string): ProviderRecord {
  const config = {
    static: { BASE_URL: one.host },
    minted: {
      ...{ OAUTH2_BASE_URL: one.host, OAUTH2_TOKEN_URL: 'https://issuer.example/token' },
      OAUTH2_CLIENT_ID: 'client',
    },
    broken: { BASE_URL: 'https://elsewhere.example/v1' },
  }[one.kind]
  return aProvider({
    // Built again it is the same provider: its id may be part of what a router knows.
    ...{
      id: one.name,
      workspace,
      name: one.name,
      type: one.kind === 'minted' ? 'oauth2' : 'generic',
    },
    material: new Map([[MATERIAL[one.kind], new Secret(one.key)]]),
    config: new Map(Object.entries(config)),
  })
}

function credentialOf(provider: ProviderRecord, one: Row): Credential {
  const failure: Failure | null =
    one.failure === null
      ? null
      : {
          ...{ class: one.failure, code: 'code', message: one.message, advice: 'a' },
          ...{ recoveryAction: 'retry', retryAfterMs: 0 },
        }
  const token =
    one.endsInMs === null
      ? null
      : {
          value: new Secret(one.value),
          issuedAtMs: NOW_MS + one.endsInMs - HOUR_MS,
          expiresAtMs: NOW_MS + one.endsInMs,
        }
  return {
    ...newCredential(provider.id, 'OAUTH2_ACCESS_TOKEN', NOW_MS - HOUR_MS),
    ...{ token, failure, generation: one.generation, isDisabled: one.isDisabled },
    mandatoryAtMs: NOW_MS + one.waitsInMs,
    dueAtMs: one.isParked ? null : NOW_MS + one.dueInMs,
    ...{ lastAttemptAtMs: NOW_MS - one.attempts, consecutiveFailures: one.attempts },
    ...{ claimedBy: one.claimedBy, claimedUntilMs: one.claimedBy === '' ? 0 : NOW_MS + 1 },
  }
}

/** Stores the plan in place of the one before and builds its bundle. */
async function bundleOf(next: Plan): Promise<Bundle> {
  const workspace = 'default'
  for (const { name } of standing.providers) await store.deleteProvider(workspace, name)
  for (const { name } of standing.routes) await store.deleteRoute(workspace, name)
  standing = next
  const { providers, routes } = next
  for (const one of providers) {
    const record = recordOf(one, workspace)
    const rows = one.kind === 'minted' && one.row !== null ? [credentialOf(record, one.row)] : []
    await store.createProvider(record, rows)
  }
  for (const route of routes) await store.saveRoute({ ...route, workspace, version: 0 })
  return buildBundle({ store, clock, rules }, workspace)
}

test('every route is served or explained, no dead token and no material is in a bundle', async () => {
  await holds(
    fc.asyncProperty(fc.oneof(plan, lively, dead), async one => {
      const bundle = await bundleOf(one)
      const served = bundle.routes.map(route => route.name)
      const explained = bundle.failures.map(failure => failure.name)
      const all = one.routes.map(route => route.name)
      assert.deepEqual([...served, ...explained].sort(), all.sort())
      for (const route of bundle.routes) {
        const provider = one.providers.find(known => known.name === route.providerName)
        assert.ok(provider !== undefined && provider.kind !== 'broken')
        const isStatic = provider.kind === 'static'
        assert.ok(route.expiresAtMs === null ? isStatic : route.expiresAtMs > NOW_MS)
        assert.equal(route.credential.reveal(), isStatic ? provider.key : provider.row?.value)
        assert.ok(isStatic || provider.row?.isDisabled === false)
      }
      for (const { providerName } of bundle.failures) {
        const provider = one.providers.find(known => known.name === providerName)
        assert.notEqual(provider?.kind, 'static', 'a good static key is not served')
        const isUsable = (provider?.row?.endsInMs ?? 0) > 0 && provider?.row?.isDisabled === false
        assert.ok(provider?.kind !== 'minted' || !isUsable, 'a good token is not served')
      }
      assertHidden(bundle, one)
    }),
    80,
  )
})

/** What goes out holds the credentials of its routes and nothing else that is secret. */
function assertHidden(bundle: Bundle, { providers }: Plan): void {
  const sent = Buffer.from(toBinary(GetInferenceBundleResponseSchema, bundleToWire(bundle)))
  const wire = sent.toString('latin1')
  const shown = `${JSON.stringify(bundle)} ${inspect(bundle, { depth: 9 })}`
  const mayGo = bundle.routes.map(route => route.credential.reveal())
  for (const { key, row: token } of providers) {
    for (const one of [key, token?.value ?? key]) {
      assert.ok(!shown.includes(one), 'a secret prints')
      assert.equal(wire.includes(one), mayGo.includes(one))
    }
  }
}

type Change = (one: Plan) => Plan

function ofProvider(name: string, change: (one: ProviderPlan) => Partial<ProviderPlan>): Change {
  return one => ({
    ...one,
    providers: one.providers.map(old => (old.name === name ? { ...old, ...change(old) } : old)),
  })
}

/** Changes the row with the living token. */
function ofToken(change: (one: Row) => Partial<Row>): Change {
  return ofProvider('one', ({ row: old }) => ({ row: old && { ...old, ...change(old) } }))
}

function ofStatic(change: (one: ProviderPlan) => Partial<ProviderPlan>): Change {
  return ofProvider('two', change)
}

/** Changes the route with the static key. */
function ofRoute(change: (one: RoutePlan) => Partial<RoutePlan>): Change {
  return one => ({
    ...one,
    routes: one.routes.map(old => (old.providerName === 'two' ? { ...old, ...change(old) } : old)),
  })
}

const NEWS: Readonly<Record<string, Change>> = {
  'another token': ofToken(({ value }) => ({ value: `${value.slice(1)}~` })),
  'another end': ofToken(({ endsInMs }) => ({ endsInMs: (endsInMs ?? 0) + 1 })),
  'another mandatory point': ofToken(({ waitsInMs }) => ({ waitsInMs: waitsInMs + 1 })),
  'another generation': ofToken(({ generation }) => ({ generation: generation + 1 })),
  'a token that is switched off': ofToken(() => ({ isDisabled: true })),
  'a token that ended': ofToken(() => ({ endsInMs: 0 })),
  'another model': ofRoute(({ modelId }) => ({ modelId: `${modelId}x` })),
  'another time limit': ofRoute(({ timeoutSeconds }) => ({ timeoutSeconds: timeoutSeconds + 61 })),
  'another provider': ofRoute(() => ({ providerName: 'nobody' })),
  'another key': ofStatic(({ key }) => ({ key: `${key.slice(1)}~` })),
  'another address': ofStatic(({ host }) => ({ host: `${host}/more` })),
  'a key that cannot work any more': ofStatic(() => ({ kind: 'broken' })),
  'one route less': one => ({ ...one, routes: one.routes.slice(1) }),
}

/** What no router uses as long as the token lives. */
const NO_NEWS_OF_A_TOKEN: Readonly<Record<string, Change>> = {
  'a failure while the token lives': ofToken(() => ({ failure: 'T', isParked: false })),
  'a permanent failure while the token lives': ofToken(() => ({ failure: 'P', isParked: true })),
}

/** What no router uses at any time. */
const NO_NEWS: Readonly<Record<string, Change>> = {
  'nothing at all': one => one,
  'another due time': ofToken(({ dueInMs }) => ({ dueInMs: dueInMs + 1 })),
  'an attempt more': ofToken(({ attempts }) => ({ attempts: attempts + 1 })),
  'a claim': ofToken(() => ({ claimedBy: 'another' })),
  'the client secret of a token that stands': one => ({
    ...one,
    providers: one.providers.map(old =>
      old.kind === 'minted' ? { ...old, key: `${old.key.slice(1)}~` } : old,
    ),
  }),
  'another order of the providers': one => ({ ...one, providers: one.providers.toReversed() }),
  'the next attempt for a token that is dead': one => ({
    ...one,
    providers: one.providers.map(old =>
      old.row === null ? old : { ...old, row: { ...old.row, dueInMs: old.row.dueInMs + 1 } },
    ),
  }),
}

for (const [changes, workspace, isNews] of [
  [NEWS, lively, true],
  [NO_NEWS_OF_A_TOKEN, lively, false],
  [NO_NEWS, fc.oneof(lively, dead, plan), false],
] as const) {
  for (const [name, change] of Object.entries(changes)) {
    test(`${name} ${isNews ? 'is another' : 'is no other'} revision`, async () => {
      await holds(
        fc.asyncProperty(workspace, async one => {
          const before = await bundleOf(one)
          assert.equal((await bundleOf(change(one))).revision !== before.revision, isNews)
        }),
        8,
      )
    })
  }
}
