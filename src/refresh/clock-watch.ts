import type { Credential } from '../core/credential.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'

/** A step back of less is what time servers do all day. */
const STEP_MS_MIN = 2_000

/** A token issued further in the future than this was stamped by a clock that has been set back. */
const FUTURE_MS_MAX = 60_000

const PROVIDERS_PAGE = 1_000

/** How long a jump of the wall clock may go unnoticed. */
const CHECK_MS = 5_000

/** Holds the wall clock against the monotonic one. */
export interface ClockWatch {
  /** Whether the wall clock was set back since this was last asked. */
  wasSetBack(): boolean
  /**
   * Sleeps until either clock has moved on by `waitMs`, in slices, so that it ends soon after a wall
   * clock was stepped in either direction, or the machine slept.
   */
  sleep(waitMs: number, signal: AbortSignal): Promise<void>
}

/** Watches a clock from now on. */
export function watchClock(clock: Clock): ClockWatch {
  const aheadMs = () => clock.nowMs() - clock.monotonicMs()
  let lastMs = aheadMs()
  const isSetBack = () => aheadMs() < lastMs - STEP_MS_MIN
  return {
    wasSetBack() {
      const answer = isSetBack()
      lastMs = aheadMs()
      return answer
    },
    async sleep(waitMs, signal) {
      const wallEndMs = clock.nowMs() + waitMs
      const endMs = clock.monotonicMs() + waitMs
      for (;;) {
        const leftMs = Math.min(wallEndMs - clock.nowMs(), endMs - clock.monotonicMs())
        if (signal.aborted || leftMs <= 0 || isSetBack()) return
        lastMs = Math.max(lastMs, aheadMs())
        await clock.sleep(Math.min(CHECK_MS, leftMs), signal)
      }
    },
  }
}

/**
 * Makes credentials due at once whose instants were written under a clock that was ahead: they
 * would all come too late, and a dead token would pass for a living one. After a step back seen by
 * us that is every credential; at the start it is those that claim to come from the future.
 */
export async function renewMisdated(
  deps: { readonly store: Store; readonly clock: Clock },
  which: { readonly isAll: boolean; readonly isRefreshing: (credential: Credential) => boolean },
): Promise<void> {
  const nowMs = deps.clock.nowMs()
  for (let offset = 0; ; offset += PROVIDERS_PAGE) {
    const page = { limit: PROVIDERS_PAGE, offset }
    const providers = await deps.store.listProviders(null, page)
    for (const { id } of providers) {
      for (const credential of await deps.store.listCredentials(id)) {
        const { token, dueAtMs } = credential
        const isMisdated = which.isAll || (token?.issuedAtMs ?? 0) > nowMs + FUTURE_MS_MAX
        if (!isMisdated || dueAtMs === null || which.isRefreshing(credential)) continue
        // A lost race is fine: whoever won it has written new instants.
        await deps.store.saveCredential({
          credential: { ...credential, dueAtMs: nowMs, lastForcedAtMs: 0 },
          rotatedMaterial: new Map(),
        })
      }
    }
    if (providers.length < PROVIDERS_PAGE) return
  }
}
