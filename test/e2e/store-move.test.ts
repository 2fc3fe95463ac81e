// Goal: an operator moves a store with two commands, and no gateway mints from the old one afterwards.
// Method: the released program, as people run it.
import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, test } from 'node:test'
import { createPlace, freePort, run, start } from '../support/programs.ts'

const place = createPlace()
after(() => place.remove())
const file = path.join(place.folder, 'openshell.export')
const target = path.join(place.folder, 'target')

test('a store is moved away, and taken up elsewhere', { timeout: 90_000 }, async t => {
  const address = `127.0.0.1:${await freePort()}`
  const environment = { OPENSHELL_GATEWAY_ENDPOINT: `http://${address}` }
  const gatewayCommand = ['gateway', 'start', '--listen', address]
  const startGateway = async (more: readonly string[]) => {
    const gateway = start(place, [...gatewayCommand, ...more])
    t.after(() => gateway.stop('SIGKILL'))
    await gateway.line('gateway.started')
    return gateway
  }
  const source = await startGateway(['--allow-endpoint', 'models.example.com'])
  const added = await run(
    place,
    ['provider', 'add', '--type', 'generic', '--name', 'one', '--no-verify']
      .concat(['--credential', 'API_KEY=not-a-real-key-0001'])
      .concat(['--config', 'BASE_URL=https://models.example.com', '--config', 'PROTOCOL=openai']),
    environment,
  )
  assert.equal(added.code, 0, added.stderr)
  const copied = await run(place, ['store', 'export', '-'])
  assert.equal(copied.code, 0, copied.stderr)
  assert.match(copied.stderr, /stop them and export with --retire/)
  assert.equal(await source.stop(), 0)

  const exported = await run(place, ['store', 'export', '--retire', file])
  assert.equal(exported.code, 0, exported.stderr)
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.ok(!readFileSync(file, 'utf8').includes('not-a-real-key-0001'))
  const refused = await run(place, gatewayCommand)
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /was moved away at .*store reopen/s)

  const importTo = (...words: readonly string[]) =>
    run(place, ['store', 'import', '--state-dir', target, ...words])
  const keyless = await importTo(file)
  assert.match(keyless.stderr, /master\.key" \(ENOENT\)/)
  mkdirSync(target, { mode: 0o700 })
  for (const name of ['master.key', 'admin.token'])
    copyFileSync(path.join(place.folder, 'state', name), path.join(target, name))
  const cut = path.join(place.folder, 'cut.export')
  writeFileSync(cut, readFileSync(file).subarray(0, -9))
  assert.match((await importTo(cut)).stderr, /not whole/)
  assert.match((await importTo(path.join(place.folder, 'none'))).stderr, /Cannot use the file/)
  const imported = await importTo(file)
  assert.equal(imported.code, 0, imported.stderr)
  assert.match((await importTo(file)).stderr, /holds providers already/)

  await startGateway(['--state-dir', target])
  const listed = await run(place, ['provider', 'list', '-o', 'json'], environment)
  assert.equal(JSON.parse(listed.stdout).length, 1)
  const reopened = await run(place, ['store', 'reopen'])
  assert.match(reopened.stdout, /may start on the store again/)
  const again = await run(place, ['store', 'reopen'])
  assert.match(again.stdout, /was not marked/)
})
