import type { Operation, ResolvedRoute } from '../core/route.ts'
import { RouterError } from './errors.ts'
import { lowerName } from './field-names.ts'
import type { Match } from './match.ts'
import { HOP_BY_HOP, planOf } from './route-plan.ts'

const CONNECTION = 'connection'
const NONE: readonly string[] = []

/** What `Connection` may name in vain. */
const END_TO_END = ['content-type', 'content-length', 'content-encoding']

/** Never pass to an agent: besides, a vendor's cookies and other addresses, and what only we may say. */
const STRIPPED_FROM_ANSWER: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  'set-cookie',
  'set-cookie2',
  'alt-svc',
  'x-openshell-error',
])

/** Lists, to which a route's default is added where the agent sends one of its own. */
const LISTS: ReadonlySet<string> = new Set(['anthropic-beta'])

/** Query parameters in which vendors take keys; an agent's placeholder must not arrive in one. */
const STRIPPED_FROM_QUERY: ReadonlySet<string> = new Set([
  'key',
  'api_key',
  'api-key',
  'apikey',
  'access_token',
  'subscription-key',
])

/**
 * The headers for the upstream: the agent's that may pass, the route's defaults for those it did not
 * send (and in its lists), and the credential where a header takes it; a signature comes last of all, elsewhere. Names
 * in lower case, order and repetition kept.
 *
 * @throws RouterError `credential_missing` when there is no credential that could be sent.
 */
export function upstreamHeaders(
  agentHeaders: readonly string[],
  route: ResolvedRoute,
  operation: Operation,
): readonly string[] {
  const { passing, defaults } = planOf(route, operation)
  const hopByHop = connectionNames(agentHeaders)
  const headers: string[] = []
  const passed: string[] = []
  for (let at = 0; at + 1 < agentHeaders.length; at += 2) {
    const name = lowerName(agentHeaders[at] ?? '')
    if (!passing.has(name) || hopByHop.includes(name)) continue
    const value = agentHeaders[at + 1] ?? ''
    if (defaults.length === 0) headers.push(name, value)
    else {
      headers.push(name, passed.includes(name) ? value : withDefault(name, value, route))
      passed.push(name)
    }
  }
  for (const [name, value] of defaults) {
    if (!passed.includes(name)) headers.push(name, value)
  }
  const { auth } = route
  if (auth.kind === 'header') headers.push(auth.header, auth.prefix + sendableCredential(route))
  return headers
}

/** The origin and path for the upstream; the query's own part wins over the agent's. */
export function upstreamTarget(
  match: Match,
  route: ResolvedRoute,
  options: { readonly operation: Operation; readonly isStream: boolean },
): { readonly origin: string; readonly path: string } {
  const { operation, isStream } = options
  const { origin, plain, stream } = planOf(route, operation)
  const { path, query: own } = isStream ? stream : plain
  const query = mergedQuery(own, match.query, operation)
  return { origin, path: `${path}${match.suffix}${query}` }
}

/** The upstream's headers for the agent: all but those between neighbours and a few of its own. */
export function agentHeaders(upstreamHeaders: readonly string[]): readonly string[] {
  const hopByHop = connectionNames(upstreamHeaders)
  const headers: string[] = []
  for (let at = 0; at + 1 < upstreamHeaders.length; at += 2) {
    const name = lowerName(upstreamHeaders[at] ?? '')
    if (STRIPPED_FROM_ANSWER.has(name) || hopByHop.includes(name)) continue
    headers.push(name, upstreamHeaders[at + 1] ?? '')
  }
  return headers
}

/** The first value of a header, or '' when it is absent. `name` in lower case. */
export function headerValue(headers: readonly string[], name: string): string {
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const one = headers[at] ?? ''
    if (one.length === name.length && one.toLowerCase() === name) return headers[at + 1] ?? ''
  }
  return ''
}

/** A list with what the route needs in it; any other header as it is. */
function withDefault(name: string, value: string, route: ResolvedRoute): string {
  const needed = LISTS.has(name) ? route.defaultHeaders.get(name) : undefined
  if (needed === undefined) return value
  const members = value.split(',').map(member => member.trim())
  if (members.includes(needed)) return value
  return [...members.filter(member => member !== ''), needed].join(',')
}

/** The headers that `Connection` names, which are hop-by-hop too. */
function connectionNames(headers: readonly string[]): readonly string[] {
  let names: readonly string[] = NONE
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] ?? ''
    if (name.length !== CONNECTION.length || name.toLowerCase() !== CONNECTION) continue
    const tokens = (headers[at + 1] ?? '').split(',').map(token => token.trim().toLowerCase())
    // These frame or type the message itself; naming them must not take them away.
    names = [...names, ...tokens.filter(token => !END_TO_END.includes(token))]
  }
  return names
}

/** The credential's text, checked to be one that a header can carry. */
function sendableCredential(route: ResolvedRoute): string {
  const text = route.credential.reveal()
  if (/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(text)) return text
  throw new RouterError(
    'credential_missing',
    `Provider "${route.providerName}" has no credential that can be sent. Run "openshell provider refresh status"`,
  )
}

function mergedQuery(
  own: string,
  agents: string,
  { dropQuery, keepQuery }: Pick<Operation, 'dropQuery' | 'keepQuery'>,
): string {
  if (agents === '') return own === '' ? '' : `?${own}`
  const isDropped = (name: string): boolean =>
    STRIPPED_FROM_QUERY.has(name.toLowerCase()) ||
    dropQuery.includes(name) ||
    (dropQuery.includes('*') && !keepQuery.includes(name))
  const ownParts = own.split('&').filter(part => part !== '')
  const ownNames = new Set(ownParts.map(parameterName))
  const agentParts = agents.split('&').filter(part => {
    const name = parameterName(part)
    return part !== '' && !isDropped(name) && !ownNames.has(name)
  })
  const parts = [...ownParts, ...agentParts]
  return parts.length === 0 ? '' : `?${parts.join('&')}`
}

function parameterName(part: string): string {
  return new URLSearchParams(part).keys().next().value ?? ''
}
