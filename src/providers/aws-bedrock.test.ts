import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  keysAnswer,
  NOW_MS,
  provider,
  RELATIVE,
  ROLE_ARN,
  refresh,
  summary,
  USER,
  WEB,
} from '../../test/support/aws-refresh.ts'
import { rulesOf } from '../../test/support/outside.ts'
import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import { awsBedrock } from './aws-bedrock.ts'

test('a short-term key is made of the session, and dies with it', async () => {
  const record = provider({}, { ...RELATIVE, BEDROCK_AUTH: 'api-key' })
  const { result } = await refresh(record, () => keysAnswer())
  assert.equal(summary(result), 'minted 3600')
  assert.ok(result.kind === 'minted')
  assert.equal(result.leadMs, 1_800_000)
  const text = result.token.reveal()
  assert.match(text, /^bedrock-api-key-[A-Za-z0-9+/]+=*$/)
  const url = new URL(
    `https://${Buffer.from(text.slice('bedrock-api-key-'.length), 'base64').toString()}`,
  )
  assert.equal(url.host, 'bedrock.amazonaws.com')
  const parameters = Object.fromEntries(url.searchParams)
  assert.match(parameters['X-Amz-Signature'] ?? '', /^[0-9a-f]{64}$/)
  delete parameters['X-Amz-Signature']
  assert.deepEqual(parameters, {
    Action: 'CallWithBearerToken',
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': 'ASIAMADEUP/20261125/eu-west-1/bedrock/aws4_request',
    'X-Amz-Date': '20261125T120000Z',
    'X-Amz-Expires': '43200',
    'X-Amz-SignedHeaders': 'host',
    'X-Amz-Security-Token': 'session-token',
    Version: '1',
  })
  const refused = await refresh(record, () => ({ status: 403 }))
  assert.equal(summary(refused.result), 'Q aws_container_access_denied')
})

test('what can never work is refused before anything is asked, in words without the secret', () => {
  const full = 'AWS_CONTAINER_CREDENTIALS_FULL_URI'
  const ROWS: readonly (readonly [ProviderRecord, string, RegExp])[] = [
    [provider(USER, { AWS_REGION: '' }), 'invalid_config', /AWS_REGION is missing/],
    ...['us-east-1.evil.com/', 'us-east-1#', '../x', 'US-EAST-1', 'us_east'].map(
      AWS_REGION =>
        [provider(USER, { AWS_REGION }), 'invalid_config', /is not an AWS region/] as const,
    ),
    [provider({ AWS_ACCESS_KEY_ID: 'AKIAX' }), 'invalid_credential', /AWS_SECRET_ACCESS_KEY/],
    [
      provider({ AWS_SECRET_ACCESS_KEY: 'made-up-secret' }),
      'invalid_credential',
      /AWS_ACCESS_KEY_ID/,
    ],
    [
      provider({ ...USER, AWS_SECRET_ACCESS_KEY: 'made-up-secret\nx' }),
      'invalid_credential',
      /AWS_SECRET/,
    ],
    [provider({ ...USER, AWS_SESSION_TOKEN: 'x' }), 'invalid_credential', /temporary keys/],
    [provider({ ...USER, AWS_ACCESS_KEY_ID: 'ASIAX' }), 'invalid_credential', /temporary keys/],
    [provider(USER, WEB), 'invalid_config', /more than one source.*access_key, web_identity/],
    [provider(USER, { AWS_ROLE_ARN: 'agent' }), 'invalid_config', /not the ARN of a role/],
    [
      provider(USER, { AWS_ROLE_ARN: ROLE_ARN, AWS_ROLE_SESSION_NAME: 'a b' }),
      'invalid_config',
      /SESSION_NAME/,
    ],
    [provider({}, { AWS_WEB_IDENTITY_TOKEN_FILE: 'x' }), 'invalid_config', /needs AWS_ROLE_ARN/],
    ...['http://evil.example/', 'http://127.0.0.1.evil.example/', 'http://2130706433/'].map(
      text => [provider({}, { [full]: text }), 'endpoint_forbidden', /CONTAINER/] as const,
    ),
    [provider({}, { [full]: 'https://vault.example/x' }), 'endpoint_forbidden', /CONTAINER/],
    [provider({}, { [full]: 'http://169.254.170.2:81/x' }), 'endpoint_forbidden', /CONTAINER/],
    [
      provider({}, { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: '@evil.example/' }),
      'invalid_config',
      /not a path/,
    ],
    [
      provider({}, { AWS_EC2_METADATA_SERVICE_ENDPOINT: 'http://10.0.0.1' }),
      'endpoint_forbidden',
      /METADATA/,
    ],
    [
      provider(USER, { AWS_ENDPOINT_URL_STS: 'https://sts.evil.example' }),
      'endpoint_forbidden',
      /AWS_ENDPOINT_URL_STS/,
    ],
    [provider(USER, { BEDROCK_AUTH: 'basic' }), 'invalid_config', /BEDROCK_AUTH/],
    [provider({ AWS_BEARER_TOKEN_BEDROCK: 'two words' }), 'invalid_credential', /not a Bedrock/],
    [
      provider({ ...USER, AWS_BEARER_TOKEN_BEDROCK: 'key' }),
      'invalid_credential',
      /instead of all others/,
    ],
  ]
  for (const [record, code, words] of ROWS) {
    assert.throws(
      () => awsBedrock.grant(record, NOW_MS, rulesOf()),
      (error: unknown) => {
        assert.ok(error instanceof AppError, String(error))
        assert.equal(error.code, code)
        assert.match(error.message, words)
        assert.doesNotMatch(`${error.message}${error.hint}`, /made-up-secret/)
        return true
      },
    )
  }
})

