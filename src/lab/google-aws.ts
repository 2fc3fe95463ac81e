import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { GoogleIdentities } from './google-identities.ts'
import { elementsOf, isObject, parseObject } from './json.ts'

const SKEW_MS_MAX = 900_000
const URL_PATTERN =
  /^https:\/\/sts\.([a-z0-9-]+)\.amazonaws\.com\/\?(Action=GetCallerIdentity&Version=2011-06-15)$/

/**
 * What is wrong with a signed GetCallerIdentity, judged as Google and AWS together do; null when it
 * proves the pretend machine's identity.
 */
export function callerIdentityProblem(
  subjectToken: string,
  options: {
    readonly machine: GoogleIdentities['machine']
    readonly audience: string
    readonly nowMs: number
  },
): string | null {
  const request = readRequest(subjectToken)
  if (request === null) return 'Invalid subject token: no serialized AWS request.'
  const { headers, region, query, host } = request
  const { machine, audience, nowMs } = options
  if (headers.get('x-goog-cloud-target-resource') !== audience)
    return 'The x-goog-cloud-target-resource header does not match the audience.'
  if (headers.get('host') !== host) return 'The host header does not match the URL.'
  if (headers.get('x-amz-security-token') !== machine.sessionToken.reveal())
    return 'Received invalid AWS response of type InvalidClientTokenId.'
  const date = headers.get('x-amz-date') ?? ''
  const atMs = Date.parse(
    date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'),
  )
  if (!(Math.abs(atMs - nowMs) <= SKEW_MS_MAX)) return 'The AWS signature is expired.'
  const scope = `${date.slice(0, 8)}/${region}/sts/aws4_request`
  const names = [...headers.keys()].filter(name => name !== 'authorization').sort()
  const canonical = [
    ...['POST', '/', query],
    ...names.map(name => `${name}:${headers.get(name)}`),
    ...['', names.join(';'), sha256('')],
  ].join('\n')
  const text = ['AWS4-HMAC-SHA256', date, scope, sha256(canonical)].join('\n')
  const key = [date.slice(0, 8), region, 'sts', 'aws4_request'].reduce<Uint8Array>(
    hmac,
    Buffer.from(`AWS4${machine.secretAccessKey.reveal()}`),
  )
  const signature = Buffer.from(hmac(key, text)).toString('hex')
  const expected = `AWS4-HMAC-SHA256 Credential=${machine.accessKeyId}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`
  return isEqual(headers.get('authorization') ?? '', expected)
    ? null
    : 'Received invalid AWS response of type SignatureDoesNotMatch.'
}

interface SignedRequest {
  readonly host: string
  readonly region: string
  readonly query: string
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>
}

function readRequest(subjectToken: string): SignedRequest | null {
  if (!/^[\w.~!*'()%-]+$/.test(subjectToken)) return null
  const request = parseObject(Buffer.from(decodeURIComponent(subjectToken)))
  const [, region, query] = URL_PATTERN.exec(String(request?.url)) ?? []
  if (request === null || region === undefined || query === undefined) return null
  if (request.method !== 'POST' || request.body !== '') return null
  const headers = elementsOf(request.headers).map(header =>
    isObject(header) ? ([String(header.key).toLowerCase(), String(header.value)] as const) : null,
  )
  const known = headers.filter(header => header !== null)
  if (known.length !== headers.length || new Map(known).size !== headers.length) return null
  return { host: `sts.${region}.amazonaws.com`, region, query, headers: new Map(known) }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function hmac(key: Uint8Array, text: string): Uint8Array {
  return createHmac('sha256', key).update(text).digest()
}

function isEqual(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)]
  return a.length === b.length && timingSafeEqual(a, b)
}
