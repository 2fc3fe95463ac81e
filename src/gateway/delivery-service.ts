import { AppError } from '../core/errors.ts'
import { plainLine } from '../core/plain-line.ts'
import type { ProviderRecord, SandboxRecord } from '../core/provider.ts'
import { nextForcedAtMs } from '../refresh/policy.ts'
import type { RefreshTask } from '../refresh/task.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'
import { Delivery as DeliveryMethods } from '../wire/gen/openshell/delivery/v1/delivery_pb.ts'
import type { Delivery } from './delivery.ts'
import type { Identity } from './identity.ts'
import { typeOf } from './provider-types.ts'
import { routeCredential } from './route-credential.ts'
import { changeRpc, type Rpc, sandboxRpc, sandboxStreamRpc } from './rpc.ts'
import { requireSandbox } from './sandbox-change.ts'

/** Routers shorten what the vendor said, but a router is no friend. */
const REASON_CHARS_MAX = 200

/** What the delivery methods need. */
export interface DeliveryServiceDeps {
  readonly store: Store
  readonly clock: Clock
  readonly log: Log
  readonly delivery: Delivery
  readonly task: RefreshTask
  readonly identity: Identity
  /** Ends every open stream when the gateway stops. */
  readonly stopping: AbortSignal
  readonly onRejected: (provider: ProviderRecord) => void
}

/** The methods of `openshell.delivery.v1.Delivery`. */
export function deliveryRpcs(deps: DeliveryServiceDeps): readonly Rpc[] {
  const { method } = DeliveryMethods
  return [
    sandboxStreamRpc(method.watchInferenceBundle, (stream, sandbox) => {
      const close = () => {
        session.close()
        deps.stopping.removeEventListener('abort', end)
      }
      const end = () => {
        close()
        stream.end()
      }
      const session = deps.delivery.watch(sandbox, { send: message => stream.write(message), end })
      deps.log.debug('router.connected', { sandbox: sandbox.name, workspace: sandbox.workspace })
      deps.stopping.addEventListener('abort', end, { once: true })
      stream.on('data', ({ revision }) => session.serves(revision))
      stream.on('end', end)
      for (const event of ['close', 'cancelled', 'error']) stream.on(event, close)
      if (deps.stopping.aborted) end()
    }),
    sandboxRpc(method.reportRejectedToken, ({ generation, ...report }, sandbox) =>
      rejected(deps, sandbox, { ...report, generation: Number(generation) }),
    ),
    changeRpc(method.createSandboxToken, 'sandbox_token.create', async (request, note) => {
      const { sandboxName, workspace } = request
      note({ workspace, sandbox: sandboxName })
      const sandbox = await requireSandbox(deps.store, workspace, sandboxName)
      const token = await deps.identity.issueSandboxToken(sandbox, null)
      note({ workspace: sandbox.workspace })
      return { token: token.reveal(), sandboxId: sandbox.id }
    }),
  ]
}

interface Verdict {
  readonly outcome: 'refreshing' | 'known' | 'refused'
  readonly message: string
  readonly nextAttemptAtMs: bigint
}

/**
 * A router's report that the vendor refused a token. The first report about a generation forces one
 * refresh; all others about it share that one. Reports about another generation change nothing,
 * because the token that counts is already out: a later one, or that of a provider added anew.
 */
async function rejected(
  deps: DeliveryServiceDeps,
  sandbox: SandboxRecord,
  report: {
    readonly providerName: string
    readonly generation: number
    readonly status: number
    readonly reason: string
  },
): Promise<Verdict> {
  // Before anything is awaited: a refresh that has begun since cannot bring what was refused.
  const reportedAtMs = deps.clock.monotonicMs()
  const { provider, credential } = await find(deps, sandbox, report)
  deps.onRejected(provider)
  const forcedAtMs = nextForcedAtMs(credential)
  const next = BigInt(Math.min(credential.dueAtMs ?? forcedAtMs, forcedAtMs))
  if (credential.generation !== report.generation) {
    // Out it should be; whoever has not got it gets it now.
    deps.delivery.changed(sandbox.workspace)
    return { outcome: 'known', message: 'A newer token is out', nextAttemptAtMs: 0n }
  }
  deps.log.warn('token.rejected', {
    ...{ provider: provider.name, sandbox: sandbox.name },
    ...{ generation: report.generation, status: report.status },
    reason: plainLine(report.reason, REASON_CHARS_MAX),
  })
  if (credential.failure !== null && credential.dueAtMs === null) {
    return { outcome: 'refused', message: credential.failure.message, nextAttemptAtMs: 0n }
  }
  const isFree = deps.clock.nowMs() >= forcedAtMs
  if (!isFree && !deps.task.isRefreshing(credential)) {
    return {
      outcome: 'refused',
      message: credential.failure?.message ?? 'The vendor refused a fresh token too',
      nextAttemptAtMs: next,
    }
  }
  const why = { reason: 'rejected', who: `sandbox ${sandbox.name}`, reportedAtMs } as const
  deps.task.force(credential, why).catch((error: unknown) => {
    deps.log.error('refresh.broke', { provider: provider.name, error })
  })
  return { outcome: 'refreshing', message: 'A new token is being minted', nextAttemptAtMs: next }
}

/** The provider, and its credential that a router was refused with. */
async function find(
  { store, clock }: DeliveryServiceDeps,
  sandbox: SandboxRecord,
  { providerName, generation }: { readonly providerName: string; readonly generation: number },
) {
  const provider = await store.getProvider(sandbox.workspace, providerName)
  if (provider === null)
    throw new AppError('not_found', `Provider "${providerName}" does not exist`)
  const type = await typeOf(store, provider)
  const rows = await store.listCredentials(provider.id)
  const found = routeCredential({ type, provider, rows }, { kind: 'token' }, clock.nowMs())
  // A key that a person had refreshed may serve in place of a static one.
  const configured = rows.find(row => row.generation === generation) ?? rows[0]
  const credential = found.kind === 'token' ? found.row : configured
  if (credential !== undefined) return { provider, credential }
  throw new AppError('failed_precondition', `Provider "${providerName}" has no token to refresh`)
}
