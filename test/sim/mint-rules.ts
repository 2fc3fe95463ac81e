import type { Asking, Dealings, Heard, Ledger, Standing } from './ledger.ts'
import type { Life } from './machine.ts'

/** A claim holds for 30 s; whoever stood still for longer may find that another has taken over. */
const CLAIM_MS = 30_000

/** Rounding, and what the clocks of two machines make of a span. */
const SLACK_MS = 5

/** One try at a token endpoint. */
const DEADLINE_MS = 10_000

/** How long an attempt that was under way at a change may go on beside the next. */
const OVERLAP_MS = 30_000

const LEAD_MS_MAX = 300_000
const MANDATORY_MS_MAX = 60_000
const FORCED_FLOOR_MS_MAX = 30_000
const FLOOR_MS_MAX = 15_000
const BACKOFF_MS_MIN = 500
const PROBE_MS_MIN = 810_000
/** How soon a clock that was set back is noticed. */
const NOTICE_MS = 6_000
/** Near the end of a token, another request may go out beside one that hangs. */
const HEDGE_MS = 2_000
const NEW_KEY_MS = 75_000

/** A gateway is about to ask for a token: is that what the rules allow? */
export function beginAsking(
  ledger: Ledger,
  dealings: Dealings,
  sent: { readonly material: string; readonly life: Life; readonly atMs: number },
): Asking {
  const standing = ledger.providerOf(dealings.account)
  dealings.order += 1
  const version = standing?.record.version ?? 0
  const asking: Asking = { dealings, version, order: dealings.order, ...sent }
  checkAlone(ledger, asking)
  if (dealings.commands.size === 0) {
    checkOnce(ledger, asking)
    checkRecord(ledger, asking, standing)
    if (standing === undefined) checkDeleted(ledger, asking)
    else if (!isHelped(asking)) checkReason(ledger, asking, standing)
    checkRefused(ledger, asking, standing)
  }
  checkPeace(ledger, asking, standing)
  dealings.underWay.add(asking)
  return asking
}

/** An answer has reached the gateway that asked, or the asking ended without one. */
export function endAsking(
  ledger: Ledger,
  asking: Asking,
  heard: Omit<Heard, 'isCommitted' | 'order' | 'version'>,
): void {
  const { dealings } = asking
  dealings.underWay.delete(asking)
  // Whatever was sent beside the one that was answered is given up, and teaches nothing.
  if (dealings.heard !== null && dealings.heard.order > asking.order) return
  dealings.order += 1
  const means = heard.means === 'P' && isNewKey(ledger, asking) ? 'Q' : heard.means
  const { version } = asking
  dealings.heard = { ...heard, means, version, order: dealings.order, isCommitted: false }
  ledger.trace.note(`account ${dealings.account.id} heard ${heard.means}`)
}

/** IBM may not know a key everywhere in its first minute: its refusal is not final then. */
function isNewKey(ledger: Ledger, { dealings, life }: Asking): boolean {
  const record = ledger.providerOf(dealings.account)?.record
  if (record === undefined || dealings.account.kind !== 'key') return false
  return life.judgesBy.nowMs() - record.updatedAtMs < NEW_KEY_MS
}

/**
 * One attempt at a time, except that what a person has changed need not wait for an attempt with what
 * was before. Refresh tokens have no such exception.
 */
function checkAlone(ledger: Ledger, asking: Asking): void {
  const { dealings, life, atMs, material } = asking
  const standing = ledger.providerOf(dealings.account)
  const sinceChangeMs = atMs - (standing?.changedAtMs ?? Number.NEGATIVE_INFINITY)
  if (sinceChangeMs < OVERLAP_MS && dealings.account.kind !== 'family') return
  const credential = standing?.credential ?? null
  const token = credential?.token ?? null
  const tenthMs = token === null ? 0 : (token.expiresAtMs - token.issuedAtMs) / 10
  const isUrgent = token === null || token.expiresAtMs - life.judgesBy.nowMs() <= tenthMs + SLACK_MS
  for (const other of dealings.underWay) {
    const isStill = other.life.isAlive && !other.life.machine.isSuspended
    const isLost = atMs - other.atMs >= CLAIM_MS - SLACK_MS
    const isChanged = dealings.commands.size > 0 || other.version !== asking.version
    const isStored = asking.version > 0
    if (isChanged && !(isStored && dealings.account.kind === 'family')) continue
    const isHung = other.life === life && atMs - other.atMs >= HEDGE_MS - SLACK_MS
    if (isHung && isUrgent && dealings.account.kind !== 'family') continue
    if (!isStill || isLost || other.material !== material) continue
    // A machine that slept may have lost its claim to time alone, and a step makes all urgent or none.
    if (other.life.machine.disturbedAtMs > other.atMs - DEADLINE_MS) continue
    ledger.violate(
      'one mint at a time',
      `account ${dealings.account.id} was asked at ${atMs} by ${life.machine.name}, while ${other.life.machine.name} waits since ${other.atMs}`,
    )
  }
}

