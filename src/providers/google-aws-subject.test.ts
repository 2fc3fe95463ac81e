import assert from 'node:assert/strict'
import { test } from 'node:test'
import { federatedFile, mintFrom, shown, verdictOf } from '../../test/support/google-source.ts'
import type { Script } from '../../test/support/scripted-fetch.ts'

const IMDS = '169.254.169.254'
const STS_URL = 'https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15'
const KEYS = {
  Code: 'Success',
  AccessKeyId: 'ASIATEST',
  SecretAccessKey: 'test-secret',
  Token: 'test-session',
}

function awsFile(source: Readonly<Record<string, unknown>> = {}) {
  const base = `http://${IMDS}/latest`
  return federatedFile({
    subject_token_type: 'urn:ietf:params:aws:token-type:aws4_request',
    credential_source: {
      environment_id: 'aws1',
      region_url: `${base}/meta-data/placement/availability-zone`,
      url: `${base}/meta-data/iam/security-credentials`,
      imdsv2_session_token_url: `${base}/api/token`,
      regional_cred_verification_url: STS_URL,
      ...source,
    },
  })
}

/** The metadata service's answers in the order in which they are asked for. */
function machine(credentials: unknown = KEYS): readonly Script[] {
  return [{ body: 'session' }, { body: 'us-east-2c' }, { body: 'role\n' }, { body: credentials }]
}

test('the machine’s keys sign a GetCallerIdentity that names the pool', async () => {
  const { requests } = await mintFrom(awsFile(), { answers: { [IMDS]: machine() } })
  const session = { 'x-aws-ec2-metadata-token': 'session' }
  assert.deepEqual(requests.slice(0, 4).map(shown), [
    {
      call: `PUT http://${IMDS}/latest/api/token`,
      headers: { 'x-aws-ec2-metadata-token-ttl-seconds': '300' },
      body: null,
    },
    {
      call: `GET http://${IMDS}/latest/meta-data/placement/availability-zone`,
      headers: session,
      body: null,
    },
    {
      call: `GET http://${IMDS}/latest/meta-data/iam/security-credentials`,
      headers: session,
      body: null,
    },
    {
      call: `GET http://${IMDS}/latest/meta-data/iam/security-credentials/role`,
      headers: session,
      body: null,
    },
  ])
  const form = new URLSearchParams(Buffer.from(requests[4]?.body ?? []).toString())
  const signed = JSON.parse(decodeURIComponent(form.get('subject_token') ?? ''))
  const headers = new Map<string, string>(
    signed.headers.map(({ key, value }: { key: string; value: string }) => [key, value]),
  )
  const authorization = headers.get('authorization') ?? ''
  headers.delete('authorization')
  assert.deepEqual(
    { ...signed, headers: Object.fromEntries(headers) },
    {
      url: 'https://sts.us-east-2.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15',
      method: 'POST',
      headers: {
        host: 'sts.us-east-2.amazonaws.com',
        'x-amz-date': '20270115T080000Z',
        'x-amz-security-token': 'test-session',
        'x-goog-cloud-target-resource':
          '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x',
      },
      body: '',
    },
  )
  assert.match(
    authorization,
    /^AWS4-HMAC-SHA256 Credential=ASIATEST\/20270115\/us-east-2\/sts\/aws4_request, SignedHeaders=host;x-amz-date;x-amz-security-token;x-goog-cloud-target-resource, Signature=[0-9a-f]{64}$/,
  )
})

test('without a session URL the older protocol is spoken', async () => {
  const file = awsFile({ imdsv2_session_token_url: undefined })
  const report = await mintFrom(file, { answers: { [IMDS]: machine().slice(1) } })
  assert.equal(verdictOf(report), 'minted')
  assert.equal(report.requests.length, 4)
})

test('only the metadata service and AWS STS may be named', async () => {
  const wrong = [
    { environment_id: 'aws2' },
    { region_url: 'http://169.254.169.254:8080/zone' },
    { region_url: 'http://169.254.169.254.evil.example/zone' },
    { url: 'http://10.0.0.1/keys' },
    { url: undefined },
    { imdsv2_session_token_url: 'https://evil.example/token' },
    { regional_cred_verification_url: 'https://sts.{region}.evil.example' },
    { regional_cred_verification_url: 'https://evil.example/{region}.amazonaws.com' },
    { regional_cred_verification_url: 'http://sts.{region}.amazonaws.com' },
    { regional_cred_verification_url: undefined },
  ]
  for (const source of wrong) {
    await assert.rejects(mintFrom(awsFile(source)), { name: 'AppError' }, JSON.stringify(source))
  }
  const six = 'http://[fd00:ec2::254]/latest/meta-data/placement/availability-zone'
  const report = await mintFrom(awsFile({ region_url: six }), {
    answers: {
      '[fd00:ec2::254]': { body: 'us-east-2c' },
      [IMDS]: [{ body: 's' }, { body: 'r' }, { body: KEYS }],
    },
  })
  assert.equal(verdictOf(report), 'minted')
})

test('a machine without usable keys is told so, and its keys are not shown', async () => {
  const [session = {}, zone = {}, role = {}] = machine()
  const denied = {
    Code: 'AssumeRoleUnauthorizedAccess',
    Message: 'no',
    SecretAccessKey: 'test-secret',
  }
  const cases: readonly (readonly [answers: readonly Script[], verdict: string])[] = [
    [machine(denied), 'Q google_subject_token_unreadable'],
    [machine({ ...KEYS, SecretAccessKey: '' }), 'Q google_subject_token_unreadable'],
    [machine('not json test-secret'), 'Q google_subject_token_unreadable'],
    [[session, { body: 'us east' }, role, { body: KEYS }], 'X google_subject_token_unreadable'],
    [[{ status: 403 }], 'P google_subject_token_unreadable'],
    [[session, zone, { status: 404 }], 'P google_subject_token_unreadable'],
    [[new Error('reset')], 'T oauth_token_endpoint_unavailable'],
  ]
  for (const [answers, verdict] of cases) {
    const report = await mintFrom(awsFile(), { answers: { [IMDS]: answers } })
    assert.equal(verdictOf(report), verdict)
    assert.ok(!JSON.stringify(report.result).includes('test-secret'))
  }
})
