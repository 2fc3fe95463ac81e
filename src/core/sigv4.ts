import type { Secret } from './secret.ts'

/** The two functions of a cryptographic library that signing needs, handed in. */
export interface Sha256 {
  /** SHA-256 in lower-case hexadecimal. */
  hash(content: string | Uint8Array): string
  /** HMAC-SHA-256. */
  hmac(key: string | Uint8Array, text: string): Uint8Array
}

/** Keys that sign. A session token belongs to short-lived keys; long-lived ones have none. */
export interface SigningKeys {
  readonly accessKeyId: string
  readonly secretAccessKey: Secret
  readonly sessionToken: Secret | null
}

/** What a signature is good for, and from when. */
export interface SigningScope {
  readonly service: string
  readonly region: string
  readonly nowMs: number
}

/** A request as it goes over the wire. */
export interface SignableRequest {
  readonly method: string
  /** As sent, percent-encoding and all. */
  readonly path: string
  /** As sent, without the question mark. */
  readonly query: string
  /** Every header that is to be signed, `host` among them. Names in lower case. */
  readonly headers: ReadonlyMap<string, string>
  readonly bodyHash: string
}

const ALGORITHM = 'AWS4-HMAC-SHA256'

/**
 * Signs a request with AWS Signature Version 4: the headers to add, `authorization` among them, which
 * sign themselves and all of the request's.
 */
export function signRequest(
  sha256: Sha256,
  request: SignableRequest,
  options: { readonly keys: SigningKeys; readonly scope: SigningScope },
): ReadonlyMap<string, string> {
  const { keys, scope } = options
  const added = new Map([['x-amz-date', amzDate(scope.nowMs)]])
  if (keys.sessionToken !== null) {
    added.set('x-amz-security-token', keys.sessionToken.reveal())
  }
  const headers = new Map([...request.headers, ...added])
  const signature = signatureOf(sha256, { ...request, headers }, options)
  const credential = `Credential=${keys.accessKeyId}/${scopeText(scope)}`
  const signed = `SignedHeaders=${signedNames(headers)}`
  added.set('authorization', `${ALGORITHM} ${credential}, ${signed}, Signature=${signature}`)
  return added
}

/** Signs a request in its query, so that whoever holds the URL may send it: the whole query. */
export function presignQuery(
  sha256: Sha256,
  request: SignableRequest,
  options: {
    readonly keys: SigningKeys
    readonly scope: SigningScope
    readonly expiresSeconds: number
  },
): string {
  const { keys, scope, expiresSeconds } = options
  const parameters: (readonly [string, string])[] = [
    ['X-Amz-Algorithm', ALGORITHM],
    ['X-Amz-Credential', `${keys.accessKeyId}/${scopeText(scope)}`],
    ['X-Amz-Date', amzDate(scope.nowMs)],
    ['X-Amz-Expires', String(expiresSeconds)],
    ['X-Amz-SignedHeaders', signedNames(request.headers)],
  ]
  if (keys.sessionToken !== null) {
    parameters.push(['X-Amz-Security-Token', keys.sessionToken.reveal()])
  }
  const added = parameters.map(([name, value]) => `${name}=${encode(value)}`)
  const query = [request.query, ...added].filter(part => part !== '').join('&')
  return `${query}&X-Amz-Signature=${signatureOf(sha256, { ...request, query }, options)}`
}

function signatureOf(
  sha256: Sha256,
  request: SignableRequest,
  { keys, scope }: { readonly keys: SigningKeys; readonly scope: SigningScope },
): string {
  const date = amzDate(scope.nowMs)
  const text = [ALGORITHM, date, scopeText(scope), sha256.hash(canonicalRequest(request))]
  const dateKey = sha256.hmac(`AWS4${keys.secretAccessKey.reveal()}`, date.slice(0, 8))
  const serviceKey = sha256.hmac(sha256.hmac(dateKey, scope.region), scope.service)
  const signature = sha256.hmac(sha256.hmac(serviceKey, 'aws4_request'), text.join('\n'))
  return [...signature].map(byte => byte.toString(16).padStart(2, '0')).join('')
}

function canonicalRequest(request: SignableRequest): string {
  // What the wire has encoded is encoded once more, by all services but S3.
  const path = request.path.split('/').map(encode).join('/')
  const query = request.query.split('&').map(canonicalParameter).sort().join('&')
  const headers = sortedHeaders(request.headers).map(
    ([name, value]) => `${name}:${value.trim().replace(/\s+/g, ' ')}\n`,
  )
  const signed = signedNames(request.headers)
  return [request.method, path, query, headers.join(''), signed, request.bodyHash].join('\n')
}

/** A parameter of a query without its `=` gets one. */
function canonicalParameter(part: string): string {
  if (part === '') return ''
  const equals = part.indexOf('=')
  const name = equals === -1 ? part : part.slice(0, equals)
  return `${recode(name)}=${equals === -1 ? '' : recode(part.slice(equals + 1))}`
}

/** RFC 3986: everything but unreserved characters is encoded. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    character => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

function recode(text: string): string {
  return encode(decodeURIComponent(text))
}

function signedNames(headers: ReadonlyMap<string, string>): string {
  return sortedHeaders(headers)
    .map(([name]) => name)
    .join(';')
}

function sortedHeaders(headers: ReadonlyMap<string, string>): readonly [string, string][] {
  return [...headers].sort(([a], [b]) => (a < b ? -1 : 1))
}

function scopeText({ service, region, nowMs }: SigningScope): string {
  return `${amzDate(nowMs).slice(0, 8)}/${region}/${service}/aws4_request`
}

/** ISO 8601 basic format, to the second: `20150830T123600Z`. */
function amzDate(nowMs: number): string {
  return new Date(nowMs).toISOString().replace(/[:-]|\.\d{3}/g, '')
}