/**
 * A token that was obtained is stored before another is asked for, unless whoever had it died, stood
 * still or could not reach the store: then another takes over.
 */
function checkOnce(ledger: Ledger, { dealings, version, life, atMs }: Asking): void {
  const { heard, account } = dealings
  if (heard === null || heard.means !== 'token' || heard.isCommitted) return
  // A refusal that was reported meanwhile makes it worthless.
  if (heard.version !== version || dealings.reported !== null || !heard.life.isAlive) return
  if (heard.life.troubleAtMs() >= heard.atMs - DEADLINE_MS) return
  const who = `${life.machine.name} asked for a token of account ${account.id} at ${atMs}`
  const what = `${who}, before ${heard.life.machine.name} had stored what it got at ${heard.atMs}`
  ledger.violate('one mint for an expiry', what)
}

/** Whoever finds a refresh token must be able to tell that it may be spent. */
function checkRecord(
  ledger: Ledger,
  { dealings: { account }, life }: Asking,
  standing: Standing | undefined,
): void {
  const credential = standing?.credential ?? null
  if (account.kind !== 'family' || credential === null) return
  if (credential.spends > 0 || credential.candidateSpends > 0) return
  const what = `${life.machine.name} spends one of account ${account.id}, and nobody would know`
  ledger.violate('no refresh token is spent without a record', what)
}

/** What was under way when the provider was changed or deleted may still be helped along. */
function isHelped({ dealings, life, version }: Asking): boolean {
  return [...dealings.underWay].some(other => other.life === life && other.version !== version)
}

function checkDeleted(ledger: Ledger, asking: Asking): void {
  const { dealings } = asking
  if (isHelped(asking)) return
  ledger.violate(
    'a deleted provider never returns',
    `account ${dealings.account.id} of a deleted provider was asked for a token`,
  )
}

function checkRefused(
  ledger: Ledger,
  { dealings, material }: Asking,
  standing: Standing | undefined,
): void {
  // A candidate may be the same material in another configuration.
  if (!dealings.refused.has(material) || standing?.record.candidate !== null) return
  ledger.violate(
    'a permanent refusal ends the attempts',
    `account ${dealings.account.id} was asked again with material that it had refused for good`,
  )
}

/**
 * A mint needs a reason: there is no good token, it nears its end, a router said that it was
 * refused, or the clock under which it was stamped has been set back.
 */
function checkReason(
  ledger: Ledger,
  { dealings, life, atMs }: Asking,
  { record, credential, mintedAtMs }: Standing,
): void {
  const token = credential?.token ?? null
  if (credential === null || token === null) return
  // New material is tried at once, and what has failed is tried again.
  if (record.candidate !== null || credential.failure !== null) return
  const wallMs = life.judgesBy.nowMs()
  const lifeMs = token.expiresAtMs - token.issuedAtMs
  const dueAfter = dueAfterMs(ledger, dealings, token.value.reveal(), lifeMs)
  if (wallMs >= token.issuedAtMs + dueAfter - ledger.disagreementMs) return
  if (Math.max(life.machine.setBackAtMs, ledger.renewedAtMs) >= mintedAtMs - NOTICE_MS) return
  // The one retry after a complaint about our clock or our input.
  const { heard } = dealings
  if (heard !== null && !heard.isCommitted && (heard.means === 'C' || heard.means === 'S')) return
  // A server that gave the same token once more is asked again as the end comes nearer.
  const againMs = Math.min(FLOOR_MS_MAX, lifeMs / 4) - SLACK_MS
  const isAgain =
    dealings.account.kind === 'cached' && wallMs - credential.lastRefreshAtMs >= againMs
  if (isAgain && ledger.isGivenTwice(token.value.reveal())) return
  const { reported, forcedAtMs, forcedBy } = dealings
  const floorMs = Math.min(FORCED_FLOOR_MS_MAX, lifeMs / 4)
  // A machine that sleeps or drifts measures the floor by its own clocks; and whoever waits for the store
  // sends its request long after it has decided to.
  const disturbedAtMs = Math.max(
    ...[life, forcedBy ?? life].flatMap(one => [one.machine.disturbedAtMs, one.troubleAtMs()]),
  )
  const isDisturbed = disturbedAtMs >= forcedAtMs
  const isFree = isDisturbed || atMs - forcedAtMs >= floorMs * 0.99 - SLACK_MS
  if (reported !== null && reported >= credential.generation && isFree) {
    dealings.forcedAtMs = atMs
    dealings.forcedBy = life
    return
  }
  const leftMs = token.expiresAtMs - wallMs
  ledger.violate(
    'each mint has a reason',
    `account ${dealings.account.id} was asked for a token ${leftMs} ms before the end of one of ${lifeMs} ms (generation ${credential.generation}, reported ${reported}, at ${atMs})`,
  )
}

