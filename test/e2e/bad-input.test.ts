// Goal: every wrong input gets one clear line and the right exit code, and stores nothing.
// Method: one table against the released program and a running gateway.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { createPlace, run, start } from '../support/programs.ts'
import { type System, startSystem } from '../support/system.ts'

let system: System

before(async () => {
  system = await startSystem({ tokenLifetimeMs: 60_000 })
  await system.configure()
})
after(() => system.close())

/** A key file like the lab's, with some fields changed; `undefined` takes one away. */
function keyFile(name: string, change: Readonly<Record<string, unknown>> | string): string {
  const file = path.join(system.place.folder, `${name}.json`)
  const good = JSON.parse(readFileSync(system.keyFile, 'utf8'))
  writeFileSync(file, typeof change === 'string' ? change : JSON.stringify({ ...good, ...change }))
  return file
}

function pem(type: 'ec' | 'rsa', bits = 2048): string {
  const options = { type: 'pkcs8', format: 'pem' } as const
  return type === 'ec'
    ? generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export(options).toString()
    : generateKeyPairSync('rsa', { modulusLength: bits }).privateKey.export(options).toString()
}

async function refused(
  args: readonly string[],
  expected: { readonly code: number; readonly says: RegExp },
): Promise<void> {
  const { code, stdout, stderr } = await run(system.place, args, system.environment)
  const shown = `${args.join(' ')}\n${stderr}`
  assert.equal(code, expected.code, shown)
  assert.match(stderr, expected.says, shown)
  assert.match(stderr, /^error: [^\n]+\n(hint: [^\n]+\n)?$/, `not one clear line: ${shown}`)
  assert.doesNotMatch(stderr, /\n\s+at |BEGIN|PRIVATE KEY-/, shown)
  assert.equal(stdout, '')
}

function add(file: string, config: string, name = 'wrong'): readonly string[] {
  return [
    ...['provider', 'add', '--type', 'vertex', '--name', name],
    ...['--credential-file', `GOOGLE_SERVICE_ACCOUNT_JSON=${file}`, '--config', config],
  ]
}

test('bad key files are refused and nothing is stored', async () => {
  const base = `VERTEX_BASE_URL=${system.lab.origin}/v1/projects/demo-project/locations/us-east1`
  const rows: readonly (readonly [string, Readonly<Record<string, unknown>> | string, RegExp])[] = [
    ['bad-json', '{"type": "service_account", ', /not a JSON object/],
    ['array', '[]', /not a JSON object/],
    ['no-type', { type: undefined }, /"type"/],
    ['other-type', { type: 'authorized_user' }, /"type"/],
    ['no-email', { client_email: undefined }, /"client_email"/],
    ['no-key', { private_key: undefined }, /"private_key"/],
    ['no-kid', { private_key_id: undefined }, /"private_key_id"/],
    ['ec', { private_key: pem('ec') }, /"ec"/],
    ['short', { private_key: pem('rsa', 1024) }, /1024 bits/],
    ['garbage', { private_key: 'not a key' }, /not a readable PEM/],
    ['stranger', { private_key: pem('rsa') }, /Invalid JWT Signature/],
    ['universe', { universe_domain: 'example.com' }, /universe_domain/],
    ['metadata', { token_uri: 'http://169.254.169.254/token' }, /169\.254\.169\.254/],
    ['attacker', { token_uri: 'https://tokens.example.com/token' }, /tokens\.example\.com/],
    ['file', { token_uri: 'file:///etc/passwd' }, /token_uri/],
  ]
  for (const [name, change, says] of rows) {
    await refused(add(keyFile(name, change), base), { code: 1, says })
  }
  const { stdout } = await run(system.place, ['provider', 'list', '-o', 'json'], system.environment)
  assert.deepEqual(
    JSON.parse(stdout).map((one: { name: string }) => one.name),
    ['my-vertex'],
  )
})

