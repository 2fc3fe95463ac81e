// Goal: what the user already has is found, named, and nothing else is sent.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { runOpenShell } from '../../test/support/command-line.ts'
import { startScriptedGateway } from '../../test/support/scripted-gateway.ts'

const SECRET = 'do-not-print-me-9f3'
const folder = mkdtempSync(path.join(tmpdir(), 'openshell-sources-'))
after(() => rmSync(folder, { recursive: true }))

const PROFILES = [
  {
    id: 'acme',
    aliases: ['a'],
    credentials: [{ name: 'ACME_KEY', envVars: ['ACME_KEY', 'OLD_ACME_KEY'] }],
    config: [{ name: 'ACME_URL' }],
  },
  {
    id: 'zeta',
    credentials: [
      { name: 'ZETA_KEY', envVars: ['ZETA_KEY'] },
      { name: 'ZETA_PEM', envVars: ['ZETA_PEM'] },
    ],
  },
]

async function add(flags: string, env: Readonly<Record<string, string>>) {
  await using gateway = await startScriptedGateway({
    listProviderProfiles: () => ({ profiles: PROFILES }),
    createProvider: () => ({ provider: { metadata: { name: 'n' }, type: 'acme' } }),
  })
  const argv = `provider add --name n ${flags}`.split(' ')
  const world = { env: { OPENSHELL_GATEWAY_ENDPOINT: gateway.origin, HOME: folder, ...env } }
  const result = await runOpenShell(argv, world)
  assert.ok(!`${result.out}${result.err}`.includes(SECRET))
  const created = gateway.calls.find(call => call.method === 'CreateProvider')
  return { ...result, request: created?.request }
}

test('keys and settings in the environment are sent under the type’s own names', async () => {
  for (const flag of ['--from-env', '--from-existing']) {
    const { code, err, request } = await add(`${flag} --type A --config ACME_URL=https://mine`, {
      OLD_ACME_KEY: SECRET,
      ACME_URL: 'https://env',
      ZETA_KEY: SECRET,
    })
    assert.equal(code, 0, err)
    assert.equal(err, 'using OLD_ACME_KEY, ACME_URL from the environment\n')
    assert.deepEqual(request, {
      workspace: 'default',
      needsCredential: true,
      provider: {
        metadata: { name: 'n', workspace: 'default' },
        type: 'acme',
        credentials: { ACME_KEY: SECRET },
        config: { ACME_URL: 'https://mine' },
      },
    })
  }
})

test('without a type the one that fits is taken, and all of its keys', async () => {
  const { err, request } = await add('--from-env', { ZETA_PEM: SECRET, ZETA_KEY: SECRET })
  assert.equal(err, 'using ZETA_KEY, ZETA_PEM from the environment\n')
  assert.match(JSON.stringify(request), /"type":"zeta"/)
})

test('none, several and an unknown type store nothing', async () => {
  const rows: readonly (readonly [flags: string, env: Record<string, string>, says: RegExp])[] = [
    ['--from-env', { ACME_URL: 'x', ACME_KEY: '' }, /holds no credential of any provider type/],
    ['--from-env --type acme', { ZETA_KEY: 'x' }, /holds none of ACME_KEY, OLD_ACME_KEY\nhint/],
    [
      '--from-env',
      { ACME_KEY: 'x', ZETA_PEM: 'y' },
      /fits several types: acme \(ACME_KEY\); zeta \(ZETA_PEM\)\nhint: Choose one with --type/,
    ],
    ['--from-env --type other', { ACME_KEY: 'x' }, /Unknown provider type "other"/],
    ['--from-env --credential K=v', {}, /--from-env and --credential exclude each other/],
    ['--from-gcloud-adc --credential-file K=v', {}, /exclude each other/],
    ['--from-gcloud-adc --from-existing', {}, /--from-env and --from-gcloud-adc exclude/],
    ['--credential K=v', {}, /--type is required/],
  ]
  for (const [flags, env, says] of rows) {
    const { code, err, request } = await add(flags, env)
    assert.equal(code, 2, flags)
    assert.match(err, says)
    assert.equal(request, undefined)
  }
})

