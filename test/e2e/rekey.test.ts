// Goal: an operator changes the master key with one command while the gateway runs, and the old key
// opens nothing afterwards. Method: the released program, as people run it.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, test } from 'node:test'
import { createPlace, freePort, run, start } from '../support/programs.ts'

const place = createPlace()
after(() => place.remove())
const keyFile = path.join(place.folder, 'state', 'master.key')

test('a rekey beside a running gateway', { timeout: 90_000 }, async t => {
  const port = await freePort()
  const startCommand = ['gateway', 'start', '--listen', `127.0.0.1:${port}`].concat([
    '--allow-endpoint',
    'models.example.com',
  ])
  const environment = { OPENSHELL_GATEWAY_ENDPOINT: `http://127.0.0.1:${port}` }
  const gateway = start(place, startCommand)
  t.after(() => gateway.stop('SIGKILL'))
  await gateway.line('gateway.started')
  const add = (name: string) =>
    run(
      place,
      ['provider', 'add', '--type', 'generic', '--name', name, '--no-verify']
        .concat(['--credential', 'API_KEY=not-a-real-key-0001'])
        .concat(['--config', 'BASE_URL=https://models.example.com', '--config', 'PROTOCOL=openai']),
      environment,
    )
  const added = await add('one')
  assert.equal(added.code, 0, added.stderr)
  const [old = ''] = readFileSync(keyFile, 'utf8').trim().split('\n')

  const same = await run(place, ['gateway', 'rekey'])
  assert.match(same.stdout, /^Everything is sealed with master key [0-9a-f]{8} already\n$/)

  // What was added before, and has not taken over, is the new key; no other is made beside it.
  writeFileSync(keyFile, `${old}\n${randomBytes(32).toString('base64')}\n`)
  const rekeyed = await run(place, ['gateway', 'rekey', '--make-key'])
  assert.equal(rekeyed.code, 0, rekeyed.stderr)
  assert.match(rekeyed.stdout, /\d+ envelopes are under master key [0-9a-f]{8} now/)
  assert.match(rekeyed.stderr, /waiting for gateways/)
  const [first, fresh = '', third] = readFileSync(keyFile, 'utf8').trim().split('\n')
  assert.deepEqual([first, third], [old, undefined])

  const status = await run(place, ['store', 'status', '-o', 'json'])
  const found = JSON.parse(status.stdout)
  assert.deepEqual([found.leaving_master_keys, found.envelopes_to_rewrap], [[], 0])
  assert.deepEqual(
    found.gateways.map((one: { readonly master_keys: readonly string[] }) =>
      one.master_keys.at(-1),
    ),
    [found.master_key],
  )
  const addedAfter = await add('two')
  assert.equal(addedAfter.code, 0, addedAfter.stderr)
  const listed = await run(place, ['provider', 'list', '-o', 'json'], environment)
  assert.equal(JSON.parse(listed.stdout).length, 2)
  assert.equal(await gateway.stop(), 0)
  const stopped = await run(place, ['store', 'status', '-o', 'json'])
  assert.deepEqual(JSON.parse(stopped.stdout).gateways, [])

  for (const output of [rekeyed, status, { stdout: '', stderr: gateway.output() }]) {
    for (const key of [old, fresh]) {
      assert.ok(!output.stdout.includes(key) && !output.stderr.includes(key))
    }
  }
  writeFileSync(keyFile, `${old}\n`)
  const wrong = await run(place, startCommand)
  assert.equal(wrong.code, 1)
  assert.match(wrong.stderr, /The master key does not open the database/)
  writeFileSync(keyFile, `${fresh}\n`)
  const more = await run(place, ['gateway', 'rekey', '--make-key'])
  assert.equal(more.code, 0, more.stderr)
  assert.equal(readFileSync(keyFile, 'utf8').trim().split('\n').length, 2)
  const again = start(place, startCommand)
  t.after(() => again.stop('SIGKILL'))
  await again.line('gateway.started')
})
