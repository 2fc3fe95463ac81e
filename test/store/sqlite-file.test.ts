// Goal: the database file is private, durable and honest about trouble. Method: real files, damaged
// by hand, and real processes that compete for them or are killed.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { after, test } from 'node:test'
import { Secret } from '../../src/core/secret.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import { realClock, realRandom } from '../../src/system/real.ts'
import { aCredential, aProvider, aToken, present, rotation } from './records.ts'

const folder = mkdtempSync(path.join(os.tmpdir(), 'openshell-sqlite-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const masterKey = randomBytes(32)
const deps = { clock: realClock, random: realRandom, masterKey }
const program = path.join(import.meta.dirname, 'writer.ts')

let files = 0
function newFile(): string {
  files += 1
  return path.join(folder, `${files}.db`)
}

const modeOf = (file: string) => (statSync(file).mode & 0o777).toString(8)

async function write(store: Store, name: string): Promise<readonly Secret[]> {
  const provider = aProvider({ name })
  const token = aToken()
  await store.createProvider(provider, [aCredential(provider, { token })])
  return [...provider.material.values(), token.value]
}

test('the file and those beside it are their owner’s alone, whatever the umask', async () => {
  const umask = process.umask(0)
  try {
    const file = newFile()
    const store = await openStore(deps, `sqlite:${file}`)
    await write(store, 'a')
    for (const one of [file, `${file}-wal`, `${file}-shm`]) assert.equal(modeOf(one), '600')
    await store.close()
    chmodSync(file, 0o644)
    const again = await openStore(deps, `sqlite:${file}`)
    await write(again, 'b')
    for (const one of [file, `${file}-wal`, `${file}-shm`]) assert.equal(modeOf(one), '600')
    await again.close()
  } finally {
    process.umask(umask)
  }
})

test('closing leaves one file that has everything', async () => {
  const file = newFile()
  const store = await openStore(deps, `sqlite:${file}`)
  await write(store, 'a')
  await store.close()
  const name = path.basename(file)
  assert.deepEqual(
    readdirSync(folder).filter(one => one.startsWith(name)),
    [name],
  )
  const copy = `${newFile()}`
  writeFileSync(copy, readFileSync(file))
  const opened = await openStore(deps, `sqlite:${copy}`)
  assert.ok(await opened.getProvider('default', 'a'))
  await opened.close()
})

test('no secret is in clear in the files: raw, base64, URL-encoded or in hexadecimal', async () => {
  const file = newFile()
  const store = await openStore(deps, `sqlite:${file}`)
  const secrets = [...(await write(store, 'a'))]
  const provider = present(await store.getProvider('default', 'a'))
  const [credential] = await store.listCredentials(provider.id)
  const rotated = new Secret('rotated secret / with + signs & more')
  await store.saveCredential(
    present(credential),
    rotation(1, new Map([['GOOGLE_SERVICE_ACCOUNT_JSON', rotated]])),
  )
  const signingKey = new Secret('the key that signs = sandbox tokens')
  await store.putGatewaySecret('signing-key', signingKey)
  secrets.push(rotated, signingKey, new Secret(masterKey.toString('latin1')))
  const bytes = () =>
    Buffer.concat([file, `${file}-wal`].filter(existsSync).map(one => readFileSync(one)))
  const check = () => {
    for (const secret of secrets) {
      const raw = Buffer.from(secret.reveal(), 'latin1')
      const forms = [
        raw,
        ...[0, 1, 2].map(shift => base64Core(raw, shift)),
        encodeURIComponent(secret.reveal()),
        raw.toString('hex'),
      ]
      for (const form of forms) assert.equal(bytes().indexOf(form), -1)
    }
  }
  assert.ok(bytes().includes('my-vertex') === false && bytes().includes('us-east1'))
  check()
  await store.close()
  check()
})

/** What base64 of the secret looks like wherever it stands in a longer text. */
function base64Core(raw: Buffer, shift: number): string {
  return raw.subarray(shift, shift + Math.floor((raw.length - shift) / 3) * 3).toString('base64')
}

test('what is no database of ours is named, and not touched', async () => {
  const text = newFile()
  writeFileSync(text, 'This is a letter, not a database. '.repeat(100), { mode: 0o644 })
  const foreign = newFile()
  const other = new DatabaseSync(foreign)
  other.exec('create table bookmarks (url text)')
  other.close()
  chmodSync(foreign, 0o644)
  const cases: readonly (readonly [file: string, message: string])[] = [
    [text, `Cannot use the database "${text}": file is not a database`],
    [foreign, `"${foreign}" is a database of another program`],
  ]
  for (const [file, message] of cases) {
    const before = readFileSync(file)
    await assert.rejects(openStore(deps, `sqlite:${file}`), { code: 'store_unavailable', message })
    assert.deepEqual(readFileSync(file), before)
    assert.equal(modeOf(file), '644')
  }
})

test('a path that cannot be written is named', async () => {
  const plain = newFile()
  writeFileSync(plain, '')
  mkdirSync(path.join(folder, 'directory'))
  const cases: readonly (readonly [file: string, reason: RegExp])[] = [
    [path.join(folder, 'missing', 'a.db'), /ENOENT/],
    [path.join(plain, 'a.db'), /ENOTDIR/],
    [path.join(folder, 'directory'), /EISDIR/],
  ]
  for (const [file, reason] of cases) {
    await assert.rejects(openStore(deps, `sqlite:${file}`), (error: Error) => {
      assert.ok('code' in error && error.code === 'state_dir_unusable')
      assert.ok(error.message.startsWith(`Cannot write the database "${file}": `))
      assert.match(error.message, reason)
      return true
    })
  }
})

test('a location of another kind is refused', async () => {
  for (const location of ['', 'sqlite:', '/a/b.db', 'mysql://h/db', 'postgres://h:99999/db'])
    await assert.rejects(openStore(deps, location), { code: 'invalid_argument' })
})

test('a damaged file is called so', async () => {
  const file = newFile()
  const store = await openStore(deps, `sqlite:${file}`)
  for (let index = 0; index < 50; index += 1) await write(store, `p${index}`)
  await store.close()
  const bytes = readFileSync(file)
  bytes.fill(0xff, 4_096)
  writeFileSync(file, bytes)
  await assert.rejects(openStore(deps, `sqlite:${file}`), {
    code: 'store_unavailable',
    message: `Cannot use the database "${file}": database disk image is malformed`,
  })
})

test('a wrong master key leaves the file byte for byte as it was', async () => {
  const file = newFile()
  const store = await openStore(deps, `sqlite:${file}`)
  await write(store, 'a')
  await store.close()
  const before = readFileSync(file)
  const wrong = { ...deps, masterKey: randomBytes(32) }
  await assert.rejects(openStore(wrong, `sqlite:${file}`), {
    code: 'wrong_master_key',
    message: `The master key does not open the database "${file}"`,
  })
  assert.deepEqual(readFileSync(file), before)
})

test('a writer waits for another program’s lock while the gateway goes on', async () => {
  const file = newFile()
  const other = new DatabaseSync(file)
  let pauses = 0
  const clock = {
    ...realClock,
    async sleep() {
      pauses += 1
      if (pauses === 3) other.exec('commit')
    },
  }
  const store = await openStore({ ...deps, clock }, `sqlite:${file}`)
  other.exec('begin immediate')
  await write(store, 'a')
  assert.equal(pauses, 3)
  other.close()
  await store.close()
})

test('a lock that is never given back is reported after the time limit', async () => {
  const file = newFile()
  let nowMs = 0
  const pauses: number[] = []
  const clock = {
    nowMs: () => nowMs,
    monotonicMs: () => nowMs,
    async sleep(ms: number) {
      pauses.push(ms)
      nowMs += ms
    },
  }
  const store = await openStore({ ...deps, clock }, `sqlite:${file}`)
  const other = new DatabaseSync(file)
  other.exec('begin immediate')
  await assert.rejects(write(store, 'a'), {
    code: 'store_unavailable',
    message: `Cannot use the database "${file}": database is locked`,
  })
  assert.equal(
    pauses.reduce((sum, ms) => sum + ms, 0),
    5_000,
  )
  other.exec('rollback')
  other.close()
  await write(store, 'a')
  await store.close()
})

function startWriter(file: string, name: string) {
  const child = spawn(process.execPath, [program, file, name], {
    env: { ...process.env, MASTER_KEY: masterKey.toString('base64') },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return { child, lines: createInterface(child.stdout), exited: once(child, 'exit') }
}

test('processes that make and write one file at once all succeed; a killed one loses nothing', async () => {
  const file = newFile()
  const acknowledged = new Map<string, number>()
  const writers = ['a', 'b', 'c'].map(name => startWriter(file, name))
  await Promise.all(
    writers.map(async ({ child, lines, exited }) => {
      for await (const line of lines) {
        const [name = '', generation] = line.split(' ')
        acknowledged.set(name, Number(generation))
        if (generation === '20') child.kill('SIGKILL')
      }
      await exited
    }),
  )
  assert.deepEqual([...acknowledged.keys()].sort(), 'a1 a2 a3 b1 b2 b3 c1 c2 c3'.split(' '))
  const store = await openStore(deps, `sqlite:${file}`)
  for (const [name, last] of acknowledged) {
    const provider = present(await store.getProvider('default', name))
    const [credential] = await store.listCredentials(provider.id)
    const { generation, token } = present(credential)
    assert.ok(generation >= last, `${name}: ${generation} of ${last}`)
    assert.equal(token?.value.reveal(), `token ${generation}`)
    assert.equal(provider.material.get('REFRESH')?.reveal(), `refresh ${generation}`)
  }
  await store.close()
})
