import { isLoopback } from '../core/endpoint.ts'
import { RouterError } from './errors.ts'
import type { AgentRequest } from './exchange.ts'
import { headerValue } from './rewrite.ts'

/**
 * Schemes of what anybody can make a browser show. An origin of any other scheme (`vscode-webview:`,
 * `app:`, `chrome-extension:`) belongs to a program that was installed, and no website can take it.
 */
const PAGE_SCHEMES: ReadonlySet<string> = new Set(['http:', 'https:', 'file:'])

/** What browsers say of a request that no page, or the router's own page, asked for. */
const OWN_SITES: ReadonlySet<string> = new Set(['', 'none', 'same-origin'])

/**
 * Refuses a request that a web page made which is not the router's own: any website that a browser in
 * the sandbox shows could send blind requests to the router's port, and spend its token. Browsers
 * alone send the fields that tell, so nothing else is affected. The `Host` must have been checked to
 * be the router's own.
 *
 * `Origin: null` is refused too, although some desktop programs send it: every page can, by a
 * sandboxed frame.
 *
 * @throws RouterError `origin_forbidden`.
 */
export function refuseForeignPage({ headers }: Pick<AgentRequest, 'headers'>): void {
  const origin = headerValue(headers, 'origin')
  const site = headerValue(headers, 'sec-fetch-site')
  const isOwn =
    origin === '' ? OWN_SITES.has(site) : isOwnOrigin(origin, headerValue(headers, 'host'))
  if (isOwn) return
  throw new RouterError(
    'origin_forbidden',
    `Requests from web pages are refused, and this one is from ${origin === '' ? `a ${site} page` : `"${origin}"`}. Send it from a program`,
  )
}

function isOwnOrigin(origin: string, host: string): boolean {
  const url = URL.parse(origin)
  if (url === null) return false
  if (!PAGE_SCHEMES.has(url.protocol)) return true
  const own = URL.parse(`${url.protocol}//${host}`)
  if (own === null || url.protocol === 'file:') return false
  const isSameMachine = isLoopback(url.hostname) && isLoopback(own.hostname)
  return (
    url.host === own.host ||
    (isSameMachine && url.port === own.port) ||
    url.host === 'inference.local'
  )
}
