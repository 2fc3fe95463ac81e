import fc from 'fast-check'
import { Secret } from '../../src/core/secret.ts'
import type { TokenAnswer } from '../../src/oauth/token-request.ts'

/** The vendor's time at which every answer arrives. */
export const NOW_MS = Date.UTC(2026, 10, 25, 12)

/** What was sent, with characters that every encoding writes in another way. */
export const SENT: readonly Secret[] = [
  new Secret('sent~secret +%&=:/ü-of-this-request'),
  new Secret('Bearer sent-bearer-of-this-request'),
  new Secret(`Basic ${Buffer.from('client:sent-basic secret').toString('base64')}`),
]

/** Every spelling in which a peer might repeat what it was sent. */
export function spellings(secret: Secret): readonly string[] {
  const whole = secret.reveal()
  const bare = whole.replace(/^(Bearer|Basic) /, '')
  return [whole, bare].flatMap(text => [
    text,
    encodeURIComponent(text),
    new URLSearchParams([['', text]]).toString().slice(1),
    Buffer.from(text).toString('base64'),
    Buffer.from(text).toString('base64url'),
  ])
}

const echo = fc.constantFrom(...SENT.flatMap(spellings))

/** Words that hold what was sent, among others. */
const words = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  echo,
  fc
    .tuple(fc.string({ maxLength: 400 }), echo, fc.string({ maxLength: 20 }))
    .map(all => all.join(' ')),
)

/** JSON of an object that cannot be made a primitive: `String` throws on it. */
const NO_PRIMITIVE = '{"toString":1,"valueOf":1}'

/** Tokens, good and bad. */
const token = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.string({ minLength: 1, maxLength: 40 }).map(text => text.replaceAll(' ', '-')),
  },
  fc.constantFrom(
    '',
    'undefined',
    'null',
    'a b',
    'x\r\nX-Evil: 1',
    'tökén',
    't\u0000',
    ' t',
    't\n',
    '\uFEFFt',
  ),
  fc.constantFrom('x'.repeat(65_536), 'x'.repeat(65_537)),
  fc.string({ unit: 'binary', maxLength: 10 }),
  fc.jsonValue({ maxDepth: 1 }),
  jwt(),
)

/** A JWT whose claims are as odd as JSON allows. */
function jwt(): fc.Arbitrary<string> {
  const instant = fc.oneof(
    fc.integer({ min: 0, max: 2_000_000_000 }),
    fc.double(),
    fc.constantFrom(null, '1', 1e300, -1),
  )
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return fc
    .record({ iat: instant, exp: instant }, { requiredKeys: [] })
    .map(claims => `${encode({ alg: 'RS256' })}.${encode(claims)}.c2lnbmF0dXJl`)
}

/** JSON texts of lives and instants, because some cannot be written as JavaScript values. */
const life = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 200_000 }).map(String) },
  fc.constantFrom('0', '-1', '-0', '1e309', '-1e309', '9e18', '0.4', '3599.9', '2147483648', '1e3'),
  fc.constantFrom(
    '""',
    '"3599"',
    '"0"',
    '"1e3"',
    '"0x10"',
    '" 60"',
    '"12345678901"',
    '"9999999999"',
  ),
  fc.constantFrom('null', 'true', '[]', '[3600]', '{}', NO_PRIMITIVE),
  fc.double().map(value => JSON.stringify(value)),
)

const instant = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: -10, max: 200_000 }).map(at) },
  fc.constantFrom(
    '2026-11-25T13:00:00',
    'tomorrow',
    '',
    '1764072000',
    '11/25/2026 1:00:00 PM +00:00',
  ),
  fc.constantFrom(
    '2026-11-25T12:00:00.001Z',
    '2026-11-25T12:00:00.000000001Z',
    '9999-12-31T23:59:59Z',
  ),
  fc.jsonValue({ maxDepth: 1 }),
)

function at(seconds: number): string {
  return new Date(NOW_MS + seconds * 1_000).toISOString()
}

