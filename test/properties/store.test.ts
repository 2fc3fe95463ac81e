// Goal: whatever two gateways do to one store, in any order and with anything that they once read, the
// store is what a model of a few maps is. Method: arbitrary moves over two stores on one SQLite file;
// after each the answer and the whole content are held against the model.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import type { Credential } from '../../src/core/credential.ts'
import { AppError } from '../../src/core/errors.ts'
import type { ProviderRecord } from '../../src/core/provider.ts'
import { Secret } from '../../src/core/secret.ts'
import { openStore } from '../../src/store/open.ts'
import type { ContentChange, Store } from '../../src/store/store.ts'
import { aCredential, aProvider, aToken, present, revealed, TOKEN_KEY } from '../store/records.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { holds } from './holds.ts'
import { CLAIM_MS, type Gateway, type Move, move, NAMES, type Name } from './store-moves.ts'

const START_MS = 1_800_000_000_000

type Texts = Readonly<Record<string, string>>

/** A provider as the model has it; what cannot change is left out. */
interface ModelProvider {
  readonly id: string
  version: number
  /** The highest version that any row of it ever had at a replacement. */
  rowsVersion: number
  material: Texts
  candidate: Texts | null
  row: Credential | null
}

/** What a gateway read at some time: the provider's record and its row. */
interface Reading {
  readonly provider: ProviderRecord
  readonly row: Credential
}

/** The two stores, the model, and everything that was ever read, the newest first. */
class Twins {
  readonly model = new Map<string, ModelProvider>()
  readonly readings = new Map<string, Reading[]>()
  readonly stores: readonly [Store, Store]
  readonly clock: FakeClock

  constructor(stores: readonly [Store, Store], clock: FakeClock) {
    this.stores = stores
    this.clock = clock
  }

  read(of: Name, ago: number): Reading | undefined {
    const all = this.readings.get(of) ?? []
    return all[Math.min(ago, all.length - 1)]
  }

  byId(id: string): ModelProvider | undefined {
    return [...this.model.values()].find(one => one.id === id)
  }
}

const folder = mkdtempSync(path.join(tmpdir(), 'twins-'))
const clock = new FakeClock(START_MS)
let stores: readonly [Store, Store]
before(async () => {
  const deps = { clock, random: seededRandom(), masterKey: new Uint8Array(32).fill(1) }
  const open = () => openStore(deps, `sqlite:${folder}/gateway.db`)
  stores = [await open(), await open()]
})
after(async () => {
  for (const store of stores) await store.close()
  rmSync(folder, { recursive: true })
})

/** Both stores, emptied: what was in them can never come back, for ids are made anew. */
async function newTwins(): Promise<Twins> {
  for (const one of NAMES) await stores[0].deleteProvider('default', one)
  return new Twins(stores, clock)
}

const contentOf = (material: Texts) => ({
  material: new Map(Object.entries(material).map(([key, value]) => [key, new Secret(value)])),
  config: new Map<string, string>(),
})

/** The row as the model and the store must agree on it. */
function rowOf(id: string, one: Move & { readonly text: string }, nowMs: number): Credential {
  const token = aToken({ value: new Secret(`token-${one.text}`) })
  return aCredential({ id }, { token, dueAtMs: nowMs, generation: 1 })
}

