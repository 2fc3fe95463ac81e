import { AppError } from './errors.ts'

/** Hosts an operator allows besides the vendors' own, as `host` or `host:port`, lower case. */
export type EndpointAllowList = readonly string[]

/** A vendor's own hosts: exact names, or `*.suffix` for any single or deeper label below it. */
export type VendorHosts = readonly string[]

/**
 * Checks a URL that would receive a vendor's token or key, and returns it parsed.
 *
 * It must be https on a vendor's host, or on a host that the operator allowed. Plain http is
 * accepted for an allowed loopback address only. Private, link-local and metadata addresses are
 * refused unless the operator allowed exactly them.
 *
 * @throws AppError `endpoint_forbidden`, or `invalid_config` when it is no URL.
 */
export function checkEndpoint(
  text: string,
  options: {
    /** What the URL is called where it was configured, for the message. */
    readonly label: string
    readonly vendorHosts: VendorHosts
    readonly allowList: EndpointAllowList
  },
): URL {
  const url = parseUrl(text, options.label)
  const isAllowed = mayReach(url, options.allowList)
  if (url.protocol === 'http:' && isAllowed && isLoopback(url.hostname)) return url
  if (url.protocol === 'https:') {
    if (isAllowed) return url
    if (isVendorHost(url, options.vendorHosts)) return url
  }
  throw forbidden(url, options.label)
}

/** `127.0.0.0/8`, `::1` and `localhost`, as the URL parser writes them. */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname)
}

/** Parses one entry of an allow-list; throws `invalid_argument` when it is not `HOST[:PORT]`. */
export function parseAllowedEndpoint(text: string): string {
  const pattern = /^(\[[0-9a-f:.]+\]|[^\s:/?#@[\]\\%*]+)(?::(\d{1,5}))?$/i
  const [, host, port] = pattern.exec(text.trim()) ?? []
  // Written as URLs write it, for that is what it is compared with: lower case, punycode, `[::1]`.
  const hostname = host === undefined ? '' : (URL.parse(`https://${host}`)?.hostname ?? '')
  if (hostname !== '' && port === undefined) return hostname
  if (hostname !== '' && Number(port) <= 65_535) return `${hostname}:${Number(port)}`
  throw new AppError('invalid_argument', `Cannot allow endpoint "${text}": expected HOST[:PORT]`)
}

function parseUrl(text: string, label: string): URL {
  const url = URL.parse(text)
  if (url === null || url.hostname === '') {
    throw new AppError('invalid_config', `${label} is not a URL`)
  }
  if (url.username !== '' || url.password !== '') {
    throw new AppError('invalid_config', `${label} must not carry a user name or password`)
  }
  if (url.hash !== '') throw new AppError('invalid_config', `${label} must not carry a fragment`)
  return url
}

function mayReach(url: URL, allowList: EndpointAllowList): boolean {
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port
  return allowList.includes(url.hostname) || allowList.includes(`${url.hostname}:${port}`)
}

function isVendorHost(url: URL, vendorHosts: VendorHosts): boolean {
  if (url.port !== '') return false
  return vendorHosts.some(host =>
    host.startsWith('*.') ? url.hostname.endsWith(host.slice(1)) : url.hostname === host,
  )
}

function forbidden(url: URL, label: string): AppError {
  return new AppError(
    'endpoint_forbidden',
    `${label} names "${url.protocol}//${url.host}", which is not one of the vendor's hosts`,
    {
      hint: `To allow it, start the gateway with --allow-endpoint ${url.host} (plain http: loopback only)`,
    },
  )
}
