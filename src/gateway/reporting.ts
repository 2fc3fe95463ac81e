import type { Standing } from '../core/credential.ts'
import type { RefreshEvent } from '../refresh/attempt.ts'
import type { DeletedProvider, ProviderStanding, Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'
import { type Audit, mintEntry } from './audit.ts'
import type { CredentialMetrics } from './credential-metrics.ts'

/** Credentials that are read at a time, and the pause between two such pages. */
const STANDINGS_PAGE = 500
const PAGE_PAUSE_MS = 1

/** Tells the log, the audit and the metrics of the credentials' lives. */
export interface Reporting {
  attempted(event: RefreshEvent): void
  /** A provider or its credentials were changed otherwise, or deleted. */
  changed(provider: DeletedProvider): void
  /** Another gateway changed a provider; `id` null stands for any of the workspace's. */
  changedElsewhere(change: { readonly workspace: string; readonly id: string | null }): void
  /** Tells of what stands already, while the gateway serves. */
  begin(): Promise<void>
}

/** What the reporting needs. `stopping` ends a reading of many. */
interface ReportingDeps {
  readonly store: Store
  readonly clock: Clock
  readonly log: Log
  readonly audit: Audit
  readonly metrics: CredentialMetrics
  readonly stopping: AbortSignal
}

/** Builds the reporting. What it cannot read it leaves out and says so; it never throws. */
export function createReporting(deps: ReportingDeps): Reporting {
  const { store, log, metrics } = deps
  let reading: Promise<void> = Promise.resolve()

  const complain = (error: unknown): void => log.warn('metrics.incomplete', { error })
  const stand = (provider: DeletedProvider): Promise<void> =>
    store
      .listCredentials(provider.id)
      .then(rows => metrics.stand(provider, rows))
      .catch(complain)
  /** One reading after the other, so that the one begun last has the last word. */
  const read = (work: () => Promise<void>): Promise<void> => {
    reading = reading.then(work).catch(complain)
    return reading
  }

  const standOne = async (id: string): Promise<void> => {
    const provider = await store.getProviderById(id)
    if (provider === null) metrics.gone(id)
    else await stand(provider)
  }
  const standAll = async (workspace: string | null): Promise<void> => {
    const gone = new Set(metrics.known(workspace))
    for await (const { provider, credential } of standings(deps, workspace)) {
      gone.delete(provider.id)
      metrics.stand(provider, [credential])
    }
    if (!deps.stopping.aborted) for (const id of gone) metrics.gone(id)
  }
  /** What is about to be read because others changed it. */
  const waiting = new Set<string>()

  return {
    attempted(event) {
      logAttempt(log, event, deps.clock.nowMs())
      deps.audit(mintEntry(event))
      if (event.cause.reason !== 'first') return metrics.attempted(event)
      // What is tried first may never be stored; only the store knows how the provider stands now.
      void read(() => stand(event.provider)).then(() => metrics.attempted(event))
    },
    changed: provider => void read(() => stand(provider)),
    changedElsewhere({ workspace, id }) {
      const place = `${workspace} ${id ?? ''}`
      if (waiting.has(place)) return
      waiting.add(place)
      void read(async () => {
        waiting.delete(place)
        await (id === null ? standAll(workspace) : standOne(id))
      })
    },
    begin: () => read(() => standAll(null)),
  }
}

/** Page by page, with a turn of the event loop between two, so that nobody waits for all of them. */
async function* standings(
  { store, clock, stopping }: Pick<ReportingDeps, 'store' | 'clock' | 'stopping'>,
  workspace: string | null,
): AsyncGenerator<ProviderStanding> {
  let after: Standing | null = null
  while (!stopping.aborted) {
    const page = await store.listStandings(workspace, { after, limit: STANDINGS_PAGE })
    yield* page
    after = page.at(-1)?.credential ?? null
    if (page.length < STANDINGS_PAGE) return
    await clock.sleep(PAGE_PAUSE_MS, stopping)
  }
}

function logAttempt(
  log: Log,
  { provider, cause, outcome, elapsedMs }: RefreshEvent,
  nowMs: number,
): void {
  const fields = {
    provider: provider.name,
    workspace: provider.workspace,
    reason: cause.reason,
    elapsedMs: Math.round(elapsedMs),
  }
  if (outcome.kind === 'discarded') {
    log.info('refresh.discarded', fields)
    return
  }
  const { credential } = outcome
  const dueInMs = credential.dueAtMs === null ? null : credential.dueAtMs - nowMs
  if (outcome.kind === 'minted') {
    const expiresInMs = (credential.token?.expiresAtMs ?? nowMs) - nowMs
    log.info('refresh.done', { ...fields, generation: credential.generation, expiresInMs, dueInMs })
    return
  }
  const { failure } = outcome
  log.warn('refresh.failed', {
    ...fields,
    dueInMs,
    class: failure.class,
    code: failure.code,
    message: failure.message,
    consecutiveFailures: credential.consecutiveFailures,
  })
}
