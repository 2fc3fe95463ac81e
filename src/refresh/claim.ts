import type { Credential } from '../core/credential.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'
import { patiently } from './patiently.ts'
import { pressingAtMs } from './policy.ts'

/**
 * A claim outlives two tries of 10 s each and the write; it is taken anew while an attempt stands in
 * line. What a killed gateway had claimed is free again after this time.
 */
export const CLAIM_MS = 30_000

/** A request is sent only while the claim holds for another try and its write. */
const REQUEST_MS = 12_000

/** New material that a person waits for is not left alone for as long as the standing material. */
const CANDIDATE_PATIENCE_MS = 120_000

/** Whoever is stopped each time between a write and a request gives up. */
const RENEWALS_MAX = 3

/** Thrown to leave an attempt whose credential was changed by someone faster. */
export class LostClaim extends Error {}

/** What is needed to look after a claim. */
export interface ClaimDeps {
  /** Names this gateway in claims. */
  readonly owner: string
  readonly store: Store
  readonly clock: Clock
  readonly log: Log
}

/** Whose claim it is: it may be taken anew while it is looked after. */
interface Held {
  claimed: Credential
}

/**
 * Whoever stood in line, tried a candidate, or waited for the store, may have been edited or deleted
 * meanwhile: its material is not sent any more. Answers the credential as it stands.
 *
 * @throws LostClaim
 */
export async function checkClaim(
  deps: ClaimDeps,
  { claimed }: Held,
): Promise<Credential | undefined> {
  const rows = await patiently(deps, () => deps.store.listCredentials(claimed.providerId))
  const row = rows.find(one => one.key === claimed.key)
  // The task may have taken the claim anew at this moment.
  if (row?.version !== claimed.version && row?.claimedBy !== deps.owner) throw new LostClaim()
  return row
}

/**
 * Makes sure that the claim holds long enough for a request, and records an intent if there is one. A
 * gateway that was stopped for longer than its claim finds out here, after whatever held it up: it
 * sends nothing that another may have spent meanwhile.
 *
 * @throws LostClaim
 */
export async function holdClaim(
  deps: ClaimDeps,
  work: Held,
  intent: Partial<Pick<Credential, 'spends' | 'candidateSpends'>> | null,
): Promise<void> {
  let unrecorded = intent
  for (let renewals = 0; renewals < RENEWALS_MAX; renewals += 1) {
    const isLong = deps.clock.nowMs() < work.claimed.claimedUntilMs - REQUEST_MS
    if (unrecorded === null && isLong) return
    const claimedUntilMs = deps.clock.nowMs() + CLAIM_MS
    const wanted = { ...work.claimed, ...unrecorded, claimedUntilMs }
    const saved = await patiently(deps, () => deps.store.saveCredential(wanted, null))
    const row = saved ?? (await checkClaim(deps, work))
    const held = saved === null && !isWrittenAs(row, wanted) ? undefined : row
    if (held === undefined) continue
    work.claimed = { ...held, lastForcedAtMs: work.claimed.lastForcedAtMs }
    unrecorded = null
  }
  const isLong = deps.clock.nowMs() < work.claimed.claimedUntilMs - REQUEST_MS
  if (unrecorded !== null || !isLong) throw new LostClaim()
}

/**
 * Whether a write that seems to have lost its race was made, and only its answer was lost: an intent that
 * is recorded must not be recorded once more, for what may be sent twice is not sent a third time.
 */
function isWrittenAs(row: Credential | undefined, wanted: Credential): boolean {
  return (
    row?.version === wanted.version + 1 &&
    row.claimedBy === wanted.claimedBy &&
    row.claimedUntilMs === Math.round(wanted.claimedUntilMs) &&
    row.spends === wanted.spends &&
    row.candidateSpends === wanted.candidateSpends
  )
}

/**
 * Until when what may be spent only once is left alone, because another gateway's claim ran out after
 * its intent was recorded; 0 for not at all. That gateway may be dead, or stopped, or cut off from the
 * database with the successor in its hands: as long as the standing token is good it gets the time to
 * come back with it. Whether a second sending is answered is the vendor's choice in any case.
 */
export function abandonedUntilMs(
  claimed: Credential,
  { owner, nowMs }: { readonly owner: string; readonly nowMs: number },
): number {
  const { claimedFrom, spends, candidateSpends } = claimed
  if (claimedFrom === '' || claimedFrom === owner) return 0
  if (spends > 0) return pressingAtMs(claimed)
  return candidateSpends > 0 ? Math.min(pressingAtMs(claimed), nowMs + CANDIDATE_PATIENCE_MS) : 0
}
