// Goal: a rekey that is killed leaves a store that opens with both keys and loses nothing; the next one
// finishes it. Method: real processes on a real file, killed after each number of batches in turn.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { after, test } from 'node:test'
import { openStore } from '../../src/store/open.ts'
import { realClock, realRandom } from '../../src/system/real.ts'
import { aCredential, aProvider, aToken, revealed } from './records.ts'

const folder = mkdtempSync(path.join(os.tmpdir(), 'openshell-rekey-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const file = path.join(folder, 'gateway.db')
const keys = [randomBytes(32)]
const outside = { clock: realClock, random: realRandom }

async function content(): Promise<unknown> {
  const store = await openStore({ ...outside, masterKey: async () => keys }, `sqlite:${file}`)
  const { providers } = await store.listProviders(null, { limit: 1_000, offset: 0 })
  const rows = await Promise.all(providers.map(one => store.listCredentials(one.id)))
  await store.close()
  return revealed([providers, rows])
}

/** Rekeys in a process of its own, which is killed after so many batches; answers its last line. */
async function rekeyUntil(batches: number): Promise<string> {
  const child = spawn(process.execPath, [path.join(import.meta.dirname, 'rekeyer.ts'), file], {
    env: { ...process.env, MASTER_KEYS: keys.map(key => key.toString('base64')).join(',') },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  let last = ''
  let count = 0
  for await (const line of createInterface(child.stdout)) {
    last = line
    count += 1
    if (count > batches) child.kill('SIGKILL')
  }
  await exited
  return last
}

test('a rekey that is killed again and again loses nothing, and ends', async () => {
  const store = await openStore({ ...outside, masterKey: async () => keys }, `sqlite:${file}`)
  for (let index = 0; index < 250; index += 1) {
    const provider = aProvider({ name: `p${index}` })
    await store.createProvider(provider, [aCredential(provider, { token: aToken() })])
  }
  await store.close()
  const before = await content()
  keys.push(randomBytes(32))
  const ended: string[] = []
  for (const batches of [0, 1, 0, Number.POSITIVE_INFINITY]) {
    ended.push(await rekeyUntil(batches))
    assert.deepEqual(await content(), before)
  }
  assert.equal(ended.at(-1), 'done', ended.join())
  assert.notEqual(ended[0], 'done')
  keys.shift()
  assert.deepEqual(await content(), before)
})