/** From when on after its issue a token may be renewed, by the rules of its source. */
function dueAfterMs(ledger: Ledger, { account }: Dealings, value: string, lifeMs: number): number {
  const sourceMs = account.kind === 'key' ? lifeMs / 5 : Math.min(LEAD_MS_MAX, lifeMs / 4)
  const mandatoryMs = Math.min(MANDATORY_MS_MAX, lifeMs / 10)
  const leadMs = Math.min(Math.max(sourceMs, 2 * mandatoryMs), lifeMs / 2)
  const hintMs = ledger.tokenOf(value)?.hintMs ?? Number.POSITIVE_INFINITY
  const dueMs = Math.min(lifeMs - leadMs, hintMs) - leadMs / 5
  return Math.max(dueMs, Math.min(FLOOR_MS_MAX, lifeMs / 4)) - SLACK_MS
}

/** After an answer the vendor is left in peace for as long as its kind asks for. */
function checkPeace(ledger: Ledger, asking: Asking, standing: Standing | undefined): void {
  const { dealings, life, material } = asking
  const { heard, account } = dealings
  if (heard === null || !heard.isCommitted || heard.material !== material) return
  if (life.machine.setBackAtMs >= heard.atMs - NOTICE_MS) return
  // What was stamped by a clock that was ahead is due at the next start.
  if ((standing?.credential?.token?.issuedAtMs ?? 0) > life.judgesBy.nowMs()) return
  const peaceMs = peaceAfterMs(dealings, heard, standing)
  // Whose clock was off for a while, as a gateway's may be without its database, is no hurry.
  const passedMs = Math.max(life.judgesBy.nowMs() - heard.wallMs, asking.atMs - heard.atMs)
  if (passedMs >= peaceMs - SLACK_MS - ledger.disagreementMs) return
  ledger.violate(
    'the vendor is left in peace',
    `account ${account.id} was asked ${passedMs} ms after ${heard.means}, ${peaceMs} ms were due`,
  )
}

function peaceAfterMs(dealings: Dealings, heard: Heard, standing: Standing | undefined): number {
  // What a person asks for is asked at once, and so is what a router reports.
  if (dealings.commands.size > 0) return 0
  const isChanged = standing?.record.version !== heard.version || standing.record.candidate !== null
  const isReported = dealings.reported !== null && dealings.reported >= generationOf(standing)
  // What was changed since is tried at once, but when the vendor has named a time.
  if (isChanged && heard.retryAfterMs === 0) return 0
  const token = standing?.credential?.token ?? null
  const lifeMs = token === null ? Number.POSITIVE_INFINITY : token.expiresAtMs - token.issuedAtMs
  const floorMs = Math.min(FLOOR_MS_MAX, lifeMs / 4)
  switch (heard.means) {
    case 'H':
      return heard.retryAfterMs > 0 ? heard.retryAfterMs : isReported ? 0 : floorMs
    case 'X':
      return isReported ? 0 : floorMs
    case 'Q':
      return isReported ? 0 : PROBE_MS_MIN
    case 'T':
      return isReported ? 0 : BACKOFF_MS_MIN
    case 'S':
    case 'C':
    case 'P':
    case 'token':
      return 0
    default:
      throw new TypeError(`Nobody heard ${String(heard.means)}`)
  }
}

function generationOf(standing: Standing | undefined): number {
  return standing?.credential?.generation ?? 0
}
