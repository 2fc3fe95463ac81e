// Goal: a store moves whole between SQLite and PostgreSQL, its file gives no secret away and is believed
// only as it was written. Method: real databases of both kinds, each as source and as target.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, type TestContext, test } from 'node:test'
import { Secret } from '../../src/core/secret.ts'
import { EXPORTED, NOT_EXPORTED } from '../../src/store/export-format.ts'
import { openForImport, openOperations } from '../../src/store/operations.ts'
import { realRandom } from '../../src/system/real.ts'
import { handClock, newStore, postgres, sqlite, type TestDatabase } from './databases.ts'
import {
  aCredential,
  aProvider,
  aSandbox,
  aToken,
  aWorkspace,
  present,
  revealed,
} from './records.ts'

const DATABASES = [sqlite, postgres]
/** More than a page. */
const PROVIDERS = 620

before(() => Promise.all(DATABASES.map(one => one.start())))
after(() => Promise.all(DATABASES.map(one => one.stop())))

type Opened = Awaited<ReturnType<typeof newStore>>

/** Something of everything, so that nothing can be forgotten. */
async function fill({ store }: Opened, count = 3) {
  for (let index = 0; index < count; index += 1) {
    const provider = aProvider({ name: `p${index}` })
    const credential = aCredential(provider, {
      ...{ token: aToken(), dueAtMs: 4_000 + index, generation: 3, spends: 1 },
      ...(index === 1 ? { claimedBy: 'killed', claimedUntilMs: 900_000 } : {}),
    })
    await store.createProvider(provider, [credential])
    if (index > 0) continue
    const candidate = { material: new Map([['NEXT', new Secret('next')]]), config: new Map() }
    const [row] = await store.listCredentials(provider.id)
    assert.ok(await store.stageProvider(provider, candidate, present(row)))
  }
  const place = { workspace: 'default', name: 'inference.local' } as const
  const route = { providerName: 'p0', modelId: 'm', timeoutSeconds: 9, version: 0 }
  await store.saveRoute({ ...place, ...route })
  await store.createWorkspace(aWorkspace('team', { labels: new Map([['a', 'b']]) }))
  await store.createSandbox(aSandbox({ spec: new Uint8Array([1, 2, 3]), providers: ['p1'] }))
  await store.putGatewaySecret('sandbox-token-key', new Secret('the signing key'))
}

async function contentOf({ store }: Pick<Opened, 'store'>): Promise<unknown> {
  const { providers } = await store.listProviders(null, { limit: 1_000, offset: 0 })
  const rows = await Promise.all(providers.map(one => store.listCredentials(one.id)))
  return revealed({
    ...{ providers, rows },
    route: await store.getRoute('default', 'inference.local'),
    sandboxes: (await store.listSandboxes(null, new Map(), { limit: 9, offset: 0 })).map(one => ({
      ...one,
    })),
    key: await store.getGatewaySecret('sandbox-token-key'),
    due: await store.earliestDueAtMs(),
  })
}

async function exported(t: TestContext, source: Opened): Promise<string> {
  const operations = await openOperations(depsOf(source), source.location)
  t.after(() => operations.close())
  let text = ''
  await operations.exportTo(async chunk => {
    text += chunk
  })
  return text
}

function depsOf({ clock, masterKey }: Pick<Opened, 'clock' | 'masterKey'>) {
  return { clock, random: realRandom, masterKey }
}

async function* chunksOf(text: string): AsyncGenerator<string> {
  const size = 50_001
  for (let at = 0; at < text.length; at += size) yield text.slice(at, at + size)
}

/** An empty database with a key; `put` imports a text. */
async function target(database: TestDatabase, masterKey: Opened['masterKey']) {
  const location = await database.newLocation()
  const deps = { clock: handClock(1_000_000), random: realRandom, masterKey }
  const put = async (text: string, isReplaced = false): Promise<number> => {
    const operations = await openForImport(deps, location)
    try {
      return await operations.importFrom(chunksOf(text), { isReplaced })
    } finally {
      await operations.close()
    }
  }
  return { location, deps, put }
}

