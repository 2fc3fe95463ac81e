// Goal: profiles go from files into the gateway and back, and a refresh is configured without a secret in
// the argument list. Method: the real command line against a scripted gateway, and against a real one.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { parse } from 'yaml'
import { runOpenShell } from '../../test/support/command-line.ts'
import { startTestGateway } from '../../test/support/gateway.ts'
import { startScriptedGateway } from '../../test/support/scripted-gateway.ts'
import { shellWords } from '../../test/support/shell-words.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'openshell-profile-'))
after(() => rmSync(folder, { recursive: true }))

const ACME = `
id: acme
display_name: Acme
category: data
credentials:
  - name: token
    env_vars: [ACME_TOKEN]
    refresh: { strategy: oauth2-client-credentials, token_url: TOKEN_URL }
binaries: [/usr/bin/acme]
`

const file = (name: string, text: string): string => {
  const at = path.join(folder, name)
  writeFileSync(at, text)
  return at
}
const run = (origin: string, line: string, env: Readonly<Record<string, string>> = {}) =>
  runOpenShell(shellWords(line), { env: { OPENSHELL_GATEWAY_ENDPOINT: origin, ...env } })

test('a profile is linted, imported, exported, updated and deleted', async () => {
  await using world = await startTestGateway({ isAuthRequired: false })
  const at = file('acme.yaml', ACME.replace('TOKEN_URL', 'https://acme.test/token'))
  const openshell = (line: string) => run(world.origin, line)
  assert.equal((await openshell(`provider profile lint -f ${at}`)).out, '✓ 1 profile valid\n')
  assert.equal(
    (await openshell(`provider profile import -f ${at}`)).out,
    '✓ Imported profile acme\n',
  )
  const again = await openshell(`provider profile import -f ${at}`)
  assert.equal(again.code, 1)
  assert.match(again.err, /^error: .*acme\.yaml: acme: id: "acme" exists already/)
  const exported = await openshell('provider profile export acme')
  const document = parse(exported.out)
  assert.deepEqual(
    [document.resource_version, document.category, document.binaries],
    [1, 'data', ['/usr/bin/acme']],
  )
  assert.equal(document.credentials[0].refresh.strategy, 'oauth2_client_credentials')
  const changed = file('changed.yaml', exported.out.replace('Acme', 'Acme Ltd'))
  const updated = await openshell(`provider profile update acme -f ${changed}`)
  assert.deepEqual([updated.code, updated.out], [0, '✓ Updated profile acme\n'])
  const stale = await openshell(`provider profile update acme -f ${changed}`)
  assert.equal(stale.code, 1)
  assert.match(stale.err, /changed by someone else/)
  const json = await openshell('provider profile export acme -o json')
  assert.equal(JSON.parse(json.out).display_name, 'Acme Ltd')
  assert.equal((await openshell('provider profile delete acme')).out, '✓ Deleted profile acme\n')
  const gone = await openshell('provider profile delete acme')
  assert.deepEqual([gone.code, gone.err], [1, '! Profile acme not found\n'])
  assert.equal((await openshell('provider profile export nope')).code, 1)
})

test('a folder is imported as a whole, for all workspaces if so wished', async () => {
  const from = path.join(folder, 'many')
  mkdirSync(from)
  for (const id of ['a', 'b']) writeFileSync(path.join(from, `${id}.yml`), `id: ${id}\n`)
  writeFileSync(path.join(from, 'README.md'), 'no profile')
  await using gateway = await startScriptedGateway({
    importProviderProfiles: () => ({ imported: true, profiles: [{ id: 'a' }, { id: 'b' }] }),
  })
  const { code, out } = await run(gateway.origin, `provider profile import --from ${from} --global`)
  assert.deepEqual([code, out], [0, '✓ Imported profile a\n✓ Imported profile b\n'])
  const request = JSON.stringify(gateway.calls[0]?.request)
  assert.match(request, /"id":"a".*a\.yml.*"id":"b".*b\.yml/)
  assert.doesNotMatch(request, /workspace/)
})

test('what is no profile, or no file, is said before anything is sent', async () => {
  await using gateway = await startScriptedGateway()
  const rows: readonly (readonly [line: string, says: RegExp])[] = [
    ['provider profile import', /give --file or --from/],
    ['provider profile lint -f a.yaml --from b', /give --file or --from/],
    ['provider profile update acme', /--file is required/],
    [`provider profile import -f ${path.join(folder, 'none.yaml')}`, /Cannot read the profile/],
    [`provider profile import --from ${path.join(folder, 'none')}`, /Cannot read the folder/],
    [`provider profile import -f ${file('bad.yaml', 'id: [')}`, /Cannot read the profile/],
    [`provider profile import -f ${file('odd.yaml', 'id: a\nnonsense: 1')}`, /nonsense/],
  ]
  for (const [line, says] of rows) {
    const { code, err } = await run(gateway.origin, line)
    assert.equal(code, 2, line)
    assert.match(err, says)
  }
  assert.deepEqual(gateway.calls, [])
})

