import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { nextJsonLine, runOpenShell } from '../../test/support/command-line.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'openshell-cli-'))

after(() => rmSync(folder, { recursive: true }))

test('a lab starts with its faults, takes others while it runs, and stops', async t => {
  const stop = new AbortController()
  const ready = nextJsonLine(t)
  const keyFile = path.join(folder, 'sa.json')
  const ended = runOpenShell(
    [
      ...['lab', 'start', '--listen', '127.0.0.1:0', '-o', 'json', '--key-file', keyFile],
      ...['--fault', 'google.token status=503 count=3'],
    ],
    { stop: stop.signal },
  )
  const { origin } = JSON.parse(await ready)
  assert.equal(JSON.parse(readFileSync(keyFile, 'utf8')).type, 'service_account')

  const fault = (...words: readonly string[]) =>
    runOpenShell(['lab', 'fault', '--lab', origin, ...words])
  assert.match((await fault()).out, /^FAULT .*\ngoogle.token status=503 count=3 {2}3 {11}-\n$/)
  const { out } = await fault('-o', 'json', '/v1', 'delay=1s')
  assert.deepEqual(
    JSON.parse(out).map((one: { text: string; callsLeft: number | null }) => one.callsLeft),
    [3, null],
  )
  const refused = await fault('google.token', 'sing=loudly')
  assert.equal(refused.code, 2)
  assert.match(refused.err, /^error: /)
  assert.equal((await fault('clear')).out, 'No faults.\n')
  stop.abort()
  assert.equal((await ended).code, 0)
  assert.equal((await fault()).code, 3)
})

test('a lab is not started with wrong flags', async () => {
  const { code, err } = await runOpenShell([
    ...['lab', 'start', '--token-lifetime', '0s', '--listen', 'x', '-o', 'table'],
  ])
  assert.equal(code, 2)
  assert.match(err, /--listen takes .*; --token-lifetime takes 1 s to 24 h.*; -o takes text, json/)
})
