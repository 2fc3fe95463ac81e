import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { AppError } from '../../src/core/errors.ts'
import { createAuthority } from '../../src/pki/authority.ts'
import { openStore } from '../../src/store/open.ts'
import type { Change } from '../../src/store/store.ts'
import { realClock, realRandom } from '../../src/system/real.ts'
import { openCuttingProxy } from '../support/cutting-proxy.ts'
import { until } from '../support/gateway.ts'
import { openTlsFront } from '../support/tls-front.ts'
import { newStore, type TestDatabase } from './databases.ts'

const deps = { clock: realClock, random: realRandom }

type Ended = { after(work: () => Promise<void> | void): void }

/** How the way to a server may be: encrypted as asked, dead, slow, or gone for a while. */
export function connectionCases(database: TestDatabase): void {
  test('what is asked for is what is spoken: TLS as strict as said, or no connection', async t => {
    const masterKey = randomBytes(32)
    const location = await database.newLocation()
    const folder = mkdtempSync(path.join(tmpdir(), 'postgres-tls-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const [own, foreign] = [createAuthority(deps), createAuthority(deps)]
    const file = (name: string, text: string) => {
      const place = path.join(folder, name)
      writeFileSync(place, text)
      return place
    }
    const [ownCa, foreignCa] = [file('own', own.certPem), file('foreign', foreign.certPem)]
    const front = await openTlsFront(Number(new URL(location).port), own.issueLeaf('localhost'))
    t.after(() => front.close())
    const at = (port: number | string, parameters: string) => {
      const url = new URL(location)
      url.port = String(port)
      url.search = parameters
      return url.href
    }
    const opens = async (url: string) =>
      (await openStore({ ...deps, masterKey }, url)).close().then(() => 'opened')
    const refused = (reason: RegExp) => (error: unknown) =>
      error instanceof AppError && error.code === 'store_unavailable' && reason.test(error.message)

    const tls = front.port
    assert.equal(await opens(at(tls, 'sslmode=require')), 'opened')
    assert.equal(await opens(at(tls, `sslmode=verify-ca&sslrootcert=${ownCa}`)), 'opened')
    const byAnyName = at(tls, `sslmode=verify-full&sslrootcert=${ownCa}`)
    assert.equal(await opens(byAnyName.replace('127.0.0.1', 'localhost')), 'opened')
    await assert.rejects(opens(byAnyName), refused(/does not match|altnames/i))
    for (const mode of ['verify-ca', 'verify-full', 'require']) {
      const distrusted = at(tls, `sslmode=${mode}&sslrootcert=${foreignCa}`)
      await assert.rejects(opens(distrusted), refused(/certificate|signature/i), mode)
    }
    await assert.rejects(opens(at(tls, 'sslmode=verify-full')), refused(/certificate/i))
    const plain = new URL(location).port
    for (const mode of ['require', 'verify-full']) {
      await assert.rejects(opens(at(plain, `sslmode=${mode}`)), refused(/does not support SSL/))
    }
    assert.equal(await opens(at(plain, 'sslmode=disable')), 'opened')
  })

  test('a password that stands in a file is read at each connection', async t => {
    const { store, location, masterKey } = await newStore(t, database)
    await store.close()
    const folder = mkdtempSync(path.join(tmpdir(), 'postgres-password-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const url = new URL(location)
    const file = path.join(folder, 'password')
    writeFileSync(file, `${url.password}\n`)
    url.password = ''
    url.search = `password_file=${file}`
    const opened = await openStore({ ...deps, masterKey }, url.href)
    await opened.ping()
    await opened.close()
    writeFileSync(file, 'wrong')
    await assert.rejects(openStore({ ...deps, masterKey }, url.href), {
      code: 'store_unavailable',
      message: /password authentication failed/,
    })
  })

  test('while the server is away whoever asks is told at once, and it is found again', async t => {
    const { store, proxy } = await behindProxy(t, database)
    await store.ping()
    proxy.refuse()
    await assert.rejects(store.ping(), { code: 'store_unavailable' })
    const startedMs = performance.now()
    const answers = await Promise.allSettled(Array.from({ length: 200 }, () => store.ping()))
    assert.ok(answers.every(one => one.status === 'rejected'))
    assert.ok(performance.now() - startedMs < 2_000, 'nobody waited for a connection in vain')
    proxy.pass()
    await until(
      () =>
        store.ping().then(
          () => true,
          () => false,
        ),
      'the server is back',
    )
  })

  test('connections that went dead without a word are noticed before they are used', async t => {
    const { store, proxy } = await behindProxy(t, database)
    await Promise.all(Array.from({ length: 8 }, () => store.listRoutes('default')))
    assert.ok(proxy.connections > 1)
    await realClock.sleep(2_100, new AbortController().signal)
    proxy.halfOpen()
    const startedMs = performance.now()
    await store.listRoutes('default')
    assert.ok(performance.now() - startedMs < 4_000, 'one probe, then a new connection')
  })

  test('changes are told again after the connection that listens was cut, or went dead', async t => {
    const { store, proxy, direct } = await behindProxy(t, database)
    const heard: Change[] = []
    const trouble: string[] = []
    const stop = new AbortController()
    const listener = {
      changed: (change: Change) => void heard.push(change),
      lost: () => void trouble.push('lost'),
      found: () => void trouble.push('found'),
    }
    const following = store.followChanges(await store.readChanges(), listener, stop.signal)
    t.after(async () => {
      stop.abort()
      await following
    })
    let version = 0
    const change = async () => {
      const place = { workspace: 'default', name: 'inference.local' as const }
      const route = { ...place, providerName: 'p', modelId: 'm', timeoutSeconds: 0, version }
      await direct.saveRoute(route)
      version += 1
    }
    await change()
    await until(() => heard.length > 0, 'a change')
    for (const harm of [() => proxy.cut(), () => proxy.halfOpen()]) {
      heard.length = 0
      harm()
      await change()
      await until(() => heard.length > 0, 'a change after the harm')
    }
    proxy.refuse()
    await until(() => trouble.at(-1) === 'lost', 'the loss is told')
    heard.length = 0
    await change()
    proxy.pass()
    await until(() => heard.length > 0, 'a change during the loss')
    assert.equal(trouble.at(-1), 'found')
  })
}

async function behindProxy(t: Parameters<typeof newStore>[0] & Ended, database: TestDatabase) {
  const { store: direct, location, masterKey } = await newStore(t, database)
  const proxy = await openCuttingProxy(Number(new URL(location).port))
  const store = await openStore({ ...deps, masterKey }, proxy.through(location))
  t.after(async () => {
    await store.close()
    await proxy[Symbol.asyncDispose]()
  })
  return { store, direct, proxy }
}
