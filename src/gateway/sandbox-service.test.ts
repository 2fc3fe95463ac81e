// Goal: a sandbox keeps what it was made of, and providers are attached to it by OpenShell's rules.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { MessageInitShape } from '@bufbuild/protobuf'
import {
  openaiProvider,
  refusal,
  startTestGateway,
  type TestGateway,
} from '../../test/support/gateway.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'

const { method } = OpenShell

let world: TestGateway
before(async () => {
  world = await startTestGateway()
  for (const name of ['oa', 'oa-twin'])
    await world.call(method.createProvider, { provider: openaiProvider(world.lab, name) })
  await world.call(method.createProvider, { provider: generic('gen', 'A_KEY') })
})
after(() => world[Symbol.asyncDispose]())

/** A provider with a static key of any name. */
function generic(name: string, key: string) {
  const config = { BASE_URL: `${world.lab.origin}/v1`, PROTOCOL: 'openai' }
  return { metadata: { name }, type: 'generic', credentials: { [key]: 'sk-test' }, config }
}

const create = async (request: MessageInitShape<typeof method.createSandbox.input>) =>
  (await world.call(method.createSandbox, request)).sandbox
const attach = (sandboxName: string, providerName: string, expectedResourceVersion = 0n) =>
  world.call(method.attachSandboxProvider, { sandboxName, providerName, expectedResourceVersion })
const detach = (sandboxName: string, providerName: string) =>
  world.call(method.detachSandboxProvider, { sandboxName, providerName })
const attached = async (sandboxName: string) =>
  (await world.call(method.listSandboxProviders, { sandboxName })).providers

test('a sandbox keeps its spec, labels and annotations, and starts at version 1', async () => {
  const spec = {
    logLevel: 'debug',
    environment: { A: 'b' },
    providers: ['oa', 'oa'],
    command: ['claude', '--print'],
    tty: true,
    template: { image: 'img:1', labels: { a: 'b' } },
    policy: { version: 3, networkPolicies: { x: { name: 'x' } } },
  }
  const labels = { env: 'test' }
  const annotations = { 'example.com/note': 'any "text"' }
  const made = await create({ name: 'full', spec, labels, annotations })
  assert.deepEqual(made?.metadata?.labels, labels)
  assert.deepEqual(made?.metadata?.annotations, annotations)
  assert.equal(made?.metadata?.resourceVersion, 1n)
  assert.deepEqual(made?.spec?.environment, spec.environment)
  assert.deepEqual(made?.spec?.command, spec.command)
  assert.deepEqual(made?.spec?.providers, ['oa'])
  assert.equal(made?.spec?.template?.image, 'img:1')
  assert.equal(made?.spec?.policy?.networkPolicies.x?.name, 'x')
  assert.deepEqual((await world.call(method.getSandbox, { name: 'full' })).sandbox, made)
  const selected = await world.call(method.listSandboxes, { labelSelector: 'env=test' })
  assert.deepEqual(selected.sandboxes, [made])
  const none = await world.call(method.listSandboxes, { labelSelector: 'env=other' })
  assert.deepEqual(none.sandboxes, [])
})

test('an unusable spec makes no sandbox', async () => {
  const environment = Object.fromEntries(Array.from({ length: 257 }, (_, at) => [`V${at}`, 'x']))
  for (const spec of [
    { environment: { 'no name': 'x' } },
    { environment },
    { command: ['x'.repeat(262_145)] },
    { providers: Array.from({ length: 33 }, (_, at) => `p${at}`) },
  ])
    await assert.rejects(create({ name: 'unusable', spec }), refusal('invalid_argument'))
  const unknown = create({ name: 'unusable', spec: { providers: ['nobody'] } })
  await assert.rejects(unknown, refusal('failed_precondition', /"nobody" does not exist/))
  const twins = create({ name: 'unusable', spec: { providers: ['oa', 'oa-twin'] } })
  await assert.rejects(twins, refusal('failed_precondition', /both set OPENAI_API_KEY/))
  await assert.rejects(world.call(method.getSandbox, { name: 'unusable' }), refusal('not_found'))
})

test('attaching is idempotent, raises the version, and shows no value', async () => {
  await create({ name: 'attach' })
  const first = await attach('attach', 'oa')
  assert.deepEqual([first.attached, first.sandbox?.metadata?.resourceVersion], [true, 2n])
  assert.deepEqual(first.sandbox?.spec?.providers, ['oa'])
  const again = await attach('attach', 'oa')
  assert.deepEqual([again.attached, again.sandbox?.metadata?.resourceVersion], [false, 2n])
  await attach('attach', 'gen')
  const [one, two] = await attached('attach')
  assert.deepEqual([one?.metadata?.name, two?.metadata?.name], ['oa', 'gen'])
  assert.deepEqual(one?.credentials, { OPENAI_API_KEY: 'REDACTED' })
  assert.equal((await detach('attach', 'oa')).detached, true)
  assert.equal((await detach('attach', 'oa')).detached, false)
  assert.deepEqual((await attached('attach')).length, 1)
})

test('attaching follows the rules: what is unknown, what collides, what is over', async () => {
  await create({ name: 'rules' })
  await assert.rejects(attach('rules', 'nobody'), refusal('failed_precondition'))
  await assert.rejects(attach('nobody', 'oa'), refusal('not_found'))
  const { sandbox } = await attach('rules', 'oa', 1n)
  await assert.rejects(attach('rules', 'gen', 1n), refusal('version_conflict'))
  await assert.rejects(attach('rules', 'oa-twin'), refusal('failed_precondition', /OPENAI_API_KEY/))
  const { sandbox: unchanged } = await world.call(method.getSandbox, { name: 'rules' })
  assert.deepEqual(unchanged, sandbox)
})

test('a provider does not take a variable of one that stands beside it', async () => {
  await world.call(method.createProvider, { provider: generic('first', 'X_KEY') })
  await world.call(method.createProvider, { provider: generic('second', 'Y_KEY') })
  await create({ name: 'beside', spec: { providers: ['first', 'second'] } })
  const credentials = { Y_KEY: '', X_KEY: 'sk-test-2' }
  const provider = { metadata: { name: 'second' }, credentials }
  const taking = world.call(method.updateProvider, { provider, noVerify: true })
  await assert.rejects(taking, refusal('failed_precondition', /both set X_KEY/))
  await detach('beside', 'first')
  await world.call(method.updateProvider, { provider, noVerify: true })
})

test('attachments made at once are all there', async () => {
  await create({ name: 'busy' })
  const names = Array.from({ length: 5 }, (_, index) => `busy-${index}`)
  for (const [at, name] of names.entries())
    await world.call(method.createProvider, { provider: generic(name, `BUSY_${at}`) })
  await Promise.all(names.map(name => attach('busy', name)))
  const found = (await attached('busy')).map(one => one.metadata?.name)
  assert.deepEqual(found.sort(), names)
})

test('a provider that is attached is not deleted', async () => {
  await world.call(method.createProvider, { provider: generic('held', 'HELD') })
  await create({ name: 'holder', spec: { providers: ['held'] } })
  const remove = () => world.call(method.deleteProvider, { name: 'held' })
  await assert.rejects(remove(), refusal('failed_precondition', /attached to sandbox "holder"/))
  await world.call(method.deleteSandbox, { name: 'holder' })
  assert.equal((await remove()).deleted, true)
})
