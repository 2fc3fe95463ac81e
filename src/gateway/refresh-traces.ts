import type { Credential } from '../core/credential.ts'
import type { ProviderRecord } from '../core/provider.ts'
import { unreachable } from '../core/unreachable.ts'
import type { CredentialRefresher } from '../providers/refresher.ts'
import type { AttemptDeps, RefreshEvent } from '../refresh/attempt.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Span, SpanAttributes, Tracer } from '../system/trace.ts'

/** Refreshes under way whose end was not told; the oldest is forgotten for a newer one. */
const OPEN_MAX = 10_000

type RefresherOf = AttemptDeps['refresherOf']

/** What is recorded, and where; without a tracer nothing is, and nothing stands in between. */
interface RefreshTraceDeps {
  readonly tracer: Tracer | null
  readonly clock: Clock
  readonly store: Store
  readonly refresherOf: RefresherOf
}

/** What the refresh task is given, with everything that it does recorded. */
interface RefreshTraces {
  readonly store: Store
  readonly refresherOf: RefresherOf
  /** An attempt came to its end. */
  ended(event: RefreshEvent): void
}

/**
 * Records refreshes: a span for each attempt, with one for the claim, one for each request to the token
 * endpoint and one for each write. There is one attempt at a time for a credential, so what is done in
 * its provider's name meanwhile is part of it. A token request outside an attempt, of new material that
 * a person brings, is a trace of its own.
 */
export function traceRefreshes({ tracer, ...deps }: RefreshTraceDeps): RefreshTraces {
  if (tracer === null) return { ...deps, ended() {} }
  const { clock, store } = deps
  const open = new Map<string, Span>()
  const known = new WeakMap<CredentialRefresher, CredentialRefresher>()

  const attemptOf = (providerId: string, startedMs: number): Span => {
    const running = open.get(providerId)
    if (running !== undefined) return running
    const options = { kind: 'internal', parent: null, attributes: {}, startedMs } as const
    const span = tracer.start('refresh', options)
    const [oldest] = open.keys()
    if (oldest !== undefined && open.size >= OPEN_MAX) open.delete(oldest)
    open.set(providerId, span)
    return span
  }
  const claimed = ({ providerId }: Credential, startedMs: number): void => {
    const parent = attemptOf(providerId, startedMs).context
    tracer.start('claim', { kind: 'internal', parent, attributes: {}, startedMs }).end('')
  }
  const watchRefresher = (refresher: CredentialRefresher): CredentialRefresher => ({
    ...refresher,
    async refresh(provider, signal) {
      const attributes = { ...nameOf(provider), 'server.address': refresher.host(provider) }
      const parent = open.get(provider.id)?.context ?? null
      const span = tracer.start('token request', { kind: 'client', parent, attributes })
      let code = 'internal'
      try {
        const result = await refresher.refresh(provider, signal)
        code = result.kind === 'failed' ? result.failure.code : ''
        return result
      } finally {
        span.end(code)
      }
    },
  })

  return {
    store: {
      ...store,
      async claimDue(claim, limit) {
        const startedMs = clock.monotonicMs()
        const credentials = await store.claimDue(claim, limit)
        for (const credential of credentials) claimed(credential, startedMs)
        return credentials
      },
      async claimCredential(claim, credential) {
        const startedMs = clock.monotonicMs()
        const found = await store.claimCredential(claim, credential)
        if (found !== null) claimed(found, startedMs)
        return found
      },
      async saveCredential(credential, change) {
        const parent = open.get(credential.providerId)?.context ?? null
        const span = tracer.start('store', { kind: 'client', parent, attributes: {} })
        let code = 'store_unavailable'
        try {
          const saved = await store.saveCredential(credential, change)
          code = saved === null ? 'version_conflict' : ''
          return saved
        } finally {
          span.end(code)
        }
      },
    },
    refresherOf(provider, grant) {
      const refresher = deps.refresherOf(provider, grant)
      const watched = known.get(refresher) ?? watchRefresher(refresher)
      known.set(refresher, watched)
      return watched
    },
    ended(event) {
      open.get(event.provider.id)?.end(...endOf(event))
      open.delete(event.provider.id)
    },
  }
}

function nameOf({ workspace, name, type }: ProviderRecord): SpanAttributes {
  return { workspace, provider: name, type }
}

function endOf({ provider, cause, outcome }: RefreshEvent): [code: string, of: SpanAttributes] {
  const of = { ...nameOf(provider), reason: cause.reason, outcome: outcome.kind }
  switch (outcome.kind) {
    case 'minted':
      return ['', { ...of, generation: outcome.credential.generation }]
    case 'failed':
      return [outcome.failure.code, { ...of, class: outcome.failure.class }]
    case 'discarded':
      return ['', of]
    default:
      return unreachable(outcome)
  }
}
