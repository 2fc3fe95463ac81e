// Goal: a gateway that starts before a database which others have sealed says what is missing, and leaves
// no key of its own in the way. Method: the real program's start, twice, on a file.
import assert from 'node:assert/strict'
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { AppError } from '../core/errors.ts'
import { type GatewayOptions, runGateway } from './main.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'gateway-main-'))

/** Starts a gateway on the shared file, and stops it as soon as it is ready. */
async function startAndStop(stateDir: string): Promise<number> {
  const stop = new AbortController()
  const options: GatewayOptions = {
    ...{ listen: '127.0.0.1:0', store: `sqlite:${path.join(folder, 'shared.db')}`, stateDir },
    ...{ masterKeyFile: null, masterKey: null, adminTokenFile: null, auditLog: null },
    ...{ refreshIntervalMs: 600_000, allowEndpoints: [], subjectTokenDirs: [], mayExecute: false },
    ...{ isAuthRequired: true, logFormat: 'json', logLevel: 'error', tracing: null },
    ...{ version: 'test', onReady: () => stop.abort() },
  }
  return runGateway(options, stop.signal)
}

test('a new state folder before a sealed database says whose key is missing, and keeps none of its own', async t => {
  t.after(() => rmSync(folder, { recursive: true }))
  const [first, second] = [path.join(folder, 'first'), path.join(folder, 'second')]
  assert.equal(await startAndStop(first), 0)
  for (const attempt of ['first', 'second']) {
    await assert.rejects(startAndStop(second), (error: unknown) => {
      assert.ok(error instanceof AppError && error.code === 'wrong_master_key', attempt)
      assert.match(error.message, /second" is new and holds no key/)
      assert.match(error.hint, /master\.key and admin\.token.*--master-key-file/)
      return true
    })
    assert.equal(existsSync(path.join(second, 'master.key')), false)
  }
  copyFileSync(path.join(first, 'master.key'), path.join(second, 'master.key'))
  assert.equal(await startAndStop(second), 0)
})
