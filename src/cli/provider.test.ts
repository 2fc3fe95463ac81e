import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { parse } from 'yaml'
import { type CommandWorld, NOW_MS, runOpenShell } from '../../test/support/command-line.ts'
import { type ScriptedGateway, startScriptedGateway } from '../../test/support/scripted-gateway.ts'
import { AppError } from '../core/errors.ts'

const SECRET = 'do-not-print-me-9f3'
const folder = mkdtempSync(path.join(tmpdir(), 'openshell-cli-'))
const CREATED_AT_MS = BigInt(Date.UTC(2026, 0, 2, 3, 4, 5))

after(() => rmSync(folder, { recursive: true }))

const vertex = {
  metadata: { id: 'p-1', name: 'my-vertex', workspace: 'default', createdAtMs: CREATED_AT_MS },
  type: 'google-vertex-ai',
  credentials: { GOOGLE_SERVICE_ACCOUNT_JSON: 'REDACTED', EXTRA: 'REDACTED' },
  config: { VERTEX_BASE_URL: 'https://us-east1-aiplatform.googleapis.com' },
}
const openai = {
  metadata: { id: 'p-2', name: 'o', workspace: 'default', resourceVersion: 3n },
  type: 'openai',
  credentials: {},
}

function run(
  gateway: ScriptedGateway,
  words: string | readonly string[],
  world: CommandWorld = {},
) {
  const argv = typeof words === 'string' ? words.split(' ') : words
  const env = { OPENSHELL_GATEWAY_ENDPOINT: gateway.origin, ...world.env }
  return runOpenShell(argv, { ...world, env })
}

test('add sends what was given, and says how long the token lives', async () => {
  await using gateway = await startScriptedGateway({
    createProvider: () => ({
      provider: vertex,
      mint: { credentialKey: 'T', expiresAtMs: BigInt(NOW_MS + 3_540_000) },
    }),
  })
  const file = path.join(folder, 'key.json')
  writeFileSync(file, `{"k":"${SECRET}"}\n`)
  const { code, out, err } = await run(
    gateway,
    [
      ...['provider', 'add', '--type', 'vertex', '--name', 'my-vertex', '--no-verify'],
      ...['--credential', `A=@x=${SECRET}`, '--credential', 'B', '--credential-file', `C=${file}`],
      ...['--config', 'URL=https://h/?a=b'],
    ],
    { env: { B: `${SECRET}-b` } },
  )
  assert.equal(code, 0, err)
  assert.equal(
    out,
    '✓ Created provider my-vertex (google-vertex-ai)\n  token valid until 14:04:00 (in 59 min)\n',
  )
  assert.equal(err, '')
  assert.deepEqual(gateway.calls[0]?.request, {
    workspace: 'default',
    noVerify: true,
    needsCredential: true,
    provider: {
      metadata: { name: 'my-vertex', workspace: 'default' },
      type: 'vertex',
      credentials: { A: `@x=${SECRET}`, B: `${SECRET}-b`, C: `{"k":"${SECRET}"}` },
      config: { URL: 'https://h/?a=b' },
    },
  })
})

test('create is another word for add, and a warning goes to standard error', async () => {
  await using gateway = await startScriptedGateway({
    createProvider: () => ({ provider: vertex, mint: { warning: 'Google said\n503' } }),
  })
  const result = await run(gateway, 'provider create --type vertex --name my-vertex')
  assert.deepEqual(result, {
    code: 0,
    out: '✓ Created provider my-vertex (google-vertex-ai)\n',
    err: 'warning: Google said 503\n',
  })
})

