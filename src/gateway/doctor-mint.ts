import { formatSpan } from '../core/duration.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { Secret } from '../core/secret.ts'
import type { Finding } from '../providers/probe.ts'
import type { ProviderType } from '../providers/provider-type.ts'
import { createRefresher, type RefresherDeps } from '../providers/refresher.ts'
import type { Clock } from '../system/clock.ts'
import type { Fetch, FetchResponse } from '../system/fetch.ts'

/** Clocks closer than this are as good as equal: `Date` counts whole seconds. */
const SKEW_MS_MAX = 5_000

/** A token that only the doctor has; null when the vendor gave none. */
export interface DoctorMint {
  readonly finding: Finding
  readonly result: Secret | null
}

/**
 * Mints once, by a refresher of its own, so that nothing of it stays, and compares the vendor's
 * clock with ours.
 */
export async function mintOnce(
  deps: RefresherDeps,
  type: ProviderType,
  provider: ProviderRecord,
): Promise<DoctorMint> {
  const watched = watchDate(deps)
  const refresher = createRefresher(type, { ...deps, fetch: watched.fetch })
  const result = await refresher.refresh(provider, new AbortController().signal)
  const skewMs = watched.skewMs()
  const skew = Math.abs(skewMs) <= SKEW_MS_MAX ? '' : skewWords(skewMs)
  if (result.kind === 'failed') {
    const { code, message, advice } = result.failure
    const also = skew === '' ? '' : `; ${skew}`
    return {
      finding: { outcome: 'failed', code, message: `${message}${also}`, advice },
      result: null,
    }
  }
  const life = `Got a token for ${formatSpan(result.lifetimeMs)}, which is not stored`
  const finding: Finding =
    skew === ''
      ? { outcome: 'ok', code: '', message: life, advice: '' }
      : {
          outcome: 'warning',
          code: 'clock_skew',
          message: `${life}; ${skew}`,
          advice: 'Set the clock of the gateway’s machine, by NTP best',
        }
  return { finding, result: result.token }
}

function skewWords(skewMs: number): string {
  const side = skewMs > 0 ? 'ahead of' : 'behind'
  return `the vendor's clock is ${formatSpan(Math.abs(skewMs))} ${side} this machine's`
}

/** A fetch that notes how far the clock of whoever answered last is ahead of ours. */
function watchDate(deps: { readonly fetch: Fetch; readonly clock: Clock }) {
  let skewMs = 0
  const fetch: Fetch = async request => {
    const sentAtMs = deps.clock.nowMs()
    const response = await deps.fetch(request)
    // The server wrote its time between these two, on average half a second after the full one.
    const atMs = (sentAtMs + deps.clock.nowMs()) / 2
    skewMs = skewOf(response, atMs) ?? skewMs
    return response
  }
  return { fetch, skewMs: () => skewMs }
}

/** Null for an answer without a date, or one that a cache may have kept. */
function skewOf({ headers }: FetchResponse, atMs: number): number | null {
  const serverMs = Date.parse(headers.get('date') ?? '')
  if (Number.isNaN(serverMs) || headers.has('age')) return null
  return serverMs + 500 - atMs
}
