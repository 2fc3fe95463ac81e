import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { runOpenShell } from '../../test/support/command-line.ts'
import { startScriptedGateway } from '../../test/support/scripted-gateway.ts'

/** The completion library writes by `console.log`. */
async function completed(
  t: TestContext,
  argv: readonly string[],
  endpoint = 'http://127.0.0.1:1',
): Promise<readonly string[]> {
  const log = t.mock.method(console, 'log', () => {})
  const { code, err } = await runOpenShell(argv, {
    env: { OPENSHELL_GATEWAY_ENDPOINT: endpoint },
  })
  log.mock.restore()
  assert.equal(code, 0, err)
  assert.equal(err, '')
  return log.mock.calls.map(call => String(call.arguments).split('\t')[0] ?? '')
}

test('every shell gets a script that asks openshell', async t => {
  for (const shell of ['bash', 'zsh', 'fish', 'powershell']) {
    const [script = ''] = await completed(t, ['completion', shell])
    assert.match(script, /openshell complete '?--/)
  }
})

test('commands and flags are completed without a gateway', async t => {
  assert.deepEqual(await completed(t, ['complete', '--', 'provider', 'refresh', '']), [
    'status',
    'configure',
    'rotate',
    'delete',
    ':4',
  ])
  const flags = await completed(t, ['complete', '--', 'inference', 'set', '--'])
  assert.ok(flags.includes('--model') && flags.includes('--workspace'))
  const groups = await completed(t, ['complete', '--', ''])
  assert.ok(groups.includes('provider') && !groups.includes('demo'))
})

test('names and types come from the gateway, and nothing comes without one', async t => {
  await using gateway = await startScriptedGateway({
    listProviders: () => ({ providers: [{ metadata: { name: 'my-vertex' } }] }),
    listProviderProfiles: () => ({ profiles: [{ id: 'google-vertex-ai' }] }),
  })
  const rows: readonly (readonly [words: readonly string[], value: string])[] = [
    [['provider', 'get', ''], 'my-vertex'],
    [['provider', 'refresh', 'rotate', 'my'], 'my-vertex'],
    [['inference', 'set', '--provider', ''], 'my-vertex'],
    [['provider', 'add', '--type', 'goo'], 'google-vertex-ai'],
  ]
  for (const [words, value] of rows) {
    const argv = ['complete', '--', ...words]
    assert.deepEqual(await completed(t, argv, gateway.origin), [value, ':4'])
    assert.deepEqual(await completed(t, argv), [':4'])
  }
})