async function play(twins: Twins, one: Move): Promise<void> {
  const nowMs = twins.clock.nowMs()
  const claim = (owner: Gateway) => ({
    ...{ owner: `gateway-${owner}`, nowMs, untilMs: nowMs + CLAIM_MS },
  })
  switch (one.kind) {
    case 'wait':
      twins.clock.stepWall(one.ms)
      return
    case 'create':
      return create(twins, one)
    case 'delete': {
      const deleted = await twins.stores[one.gateway].deleteProvider('default', one.name)
      assert.equal(deleted?.id, twins.model.get(one.name)?.id)
      twins.model.delete(one.name)
      return
    }
    case 'update':
      return update(twins, one)
    case 'stage':
      return stage(twins, one)
    case 'claimDue': {
      const claimable = [...twins.model.values()]
        .flatMap(({ row }) => (row === null || row.dueAtMs === null ? [] : [row]))
        .filter(row => Math.max(row.dueAtMs ?? 0, row.claimedUntilMs) <= nowMs)
      const claimed = await twins.stores[one.gateway].claimDue(claim(one.gateway), one.limit)
      assert.equal(claimed.length, Math.min(one.limit, claimable.length))
      const isEarliest = (row: Credential) =>
        claimable.filter(other => claimableAt(other) < claimableAt(row)).length < one.limit
      for (const row of claimed) {
        const owned = present(twins.byId(row.providerId))
        assert.ok(claimable.includes(present(owned.row)), 'claimed what was not due')
        assert.ok(isEarliest(present(owned.row)), 'claimed before what was due earlier')
        setRow(owned, row, claim(one.gateway))
      }
      return
    }
    case 'claimOne': {
      const known = twins.read(one.name, one.reading)
      if (known === undefined) return
      const owned = twins.byId(known.row.providerId)
      const isFree = owned?.row?.version === known.row.version && owned.row.claimedUntilMs <= nowMs
      const claimed = await twins.stores[one.gateway].claimCredential(claim(one.gateway), known.row)
      assert.equal(claimed !== null, isFree)
      if (claimed !== null) setRow(present(owned), claimed, claim(one.gateway))
      return
    }
    case 'release': {
      const rows = [...twins.model.values()].filter(
        ({ row }) => row?.claimedBy === `gateway-${one.gateway}`,
      )
      const released = await twins.stores[one.gateway].releaseClaims(`gateway-${one.gateway}`)
      assert.equal(released, rows.length)
      for (const owned of rows) {
        const row = present(owned.row)
        owned.row = { ...row, version: row.version + 1, claimedBy: '', claimedUntilMs: 0 }
      }
      return
    }
    case 'save':
      return save(twins, one)
  }
}

function claimableAt({ dueAtMs, claimedUntilMs }: Credential): number {
  return Math.max(dueAtMs ?? 0, claimedUntilMs)
}

function setRow(
  owned: ModelProvider,
  answered: Credential,
  { owner, untilMs }: { readonly owner: string; readonly untilMs: number },
): void {
  const row = present(owned.row)
  owned.row = {
    ...{ ...row, version: row.version + 1, claimedBy: owner, claimedUntilMs: untilMs },
    claimedFrom: row.claimedBy,
  }
  assert.deepEqual(revealed(answered), revealed(owned.row))
}

async function create(twins: Twins, one: Move & { readonly kind: 'create' }): Promise<void> {
  const provider = aProvider({ name: one.name, ...contentOf({ KEY: one.text }) })
  const row = rowOf(provider.id, one, twins.clock.nowMs())
  const creating = twins.stores[one.gateway].createProvider(provider, [row])
  if (twins.model.has(one.name)) {
    await assert.rejects(creating, (error: unknown) => {
      return error instanceof AppError && error.code === 'already_exists'
    })
    return
  }
  await creating
  const { id } = provider
  twins.model.set(one.name, {
    ...{ id, version: 1, rowsVersion: 1, material: { KEY: one.text }, candidate: null, row },
  })
}

async function update(twins: Twins, one: Move & { readonly kind: 'update' }): Promise<void> {
  const known = twins.read(one.name, one.reading)
  if (known === undefined) return
  const owned = twins.byId(known.provider.id)
  const isNewest = owned?.version === known.provider.version
  const row = rowOf(known.provider.id, one, twins.clock.nowMs())
  const updated = await twins.stores[one.gateway].updateProvider(
    known.provider,
    contentOf({ NEW: one.text }),
    one.replaces ? [row] : null,
  )
  assert.equal(updated !== null, isNewest)
  if (!isNewest || owned === undefined) return
  owned.version += 1
  owned.material = { NEW: one.text }
  owned.candidate = null
  if (!one.replaces) return
  owned.rowsVersion = Math.max(owned.rowsVersion, owned.row?.version ?? 0) + 1
  owned.row = { ...row, version: owned.rowsVersion }
}

async function stage(twins: Twins, one: Move & { readonly kind: 'stage' }): Promise<void> {
  const known = twins.read(one.name, one.reading)
  if (known === undefined) return
  const owned = twins.byId(known.provider.id)
  const isNewest =
    owned?.version === known.provider.version && owned.row?.version === known.row.version
  const staged = await twins.stores[one.gateway].stageProvider(
    known.provider,
    contentOf({ STAGED: one.text }),
    { ...known.row, candidateSpends: 1 },
  )
  assert.equal(staged !== null, isNewest)
  if (!isNewest || owned === undefined) return
  owned.version += 1
  owned.candidate = { STAGED: one.text }
  owned.row = { ...known.row, version: known.row.version + 1, candidateSpends: 1 }
}