test('a credential that cannot be read stores nothing', async () => {
  await using gateway = await startScriptedGateway({ createProvider: () => ({}) })
  const empty = path.join(folder, 'empty')
  const large = path.join(folder, 'large')
  const whole = path.join(folder, 'whole')
  writeFileSync(empty, '')
  writeFileSync(large, 'x'.repeat(65_537))
  writeFileSync(whole, 'x'.repeat(65_536))
  const rows: readonly (readonly [flags: readonly string[], problem: RegExp])[] = [
    [['--credential', 'UNSET_KEY'], /--credential UNSET_KEY reads the environment, where it is/],
    [['--credential', 'EMPTY_KEY'], /--credential EMPTY_KEY reads the environment, where it is/],
    [['--credential', 'K='], /--credential gives K no value/],
    [['--credential', '=v'], /--credential takes KEY=VALUE/],
    [['--credential', 'K=1', '--credential', 'K=2'], /--credential gives K twice/],
    [['--credential', 'K=1', '--credential-file', `K=${whole}`], /--credential-file gives K twice/],
    [['--credential-file', 'K'], /--credential-file takes KEY=PATH/],
    [['--credential-file', 'K='], /--credential-file takes KEY=PATH/],
    [['--credential-file', 'K=/nonexistent/f'], /cannot read "\/nonexistent\/f" \(ENOENT\)/],
    [['--credential-file', `K=${folder}`], /cannot read .* \(EISDIR\)/],
    [['--credential-file', `K=${empty}`], /is empty/],
    [['--credential-file', `K=${large}`], /is larger than 65536 bytes/],
    [['--config', 'K='], /--config gives K no value/],
    [['--config', 'K=1', '--config', 'K=1'], /--config gives K twice/],
  ]
  for (const [flags, problem] of rows) {
    const argv = ['provider', 'add', '--name', 'n', '--type', 't', ...flags]
    const { code, err } = await run(gateway, argv, { env: { EMPTY_KEY: '' } })
    assert.equal(code, 2, flags.join(' '))
    assert.match(err, problem)
    assert.equal(err.split('\n').length, 2)
  }
  assert.equal(gateway.calls.length, 0)
})

test('a refusal of the vendor is said with what to do', async () => {
  await using gateway = await startScriptedGateway({
    createProvider: () => {
      throw new AppError('mint_refused', 'Google refused the key', { hint: 'Make a new key' })
    },
  })
  const argv = ['provider', 'add', '--name', 'n', '--type', 't', '--credential', `K=${SECRET}`]
  assert.deepEqual(await run(gateway, argv), {
    code: 1,
    out: '',
    err: 'error: Google refused the key\nhint: Make a new key\n',
  })
})

test('list counts keys, in a table as wide as its names', async () => {
  await using gateway = await startScriptedGateway({
    listProviders: () => ({ providers: [vertex, openai] }),
  })
  const { out } = await run(gateway, 'provider list')
  assert.equal(
    out,
    'NAME       TYPE              CREDENTIAL_KEYS  CONFIG_KEYS\n' +
      'my-vertex  google-vertex-ai  2                1\n' +
      'o          openai            0                0\n',
  )
})

test('list writes the same providers as JSON and as YAML', async () => {
  await using gateway = await startScriptedGateway({
    listProviders: () => ({ providers: [vertex, openai] }),
  })
  const expected = [
    {
      id: 'p-1',
      name: 'my-vertex',
      workspace: 'default',
      type: 'google-vertex-ai',
      credential_keys: ['EXTRA', 'GOOGLE_SERVICE_ACCOUNT_JSON'],
      config_keys: ['VERTEX_BASE_URL'],
      resource_version: 0,
      created_at: '2026-01-02 03:04:05',
    },
    {
      id: 'p-2',
      name: 'o',
      workspace: 'default',
      type: 'openai',
      credential_keys: [],
      resource_version: 3,
    },
  ]
  assert.deepEqual(JSON.parse((await run(gateway, 'provider list -o json')).out), expected)
  assert.deepEqual(parse((await run(gateway, 'provider list -o yaml')).out), expected)
})

test('an empty list is said in words, and is [] for programs', async () => {
  await using gateway = await startScriptedGateway({ listProviders: () => ({}) })
  assert.equal((await run(gateway, 'provider list')).out, 'No providers found.\n')
  assert.equal((await run(gateway, 'provider list -o json')).out, '[]\n')
})

test('a long list is fetched page by page', async () => {
  await using gateway = await startScriptedGateway()
  const pages = [Array(200).fill(openai), Array(200).fill(openai), [vertex]]
  gateway.script = { listProviders: () => ({ providers: pages.shift() ?? [] }) }
  const { out } = await run(gateway, 'provider list -o json')
  assert.equal(JSON.parse(out).length, 401)
  assert.equal(gateway.calls.length, 3)
})

test('get shows names of keys, never their values', async () => {
  await using gateway = await startScriptedGateway({ getProvider: () => ({ provider: vertex }) })
  const { out } = await run(gateway, 'provider get my-vertex')
  assert.match(out, /^Provider:\n\n {2}Id: p-1\n {2}Name: my-vertex\n {2}Type: google-vertex-ai\n/)
  assert.match(out, / {2}Credential keys: EXTRA, GOOGLE_SERVICE_ACCOUNT_JSON\n/)
  const { config } = JSON.parse((await run(gateway, 'provider get my-vertex -o json')).out)
  assert.deepEqual(config, vertex.config)
})