const ADC = JSON.stringify({
  type: 'authorized_user',
  refresh_token: SECRET,
  quota_project_id: 'quota-project',
})

test('gcloud’s credentials are found where Google’s own libraries look, best place first', async () => {
  const home = path.join(folder, '.config', 'gcloud')
  const moved = path.join(folder, 'moved')
  const named = path.join(folder, 'named.json')
  const file = 'application_default_credentials.json'
  const places: readonly (readonly [where: string, env: Record<string, string>])[] = [
    [path.join(home, file), {}],
    [path.join(moved, file), { CLOUDSDK_CONFIG: moved }],
    [named, { CLOUDSDK_CONFIG: moved, GOOGLE_APPLICATION_CREDENTIALS: named }],
  ]
  mkdirSync(home, { recursive: true })
  mkdirSync(moved)
  for (const [where, env] of places) {
    writeFileSync(where, ADC)
    const { code, err, request } = await add('--from-gcloud-adc', env)
    assert.equal(code, 0, err)
    assert.equal(
      err,
      `using ${where} (authorized_user) as GOOGLE_APPLICATION_CREDENTIALS_JSON\n` +
        'VERTEX_AI_PROJECT_ID=quota-project (from quota_project_id)\n',
    )
    assert.deepEqual(request, {
      workspace: 'default',
      needsCredential: true,
      provider: {
        metadata: { name: 'n', workspace: 'default' },
        type: 'google-vertex-ai',
        credentials: { GOOGLE_APPLICATION_CREDENTIALS_JSON: ADC },
        config: { VERTEX_AI_PROJECT_ID: 'quota-project' },
      },
    })
  }
})

test('project and region come from the variables of other programs, and a flag wins', async () => {
  const file = path.join(folder, 'hints.json')
  writeFileSync(file, ADC)
  const hints = {
    GOOGLE_APPLICATION_CREDENTIALS: file,
    ANTHROPIC_VERTEX_PROJECT_ID: 'claude-project',
    GOOGLE_CLOUD_PROJECT: 'other-project',
    CLOUD_ML_REGION: 'us-east5',
  }
  const rows: readonly (readonly [flags: string, config: object])[] = [
    ['', { VERTEX_AI_PROJECT_ID: 'claude-project', VERTEX_AI_REGION: 'us-east5' }],
    [
      ' --config VERTEX_AI_REGION=global',
      { VERTEX_AI_PROJECT_ID: 'claude-project', VERTEX_AI_REGION: 'global' },
    ],
    [' --config VERTEX_BASE_URL=https://h/v1', { VERTEX_BASE_URL: 'https://h/v1' }],
  ]
  for (const [flags, config] of rows) {
    const { request } = await add(`--from-gcloud-adc${flags}`, hints)
    assert.partialDeepStrictEqual(request, { provider: { config } })
    assert.equal(JSON.stringify(request).match(/VERTEX_/g)?.length, Object.keys(config).length)
  }
})

test('without credentials of gcloud it says where it looked and what to run', async () => {
  const broken = path.join(folder, 'broken.json')
  writeFileSync(broken, `{"private_key": ${SECRET}`)
  const rows: readonly (readonly [env: Record<string, string>, says: RegExp])[] = [
    [
      { CLOUDSDK_CONFIG: '/nonexistent' },
      /no gcloud credentials at "\/nonexistent\/app.*\nhint: R/,
    ],
    [{ GOOGLE_APPLICATION_CREDENTIALS: '/nonexistent' }, /cannot read "\/nonexistent" \(ENOENT\)/],
    [{ GOOGLE_APPLICATION_CREDENTIALS: broken }, /broken.json" holds no Google credentials/],
  ]
  for (const [env, says] of rows) {
    const { code, err } = await add('--from-gcloud-adc', env)
    assert.equal(code, 2)
    assert.match(err, says)
  }
})