for (const [from, to] of [
  [sqlite, postgres],
  [postgres, sqlite],
  [sqlite, sqlite],
] as const) {
  test(`everything moves from ${from.name} to ${to.name}`, async t => {
    const source = await newStore(t, from)
    await fill(source, PROVIDERS)
    const before = await contentOf(source)
    const text = await exported(t, source)
    const { put, ...opened } = await target(to, source.masterKey)
    const rows = await put(text)
    assert.equal(rows, text.split('\n').length - 3)
    const arrived = await newStore(t, to, source.masterKey, opened.location)
    assert.deepEqual(await contentOf(arrived), before)
    await assert.rejects(put(text), {
      code: 'failed_precondition',
      message: 'The store holds providers already',
    })
    assert.ok(await arrived.store.deleteProvider('default', 'p0'))
    await put(text, true)
    assert.deepEqual(await contentOf(arrived), before)
    assert.deepEqual(await contentOf(source), before)
    assert.deepEqual(await exported(t, arrived), text)
  })
}

for (const database of DATABASES) {
  test(`every table on ${database.name} is exported or speaks of that database alone`, async t => {
    const { location } = await newStore(t, database)
    const rows = await database.run(
      location,
      database === sqlite
        ? `select name from sqlite_schema where type = 'table'`
        : `select table_name as name from information_schema.tables where table_schema = 'public'`,
    )
    const known = [...EXPORTED.map(one => one.table), ...NOT_EXPORTED]
    assert.deepEqual(rows.map(row => String(row.name)).sort(), known.sort())
  })

  test(`an export from ${database.name} is of one instant, and gateways write meanwhile`, async t => {
    const source = await newStore(t, database)
    await fill(source)
    const operations = await openOperations(depsOf(source), source.location)
    t.after(() => operations.close())
    const before = await contentOf(source)
    let text = ''
    await operations.exportTo(async chunk => {
      text += chunk
      if (!chunk.startsWith('{"format"')) return
      // The first table is not read yet; the snapshot begins with the first question before it.
      assert.ok(await source.store.deleteProvider('default', 'p2'))
      await source.store.createProvider(aProvider({ name: 'later' }), [])
    })
    const other = database === sqlite ? postgres : sqlite
    const { put, location } = await target(other, source.masterKey)
    await put(text)
    assert.deepEqual(await contentOf(await newStore(t, other, source.masterKey, location)), before)
  })

  test(`a store on ${database.name} that was moved away mints nothing, until it is reopened`, async t => {
    const source = await newStore(t, database)
    const { store, clock, location } = source
    await fill(source)
    const operations = await openOperations(depsOf(source), location)
    t.after(() => operations.close())
    const nowMs = clock.nowMs()
    const claim = { owner: 'g', nowMs, untilMs: nowMs + 30_000 }
    const [claimed] = await store.claimDue(claim, 1)
    await assert.rejects(operations.retire(), {
      code: 'failed_precondition',
      message: 'Refreshes are under way: 1',
    })
    clock.setMs(claim.untilMs)
    await operations.retire()
    const refused = { code: 'store_unavailable', message: /this store was moved away$/ }
    await assert.rejects(store.claimDue({ ...claim, nowMs: clock.nowMs() }, 9), refused)
    await assert.rejects(store.saveCredential(present(claimed), null), refused)
    await assert.rejects(store.createProvider(aProvider({ name: 'x' }), []), refused)
    await assert.rejects(source.openAgain(), {
      code: 'failed_precondition',
      message: /was moved away at 1970-01-01T00:17:10\.000Z$/,
    })
    assert.equal((await operations.status()).movedAtMs, clock.nowMs())
    const text = await exported(t, source)
    assert.ok(text.includes('"end"'))
    const over = operations.importFrom(chunksOf(text), { isReplaced: true })
    await assert.rejects(over, { code: 'failed_precondition', message: /was moved away/ })
    assert.deepEqual([await operations.reopen(), await operations.reopen()], [true, false])
    assert.ok(await store.saveCredential(present(claimed), null))
    await source.openAgain()
  })
}

