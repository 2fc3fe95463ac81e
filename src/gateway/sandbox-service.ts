import { create } from '@bufbuild/protobuf'
import { AppError } from '../core/errors.ts'
import type { SandboxRecord } from '../core/provider.ts'
import { bareSandbox } from '../core/sandbox.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Random } from '../system/random.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import { type Sandbox, SandboxPhase, SandboxSchema } from '../wire/gen/openshell/v1/sandbox_pb.ts'
import { adminRpc, changeRpc, type Rpc } from './rpc.ts'
import { uuid } from './uuid.ts'
import { checkName, checkPage, checkWorkspace } from './validate.ts'

/** What the sandbox methods need. */
export interface SandboxServiceDeps {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly onDelete: (sandbox: SandboxRecord) => void
}

/** The sandbox methods of `openshell.v1.OpenShell`: who may fetch a workspace's bundle. */
export function sandboxRpcs(deps: SandboxServiceDeps): readonly Rpc[] {
  const { method } = OpenShell
  return [
    changeRpc(method.createSandbox, 'sandbox.create', async ({ name, workspace }, note) => {
      note({ sandbox: name, workspace })
      const id = uuid(deps.random)
      const sandbox = bareSandbox({
        id,
        workspace: checkWorkspace(workspace),
        name: name === '' ? `sandbox-${id.slice(0, 8)}` : checkName(name, 'sandbox'),
        createdAtMs: deps.clock.nowMs(),
      })
      note({ sandbox: sandbox.name, workspace: sandbox.workspace })
      await deps.store.createSandbox(sandbox)
      return { sandbox: sandboxToWire(sandbox) }
    }),
    adminRpc(method.getSandbox, async ({ name, workspace }) => ({
      sandbox: sandboxToWire(await requireSandbox(deps.store, workspace, name)),
    })),
    adminRpc(method.listSandboxes, async request => {
      const workspace = request.allWorkspaces ? null : checkWorkspace(request.workspace)
      const sandboxes = await deps.store.listSandboxes(workspace, new Map(), checkPage(request))
      return { sandboxes: sandboxes.map(sandboxToWire) }
    }),
    changeRpc(method.deleteSandbox, 'sandbox.delete', async ({ name, workspace }, note) => {
      note({ sandbox: name, workspace, outcome: 'unchanged' })
      const place = checkWorkspace(workspace)
      note({ workspace: place })
      const sandbox = await deps.store.getSandbox(place, name)
      if (sandbox === null) return { deleted: false }
      const deleted = await deps.store.deleteSandbox(place, name)
      if (deleted) note({ outcome: 'done' })
      deps.onDelete(sandbox)
      return { deleted }
    }),
  ]
}

/** Finds a sandbox by name. Throws `not_found`. */
export async function requireSandbox(
  store: Store,
  workspace: string,
  name: string,
): Promise<SandboxRecord> {
  const sandbox = await store.getSandbox(checkWorkspace(workspace), name)
  if (sandbox !== null) return sandbox
  throw new AppError('not_found', `Sandbox "${name}" does not exist`, {
    hint: "See 'openshell sandbox list'",
  })
}

function sandboxToWire(sandbox: SandboxRecord): Sandbox {
  return create(SandboxSchema, {
    metadata: {
      id: sandbox.id,
      name: sandbox.name,
      workspace: sandbox.workspace,
      createdAtMs: BigInt(sandbox.createdAtMs),
      resourceVersion: 1n,
    },
    status: { sandboxName: sandbox.name, phase: SandboxPhase.READY },
  })
}
