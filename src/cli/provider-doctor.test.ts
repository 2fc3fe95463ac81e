import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runOpenShell } from '../../test/support/command-line.ts'
import { startScriptedGateway } from '../../test/support/scripted-gateway.ts'

const SOUND = [
  { name: 'decode', outcome: 'ok', message: 'Type t, with K', elapsedMs: 1 },
  { name: 'resolve', outcome: 'ok', message: 'Reached API host h', elapsedMs: 7 },
  { name: 'mint', outcome: 'ok', message: 'Got a token for 60 min', elapsedMs: 80 },
  { name: 'probe', outcome: 'ok', message: 'GET https://h/models answered 200', elapsedMs: 90 },
]
const SICK = [
  ...SOUND.slice(0, 1),
  { name: 'resolve', outcome: 'warning', message: 'Slow', code: 'slow', advice: 'Wait' },
  {
    name: 'mint',
    outcome: 'failed',
    message: 'Refused\u001b[31m',
    code: 'bad_key',
    advice: 'Mend',
  },
  { name: 'probe', outcome: 'skipped', message: 'Needs what step "mint" did not bring' },
]

async function doctor(steps: readonly object[], flags = '') {
  await using gateway = await startScriptedGateway({
    checkProvider: () => ({ providerType: 't', steps }),
  })
  const argv = `provider doctor p ${flags}`.trim().split(' ')
  const env = { OPENSHELL_GATEWAY_ENDPOINT: gateway.origin }
  return { ...(await runOpenShell(argv, { env })), calls: gateway.calls }
}

test('a healthy provider is one line a step, and the exit code is 0', async () => {
  const { code, out, err } = await doctor(SOUND)
  assert.deepEqual([code, err], [0, ''])
  assert.equal(
    out,
    '✓ decode   Type t, with K\n' +
      '✓ resolve  Reached API host h\n' +
      '✓ mint     Got a token for 60 min\n' +
      '✓ probe    GET https://h/models answered 200\n',
  )
})

test('what fails stands with its code and what to do, and the exit code is 1', async () => {
  const { code, out } = await doctor(SICK)
  assert.equal(code, 1)
  assert.equal(
    out,
    '✓ decode   Type t, with K\n' +
      '! resolve  Slow (slow)\n           → Wait\n' +
      '✗ mint     Refused [31m (bad_key)\n           → Mend\n' +
      '- probe    Needs what step "mint" did not bring\n',
  )
})

test('a warning alone is no failure', async () => {
  assert.equal((await doctor(SICK.slice(0, 2))).code, 0)
})

test('programs read the same as JSON, also when a step failed', async () => {
  const { code, out, calls } = await doctor(SICK, '-o json --model m')
  assert.equal(code, 1)
  const { provider, type, healthy, steps } = JSON.parse(out)
  assert.deepEqual([provider, type, healthy], ['p', 't', false])
  assert.deepEqual(steps[1], {
    name: 'resolve',
    outcome: 'warning',
    message: 'Slow',
    advice: 'Wait',
    code: 'slow',
    elapsed_ms: 0,
  })
  assert.deepEqual(calls[0]?.request, { provider: 'p', workspace: 'default', modelId: 'm' })
})
