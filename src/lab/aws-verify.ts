import { createHash, createHmac } from 'node:crypto'
import type { AwsAccounts, AwsKeys } from './aws-accounts.ts'
import type { Call } from './call.ts'
import { headerValues } from './header.ts'
import type { TokenRegister } from './tokens.ts'

const SKEW_MS = 300_000

/** Why a signature is not believed, in AWS's words. */
export interface AwsProblem {
  readonly code: string
  readonly message: string
}

/** What a verifier knows, and what it demands. */
export interface Verifier {
  readonly accounts: AwsAccounts
  readonly tokens: TokenRegister
  readonly service: string
}

/** What is signed, whether the signature stands in a header or in a query. */
interface Signed {
  readonly method: string
  readonly path: string
  /** Without the signature. */
  readonly parameters: readonly (readonly [string, string])[]
  readonly headers: readonly (readonly [string, string])[]
  readonly signedNames: readonly string[]
  readonly body: Uint8Array
  readonly credential: string
  readonly date: string
  readonly sessionToken: string
  readonly signature: string
}

const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 Credential=([^,\s]+), ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$/

/** Whose keys signed the call in its headers, and not more than five minutes ago; else why not. */
export function verifyCall(verifier: Verifier, call: Call): AwsKeys | AwsProblem {
  const values = headerValues(call.headers, 'authorization')
  const [, credential, names, signature] = AUTHORIZATION.exec(values[0] ?? '') ?? []
  if (credential === undefined || names === undefined || signature === undefined) {
    return problem('IncompleteSignature', 'The request has no complete signature')
  }
  const date = headerValues(call.headers, 'x-amz-date')[0] ?? ''
  const late = skewProblem(instantOf(date), call.nowMs)
  if (late !== null) return late
  const signedNames = names.split(';')
  const unsigned = call.headers.find(([name]) => mustBeSigned(name) && !signedNames.includes(name))
  if (unsigned !== undefined || !isSorted(signedNames)) {
    return mismatch(`Header "${unsigned?.[0] ?? names}" is not signed as it must be`)
  }
  return verify(verifier, call.nowMs, {
    ...{ method: call.method, path: call.path, body: call.body, headers: call.headers },
    ...{ parameters: parametersOf(call.query.slice(1)), signedNames, credential, date, signature },
    sessionToken: headerValues(call.headers, 'x-amz-security-token')[0] ?? '',
  })
}

/** Whose keys presigned the URL, which is still good; else why not. */
export function verifyPresigned(
  verifier: Verifier,
  url: URL,
  options: {
    readonly method: string
    readonly nowMs: number
    readonly unsigned: readonly string[]
  },
): AwsKeys | AwsProblem {
  const all = parametersOf(url.search.slice(1))
  const value = (name: string) => all.find(([key]) => key === name)?.[1] ?? ''
  const atMs = instantOf(value('X-Amz-Date'))
  const untilMs = atMs + Number(value('X-Amz-Expires')) * 1_000
  if (!(atMs <= options.nowMs + SKEW_MS && options.nowMs < untilMs && untilMs - atMs <= 43_200_000))
    return problem('ExpiredTokenException', 'Bearer Token has expired')
  return verify(verifier, options.nowMs, {
    method: options.method,
    path: url.pathname,
    parameters: all.filter(
      ([name]) => name !== 'X-Amz-Signature' && !options.unsigned.includes(name),
    ),
    headers: [['host', url.host]],
    signedNames: value('X-Amz-SignedHeaders').split(';'),
    body: new Uint8Array(),
    credential: value('X-Amz-Credential'),
    date: value('X-Amz-Date'),
    sessionToken: value('X-Amz-Security-Token'),
    signature: value('X-Amz-Signature'),
  })
}

