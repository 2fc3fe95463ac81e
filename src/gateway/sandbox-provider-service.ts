import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { FullSandbox } from '../core/sandbox.ts'
import type { ProviderRules } from '../providers/provider-type.ts'
import type { Store } from '../store/store.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import { refuseCollisions } from './provider-environment.ts'
import { providerToWire } from './provider-service.ts'
import { adminRpc, changeRpc, type Rpc } from './rpc.ts'
import { changeSandbox, requireSandbox } from './sandbox-change.ts'
import { sandboxToWire } from './sandbox-wire.ts'

const PROVIDERS_MAX = 32

interface AttachDeps {
  readonly store: Store
  readonly rules: ProviderRules
}

/** The methods of `openshell.v1.OpenShell` that attach providers to sandboxes. */
export function sandboxProviderRpcs(deps: AttachDeps): readonly Rpc[] {
  const { method } = OpenShell
  const { store } = deps
  return [
    adminRpc(method.listSandboxProviders, async ({ sandboxName, workspace }) => {
      const sandbox = await requireSandbox(store, workspace, sandboxName)
      const providers = await attachedProviders(store, sandbox)
      return { providers: await Promise.all(providers.map(one => providerToWire(store, one))) }
    }),
    changeRpc(method.attachSandboxProvider, 'sandbox_provider.attach', async (request, note) => {
      const { sandboxName, providerName, workspace } = request
      note({ workspace, sandbox: sandboxName, provider: providerName })
      const { id, workspace: place } = await requireSandbox(store, workspace, sandboxName)
      note({ workspace: place })
      const expected = { store, expectedVersion: request.expectedResourceVersion }
      const { sandbox, isChanged } = await changeSandbox(expected, id, async standing => {
        const isAttached = standing.providers.includes(providerName)
        const providers = isAttached ? standing.providers : [...standing.providers, providerName]
        const next = { ...standing, providers }
        await checkAttachable(deps, next)
        return isAttached ? standing : next
      })
      if (!isChanged) note({ outcome: 'unchanged' })
      return { sandbox: sandboxToWire(sandbox), attached: isChanged }
    }),
    changeRpc(method.detachSandboxProvider, 'sandbox_provider.detach', async (request, note) => {
      const { sandboxName, providerName, workspace } = request
      note({ workspace, sandbox: sandboxName, provider: providerName })
      const { id, workspace: place } = await requireSandbox(store, workspace, sandboxName)
      note({ workspace: place })
      const expected = { store, expectedVersion: request.expectedResourceVersion }
      const { sandbox, isChanged } = await changeSandbox(expected, id, standing =>
        standing.providers.includes(providerName)
          ? { ...standing, providers: standing.providers.filter(one => one !== providerName) }
          : standing,
      )
      if (!isChanged) note({ outcome: 'unchanged' })
      return { sandbox: sandboxToWire(sandbox), detached: isChanged }
    }),
  ]
}

/**
 * Whether a sandbox may have the providers that it names.
 *
 * @throws AppError `failed_precondition` for one that does not exist, or two that set the same
 * variable; `invalid_argument` for too many.
 */
export async function checkAttachable(
  { store, rules }: AttachDeps,
  sandbox: Pick<FullSandbox, 'workspace' | 'providers'>,
): Promise<void> {
  if (sandbox.providers.length > PROVIDERS_MAX) {
    throw new AppError('invalid_argument', `A sandbox has at most ${PROVIDERS_MAX} providers`)
  }
  await refuseCollisions({ store, rules }, await attachedProviders(store, sandbox))
}

async function attachedProviders(
  store: Store,
  { workspace, providers }: Pick<FullSandbox, 'workspace' | 'providers'>,
): Promise<readonly ProviderRecord[]> {
  const found: ProviderRecord[] = []
  for (const name of providers) {
    const provider = await store.getProvider(workspace, name)
    if (provider === null) {
      throw new AppError('failed_precondition', `Provider "${name}" does not exist`, {
        hint: "See 'openshell provider list'",
      })
    }
    found.push(provider)
  }
  return found
}
