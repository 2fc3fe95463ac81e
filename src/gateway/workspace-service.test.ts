// Goal: workspaces keep their contents apart, and whatever names one names one that exists.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import {
  openaiProvider,
  refusal,
  startTestGateway,
  type TestGateway,
} from '../../test/support/gateway.ts'
import { callUnary } from '../wire/client.ts'
import { Inference } from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import { WorkspaceRole } from '../wire/gen/openshell/v1/workspace_pb.ts'

const { method } = OpenShell

let world: TestGateway
before(async () => {
  world = await startTestGateway()
})
after(() => world[Symbol.asyncDispose]())

test('a new workspace has an id, its labels and a version, and is active', async () => {
  const labels = { env: 'test' }
  const { workspace } = await world.call(method.createWorkspace, { name: 'new-ws', labels })
  const { metadata, status } = workspace ?? {}
  assert.match(metadata?.id ?? '', /^[0-9a-f-]{36}$/)
  assert.ok((metadata?.createdAtMs ?? 0n) > 0n)
  assert.deepEqual([metadata?.labels, metadata?.resourceVersion], [labels, 1n])
  assert.deepEqual([metadata?.deletionTimestampMs, status?.phase], [0n, 1])
  const found = await world.call(method.getWorkspace, { name: 'new-ws' })
  assert.deepEqual(found.workspace, workspace)
  await assert.rejects(
    world.call(method.createWorkspace, { name: 'new-ws' }),
    refusal('already_exists'),
  )
})

test('names and labels are checked', async () => {
  for (const name of ['', 'Upper', 'dots.in.it', '-x', 'x'.repeat(64)]) {
    const creating = world.call(method.createWorkspace, { name })
    await assert.rejects(creating, refusal('invalid_argument'), name)
  }
  await world.call(method.createWorkspace, { name: 'x'.repeat(63) })
  for (const labels of [{ 'a"b': 'x' }, { a: 'x"y' }, { a: 'x'.repeat(64) }, { '': 'x' }]) {
    const creating = world.call(method.createWorkspace, { name: 'labels', labels })
    await assert.rejects(creating, refusal('invalid_argument'), JSON.stringify(labels))
  }
  const many = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`k${index}`, 'v']))
  const creating = world.call(method.createWorkspace, { name: 'labels', labels: many })
  await assert.rejects(creating, refusal('invalid_argument', /at most 64/))
})

test('the default workspace is always there and cannot be deleted', async () => {
  const { workspace } = await world.call(method.getWorkspace, { name: 'default' })
  assert.equal(workspace?.metadata?.name, 'default')
  const deleting = world.call(method.deleteWorkspace, { name: 'default' })
  await assert.rejects(deleting, refusal('failed_precondition', /default workspace/))
})

test('workspaces are listed by page and by label', async () => {
  for (const name of ['list-a', 'list-b'])
    await world.call(method.createWorkspace, { name, labels: { for: 'list', name } })
  const names = async (labelSelector: string, limit = 0, offset = 0) => {
    const request = { labelSelector, limit, offset }
    const { workspaces } = await world.call(method.listWorkspaces, request)
    return workspaces.map(one => one.metadata?.name)
  }
  assert.deepEqual(await names('for=list'), ['list-a', 'list-b'])
  assert.deepEqual(await names('for=list,name=list-b'), ['list-b'])
  assert.deepEqual(await names('for=list', 1, 1), ['list-b'])
  for (const wrong of ['for', 'for=list=x', 'for=a,for=b', 'f r=x'])
    await assert.rejects(names(wrong), refusal('invalid_argument'), wrong)
})

test('an unknown workspace is an error everywhere, not an empty answer', async () => {
  const workspace = 'ghost-ws'
  const provider = openaiProvider(world.lab, 'p')
  const route = { providerName: 'p', modelId: 'm', workspace }
  const channel = world.channel(world.adminToken)
  const options = { timeoutMs: 5_000 }
  const calls = [
    callUnary(channel, method.listProviders, { workspace }, options),
    callUnary(channel, method.createProvider, { provider, workspace }, options),
    callUnary(channel, method.createSandbox, { name: 's', workspace }, options),
    callUnary(channel, method.listSandboxes, { workspace }, options),
    callUnary(channel, method.getProviderRefreshStatus, { workspace }, options),
    callUnary(channel, Inference.method.setInferenceRoute, route, options),
    callUnary(channel, Inference.method.getInferenceRoute, { workspace }, options),
    callUnary(channel, method.listWorkspaceMembers, { workspace }, options),
  ]
  for (const call of calls) await assert.rejects(call, refusal('not_found', /"ghost-ws"/))
  await assert.rejects(world.call(method.getWorkspace, { name: workspace }), refusal('not_found'))
  const deleting = world.call(method.deleteWorkspace, { name: workspace })
  await assert.rejects(deleting, refusal('not_found'))
  await assert.rejects(world.call(method.getWorkspace, {}), refusal('invalid_argument'))
})

test('a workspace with something in it is not deleted, and says what is in it', async () => {
  const workspace = 'ephemeral'
  await world.call(method.createSandbox, { name: 'blocker', workspace })
  await world.call(method.createProvider, { provider: openaiProvider(world.lab, 'p'), workspace })
  const remove = () => world.call(method.deleteWorkspace, { name: workspace })
  await assert.rejects(remove(), refusal('failed_precondition', /1 sandbox.*1 provider/))
  await world.call(method.deleteSandbox, { name: 'blocker', workspace })
  await assert.rejects(remove(), refusal('failed_precondition', /1 provider/))
  await world.call(method.deleteProvider, { name: 'p', workspace })
  assert.deepEqual((await remove()).deleted, true)
})

test('providers of one workspace are not seen from another', async () => {
  const [one, other] = ['iso-a', 'iso-b']
  const provider = openaiProvider(world.lab, 'same')
  await world.call(method.createProvider, { provider, workspace: one })
  const seen = await world.call(method.listProviders, { workspace: other })
  assert.deepEqual(seen.providers, [])
  await world.call(method.createProvider, { provider, workspace: other })
  await world.call(method.deleteProvider, { name: 'same', workspace: other })
  await world.call(method.getProvider, { name: 'same', workspace: one })
})

test('members are kept; a role has to be named', async () => {
  const place = { workspace: 'members', principalSubject: 'ann@example.com' }
  const role = WorkspaceRole.ADMIN
  const { member } = await world.call(method.addWorkspaceMember, { ...place, role })
  assert.deepEqual([member?.principalSubject, member?.role], ['ann@example.com', role])
  assert.deepEqual(member?.metadata?.workspace, 'members')
  const again = world.call(method.addWorkspaceMember, { ...place, role })
  await assert.rejects(again, refusal('already_exists'))
  const roleless = world.call(method.addWorkspaceMember, { ...place, principalSubject: 'bob' })
  await assert.rejects(roleless, refusal('invalid_argument', /role/))
  const nameless = world.call(method.addWorkspaceMember, { ...place, principalSubject: '', role })
  await assert.rejects(nameless, refusal('invalid_argument', /member/))
  const { members } = await world.call(method.listWorkspaceMembers, place)
  assert.equal(members.length, 1)
  assert.equal((await world.call(method.removeWorkspaceMember, place)).removed, true)
  assert.equal((await world.call(method.removeWorkspaceMember, place)).removed, false)
})

test('a sandbox administers no workspace', async () => {
  const { channel } = await world.sandbox('prying')
  const listing = callUnary(channel, method.listWorkspaces, {}, { timeoutMs: 5_000 })
  await assert.rejects(listing, refusal('permission_denied'))
})