test('addresses that AWS alone answers on need no permission, others do', async () => {
  const full = 'AWS_CONTAINER_CREDENTIALS_FULL_URI'
  for (const text of ['http://169.254.170.23/v1/credentials', 'http://[fd00:ec2::23]/v1']) {
    const { requests } = await refresh(provider({}, { [full]: text }), () => keysAnswer())
    assert.equal(requests[0]?.url, text)
  }
  const allow = ['127.0.0.1:51679']
  const local = provider({}, { [full]: 'http://127.0.0.1:51679/get' })
  assert.equal(summary((await refresh(local, () => keysAnswer(), { allow })).result), 'minted 3600')
})

test('regions of China have their own domain', () => {
  const record = provider({}, { ...WEB, AWS_REGION: 'cn-north-1' })
  const grant = awsBedrock.grant(record, NOW_MS, rulesOf())
  assert.ok(grant?.kind === 'request')
  assert.equal(grant.url.host, 'sts.cn-north-1.amazonaws.com.cn')
  const { shape } = awsBedrock.route(record, 'm', rulesOf())
  assert.equal(shape.baseUrl, 'https://bedrock-runtime.cn-north-1.amazonaws.com.cn')
})

test('a route signs, or carries a key, and serves what its model speaks', () => {
  const protocols = (model: string) =>
    awsBedrock
      .route(provider(USER), model, rulesOf())
      .shape.operations.map(({ protocol }) => protocol.replace('aws_bedrock_', ''))
  const native = ['invoke', 'invoke_stream', 'converse', 'converse_stream']
  assert.deepEqual(protocols('anthropic.claude-3-7-sonnet-20250219-v1:0'), [
    'anthropic_messages',
    ...native,
  ])
  const arn = 'arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-x'
  assert.equal(protocols(arn)[0], 'anthropic_messages')
  assert.equal(protocols('openai.gpt-oss-120b-1:0')[0], 'openai_chat_completions')
  assert.deepEqual(protocols('amazon.nova-pro-v1:0'), native)
  const authOf = (record: ProviderRecord) => awsBedrock.route(record, 'm', rulesOf())
  const signed = authOf(provider(USER))
  assert.deepEqual(signed.shape.auth, { kind: 'sigv4', service: 'bedrock', region: 'eu-west-1' })
  assert.deepEqual(signed.credential, { kind: 'token' })
  const bearer = { kind: 'header', header: 'authorization', prefix: 'Bearer ' }
  const short = authOf(provider(USER, { BEDROCK_AUTH: 'api-key' }))
  assert.deepEqual([short.shape.auth, short.credential], [bearer, { kind: 'token' }])
  const long = authOf(provider({ AWS_BEARER_TOKEN_BEDROCK: 'key' }))
  assert.deepEqual(
    [long.shape.auth, long.credential],
    [bearer, { kind: 'material', key: 'AWS_BEARER_TOKEN_BEDROCK' }],
  )
})

test('a model id cannot lead a request elsewhere', () => {
  for (const model of ['', '.', '..', '../x', 'a/../b', 'a b', 'a?b', 'a#b', 'a%2f', '/x', 'é']) {
    assert.throws(() => awsBedrock.route(provider(USER), model, rulesOf()), {
      code: 'invalid_argument',
    })
  }
})
