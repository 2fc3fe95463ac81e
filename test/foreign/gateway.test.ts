// Goal: our command line works with a gateway that someone else wrote, which knows none of our own fields.
// Method: OpenShell's answers as bytes made by hand, from the table of field numbers alone.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runOpenShell } from '../support/command-line.ts'
import { integer, map, message, nested, text } from './fields.ts'
import { startForeignGateway } from './gateway.ts'

const NOT_FOUND = 5
const PERMISSION_DENIED = 7
const UNIMPLEMENTED = 12

const MINTED_AT = Date.UTC(2099, 10, 24, 12, 0, 0)

const PROVIDER = message(
  nested(1, message(text(1, 'p-1'), text(2, 'my-openai'), integer(5, 3), text(7, 'default'))),
  text(2, 'openai'),
  map(3, { OPENAI_API_KEY: 'REDACTED' }),
  map(4, { OPENAI_BASE_URL: 'https://api.openai.com/v1' }),
)

const REFRESH = message(
  ...[text(1, 'my-vertex'), text(2, 'p-2'), text(3, 'VERTEX_AI_TOKEN'), integer(4, 5)],
  ...[text(5, 'refreshed'), integer(6, MINTED_AT + 3_600_000), integer(7, MINTED_AT + 3_300_000)],
  integer(8, MINTED_AT),
)

const ROUTE = message(
  ...[text(1, 'my-openai'), text(2, 'gpt-5.5'), integer(3, 4), text(4, 'inference.local')],
)

const ANSWERS = {
  'v1.OpenShell/Health': message(integer(1, 1), text(2, '0.0.111')),
  'v1.OpenShell/GetCurrentUser': message(
    ...[
      text(1, 'unauthenticated-local-dev'),
      text(3, 'openshell-user'),
      text(3, 'openshell-admin'),
    ],
    ...[text(4, 'openshell:all'), text(5, 'local_dev')],
  ),
  'v1.OpenShell/ListProviders': message(nested(1, PROVIDER)),
  'v1.OpenShell/GetProvider': message(nested(1, PROVIDER)),
  'v1.OpenShell/CreateProvider': message(nested(1, PROVIDER)),
  'v1.OpenShell/UpdateProvider': message(nested(1, PROVIDER)),
  'v1.OpenShell/DeleteProvider': message(integer(1, 1)),
  'v1.OpenShell/GetProviderRefreshStatus': message(nested(1, REFRESH)),
  'v1.OpenShell/GetGatewayConfig': message(
    nested(1, message(text(1, 'ocsf_json_enabled'), nested(2, message(integer(2, 1))))),
    nested(1, message(text(1, 'providers_v2_enabled'), nested(2, message()))),
    integer(2, 9),
  ),
  'v1.OpenShell/UpdateConfig': message(integer(3, 10)),
  'v1.OpenShell/ListSandboxProviders': message(nested(1, PROVIDER)),
  'v1.OpenShell/GetSandbox': message(
    nested(1, message(nested(1, message(text(1, 's-1'), text(2, 'box'), integer(5, 4))))),
  ),
  'v1.OpenShell/AttachSandboxProvider': message(integer(2, 1)),
  'v1.OpenShell/ListWorkspaces': message(nested(1, message(nested(1, text(2, 'default'))))),
  'inference.v1.Inference/GetInferenceRoute': message(ROUTE, text(6, 'default')),
  'inference.v1.Inference/SetInferenceRoute': message(ROUTE, text(8, 'default')),
  'inference.v1.Inference/DeleteInferenceRoute': message(integer(1, 1)),
}

type Answers = Parameters<typeof startForeignGateway>[0]

async function run(answers: Answers, ...argv: readonly string[]) {
  await using gateway = await startForeignGateway(answers)
  const result = await runOpenShell([...argv, '--gateway-endpoint', gateway.origin])
  return { ...result, calls: gateway.calls }
}

test('each command prints what a foreign gateway said', async t => {
  const rows: readonly (readonly [argv: string, out: RegExp])[] = [
    ['status', /Version: 0\.0\.111/],
    ['whoami', /Subject: unauthenticated-local-dev/],
    ['provider list', /^NAME +TYPE[^\n]*\nmy-openai +openai +1 +1\n$/],
    ['provider get my-openai', /Resource version: 3/],
    ['provider refresh status', /my-vertex[^\n]*/],
    ['provider update my-openai --config A=b', /Updated provider my-openai/],
    ['provider delete my-openai', /Deleted provider my-openai/],
    ['inference get', /Model: gpt-5\.5\n {2}Version: 4\n {2}Timeout: 60s \(default\)/],
    ['inference set --provider my-openai --model gpt-5.5', /Inference configured:/],
    ['inference delete', /Inference route deleted/],
    ['settings get --global', /ocsf_json_enabled +true\nproviders_v2_enabled +<unset>/],
    ['settings set --global --key ocsf_json_enabled --value true', /Set ocsf_json_enabled = true/],
    ['sandbox provider list box', /my-openai +openai/],
    ['sandbox provider attach box my-openai', /Attached provider my-openai to box/],
    ['workspace list', /^NAME +LABELS +CREATED\ndefault/],
  ]
  for (const [argv, out] of rows) {
    await t.test(argv, async () => {
      const result = await run(ANSWERS, ...argv.split(' '))
      assert.equal(result.err, '')
      assert.equal(result.code, 0)
      assert.match(result.out, out)
    })
  }
})

test('a refusal without our trailers is said in the words that came', async () => {
  const missing = { code: NOT_FOUND, details: 'provider not found' }
  const gone = await run({ 'v1.OpenShell/GetProvider': missing }, 'provider', 'get', 'x')
  assert.deepEqual([gone.code, gone.err.split('\n')[0]], [1, 'error: provider not found'])
  const denied = { code: PERMISSION_DENIED, details: 'admins only' }
  const refused = await run({ 'v1.OpenShell/ListProviders': denied }, 'provider', 'list')
  assert.equal(refused.code, 4)
  const none = await run(
    { 'inference.v1.Inference/GetInferenceRoute': missing },
    ...['inference', 'get'],
  )
  assert.deepEqual([none.code, none.out], [0, 'Not configured\n'])
  const absent = { code: UNIMPLEMENTED, details: '' }
  const older = await run({ 'v1.OpenShell/GetCurrentUser': absent }, 'whoami')
  assert.equal(older.code, 1)
})
