// Goal: containers and instances are asked as AWS documents, and a refusal is said with what it means.
// Method: the refresher against scripted endpoints, by a fake clock.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keysAnswer, provider, RELATIVE, refresh, summary } from '../../test/support/aws-refresh.ts'
import type { Script } from '../../test/support/scripted-fetch.ts'
import type { FetchRequest } from '../system/fetch.ts'

test('a container is asked with its bare token, from the file rather than the material', async () => {
  const file = { AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: '/tokens/container' }
  const token = { AWS_CONTAINER_AUTHORIZATION_TOKEN: 'bare' }
  const ROWS = [
    [provider({}, RELATIVE), undefined],
    [provider(token, RELATIVE), 'bare'],
    [provider(token, { ...RELATIVE, ...file }), 'identity'],
  ] as const
  for (const [record, authorization] of ROWS) {
    const { result, requests } = await refresh(record, () => keysAnswer())
    assert.equal(summary(result), 'minted 3600')
    assert.equal(requests[0]?.url, 'http://169.254.170.2/v2/credentials/x')
    assert.equal(requests[0]?.method, 'GET')
    assert.equal(requests[0]?.headers.get('authorization'), authorization)
  }
  const twoLines = { fileText: 'one\r\ntwo' }
  const broken = await refresh(provider({}, { ...RELATIVE, ...file }), () => keysAnswer(), twoLines)
  assert.equal(summary(broken.result), 'X aws_container_token_unusable')
  assert.equal(broken.requests.length, 0)
})

test('what the container endpoint refuses has its class', async () => {
  const ROWS: readonly (readonly [Script, string])[] = [
    [{ status: 401, body: 'no' }, 'Q aws_container_token_refused'],
    [{ status: 403, body: '' }, 'Q aws_container_access_denied'],
    [{ status: 404, body: '' }, 'P aws_container_path_unknown'],
    [{ status: 400, body: { Code: 'AccessDeniedException' } }, 'Q aws_access_denied'],
    [{ status: 404, body: { Code: 'ResourceNotFoundException' } }, 'P aws_pod_association_missing'],
    [{ status: 400, body: { Code: 'ExpiredTokenException' } }, 'P aws_identity_token_expired'],
    [{ status: 500, body: '' }, 'T oauth_token_endpoint_retryable'],
    [keysAnswer({ Token: 7 }), 'X aws_incomplete_keys'],
    [keysAnswer({ Expiration: null }), 'X aws_unusable_expiration'],
    [{ body: '[]' }, 'X aws_unrecognized_answer'],
  ]
  for (const [script, expected] of ROWS) {
    const { result } = await refresh(provider({}, RELATIVE), () => script)
    assert.equal(summary(result), expected)
  }
})

/** The instance metadata service, as far as `changes` leave it alone. */
function instance(changes: Readonly<Record<string, Script>> = {}) {
  const usual: Readonly<Record<string, Script>> = {
    '/latest/api/token': { body: 'metadata-token' },
    '/latest/meta-data/iam/security-credentials/': { body: 'my-role\n' },
    '/latest/meta-data/iam/security-credentials/my-role': keysAnswer({ Code: 'Success' }),
  }
  return ({ url }: FetchRequest): Script => {
    const { pathname } = new URL(url)
    return changes[pathname] ?? usual[pathname] ?? { status: 404 }
  }
}

test('an instance is asked by version 2 alone: token, role, keys', async () => {
  const { result, requests } = await refresh(provider({}), instance())
  assert.equal(summary(result), 'minted 3600')
  assert.deepEqual(
    requests.map(({ method, url }) => `${method} ${new URL(url).pathname}`),
    [
      'PUT /latest/api/token',
      'GET /latest/meta-data/iam/security-credentials/',
      'GET /latest/meta-data/iam/security-credentials/my-role',
    ],
  )
  assert.equal(new URL(requests[0]?.url ?? '').origin, 'http://169.254.169.254')
  assert.equal(requests[0]?.headers.get('x-aws-ec2-metadata-token-ttl-seconds'), '21600')
  for (const { headers } of requests.slice(1)) {
    assert.equal(headers.get('x-aws-ec2-metadata-token'), 'metadata-token')
  }
})

test('what the instance metadata service refuses has its class', async () => {
  const token = '/latest/api/token'
  const role = '/latest/meta-data/iam/security-credentials/'
  const reset = Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' })
  const ROWS: readonly (readonly [string, Script, string])[] = [
    [token, { status: 403 }, 'P aws_metadata_disabled'],
    [token, { body: 'two words' }, 'X aws_unrecognized_answer'],
    [token, reset, 'T oauth_token_endpoint_unavailable'],
    [role, { status: 404 }, 'P aws_instance_role_missing'],
    [role, { status: 401 }, 'P aws_metadata_token_refused'],
    [
      `${role}my-role`,
      { body: { Code: 'AssumeRoleUnauthorizedAccess', Message: 'EC2 cannot assume' } },
      'Q aws_instance_role_untrusted',
    ],
    [`${role}my-role`, { body: { Code: 'Failed' } }, 'Q oauth_unrecognized_error'],
  ]
  for (const [path, script, expected] of ROWS) {
    const { result } = await refresh(provider({}), instance({ [path]: script }))
    assert.equal(summary(result), expected)
    if (script === reset) {
      assert.ok(result.kind === 'failed' && /hop limit/.test(result.failure.advice))
    }
  }
})