function verify(verifier: Verifier, nowMs: number, signed: Signed): AwsKeys | AwsProblem {
  const { accounts, tokens, service } = verifier
  const [accessKeyId = '', day = '', region = '', named = '', end = '', rest] =
    signed.credential.split('/')
  const isScoped =
    day === signed.date.slice(0, 8) &&
    region === accounts.region &&
    named === service &&
    end === 'aws4_request' &&
    rest === undefined
  if (!isScoped) return mismatch(`Credential should be scoped to ${accounts.region}/${service}`)
  const keys = accounts.find(accessKeyId)
  if (keys === null || (keys.session?.value.reveal() ?? '') !== signed.sessionToken) {
    return problem(
      'UnrecognizedClientException',
      'The security token included in the request is invalid.',
    )
  }
  if (signatureOf(signed, keys, [day, region, named]) !== signed.signature) {
    return mismatch(
      'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.',
    )
  }
  const verdict = tokens.judge(signed.sessionToken, 'aws', nowMs)
  if (keys.session !== null && verdict !== 'valid') {
    return problem('ExpiredTokenException', 'The security token included in the request is expired')
  }
  return keys
}

function signatureOf(
  signed: Signed,
  { secretAccessKey }: AwsKeys,
  scope: readonly [day: string, region: string, service: string],
): string {
  const canonical = [
    signed.method,
    signed.path
      .split('/')
      .map(segment => escapeStrictly(segment))
      .join('/'),
    [...signed.parameters]
      .map(([name, value]) => [escapeStrictly(name), escapeStrictly(value)] as const)
      .sort(([a, x], [b, y]) => Buffer.compare(Buffer.from(`${a}=${x}`), Buffer.from(`${b}=${y}`)))
      .map(pair => pair.join('='))
      .join('&'),
    ...signed.signedNames.map(name => {
      const values = headerValues(signed.headers, name).map(value =>
        value.trim().replaceAll(/\s+/g, ' '),
      )
      return `${name}:${values.join(',')}`
    }),
    '',
    signed.signedNames.join(';'),
    createHash('sha256').update(signed.body).digest('hex'),
  ].join('\n')
  const text = [
    'AWS4-HMAC-SHA256',
    signed.date,
    [...scope, 'aws4_request'].join('/'),
    createHash('sha256').update(canonical).digest('hex'),
  ].join('\n')
  const start: Uint8Array = Buffer.from(`AWS4${secretAccessKey.reveal()}`)
  const key = [...scope, 'aws4_request'].reduce(
    (before, part) => createHmac('sha256', before).update(part).digest(),
    start,
  )
  return createHmac('sha256', key).update(text).digest('hex')
}

/** Percent-encodes byte by byte whatever RFC 3986 does not call unreserved. */
function escapeStrictly(text: string): string {
  return [...Buffer.from(text)]
    .map(byte => {
      const character = String.fromCharCode(byte)
      const code = byte.toString(16).toUpperCase().padStart(2, '0')
      return /[A-Za-z0-9._~-]/.test(character) ? character : `%${code}`
    })
    .join('')
}

function parametersOf(query: string): readonly (readonly [string, string])[] {
  return [...new URLSearchParams(query.replaceAll('+', '%2B'))]
}

function skewProblem(atMs: number, nowMs: number): AwsProblem | null {
  if (Number.isNaN(atMs)) return problem('IncompleteSignature', 'Date must be in ISO-8601 form')
  if (atMs < nowMs - SKEW_MS) return mismatch('Signature expired: it is too old')
  return atMs > nowMs + SKEW_MS ? mismatch('Signature not yet current: it is too new') : null
}

function instantOf(date: string): number {
  const [, day = '', time = ''] = /^(\d{8})T(\d{6})Z$/.exec(date) ?? []
  const spelt = `${day.replace(/(....)(..)(..)/, '$1-$2-$3')}T${time.replace(/(..)(..)(..)/, '$1:$2:$3')}Z`
  return day === '' ? Number.NaN : Date.parse(spelt)
}

function mustBeSigned(name: string): boolean {
  return name === 'host' || name.startsWith('x-amz-')
}

function isSorted(names: readonly string[]): boolean {
  return names.every((name, at) => at === 0 || (names[at - 1] ?? '') < name)
}

function mismatch(message: string): AwsProblem {
  return problem('SignatureDoesNotMatch', message)
}

function problem(code: string, message: string): AwsProblem {
  return { code, message }
}