const SECRET = 'made-up-secret'

test('a refresh is configured with secrets from the environment and from files', async () => {
  await using gateway = await startScriptedGateway({
    configureProviderRefresh: () => ({ status: { status: 'configured' } }),
  })
  const pem = file('key.pem', `${SECRET}-pem`)
  const { code, out, err } = await run(
    gateway.origin,
    'provider refresh configure mine --credential-key TOKEN --strategy google-service-account-jwt ' +
      '--material client_email=a@b --material subject=c@d --secret-material-key subject ' +
      `--secret-material-env extra=VARIABLE --secret-material-env BARE ` +
      `--secret-material-file private_key=${pem} --credential-expires-at 2099-12-01T00:00:00Z`,
    { VARIABLE: SECRET, BARE: `${SECRET}-bare` },
  )
  assert.deepEqual([code, err, out], [0, '', '✓ Configured refresh for mine TOKEN\n'])
  assert.deepEqual(gateway.calls[0]?.request, {
    provider: 'mine',
    credentialKey: 'TOKEN',
    strategy: 'PROVIDER_CREDENTIAL_REFRESH_STRATEGY_GOOGLE_SERVICE_ACCOUNT_JWT',
    workspace: 'default',
    material: {
      ...{ client_email: 'a@b', subject: 'c@d', extra: SECRET, BARE: `${SECRET}-bare` },
      private_key: `${SECRET}-pem`,
    },
    secretMaterialKeys: ['subject', 'extra', 'BARE', 'private_key'],
    expiresAtMs: String(Date.UTC(2099, 11, 1)),
  })
})

test('a refresh that is not wholly said is not configured', async () => {
  await using gateway = await startScriptedGateway()
  const begin = 'provider refresh configure p --credential-key K --strategy'
  const rows: readonly (readonly [line: string, says: RegExp])[] = [
    ['provider refresh configure p', /--credential-key is required; --strategy is required/],
    [`${begin} magic`, /--strategy takes oauth2-refresh-token, /],
    [`${begin} oauth2-refresh-token --material a`, /--material takes KEY=VALUE/],
    [`${begin} oauth2-refresh-token --secret-material-env UNSET`, /finds no value for UNSET/],
    [
      `${begin} oauth2-refresh-token --material a=1 --secret-material-env a=SET`,
      /--secret-material-env gives a a second time/,
    ],
    [`${begin} oauth2-refresh-token --secret-material-key b`, /names b, which is not given/],
    [`${begin} oauth2-refresh-token --credential-expires-at soon`, /takes an instant/],
  ]
  for (const [line, says] of rows) {
    const { code, err } = await run(gateway.origin, line, { SET: SECRET })
    assert.equal(code, 2, line)
    assert.match(err, says)
    assert.ok(!err.includes(SECRET))
  }
  assert.deepEqual(gateway.calls, [])
})

test('a described type, a bare provider and a configured refresh make a token, in three commands', async () => {
  await using world = await startTestGateway({ isAuthRequired: false })
  const at = file('lab.yaml', ACME.replace('TOKEN_URL', `${world.lab.origin}/oauth2/token`))
  const { clientId, clientSecret } = world.lab.registerOauthClient({ method: 'post' })
  const env = { CLIENT_ID: clientId, CLIENT_SECRET: clientSecret.reveal() }
  for (const line of [
    `provider profile import -f ${at}`,
    'provider create --name mine --type acme --runtime-credentials',
    'provider refresh configure mine --credential-key ACME_TOKEN --strategy oauth2_client_credentials ' +
      '--secret-material-env client_id=CLIENT_ID --secret-material-env client_secret=CLIENT_SECRET',
    'provider refresh rotate mine --credential-key ACME_TOKEN',
  ]) {
    const { code, err } = await run(world.origin, line, env)
    assert.equal(code, 0, `${line}: ${err}`)
  }
  const { out } = await run(world.origin, 'provider refresh status mine -o json')
  assert.equal(JSON.parse(out)[0].state, 'valid')
  const update = 'provider update mine --credential-expires-at ACME_TOKEN=0'
  assert.equal((await run(world.origin, update)).code, 0)
})