async function save(twins: Twins, one: Move & { readonly kind: 'save' }): Promise<void> {
  const known = twins.read(one.name, one.reading)
  if (known === undefined) return
  const nowMs = twins.clock.nowMs()
  const written: Credential = {
    ...known.row,
    ...{
      token: aToken({ value: new Secret(`token-${one.text}`) }),
      claimedBy: '',
      claimedUntilMs: 0,
    },
    ...{ generation: known.row.generation + 1 },
    dueAtMs: one.dueInMs === null ? null : nowMs + one.dueInMs,
  }
  const rotated: Texts =
    one.change === 'rotated' || one.change === 'promoted' ? { R: one.text } : {}
  const change: ContentChange | null =
    one.change === 'none'
      ? null
      : {
          providerVersion: known.provider.version,
          rotatedMaterial: contentOf(rotated).material,
          candidate: one.change === 'promoted' || one.change === 'dropped' ? one.change : 'kept',
        }
  const owned = twins.byId(known.row.providerId)
  const saved = await twins.stores[one.gateway].saveCredential(written, change)
  const isRowNewest = owned?.row?.version === known.row.version
  const isContentNewest = owned?.version === known.provider.version
  assert.equal(saved !== null, isRowNewest && (change === null || isContentNewest))
  if (owned === undefined || (change !== null && !isContentNewest)) return
  if (isRowNewest) owned.row = { ...written, version: known.row.version + 1 }
  else if (change === null || Object.keys(rotated).length === 0) return
  else if (owned.row !== null) {
    // Rotated material is kept although the race was lost, and the row becomes due for it.
    const ended = { spends: 0, claimedBy: '', claimedUntilMs: 0 }
    owned.row = { ...owned.row, ...ended, version: owned.row.version + 1, dueAtMs: nowMs }
  }
  if (change === null) return
  owned.version += 1
  const isPromoted = change.candidate === 'promoted' && owned.candidate !== null
  owned.material = { ...(isPromoted ? owned.candidate : owned.material), ...rotated }
  if (change.candidate !== 'kept') owned.candidate = null
}

/** Both stores hold exactly what the model holds; what they answer is remembered for later moves. */
async function compare(twins: Twins): Promise<void> {
  for (const store of twins.stores) {
    const { providers, damaged } = await store.listProviders(null, { limit: 10, offset: 0 })
    assert.deepEqual(damaged, [])
    assert.deepEqual(
      providers.map(one => one.name),
      [...twins.model.keys()].sort(),
    )
    for (const provider of providers) {
      const owned = present(twins.model.get(provider.name))
      const inClear = (of: ReadonlyMap<string, Secret>) =>
        Object.fromEntries([...of].map(([key, value]) => [key, value.reveal()]))
      assert.deepEqual(
        [provider.id, provider.version, inClear(provider.material)],
        [owned.id, owned.version, owned.material],
      )
      const { candidate } = provider
      assert.deepEqual(candidate && inClear(candidate.material), owned.candidate)
      const rows = await store.listCredentials(provider.id)
      assert.deepEqual(revealed(rows), owned.row === null ? [] : [revealed(owned.row)])
      remember(twins, provider, rows)
    }
    const due = [...twins.model.values()].flatMap(({ row }) =>
      row === null || row.dueAtMs === null ? [] : [claimableAt(row)],
    )
    assert.equal(await store.earliestDueAtMs(), due.length === 0 ? null : Math.min(...due))
  }
}

function remember(twins: Twins, provider: ProviderRecord, rows: readonly Credential[]): void {
  const row = rows.find(one => one.key === TOKEN_KEY)
  if (row === undefined) return
  const all = twins.readings.get(provider.name) ?? []
  const [newest] = all
  const isNews = newest?.row.version !== row.version || newest.provider.version !== provider.version
  if (isNews || newest.provider.id !== provider.id) all.unshift({ provider, row })
  twins.readings.set(provider.name, all)
}

test('two gateways over one store leave it as a few maps would be', async () => {
  await holds(
    fc.asyncProperty(fc.array(move, { minLength: 5, maxLength: 60, size: 'max' }), async moves => {
      const twins = await newTwins()
      for (const one of moves) {
        await play(twins, one)
        await compare(twins)
      }
    }),
    45,
  )
})
