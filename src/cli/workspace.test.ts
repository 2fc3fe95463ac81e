// Goal: workspaces and their members can be managed by hand. Method: a gateway that is told its answers.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runOpenShell } from '../../test/support/command-line.ts'
import { type Script, startScriptedGateway } from '../../test/support/scripted-gateway.ts'
import { AppError } from '../core/errors.ts'

const TEAM = {
  metadata: { id: 'w-1', name: 'research', labels: { team: 'a', env: 'x' }, resourceVersion: 1n },
}

async function run(script: Script, ...argv: readonly string[]) {
  await using gateway = await startScriptedGateway(script)
  const result = await runOpenShell([...argv, '--gateway-endpoint', gateway.origin])
  return { ...result, calls: gateway.calls.map(({ method, request }) => [method, request]) }
}

test('a workspace is made with its labels', async () => {
  const argv = ['workspace', 'create', 'research', '--label', 'team=a', '--label', 'env=x']
  const { code, out, calls } = await run({ createWorkspace: () => ({ workspace: TEAM }) }, ...argv)
  assert.deepEqual([code, out], [0, '✓ Created workspace research\n'])
  const request = { name: 'research', labels: { team: 'a', env: 'x' } }
  assert.deepEqual(calls, [['CreateWorkspace', request]])
  const wrong = await run({}, 'workspace', 'create', 'x', '--label', 'team')
  assert.deepEqual([wrong.code, wrong.err], [2, 'error: --label takes KEY=VALUE\n'])
})

test('workspaces are listed and shown, for people and for programs', async () => {
  const workspaces = [{ metadata: { name: 'default' } }, TEAM]
  const listed = await run({ listWorkspaces: () => ({ workspaces }) }, 'workspace', 'list')
  assert.equal(
    listed.out,
    'NAME      LABELS        CREATED\ndefault   <none>        -\nresearch  env=x,team=a  -\n',
  )
  const script = { getWorkspace: () => ({ workspace: TEAM }) }
  const shown = await run(script, 'workspace', 'get', 'research', '-o', 'json')
  assert.equal(JSON.parse(shown.out).labels.team, 'a')
  assert.match((await run(script, 'workspace', 'get', 'research')).out, /Labels: env=x,team=a/)
})

test('what a workspace still holds is said when it is deleted', async () => {
  const deleteWorkspace = () => {
    throw new AppError('failed_precondition', 'Workspace "x" still contains resources: 1 sandbox')
  }
  const { code, err } = await run({ deleteWorkspace }, 'workspace', 'delete', 'x')
  assert.equal(code, 1)
  assert.match(err, /still contains resources: 1 sandbox/)
  const done = await run({ deleteWorkspace: () => ({ deleted: true }) }, 'workspace', 'delete', 'x')
  assert.equal(done.out, '✓ Deleted workspace x\n')
})

test('members are added, listed and removed in the workspace that is named', async () => {
  const place = ['--workspace', 'research']
  const added = await run(
    { addWorkspaceMember: () => ({}) },
    ...['workspace', 'member', 'add', 'ann', '--role', 'admin', ...place],
  )
  assert.equal(added.out, '✓ Added ann as admin\n')
  const request = { workspace: 'research', principalSubject: 'ann', role: 'WORKSPACE_ROLE_ADMIN' }
  assert.deepEqual(added.calls, [['AddWorkspaceMember', request]])
  const members = [{ principalSubject: 'ann', role: 2 }]
  const list = ['workspace', 'member', 'list', ...place]
  const listed = await run({ listWorkspaceMembers: () => ({ members }) }, ...list)
  assert.equal(listed.out, 'SUBJECT  ROLE\nann      admin\n')
  const empty = await run({ listWorkspaceMembers: () => ({}) }, ...list)
  assert.equal(empty.out, 'No members found.\n')
  const remove = ['workspace', 'member', 'remove', 'ann', ...place]
  const removed = await run({ removeWorkspaceMember: () => ({ removed: true }) }, ...remove)
  assert.deepEqual([removed.code, removed.out], [0, '✓ Removed ann\n'])
  const absent = await run({ removeWorkspaceMember: () => ({}) }, ...remove)
  assert.deepEqual([absent.code, absent.err], [1, '! ann is no member\n'])
})