test('bad configuration is refused and nothing is stored', async () => {
  const rows: readonly (readonly [string, RegExp])[] = [
    ['VERTEX_BASE_URL=http://169.254.169.254/v1/projects/p-demo/locations/us-east1', /169\.254/],
    ['VERTEX_BASE_URL=https://us-east1.evil.com', /us-east1\.evil\.com/],
    ['VERTEX_BASE_URL=https://us-east1-aiplatform.googleapis.com.evil.com', /evil\.com/],
    ['VERTEX_BASE_URL=http://us-east1-aiplatform.googleapis.com', /us-east1/],
    [
      'VERTEX_BASE_URL=https://us-east1-aiplatform.googleapis.com/v1/projects/P/locations/us-west1',
      /us-west1/,
    ],
    ['VERTEX_AI_REGION=us-east1.evil.com', /not a Vertex AI location/],
    ['VERTEX_AI_REGION=us-east1/../..', /not a Vertex AI location/],
    ['VERTEX_AI_PROJECT_ID=../x', /project/],
  ]
  for (const [config, says] of rows) {
    await refused(add(system.keyFile, config), { code: 1, says })
  }
})

test('bad names, types and models are refused', async () => {
  const set = (model: string) => ['inference', 'set', '--provider', 'my-vertex', '--model', model]
  await refused(add(system.keyFile, 'VERTEX_AI_REGION=us-east1', 'my-vertex'), {
    code: 1,
    says: /exists already/,
  })
  await refused(add(system.keyFile, 'VERTEX_AI_REGION=us-east1', '../x'), { code: 1, says: /name/ })
  await refused(['provider', 'add', '--type', 'acme', '--name', 'a', '--credential', 'K=v'], {
    code: 1,
    says: /Unknown provider type "acme"/,
  })
  for (const model of ['../x', '..;x', 'm;x', 'a%2f', 'a b', 'a?b', 'a#b']) {
    await refused(set(model), { code: 1, says: /not a Vertex AI model id/ })
  }
  await refused(['inference', 'set', '--provider', 'none', '--model', 'm'], {
    code: 1,
    says: /does not exist/,
  })
  await refused(['provider', 'add', '--name', 'a'], { code: 2, says: /--type/ })
  await refused(['provider', 'add', '--type', 'openai', '--name', 'a', '--credential', 'NOT_SET'], {
    code: 2,
    says: /NOT_SET/,
  })
  await refused(['no-such-command'], { code: 2, says: /no-such-command/ })
})

test('a gateway that cannot start says why in one line', async () => {
  const place = createPlace()
  const taken = new URL(system.gatewayEndpoint).host
  const startArgs = ['gateway', 'start', '--log-format', 'json', '--listen']
  const startRefused = async (args: readonly string[], says: RegExp, environment = {}) => {
    const { code, stderr } = await run(place, args, environment)
    assert.equal(code, 1, stderr)
    assert.match(stderr, says)
    assert.match(stderr, /^error: [^\n]+\n(hint: [^\n]+\n)?$/, stderr)
  }
  await startRefused([...startArgs, taken], /taken/)
  const wrongKey = Buffer.alloc(32, 7).toString('base64')
  await startRefused([...startArgs, '127.0.0.1:0'], /master key/i, {
    OPENSHELL_MASTER_KEY: wrongKey,
  })
  await startRefused([...startArgs, '127.0.0.1:0'], /32 bytes/, {
    OPENSHELL_MASTER_KEY: 'c2hvcnQ=',
  })
  const locked = path.join(place.folder, 'locked')
  mkdirSync(locked)
  writeFileSync(path.join(locked, 'state'), 'a file where a folder should be')
  await startRefused(
    [...startArgs, '127.0.0.1:0', '--state-dir', path.join(locked, 'state')],
    /state/,
  )
  chmodSync(locked, 0o700)
  // After all those refusals the right key still opens the store.
  const gateway = start(place, [...startArgs, '127.0.0.1:0'])
  await gateway.line('gateway.started')
  assert.equal(await gateway.stop(), 0)
  place.remove()
})

test('a caller without the token, and a gateway that is not there, have exit codes of their own', async () => {
  const elsewhere = {
    ...system.environment,
    OPENSHELL_STATE_DIR: path.join(system.place.folder, 'none'),
  }
  const stranger = await run(system.place, ['provider', 'list'], elsewhere)
  assert.equal(stranger.code, 4, stranger.stderr)
  const nobody = { OPENSHELL_GATEWAY_ENDPOINT: 'http://127.0.0.1:9' }
  const unreachable = await run(system.place, ['provider', 'list'], nobody)
  assert.equal(unreachable.code, 3, unreachable.stderr)
  assert.match(unreachable.stderr, /127\.0\.0\.1:9/)
})