test('update sends only what changes, and KEY= takes a key away', async () => {
  await using gateway = await startScriptedGateway({ updateProvider: () => ({ provider: vertex }) })
  const result = await run(gateway, 'provider update my-vertex --credential A= --config B=2')
  assert.deepEqual(result, { code: 0, out: '✓ Updated provider my-vertex\n', err: '' })
  assert.deepEqual(gateway.calls[0]?.request, {
    workspace: 'default',
    provider: {
      metadata: { name: 'my-vertex', workspace: 'default' },
      credentials: { A: '' },
      config: { B: '2' },
    },
  })
  assert.equal((await run(gateway, 'provider update my-vertex')).code, 2)
})

test('update says which key serves: the new one, or after a refusal the old one', async () => {
  const mint = { credentialKey: 'T', expiresAtMs: BigInt(NOW_MS + 3_540_000) }
  await using gateway = await startScriptedGateway()
  const argv = `provider update my-vertex --credential K=${SECRET}`
  const update = (script: () => object) => {
    gateway.script = { updateProvider: script }
    return run(gateway, argv)
  }
  const rows: readonly (readonly [answer: object, lines: string])[] = [
    [
      { mint },
      '  the new key serves; it was tried first\n  token valid until 14:04:00 (in 59 min)\n',
    ],
    [{ mint: { credentialKey: '' } }, '  the new key serves\n'],
    [
      { mint: { ...mint, warning: 'The old token serves on' } },
      '  token valid until 14:04:00 (in 59 min)\n',
    ],
  ]
  for (const [answer, lines] of rows) {
    const { out } = await update(() => ({ provider: vertex, ...answer }))
    assert.equal(out, `✓ Updated provider my-vertex\n${lines}`)
  }
  const refused = await update(() => {
    throw new AppError('mint_refused', 'Google refused the key', { hint: 'Make a new key' })
  })
  assert.deepEqual(refused, {
    code: 1,
    out: '',
    err:
      'error: Google refused the key\n' +
      'hint: Make a new key. Nothing was changed: "my-vertex" goes on with its old key and configuration\n',
  })
  const lost = await update(() => {
    throw new AppError('store_unavailable', 'Cannot write')
  })
  assert.equal(lost.err, 'error: Cannot write\n', 'nobody knows what was changed')
})

test('delete goes through all names and ends with 1 when one was not there', async () => {
  await using gateway = await startScriptedGateway()
  gateway.script = { deleteProvider: () => ({ deleted: gateway.calls.length !== 2 }) }
  assert.deepEqual(await run(gateway, 'provider delete a b c'), {
    code: 1,
    out: '✓ Deleted provider a\n✓ Deleted provider c\n',
    err: '! Provider b not found\n',
  })
})

test('list-profiles says what each type takes', async () => {
  const profile = {
    id: 'google-vertex-ai',
    aliases: ['vertex', 'gcp-vertex'],
    description: 'Models on Google Cloud',
    credentials: [
      { name: 'KEY_JSON', envVars: ['KEY_JSON', 'OLD_KEY'], description: 'A key file' },
      { name: 'ADC', envVars: ['ADC'], required: true, description: 'Any ADC file' },
    ],
    config: [{ name: 'VERTEX_BASE_URL', description: 'Base URL' }],
    example: 'openshell provider add\n  --type vertex',
  }
  await using gateway = await startScriptedGateway({
    listProviderProfiles: () => ({ profiles: [profile, { id: 'bare' }] }),
    getProviderProfile: () => ({ profile }),
  })
  const block =
    'google-vertex-ai (vertex, gcp-vertex): Models on Google Cloud\n' +
    '  credentials\n' +
    '    KEY_JSON (= OLD_KEY)  A key file\n' +
    '    ADC*                  Any ADC file\n' +
    '  config\n' +
    '    VERTEX_BASE_URL  Base URL\n' +
    '  example\n' +
    '    openshell provider add\n' +
    '      --type vertex\n'
  const { out } = await run(gateway, 'provider list-profiles')
  assert.equal(out, `${block}\nbare: \n\n* required\n`)
  const [first, second] = JSON.parse((await run(gateway, 'provider list-profiles -o json')).out)
  assert.deepEqual(first.aliases, ['vertex', 'gcp-vertex'])
  assert.deepEqual(first.credentials[0].env_vars, ['KEY_JSON', 'OLD_KEY'])
  assert.equal(second.id, 'bare')
  assert.equal((await run(gateway, 'provider list-profiles vertex')).out, `${block}\n* required\n`)
  assert.deepEqual(gateway.calls.at(-1)?.request, { id: 'vertex', workspace: 'default' })
  const yaml = parse((await run(gateway, 'provider list-profiles vertex -o yaml')).out)
  assert.deepEqual(yaml, [first])
})
