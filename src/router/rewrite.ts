import type { Operation, ResolvedRoute } from '../core/route.ts'
import { RouterError } from './errors.ts'
import type { Match } from './match.ts'

/** Agent headers that pass on every route. */
const GENERAL_HEADERS = ['content-type', 'accept', 'accept-encoding', 'user-agent']

/** What `Connection` may name in vain. */
const END_TO_END = ['content-type', 'content-length', 'content-encoding']

/** Between two neighbours only (RFC 9110 §7.6.1); the transports make their own. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Never pass to an upstream, whatever a route allows. */
const STRIPPED: ReadonlySet<string> = new Set([
  'authorization',
  'x-api-key',
  'api-key',
  'x-goog-api-key',
  'cookie',
  'host',
  'content-length',
  'expect',
])

/** Never pass to an agent: a vendor's cookies and other addresses, and what only we may say. */
const STRIPPED_FROM_ANSWER: ReadonlySet<string> = new Set([
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
  const hopByHop = connectionNames(agentHeaders)
  const passed = new Set<string>()
  const headers: string[] = []
  for (let at = 0; at + 1 < agentHeaders.length; at += 2) {
    const name = (agentHeaders[at] ?? '').toLowerCase()
    if (!isAllowed(name, route) || isStripped(name) || hopByHop.includes(name)) continue
    if (isReplaced(name, route, operation)) continue
    const value = agentHeaders[at + 1] ?? ''
    headers.push(name, passed.has(name) ? value : withDefault(name, value, route))
    passed.add(name)
  }
  for (const [name, value] of route.defaultHeaders) {
    if (!passed.has(name) && !isReplaced(name, route, operation)) headers.push(name, value)
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
  const base = new URL(route.baseUrl)
  const template = isStream && operation.streamPath !== '' ? operation.streamPath : operation.path
  const [path = '', ownQuery = ''] = template
    .replaceAll('{model}', encodeURIComponent(route.modelId))
    .split('?', 2)
  const query = mergedQuery(ownQuery, match.query, operation.dropQuery)
  const prefix = base.pathname.replace(/\/+$/, '')
  return { origin: base.origin, path: `${prefix}${path}${match.suffix}${query}` }
}

/** The upstream's headers for the agent: all but those between neighbours and a few of its own. */
export function agentHeaders(upstreamHeaders: readonly string[]): readonly string[] {
  const hopByHop = connectionNames(upstreamHeaders)
  const headers: string[] = []
  for (let at = 0; at + 1 < upstreamHeaders.length; at += 2) {
    const name = (upstreamHeaders[at] ?? '').toLowerCase()
    if (HOP_BY_HOP.has(name) || STRIPPED_FROM_ANSWER.has(name) || hopByHop.includes(name)) continue
    headers.push(name, upstreamHeaders[at + 1] ?? '')
  }
  return headers
}

/** The first value of a header, or '' when it is absent. `name` in lower case. */
export function headerValue(headers: readonly string[], name: string): string {
  for (let at = 0; at + 1 < headers.length; at += 2) {
    if (headers[at]?.toLowerCase() === name) return headers[at + 1] ?? ''
  }
  return ''
}

function isAllowed(name: string, route: ResolvedRoute): boolean {
  return (
    GENERAL_HEADERS.includes(name) ||
    route.allowHeaders.includes(name) ||
    route.defaultHeaders.has(name)
  )
}

/** A list with what the route needs in it; any other header as it is. */
function withDefault(name: string, value: string, route: ResolvedRoute): string {
  const needed = LISTS.has(name) ? route.defaultHeaders.get(name) : undefined
  const members = value.split(',').map(member => member.trim())
  if (needed === undefined || members.includes(needed)) return value
  return [...members.filter(member => member !== ''), needed].join(',')
}

function isStripped(name: string): boolean {
  return (
    STRIPPED.has(name) ||
    HOP_BY_HOP.has(name) ||
    name.startsWith('proxy-') ||
    // An agent's own signature, with its date, its session token and its hash of the body.
    name.startsWith('x-amz-')
  )
}

/** Whether what the header says is said by the router instead: as the credential, or in the body. */
function isReplaced(name: string, route: ResolvedRoute, operation: Operation): boolean {
  const isCredential = route.auth.kind === 'header' && name === route.auth.header
  return isCredential || (name === 'anthropic-version' && operation.version !== null)
}

/** The headers that `Connection` names, which are hop-by-hop too. */
function connectionNames(headers: readonly string[]): readonly string[] {
  const names: string[] = []
  for (let at = 0; at + 1 < headers.length; at += 2) {
    if (headers[at]?.toLowerCase() !== 'connection') continue
    for (const token of (headers[at + 1] ?? '').split(',')) names.push(token.trim().toLowerCase())
  }
  // These frame or type the message itself; naming them must not take them away.
  return names.filter(name => !END_TO_END.includes(name))
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

function mergedQuery(own: string, agents: string, dropped: readonly string[]): string {
  const isDropped = (name: string): boolean =>
    dropped.includes('*') || dropped.includes(name) || STRIPPED_FROM_QUERY.has(name.toLowerCase())
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
