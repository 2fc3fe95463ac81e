// Goal: settings, attachments and one's own name are reached where people of OpenShell look for them.
// Method: a gateway that is told its answers; the calls that it got are compared.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runOpenShell } from '../../test/support/command-line.ts'
import { type Script, startScriptedGateway } from '../../test/support/scripted-gateway.ts'

async function run(script: Script, ...argv: readonly string[]) {
  await using gateway = await startScriptedGateway(script)
  const result = await runOpenShell([...argv, '--gateway-endpoint', gateway.origin])
  return { ...result, calls: gateway.calls.map(({ method, request }) => [method, request]) }
}

test('settings are listed, set or not', async () => {
  const getGatewayConfig = () => ({
    settings: {
      proposal_approval_mode: { value: { case: 'stringValue', value: 'auto' } },
      ocsf_json_enabled: { value: { case: 'boolValue', value: true } },
      providers_v2_enabled: {},
    },
    settingsRevision: 7n,
  })
  const { out } = await run({ getGatewayConfig }, 'settings', 'get', '--global')
  assert.equal(
    out,
    [
      'KEY                     VALUE',
      'ocsf_json_enabled       true',
      'proposal_approval_mode  auto',
      'providers_v2_enabled    <unset>\n',
    ].join('\n'),
  )
  const json = await run({ getGatewayConfig }, 'settings', 'get', '-o', 'json')
  assert.deepEqual(JSON.parse(json.out), {
    settings: {
      ocsf_json_enabled: true,
      proposal_approval_mode: 'auto',
      providers_v2_enabled: null,
    },
    settings_revision: 7,
  })
})

test('a setting is set and deleted, for all or for one sandbox', async () => {
  const key = ['--key', 'ocsf_json_enabled']
  const updateConfig = () => ({ deleted: true })
  const all = await run({ updateConfig }, 'settings', 'set', '--global', ...key, '--value', 'true')
  assert.equal(all.out, '✓ Set ocsf_json_enabled = true\n')
  const settingKey = 'ocsf_json_enabled'
  assert.deepEqual(all.calls, [
    [
      'UpdateConfig',
      { global: true, settingKey, settingValue: { boolValue: true }, workspace: 'default' },
    ],
  ])
  const one = await run({ updateConfig }, 'settings', 'set', 'ci', ...key, '--value', 'word')
  assert.deepEqual(one.calls, [
    [
      'UpdateConfig',
      { name: 'ci', settingKey, settingValue: { stringValue: 'word' }, workspace: 'default' },
    ],
  ])
  const removed = await run({ updateConfig }, 'settings', 'delete', '--global', ...key)
  assert.equal(removed.out, '✓ Deleted ocsf_json_enabled\n')
  const absent = await run({ updateConfig: () => ({}) }, 'settings', 'delete', 'ci', ...key)
  assert.equal(absent.out, 'Setting ocsf_json_enabled was not set.\n')
  const wrong = await run({}, 'settings', 'set', 'ci', '--global')
  assert.equal(wrong.code, 2)
  assert.match(wrong.err, /either --global or a sandbox; --key is required; --value is required/)
})

test('a provider is attached to the sandbox as it is now', async () => {
  const getSandbox = () => ({ sandbox: { metadata: { resourceVersion: 4n } } })
  const words = ['sandbox', 'provider', 'attach', 'ci', 'vx']
  const script = { getSandbox, attachSandboxProvider: () => ({ attached: true }) }
  const { out, calls } = await run(script, ...words)
  assert.equal(out, '✓ Attached provider vx to ci\n')
  assert.deepEqual(calls, [
    ['GetSandbox', { name: 'ci', workspace: 'default' }],
    [
      'AttachSandboxProvider',
      {
        ...{ sandboxName: 'ci', providerName: 'vx', workspace: 'default' },
        expectedResourceVersion: '4',
      },
    ],
  ])
  const again = await run({ getSandbox, attachSandboxProvider: () => ({}) }, ...words)
  assert.deepEqual([again.code, again.out], [0, 'Provider vx is attached to ci already.\n'])
})

test('providers of a sandbox are listed and detached', async () => {
  const getSandbox = () => ({ sandbox: {} })
  const providers = [{ metadata: { name: 'vx' }, type: 'google-vertex-ai' }]
  const list = ['sandbox', 'provider', 'list', 'ci']
  const listed = await run({ listSandboxProviders: () => ({ providers }) }, ...list)
  assert.equal(listed.out, 'NAME  TYPE\nvx    google-vertex-ai\n')
  const none = await run({ listSandboxProviders: () => ({}) }, ...list)
  assert.equal(none.out, 'No providers attached.\n')
  const words = ['sandbox', 'provider', 'detach', 'ci', 'vx']
  const gone = await run(
    { getSandbox, detachSandboxProvider: () => ({ detached: true }) },
    ...words,
  )
  assert.equal(gone.out, '✓ Detached provider vx from ci\n')
  const absent = await run({ getSandbox, detachSandboxProvider: () => ({}) }, ...words)
  assert.equal(absent.out, 'Provider vx is not attached to ci.\n')
})

test('whoami says who, with which roles, and who vouches', async () => {
  const getCurrentUser = () => ({
    ...{ subject: 'unauthenticated-local-dev', roles: ['openshell-user', 'openshell-admin'] },
    ...{ scopes: ['openshell:all'], identityProvider: 'local_dev' },
  })
  const { out } = await run({ getCurrentUser }, 'whoami')
  assert.match(
    out,
    /Subject: unauthenticated-local-dev\n {2}Roles: openshell-user, openshell-admin/,
  )
  const json = JSON.parse((await run({ getCurrentUser }, 'whoami', '-o', 'json')).out)
  assert.equal(json.identity_provider, 'local_dev')
})