/** Every member that any vendor reads, with what may stand there as JSON text. */
const MEMBERS: Readonly<Record<string, fc.Arbitrary<string>>> = {
  access_token: token.map(text),
  accessToken: token.map(text),
  token: token.map(text),
  token_type: fc.constantFrom('"Bearer"', '"bearer"', '"mac"', 'null', '1', '""', '["Bearer"]'),
  expires_in: life,
  expires_on: fc.oneof(life, instant.map(text)),
  expireTime: instant.map(text),
  Expiration: instant.map(text),
  AccessKeyId: token.map(text),
  SecretAccessKey: token.map(text),
  Token: token.map(text),
  Code: fc.oneof(fc.constantFrom('"Success"', '"ExpiredToken"', NO_PRIMITIVE), words.map(text)),
  Message: words.map(text),
  refresh_in: life,
  refresh_token: token.map(text),
  issued_token_type: fc.constantFrom('"urn:ietf:params:oauth:token-type:access_token"', '7'),
  error: fc.oneof(
    fc.constantFrom('""', 'null', '"invalid_grant"', '"server_error"', '"access_denied"', '7'),
    words.map(text),
    fc.record({ code: words, message: words, status: words, type: words }).map(text),
  ),
  error_description: words.map(text),
  error_subtype: words.map(text),
  error_codes: fc.constantFrom('[7000215]', '[700024]', '["x"]', '[1e309]', `[${NO_PRIMITIVE}]`),
  errorCode: fc.oneof(fc.constantFrom('"BXNIM0415E"', '5'), words.map(text)),
  errorMessage: words.map(text),
  errors: fc.record({ code: words, message: words }).map(one => JSON.stringify([one])),
  _messageCode_: fc.constantFrom('"200"', '"401"', '200', 'null', NO_PRIMITIVE),
  message: words.map(text),
  statusCode: fc.constantFrom('400', '"400"'),
  ['__proto__']: fc.constant('{"access_token":"polluted","expires_in":3600}'),
}

/** A few of the members that any vendor reads, spelt as JSON. */
const members = fc
  .subarray(Object.keys(MEMBERS), { maxLength: 8 })
  .chain(names => fc.tuple(...names.map(name => memberOf(name))))
  .map(all => `{${all.join(',')}}`)

function memberOf(name: string): fc.Arbitrary<string> {
  return (MEMBERS[name] ?? fc.constant('null')).map(value => `"${name}":${value}`)
}

function text(value: unknown): string {
  return JSON.stringify(value)
}

/** Members that make a token by themselves, so that judges mint often enough to be looked at. */
const usable = fc
  .tuple(fc.integer({ min: 1, max: 90_000 }), fc.constantFrom('t', 'ey.J.x', 'A~!'))
  .map(([seconds, value]) => {
    const values = ['access_token', 'accessToken', 'AccessKeyId', 'SecretAccessKey', 'Token']
    return [
      ...values.map(name => `"${name}":"${value}"`),
      `"expires_in":${seconds}`,
      ...['expireTime', 'Expiration'].map(name => `"${name}":"${at(seconds)}"`),
      '"issued_token_type":"urn:ietf:params:oauth:token-type:access_token"',
    ].join(',')
  })

/** A good answer among odd members: what stands last wins. */
const good = fc.oneof(
  fc
    .tuple(members, usable)
    .map(([odd, full]) => `{${[odd.slice(1, -1), full].filter(Boolean).join(',')}}`),
  usable.map(full => `{${full}}`),
  fc
    .tuple(usable, fc.constantFrom(...Object.keys(MEMBERS)).chain(memberOf))
    .map(([full, odd]) => `{${full},${odd}}`),
)

/** Answers of AWS STS, nearly well-formed. */
const xml = fc
  .record({
    action: fc.constantFrom('AssumeRole', 'AssumeRoleWithWebIdentity', 'GetSessionToken'),
    keys: fc.tuple(token, token, token),
    expiration: instant,
    failure: fc.option(fc.tuple(words, words), { freq: 2 }),
    tail: fc.constantFrom('', '', '', '<', '<!DOCTYPE a>', '&evil;'),
  })
  .map(({ action, keys, expiration, failure, tail }) => {
    if (failure !== null) {
      const [code, message] = failure.map(word => escaped(word))
      return `<ErrorResponse><Error><Code>${code}</Code><Message>${message}</Message></Error></ErrorResponse>${tail}`
    }
    const [id = '', secret = '', session = ''] = keys.map(one => escaped(plain(one)))
    return `${sessionXml(action, [id, secret, session, plain(expiration)])}${tail}`
  })

