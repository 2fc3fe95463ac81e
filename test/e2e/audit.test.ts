// Goal: audit lines are there whatever the log says, and survive the loss of their file.
// Method: the released program, asked for silence.
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, renameSync, statSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { createPlace, freePort, type Place, run, start } from '../support/programs.ts'

async function startGateway(place: Place, args: readonly string[]) {
  const port = await freePort()
  const address = `127.0.0.1:${port}`
  const flags = ['--listen', address, '--log-format', 'json', ...args]
  const gateway = start(place, ['gateway', 'start', ...flags])
  const endpoint = { OPENSHELL_GATEWAY_ENDPOINT: `http://${address}` }
  const tellSandbox = (name: string) => run(place, ['sandbox', 'create', name], endpoint)
  for (;;) {
    const { code } = await run(place, ['status'], endpoint)
    if (code === 0) return { gateway, tellSandbox }
    assert.equal(code, 3, gateway.output())
  }
}

test('at the level "error" the log holds the audit lines and nothing else', async context => {
  const place = createPlace()
  const { gateway, tellSandbox } = await startGateway(place, ['--log-level', 'error'])
  context.after(async () => {
    await gateway.stop()
    place.remove()
  })
  assert.equal((await tellSandbox('one')).code, 0)
  const line = await gateway.line('audit.sandbox.create')
  const { who, sandbox, outcome } = JSON.parse(line)
  assert.deepEqual({ who, sandbox, outcome }, { who: 'admin', sandbox: 'one', outcome: 'done' })
  assert.deepEqual(
    gateway
      .output()
      .split('\n')
      .filter(one => !one.includes('"event":"audit.')),
    [],
  )
})

test('with a file they stand there alone; the file may be moved, and one lost is told to the log', async context => {
  const place = createPlace()
  const file = path.join(place.folder, 'audit.log')
  const { gateway, tellSandbox } = await startGateway(place, ['--audit-log', file])
  context.after(async () => {
    await gateway.stop()
    place.remove()
  })
  const sandboxesIn = (name: string) =>
    readFileSync(name, 'utf8')
      .trim()
      .split('\n')
      .map(line => JSON.parse(line).sandbox)
  await tellSandbox('one')
  assert.equal(statSync(file).mode & 0o777, 0o600)
  renameSync(file, `${file}.1`)
  await tellSandbox('two')
  assert.deepEqual([sandboxesIn(`${file}.1`), sandboxesIn(file)], [['one'], ['two']])
  renameSync(file, `${file}.2`)
  mkdirSync(file)
  assert.equal((await tellSandbox('three')).code, 0)
  const lost = JSON.parse(await gateway.line('audit.unwritten'))
  assert.equal(JSON.parse(lost.line).sandbox, 'three')
  assert.ok(!gateway.output().includes('audit.sandbox.create","who'))
})
