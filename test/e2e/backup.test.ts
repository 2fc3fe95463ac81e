// Goal: a backup that was taken while the gateway ran is whole; after an old one is restored, a vendor that
// rotates refresh tokens strictly wants a person, and every other provider goes on by itself.
// Method: a real gateway before an authorization server that revokes the family of a token that it sees
// again; the copy is SQLite's own, as the page for operators says.
import assert from 'node:assert/strict'
import { copyFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, test } from 'node:test'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { startTestGateway, type TestGateway, until } from '../support/gateway.ts'
import { oauthProvider, statusOf } from '../support/oauth-provider.ts'

const { method } = OpenShell
const TOKEN_LIFETIME_MS = 2_000

let world: TestGateway
before(async () => {
  world = await startTestGateway({ tokenLifetimeMs: TOKEN_LIFETIME_MS })
})
after(() => world[Symbol.asyncDispose]())

const generationOf = async (name: string) => (await statusOf(world, name)).generation

test('an old backup is restored', { timeout: 60_000 }, async () => {
  for (const name of ['strict', 'unspent']) {
    const provider = oauthProvider(world.lab, name, {
      method: 'post',
      refreshes: name === 'strict',
    })
    await world.call(method.createProvider, { provider })
  }
  const database = path.join(world.folder, 'gateway.db')
  const backup = path.join(world.folder, 'backup.db')
  const connection = new DatabaseSync(database)
  connection.exec(`vacuum into '${backup}'`)
  connection.close()
  const atBackup = await generationOf('strict')
  await until(async () => (await generationOf('strict')) > atBackup + 1n, 'two turnovers')
  await world.restart(() => {
    for (const suffix of ['-wal', '-shm']) rmSync(`${database}${suffix}`, { force: true })
    copyFileSync(backup, database)
  })
  await until(async () => (await statusOf(world, 'strict')).state === 'failed', 'the refusal')
  const { failureClass, advice } = await statusOf(world, 'strict')
  assert.equal(failureClass, 'P')
  assert.match(advice, /Sign in again/)
  const restored = await generationOf('unspent')
  await until(async () => (await generationOf('unspent')) > restored, 'a turnover after it')
  assert.equal((await statusOf(world, 'unspent')).state, 'valid')
})
