import { isIP } from 'node:net'
import { isLoopback, parseAllowedEndpoint } from '../core/endpoint.ts'

/** The name by which agents reach the router. */
export const INFERENCE_HOST = 'inference.local'
/** The loopback hosts that agents are given, as they write them. */
const PLAIN_LOOPBACK = /^(?:127\.0\.0\.1|localhost)(?::\d{1,4})?$/
const HTTPS_PORT = 443
const HTTP_PORT = 80

/** A host and a port, the host as the URL parser writes it (IPv6 in brackets, lower case). */
export interface Authority {
  readonly hostname: string
  readonly port: number
}

/** Where a CONNECT leads. */
export type ConnectDecision =
  | { readonly kind: 'intercept'; readonly isTls: boolean }
  | { readonly kind: 'tunnel'; readonly target: Authority }
  | { readonly kind: 'refuse'; readonly host: string }
  | { readonly kind: 'malformed' }

/** The hosts besides `inference.local` that may be tunnelled to, as `host:port`. */
export type TunnelAllowList = ReadonlySet<string>

/**
 * Reads `--allow HOST[:PORT]` entries; the port is 443 when left out.
 *
 * @throws AppError `invalid_argument` for an entry that is none.
 */
export function parseTunnelAllowList(entries: readonly string[]): TunnelAllowList {
  const parsed = entries.map(entry => parseAuthority(parseAllowedEndpoint(entry), HTTPS_PORT))
  return new Set(parsed.flatMap(authority => (authority === null ? [] : [written(authority)])))
}

/** Decides about a CONNECT by its authority alone; names are never resolved to decide. */
export function decideConnect(authority: string, allowList: TunnelAllowList): ConnectDecision {
  const target = parseAuthority(authority, null)
  if (target === null) return { kind: 'malformed' }
  if (target.hostname === INFERENCE_HOST) {
    if (target.port === HTTPS_PORT) return { kind: 'intercept', isTls: true }
    if (target.port === HTTP_PORT) return { kind: 'intercept', isTls: false }
  }
  // Exact names only: an address of this machine or network is reached when it was named itself.
  if (allowList.has(written(target))) return { kind: 'tunnel', target }
  return { kind: 'refuse', host: written(target) }
}

/**
 * Whether a `Host` is the router's own. A page that rebinds its DNS name to this machine sends that
 * name, so names are held to a list while addresses are free.
 */
export function isOwnHost(host: string, listenHost: string): boolean {
  // What nearly all agents send needs no parsing.
  if (host === INFERENCE_HOST || PLAIN_LOOPBACK.test(host)) return true
  const authority = parseAuthority(host, HTTP_PORT)
  if (authority === null) return false
  const { hostname } = authority
  return (
    hostname === INFERENCE_HOST ||
    isLoopback(hostname) ||
    isIP(hostname.replace(/^\[|\]$/g, '')) !== 0 ||
    hostname === listenHost.toLowerCase()
  )
}

/**
 * What an absolute-form target (RFC 9112 §3.2.2) asks for: the path when it names the router, else
 * the host it wanted; null when it is no URL.
 */
export function readAbsoluteTarget(
  target: string,
  ownPort: number,
): { readonly path: string } | { readonly host: string } | null {
  const url = URL.parse(target)
  if (url === null || !/^https?:$/.test(url.protocol)) return null
  const isRouter =
    (url.hostname === INFERENCE_HOST && url.port === '') ||
    (isLoopback(url.hostname) && url.port === String(ownPort))
  if (!isRouter) return { host: url.host }
  // The bytes as sent: the URL parser would normalise dots and escapes.
  const path = target.replace(/^[a-z]+:\/\/[^/?#]*/i, '')
  return { path: path.startsWith('/') ? path : `/${path}` }
}

/** Splits `host:port`; null when it is none, or when the port is missing and there is no default. */
function parseAuthority(text: string, defaultPort: number | null): Authority | null {
  const match = /^(\[[0-9a-f:.]+\]|[^:/?#@[\]\s\\%]+)(?::(\d{1,5}))?$/i.exec(text)
  if (match === null) return null
  const url = URL.parse(`http://${match[1]}`)
  const port = match[2] === undefined ? defaultPort : Number(match[2])
  if (url === null || port === null || port > 65_535) return null
  return { hostname: url.hostname.replace(/\.$/, ''), port }
}

function written(authority: Authority): string {
  return `${authority.hostname}:${authority.port}`
}