test('no secret is in clear in the file', async t => {
  const source = await newStore(t, sqlite)
  await fill(source)
  const text = await exported(t, source)
  const { providers } = await source.store.listProviders(null, { limit: 9, offset: 0 })
  const rows = await Promise.all(providers.map(one => source.store.listCredentials(one.id)))
  const secrets = [
    ...providers.flatMap(one => [
      ...one.material.values(),
      ...(one.candidate?.material.values() ?? []),
    ]),
    ...rows.flat().map(one => present(one.token).value),
    new Secret('the signing key'),
  ]
  assert.ok(secrets.length >= 8)
  for (const secret of secrets.filter(one => one.reveal() !== 'next')) {
    assert.ok(!text.includes(secret.reveal()))
    assert.ok(!text.includes(Buffer.from(secret.reveal()).toString('base64').slice(0, 16)))
  }
  assert.ok(!text.includes('"next"') && !text.includes('master-key-check'))
})

test('a file that is cut short or altered is refused, and nothing of it stays', async t => {
  const source = await newStore(t, sqlite)
  await fill(source)
  const text = await exported(t, source)
  const { put, location, deps } = await target(sqlite, source.masterKey)
  const lines = text.split('\n')
  const cut = [0, 1, 5, lines.length - 2].map(count =>
    lines
      .slice(0, count)
      .map(line => `${line}\n`)
      .join(''),
  )
  for (const part of [...cut, text.slice(0, -1), text.slice(0, text.length / 2)]) {
    await assert.rejects(
      put(part),
      { code: 'invalid_argument', message: /not whole/ },
      part.slice(-40),
    )
  }
  const swapped = [lines[0], lines[2], lines[1], ...lines.slice(3)].join('\n')
  const changed = [
    text.replace('us-east1', 'us-east2'),
    text.replace('"spends":1', '"spends":0'),
    text.replace('"table":"routes"', '"table":"gateways"'),
    text.replace('"table":"routes"', '"table":7'),
    text.replace('"row":{', '"row":{"extra":[],'),
    text.replace('"row":{', '"row":{"extra":1,'),
    text.replace(/"rows":\d+/, '"rows":1'),
    text.replace(/"mac":"."/, '"mac":""').replace(/"mac":"../, '"mac":"AA'),
    [...lines.slice(0, 3), ...lines.slice(4)].join('\n'),
    `${text}${lines[1]}\n`,
    `${lines[0]}\nnonsense\n`,
    swapped,
  ]
  for (const [index, part] of changed.entries()) {
    assert.notEqual(part, text)
    await assert.rejects(put(part), { code: 'invalid_argument' }, `change ${index}`)
  }
  await assert.rejects(put('{"a":1}\n'), { message: 'The file is no export of a store' })
  const empty = await newStore(t, sqlite, source.masterKey, location)
  assert.deepEqual((await empty.store.listProviders(null, { limit: 9, offset: 0 })).providers, [])
  assert.equal(await empty.store.getGatewaySecret('sandbox-token-key'), null)
  assert.ok(deps.clock.nowMs() > 0)
  await put(text)
})

test('a file of a newer version or under an unknown key is refused, in words', async t => {
  const source = await newStore(t, sqlite)
  await fill(source)
  const text = await exported(t, source)
  const { put } = await target(sqlite, source.masterKey)
  await assert.rejects(put(text.replace('"version":1', '"version":2')), {
    code: 'failed_precondition',
    message: /^The file has format 2, which/,
  })
  await assert.rejects(put(text.replace(/"schema":"\d+"/, '"schema":"0999"')), {
    code: 'failed_precondition',
    message: /^The file has schema 0999, which/,
  })
  const other = await target(sqlite, randomBytes(32))
  await assert.rejects(other.put(text), {
    code: 'wrong_master_key',
    message: /^The file is sealed/,
  })
})

test('with both keys a file is imported under the key of the target', async t => {
  const key = randomBytes(32)
  const source = await newStore(t, sqlite, key)
  await fill(source)
  const own = randomBytes(32)
  const { put, location } = await target(postgres, async () => [key, own])
  await put(await exported(t, source))
  const arrived = await newStore(t, postgres, own, location)
  assert.deepEqual(await contentOf(arrived), await contentOf(source))
})

test('nothing is imported beneath a gateway at work', async t => {
  const source = await newStore(t, sqlite)
  await fill(source)
  const text = await exported(t, source)
  const { put, location } = await target(sqlite, source.masterKey)
  const gateway = await newStore(t, sqlite, source.masterKey, location)
  await gateway.store.announce('busy')
  await assert.rejects(put(text), {
    code: 'failed_precondition',
    message: 'Gateways are at work on this store: "busy"',
  })
  await gateway.store.withdraw('busy')
  await put(text)
})
