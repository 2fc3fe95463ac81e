import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runOpenShell } from '../../test/support/command-line.ts'
import { type ScriptedGateway, startScriptedGateway } from '../../test/support/scripted-gateway.ts'
import { AppError } from '../core/errors.ts'

const route = {
  providerName: 'my-vertex',
  modelId: 'claude-3-7-sonnet',
  version: 2n,
  routeName: 'inference.local',
  workspace: 'default',
}
const systemRoute = { ...route, routeName: 'sandbox-system', timeoutSecs: 90n }

function run(gateway: ScriptedGateway, words: string) {
  const env = { OPENSHELL_GATEWAY_ENDPOINT: gateway.origin }
  return runOpenShell(['inference', ...words.split(' ')], { env })
}

test('set prints the route and where agents reach it', async () => {
  await using gateway = await startScriptedGateway({
    setInferenceRoute: () => ({
      ...route,
      validatedEndpoints: [{ url: 'https://h/v1', protocol: 'anthropic_messages' }],
    }),
  })
  const { code, out } = await run(gateway, 'set --provider my-vertex --model claude-3-7-sonnet')
  assert.equal(code, 0)
  assert.equal(
    out,
    `Inference configured:

  Workspace: default
  Route: inference.local
  Provider: my-vertex
  Model: claude-3-7-sonnet
  Version: 2
  Timeout: 60s (default)
  Validated Endpoints:
    - https://h/v1 (anthropic_messages)

Agents reach it at https://inference.local with any placeholder key:
  openshell sandbox run -- claude
`,
  )
  assert.deepEqual(gateway.calls[0]?.request, {
    providerName: 'my-vertex',
    modelId: 'claude-3-7-sonnet',
    routeName: 'inference.local',
    workspace: 'default',
  })
})

test('set takes the route of the sandbox, a time limit, and no verification', async () => {
  await using gateway = await startScriptedGateway({ setInferenceRoute: () => systemRoute })
  const { out } = await run(gateway, 'set --provider p --model m --system --timeout 90 --no-verify')
  assert.match(out, /^System inference configured:\n/)
  assert.match(out, / {2}Timeout: 90s\n$/)
  assert.deepEqual(gateway.calls[0]?.request, {
    providerName: 'p',
    modelId: 'm',
    routeName: 'sandbox-system',
    timeoutSecs: '90',
    noVerify: true,
    workspace: 'default',
  })
})

test('a wrong time limit is refused before anything is sent', async () => {
  await using gateway = await startScriptedGateway({ setInferenceRoute: () => route })
  for (const timeout of ['0', '3601', '1500ms', '1.5', 'soon']) {
    const { code, err } = await run(gateway, `set --provider p --model m --timeout ${timeout}`)
    assert.equal(code, 2, timeout)
    assert.match(err, /^error: --timeout takes /)
  }
  for (const timeout of ['1', '3600', '2m']) {
    assert.equal((await run(gateway, `set --provider p --model m --timeout ${timeout}`)).code, 0)
  }
  assert.equal(gateway.calls.length, 3)
})

test('update keeps what is not given', async () => {
  await using gateway = await startScriptedGateway({
    getInferenceRoute: () => ({ ...route, timeoutSecs: 30n }),
    setInferenceRoute: () => route,
  })
  assert.equal((await run(gateway, 'update --model gemini-2.5-flash')).code, 0)
  assert.deepEqual(gateway.calls[1]?.request, {
    providerName: 'my-vertex',
    modelId: 'gemini-2.5-flash',
    routeName: 'inference.local',
    timeoutSecs: '30',
    workspace: 'default',
  })
})

test('get shows what is set, and says when nothing is', async () => {
  await using gateway = await startScriptedGateway({ getInferenceRoute: () => systemRoute })
  assert.match((await run(gateway, 'get --system')).out, /^System inference:\n\n {2}Workspace: d/)
  assert.deepEqual(JSON.parse((await run(gateway, 'get --system -o json')).out), [
    {
      workspace: 'default',
      route: 'sandbox-system',
      provider: 'my-vertex',
      model: 'claude-3-7-sonnet',
      version: 2,
      timeout_seconds: 90,
    },
  ])
  gateway.script = {
    getInferenceRoute: () => {
      throw new AppError('not_found', 'No route')
    },
  }
  assert.deepEqual(await run(gateway, 'get'), { code: 0, out: 'Not configured\n', err: '' })
  assert.equal((await run(gateway, 'get -o json')).out, '[]\n')
  gateway.script = {
    getInferenceRoute: () => {
      throw new AppError('permission_denied', 'No')
    },
  }
  assert.equal((await run(gateway, 'get')).code, 4)
})

test('delete, or remove, says whether there was a route', async () => {
  await using gateway = await startScriptedGateway({
    deleteInferenceRoute: () => ({ deleted: true }),
  })
  assert.equal((await run(gateway, 'delete')).out, '✓ Inference route deleted.\n')
  gateway.script = { deleteInferenceRoute: () => ({}) }
  assert.equal((await run(gateway, 'remove')).out, 'Inference route was already deleted.\n')
})
