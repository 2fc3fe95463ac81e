import { create } from '@bufbuild/protobuf'
import type { SandboxRecord } from '../core/provider.ts'
import { bareSandbox, type FullSandbox } from '../core/sandbox.ts'
import type { ProviderRules } from '../providers/provider-type.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Random } from '../system/random.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import {
  type CreateSandboxRequest,
  SandboxSpecSchema,
} from '../wire/gen/openshell/v1/sandbox_pb.ts'
import { checkAnnotations, checkLabels, parseSelector } from './labels.ts'
import { nextPolicy } from './policy.ts'
import { adminRpc, changeRpc, type Rpc } from './rpc.ts'
import { requireSandbox } from './sandbox-change.ts'
import { checkAttachable } from './sandbox-provider-service.ts'
import { sandboxToWire, specToBytes } from './sandbox-wire.ts'
import { uuid } from './uuid.ts'
import { checkName, checkPage, checkWorkspace } from './validate.ts'

/** What the sandbox methods need. */
export interface SandboxServiceDeps {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly rules: ProviderRules
  readonly onDelete: (sandbox: SandboxRecord) => void
}

/** The sandbox methods of `openshell.v1.OpenShell`: who may fetch a workspace's bundle. */
export function sandboxRpcs(deps: SandboxServiceDeps): readonly Rpc[] {
  const { method } = OpenShell
  return [
    changeRpc(method.createSandbox, 'sandbox.create', async (request, note) => {
      note({ sandbox: request.name, workspace: request.workspace })
      const sandbox = wanted(deps, request)
      note({ sandbox: sandbox.name, workspace: sandbox.workspace })
      await checkAttachable(deps, sandbox)
      await deps.store.createSandbox(sandbox)
      return { sandbox: sandboxToWire(sandbox) }
    }),
    adminRpc(method.getSandbox, async ({ name, workspace }) => ({
      sandbox: sandboxToWire(await requireSandbox(deps.store, workspace, name)),
    })),
    adminRpc(method.listSandboxes, async request => {
      const workspace = request.allWorkspaces ? null : checkWorkspace(request.workspace)
      const labels = parseSelector(request.labelSelector)
      const sandboxes = await deps.store.listSandboxes(workspace, labels, checkPage(request))
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

/** The sandbox that a request describes. */
function wanted(deps: SandboxServiceDeps, request: CreateSandboxRequest): FullSandbox {
  const { name, workspace, spec = create(SandboxSpecSchema) } = request
  const id = uuid(deps.random)
  const bare = bareSandbox({
    id,
    workspace: checkWorkspace(workspace),
    name: name === '' ? `sandbox-${id.slice(0, 8)}` : checkName(name, 'sandbox'),
    createdAtMs: deps.clock.nowMs(),
  })
  return {
    ...bare,
    labels: checkLabels(request.labels),
    annotations: checkAnnotations(request.annotations),
    spec: specToBytes(spec),
    policy: spec.policy === undefined ? null : nextPolicy(null, spec.policy),
    providers: [...new Set(spec.providers)],
  }
}