/** Session keys as STS answers with them. */
const goodXml = fc
  .tuple(
    fc.constantFrom('AssumeRole', 'AssumeRoleWithWebIdentity', 'GetSessionToken'),
    fc.integer({ min: 1, max: 90_000 }),
  )
  .map(([action, seconds]) => sessionXml(action, ['ASIA', 'secret', 'session', at(seconds)]))

function sessionXml(action: string, values: readonly string[]): string {
  const names = ['AccessKeyId', 'SecretAccessKey', 'SessionToken', 'Expiration']
  const leaves = names.map((name, index) => `<${name}>${values[index]}</${name}>`).join('')
  return `<${action}Response><${action}Result><Credentials>${leaves}</Credentials></${action}Result></${action}Response>`
}

function escaped(raw: string): string {
  return raw.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}

const form = members.map(json => {
  const fields: Readonly<Record<string, unknown>> = JSON.parse(json)
  const pairs = Object.entries(fields).map(([name, value]) => [name, plain(value)] as const)
  return new URLSearchParams(Object.fromEntries(pairs)).toString()
})

function plain(value: unknown): string {
  return typeof value === 'string' ? value.toWellFormed() : text(value)
}

const body: fc.Arbitrary<Uint8Array | null> = fc.oneof(
  { weight: 4, arbitrary: members.map(bytes) },
  { weight: 8, arbitrary: good.map(bytes) },
  { weight: 2, arbitrary: xml.map(bytes) },
  { weight: 3, arbitrary: goodXml.map(bytes) },
  form.map(bytes),
  good.map(json => bytes(`\uFEFF${json}`)),
  fc.json().map(bytes),
  words.map(bytes),
  fc.uint8Array({ maxLength: 100 }),
  fc.constant(null),
)

function bytes(raw: string): Uint8Array {
  return Buffer.from(raw)
}

const headers = fc
  .record(
    {
      'content-type': fc.constantFrom(
        'application/json',
        'text/html',
        'text/plain',
        'application/x-www-form-urlencoded',
      ),
      'retry-after': fc.oneof(
        fc.constantFrom(
          '0',
          '120',
          '-5',
          '9999999',
          'abc',
          '1e3',
          'Wed, 25 Nov 2026 12:01:00 GMT',
          'Thu, 01 Jan 1970 00:00:00 GMT',
        ),
        words,
      ),
      date: fc.oneof(
        fc.constantFrom('Wed, 25 Nov 2026 12:00:00 GMT', 'Thu, 01 Jan 1970 00:00:00 GMT', 'x'),
        fc
          .integer({ min: -200_000, max: 200_000 })
          .map(s => new Date(NOW_MS + s * 1_000).toUTCString()),
      ),
      age: fc.constantFrom('0', '30'),
      'metadata-flavor': fc.constantFrom('Google', 'google', 'evil'),
      'www-authenticate': words,
    },
    { requiredKeys: [] },
  )
  .map(all => new Map(Object.entries(all).filter(([name]) => name !== 'x')))

const status = fc.oneof(
  { weight: 6, arbitrary: fc.constant(200) },
  fc.constantFrom(201, 204, 301, 307, 400, 401, 403, 404, 408, 410, 429, 500, 503),
  fc.integer({ min: 100, max: 599 }),
)

/** What a token endpoint, or whoever stands in its place, may answer with. */
export const anyAnswer: fc.Arbitrary<TokenAnswer> = fc
  .record({ status, headers, body, elapsedMs: fc.integer({ min: 0, max: 20_000 }) })
  .map(parts => ({ kind: 'answer', ...parts, sent: SENT }))
