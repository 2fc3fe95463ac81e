import type { ProviderCredentialRefreshStatus } from '../wire/gen/openshell/v1/refresh_pb.ts'
import { formatTable } from './output.ts'
import { type Emphasis, paint, printable, type Terminal } from './terminal.ts'
import { formatInstant, instantOf, rfc3339 } from './time.ts'

/** The names of the wire's recovery actions, by number. */
const RECOVERY_ACTIONS = ['', 'retry', 'reauthorize', 'fix_configuration', 'investigate']

const EMPHASIS: ReadonlyMap<string, Emphasis> = new Map([
  ['degraded', 'yellow'],
  ['expired', 'red'],
  ['failed', 'red'],
  ['disabled', 'dim'],
])

/** A credential's life as other programs read it. */
export function describeStatus(
  status: ProviderCredentialRefreshStatus,
): Readonly<Record<string, unknown>> {
  return {
    provider: status.providerName,
    type: status.providerType,
    credential_key: status.credentialKey,
    state: stateOf(status),
    expires_at: rfc3339(status.expiresAtMs),
    next_refresh_at: rfc3339(status.nextRefreshAtMs),
    last_refresh_at: rfc3339(status.lastRefreshAtMs),
    failure_class: status.failureClass || null,
    failure_code: status.failureCode || null,
    message: status.lastError || null,
    recovery_action: RECOVERY_ACTIONS[status.recoveryAction] || null,
    consecutive_failures: status.consecutiveFailures,
    revision: status.revision || null,
    routers: status.routers,
    routers_current: status.routersCurrent,
    generation: Number(status.generation),
    issued_at: rfc3339(status.issuedAtMs),
    last_attempt_at: rfc3339(status.lastAttemptAtMs),
    failing_since: rfc3339(status.failingSinceMs),
    advice: status.advice || null,
    candidate: describeCandidate(status),
    history: status.history.map(one => ({
      at: rfc3339(one.atMs),
      state: one.state,
      failure_class: one.failureClass || null,
      failure_code: one.failureCode || null,
    })),
  }
}

/** New material that is not in use; null when there is none. */
function describeCandidate(status: ProviderCredentialRefreshStatus) {
  const { candidateState: state, candidateError: message, candidateCode: code } = status
  return state === '' ? null : { state, message: message || null, failure_code: code || null }
}

/** The lives of credentials for people, and what to do about those that fail. */
export function formatStatusTable(
  terminal: Terminal,
  statuses: readonly ProviderCredentialRefreshStatus[],
): readonly string[] {
  if (statuses.length === 0) return ['No credential is refreshed here.']
  const rows = statuses.map(status => [
    status.providerName,
    status.credentialKey,
    stateOf(status),
    formatWireInstant(terminal, status.expiresAtMs),
    formatWireInstant(terminal, status.nextRefreshAtMs),
    deliveryOf(status),
  ])
  const headings = ['PROVIDER', 'CREDENTIAL', 'STATE', 'EXPIRES', 'NEXT ATTEMPT', 'DELIVERY']
  const [heading = '', ...lines] = formatTable(headings, rows)
  return [
    paint(terminal.out, 'bold', heading),
    ...lines.map((line, index) => emphasize(terminal, statuses[index], line)),
    ...statuses.flatMap(explainFailure),
    ...statuses.flatMap(explainCandidate),
  ]
}

/** How a credential came to be as it is: its token's way, and its last changes of state. */
export function formatStatusStory(
  terminal: Terminal,
  status: ProviderCredentialRefreshStatus,
): readonly string[] {
  const { generation, revision, history } = status
  const issued = formatWireInstant(terminal, status.issuedAtMs)
  const changes = history.map(({ atMs, state, failureClass, failureCode }) => [
    formatWireInstant(terminal, atMs),
    state,
    [failureClass, failureCode].filter(part => part !== '').join(' '),
  ])
  const [heading = '', ...lines] = formatTable(['SINCE', 'STATE', 'BECAUSE'], changes)
  return [
    '',
    printable(
      generation === 0n
        ? `${status.credentialKey}: no token was minted yet`
        : `${status.credentialKey}: token ${generation} minted ${issued}, revision ${revision} in ${status.routersCurrent} of ${status.routers} routers`,
    ),
    ...(changes.length === 0 ? [] : ['', paint(terminal.out, 'bold', heading), ...lines]),
  ]
}

/** One credential in one line, for a log of changes. */
export function formatStatusLine(
  terminal: Terminal,
  status: ProviderCredentialRefreshStatus,
): string {
  const parts = [
    `${status.providerName} ${status.credentialKey} ${stateOf(status)}`,
    `expires ${formatWireInstant(terminal, status.expiresAtMs)}`,
    deliveryOf(status),
    ...(status.lastError === '' ? [] : [status.lastError]),
    ...(status.advice === '' ? [] : [status.advice]),
  ]
  return printable(parts.join(', '))
}

/** A gateway that is not ours knows only OpenShell's own `status`. */
function stateOf(status: ProviderCredentialRefreshStatus): string {
  return status.state || status.status
}

function formatWireInstant(terminal: Terminal, wireMs: bigint): string {
  const atMs = instantOf(wireMs)
  return atMs === null ? '-' : formatInstant(terminal, atMs)
}

function deliveryOf(status: ProviderCredentialRefreshStatus): string {
  if (status.routers === 0) return 'no routers'
  return `${status.routersCurrent}/${status.routers} routers`
}

function emphasize(
  terminal: Terminal,
  status: ProviderCredentialRefreshStatus | undefined,
  line: string,
): string {
  const emphasis = status === undefined ? undefined : EMPHASIS.get(stateOf(status))
  return emphasis === undefined ? line : paint(terminal.out, emphasis, line)
}

function explainFailure(status: ProviderCredentialRefreshStatus): readonly string[] {
  if (status.lastError === '') return []
  const code = [status.failureClass, status.failureCode].filter(part => part !== '').join(' ')
  const times = status.consecutiveFailures > 1 ? `, ${status.consecutiveFailures} times` : ''
  const cause = code === '' ? '' : ` (${code}${times})`
  return [
    '',
    printable(`! ${status.providerName} ${status.credentialKey}: ${status.lastError}${cause}`),
    ...(status.advice === '' ? [] : [printable(`  ${status.advice}`)]),
  ]
}

function explainCandidate(status: ProviderCredentialRefreshStatus): readonly string[] {
  const { candidateState, candidateError, candidateCode } = status
  if (candidateState === '') return []
  const what =
    candidateState === 'refused'
      ? 'the new credential was refused, the standing one serves'
      : 'the new credential is being tried, the standing one serves until it works'
  const why = candidateError === '' ? '' : `: ${candidateError} (${candidateCode})`
  return ['', printable(`! ${status.providerName} ${status.credentialKey}: ${what}${why}`)]
}
