// Goal: a person with keys in the environment gets to a provider that the doctor finds sound.
// Method: the real command line in this process, a real gateway, the lab as vendor.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { runOpenShell } from '../../test/support/command-line.ts'
import { startTestGateway, type TestGateway } from '../../test/support/gateway.ts'
import { providerTypes } from '../providers/registry.ts'

let world: TestGateway
before(async () => {
  world = await startTestGateway()
})
after(() => world[Symbol.asyncDispose]())

function openshell(line: string, env: Readonly<Record<string, string>> = {}) {
  return runOpenShell(line.split(' '), {
    env: {
      OPENSHELL_GATEWAY_ENDPOINT: world.origin,
      OPENSHELL_GATEWAY_TOKEN: world.adminToken.reveal(),
      ...env,
    },
  })
}

test('a key in the environment becomes a provider that the doctor finds sound', async () => {
  const added = await openshell('provider add --name oa --from-env', {
    OPENAI_API_KEY: world.lab.openaiKey().reveal(),
    OPENAI_BASE_URL: `${world.lab.origin}/openai/v1`,
  })
  assert.deepEqual(added, {
    code: 0,
    out: '✓ Created provider oa (openai)\n',
    err: 'using OPENAI_API_KEY, OPENAI_BASE_URL from the environment\n',
  })
  const { code, out } = await openshell('provider doctor oa')
  assert.equal(code, 0, out)
  assert.match(out, /^✓ decode .*\n✓ resolve .*\n- mint .*\n✓ probe {4}GET .* answered 200\n$/)
})

test('a key file of Google’s becomes a provider, and the doctor tells when the key is disabled', async () => {
  const email = 'journey@demo-project.iam.gserviceaccount.com'
  const file = path.join(world.folder, 'adc.json')
  writeFileSync(file, world.lab.serviceAccountKey({ email }))
  const base = `${world.lab.origin}/v1/projects/demo-project/locations/us-east1`
  const added = await openshell(
    `provider add --name vx --from-gcloud-adc --config VERTEX_BASE_URL=${base}`,
    { GOOGLE_APPLICATION_CREDENTIALS: file },
  )
  assert.equal(added.code, 0, added.err)
  assert.match(added.err, /^using .*adc.json \(service_account\) as GOOGLE_APPLICATION_CRED/)
  const sound = await openshell('provider doctor vx --model claude-3-7-sonnet')
  assert.equal(sound.code, 0, sound.out)
  assert.ok(world.lab.disableServiceAccount(email))
  const sick = await openshell('provider doctor vx --model claude-3-7-sonnet')
  assert.equal(sick.code, 1)
  assert.match(sick.out, /✗ mint .* \(google_disabled_client\)\n {11}→ Enable the service account/)
  assert.match(sick.out, /- probe {4}Needs what step "mint" did not bring\n$/)
})

test('list-profiles has every type with all of its keys, and a command to paste', async () => {
  const { out } = await openshell('provider list-profiles')
  const profiles = JSON.parse((await openshell('provider list-profiles -o json')).out)
  for (const type of providerTypes) {
    const profile = profiles.find((one: { readonly id: string }) => one.id === type.type)
    assert.deepEqual(profile.aliases, type.aliases)
    const names = (keys: readonly { readonly name: string }[]) => keys.map(({ name }) => name)
    const variables = profile.credentials.flatMap((one: { env_vars: string[] }) => one.env_vars)
    for (const name of names(type.credentialKeys)) assert.ok(variables.includes(name), name)
    assert.deepEqual(names(profile.config), names(type.configKeys))
    assert.equal(profile.example, type.example)
    for (const name of [...names(type.credentialKeys), ...names(type.configKeys)])
      assert.ok(out.includes(`    ${name}`), `${type.type} ${name}`)
    for (const alias of type.aliases) {
      const one = await openshell(`provider list-profiles ${alias}`)
      assert.ok(one.out.startsWith(`${type.type} (`), alias)
    }
  }
})
