import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runOpenShell } from '../../test/support/command-line.ts'
import { startScriptedGateway } from '../../test/support/scripted-gateway.ts'
import { AppError } from '../core/errors.ts'

const HEALTHY = {
  health: () => ({ status: 1, version: '0.1.0' }),
  getCurrentUser: () => ({ subject: 'admin' }),
}

test('status says where, how and as whom', async () => {
  await using gateway = await startScriptedGateway(HEALTHY)
  const argv = ['status', '--gateway-endpoint', gateway.origin]
  const { host } = new URL(gateway.origin)
  const { code, out } = await runOpenShell(argv)
  assert.equal(code, 0)
  assert.equal(
    out,
    `Server Status

  Gateway: ${host}
  Server: ${gateway.origin}
  Status: connected (healthy)
  Authentication: authenticated as admin
  Version: 0.1.0
`,
  )
  assert.deepEqual(JSON.parse((await runOpenShell([...argv, '-o', 'json'])).out), {
    gateway: host,
    server: gateway.origin,
    status: 'connected',
    health: 'healthy',
    authentication: { status: 'authenticated', subject: 'admin' },
    version: '0.1.0',
    error: null,
  })
})

test('a caller who is not let in is told so, with exit code 4', async () => {
  await using gateway = await startScriptedGateway({
    ...HEALTHY,
    getCurrentUser: () => {
      throw new AppError('unauthenticated', 'No')
    },
  })
  const { code, out } = await runOpenShell(['status', '--gateway-endpoint', gateway.origin])
  assert.equal(code, 4)
  assert.match(out, / {2}Authentication: unauthenticated\n/)
})

test('a gateway that is away is an error for people, and an answer for programs', async () => {
  const argv = ['status', '--gateway-endpoint', 'http://127.0.0.1:1']
  const forPeople = await runOpenShell(argv)
  assert.equal(forPeople.code, 3)
  assert.equal(forPeople.out, '')
  const forPrograms = await runOpenShell([...argv, '-o', 'json'])
  assert.equal(forPrograms.code, 3)
  assert.equal(JSON.parse(forPrograms.out).status, 'disconnected')
  assert.equal(forPrograms.err, forPeople.err)
})
